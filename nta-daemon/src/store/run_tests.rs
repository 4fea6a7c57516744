//! Runs that are killed, runs that go on, and a lease that is lost.

use std::time::Duration;

use super::db::Query;
use super::detection_tests::alert;
use super::server_tests::Server;
use super::tests::{begin, flow, window};
use super::*;
use nta_core::domain::{EndReason, FlowRecord, Mode, Readings, Timestamp};
use nta_core::window::{Cascade, InTurn, Lengths, Measured, Snapshot, Span, Window};

const S: u64 = 1_000_000_000;
const SOON: Duration = Duration::from_secs(20);

async fn reasons(store: &Store) -> Vec<Option<String>> {
    let query = Query::new("SELECT end_reason FROM runs ORDER BY id");
    store.read("runs", query, |row| Ok(row.opt_text("end_reason")?)).await.expect("runs")
}

/// A replay that is killed is ended by the next start of any kind, one that goes on is not.
async fn killed_replays_are_ended(store: &Store) {
    let (killed, task) = begin(store).await;
    let batch = WindowBatch {
        window: Some(window(3)),
        flows: vec![flow(7, 9, 1)],
        alerts: vec![alert(3, 105)],
        ..WindowBatch::default()
    };
    killed.send(batch).await.expect("send");
    killed.flush().await.expect("flush");
    // As a kill does: nothing says that the run ended.
    task.abort();
    assert!(task.await.is_err());
    let (alive, _task) = begin(store).await;
    alive.send(WindowBatch { alerts: vec![alert(4, 105)], ..WindowBatch::default() }).await.expect("send");
    alive.flush().await.expect("flush");
    // A server takes a moment to see that a client is gone.
    let ended = tokio::time::timeout(SOON, async {
        loop {
            let run = store.begin_run(&live(1)).await.expect("a run");
            if reasons(store).await[0].is_some() {
                break run;
            }
        }
    });
    let _live = ended.await.expect("the killed run is ended");
    let reasons = reasons(store).await;
    assert_eq!((reasons[0].as_deref(), reasons[1].as_deref()), (Some("interrupted"), None));
    let closed = store.alert(&alert(3, 105).id.to_string()).await.expect("query").expect("alert");
    assert_eq!((closed.state.as_str(), closed.clear_reason.as_deref()), ("cleared", Some("interrupted")));
    assert_eq!(closed.cleared, Some(alert(3, 105).last), "not before its last finding");
    let open = store.alert(&alert(4, 105).id.to_string()).await.expect("query").expect("alert");
    assert_eq!((open.state.as_str(), open.clear_reason), ("raised", None));
    assert_eq!(store.last_flows(1).await.expect("flows")[0].ended, Some(EndReason::Interrupted));
}

#[tokio::test]
async fn killed_replays_are_ended_by_the_next_start_on_sqlite() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(&format!("sqlite:{}", folder.path().join("nta.db").display())).await.expect("open");
    killed_replays_are_ended(&store).await;
}

#[tokio::test]
async fn killed_replays_are_ended_by_the_next_start_on_postgresql() {
    let Some(server) = Server::start("killed_replays_are_ended_by_the_next_start_on_postgresql") else { return };
    let store = server.open().await;
    killed_replays_are_ended(&store).await;
    store.close().await;
}

/// A live run of the sensor `gw`.
pub(super) fn live(started_s: u64) -> Run {
    let started = Timestamp::from_nanos(started_s * S);
    Run {
        started,
        mode: Mode::Live,
        source: "eth0".to_owned(),
        version: "0".to_owned(),
        sensor: "gw".to_owned(),
        uuid: Run::new_uuid(started),
        analysis: None,
    }
}

/// Base windows of 5 s from `from_s` to `to_s`, with the longer ones that are made of them, as they are emitted.
fn emitted(store: &Store, from_s: u64, to_s: u64) -> Vec<WindowBatch> {
    emitted_of(store, (from_s / 5..to_s / 5).map(window))
}

/// These base windows, with the longer ones that are made of them, as they are emitted.
fn emitted_of(store: &Store, windows: impl Iterator<Item = Window>) -> Vec<WindowBatch> {
    let mut found = Found::new(store.clone(), 1).with_lengths(Lengths::Measured);
    let mut medium = Cascade::new(Span::Medium, 5 * S, Lengths::Measured);
    let batch = |window: Window| {
        let measured = Measured { span_ns: 5 * S, ..window.measured };
        let base = Snapshot::of_network(Span::Base, Window { measured, ..window });
        found.window(&base);
        medium.add(&base, &InTurn, &mut |medium| found.window(&medium));
        let mut batch = WindowBatch { window: Some(base.window), ..WindowBatch::default() };
        found.move_into(&mut batch);
        batch
    };
    windows.map(batch).collect()
}

