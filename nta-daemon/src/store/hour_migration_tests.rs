//! A database of the version before windows had their measured time: sums by the hour are made again of the windows that are stored.

use super::db::{Conn, Dialect, Query};
use super::sensor_migration_tests::{postgres_before, sqlite_before};
use super::server_tests::Server;
use super::windows::WindowFilter;
use super::*;

const S: i64 = 1_000_000_000;
const HOUR: i64 = 3_600 * S;

/// Windows of the version before: start in seconds, bytes, bandwidth as it was then, round trips with their mean, document.
const WINDOWS: [(i64, i64, i64, &str, &str); 5] = [
    (0, 50_000, 80_000, "2, 10.0, 20.0", r#"{"a":1,"length_ns":5000000000,"b":2}"#),
    // Counted for 0.27 s: its rate divides by a second.
    (5, 30_000, 888_888, "0, NULL, NULL", r#"{"length_ns":270000000}"#),
    // Nothing was counted, for nobody did.
    (10, 0, 0, "0, NULL, NULL", r#"{"length_ns":1}"#),
    // Documents that do not say it: then the whole window stands for it.
    (3_600, 0, 0, "0, NULL, NULL", "{}"),
    (3_605, 10, 16, "0, NULL, NULL", "no document"),
];

async fn fill(conn: &mut Conn) {
    let uuid = if conn.dialect() == Dialect::Sqlite { "randomblob(16)" } else { "decode(md5(random()::text), 'hex')" };
    let mut all = vec![
        "INSERT INTO sensors (name) VALUES ('a')".to_owned(),
        format!(
            "INSERT INTO runs (id, started_ns, mode, source, version, uuid, sensor) \
             VALUES (1, 1, 'live', 'eth0', '0', {uuid}, 'a')"
        ),
    ];
    for (number, (start, bytes, bps, rtt, body)) in WINDOWS.into_iter().enumerate() {
        let (start, end, length, packets) = (start * S, (start + 5) * S, 5 * S, bytes / 10);
        all.push(format!(
            "INSERT INTO windows (run_id, factor, number, start_ns, end_ns, span_ns, packets, bytes, flows, connections, \
             bandwidth_bps, rtt_samples, rtt_mean_ms, rtt_max_ms, body) VALUES (1, 1, {number}, {start}, {end}, \
             {length}, {packets}, {bytes}, 0, 1, {bps}, {rtt}, '{body}')"
        ));
    }
    // Sums that no window is behind: wrong ones, and those of windows that are gone.
    for hour in [0, 5] {
        let (hour, length) = (hour * HOUR, 5 * S);
        all.push(format!(
            "INSERT INTO window_hours (factor, hour_ns, run_id, window_ns, windows, first_ns, last_ns, span_ns, packets, bytes, \
             connections, min_bps, max_bps, rtt_samples) VALUES (1, {hour}, 1, {length}, 99, 1, 2, 3, 4, 5, 6, 7, 8, 9)"
        ));
    }
    all.push(
        "INSERT INTO detected_alerts (id, run_id, kind, severity, score_ppm, state, first_ns, last_ns, raised_ns, body) \
         VALUES ('1', 1, 'port_scan', 1, 5, 'raised', 1, 2, 2, '')"
            .to_owned(),
    );
    for (number, alert) in [(1, "1"), (2, "gone")] {
        all.push(format!(
            "INSERT INTO anomalies (run_id, number, alert_id, kind, severity, score_ppm, start_ns, end_ns, body) \
             VALUES (1, {number}, '{alert}', 'port_scan', 1, 5, 10, 15, '')"
        ));
    }
    for sql in all {
        conn.execute(Query::new(sql.clone())).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

async fn check(store: &Store) {
    let mut transaction = store.database.begin().await.expect("begin");
    let conn = transaction.conn().expect("a connection");
    let columns = [
        "hour_ns",
        "windows",
        "first_ns",
        "last_ns",
        "span_ns",
        "packets",
        "bytes",
        "connections",
        "min_bps",
        "max_bps",
    ];
    let sql = format!("SELECT {} FROM window_hours ORDER BY hour_ns", columns.join(", "));
    let rows = conn.fetch_all(Query::new(sql)).await.expect("hours");
    let hours: Vec<[i64; 10]> =
        rows.iter().map(|row| columns.map(|column| row.int(column).expect("a number"))).collect();
    let expected = [
        // Least and most are those of windows for which packets were counted.
        [0, 3, 0, 15 * S, 6 * S + 1, 8_000, 80_000, 3, 80_000, 888_888],
        [HOUR, 2, HOUR, HOUR + 10 * S, 10 * S, 1, 10, 2, 0, 16],
    ];
    assert_eq!(hours, expected);
    let anomalies = conn.number(Query::new("SELECT count(*) FROM anomalies")).await.expect("a number");
    let counted = conn.fetch_all(Query::new("SELECT * FROM anomaly_totals")).await.expect("totals").len();
    assert_eq!((anomalies, counted), (1, 1), "anomalies go with their alert");
    drop(transaction);
    let all = store.windows_summary(&WindowFilter::default()).await.expect("a summary");
    assert_eq!((all.windows, all.bytes, all.span_ns), (5, 80_010, 16 * S + 1));
    assert_eq!((all.min_bps, all.max_bps), (Some(0), Some(888_888)));
    // Of the round trips only the mean is known.
    let trips = (all.rtt_samples, all.rtt_sum_ms, all.rtt_min_ms, all.rtt_max_ms);
    assert_eq!(trips, (2, Some(20.0), Some(10.0), Some(20.0)));
}

#[tokio::test]
async fn hours_of_a_sqlite_file_of_before_are_made_of_its_windows() {
    let folder = tempfile::tempdir().expect("folder");
    let url = format!("sqlite:{}", folder.path().join("nta.db").display());
    let mut conn = sqlite_before(&url, 16).await;
    fill(&mut conn).await;
    drop(conn);
    check(&Store::open(&url).await.expect("migrated")).await;
}

#[tokio::test]
async fn hours_of_a_postgresql_database_of_before_are_made_of_its_windows() {
    let Some(server) = Server::start("hours_of_a_postgresql_database_of_before_are_made_of_its_windows") else {
        return;
    };
    let mut conn = postgres_before(&server, 12).await;
    fill(&mut conn).await;
    drop(conn);
    let store = server.open().await;
    check(&store).await;
    store.close().await;
}
