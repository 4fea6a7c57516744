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

async fn suite(store: &Store) {
    let (writer, _task) = begin(store).await;
    for id in 1..=2 {
        let kept = vec![measure(7, 9.0), measure(8, 2.5 + id as f64)];
        let near = HostMeasures { kept, left_out: id };
        let measured = Measured { span_ns: 5 * S, length_ns: 5 * S, ..Measured::default() };
        let window = Window { near, measured, ..window(id) };
        writer.send(WindowBatch { window: Some(window), ..WindowBatch::default() }).await.expect("send");
    }
    writer.flush().await.expect("flush");
    let ask = async |host: u8, second: u64, sensor: Option<&str>| {
        let at = Timestamp::from_nanos(second * S);
        store.nearness([10, 0, 0, host].into(), at, &[5 * S, 30 * S], sensor).await.expect("query")
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
}

#[tokio::test]
async fn what_hosts_came_near_to_is_stored_on_sqlite() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(&format!("sqlite:{}", folder.path().join("nta.db").display())).await.expect("open");
    suite(&store).await;
}

#[tokio::test]
async fn what_hosts_came_near_to_is_stored_on_postgresql() {
    let Some(server) = Server::start("what_hosts_came_near_to_is_stored_on_postgresql") else { return };
    let store = server.open().await;
    suite(&store).await;
    store.close().await;
}