/// Factor, start, end, gap and packets of the longer windows, and whether they are whole.
async fn longer(store: &Store) -> Vec<(i64, u64, u64, u64, u64, bool)> {
    let query = Query::new(
        "SELECT id, run_id, factor, start_ns, end_ns, rtt_histogram, body FROM windows WHERE factor > 1 \
         ORDER BY factor, start_ns",
    );
    let read = |row: &Row| Ok((row.int("factor")?, windows::window(row)?.item));
    let rows = store.read("windows", query, read).await.expect("windows");
    let s = |time: Timestamp| time.as_nanos() / S;
    let window = |(factor, window): &(i64, Window)| {
        let (gap_s, whole) = (window.measured.gap_ns / S, window.measured.not_whole.is_none());
        (*factor, s(window.start), s(window.end), gap_s, window.packets, whole)
    };
    rows.iter().map(window).collect()
}

/// What a killed run left open of longer windows is closed by the next start; what that has of the same windows is joined with it.
async fn windows_of_a_killed_run_are_closed(store: &Store) {
    let begin = |started_s| async move { store.writer(store.begin_run(&live(started_s)).await.expect("run"), 4) };
    let (killed, task) = begin(4).await;
    for batch in emitted(store, 5, 55) {
        killed.send(batch).await.expect("send");
    }
    killed.flush().await.expect("flush");
    task.abort();
    assert!(task.await.is_err());
    let packets = |from: u64, to: u64| (from / 5..to / 5).sum::<u64>();
    // An hour later: nothing of it is of the same window.
    let (next, task) = begin(4000).await;
    let closed: Vec<_> = longer(store).await.into_iter().filter(|window| window.2 > 50).collect();
    let cut = [
        (2, 50, 55, 0, packets(50, 55), false),
        (6, 30, 55, 0, packets(30, 55), false),
        (36, 0, 55, 5, packets(5, 55), false),
        (720, 0, 55, 5, packets(5, 55), false),
    ];
    assert_eq!(closed, cut);
    next.shutdown().await.expect("shutdown");
    task.await.expect("the writer ends");
}

#[tokio::test]
async fn windows_of_a_killed_run_are_closed_by_the_next_start_on_sqlite() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(&format!("sqlite:{}", folder.path().join("nta.db").display())).await.expect("open");
    windows_of_a_killed_run_are_closed(&store).await;
}

#[tokio::test]
async fn windows_of_a_killed_run_are_closed_by_the_next_start_on_postgresql() {
    let Some(server) = Server::start("windows_of_a_killed_run_are_closed_by_the_next_start_on_postgresql") else {
        return;
    };
    let store = server.open().await;
    windows_of_a_killed_run_are_closed(&store).await;
    store.close().await;
}

/// A start goes on from the last run that stored anything, however many starts were killed since, and as early as they were.
async fn starts_that_are_killed_early_hand_on(store: &Store) {
    let kill = |(writer, task): (StoreWriter, tokio::task::JoinHandle<()>)| async move {
        drop(writer);
        task.abort();
        let _ended = task.await;
    };
    let begin = |run: Run| async move { store.writer(store.begin_run(&run).await.expect("run"), 4) };
    let readings = Readings { maps: "m".to_owned(), time_ns: 7, ..Readings::default() };
    let ended = FlowRecord { ended: Some(EndReason::Closed), ..flow(8, 9, 3) };
    let batch = WindowBatch {
        window: Some(window(3)),
        flows: vec![flow(7, 9, 3), ended],
        readings: Some(readings.clone()),
        ..WindowBatch::default()
    };
    let first = begin(live(14)).await;
    first.0.send(batch).await.expect("send");
    first.0.flush().await.expect("flush");
    kill(first).await;
    // Whether a start was killed before it took the flows over, or behind that.
    for takes_over in [false, true, true, false] {
        let resume = store.resume("gw").await.expect("what the next start goes on from");
        let flows: Vec<_> = resume.flows.iter().map(|flow| (flow.id.0, flow.ended)).collect();
        assert_eq!((&resume.readings, flows), (&readings, vec![(7, None)]));
        let run = live(21);
        let uuid = run.uuid;
        let next = begin(run).await;
        if takes_over {
            store.take_over_flows(resume.run, &uuid).await.expect("taken over");
        }
        kill(next).await;
    }
    let (resume, run) = (store.resume("gw").await.expect("resume"), live(22));
    let uuid = run.uuid;
    let (writer, task) = begin(run).await;
    store.take_over_flows(resume.run, &uuid).await.expect("taken over");
    let batch = WindowBatch { window: Some(window(4)), flows: vec![flow(7, 22, 30)], ..WindowBatch::default() };
    writer.send(batch).await.expect("send");
    writer.flush().await.expect("flush");
    let flows = store.last_flows(9).await.expect("flows");
    let flows: Vec<_> = flows.iter().map(|flow| (flow.id.0, flow.originator.sent.packets, flow.ended)).collect();
    assert_eq!(flows, [(7, 30, None), (8, 3, Some(EndReason::Closed))], "one row a flow");
    writer.send(WindowBatch { end: Some("stopped"), ..WindowBatch::default() }).await.expect("send");
    writer.shutdown().await.expect("shutdown");
    task.await.expect("the writer ends");
    // Flows that a clean end has ended do not come back.
    assert!(store.resume("gw").await.is_none_or(|resume| resume.flows.is_empty()));
    // A run with maps of its own, killed before its first window, leaves from where it read them.
    let run = live(23);
    let (uuid, begun) = (run.uuid, Readings { maps: "n".to_owned(), time_ns: 8, ..Readings::default() });
    let next = begin(run).await;
    store.begin_readings(&uuid, &begun).await.expect("stored");
    kill(next).await;
    let resume = store.resume("gw").await.expect("what the next start goes on from");
    assert_eq!((resume.readings, resume.flows.len()), (begun, 0));
}

