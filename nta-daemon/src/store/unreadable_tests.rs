//! Documents and totals that somebody changed, on both databases; SQLite's columns of any kind stand in `tests/api/unreadable.rs`.

use super::db::Query;
use super::detection_tests::alert;
use super::server_tests::Server;
use super::tests::{FIRST_PAGE, begin, flow, window};
use super::*;
use nta_core::domain::{Mode, Readings, Timestamp};

async fn change(store: &Store, sql: &str) {
    let mut transaction = store.database.begin().await.expect("a transaction");
    transaction.conn().expect("a connection").execute(Query::new(sql)).await.expect(sql);
    transaction.commit().await.expect("a commit");
}

fn live(started: u64) -> Run {
    Run {
        started: Timestamp::from_nanos(started),
        mode: Mode::Live,
        source: "eth0".to_owned(),
        version: "0".to_owned(),
        sensor: "gw".to_owned(),
        uuid: Run::new_uuid(Timestamp::from_nanos(1)),
        analysis: None,
    }
}

/// Of each table one document that cannot be read, and others.
async fn documents(store: &Store) {
    let (writer, task) = store.writer(store.begin_run(&live(1)).await.expect("run"), 4);
    for n in 1..=3_u8 {
        let id = u64::from(n);
        let alert = alert(n, 100 + id);
        let anomaly = Anomaly { number: id, alert: alert.id, severity: alert.severity, finding: alert.latest.clone() };
        let features = FeatureRow {
            start: Timestamp::from_nanos(id),
            end: Timestamp::from_nanos(id + 5),
            span_ns: 5,
            host: [10, 0, 0, 1].into(),
            schema_version: 1,
            vector: vec![1.0],
        };
        let batch = WindowBatch {
            window: Some(window(id)),
            flows: vec![flow(id, 10 + id, id)],
            alerts: vec![alert],
            anomalies: vec![anomaly],
            features: vec![features],
            readings: Some(Readings { maps: "m".to_owned(), time_ns: 7, ..Readings::default() }),
            ..WindowBatch::default()
        };
        writer.send(batch).await.expect("send");
    }
    writer.flush().await.expect("flush");
    let name = baselines_name(Mode::Live, "gw");
    store.save_baselines(&name, &nta_core::baseline::Export::default()).await.expect("baselines");
    task.abort();
    drop(task.await);
    // One row of each, the second.
    for sql in [
        "UPDATE windows SET body = '{\"v\":2,' WHERE number = 2",
        "UPDATE flows SET tcp = '[1]' WHERE id = 2",
        "UPDATE detected_alerts SET body = '' WHERE number = (SELECT max(number) - 1 FROM detected_alerts)",
        "UPDATE anomalies SET body = '{\"v\":9}' WHERE number = 2",
        "UPDATE aggregated_features SET vector = '{}' WHERE start_ns = 2",
        "UPDATE baselines SET body = 'x'",
        "UPDATE meta SET value = 'x' WHERE name LIKE 'readings%'",
    ] {
        change(store, sql).await;
    }
    let windows = WindowFilter { span_ns: Some(5_000_000_000), ..WindowFilter::default() };
    let page = store.windows(&windows, WindowSort::Time, FIRST_PAGE).await.expect("windows");
    assert_eq!(page.items.iter().map(|window| window.packets).collect::<Vec<_>>(), [1, 3]);
    // Two at a time: there is a next page, and it begins behind both.
    let two = Position { limit: 2, ..FIRST_PAGE };
    let page = store.windows(&windows, WindowSort::Time, two).await.expect("windows");
    assert_eq!((page.items.len(), page.next.is_some()), (1, true));
    let rest = store.windows(&windows, WindowSort::Time, Position { after: page.next, ..two }).await.expect("windows");
    assert_eq!((rest.items.len(), rest.next), (1, None));
    let flows = store.flows(FlowSort::Time, FIRST_PAGE).await.expect("flows");
    assert_eq!(flows.items, [flow(1, 11, 1), flow(3, 13, 3)]);
    let alerts = store.alerts(&AlertFilter::default(), AlertSort::Time, FIRST_PAGE).await.expect("alerts");
    assert_eq!(alerts.items.len(), 2);
    let lost = alert(2, 102).id.to_string();
    assert!(matches!(store.alert(&lost).await, Err(StoreError::Corrupt { table: "detected_alerts", .. })));
    let anomalies = store.anomalies(&AnomalyFilter::default(), AnomalySort::Time, FIRST_PAGE).await.expect("anomalies");
    assert_eq!(anomalies.items.len(), 2);
    let features = store.features(&FeatureFilter::default(), FIRST_PAGE).await.expect("features");
    assert_eq!(features.items.len(), 2);
    assert_eq!(store.baselines(&name).await.expect("readable"), None);
    let counts = store.stats().rows_unreadable;
    for table in ["windows", "flows", "detected_alerts", "anomalies", "aggregated_features", "baselines"] {
        assert!(counts.get(table).is_some_and(|rows| *rows > 0), "{table}: {counts:?}");
    }
    assert!(store.resume("gw").await.is_none());
    let run = store.begin_run(&live(100)).await.expect("the next start");
    let (writer, _task) = store.writer(run, 4);
    writer.send(WindowBatch { window: Some(window(4)), ..WindowBatch::default() }).await.expect("send");
    writer.flush().await.expect("flush");
    assert_eq!(store.stats().failures, 0);
}

