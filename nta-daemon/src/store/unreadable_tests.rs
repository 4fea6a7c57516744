//! Documents and totals that somebody changed, on both databases; SQLite's columns of any kind stand in `tests/api/unreadable.rs`.

use super::db::Query;
use super::detection_tests::alert;
use super::server_tests::Server;
use super::tests::{FIRST_PAGE, begin, flow, window};
use super::*;
use nta_core::domain::{Mode, Readings, Timestamp};
use std::net::IpAddr;

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

/// What a column of a type is changed into, as SQL.
fn values(kind: &str) -> &'static [&'static str] {
    match kind {
        "bigint" => &["9223372036854775807", "-9223372036854775808", "-1", "0", "4611686018427387904", "70000"],
        "double precision" => &["'NaN'", "'Infinity'", "'-Infinity'", "-1", "1e308"],
        "bytea" => &["''", "'\\xff00'"],
        _ => &["''", "'text'", "'{}'", "'[1e999]'", "'-1'"],
    }
}

/// Everything that the daemon reads, and what the next start writes; what went wrong.
async fn use_it(store: &Store, table: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut note = |what: &str, of: &str, items: Result<usize, StoreError>| match items {
        // Those that nobody changed are there.
        Ok(0) if of != table => wrong.push(format!("{what}: nothing")),
        Ok(_) => {}
        Err(error) => wrong.push(format!("{what}: {}", error.chain())),
    };
    let from = Some(Timestamp::default());
    for span_ns in [5_000_000_000, 15_000_000_000] {
        let filter = WindowFilter { span_ns: Some(span_ns), ..WindowFilter::default() };
        let page = if span_ns > 5_000_000_000 {
            store.merged_windows(&filter, 5_000_000_000, FIRST_PAGE).await
        } else {
            store.windows(&filter, WindowSort::Bandwidth, FIRST_PAGE).await
        };
        note("windows", "windows", page.map(|page| page.items.len()));
    }
    let filter = WindowFilter { from, ..WindowFilter::default() };
    note("summary", "", store.windows_summary(&filter).await.map(|_| 1));
    note("summary of all", "", store.windows_summary(&WindowFilter::default()).await.map(|_| 1));
    for (sort, host) in [(FlowSort::Time, None), (FlowSort::LastTime, Some(IpAddr::from([10, 0, 0, 1])))] {
        let filter = FlowFilter { hosts: host.into(), from, ..FlowFilter::default() };
        note("flows", "flows", store.find_flows(&filter, sort, FIRST_PAGE).await.map(|page| page.items.len()));
    }
    for sort in [AlertSort::Time, AlertSort::Score] {
        let alerts = store.alerts(&AlertFilter::default(), sort, FIRST_PAGE).await;
        note("alerts", "detected_alerts", alerts.map(|page| page.items.len()));
    }
    let anomalies = store.anomalies(&AnomalyFilter::default(), AnomalySort::Score, FIRST_PAGE).await;
    note("anomalies", "anomalies", anomalies.map(|page| page.items.len()));
    for filter in [AnomalyFilter::default(), AnomalyFilter { from, ..AnomalyFilter::default() }] {
        note("counts", "", store.anomaly_counts(&filter).await.map(|_| 1));
    }
    let features = store.features(&FeatureFilter::default(), FIRST_PAGE).await;
    note("features", "aggregated_features", features.map(|page| page.items.len()));
    let hosts = store.hosts(&Addresses::default(), &Whose::default(), HostSort::Bytes, FIRST_PAGE).await;
    note("hosts", "hosts", hosts.map(|page| page.items.len()));
    note("services", "", store.services(Range::default(), &Whose::default()).await.map(|_| 1));
    note("peers", "", store.top_peers([10, 0, 0, 1].into(), &Whose::default(), 5).await.map(|_| 1));
    note("heads", "raw_packets", store.raw_packets(5).await.map(|heads| heads.len()));
    note("events", "events", store.events_after(0, 10).await.map(|events| events.len()));
    note("retention", "", store.retain().await.map(|()| 1));
    // The next start.
    let _resume = store.resume("gw").await;
    match store.begin_run(&live(100)).await {
        Err(error) => wrong.push(format!("the next start: {}", error.chain())),
        Ok(run) => {
            let (writer, task) = store.writer(run, 4);
            writer.send(rich(8)).await.expect("send");
            if let Err(error) = writer.shutdown().await {
                wrong.push(format!("writing: {}", error.chain()));
            }
            task.await.expect("the writer ends");
        }
    }
    wrong
}

