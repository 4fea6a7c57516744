//! Parts of the windows that go: what is kept of their windows is what is kept when these go one by one.

use std::time::Duration;

use super::bulk_tests::{STORED, stored};
use super::db::Query;
use super::server_tests::Server;
use super::tests::begin;
use super::window_parts_tests::{AGES, DAY, conn, number, tables, today_s, window_at, write};
use super::*;
use nta_core::domain::{Mode, Timestamp};

const S: u64 = 1_000_000_000;

/// Windows of two gateways and of a capture, of one part of those of 5 s and one of those of 30 s, and of today.
async fn fill_old_part(store: &Store, begin_s: u64) {
    let capture = sensor_of_capture(&format!("{:032x}", 7));
    for (sensor, run) in [("gw-a", 1), ("gw-b", 2), (capture.as_str(), 3)] {
        let run = Run {
            started: Timestamp::from_nanos(begin_s * S),
            mode: Mode::Live,
            source: "eth0".to_owned(),
            version: "0".to_owned(),
            sensor: sensor.to_owned(),
            uuid: [run; 16],
            analysis: None,
        };
        let (writer, _task) = store.writer(store.begin_run(&run).await.expect("run"), 4);
        for id in 1..=240 {
            // Every 18 minutes for three days.
            let start_s = begin_s + (id - 1) * 1080;
            let longer = if id % 2 == 0 { vec![(6, window_at(id / 2, start_s, 30))] } else { vec![] };
            let base = WindowBatch { window: Some(window_at(id, start_s, 5)), longer, ..WindowBatch::default() };
            writer.send(base).await.expect("send");
        }
        if sensor == "gw-a" {
            writer
                .send(WindowBatch { window: Some(window_at(500, today_s() + 60, 5)), ..WindowBatch::default() })
                .await
                .expect("send");
        }
        writer.flush().await.expect("flush");
    }
}

/// How many windows there are, and what is kept of them.
async fn what_is_kept(store: &Store) -> (Vec<String>, Vec<u64>) {
    let mut kept = stored(store, &STORED[..2]).await;
    let totals = Query::new("SELECT value FROM totals WHERE name IN ('windows', 'near_measures') ORDER BY name");
    let totals = conn(store).await.fetch_all(totals).await.expect("totals");
    kept.extend(totals.iter().map(|row| format!("{}", row.int("value").expect("a number"))));
    let stats = store.stats();
    (kept, vec![stats.windows_deleted, stats.windows_5s_aged, stats.windows_30s_aged])
}

/// What is kept of windows when those that are too old have gone with their parts is what is kept when they go row by row.
#[tokio::test]
async fn a_part_that_goes_takes_with_it_what_its_rows_take_one_by_one() {
    let name = "a_part_that_goes_takes_with_it_what_its_rows_take_one_by_one";
    let Some(server) = Server::start(name) else { return };
    let whole = Retention { max_window_age_ns: AGES, reached_windows: 0, ..Retention::default() };
    let folder = tempfile::tempdir().expect("folder");
    let rows = Store::open(&format!("sqlite:{}", folder.path().join("nta.db").display())).await.expect("open");
    let parts = server.open().await;
    let begin_s = today_s() - 60 * DAY;
    // As if it had been there then.
    let then = (begin_s + DAY) * S;
    let [rows, parts] =
        [rows, parts].map(|store| store.with_retention(Retention { max_window_age_ns: AGES, ..Retention::default() }));
    parts.make_missing_parts(to_sql(then)).await.expect("made");
    for store in [&rows, &parts] {
        fill_old_part(store, begin_s).await;
    }
    assert_eq!(what_is_kept(&parts).await, what_is_kept(&rows).await);
    let before = tables(&parts).await;
    let is_old = |name: &str| !name.ends_with("_rest") && name.starts_with("windows_5s_");
    let old: Vec<_> = before.iter().filter(|(name, rows)| is_old(name) && *rows > 1).collect();
    assert_eq!((old.len(), old[0].1), (1, 720), "all of three days are in one part: {before:?}");
    let [rows, parts] = [rows, parts].map(|store| store.with_retention(whole));
    for store in [&rows, &parts] {
        store.retain().await.expect("retention");
    }
    let kept = what_is_kept(&parts).await;
    assert_eq!(kept, what_is_kept(&rows).await);
    // Two gateways' 240 of 5 s and 120 of 30 s; the capture's stay.
    assert_eq!(kept.1, [720, 480, 240]);
    let after = tables(&parts).await;
    let is_there = format!("SELECT count(*) FROM pg_class WHERE relname = '{}'", old[0].0);
    assert_eq!(number(&parts, &is_there).await, 0, "the part went as a whole: {after:?}");
    assert!(after.contains(&("windows_5s_rest".to_owned(), 240)), "what stays of it: {after:?}");
    // The capture's go when it is deleted, wherever they are.
    let capture = WindowFilter {
        span_ns: Some(5 * S),
        whose: Some(sensor_of_capture(&format!("{:032x}", 7))).into(),
        ..WindowFilter::default()
    };
    let position = Position { descending: true, after: None, limit: 1000 };
    let listed = parts.windows(&capture, WindowSort::Time, position).await.expect("windows").items;
    assert_eq!((listed.len(), parts.window_count().await.expect("count")), (240, 241));
    parts.close().await;
}