/// Whatever `totals` holds, batches are stored and counts are right behind them; nothing is deleted by it.
async fn totals(store: &Store) {
    let retention = Retention { max_flows: 1000, max_alerts: 1000, ..Retention::default() };
    let store = store.clone().with_retention(retention);
    let (writer, _task) = begin(&store).await;
    let is_sqlite = store.path().is_some();
    let mut batches = 0;
    for sql in [
        "SELECT 1",
        "DELETE FROM totals",
        "UPDATE totals SET name = 'x' || name",
        "UPDATE totals SET value = -7",
        "UPDATE totals SET value = 9223372036854775807",
        "UPDATE totals SET value = 0",
        "UPDATE totals SET value = 'text'",
        "UPDATE totals SET value = 1.5",
        "UPDATE totals SET value = x'00'",
    ] {
        if !is_sqlite && (sql.contains("'text'") || sql.contains("1.5") || sql.contains("x'")) && !sql.contains("name")
        {
            continue;
        }
        change(&store, sql).await;
        batches += 1;
        let (id, alert) = (batches, alert(1, 100 + batches));
        let batch = WindowBatch {
            window: Some(window(id)),
            flows: vec![flow(id, 10 + id, id)],
            alerts: vec![alert],
            ..WindowBatch::default()
        };
        writer.send(batch).await.expect("send");
        writer.flush().await.unwrap_or_else(|error| panic!("{sql}: {}", error.chain()));
        store.retain().await.unwrap_or_else(|error| panic!("{sql}: {}", error.chain()));
        assert_eq!((store.stats().failures, store.stats().batches_lost), (0, 0), "{sql}");
        let flows = store.flows(FlowSort::Time, FIRST_PAGE).await.expect("flows");
        assert_eq!(flows.items.len() as u64, batches, "{sql}: nothing is deleted");
        if sql != "UPDATE totals SET value = 0" {
            let counts = [store.window_count().await.expect("count"), store.flow_count().await.expect("count")];
            assert_eq!(counts, [batches; 2], "{sql}");
        }
        let (last, events) =
            (store.last_event().await.expect("number"), store.events_after(0, 1000).await.expect("log"));
        assert_eq!(events.last().map(|event| event.seq), Some(last), "{sql}");
        change(&store, "UPDATE totals SET value = (SELECT count(*) FROM flows) WHERE name = 'flows'").await;
        change(
            &store,
            "UPDATE totals SET value = (SELECT count(*) FROM windows WHERE factor = 1) WHERE name = 'windows'",
        )
        .await;
    }
}

async fn sqlite(folder: &tempfile::TempDir) -> Store {
    Store::open(&format!("sqlite:{}", folder.path().join("nta.db").display())).await.expect("open")
}

#[tokio::test]
async fn documents_that_cannot_be_read_are_left_out_on_sqlite() {
    let folder = tempfile::tempdir().expect("folder");
    documents(&sqlite(&folder).await).await;
}

#[tokio::test]
async fn documents_that_cannot_be_read_are_left_out_on_postgresql() {
    let Some(server) = Server::start("documents_that_cannot_be_read_are_left_out_on_postgresql") else { return };
    let store = server.open().await;
    documents(&store).await;
    store.close().await;
}

#[tokio::test]
async fn totals_that_cannot_be_right_are_counted_again_on_sqlite() {
    let folder = tempfile::tempdir().expect("folder");
    totals(&sqlite(&folder).await).await;
}

#[tokio::test]
async fn totals_that_cannot_be_right_are_counted_again_on_postgresql() {
    let Some(server) = Server::start("totals_that_cannot_be_right_are_counted_again_on_postgresql") else { return };
    let store = server.open().await;
    totals(&store).await;
    store.close().await;
}