fn rich(id: u64) -> WindowBatch {
    let alert = alert(u8::try_from(id).expect("few"), 100 + id);
    let anomaly = Anomaly { number: id, alert: alert.id, severity: alert.severity, finding: alert.latest.clone() };
    let features = FeatureRow {
        start: Timestamp::from_nanos(id),
        end: Timestamp::from_nanos(id + 5),
        span_ns: 5,
        host: [10, 0, 0, 1].into(),
        schema_version: 1,
        vector: vec![1.0],
    };
    let head = nta_core::domain::RawPacket { time: Timestamp::from_nanos(id), wire_len: 60, head: vec![1; 60] };
    WindowBatch {
        window: Some(window(id)),
        flows: vec![flow(id, 10 + id, id)],
        alerts: vec![alert],
        anomalies: vec![anomaly],
        features: vec![features],
        raw_packets: vec![head],
        readings: Some(Readings { maps: "m".to_owned(), time_ns: 7, ..Readings::default() }),
        ..WindowBatch::default()
    }
}

#[tokio::test]
async fn whatever_a_postgresql_row_holds_the_others_are_answered_and_the_next_start_goes_on() {
    let name = "whatever_a_postgresql_row_holds_the_others_are_answered_and_the_next_start_goes_on";
    let Some(server) = Server::start(name) else { return };
    server.open().await.close().await;
    let of = |database: &str| server.url().replace("/postgres?", &format!("/{database}?"));
    let administer = async |sql: &str| {
        let mut conn = <sqlx::PgConnection as sqlx::Connection>::connect(&of("template1")).await.expect("a connection");
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut conn).await.expect("done");
    };
    administer("CREATE DATABASE before").await;
    let store = Store::open(&of("before")).await.expect("open");
    let (writer, task) = store.writer(store.begin_run(&live(1)).await.expect("run"), 4);
    for id in 1..=7 {
        writer.send(rich(id)).await.expect("send");
    }
    writer.flush().await.expect("flush");
    store.save_baselines(&baselines_name(Mode::Live, "gw"), &Default::default()).await.expect("baselines");
    task.abort();
    drop(task.await);
    let columns = "SELECT table_name, column_name, data_type FROM information_schema.columns \
                   WHERE table_schema = 'public' AND table_name NOT LIKE '\\_%' ORDER BY 1, 2";
    let columns = store.database.fetch_all(Query::new(columns)).await.expect("columns");
    let columns: Vec<[String; 3]> = columns
        .iter()
        .map(|row| ["table_name", "column_name", "data_type"].map(|name| row.text(name).expect("a name")))
        .collect();
    store.close().await;
    let (mut changed, mut wrong) = (0, Vec::new());
    // Each takes a database of its own: `cargo xtask ci` has the time for all.
    let step = if std::env::var_os("NTA_COLUMNS").is_some() { 1 } else { 6 };
    for [table, column, kind] in columns.iter().step_by(step) {
        administer("DROP DATABASE IF EXISTS nta").await;
        administer("CREATE DATABASE nta TEMPLATE before").await;
        let mut conn = <sqlx::PgConnection as sqlx::Connection>::connect(&of("nta")).await.expect("a connection");
        // Each value in a row of its own.
        let before = changed;
        for (at, value) in values(kind).iter().enumerate() {
            let change = format!(
                "UPDATE {table} SET {column} = {value} WHERE ctid = (SELECT ctid FROM {table} ORDER BY ctid LIMIT 1 OFFSET {at})"
            );
            // What a key does not take is not to be met either.
            let change = sqlx::raw_sql(sqlx::AssertSqlSafe(change)).execute(&mut conn).await;
            changed += change.map_or(0, |change| change.rows_affected());
        }
        sqlx::Connection::close(conn).await.expect("closed");
        // A table without rows says nothing, nor does a column that takes none of the values.
        if changed == before {
            continue;
        }
        match Store::open(&of("nta")).await {
            Err(error) => wrong.push(format!("{table}.{column}: open: {}", error.chain())),
            Ok(store) => {
                let found = use_it(&store, table).await;
                wrong.extend(found.into_iter().map(|wrong| format!("{table}.{column}: {wrong}")));
                store.close().await;
            }
        }
    }
    assert!(changed > 300 / step as u64, "{changed} changes");
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
