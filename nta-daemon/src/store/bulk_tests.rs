//! Many rows in a batch leave what the same rows leave one by one, by a number of statements that does not grow with them.

use super::db::fault::{self, Fault};
use super::db::{Query, Row};
use super::detection_tests::alert;
use super::rows::WindowRow;
use super::server_tests::Server;
use super::tests::{begin, flow, window};
use super::*;
use nta_core::domain::{Alert, AlertState, RawPacket, Severity, Timestamp};
use nta_core::window::Window;

const S: u64 = 1_000_000_000;
/// More than one statement takes on either database.
const MANY: u64 = 1_100;

/// What is stored, but for numbers that the database gives and times of the machine.
pub(super) const STORED: [(&str, &[&str]); 11] = [
    ("windows", &["factor", "number", "start_ns", "end_ns", "span_ns", "packets", "bytes", "connections", "body"]),
    (
        "window_hours",
        &[
            "factor",
            "hour_ns",
            "window_ns",
            "windows",
            "first_ns",
            "last_ns",
            "span_ns",
            "packets",
            "bytes",
            "connections",
            "min_bps",
            "max_bps",
            "rtt_samples",
            "rtt_sum_ms",
            "rtt_min_ms",
            "rtt_max_ms",
            "rtt_shortest_ms",
        ],
    ),
    ("detected_alerts", &["id", "severity", "state", "first_ns", "last_ns", "raised_ns", "cleared_ns", "body"]),
    ("anomalies", &["number", "alert_id", "kind", "severity", "start_ns", "body"]),
    ("anomaly_totals", &["kind", "severity", "count", "alerts", "first_ns", "last_ns", "score_max_ppm"]),
    ("aggregated_features", &["span_ns", "start_ns", "end_ns", "schema_version", "vector"]),
    ("flows", &["id", "first_ns", "last_ns", "orig_packets", "resp_bytes", "orig_port", "tcp", "history"]),
    ("hosts", &["flows", "flows_out", "packets_sent", "packets", "bytes", "first_ns", "last_ns"]),
    ("services", &["start_ns", "name", "proto", "flows", "packets", "bytes"]),
    ("raw_packets", &["time_ns", "wire_len"]),
    ("totals", &["name", "value"]),
];

fn field(row: &Row, column: &str) -> String {
    match column {
        "body" | "id" | "kind" | "state" | "alert_id" | "vector" | "name" | "tcp" | "history"
            if row.int(column).is_err() =>
        {
            format!("{:?}", row.opt_text(column).expect(column))
        }
        // Sums of fractions come out in one order or another.
        column if column.ends_with("_ms") => format!("{:.6?}", row.opt_real(column).expect(column)),
        column => format!("{:?}", row.opt_int(column).expect(column)),
    }
}

pub(super) async fn stored(store: &Store, tables: &[(&str, &[&str])]) -> Vec<String> {
    let mut all = Vec::new();
    for (table, columns) in tables {
        let query = Query::new(format!("SELECT {} FROM {table}", columns.join(", ")));
        let rows = store.database.fetch_all(query).await.expect(table);
        let text = |row: &Row| columns.iter().map(|column| field(row, column)).collect::<Vec<_>>().join(" ");
        let mut rows: Vec<String> = rows.iter().map(|row| format!("{table} {}", text(row))).collect();
        rows.sort_unstable();
        all.extend(rows);
    }
    all
}

/// Alert `n` of some hosts, as it was raised.
fn raised(n: u64) -> Alert {
    let of = alert(1, 100 + n * 5);
    Alert { severity: [Severity::Low, Severity::High][n as usize % 2], ..of }
}

/// Row `n` of every kind; every third alert is cleared by the row after it, and every window comes twice.
fn add(n: u64, batch: &mut WindowBatch) {
    let raised_now = raised(n);
    let start = Timestamp::from_nanos(n * 5 * S);
    let head = RawPacket { time: start, wire_len: 60, head: vec![1; 60] };
    let features = FeatureRow {
        start,
        end: start.plus(5 * S),
        span_ns: 5 * S,
        host: [10, 0, 0, 1].into(),
        schema_version: 1,
        vector: vec![n as f64],
    };
    let finding = raised_now.finding.clone();
    let anomaly = Anomaly { number: n, alert: raised_now.id, severity: raised_now.severity, finding };
    batch.longer.extend([(6, window(n)), (36, window(n)), (6, window(n))]);
    batch.flows.push(flow(n, 10 + n, n));
    batch.raw_packets.push(head);
    batch.alerts.push(raised_now);
    if let Some(before) = n.checked_sub(1).filter(|before| *before > 0 && before.is_multiple_of(3)) {
        let cleared = Some(Timestamp::from_nanos(n * 100 * S));
        batch.alerts.push(Alert { state: AlertState::Cleared, cleared, ..raised(before) });
    }
    batch.anomalies.push(anomaly);
    batch.features.push(features);
}

