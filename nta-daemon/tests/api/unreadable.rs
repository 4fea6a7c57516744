//! Stored rows that somebody changed: whatever they hold, they are left out and the others are answered; the next start goes on,
//! and what it writes is stored.

use std::path::Path;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use nta_core::baseline::Export;
use nta_core::domain::{AlertChange, AlertKind, Mode, RawPacket, Readings, Status, Timestamp};
use nta_daemon::api::{AnalysisAccess, ApiState, router};
use nta_daemon::store::{
    DeadLetter, FeatureRow, JobOwner, NewJob, Outbox, ResultFile, ResultKind, Run, Store, StoreError, Upload,
    UploadState, UploadTotals, WebhookRow, WindowBatch, baselines_name,
};
use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _};
use tokio::sync::watch;
use tower::ServiceExt as _;

use crate::alerts::{alert, emit};
use crate::app::{App, HOST, flow, group, parse, time, window};

/// What a column is changed into, as SQL.
const VALUES: [&str; 8] = ["'text'", "x'ff00'", "9223372036854775807", "1.5", "-1", "'{}'", "NULL", "''"];
/// Rows of each larger table: one for each value, and some that nobody changed.
const ROWS: u64 = 12;
const LISTS: [(&str, &str); 15] = [
    ("shipped", "/api/sensors"),
    ("windows", "/api/metrics?span=5&from=0"),
    ("windows", "/api/metrics?span=5&sort=-bandwidth&from=0"),
    ("windows", "/api/metrics?span=15&from=0"),
    ("flows", "/api/flows?from=0&host=10.0.0.1"),
    ("flows", "/api/alltraffic?from=0"),
    ("flows", "/api/last10"),
    ("detected_alerts", "/api/alerts?from=0"),
    ("detected_alerts", "/api/alerts?from=0&sort=-score"),
    ("anomalies", "/api/anomalies?from=0"),
    ("anomalies", "/api/anomalies/top?from=0"),
    ("aggregated_features", "/api/features?from=0"),
    ("hosts", "/api/hosts?from=0"),
    ("audit_log", "/api/audit"),
    ("jobs", "/api/jobs"),
];
const OTHERS: [&str; 18] = [
    "/api/analysis/list-files",
    "/api/mutes",
    "/api/flows?from=0&sensor=test",
    "/api/metrics?span=10&from=0&sensor=test",
    "/api/metrics/summary",
    "/api/metrics/summary?from=7&to=40",
    "/api/metrics/1",
    "/api/hosts/10.0.0.1",
    "/api/services",
    "/api/anomalies/by-type",
    "/api/anomalies/by-type?from=0&to=900",
    "/api/anomalies/summary",
    "/api/anomalies/window/1",
    "/api/baselines",
    "/api/baselines/bandwidth",
    "/api/status",
    "/health",
    "/metrics",
];

const COMPUTATIONS: [&str; 2] = ["/api/anomalies/detect", "/api/baselines/generate"];

fn live(started_s: u64) -> Run {
    Run {
        started: time(started_s),
        mode: Mode::Live,
        source: "eth0".to_owned(),
        version: "0".to_owned(),
        sensor: "gw".to_owned(),
        uuid: Run::new_uuid(Timestamp::from_nanos(1)),
        analysis: None,
    }
}

fn upload() -> Upload {
    Upload {
        file_id: String::new(),
        name: "a.pcap".to_owned(),
        state: UploadState::Failed,
        bytes: 1,
        length: Some(2),
        sha256: None,
        head: None,
        added: time(1),
        changed: time(1),
        run: None,
        totals: UploadTotals::default(),
        problem: Some("cut".to_owned()),
        recorded: None,
        span: None,
    }
}

