//! What hosts came near to is stored with the window in which they did, on both databases.

use super::server_tests::Server;
use super::tests::{begin, window};
use super::*;
use nta_core::domain::{HostMeasure, HostMeasures, Timestamp};
use nta_core::window::{Measured, Window};

const S: u64 = 1_000_000_000;

fn measure(host: u8, observed: f64) -> HostMeasure {
    HostMeasure {
        detector: "port_scan".into(),
        host: [10, 0, 0, host].into(),
        name: "ports_tried_in_vain".into(),
        unit: "ports".into(),
        observed,
        threshold: 10.0,
    }
}

async fn suite(store: Store) {
    let (writer, _task) = begin(&store).await;
    for id in 1..=2 {
        let kept = vec![measure(7, 9.0), measure(8, 2.5 + id as f64)];
        let near = HostMeasures { kept, left_out: id, is_forgotten: false };
        let measured = Measured { span_ns: 5 * S, length_ns: 5 * S, ..Measured::default() };
        let window = Window { near, measured, ..window(id) };
        writer.send(WindowBatch { window: Some(window), ..WindowBatch::default() }).await.expect("send");
    }
    writer.flush().await.expect("flush");
    let ask = async |host: u8, second: u64, sensor: Option<&str>| {
        let at = Timestamp::from_nanos(second * S);
        store.nearness([10, 0, 0, host].into(), at, &[5 * S, 30 * S], &sensor.into()).await.expect("query")
    };
    let found = ask(8, 12, None).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].start, found[0].end), (Timestamp::from_nanos(10 * S), Timestamp::from_nanos(15 * S)));
    assert_eq!((found[0].measures.as_slice(), found[0].left_out), ([measure(8, 4.5)].as_slice(), 2));
    assert_eq!(ask(8, 12, Some("test")).await, found);
    assert!(ask(8, 12, Some("another")).await.is_empty());
    // The first instant of a window is in it, the first behind it is not.
    assert_eq!(ask(8, 5, None).await[0].measures, [measure(8, 3.5)]);
    assert_eq!(ask(8, 10, None).await[0].measures, [measure(8, 4.5)]);
    // A host that came near to nothing is known to; a time without a window is not known.
    assert_eq!(ask(9, 12, None).await[0].measures, []);
    assert!(ask(8, 100, None).await.is_empty());
    bounds(store, &writer).await;
}

/// Each of the windows has two measures. They go oldest first, and their windows stay.
async fn bounds(store: Store, writer: &StoreWriter) {
    let kept = async |store: &Store| {
        let mut kept = Vec::new();
        for second in [7, 12, 17] {
            let found = store
                .nearness([10, 0, 0, 7].into(), Timestamp::from_nanos(second * S), &[5 * S], &Whose::default())
                .await;
            let found = found.expect("query");
            assert_eq!(found.len(), 1, "the window of {second} s is there");
            kept.push((found[0].measures.len(), found[0].left_out, found[0].is_forgotten));
        }
        kept
    };
    let near = HostMeasures { kept: vec![measure(7, 9.0), measure(8, 5.0)], left_out: 3, is_forgotten: false };
    let measured = Measured { span_ns: 5 * S, length_ns: 5 * S, ..Measured::default() };
    let third = Window { near, measured, ..window(3) };
    writer.send(WindowBatch { window: Some(third), ..WindowBatch::default() }).await.expect("send");
    writer.flush().await.expect("flush");
    let all = [(1, 1, false), (1, 2, false), (1, 3, false)];
    let only = |max_near| Retention { max_near, ..Retention::default() };
    let store = store.with_retention(only(6));
    store.retain_now().await;
    assert_eq!(kept(&store).await, all, "as many as may be");
    let store = store.with_retention(only(3));
    store.retain_now().await;
    let newest = [(0, 0, true), (0, 0, true), (1, 3, false)];
    assert_eq!(kept(&store).await, newest, "a window loses all of its measures, the oldest first");
    assert_eq!((store.stats().near_measures_deleted, store.stats().windows_deleted), (4, 0));
    assert_eq!(store.total(totals::NEAR).await.expect("total"), 2);
    let packets = |windows: &WindowPage| windows.items.iter().map(|one| one.item.packets).collect::<Vec<_>>();
    let filter = WindowFilter { span_ns: Some(5 * S), ..WindowFilter::default() };
    let first = Position { descending: false, after: None, limit: 10 };
    let windows = store.windows(&filter, WindowSort::Time, first).await.expect("windows");
    assert_eq!(packets(&windows), [1, 2, 3].map(|id| window(id).packets), "all else of them stays");
    // The first begins at 5 s, the third, which is the newest, at 15 s.
    let aged =
        |seconds: u64| Retention { max_near_age_ns: Some(seconds * S), reached_windows: 0, ..Retention::default() };
    let store = store.with_retention(aged(0));
    store.retain_now().await;
    assert_eq!(kept(&store).await, newest, "none is older than the newest window");
    let fourth = Window { measured, ..window(4) };
    writer.send(WindowBatch { window: Some(fourth), ..WindowBatch::default() }).await.expect("send");
    writer.flush().await.expect("flush");
    let store = store.with_retention(aged(4));
    store.retain_now().await;
    assert_eq!(kept(&store).await, [(0, 0, true); 3]);
    // What goes with its window is counted no more.
    let store = store.with_retention(Retention { max_windows: 1, ..Retention::default() });
    store.retain_now().await;
    assert_eq!(store.total(totals::NEAR).await.expect("total"), 0);
}

#[tokio::test]
async fn what_hosts_came_near_to_is_stored_on_sqlite() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(&format!("sqlite:{}", folder.path().join("nta.db").display())).await.expect("open");
    suite(store).await;
}

#[tokio::test]
async fn what_hosts_came_near_to_is_stored_on_postgresql() {
    let Some(server) = Server::start("what_hosts_came_near_to_is_stored_on_postgresql") else { return };
    let store = server.open().await;
    suite(store.clone()).await;
    store.close().await;
}
