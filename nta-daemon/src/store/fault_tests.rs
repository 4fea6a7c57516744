//! Faults at every statement: what is said to be written is there for another connection, once, and nothing is missing.

use std::sync::Arc;

use super::db::Query;
use super::db::fault::{self, Coded, Fault};
use super::detection_tests::alert;
use super::server_tests::Server;
use super::tests::{begin, flow, window};
use super::*;
use nta_common::LedgerSlot;
use nta_core::baseline::{BaselineConfig, Baselines};
use nta_core::domain::{Mode, RawPacket, Readings, Severity, Timestamp};

const S: u64 = 1_000_000_000;

/// A batch with rows of every kind, none of which another batch has.
fn rich(number: u64) -> WindowBatch {
    let alert = alert(1, 100 + number * 5);
    let finding = alert.finding.clone();
    let anomaly = Anomaly { number, alert: alert.id, severity: Severity::Medium, finding };
    let start = Timestamp::from_nanos(number * 5 * S);
    let features = FeatureRow {
        start,
        end: start.plus(5 * S),
        span_ns: 5 * S,
        host: [10, 0, 0, 1].into(),
        schema_version: 1,
        vector: vec![1.0],
    };
    WindowBatch {
        window: Some(window(number)),
        longer: vec![(6, window(number))],
        flows: vec![flow(2 * number, 10, 3), flow(2 * number + 1, 10, 4)],
        groups: Vec::new(),
        raw_packets: vec![RawPacket { time: start, wire_len: 60, head: vec![1; 60] }],
        alerts: vec![alert],
        anomalies: vec![anomaly],
        features: vec![features],
        baselines: Some((Mode::Replay, Arc::new(Baselines::new(BaselineConfig::default()).export()))),
        readings: Some(readings()),
        notices: Vec::new(),
        standing: None,
        end: None,
    }
}

fn readings() -> Readings {
    let ledger = vec![LedgerSlot { seen_bytes: 7, ..LedgerSlot::default() }];
    Readings { maps: "m".to_owned(), time_ns: u64::MAX, clock_offset_ns: 5, ledger }
}

async fn number(store: &Store, sql: &str) -> u64 {
    let row = store.database.fetch_optional(Query::new(sql)).await.expect("a query").expect("a row");
    from_sql(row.first().expect("a number"))
}

/// Lets each statement of a batch fail in each way; after every one of them the batch is reported as written, and is.
async fn every_statement_fails_once(store: &Store, other: &Store) {
    let (writer, _task) = begin(store).await;
    let mut batches = 0;
    for fault in Fault::ALL {
        for is_late in [false, true] {
            for passes in 0.. {
                batches += 1;
                fault::arm(passes, fault, is_late);
                writer.send(rich(batches)).await.expect("send");
                writer.flush().await.unwrap_or_else(|error| panic!("{fault:?} at {passes}: {}", error.chain()));
                assert_eq!(number(other, "SELECT last_batch FROM runs").await, batches, "{fault:?} at {passes}");
                if fault::disarm() {
                    break;
                }
            }
        }
    }
    // Some hit retention, which runs between batches.
    let stats = store.stats();
    let faults = stats.failures;
    assert!(faults >= 8 * 20, "{faults} faults: a batch has more statements than that");
    assert_eq!((stats.batches, stats.batches_lost), (batches, 0));
    assert!(!stats.failing && stats.batches_waiting == 0 && stats.batches_in_memory == 0);
    for (sql, times) in [
        ("SELECT count(*) FROM windows WHERE factor = 1", 1),
        ("SELECT count(*) FROM windows WHERE factor = 6", 1),
        ("SELECT count(DISTINCT number) FROM windows", 1),
        ("SELECT CAST(sum(windows) AS BIGINT) FROM window_hours WHERE factor = 1", 1),
        ("SELECT CAST(sum(windows) AS BIGINT) FROM window_hours WHERE factor = 6", 1),
        ("SELECT value FROM totals WHERE name = 'windows'", 1),
        ("SELECT count(*) FROM flows", 2),
        ("SELECT value FROM totals WHERE name = 'flows'", 2),
        ("SELECT flows FROM hosts ORDER BY host LIMIT 1", 2),
        ("SELECT packets_sent FROM hosts ORDER BY host LIMIT 1", 7),
        ("SELECT count(*) FROM detected_alerts", 1),
        ("SELECT value FROM totals WHERE name = 'alerts'", 1),
        ("SELECT count(*) FROM anomalies", 1),
        ("SELECT CAST(sum(count) AS BIGINT) FROM anomaly_totals", 1),
        ("SELECT count(*) FROM aggregated_features", 1),
        ("SELECT count(*) FROM raw_packets", 1),
        ("SELECT count(*) FROM events WHERE kind = 'window_closed'", 2),
        ("SELECT count(*) FROM events WHERE kind LIKE 'alert_%'", 1),
    ] {
        assert_eq!(number(other, sql).await, batches * times, "{sql}");
    }
    assert_eq!(
        number(other, "SELECT count(*) FROM events").await,
        number(other, "SELECT max(seq) FROM events").await,
        "no number is missing"
    );
    let resume = other.resume("test").await.expect("what the next start goes on from");
    assert_eq!((resume.readings, resume.flows.len() as u64), (readings(), 2 * batches));
    // A fault is trouble until a batch is written that was not there yet. Of one whose commit had come through without
    // an answer it is logged with the next.
    let logged = number(other, "SELECT count(*) FROM events WHERE kind = 'store_trouble'").await;
    assert!((faults - 8..=faults).contains(&logged), "{logged} of {faults}");
    let events = other.events_after(0, u32::MAX).await.expect("events");
    let trouble = events.iter().find(|event| event.kind == "store_trouble").expect("trouble");
    let body: serde_json::Value = serde_json::from_str(&trouble.body).expect("JSON");
    assert!(
        body["from"].as_str() <= body["to"].as_str() && body["error"].as_str().is_some_and(|e| e.contains("injected"))
    );
}

