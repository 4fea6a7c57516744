//! The parts of the windows: whatever a window's time, it is listed and counted as in one table, and goes with what is kept of it.

use super::db::{Conn, Dialect, Query, migrations};
use super::sensor_migration_tests::postgres_before;
use super::server_tests::Server;
use super::tests::{begin, window};
use super::window_parts::{DAY_NS, LEAVES};
use super::*;
use nta_core::domain::{HostMeasure, HostMeasures, Timestamp};
use nta_core::window::{Measured, Window};

const S: u64 = 1_000_000_000;
pub(super) const DAY: u64 = 86_400;
/// The days for which windows are kept unless something else is set.
pub(super) const AGES: [Option<u64>; 4] =
    [Some(15 * DAY * S), Some(30 * DAY * S), Some(91 * DAY * S), Some(365 * DAY * S)];

pub(super) fn today_s() -> u64 {
    events::now().as_nanos() / S / DAY * DAY
}

/// A window of so many seconds, with a measure.
pub(super) fn window_at(id: u64, start_s: u64, length_s: u64) -> Window {
    let start = Timestamp::from_nanos(start_s * S);
    let measured = Measured { span_ns: length_s * S, length_ns: length_s * S, ..Measured::default() };
    let measure = HostMeasure {
        detector: "port_scan".into(),
        host: [10, 0, 0, 7].into(),
        name: "ports_tried_in_vain".into(),
        unit: "ports".into(),
        observed: 9.0,
        threshold: 10.0,
    };
    let near = HostMeasures { kept: vec![measure], left_out: 0, is_forgotten: false };
    Window { start, end: start.plus(length_s * S), measured, near, ..window(id) }
}

pub(super) async fn write(writer: &StoreWriter, base: Window, longer: Vec<(u64, Window)>) {
    writer.send(WindowBatch { window: Some(base), longer, ..WindowBatch::default() }).await.expect("send");
    writer.flush().await.expect("flush");
}

pub(super) async fn conn(store: &Store) -> Conn {
    store.database.connect().await.expect("a connection")
}