/// Writes all rows in one batch, or a batch for each.
async fn write(store: &Store, is_together: bool) {
    let (writer, _task) = begin(store).await;
    let mut batch = WindowBatch::default();
    for n in 1..=MANY {
        add(n, &mut batch);
        if !is_together || n == MANY {
            writer.send(std::mem::take(&mut batch)).await.expect("send");
        }
    }
    writer.flush().await.expect("flush");
    assert_eq!(store.stats().failures, 0, "{:?}", store.stats());
}

async fn together_as_one_by_one(together: &Store, apart: &Store) {
    write(together, true).await;
    write(apart, false).await;
    let (found, expected) = (stored(together, &STORED).await, stored(apart, &STORED).await);
    assert!(found.len() as u64 > 6 * MANY, "{} rows", found.len());
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len());
    // Every event has its number, and those of windows name the window's own.
    for store in [together, apart] {
        let events = store.events_after(0, u32::MAX).await.expect("events");
        assert!(events.iter().zip(1..).all(|(event, seq)| event.seq == seq), "a number is missing");
        let closed = events.iter().filter(|event| event.kind == "window_closed");
        let mut windows = 0;
        for event in closed {
            let body: serde_json::Value = serde_json::from_str(&event.body).expect("JSON");
            let of = store.window(body["id"].as_u64().expect("an id")).await.expect("a query").expect("a window");
            assert_eq!(of.item.end, event.time);
            windows += 1;
        }
        assert_eq!(windows, 2 * MANY, "of two with the same key one is stored");
        let changes = events.iter().filter(|event| event.kind.starts_with("alert_")).count() as u64;
        assert_eq!(changes, MANY + (MANY - 1) / 3, "each change of an alert is an event");
    }
}

#[tokio::test]
async fn rows_of_one_batch_are_stored_as_one_by_one_on_sqlite() {
    let (together, apart) = (Store::open("sqlite::memory:").await, Store::open("sqlite::memory:").await);
    together_as_one_by_one(&together.expect("open"), &apart.expect("open")).await;
}

#[tokio::test]
async fn rows_of_one_batch_are_stored_as_one_by_one_on_postgresql() {
    let name = "rows_of_one_batch_are_stored_as_one_by_one_on_postgresql";
    let (Some(one), Some(other)) = (Server::start(name), Server::start(name)) else { return };
    let (together, apart) = (one.open().await, other.open().await);
    together_as_one_by_one(&together, &apart).await;
    together.close().await;
    apart.close().await;
}

/// Windows of three hours with and without round trips, and such of which only the mean is known.
fn windows_of_all_kinds() -> Vec<WindowRow> {
    let shapes = [(0, None), (0, None), (4, Some(2.0)), (2, Some(0.5)), (3, None), (1, Some(9.0))];
    let of = |n: u64| {
        // Every hour begins with another shape, and only the third has one without the shortest.
        let hour = n / 40;
        let (count, shortest) = shapes[(n + hour) as usize % if hour == 2 { 6 } else { 4 }];
        let row = WindowRow::new([1, 6][n as usize % 2], &window(n * 18)).expect("a row");
        WindowRow {
            rtt_samples: count,
            rtt_mean_ms: (count > 0).then_some(10.0 + n as f64),
            rtt_max_ms: (count > 0).then_some(20.0 + n as f64 % 7.0),
            rtt_shortest_ms: shortest,
            bandwidth_bps: (n * 7919 % 1000).cast_signed(),
            connections: 1,
            ..row
        }
    };
    (0..120).map(of).collect()
}

async fn sums_of_hours(store: &Store, rows_at_once: usize) -> Vec<String> {
    drop(begin(store).await);
    let mut transaction = store.database.begin().await.expect("a transaction");
    for rows in windows_of_all_kinds().chunks(rows_at_once) {
        let conn = transaction.conn().expect("a connection");
        assert_eq!(window_write::insert(conn, (1, 1), rows).await.expect("written").len(), rows.len());
    }
    transaction.commit().await.expect("a commit");
    stored(store, &STORED[1..2]).await
}