/// A database with rows in every table, left by a live run that was killed. Its columns take NULL.
async fn template(folder: &Path) -> Vec<(String, String, u64)> {
    let app = App::with(ROWS, ROWS).await;
    let sources = 1..=u8::try_from(ROWS).expect("few");
    let alerts: Vec<_> = sources.map(|n| alert(AlertKind::PortScan, n, u64::from(n), 0.5)).collect();
    emit(&app, AlertChange::Raised, &alerts).await;
    let features = |n: u64| FeatureRow {
        start: time(n),
        end: time(n + 5),
        span_ns: 5_000_000_000,
        host: [10, 0, 0, 1].into(),
        schema_version: 1,
        vector: vec![1.0],
    };
    let heads = (1..=ROWS).map(|n| RawPacket { time: time(n), wire_len: 60, head: vec![1; 60] }).collect();
    let hosts = (1..=ROWS).map(|n| {
        let mut flow = flow(100 + n);
        flow.responder.address = [10, 0, 1, u8::try_from(n).expect("few")].into();
        flow
    });
    app.batch(WindowBatch {
        features: (1..=ROWS).map(features).collect(),
        raw_packets: heads,
        flows: hosts.collect(),
        groups: (1..=ROWS).map(|n| group(200 + n)).collect(),
        ..WindowBatch::default()
    })
    .await;
    app.store.save_baselines(&baselines_name(Mode::Live, "gw"), &Export::default()).await.expect("baselines");
    app.store.sensor_name("gw", None).await.expect("a name");
    app.store.note_captures("a", &[("00".to_owned(), "a.pcap".to_owned(), 1)], time(1)).await.expect("captures");
    for number in 1..=ROWS {
        let row =
            WebhookRow { cursor: number, last_error: Some((time(1), "away".to_owned())), ..WebhookRow::default() };
        app.store.set_webhook("gw", &format!("hook-{number}"), &row).await.expect("a webhook");
        let mut events = app.store.events_after(number, 1).await.expect("events");
        let letter = DeadLetter {
            id: 0,
            webhook: "ops".to_owned(),
            event: events.pop().expect("an event"),
            failed: time(number),
            attempts: 1,
            error: "away".to_owned(),
        };
        app.store.add_dead_letter("gw", &letter).await.expect("a dead letter");
        let upload = Upload { file_id: format!("{number:032x}"), ..upload() };
        app.store.insert_upload(&upload).await.expect("an upload");
        let job = NewJob {
            id: format!("{number}"),
            kind: "windows".to_owned(),
            who: "test".to_owned(),
            request: "{}".to_owned(),
            key: Some((format!("{number}"), vec![1; 32])),
            created: time(number),
        };
        app.store.insert_job(&owner(&live(20)), &job).await.expect("a job");
        let file = ResultFile {
            name: format!("scored-{number}.csv"),
            sensor: "gw".to_owned(),
            kind: ResultKind::Scored,
            job: format!("{number}"),
            source: "a.pcap".to_owned(),
            model: Some("bf05a71c9512".to_owned()),
            rows: 1,
            bytes: 1,
            sha256: "00".repeat(32),
            created: time(number),
        };
        app.store.insert_results(&[file]).await.expect("a file");
    }
    let (writer, task) = app.store.writer(app.store.begin_run(&live(20)).await.expect("run"), 4);
    let readings = Some(Readings { maps: "m".to_owned(), time_ns: 7, ..Readings::default() });
    let alerts = vec![alert(AlertKind::SynFlood, 99, 5, 0.5)];
    let flows = vec![flow(900), flow(901)];
    let batch = WindowBatch { window: Some(window(5)), readings, alerts, flows, ..WindowBatch::default() };
    writer.send(batch).await.expect("send");
    writer.flush().await.expect("flush");
    let id = app.store.alerts_between(time(0), time(900), None).await.expect("alerts").len();
    assert_eq!(id as u64, ROWS + 1);
    let patch = serde_json::json!({ "note": "seen", "verdict": "benign" });
    for alert in &alerts_of(&app).await {
        assert_eq!(app.send(Method::PATCH, &format!("/api/alerts/{alert}"), &patch).await.0, StatusCode::OK);
    }
    let mute = |number: u64| {
        serde_json::json!({
            "host": format!("192.0.2.{number}"), "reason": "ours", "expires": (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(48)).to_string(),
        })
    };
    for number in 0..ROWS {
        assert_eq!(app.send(Method::POST, "/api/mutes", &mute(number)).await.0, StatusCode::CREATED);
    }
    task.abort();
    app.store.close().await;
    let path = folder.join("template.db");
    std::fs::copy(app.url.trim_start_matches("sqlite:"), &path).expect("a copy");
    let mut conn = open(&path).await;
    for sql in [
        // Nothing writes these by the store yet.
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12) \
         INSERT INTO models SELECT i, printf('%012x', i), 'xgboost', 'job', 'test', i, x'00', '{}', '{}' FROM n",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12) \
         INSERT INTO active_models SELECT printf('s%d', i), 'xgboost', printf('%012x', i), '', 'test', i FROM n",
        "INSERT OR IGNORE INTO alert_hosts SELECT number, raised_ns, x'00000000000000000000ffff0a000063', 1 FROM detected_alerts",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12) \
         INSERT OR IGNORE INTO troubles SELECT printf('s%d', i), 'capture/eth0', 'high', 'away' FROM n",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12) \
         INSERT OR IGNORE INTO services (sensor, start_ns, name, proto, flows, packets, bytes) \
         SELECT 'gw', i * 300000000000, 'http', 0, 1, 1, 1 FROM n",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12) \
         INSERT INTO outbox SELECT i, i, 1, 1, NULL, x'00' FROM n",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12) \
         INSERT INTO shipped SELECT printf('gw%d', i), 'e', 1, '[{\"first\":1,\"last\":3}]', 0, 0, 0, 9, i, i, \
         '{\"newest\":3,\"sent_ns\":1,\"about\":{\"version\":\"0\",\"pending_batches\":0,\"pending_bytes\":0,\
         \"pending_since_ns\":null,\"given_up\":0,\"failed\":0,\"reasons\":[],\"settings\":0}}' FROM n",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12) \
         INSERT INTO sensor_settings SELECT printf('gw%d', i), 1, '{}' FROM n",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12) \
         INSERT INTO packet_logs SELECT printf('gw%d', i), 'e', i, NULL, 'a', 0, i, i FROM n",
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_master SET sql = replace(sql, ' NOT NULL', '') WHERE type = 'table' AND name NOT LIKE '\\_%' ESCAPE '\\'",
        "PRAGMA writable_schema = OFF",
        "DROP TRIGGER audit_log_is_not_changed",
    ] {
        sqlx::query(sql).execute(&mut conn).await.expect("a change of the schema");
    }
    conn.close().await.expect("closed");
    let mut conn = open(&path).await;
    // With a token nobody would be answered without one; what a damaged one does is a test of its own.
    let columns = sqlx::query(
        "SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table' \
         AND m.name NOT LIKE 'sqlite%' AND m.name NOT LIKE '\\_%' ESCAPE '\\' AND m.name <> 'api_tokens'",
    );
    let mut found = Vec::new();
    for row in columns.fetch_all(&mut conn).await.expect("columns") {
        let (table, column): (String, String) = (row.get(0), row.get(1));
        let rows = sqlx::query(AssertSqlSafe(format!("SELECT count(*) FROM {table}")));
        let rows: i64 = rows.fetch_one(&mut conn).await.expect("a count").get(0);
        found.push((table, column, rows.unsigned_abs()));
    }
    conn.close().await.expect("closed");
    found
}

