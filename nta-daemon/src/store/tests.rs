//! The store against a real database.

use std::net::{IpAddr, Ipv4Addr};

use nta_common::flow::Counts;

use super::*;
use crate::telemetry::heard;
use nta_core::domain::{
    ConnState, EndReason, Endpoint, FlowId, FlowRecord, History, Mode, RawPacket, TcpCounts, Timestamp,
};
use nta_core::window::Window;

const S: u64 = 1_000_000_000;
pub(super) const FIRST_PAGE: Position = Position { descending: false, after: None, limit: 10 };

pub(crate) fn flow(id: u64, last_s: u64, packets: u64) -> FlowRecord {
    let side = |last_octet: u8, port| Endpoint {
        address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, last_octet)),
        port,
        sent: Counts { packets, bytes: packets * 100, ip_bytes: packets * 86 },
        tcp: TcpCounts { syn: 1, zero_windows: 2, ..TcpCounts::default() },
        payload_bytes: Some(packets * 40),
        translated: None,
    };
    FlowRecord {
        id: FlowId(id),
        proto: 6,
        originator: side(1, 40_000),
        responder: side(2, 443),
        nesting: Default::default(),
        vlan: 7,
        first: Timestamp::from_nanos(S),
        last: Timestamp::from_nanos(last_s * S),
        handshake_us: [1500, 0],
        service: Some(nta_core::domain::Service::Ssl),
        conn_state: ConnState::S1,
        history: History::parse("ShADad"),
        ended: None,
    }
}

pub(crate) fn window(id: u64) -> Window {
    let start = Timestamp::from_nanos(id * 5 * S);
    Window { id, start, end: start.plus(5 * S), packets: id, bytes: id * 1000, ..Window::default() }
}

pub(crate) async fn begin(store: &Store) -> (StoreWriter, tokio::task::JoinHandle<()>) {
    let run = Run {
        started: Timestamp::from_nanos(S),
        mode: Mode::Replay,
        source: "a.pcap".to_owned(),
        version: "0".to_owned(),
        sensor: "test".to_owned(),
        uuid: Run::new_uuid(Timestamp::from_nanos(1)),
        analysis: None,
    };
    let run = store.begin_run(&run).await.expect("run");
    store.writer(run, 4)
}

#[tokio::test]
async fn what_was_written_is_there_after_a_restart() {
    let folder = tempfile::tempdir().expect("folder");
    let url = format!("sqlite:{}", folder.path().join("new/folder/nta.db").display());
    let store = Store::open(&url).await.expect("open");
    let (writer, task) = begin(&store).await;
    let record = FlowRecord { ended: Some(EndReason::Closed), ..flow(u64::MAX, 9, 3) };
    writer
        .send(WindowBatch { window: Some(window(1)), flows: vec![record], ..WindowBatch::default() })
        .await
        .expect("send");
    writer.shutdown().await.expect("shutdown");
    task.await.expect("writer");
    store.close().await;

    let store = Store::open(&url).await.expect("open again");
    assert_eq!(store.flows(FlowSort::Time, FIRST_PAGE).await.expect("flows").items, [record]);
    let read = store.window(1).await.expect("query").expect("window");
    let measured = nta_core::window::Measured { length_ns: 5 * S, ..window(1).measured };
    assert_eq!(read, Window { measured, ..window(1) });
    assert_eq!(store.window(2).await.expect("query"), None);
}

#[tokio::test]
async fn an_update_replaces_the_cumulative_values_and_keeps_one_row() {
    let store = Store::open("sqlite::memory:").await.expect("open");
    let (writer, _task) = begin(&store).await;
    for flows in [vec![flow(1, 2, 10), flow(2, 2, 1)], vec![flow(1, 3, 20), flow(1, 4, 30)]] {
        writer.send(WindowBatch { window: None, flows, ..WindowBatch::default() }).await.expect("send");
    }
    writer.flush().await.expect("flush");
    let page = store.flows(FlowSort::Time, FIRST_PAGE).await.expect("flows");
    assert_eq!(page.items, [flow(1, 4, 30), flow(2, 2, 1)]);
    assert_eq!(store.last_flows(1).await.expect("last"), [flow(1, 4, 30)]);
    let stats = store.stats();
    assert_eq!((stats.batches, stats.flow_rows, stats.failures, stats.queue_length), (2, 3, 0, 0));
}