/// Batches of a replay that wait in the queue are committed together. A fault in any of them, or a flow that several have,
/// changes nothing of what is stored.
async fn batches_of_a_replay_are_committed_together(store: &Store, other: &Store) {
    const GROUP: u64 = 3;
    let (writer, _task) = begin(store).await;
    let (mut groups, mut is_over) = (0, false);
    for passes in (0..).step_by(5) {
        if is_over {
            break;
        }
        for (fault, is_late) in [(Fault::ALL[passes as usize % Fault::ALL.len()], false), (Fault::ALL[0], true)] {
            fault::arm(passes, fault, is_late);
            for number in groups * GROUP + 1..=(groups + 1) * GROUP {
                let batch = rich(number);
                let flows = [flow(1_000_000, 10 + number, number)].into_iter().chain(batch.flows).collect();
                writer.send(WindowBatch { flows, ..batch }).await.expect("send");
            }
            groups += 1;
            writer.flush().await.unwrap_or_else(|error| panic!("{fault:?} at {passes}: {}", error.chain()));
            assert_eq!(number(other, "SELECT last_batch FROM runs").await, groups * GROUP, "{fault:?} at {passes}");
            is_over = fault::disarm();
        }
    }
    let commits = store.database.seen().iter().filter(|query| query.sql() == "COMMIT").count() as u64;
    // A late fault makes one whose answer is lost.
    assert!((groups / 2..=groups).contains(&commits), "{commits} commits of {groups} groups");
    let (batches, stats) = (groups * GROUP, store.stats());
    assert_eq!((stats.batches, stats.batches_lost, stats.batches_waiting), (batches, 0, 0));
    for (sql, rows) in [
        ("SELECT count(*) FROM windows WHERE factor = 1", batches),
        ("SELECT CAST(sum(windows) AS BIGINT) FROM window_hours WHERE factor = 1", batches),
        ("SELECT count(*) FROM flows", 2 * batches + 1),
        ("SELECT value FROM totals WHERE name = 'flows'", 2 * batches + 1),
        ("SELECT orig_packets FROM flows WHERE id = 1000000", batches),
        ("SELECT count(*) FROM anomalies", batches),
        ("SELECT count(*) FROM aggregated_features", batches),
        ("SELECT count(*) FROM events WHERE kind = 'window_closed'", 2 * batches),
        ("SELECT count(*) FROM events WHERE kind LIKE 'alert_%'", batches),
    ] {
        assert_eq!(number(other, sql).await, rows, "{sql}");
    }
}