fn owner(run: &Run) -> JobOwner {
    JobOwner { sensor: run.sensor.clone(), mode: run.mode, run: run.uuid }
}

async fn alerts_of(app: &App) -> Vec<String> {
    let page = app.json("/api/alerts?from=0").await;
    let id = |item: &Value| item["id"].as_str().expect("an id").to_owned();
    page["items"].as_array().expect("items").iter().map(id).collect()
}

async fn open(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).foreign_keys(false).connect().await.expect("a connection")
}

async fn ask(router: &Router, method: Method, path: &str) -> (StatusCode, String) {
    let request = Request::builder().method(method.clone()).uri(path).header(header::HOST, HOST);
    let body = if method == Method::GET { Body::empty() } else { Body::from("{}") };
    let request = request.header(header::CONTENT_TYPE, "application/json").body(body).expect("request");
    let answer = router.clone().oneshot(request).await.expect("an answer");
    let status = answer.status();
    let body = to_bytes(answer.into_body(), usize::MAX).await.expect("body");
    (status, String::from_utf8_lossy(&body).into_owned())
}

/// Asks everything, then starts the daemon's store once more; what went wrong.
async fn use_it(path: &Path, table: &str, is_large: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    let store = match Store::open(&format!("sqlite:{}", path.display())).await {
        // Small enough that something has to go.
        Ok(store) => store.with_outbox(Outbox { flows: true, raw_packets: true, max_bytes: 1 }),
        Err(error) => return vec![format!("open: {}", error.chain())],
    };
    let (_sender, status) = watch::channel(Status { window_ns: 5_000_000_000, ..Status::default() });
    let router = router(ApiState::new(store.clone(), status).with_analysis(AnalysisAccess::default()));
    for (of, list) in LISTS {
        let (status, body) = ask(&router, Method::GET, list).await;
        // Those that nobody changed are there.
        let items = || parse(body.as_bytes())["items"].as_array().map_or(0, Vec::len);
        if status != StatusCode::OK || (of != table || is_large) && items() == 0 {
            wrong.push(format!("{list}: {status} {body:.300}"));
        }
    }
    for (method, paths) in [(Method::GET, &OTHERS[..]), (Method::POST, &COMPUTATIONS[..])] {
        for path in paths {
            let (status, body) = ask(&router, method.clone(), path).await;
            if status.is_server_error() {
                wrong.push(format!("{path}: {status} {body:.300}"));
            }
        }
    }
    if let Err(error) = store.outbox_state().await {
        wrong.push(format!("the outbox: {}", error.chain()));
    }
    if let Err(error) = start_again(&store).await {
        wrong.push(format!("the next start: {}", error.chain()));
    }
    if store.stats().failures > 0 {
        wrong.push(format!("writing: {:?}", store.stats().last_error));
    }
    store.close().await;
    wrong
}