#[tokio::test]
async fn a_window_sent_twice_is_stored_once() {
    let store = Store::open("sqlite::memory:").await.expect("open");
    let (writer, _task) = begin(&store).await;
    for _ in 0..2 {
        writer
            .send(WindowBatch { window: Some(window(3)), flows: vec![], ..WindowBatch::default() })
            .await
            .expect("send");
    }
    writer.flush().await.expect("flush");
    let summary = store.windows_summary(&WindowFilter::default()).await.expect("summary");
    assert_eq!((summary.windows, summary.packets), (1, 3));
}

/// What retention may delete: a flow that does not go on.
fn over(flow: FlowRecord) -> FlowRecord {
    FlowRecord { ended: Some(EndReason::Closed), ..flow }
}

#[tokio::test]
async fn retention_deletes_the_oldest_first() {
    let store = Store::open("sqlite::memory:").await.expect("open");
    let store = store.with_retention(Retention { max_windows: 3, max_flows: 2, ..Retention::default() });
    let (writer, _task) = begin(&store).await;
    for id in 1..=5 {
        writer
            .send(WindowBatch {
                window: Some(window(id)),
                flows: vec![over(flow(id, 100 - id, 1))],
                ..WindowBatch::default()
            })
            .await
            .expect("send");
    }
    writer.flush().await.expect("flush");
    store.retain().await.expect("retention");
    let windows = store.windows(&WindowFilter::default(), WindowSort::Time, FIRST_PAGE).await.expect("windows");
    assert_eq!(windows.items.iter().map(|w| w.id).collect::<Vec<_>>(), [3, 4, 5]);
    let flows = store.last_flows(10).await.expect("flows");
    assert_eq!(flows.iter().map(|f| f.id.0).collect::<Vec<_>>(), [1, 2], "the latest last packets");
    assert_eq!((store.stats().windows_deleted, store.stats().flows_deleted), (2, 3));

    let by_age = |reached_windows| Retention { max_age_ns: Some(5 * S), reached_windows, ..Retention::default() };
    let store = store.with_retention(by_age(0));
    store.retain().await.expect("retention by age");
    let windows = store.windows(&WindowFilter::default(), WindowSort::Time, FIRST_PAGE).await.expect("windows");
    assert_eq!(windows.items.iter().map(|w| w.id).collect::<Vec<_>>(), [4, 5]);

    // The clock is a hundred years ahead for two windows.
    let mut ahead = [window(6), window(7)];
    for window in &mut ahead {
        window.start = window.start.plus(100 * 365 * 86_400 * S);
        window.end = window.end.plus(100 * 365 * 86_400 * S);
        writer.send(WindowBatch { window: Some(window.clone()), ..WindowBatch::default() }).await.expect("send");
    }
    writer.flush().await.expect("flush");
    let store = store.with_retention(by_age(2));
    store.retain().await.expect("retention by age");
    let windows = store.windows(&WindowFilter::default(), WindowSort::Time, FIRST_PAGE).await.expect("windows");
    assert_eq!(windows.items.len(), 4, "nothing has aged by it");
    let store = store.with_retention(Retention { max_flows: 2, ..by_age(0) });
    let mut late = over(flow(6, 1, 1));
    late.last = late.last.plus(100 * 365 * 86_400 * S);
    let flows = vec![late, over(flow(7, 99, 1))];
    writer.send(WindowBatch { flows, ..WindowBatch::default() }).await.expect("send");
    writer.flush().await.expect("flush");
    store.retain().await.expect("retention by age");
    let windows = store.windows(&WindowFilter::default(), WindowSort::Time, FIRST_PAGE).await.expect("windows");
    assert_eq!(windows.items.len(), 4, "nor by windows of the future, however many");
    let flows = store.last_flows(10).await.expect("flows");
    assert!(flows.iter().all(|flow| flow.id.0 != 6), "what lies in the future goes first: {flows:?}");
}

