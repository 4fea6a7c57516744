//! Alerts and anomalies name the stored window that decided, on both databases.

use super::detection_tests::alert;
use super::server_tests::Server;
use super::tests::{FIRST_PAGE, begin, window};
use super::*;
use nta_core::domain::{AlertChange, Timestamp};
use nta_core::window::Window;

const S: u64 = 1_000_000_000;

/// Ids of the windows of all alerts and of all anomalies, oldest first.
async fn named(store: &Store) -> [Vec<Option<u64>>; 2] {
    let alerts = store.alerts(&AlertFilter::default(), AlertSort::Time, FIRST_PAGE).await.expect("alerts").items;
    let anomalies =
        store.anomalies(&AnomalyFilter::default(), AnomalySort::Time, FIRST_PAGE).await.expect("anomalies").items;
    for of_list in &alerts {
        let one = store.alert(&of_list.id).await.expect("alert").expect("it is stored");
        assert_eq!(one.window.id(), of_list.window.id(), "alone as in the list");
    }
    [
        alerts.iter().map(|alert| alert.window.id()).collect(),
        anomalies.iter().map(|anomaly| anomaly.window.id()).collect(),
    ]
}

async fn write(store: &Store, writer: &StoreWriter, batch: WindowBatch) {
    writer.send(batch).await.expect("send");
    writer.flush().await.expect("flush");
    assert_eq!(store.stats().failures, 0);
}

async fn suite(store: &Store) {
    let base = |number: u64| WindowBatch { window: Some(window(number)), ..WindowBatch::default() };
    // Another run saw the same seconds.
    let (other, _other) = begin(store).await;
    write(store, &other, base(20)).await;
    let (writer, _task) = begin(store).await;
    // Two hosts' scans from 100 to 105 s and from 105 to 110 s, each with its finding; the second window is late.
    let mut found = Found::new(store.clone(), 0);
    found.alert(AlertChange::Raised, &alert(2, 105));
    found.alert(AlertChange::Raised, &alert(3, 110));
    let mut batch = base(20);
    found.move_into(&mut batch);
    let long = Window { end: Timestamp::from_nanos(130 * S), ..window(20) };
    batch.longer = vec![(6, long)];
    write(store, &writer, batch).await;
    let of = async |second: u64| {
        let at = Timestamp::from_nanos(second * S);
        let filter = WindowFilter { from: Some(at), to: Some(at.plus(1)), ..WindowFilter::default() };
        let windows = store.windows(&filter, WindowSort::Time, FIRST_PAGE).await.expect("windows").items;
        windows.iter().map(|window| window.item.id).max()
    };
    let first = of(102).await;
    assert!(first.is_some());
    assert_eq!(named(store).await, [vec![first, None], vec![first, None]], "of its run and length, and none yet");
    write(store, &writer, base(21)).await;
    let second = of(107).await;
    assert_eq!(named(store).await, [vec![first, second], vec![first, second]]);
    for id in [first, second].into_iter().flatten() {
        assert!(store.window(id).await.expect("window").is_some());
        let of_it = store.anomalies_of_window(id, AnomalySort::Time, FIRST_PAGE).await.expect("anomalies").items;
        assert_eq!(of_it.iter().map(|anomaly| anomaly.window.id()).collect::<Vec<_>>(), [Some(id)], "there and back");
    }
}

#[tokio::test]
async fn alerts_and_anomalies_name_their_window_on_sqlite() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(&format!("sqlite:{}", folder.path().join("nta.db").display())).await.expect("open");
    suite(&store).await;
}

#[tokio::test]
async fn alerts_and_anomalies_name_their_window_on_postgresql() {
    let Some(server) = Server::start("alerts_and_anomalies_name_their_window_on_postgresql") else { return };
    let store = server.open().await;
    suite(&store).await;
    store.close().await;
}