#[tokio::test]
async fn sums_of_hours_do_not_depend_on_how_many_windows_come_together() {
    let server = Server::start("sums_of_hours_do_not_depend_on_how_many_windows_come_together");
    let mut found = Vec::new();
    for rows_at_once in [1, 7, 1000] {
        found.push(sums_of_hours(&Store::open("sqlite::memory:").await.expect("open"), rows_at_once).await);
        if let Some(server) = &server {
            let store = server.open().await;
            let mut conn = store.database.connect().await.expect("a connection");
            let empty = "DELETE FROM windows; DELETE FROM window_hours; DELETE FROM events; DELETE FROM runs; \
                         ALTER TABLE runs ALTER id RESTART WITH 1";
            conn.run(empty).await.expect("emptied");
            found.push(sums_of_hours(&store, rows_at_once).await);
            store.close().await;
        }
    }
    assert_eq!(found[0].len(), 6, "{:#?}", found[0]);
    assert!(found.iter().all(|sums| *sums == found[0]), "{found:#?}");
}

/// Windows that come again, within what is written together and from before: each is stored once, and is new once.
async fn doubles(store: &Store) {
    drop(begin(store).await);
    let row = |n: u64, packets: u64| WindowRow::new(1, &Window { packets, ..window(n) }).expect("a row");
    // Some are there; of two in one statement the first is stored.
    let before: Vec<_> = (1..=50).map(|n| row(n * 10, 1)).collect();
    let all: Vec<_> = (1..=1500).map(|n| row(n, 2)).chain((1001..=2000).map(|n| row(n, 3))).collect();
    let mut transaction = store.database.begin().await.expect("a transaction");
    let conn = transaction.conn().expect("a connection");
    assert_eq!(window_write::insert(conn, (1, 1), &before).await.expect("written").len(), 50);
    let new = window_write::insert(conn, (1, 1), &all).await.expect("written");
    assert_eq!(new.len(), 2000 - 50);
    assert_eq!(window_write::insert(conn, (1, 1), &all).await.expect("written").len(), 0, "all are there");
    transaction.commit().await.expect("a commit");
    let sums =
        "SELECT count(DISTINCT id) AS ids, count(*) AS windows, CAST(sum(packets) AS BIGINT) AS packets FROM windows";
    let sums = store.database.fetch_optional(Query::new(sums)).await.expect("sums").expect("a row");
    let of = |name| sums.int(name).expect("a number");
    assert_eq!([of("ids"), of("windows"), of("packets")], [2000, 2000, 50 + 1450 * 2 + 500 * 3]);
    assert_eq!(store.window_count().await.expect("a count"), 2000);
    let summed = store.windows_summary(&WindowFilter::default()).await.expect("a summary");
    assert_eq!((summed.windows, summed.packets), (2000, 50 + 1450 * 2 + 500 * 3));
    // An event names the row that is stored.
    let named: std::collections::BTreeSet<_> = new.iter().map(|event| event.body.as_str()).collect();
    assert_eq!(named.len(), new.len());
}

#[tokio::test]
async fn windows_that_come_again_are_stored_once_on_sqlite() {
    doubles(&Store::open("sqlite::memory:").await.expect("open")).await;
}

#[tokio::test]
async fn windows_that_come_again_are_stored_once_on_postgresql() {
    let Some(server) = Server::start("windows_that_come_again_are_stored_once_on_postgresql") else { return };
    let store = server.open().await;
    doubles(&store).await;
    store.close().await;
}

/// Statements by which a batch of so many rows of each kind is written.
async fn statements(store: &Store, rows: std::ops::Range<u64>) -> u32 {
    let (writer, _task) = begin(store).await;
    let mut batch = WindowBatch::default();
    rows.for_each(|n| add(n, &mut batch));
    fault::arm(u32::MAX, Fault::Full, false);
    writer.send(batch).await.expect("send");
    writer.flush().await.expect("flush");
    u32::MAX - fault::passes_left().expect("no fault")
}

async fn statements_do_not_grow_with_rows(store: &Store, most_more: u32) {
    let few = statements(store, 1..3).await;
    let many = statements(store, 10_000..10_100).await;
    assert!(many <= few + most_more, "{few} statements for two rows of each kind, {many} for a hundred");
}

#[tokio::test]
async fn a_batch_takes_as_many_statements_for_a_hundred_rows_as_for_two() {
    // 300 windows, 133 alerts and 333 events take one to three more for each table.
    statements_do_not_grow_with_rows(&Store::open("sqlite::memory:").await.expect("open"), 10).await;
    let name = "a_batch_takes_as_many_statements_for_a_hundred_rows_as_for_two";
    let Some(server) = Server::start(name) else { return };
    let store = server.open().await;
    statements_do_not_grow_with_rows(&store, 0).await;
    store.close().await;
}