async fn start_again(store: &Store) -> Result<(), StoreError> {
    store.sensor_name("gw", None).await?;
    let resume = store.resume("gw").await;
    let run = live(40);
    let key = store.begin_run(&run).await?;
    store.jobs_left(&owner(&run)).await?;
    if let Some(resume) = resume {
        store.take_over_flows(resume.run, &run.uuid).await?;
    }
    let (writer, _task) = store.writer(key, 4);
    let batch = WindowBatch {
        window: Some(window(8)),
        alerts: vec![alert(AlertKind::SynFlood, 99, 5, 0.5)],
        flows: vec![flow(900), flow(901), flow(902)],
        ..WindowBatch::default()
    };
    writer.send(batch).await?;
    writer.flush().await?;
    // A webhook whose row cannot be read begins anew, and is written again.
    for number in 1..=ROWS {
        let name = format!("hook-{number}");
        let row = store.webhook("gw", &name).await?.unwrap_or_default();
        store.set_webhook("gw", &name, &row).await?;
    }
    store.dead_letters("gw", None, 100).await?;
    store.count_dead_letters("gw", "ops").await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_stored_row_holds_the_others_are_answered_and_the_next_start_goes_on() {
    let folder = tempfile::tempdir().expect("folder");
    let (mut changed, mut wrong) = (0, Vec::new());
    // Each is read by every route: `cargo xtask ci` has the time for all.
    let step = if nta_tests::is_long() { 1 } else { 3 };
    for (table, column, rows) in template(folder.path()).await.into_iter().step_by(step) {
        assert!(rows > 0, "{table} is empty");
        // Each value in a row of its own, or, where there are few rows, some of them in all in turn.
        let is_large = rows > VALUES.len() as u64;
        let all: Vec<Vec<(usize, &str)>> = if is_large {
            vec![VALUES.iter().copied().enumerate().collect()]
        } else {
            VALUES.iter().step_by(2).map(|value| vec![(usize::MAX, *value)]).collect()
        };
        for values in all {
            let what = format!("{table}.{column} {values:?}");
            let path = folder.path().join("nta.db");
            for end in ["", "-wal", "-shm"] {
                drop(std::fs::remove_file(folder.path().join(format!("nta.db{end}"))));
            }
            std::fs::copy(folder.path().join("template.db"), &path).expect("a copy");
            let mut conn = open(&path).await;
            for (at, value) in values {
                let which = if at == usize::MAX {
                    String::new()
                } else {
                    format!(" WHERE rowid = (SELECT rowid FROM {table} ORDER BY rowid LIMIT 1 OFFSET {at})")
                };
                // What a key does not take is not to be met either.
                let change = format!("UPDATE OR IGNORE {table} SET {column} = {value}{which}");
                changed += usize::from(sqlx::query(AssertSqlSafe(change)).execute(&mut conn).await.is_ok());
            }
            conn.close().await.expect("closed");
            wrong.extend(use_it(&path, &table, is_large).await.into_iter().map(|wrong| format!("{what}: {wrong}")));
        }
    }
    assert!(changed > 500 / step, "{changed} changes");
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn a_walk_goes_on_past_pages_of_rows_that_cannot_be_read_which_are_counted() {
    let app = App::with(30, 0).await;
    let mut conn = open(Path::new(app.url.trim_start_matches("sqlite:"))).await;
    let change = "UPDATE windows SET body = '{\"v\":2,' WHERE factor = 1 AND number BETWEEN 10 AND 20";
    sqlx::query(change).execute(&mut conn).await.expect("a change");
    let id: i64 = sqlx::query("SELECT id FROM windows WHERE factor = 1 AND number = 15")
        .fetch_one(&mut conn)
        .await
        .expect("a row")
        .get(0);
    for span in ["5", "15"] {
        let (mut met, mut empty) = (0, 0);
        let mut url = format!("/api/metrics?span={span}&limit=2&sort=time");
        loop {
            let page = app.json(&url).await;
            let items = page["items"].as_array().expect("items").len();
            (met, empty) = (met + items, empty + u32::from(items == 0));
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            url = format!("/api/metrics?span={span}&limit=2&cursor={cursor}");
        }
        // Windows 10 to 20 are in none, or a part of those of three.
        assert_eq!(met, if span == "5" { 19 } else { 8 }, "{span}");
        assert!(empty > 0 || span == "15", "{span}: {empty}");
    }
    let (status, media_type, body) = app.get(&format!("/api/metrics/{id}")).await;
    let problem = parse(&body);
    assert_eq!((status, media_type.as_str()), (StatusCode::NOT_FOUND, "application/problem+json"), "{problem}");
    let detail = problem["detail"].as_str().expect("a detail");
    assert!(detail.contains("cannot be read") && !detail.contains("EOF"), "{detail}");
    let status = app.json("/api/status").await;
    assert!(status["store"]["rows_unreadable"]["windows"].as_u64().is_some_and(|rows| rows >= 11), "{status}");
    let metrics = String::from_utf8(app.get("/metrics").await.2).expect("text");
    assert!(metrics.contains("nta_store_rows_unreadable_total{table=\"windows\"}"), "{metrics}");
}