#[tokio::test]
async fn starts_that_are_killed_early_hand_on_what_went_on_on_sqlite() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(&format!("sqlite:{}", folder.path().join("nta.db").display())).await.expect("open");
    starts_that_are_killed_early_hand_on(&store).await;
}

#[tokio::test]
async fn starts_that_are_killed_early_hand_on_what_went_on_on_postgresql() {
    let Some(server) = Server::start("starts_that_are_killed_early_hand_on_what_went_on_on_postgresql") else { return };
    let store = server.open().await;
    starts_that_are_killed_early_hand_on(&store).await;
    store.close().await;
}

/// When a run started in seconds; when its base windows began and ended in milliseconds, and since when it counted.
pub(super) type RunOf<'a> = (u64, &'a [[u64; 3]]);
/// Factor, windows as start, end and gap in milliseconds, packets.
pub(super) type Made = (i64, Vec<[u64; 3]>, u64);

/// The windows that are stored after these runs, each of which was killed.
pub(super) async fn made_by_killed(store: &Store, runs: &[RunOf<'_>]) -> Vec<Made> {
    const MS: u64 = S / 1000;
    for &(started_s, windows) in runs {
        let (killed, task) = store.writer(store.begin_run(&live(started_s)).await.expect("run"), 4);
        let windows = (1..).zip(windows).map(|(id, &[start, end, since])| {
            let times = [start, end].map(|ms| Timestamp::from_nanos(ms * MS));
            let measured =
                Measured { length_ns: (end - since) * MS, gap_ns: (since - start) * MS, ..Measured::default() };
            Window { start: times[0], end: times[1], measured, ..window(id) }
        });
        for batch in emitted_of(store, windows) {
            killed.send(batch).await.expect("send");
        }
        killed.flush().await.expect("flush");
        task.abort();
        assert!(task.await.is_err());
    }
    let query = Query::new(
        "SELECT id, run_id, factor, start_ns, end_ns, rtt_histogram, body FROM windows WHERE factor IN (1, 2, 6) \
         ORDER BY factor, start_ns, id",
    );
    let read = |row: &Row| Ok((row.int("factor")?, windows::window(row)?.item));
    let rows = store.read("windows", query, read).await.expect("windows");
    let mut made: Vec<Made> = vec![(1, vec![], 0), (2, vec![], 0), (6, vec![], 0)];
    for (factor, window) in &rows {
        let (start, end, gap) = (window.start.as_nanos() / MS, window.end.as_nanos() / MS, window.measured.gap_ns / MS);
        assert_eq!(gap + window.length_ns() / MS, end - start, "{factor}: {start} to {end}");
        let (_, windows, packets) = made.iter_mut().find(|made| made.0 == *factor).expect("of this length");
        windows.push([start, end, gap]);
        *packets += window.packets;
    }
    made
}

/// Whatever restarts cut, windows of each length follow one another, and each is as long as it was counted for and its gap.
async fn windows_tile_time_across_restarts(store: &Store) {
    let runs: [RunOf<'_>; 5] = [
        (0, &[[0, 5_000, 0], [5_000, 10_000, 5_000]]),
        (12, &[[10_000, 15_000, 12_000]]),
        (17, &[[15_000, 20_000, 17_500], [20_000, 25_000, 20_000]]),
        // The last one is closed late, and with pinned maps the next run goes on from there.
        (33, &[[30_000, 35_000, 33_000], [35_000, 41_500, 35_000]]),
        (42, &[[41_500, 45_000, 41_500], [45_000, 50_000, 45_000], [50_000, 55_000, 50_000], [55_000, 60_000, 55_000]]),
    ];
    let made = made_by_killed(store, &runs).await;
    let whole = |start| [start, start + 5_000, 0];
    let base = [
        [whole(0), whole(5_000), [10_000, 15_000, 2_000], [15_000, 20_000, 2_500], whole(20_000)],
        // Killed at 25 s and back at 33 s, the run began less than a window behind its end.
        [[25_000, 35_000, 8_000], [35_000, 41_500, 0], [41_500, 45_000, 0], whole(45_000), whole(50_000)],
    ];
    let base = [base.concat(), vec![whole(55_000)]].concat();
    let two = [
        [[0, 10_000, 0], [10_000, 20_000, 4_500], [20_000, 25_000, 0]],
        [[25_000, 41_500, 8_000], [41_500, 50_000, 0], [50_000, 60_000, 0]],
    ];
    let six = vec![[0, 25_000, 4_500], [25_000, 41_500, 8_000], [41_500, 60_000, 0]];
    let packets = 1 + 2 + 1 + 1 + 2 + 1 + 2 + 1 + 2 + 3 + 4;
    assert_eq!(made, [(1, base, packets), (2, two.concat(), packets), (6, six, packets)]);
}

#[tokio::test]
async fn windows_tile_time_across_restarts_on_sqlite() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(&format!("sqlite:{}", folder.path().join("nta.db").display())).await.expect("open");
    windows_tile_time_across_restarts(&store).await;
}