#[tokio::test]
async fn batches_of_a_replay_are_committed_together_on_sqlite() {
    let folder = tempfile::tempdir().expect("folder");
    let url = format!("sqlite:{}", folder.path().join("nta.db").display());
    let (store, other) = (Store::open(&url).await.expect("open"), Store::open(&url).await.expect("open"));
    batches_of_a_replay_are_committed_together(&store, &other).await;
}

#[tokio::test]
async fn batches_of_a_replay_are_committed_together_on_postgresql() {
    let Some(server) = Server::start("batches_of_a_replay_are_committed_together_on_postgresql") else { return };
    let (store, other) = (server.open().await, server.open().await);
    batches_of_a_replay_are_committed_together(&store, &other).await;
    store.close().await;
    other.close().await;
}

#[tokio::test]
async fn a_fault_at_any_statement_loses_nothing_and_doubles_nothing_on_sqlite() {
    let folder = tempfile::tempdir().expect("folder");
    let url = format!("sqlite:{}", folder.path().join("nta.db").display());
    let store = Store::open(&url).await.expect("open");
    let other = Store::open(&url).await.expect("open");
    every_statement_fails_once(&store, &other).await;
}

#[tokio::test]
async fn a_fault_at_any_statement_loses_nothing_and_doubles_nothing_on_postgresql() {
    let test = "a_fault_at_any_statement_loses_nothing_and_doubles_nothing_on_postgresql";
    let Some(server) = Server::start(test) else { return };
    let (store, other) = (server.open().await, server.open().await);
    every_statement_fails_once(&store, &other).await;
    // The server itself ends the sessions, and a lock is in the way for a while.
    let (writer, _task) = begin(&store).await;
    writer.send(rich(10_001)).await.expect("send");
    writer.flush().await.expect("flush");
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'nta' \
               AND pid <> pg_backend_pid()";
    assert!(number(&other, end).await > 0);
    writer.send(rich(10_002)).await.expect("send");
    writer.flush().await.expect("written over a new connection");
    let known = "SELECT count(*) FROM windows WHERE factor = 1 AND number IN (10001, 10002)";
    let found = loop {
        // The reader's own connections were ended as well.
        if let Ok(Some(row)) = other.database.fetch_optional(Query::new(known)).await {
            break row.first().expect("a number");
        }
    };
    assert_eq!(found, 2);
    store.close().await;
    other.close().await;
}

#[tokio::test]
async fn a_change_of_an_alert_is_stored_or_refused() {
    let folder = tempfile::tempdir().expect("folder");
    let url = format!("sqlite:{}", folder.path().join("nta.db").display());
    let store = Store::open(&url).await.expect("open");
    let other = Store::open(&url).await.expect("open");
    let (writer, _task) = begin(&store).await;
    writer.send(rich(1)).await.expect("send");
    writer.flush().await.expect("flush");
    let id = rich(1).alerts[0].id.to_string();
    let patch = |note: u32| AlertPatch {
        verdict: None,
        status: Some("acknowledged"),
        note: Some(format!("note {note}")),
        withdraw: None,
        by: Some("mira".to_owned()),
        at: Timestamp::from_nanos(S),
    };
    for fault in Fault::ALL {
        for passes in 0.. {
            let before = other.alert_notes(&id).await.expect("notes").len();
            fault::arm(passes, fault, false);
            let answer = store.patch_alert(&id, &patch(passes)).await;
            let did_not_happen = fault::disarm();
            let notes = other.alert_notes(&id).await.expect("notes").len();
            assert_eq!(notes - before, usize::from(answer.is_ok()), "{fault:?} at {passes}: {answer:?}");
            assert_eq!(did_not_happen, answer.is_ok());
            if did_not_happen {
                break;
            }
        }
    }
}

#[test]
fn values_that_the_database_never_takes_are_not_tried_again() {
    let refused = |code| StoreError::Query { table: "flows", source: sqlx::Error::Database(Box::new(Coded(code))) };
    for code in ["18", "20", "22003", "54000"] {
        assert!(refused(code).is_permanent(), "{code}");
    }
    for code in ["5", "10", "13", "53100", "57P01", "55P03"] {
        assert!(!refused(code).is_permanent(), "{code}");
    }
}