/// Parts whose windows went one by one, as too many, go; what is too old is deleted row by row where it has no part.
#[tokio::test]
async fn parts_that_were_emptied_go() {
    let Some(server) = Server::start("parts_that_were_emptied_go") else { return };
    let store = server.open().await.with_retention(Retention { max_windows: 1, ..Retention::default() });
    let begin_s = today_s() - 120 * DAY;
    store.make_missing_parts(to_sql(begin_s * S)).await.expect("made");
    let parts = async || {
        number(&store, "SELECT count(*) FROM pg_class WHERE relname LIKE 'windows_5s_2%' AND relkind = 'r'").await
    };
    let (writer, _task) = begin(&store.clone().with_retention(Retention::default())).await;
    write(&writer, window_at(1, begin_s, 5), Vec::new()).await;
    write(&writer, window_at(2, today_s(), 5), Vec::new()).await;
    assert_eq!((parts().await, tables(&store).await.len()), (2, 2));
    store.retain().await.expect("retention");
    assert_eq!((parts().await, store.window_count().await.expect("count")), (1, 1));
    // One that is no longer empty when it is to go leaves its windows behind.
    store.make_missing_parts(to_sql(begin_s * S)).await.expect("made");
    write(&writer, window_at(3, begin_s, 5), Vec::new()).await;
    let all = store.window_parts().await.expect("parts");
    let end_ns = to_sql((begin_s + 91 * DAY) * S);
    let gone = store.drop_parts(&all, (0, end_ns), &[]).await.expect("dropped");
    let counted = store.window_count().await.expect("count");
    assert_eq!((gone.rows, parts().await, counted), (0, 1, 2), "{all:?}");
    assert!(tables(&store).await.contains(&("windows_5s_rest".to_owned(), 1)));
    let summed = store.windows_summary(&WindowFilter::default()).await.expect("a summary");
    assert_eq!(summed.windows, 2, "with what is kept of them");
    store.close().await;
}

/// A part with many windows that are to stay, as those of a capture, stays: the others go one by one.
#[tokio::test]
async fn a_part_with_much_of_a_capture_stays() {
    let Some(server) = Server::start("a_part_with_much_of_a_capture_stays") else { return };
    let aged = Retention { max_window_age_ns: AGES, reached_windows: 0, ..Retention::default() };
    let store = server.open().await.with_retention(aged);
    let begin_s = today_s() - 60 * DAY;
    store.make_missing_parts(to_sql((begin_s + DAY) * S)).await.expect("made");
    let capture = sensor_of_capture(&format!("{:032x}", 7));
    let (writer, _task) = begin(&store.clone().with_retention(Retention::default())).await;
    for id in 1..=5 {
        write(&writer, window_at(id, begin_s + id * 5, 5), Vec::new()).await;
    }
    write(&writer, window_at(6, today_s(), 5), Vec::new()).await;
    let fill = format!(
        "INSERT INTO sensors (name) VALUES ('{capture}'); \
         INSERT INTO windows (run_id, sensor_id, factor, number, start_ns, end_ns, span_ns, packets, bytes, flows, connections, \
         bandwidth_bps, rtt_samples, body) SELECT 7, (SELECT max(id) FROM sensors), 1, n, start, start + 5000000000, 5000000000, \
         1, 1, 0, 0, 1, 0, '' FROM generate_series(CAST(1 AS BIGINT), 10001) AS n, \
         LATERAL (SELECT ({begin_s} + n * 5) * 1000000000 AS start) AS at; \
         UPDATE totals SET value = value + 10001 WHERE name = 'windows'"
    );
    conn(&store).await.run(fill.leak()).await.expect("filled");
    store.retain().await.expect("retention");
    let left = tables(&store).await;
    let rows: Vec<i64> = left.iter().map(|(_, rows)| *rows).collect();
    assert!(!left.iter().any(|(name, _)| name.ends_with("_rest")), "{left:?}");
    assert_eq!((rows, store.window_count().await.expect("count")), (vec![10_001, 1], 10_002));
    assert_eq!(store.stats().windows_5s_aged, 5);
    store.close().await;
}

/// Who reads a part for as long as it likes keeps it, and keeps nobody from writing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_never_ends_holds_no_writer_up() {
    let Some(server) = Server::start("a_reader_that_never_ends_holds_no_writer_up") else { return };
    let aged = Retention { max_window_age_ns: AGES, reached_windows: 0, ..Retention::default() };
    let store = server.open().await.with_retention(aged);
    let begin_s = today_s() - 60 * DAY;
    store.make_missing_parts(to_sql((begin_s + DAY) * S)).await.expect("made");
    let (writer, _task) = begin(&store.clone().with_retention(Retention::default())).await;
    write(&writer, window_at(1, begin_s, 5), Vec::new()).await;
    write(&writer, window_at(2, today_s(), 5), Vec::new()).await;
    let mut reader = conn(&store).await;
    reader.run("BEGIN; SELECT count(*) FROM windows").await.expect("reads");
    // Another process, which does what retention is for.
    let other = server.open().await.with_retention(aged);
    let retains = tokio::spawn(async move {
        other.retain().await.expect("retention");
        other
    });
    let mut id = 3;
    while !retains.is_finished() {
        let start_s = today_s() + id * 30;
        let written = write(&writer, window_at(id, start_s, 5), vec![(6, window_at(id, start_s, 30))]);
        tokio::time::timeout(Duration::from_secs(4), written).await.expect("no longer than it waits for the reader");
        id += 1;
    }
    let other = retains.await.expect("it ends");
    assert_eq!(store.stats().failures, 0);
    assert_eq!(other.window_count().await.expect("count"), id - 1, "all are there");
    // It is tried again when some time has passed, not with every batch.
    assert!(!other.parts.is_to_drop(to_sql(events::now().as_nanos())));
    reader.run("COMMIT").await.expect("ends");
    server.open().await.with_retention(aged).retain().await.expect("retention");
    assert_eq!(store.window_count().await.expect("count"), id - 2, "the old one went");
    store.close().await;
}