#[tokio::test]
async fn windows_tile_time_across_restarts_on_postgresql() {
    let Some(server) = Server::start("windows_tile_time_across_restarts_on_postgresql") else { return };
    let store = server.open().await;
    windows_tile_time_across_restarts(&store).await;
    store.close().await;
}

#[tokio::test]
async fn no_lock_of_a_run_is_left_behind() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(&format!("sqlite:{}", folder.path().join("nta.db").display())).await.expect("open");
    let (writer, task) = begin(&store).await;
    writer.shutdown().await.expect("shutdown");
    task.await.expect("the writer ends");
    store.close().await;
    let names = || std::fs::read_dir(folder.path()).expect("folder").flatten().map(|entry| entry.file_name());
    assert_eq!(names().collect::<Vec<_>>(), ["nta.db"]);
}

#[tokio::test]
async fn a_lost_lease_is_taken_again_or_the_daemon_that_took_it_is_named_on_sqlite() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("nta.db");
    let store = Store::open(&format!("sqlite:{}", path.display())).await.expect("open");
    let lease = store.lease("gw").await.expect("free");
    let mut kept = tokio::spawn(lease.keep(store.clone()));
    let lock = folder.path().join("nta.db.gw.lock");
    // Removed: taken again.
    std::fs::remove_file(&lock).expect("removed");
    tokio::time::timeout(SOON, async {
        while !lock.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("taken again");
    assert!(matches!(store.lease("gw").await, Err(StoreError::Leased { .. })));
    // Removed, and another daemon is faster.
    std::fs::remove_file(&lock).expect("removed");
    let _other = store.lease("gw").await.expect("free");
    let lost = tokio::time::timeout(SOON, &mut kept).await.expect("noticed").expect("ended");
    assert!(matches!(lost, StoreError::Leased { .. }), "{lost}");
}

#[tokio::test]
async fn a_lost_session_is_noticed_and_the_lease_taken_again_on_postgresql() {
    let test = "a_lost_session_is_noticed_and_the_lease_taken_again_on_postgresql";
    let Some(server) = Server::start(test) else { return };
    let store = server.open().await;
    let lease = store.lease("gw").await.expect("free");
    let mut kept = tokio::spawn(lease.keep(store.clone()));
    // The server's process behind the session that holds it; 0 while none does.
    let holders = "SELECT coalesce(max(pid), 0)::BIGINT FROM pg_locks WHERE locktype = 'advisory' AND granted";
    let holder = || async { store.read("runs", Query::new(holders), |row| Ok(row.first()?)).await.expect("holder")[0] };
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory' AND granted";
    for _ in 0..2 {
        let first = holder().await;
        assert_ne!(first, 0);
        assert_eq!(store.read("runs", Query::new(end), |row| Ok(row.first()?)).await.expect("ended"), [1]);
        tokio::time::timeout(SOON, async {
            while [0, first].contains(&holder().await) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .expect("taken again");
    }
    // Ended, and another daemon is faster.
    store.read("runs", Query::new(end), |row| Ok(row.first()?)).await.expect("ended");
    let _other = tokio::time::timeout(SOON, async {
        loop {
            if let Ok(lease) = store.lease("gw").await {
                break lease;
            }
        }
    })
    .await
    .expect("free");
    let lost = tokio::time::timeout(SOON, &mut kept).await.expect("noticed").expect("ended");
    assert!(matches!(lost, StoreError::Leased { .. }), "{lost}");
    store.close().await;
}
