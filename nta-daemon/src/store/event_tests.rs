//! The event log: numbers that never restart, an identity of its own, and what of it is kept; on both databases.

use super::detection_tests::alert;
use super::server_tests::Server;
use super::tests::{begin, window};
use super::*;
use nta_core::domain::{Alert, AlertState, Severity, Timestamp};

const S: u64 = 1_000_000_000;

async fn write(writer: &StoreWriter, batch: WindowBatch) {
    writer.send(batch).await.expect("send");
    writer.flush().await.expect("flush");
}

/// What changed of an alert is in the event's kind, and the event says how the alert was then.
async fn alerts_are_raised_changed_cleared_and_raised_again(store: &Store) {
    let (writer, task) = begin(store).await;
    let raised = alert(1, 100);
    let severe = Alert { severity: Severity::Critical, ..raised.clone() };
    let cleared = Alert { state: AlertState::Cleared, cleared: Some(Timestamp::from_nanos(200 * S)), ..severe.clone() };
    for state in [&raised, &severe, &cleared, &raised] {
        write(&writer, WindowBatch { alerts: vec![state.clone()], ..WindowBatch::default() }).await;
    }
    let trouble = Notice::new(Timestamp::from_nanos(300 * S), "capture_trouble", Severity::High, "eth0 is away");
    write(&writer, WindowBatch { notices: vec![trouble], ..WindowBatch::default() }).await;
    write(&writer, WindowBatch { end: Some("stopped"), ..WindowBatch::default() }).await;
    let events = store.events_after(1, 100).await.expect("events");
    let said: Vec<_> = events.iter().map(|event| (event.kind.as_str(), event.severity.map(Severity::word))).collect();
    let expected = [
        ("alert_raised", Some("medium")),
        ("alert_changed", Some("critical")),
        ("alert_cleared", Some("critical")),
        ("alert_raised", Some("medium")),
        ("capture_trouble", Some("high")),
        // With its run.
        ("alert_cleared", Some("medium")),
        ("run_ended", None),
    ];
    assert_eq!(said, expected);
    let body: serde_json::Value = serde_json::from_str(&events[2].body).expect("JSON");
    assert_eq!((&body["id"], &body["state"]), (&raised.id.to_string().into(), &"cleared".into()));
    assert_eq!((&body["type"], &body["source"]), (&"port_scan".into(), &"10.0.0.1".into()));
    assert_eq!(body["cleared_at"], "1970-01-01T00:03:20.000000Z");
    assert!(events.iter().all(|event| event.sensor.as_deref() == Some("test") && !event.is_live));
    writer.shutdown().await.expect("shutdown");
    task.await.expect("the writer ends");
}

/// Events go from the old end, by number and by age, and their numbers go on although all of them were old.
async fn old_events_go_and_numbers_go_on(store: &Store) {
    let (writer, task) = begin(store).await;
    for id in 1..=20 {
        write(&writer, WindowBatch { window: Some(window(id)), ..WindowBatch::default() }).await;
    }
    let all = store.log_state().await.expect("state");
    assert_eq!((all.oldest, all.newest, all.epoch.len()), (1, 21, 16));
    store
        .clone()
        .with_retention(Retention { max_events: 8, ..Retention::default() })
        .retain()
        .await
        .expect("retention");
    assert_eq!(store.log_state().await.expect("state"), LogState { oldest: 14, ..all.clone() });
    // Windows end at 10, 15, … 105 s; by the begin of the newest those that end before 85 s are too old.
    let aged = Retention { max_age_ns: Some(15 * S), reached_windows: 0, ..Retention::default() };
    store.clone().with_retention(aged).retain().await.expect("retention");
    assert_eq!(store.log_state().await.expect("state"), LogState { oldest: 17, ..all.clone() });
    let none = Retention { max_age_ns: Some(0), reached_windows: 0, ..Retention::default() };
    // A newer window, whose event is the only one left, as its number is the last.
    write(&writer, WindowBatch { window: Some(window(1000)), ..WindowBatch::default() }).await;
    write(&writer, WindowBatch { window: Some(window(30)), ..WindowBatch::default() }).await;
    store.clone().with_retention(none).retain().await.expect("retention");
    let left = store.log_state().await.expect("state");
    assert_eq!((left.newest, left.epoch == all.epoch), (23, true));
    assert!((22..=23).contains(&left.oldest), "{left:?}");
    write(&writer, WindowBatch { window: Some(window(31)), ..WindowBatch::default() }).await;
    assert_eq!(store.last_event().await.expect("number"), 24);
    writer.shutdown().await.expect("shutdown");
    task.await.expect("the writer ends");
}

macro_rules! on_both {
    ($check:ident, $sqlite:ident, $postgres:ident) => {
        #[tokio::test]
        async fn $sqlite() {
            let folder = tempfile::tempdir().expect("folder");
            let url = format!("sqlite:{}", folder.path().join("nta.db").display());
            $check(&Store::open(&url).await.expect("open")).await;
        }

        #[tokio::test]
        async fn $postgres() {
            let Some(server) = Server::start(stringify!($postgres)) else { return };
            let store = server.open().await;
            $check(&store).await;
            store.close().await;
        }
    };
}

on_both!(
    alerts_are_raised_changed_cleared_and_raised_again,
    alerts_are_raised_changed_cleared_and_raised_again_on_sqlite,
    alerts_are_raised_changed_cleared_and_raised_again_on_postgresql
);
on_both!(
    old_events_go_and_numbers_go_on,
    old_events_go_and_numbers_go_on_on_sqlite,
    old_events_go_and_numbers_go_on_on_postgresql
);

#[tokio::test]
async fn the_log_keeps_its_identity_and_another_database_has_another() {
    let folder = tempfile::tempdir().expect("folder");
    let epoch = async |name: &str| {
        let store = Store::open(&format!("sqlite:{}", folder.path().join(name).display())).await.expect("open");
        let state = store.log_state().await.expect("state");
        store.close().await;
        state.epoch
    };
    let first = epoch("a.db").await;
    assert_eq!(first.len(), 16);
    assert_eq!(epoch("a.db").await, first);
    assert_ne!(epoch("b.db").await, first);
}

#[tokio::test]
async fn what_belongs_to_no_window_is_of_the_sensor_of_this_process() {
    let store = Store::open("sqlite::memory:").await.expect("open");
    let log =
        async |kind| store.log_event(Timestamp::from_nanos(1), kind, &serde_json::json!({})).await.expect("logged");
    log("job_begun").await;
    let (_writer, _task) = begin(&store).await;
    log("job_ended").await;
    let events = store.events_after(0, 100).await.expect("events");
    let of = |kind: &str| events.iter().find(|event| event.kind == kind).map(|event| event.sensor.as_deref());
    assert_eq!((of("job_begun"), of("job_ended")), (Some(None), Some(Some("test"))));
}