#[tokio::test]
async fn a_full_queue_gives_the_batch_back() {
    let store = Store::open("sqlite::memory:").await.expect("open");
    let (writer, task) = begin(&store).await;
    // The single-threaded runtime of the test does not run the writer before the next await.
    let batch = |id| WindowBatch { window: Some(window(id)), flows: vec![], ..WindowBatch::default() };
    for id in 1..=4 {
        assert!(writer.try_send(batch(id)).is_ok());
    }
    let back = writer.try_send(batch(5)).expect_err("full");
    assert_eq!(back.window, Some(window(5)));
    assert_eq!((store.stats().queue_length, store.stats().queue_full), (4, 1));
    drop(writer);
    task.await.expect("the writer ends when all senders are gone");
    assert_eq!(store.stats().windows, 4);
}

#[tokio::test]
async fn who_waits_for_room_waits_by_bytes_and_a_batch_of_any_size_fits_at_last() {
    let store = Store::open("sqlite::memory:").await.expect("open");
    let (writer, task) = begin(&store).await;
    let batch = |id, bytes| {
        let packet = RawPacket { time: Timestamp::from_nanos(S), wire_len: 60, head: vec![7; bytes] };
        WindowBatch { window: Some(window(id)), raw_packets: vec![packet], ..WindowBatch::default() }
    };
    // The single-threaded runtime of the test does not run the writer before something waits.
    for id in 1..=3 {
        writer.send(batch(id, 2 << 20)).await.expect("sent");
    }
    assert_eq!(store.stats().windows, 0);
    let mut sent = Box::pin(writer.send(batch(4, 40 << 20)));
    let poll = sent.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    assert!(poll.is_pending(), "six megabytes wait already");
    sent.await.expect("sent");
    drop(writer);
    task.await.expect("the writer ends when all senders are gone");
    assert_eq!(store.stats().windows, 4);
}

#[tokio::test]
async fn a_database_file_that_is_deleted_is_made_again_and_nothing_after_it_is_lost() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("nta.db");
    let store = Store::open(&format!("sqlite:{}", path.display())).await.expect("open");
    let (writer, _task) = begin(&store).await;
    let batch = |id| WindowBatch { window: Some(window(id)), ..WindowBatch::default() };
    writer.send(batch(1)).await.expect("send");
    writer.flush().await.expect("flush");
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(folder.path().join(format!("nta.db{suffix}")));
    }
    for id in 2..=3 {
        writer.send(batch(id)).await.expect("send");
    }
    writer.flush().await.expect("flush");
    let other = Store::open(&format!("sqlite:{}", path.display())).await.expect("the new file");
    let windows = other.windows(&WindowFilter::default(), WindowSort::Time, FIRST_PAGE).await.expect("windows");
    assert_eq!(windows.items.iter().map(|w| w.packets).collect::<Vec<_>>(), [2, 3]);
}

#[tokio::test]
async fn a_second_daemon_for_the_sensor_is_refused_until_the_first_ends() {
    let folder = tempfile::tempdir().expect("folder");
    let url = format!("sqlite:{}", folder.path().join("nta.db").display());
    let (first, second) = (Store::open(&url).await.expect("open"), Store::open(&url).await.expect("open"));
    let lease = first.lease("gw").await.expect("free");
    let error = second.lease("gw").await.expect_err("taken");
    assert!(matches!(error, StoreError::Leased { .. }), "{error}");
    second.lease("other").await.expect("another sensor");
    drop(lease);
    second.lease("gw").await.expect("free again");
}

#[tokio::test]
async fn other_databases_are_refused_by_name() {
    let error = Store::open("postgres://me:secret@127.0.0.1:1/nta").await.expect_err("nobody listens");
    assert!(matches!(error, StoreError::Open { .. }) && !error.chain().contains("secret"), "{error}");
    assert_eq!(error.chain().matches("refused").count(), 1, "the cause is named once: {}", error.chain());
    assert!(matches!(Store::open("mysql://db/nta").await, Err(StoreError::Url { .. })));
    let folder = tempfile::tempdir().expect("folder");
    let error = Store::open(&format!("sqlite:{}", folder.path().display())).await.expect_err("a folder");
    assert!(matches!(error, StoreError::Open { .. }), "{error}");
}

