//! What goes on over a restart: windows where the start takes long, and alerts that come back.

use super::detection_tests::alert;
use super::run_tests::{live, made_by_killed};
use super::server_tests::Server;
use super::tests::window;
use super::*;
use nta_core::domain::{Alert, AlertKind, Timestamp};

const S: u64 = 1_000_000_000;

/// A run that starts before the next multiple of a length and counts only behind it leaves out no time either.
async fn windows_tile_time_where_a_start_takes_long(store: &Store) {
    let whole = |start| [start, start + 5_000, start];
    let first: Vec<_> = (0..10).map(|n| whole(n * 5_000)).chain([[50_000, 51_876, 50_000]]).collect();
    let second = [[55_000, 60_000, 55_270]];
    let third: Vec<_> = [[70_000, 75_000, 70_100]].into_iter().chain((15..18).map(|n| whole(n * 5_000))).collect();
    let made = made_by_killed(store, &[(0, &first), (52, &second), (67, &third)]).await;
    let base: Vec<_> = made[0].1[9..].to_vec();
    // Behind a stop of more than its length a window begins at a multiple of that.
    let late = [[45_000, 50_000, 0], [50_000, 51_876, 0], [51_876, 60_000, 3_394], [70_000, 75_000, 100]];
    assert_eq!(base[..4], late);
    assert_eq!(made[1].1[5..], [[50_000, 60_000, 3_394], [60_000, 80_000, 10_100], [80_000, 90_000, 0]]);
    assert_eq!(made[2].1, [[0, 30_000, 0], [30_000, 60_000, 3_394], [60_000, 90_000, 10_100]]);
}

#[tokio::test]
async fn windows_tile_time_where_a_start_takes_long_on_sqlite() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(&format!("sqlite:{}", folder.path().join("nta.db").display())).await.expect("open");
    windows_tile_time_where_a_start_takes_long(&store).await;
}

#[tokio::test]
async fn windows_tile_time_where_a_start_takes_long_on_postgresql() {
    let Some(server) = Server::start("windows_tile_time_where_a_start_takes_long_on_postgresql") else { return };
    let store = server.open().await;
    windows_tile_time_where_a_start_takes_long(&store).await;
    store.close().await;
}

/// An alert that comes back in the next run is that run's: one row with one identity, what people did about it kept.
async fn alerts_that_come_back_are_one(store: &Store) {
    let (killed, task) = store.writer(store.begin_run(&live(100)).await.expect("run"), 4);
    let batch = WindowBatch { window: Some(window(21)), alerts: vec![alert(3, 105)], ..WindowBatch::default() };
    killed.send(batch).await.expect("send");
    killed.flush().await.expect("flush");
    let id = alert(3, 105).id;
    let note = AlertPatch {
        status: Some("acknowledged"),
        verdict: None,
        note: None,
        withdraw: None,
        by: Some("mira".to_owned()),
        at: time(106),
    };
    store.patch_alert(&id.to_string(), &note).await.expect("patched");
    task.abort();
    assert!(task.await.is_err());
    let (next, _task) = store.writer(store.begin_run(&live(120)).await.expect("run"), 4);
    let earlier = store.earlier_alerts("gw", time(104)).await.expect("alerts");
    let known: Vec<_> = earlier.iter().map(|alert| (alert.id, alert.kind, alert.raised, alert.windows)).collect();
    assert_eq!(known, [(id, AlertKind::PortScan, time(105), 1)]);
    assert_eq!(earlier[0].parties, ["10.0.0.3", "*"]);
    assert_eq!(earlier[0].detectors, ["port_scan"]);
    assert!(store.earlier_alerts("gw", time(105)).await.expect("alerts").is_empty(), "it is over");
    assert!(store.earlier_alerts("other", time(0)).await.expect("alerts").is_empty(), "another sensor's");
    let again = Alert { id, raised: time(105), windows: 2, ..alert(3, 125) };
    let batch = WindowBatch { window: Some(window(25)), alerts: vec![again], ..WindowBatch::default() };
    next.send(batch).await.expect("send");
    next.flush().await.expect("flush");
    let position = Position { descending: false, after: None, limit: 10 };
    let alerts = store.alerts(&AlertFilter::default(), AlertSort::Time, position).await.expect("alerts").items;
    let [one] = alerts.as_slice() else { panic!("{alerts:?}") };
    assert_eq!((one.state.as_str(), one.status.as_str(), one.windows), ("raised", "acknowledged", 2));
    assert_eq!((&one.clear_reason, one.cleared, one.last), (&None, None, time(125)));
    assert_eq!(store.total("alerts").await.expect("count"), 1);
    // The end of the next run clears it again.
    next.send(WindowBatch { end: Some("stopped"), ..WindowBatch::default() }).await.expect("send");
    next.shutdown().await.expect("shutdown");
    let one = store.alert(&id.to_string()).await.expect("query").expect("alert");
    assert_eq!((one.state.as_str(), one.clear_reason.as_deref()), ("cleared", Some("run_ended")));
}

fn time(seconds: u64) -> Timestamp {
    Timestamp::from_nanos(seconds * S)
}

#[tokio::test]
async fn alerts_that_come_back_after_a_restart_are_one_on_sqlite() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(&format!("sqlite:{}", folder.path().join("nta.db").display())).await.expect("open");
    alerts_that_come_back_are_one(&store).await;
}

#[tokio::test]
async fn alerts_that_come_back_after_a_restart_are_one_on_postgresql() {
    let Some(server) = Server::start("alerts_that_come_back_after_a_restart_are_one_on_postgresql") else { return };
    let store = server.open().await;
    alerts_that_come_back_are_one(&store).await;
    store.close().await;
}