pub(super) async fn number(store: &Store, sql: &str) -> i64 {
    conn(store).await.number(Query::new(sql)).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// The tables with windows, each with how many it has.
pub(super) async fn tables(store: &Store) -> Vec<(String, i64)> {
    let count = Query::new(
        "SELECT CAST(CAST(tableoid AS regclass) AS TEXT) AS name, count(*) AS rows FROM windows GROUP BY 1 ORDER BY 1",
    );
    let rows = conn(store).await.fetch_all(count).await.expect("tables");
    rows.iter().map(|row| (row.text("name").expect("a name"), row.int("rows").expect("a number"))).collect()
}

/// Windows of now, of 1999, of 2038, and of a clock that is ahead.
async fn windows_of_all_times(store: &Store) {
    let (writer, _task) = begin(store).await;
    let starts = [today_s() + 3600, 925_000_000, 2_150_000_000, today_s() + 400 * DAY, today_s() - 100 * DAY, 10];
    for (id, start_s) in (1..).zip(starts) {
        let longer = vec![(6, window_at(id, start_s / 30 * 30, 30)), (720, window_at(id, start_s / 3600 * 3600, 3600))];
        write(&writer, window_at(id, start_s, 5), longer).await;
    }
    let mut sorted = starts.to_vec();
    sorted.sort_unstable();
    for sensor in [None, Some("test")] {
        for span_s in [5, 30, 3600] {
            let filter = WindowFilter { span_ns: Some(span_s * S), whose: sensor.into(), ..WindowFilter::default() };
            for (sort, descending) in [
                (WindowSort::Time, false),
                (WindowSort::Time, true),
                (WindowSort::Packets, false),
                (WindowSort::Packets, true),
            ] {
                let mut expected: Vec<u64> = sorted.iter().map(|start| start / span_s * span_s).collect();
                if sort == WindowSort::Packets {
                    expected = starts.iter().map(|start| start / span_s * span_s).collect();
                }
                if descending {
                    expected.reverse();
                }
                // Page by page.
                let (mut found, mut after) = (Vec::new(), None);
                loop {
                    let position = Position { descending, after, limit: 4 };
                    let page = store.windows(&filter, sort, position).await.expect("windows");
                    let floor = |window: &BySensor<Window>| window.start.as_nanos() / S / span_s * span_s;
                    found.extend(page.items.iter().map(floor));
                    after = page.next;
                    if after.is_none() {
                        break;
                    }
                }
                assert_eq!(found, expected, "{sort:?} {descending} of {span_s} s, {sensor:?}");
            }
        }
    }
    // Those of a time, with those that reach into it.
    let time = |s: u64| Some(Timestamp::from_nanos(s * S));
    let of = |from, to| WindowFilter { from, to, span_ns: Some(5 * S), ..WindowFilter::default() };
    for (from, to, count) in [(None, None, 6), (time(11), time(925_000_001), 2), (time(today_s()), None, 3)] {
        let position = Position { descending: true, after: None, limit: 10 };
        let listed = store.windows(&of(from, to), WindowSort::Time, position).await.expect("windows").items;
        let summed = store.windows_summary(&of(from, to)).await.expect("summary");
        assert_eq!((listed.len(), summed.windows), (count, count as i64), "{from:?} {to:?}");
        for window in listed {
            assert_eq!(store.window(window.id).await.expect("query").expect("a window").start, window.start);
            let key = (1, window.start.as_nanos() as i64, window.end.as_nanos() as i64);
            assert_eq!(store.window_ids(&[key]).await.expect("ids")[&key], window.id);
        }
    }
    assert_eq!(store.window_count().await.expect("count"), 6);
    let anew = "SELECT count(*) FROM totals WHERE name = 'near_measures' AND value = (SELECT sum(near) FROM windows)";
    assert_eq!((number(store, "SELECT count(*) FROM windows").await, number(store, anew).await), (18, 1));
}

#[tokio::test]
async fn windows_of_all_times_are_listed_in_order_and_counted_on_sqlite() {
    let folder = tempfile::tempdir().expect("folder");
    let url = format!("sqlite:{}", folder.path().join("nta.db").display());
    windows_of_all_times(&Store::open(&url).await.expect("open")).await;
}

#[tokio::test]
async fn windows_of_all_times_are_listed_in_order_and_counted_on_postgresql() {
    let Some(server) = Server::start("windows_of_all_times_are_listed_in_order_and_counted_on_postgresql") else {
        return;
    };
    let store = server.open().await;
    windows_of_all_times(&store).await;
    let found = tables(&store).await;
    let rests: Vec<_> = found.iter().filter(|(name, _)| name.ends_with("_rest")).collect();
    assert_eq!((found.len(), rests.iter().map(|(_, rows)| rows).sum::<i64>()), (6, 15), "{found:?}");
    store.close().await;
}

/// Rows of a database of the version before: today's, of years, and of a clock that is ahead.
const BEFORE: &str = "INSERT INTO sensors (name) VALUES ('a'); \
    INSERT INTO runs (started_ns, mode, source, version, uuid, sensor, last_ns) \
    VALUES (1, 'live', 'eth0', '0', decode(md5('1'), 'hex'), 'a', 0); \
    INSERT INTO windows (run_id, sensor_id, factor, number, start_ns, end_ns, span_ns, packets, bytes, flows, connections, \
    bandwidth_bps, rtt_samples, body, near) \
    SELECT 1, (SELECT id FROM sensors WHERE name = 'a'), factor, n, start, start + factor * 5000000000, factor * 5000000000, n, n, 0, 0, n, 0, \
    '{}', n % 2 FROM (VALUES (1::BIGINT), (6), (36), (720)) AS f (factor), generate_series(1, 500) AS n, \
    LATERAL (SELECT CASE WHEN n <= 490 THEN (extract(epoch FROM now())::BIGINT - n * 43200) ELSE 2150000000 + n * 3600 END * 1000000000 AS start) AS at";

#[tokio::test]
async fn a_database_of_before_keeps_every_window_and_answers_as_before() {
    let name = "a_database_of_before_keeps_every_window_and_answers_as_before";
    let Some(server) = Server::start(name) else { return };
    let mut conn = postgres_before(&server, 37).await;
    let body = rows::WindowRow::new(1, &window(1)).expect("a row").body;
    conn.run(BEFORE.replace("'{}'", &format!("'{body}'")).leak()).await.expect("rows");
    let rows = "SELECT md5(string_agg(CAST(windows AS TEXT), ',' ORDER BY id)) AS rows, \
                (SELECT string_agg(CAST(id AS TEXT), ',' ORDER BY start_ns DESC, id DESC) FROM windows WHERE span_ns = 5000000000) AS listed, \
                (SELECT string_agg(CAST(id AS TEXT), ',' ORDER BY packets DESC, id DESC) FROM windows WHERE span_ns = 180000000000) AS sized \
                FROM windows";
    let row = conn.fetch_optional(Query::new(rows)).await.expect("rows").expect("a row");
    let text = |name| row.text(name).expect("text");
    let before = [text("rows"), text("listed"), text("sized")];
    // Numbers that a transaction has drawn are not drawn again, whether or not their rows have come.
    let drawn = "SELECT max(nextval(pg_get_serial_sequence('windows', 'id'))) FROM generate_series(1, 100)";
    let drawn = conn.number(Query::new(drawn)).await.expect("numbers");
    drop(conn);
    let store = server.open().await;
    let mut conn = self::conn(&store).await;
    let row = conn.fetch_optional(Query::new(rows)).await.expect("rows").expect("a row");
    assert_eq!(row.text("rows").expect("text"), before[0], "every row as it was");
    for (sort, span_s, expected) in [(WindowSort::Time, 5, &before[1]), (WindowSort::Packets, 180, &before[2])] {
        for sensor in [None, Some("a")] {
            let filter = WindowFilter { span_ns: Some(span_s * S), whose: sensor.into(), ..WindowFilter::default() };
            let position = Position { descending: true, after: None, limit: 1000 };
            let page = store.windows(&filter, sort, position).await.expect("windows").items;
            let listed: Vec<String> = page.iter().map(|window| window.id.to_string()).collect();
            assert_eq!(listed.join(","), *expected, "{sort:?} of {sensor:?}");
        }
    }
    let found = tables(&store).await;
    let of = |name: &str| found.iter().find(|(table, _)| table == name).map_or(0, |(_, rows)| *rows);
    assert_eq!(of("windows_before"), 4 * 490, "{found:?}");
    assert_eq!(["5s", "30s", "180s", "1h"].map(|length| of(&format!("windows_{length}_rest"))), [10; 4], "{found:?}");
    let (writer, _task) = begin(&store).await;
    write(&writer, window_at(1, today_s() + DAY + 3600, 5), Vec::new()).await;
    assert_eq!(number(&store, "SELECT max(id) FROM windows").await, drawn + 1, "the next number");
    let of_tomorrow = tables(&store).await.into_iter().filter(|(name, _)| name.starts_with("windows_5s_2")).count();
    assert_eq!(of_tomorrow, 1);
    // A daemon of before says that it does not know this database.
    let mut older = migrations::postgres();
    older.migrations = older.migrations.iter().filter(|migration| migration.version < 37).cloned().collect();
    let Conn::Postgres(conn) = &mut conn else { unreachable!("it is PostgreSQL") };
    let refused = older.run_direct(None, conn, false).await.expect_err("refused").to_string();
    assert!(refused.contains("37"), "{refused}");
    store.close().await;
}

#[tokio::test]
async fn two_that_make_a_part_at_once_make_it_once() {
    let Some(server) = Server::start("two_that_make_a_part_at_once_make_it_once") else { return };
    let stores = [server.open().await, server.open().await, server.open().await];
    let now_ns = to_sql(events::now().as_nanos());
    let [a, b, c] = &stores;
    let made = tokio::join!(a.make_missing_parts(now_ns), b.make_missing_parts(now_ns), c.make_missing_parts(now_ns));
    for made in [made.0, made.1, made.2] {
        made.unwrap_or_else(|error| panic!("{}", error.chain()));
    }
    let parts = a.window_parts().await.expect("parts");
    let times: Vec<_> = parts.iter().filter_map(|part| part.times).collect();
    assert_eq!((times.len(), parts.len()), (4, 8), "{parts:?}");
    assert!(times.iter().all(|[begin, end]| *begin <= now_ns - now_ns % DAY_NS && *end > now_ns + DAY_NS), "{parts:?}");
    assert!(times.iter().flatten().all(|time| time % DAY_NS == 0), "{parts:?}");
    for store in stores {
        store.close().await;
    }
}

/// A part is made although windows of its time are in the rest: they move into it.
#[tokio::test]
async fn windows_in_the_rest_move_into_their_part() {
    let Some(server) = Server::start("windows_in_the_rest_move_into_their_part") else { return };
    let store = server.open().await;
    let (writer, _task) = begin(&store).await;
    let begin_s = today_s() - 200 * DAY;
    write(&writer, window_at(1, begin_s, 5), Vec::new()).await;
    write(&writer, window_at(2, begin_s - 300 * DAY, 5), Vec::new()).await;
    assert_eq!(tables(&store).await, [("windows_5s_rest".to_owned(), 2)]);
    store.make_missing_parts(to_sql(begin_s * S)).await.expect("made");
    let found = tables(&store).await;
    assert_eq!((found.len(), found.iter().all(|(_, rows)| *rows == 1)), (2, true), "{found:?}");
    assert_eq!(store.window_count().await.expect("count"), 2);
    store.close().await;
}

/// Parts of 40 days with rows, as statistics find them: no statement reads one as a whole, and those of a day are planned for a few.
#[tokio::test]
async fn lists_of_a_time_are_planned_for_the_parts_of_that_time() {
    let Some(server) = Server::start("lists_of_a_time_are_planned_for_the_parts_of_that_time") else { return };
    let store = server.open().await.with_retention(Retention { max_window_age_ns: AGES, ..Retention::default() });
    for days in (0..=40).rev() {
        store.make_missing_parts(to_sql((today_s() - days * DAY) * S)).await.expect("made");
    }
    let (writer, _task) = begin(&store).await;
    write(&writer, window_at(1, 1, 5), Vec::new()).await;
    let fill = format!(
        "INSERT INTO windows (run_id, sensor_id, factor, number, start_ns, end_ns, span_ns, packets, bytes, flows, connections, \
         bandwidth_bps, rtt_samples, body) SELECT 1, (SELECT id FROM sensors WHERE name = 'test'), factor, n, start, start + 5000000000 * factor, \
         5000000000 * factor, n, n, 0, 0, n * 7919 % 1000, 0, '{}' \
         FROM (VALUES (1::BIGINT), (2), (6), (36), (720)) AS f (factor), generate_series(CAST(1 AS BIGINT), 20000) AS n, \
         LATERAL (SELECT ({} + n * 172) * 1000000000 AS start) AS at",
        rows::WindowRow::new(1, &window_at(1, 1, 5)).expect("a row").body,
        today_s() - 40 * DAY
    );
    let mut conn = conn(&store).await;
    conn.execute(Query::new(fill)).await.expect("filled");
    // As the server does by itself, part by part.
    let leaves = conn.fetch_all(Query::new(LEAVES)).await.expect("parts");
    for leaf in &leaves {
        conn.execute(Query::new(format!("VACUUM (ANALYZE) {}", leaf.text("name").expect("a name"))))
            .await
            .expect("analyzed");
    }
    assert!((25..40).contains(&leaves.len()), "{}", leaves.len());
    let seen = store.database.seen().len();
    let time = |s: u64| Some(Timestamp::from_nanos(s * S));
    let from_s = today_s() - 20 * DAY;
    let position = Position { descending: true, after: None, limit: 100 };
    let behind = Position { after: Some(Key { value: to_sql((from_s + 7200) * S), id: 7 }), ..position };
    for sensor in [None, Some("test")] {
        let of = |span_s: u64| WindowFilter {
            from: time(from_s),
            to: time(from_s + DAY),
            span_ns: Some(span_s * S),
            whose: sensor.into(),
        };
        for sort in [WindowSort::Time, WindowSort::Bytes] {
            for position in [position, behind] {
                store.windows(&of(10), sort, position).await.expect("windows");
            }
        }
        store.windows_summary(&of(5)).await.expect("a summary");
        store.merged_windows(&of(15), 5 * S, position).await.expect("windows");
        store.network_windows(nta_core::window::Span::Medium, &of(30), 100).await.expect("windows");
    }
    let start = to_sql((from_s + 172) * S);
    store.window_ids(&[(1, start, start + 5_000_000_000)]).await.expect("ids");
    let bounded = store.database.seen().len() - seen;
    // Those of any time.
    let all = WindowFilter { span_ns: Some(10 * S), ..WindowFilter::default() };
    for sort in [WindowSort::Time, WindowSort::Bytes] {
        store.windows(&all, sort, position).await.expect("windows");
    }
    store.window(7).await.expect("a window");
    store
        .merged_windows(&WindowFilter { span_ns: Some(15 * S), ..all.clone() }, 5 * S, position)
        .await
        .expect("windows");
    let queries = store.database.seen().split_off(seen);
    let with_rows: std::collections::BTreeSet<String> =
        tables(&store).await.into_iter().filter(|(_, rows)| *rows > 1).map(|(name, _)| name).collect();
    for (at, query) in queries.into_iter().enumerate().filter(|(_, query)| query.sql().contains("FROM windows")) {
        let text = format!("{query:?}");
        if at >= bounded {
            // Of so few rows each part is read as a whole as fast: what an index can do is asked.
            conn.run("SET enable_seqscan = off").await.expect("set");
        }
        let plan = conn.fetch_all(query.explained(Dialect::Postgres)).await.expect("a plan");
        let steps: Vec<String> = plan.iter().map(|step| step.text("QUERY PLAN").expect("a step")).collect();
        let of_step = |step: &String| {
            let words: Vec<&str> = step.split(' ').collect();
            words
                .iter()
                .position(|word| *word == "on")
                .and_then(|at| words.get(at + 1))
                .map(|table| (*table).to_owned())
        };
        let read: std::collections::BTreeSet<_> =
            steps.iter().filter_map(of_step).filter(|table| table.starts_with("windows_")).collect();
        for step in steps.iter().filter(|step| step.contains("Seq Scan on ")) {
            assert!(of_step(step).is_none_or(|table| !with_rows.contains(&table)), "{step}\n{text}");
        }
        // Of a length the part of the day and that beside it, and the rest.
        let most = if text.contains("span_ns") { 3 } else { 12 };
        // Who looks for what is next to a window in its run does not know when that is.
        let is_of_run = text.contains("LATERAL");
        assert!(at >= bounded || is_of_run || read.len() <= most, "{read:?}\n{text}\n{steps:#?}");
    }
    store.close().await;
}