#[tokio::test]
async fn heads_of_frames_are_kept_up_to_the_row_limit() {
    let store = Store::open("sqlite::memory:").await.expect("open");
    let store = store.with_retention(Retention { max_raw_packets: 3, ..Retention::default() });
    let (writer, task) = begin(&store).await;
    let packet = |n: u64| RawPacket { time: Timestamp::from_nanos(n), wire_len: 1500, head: vec![n as u8; 128] };
    let raw_packets = (0..700).map(packet).collect();
    writer.send(WindowBatch { raw_packets, ..WindowBatch::default() }).await.expect("send");
    writer.shutdown().await.expect("shutdown");
    task.await.expect("writer");
    store.retain().await.expect("retention");
    assert_eq!(store.raw_packets(9).await.expect("rows"), [packet(699), packet(698), packet(697)]);
    assert_eq!((store.stats().raw_packets, store.stats().raw_packets_deleted), (700, 697));
}

#[tokio::test]
async fn rows_beyond_the_bound_in_bytes_go_oldest_first_and_the_file_gives_the_space_back() {
    const BOUND: u64 = 2 << 20;
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("nta.db");
    let url = format!("sqlite:{}", path.display());
    let bytes = || std::fs::metadata(&path).expect("the file").len();
    let store = Store::open(&url).await.expect("open");
    let (writer, task) = begin(&store).await;
    for batch in 0..8 {
        let packet = |n: u64| RawPacket { time: Timestamp::from_nanos(n), wire_len: 1500, head: vec![n as u8; 512] };
        let raw_packets = (batch * 2000..(batch + 1) * 2000).map(packet).collect();
        writer
            .send(WindowBatch { window: Some(window(batch + 1)), raw_packets, ..WindowBatch::default() })
            .await
            .expect("send");
    }
    writer.shutdown().await.expect("shutdown");
    task.await.expect("writer");
    store.close().await;
    let full = bytes();
    assert!(full > 4 * BOUND, "{full}");

    let store = Store::open(&url).await.expect("open again");
    let store = store.with_retention(Retention { max_bytes: Some(BOUND), ..Retention::default() });
    store.retain().await.expect("retention");
    assert!(store.used_bytes().await.expect("bytes") <= BOUND);
    let newest = store.raw_packets(20_000).await.expect("rows");
    assert_eq!(newest[0].time, Timestamp::from_nanos(15_999), "the newest stay");
    assert!((100..4000).contains(&newest.len()), "{}", newest.len());
    let windows = store.windows(&WindowFilter::default(), WindowSort::Time, FIRST_PAGE).await.expect("windows");
    assert_eq!(store.window_count().await.expect("count"), windows.items.len() as u64);
    let stats = store.stats();
    assert_eq!(stats.raw_packets_deleted, 16_000 - newest.len() as u64);
    store.close().await;
    assert!(bytes() <= BOUND + (1 << 20), "{} of {full} bytes are left", bytes());
}

