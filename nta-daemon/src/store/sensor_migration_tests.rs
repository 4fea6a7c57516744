//! A database of the version before sensors had numbers: each row becomes its own sensor's.

use super::db::{Conn, Dialect, Query};
use super::sensor::number;
use super::server_tests::Server;
use super::*;

/// What the version before has of two sensors, and what became of it.
async fn each_row_of_before_is_its_sensors(conn: &mut Conn, is_before: bool) {
    if is_before {
        for (run, sensor, start) in [(1, "a", 10), (2, "b", 20)] {
            let uuid =
                if conn.dialect() == Dialect::Sqlite { "randomblob(16)" } else { "decode(md5(random()::text), 'hex')" };
            let host =
                if conn.dialect() == Dialect::Sqlite { "zeroblob(16)" } else { "decode(repeat('00', 16), 'hex')" };
            for sql in [
                format!(
                    "INSERT INTO runs (id, started_ns, mode, source, version, uuid, sensor) \
                     VALUES ({run}, 1, 'live', 'eth0', '0', {uuid}, '{sensor}')"
                ),
                format!(
                    "INSERT INTO windows (run_id, factor, number, start_ns, end_ns, span_ns, packets, bytes, flows, \
                     connections, bandwidth_bps, rtt_samples, body) \
                     VALUES ({run}, 1, 1, {start}, {start} + 5, 5, 0, 0, 0, 0, 0, 0, '')"
                ),
                format!(
                    "INSERT INTO flows (run_id, id, proto, orig_addr, orig_port, resp_addr, resp_port, vlan, first_ns, \
                     last_ns, orig_packets, orig_bytes, orig_ip_bytes, resp_packets, resp_bytes, resp_ip_bytes, \
                     handshake_resp_us, handshake_orig_us, state, conn_state, history) \
                     VALUES ({run}, 1, 6, {host}, 1, {host}, 2, 0, {start}, {start}, 1, 1, 1, 1, 1, 1, 0, 0, 0, 'SF', '')"
                ),
                format!(
                    "INSERT INTO detected_alerts (id, run_id, kind, severity, score_ppm, state, first_ns, last_ns, \
                     raised_ns, body) VALUES ('{run}', {run}, 'port_scan', 1, 5, 'raised', 1, {start}, {start}, '')"
                ),
                format!(
                    "INSERT INTO anomalies (run_id, number, alert_id, kind, severity, score_ppm, start_ns, end_ns, body) \
                     VALUES ({run}, 1, '1', 'port_scan', 1, 5, {start}, {start} + 5, '')"
                ),
                format!(
                    "INSERT INTO aggregated_features (run_id, start_ns, end_ns, span_ns, host, schema_version, vector) \
                     VALUES ({run}, {start}, {start} + 5, 5, {host}, 1, '[]')"
                ),
            ] {
                conn.execute(Query::new(sql.clone())).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
            }
        }
        return;
    }
    for table in ["windows", "flows", "detected_alerts", "anomalies", "aggregated_features"] {
        for (sensor, run) in [("a", 1), ("b", 2)] {
            let sql = format!("SELECT run_id FROM {table} WHERE sensor_id = (SELECT id FROM sensors WHERE name = $1)");
            let rows = conn.fetch_all(Query::new(sql).bind(sensor)).await.expect("rows");
            let runs: Vec<i64> = rows.iter().map(|row| row.int("run_id").expect("a run")).collect();
            assert_eq!(runs, [run], "{table} of {sensor}");
        }
    }
    assert_eq!(number(conn, "c").await.expect("a number"), 3, "the next sensor is another one");
}

/// A SQLite file at this address with the tables before this version.
pub(super) async fn sqlite_before(url: &str, version: i64) -> Conn {
    let mut older = db::migrations::sqlite();
    older.migrations = older.migrations.iter().filter(|migration| migration.version < version).cloned().collect();
    let pool = sqlx::SqlitePool::connect(&format!("{url}?mode=rwc")).await.expect("open");
    older.run(&pool).await.expect("the older tables");
    pool.close().await;
    Conn::Sqlite(<sqlx::SqliteConnection as sqlx::Connection>::connect(url).await.expect("a connection"))
}

/// The server's database with the tables before this version.
pub(super) async fn postgres_before(server: &Server, version: i64) -> Conn {
    // Once it answers.
    let empty = server.open().await;
    let mut conn = empty.database.connect().await.expect("a connection");
    conn.run("DROP SCHEMA public CASCADE; CREATE SCHEMA public").await.expect("empty");
    drop(conn);
    empty.close().await;
    let mut older = db::migrations::postgres();
    older.migrations = older.migrations.iter().filter(|migration| migration.version < version).cloned().collect();
    let mut conn = <sqlx::PgConnection as sqlx::Connection>::connect(&server.url()).await.expect("a connection");
    older.run_direct(None, &mut conn, false).await.expect("the older tables");
    Conn::Postgres(conn)
}

#[tokio::test]
async fn rows_of_a_sqlite_file_of_before_are_each_sensors() {
    let folder = tempfile::tempdir().expect("folder");
    let url = format!("sqlite:{}", folder.path().join("nta.db").display());
    let mut conn = sqlite_before(&url, 14).await;
    each_row_of_before_is_its_sensors(&mut conn, true).await;
    drop(conn);
    let store = Store::open(&url).await.expect("migrated");
    let mut transaction = store.database.begin().await.expect("begin");
    each_row_of_before_is_its_sensors(transaction.conn().expect("a connection"), false).await;
}

#[tokio::test]
async fn rows_of_a_postgresql_database_of_before_are_each_sensors() {
    let Some(server) = Server::start("rows_of_a_postgresql_database_of_before_are_each_sensors") else { return };
    let mut conn = postgres_before(&server, 10).await;
    each_row_of_before_is_its_sensors(&mut conn, true).await;
    drop(conn);
    let store = server.open().await;
    let mut transaction = store.database.begin().await.expect("begin");
    each_row_of_before_is_its_sensors(transaction.conn().expect("a connection"), false).await;
    drop(transaction);
    store.close().await;
}