#[tokio::test]
async fn of_a_database_that_is_too_large_what_lies_in_the_future_goes_first() {
    const AHEAD_NS: u64 = 100 * 365 * 86_400 * S;
    const BOUND: u64 = 6 << 20;
    let folder = tempfile::tempdir().expect("folder");
    let url = format!("sqlite:{}", folder.path().join("nta.db").display());
    let store = Store::open(&url).await.expect("open");
    let store = store.with_retention(Retention { max_bytes: Some(BOUND), ..Retention::default() });
    let now = events::now().as_nanos();
    let (writer, task) = begin(&store).await;
    for batch in 0..8 {
        // The last half of them by a clock that is a hundred years ahead.
        let ahead_ns = if batch < 4 { 0 } else { AHEAD_NS };
        let time = |n: u64| Timestamp::from_nanos(now + ahead_ns + n);
        let packet = |n: u64| RawPacket { time: time(n), wire_len: 1500, head: vec![n as u8; 512] };
        let raw_packets = (batch * 2000..(batch + 1) * 2000).map(packet).collect();
        let flow =
            |id: u64| FlowRecord { last: time(id), ended: Some(EndReason::Closed), ..flow(batch * 1500 + id, 1, 1) };
        let flows = (1..=1500).map(flow).collect();
        let (start, end) = (time(batch * S), time((batch + 1) * S));
        let window = Some(Window { start, end, ..window(batch + 1) });
        let host = |n: u8| FeatureRow {
            start,
            end,
            span_ns: S,
            host: [10, 0, 0, n].into(),
            schema_version: 1,
            vector: vec![1.0; 20],
        };
        let features = (0..200).map(host).collect();
        writer
            .send(WindowBatch { window, raw_packets, flows, features, ..WindowBatch::default() })
            .await
            .expect("send");
    }
    writer.flush().await.expect("flush");
    assert!(store.used_bytes().await.expect("bytes") > BOUND);
    store.retain().await.expect("retention");
    assert!(store.used_bytes().await.expect("bytes") <= BOUND);
    for (table, time) in
        [("flows", "last_ns"), ("raw_packets", "time_ns"), ("aggregated_features", "start_ns"), ("windows", "start_ns")]
    {
        let query = format!(
            "SELECT count(*) AS past, coalesce(sum({time} > {}), 0) AS future FROM {table}",
            to_sql(now + AHEAD_NS / 2)
        );
        let row = store.database.fetch_optional(Query::new(query)).await.expect("query").expect("a row");
        let (past, future) = (row.int("past").expect("past"), row.int("future").expect("future"));
        assert_eq!(future, 0, "{table}: nothing of the future is left");
        let is_large = matches!(table, "flows" | "raw_packets");
        assert!(past > 0 || !is_large, "{table}: what is of now stays");
    }
    writer.shutdown().await.expect("shutdown");
    task.await.expect("writer");
}

#[tokio::test]
async fn between_two_rounds_of_retention_come_no_more_windows_than_those_of_a_few_batches() {
    const KEPT: u64 = 10;
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("nta.db");
    let store = Store::open(&format!("sqlite:{}", path.display())).await.expect("open");
    let store = store.with_spool(folder.path().join("spool"), u64::MAX);
    let store = store.with_retention(Retention { max_windows: KEPT, ..Retention::default() });
    // A run before left two hundred batches in the spool.
    let mut spool = spool::Spool::open(&folder.path().join("spool"), u64::MAX).expect("a spool");
    let run = rows::RunRow { uuid: vec![7; 16], mode: "live".to_owned(), ..rows::RunRow::default() };
    for id in 1..=200 {
        let batch = WindowBatch { window: Some(window(id)), ..WindowBatch::default() };
        spool.push(&rows::BatchRows::new(&run, to_sql(id), batch).expect("rows")).expect("push");
    }
    let (writer, task) = begin(&store).await;
    writer.flush().await.expect("flush");
    let rows = store.windows(&WindowFilter::default(), WindowSort::Time, Position { limit: 1000, ..FIRST_PAGE }).await;
    let rows = rows.expect("windows").items.len() as u64;
    assert!((KEPT..=KEPT + 16).contains(&rows), "{rows}");
    writer.shutdown().await.expect("shutdown");
    task.await.expect("writer");
}

#[tokio::test]
async fn a_database_file_that_stays_away_is_said_less_and_less_often() {
    heard::begin();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("nta.db");
    let store = Store::open(&format!("sqlite:{}", path.display())).await.expect("open");
    let said = || heard::count("deleted or replaced");
    let export = nta_core::baseline::Export::default();
    store.save_baselines("live", &export).await.expect("the file is there");
    assert_eq!(said(), 0);

    std::fs::remove_file(&path).expect("deleted");
    std::fs::create_dir(&path).expect("nothing that can be opened");
    for _ in 0..20 {
        store.save_baselines("live", &export).await.expect_err("a folder");
    }
    assert_eq!(said(), 5, "at the first, second, fourth, eighth and sixteenth attempt");
    std::fs::remove_dir(&path).expect("out of the way");
    store.save_baselines("live", &export).await.expect("made again");
    assert_eq!(store.baselines("live").await.expect("readable"), Some(export));
}
