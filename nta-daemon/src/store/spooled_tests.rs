//! Batches that the database does not take wait on disk, and are stored once each.

use super::server_tests::Server;
use super::tests::{FIRST_PAGE, begin, flow, window};
use super::*;
use nta_core::domain::{Mode, Timestamp};

/// Moves the table away, or back: every statement about it fails until then.
async fn rename(url: &str, from: &str, to: &str) {
    let mut conn = Database::open(url).await.expect("open").connect().await.expect("connect");
    let sql: &'static str = format!("ALTER TABLE {from} RENAME TO {to}").leak();
    conn.run(sql).await.expect("renamed");
}

async fn wait_on_disk_and_come_back_once_in_order(url: &str) {
    let folder = tempfile::tempdir().expect("folder");
    let open = || async {
        let store = Store::open(url).await.expect("open");
        store.with_spool(folder.path().join("spool"), 1 << 20)
    };
    let store = open().await;
    let (writer, task) = begin(&store).await;
    let batch =
        |id| WindowBatch { window: Some(window(id)), flows: vec![flow(id, 100 + id, 1)], ..WindowBatch::default() };
    writer.send(batch(1)).await.expect("send");
    writer.flush().await.expect("flush");
    // The last table of a commit: all that went before it must be undone.
    rename(url, "hosts", "away").await;
    for id in 2..=4 {
        writer.send(batch(id)).await.expect("send");
    }
    let error = writer.shutdown().await.expect_err("they wait");
    assert!(matches!(error, StoreError::Waiting { batches: 3, .. }), "{error}");
    assert!(store.stats().failing && store.stats().last_error.is_some());
    task.await.expect("the writer ends");
    assert_eq!(store.window_count().await.expect("count"), 1);
    store.close().await;

    rename(url, "away", "hosts").await;
    let store = open().await;
    let (writer, _task) = begin(&store).await;
    writer.send(batch(5)).await.expect("send");
    writer.flush().await.expect("all is written");
    assert!(!store.stats().failing && store.stats().batches_waiting == 0);
    let windows = store.windows(&WindowFilter::default(), WindowSort::Time, FIRST_PAGE).await.expect("windows");
    assert_eq!(windows.items.iter().map(|w| w.packets).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    let events = store.events_after(0, 100).await.expect("events");
    let closed: Vec<u64> = events.iter().filter(|event| event.kind == "window_closed").map(|event| event.seq).collect();
    assert!(closed.len() == 5 && closed.is_sorted(), "{closed:?}");
    assert_eq!(
        store.host([10, 0, 0, 1].into(), &Whose::default()).await.expect("host").first().map(|host| host.flows),
        Some(5)
    );
}

#[tokio::test]
async fn batches_that_the_database_does_not_take_wait_on_disk_and_come_back_once_in_order() {
    let folder = tempfile::tempdir().expect("folder");
    wait_on_disk_and_come_back_once_in_order(&format!("sqlite:{}", folder.path().join("nta.db").display())).await;
}

#[tokio::test]
async fn wait_on_disk_and_come_back_once_in_order_on_postgresql() {
    let Some(server) = Server::start("wait_on_disk_and_come_back_once_in_order_on_postgresql") else { return };
    server.open().await.close().await;
    wait_on_disk_and_come_back_once_in_order(&server.url()).await;
}

async fn holds_nothing_up_and_is_stored_once(url: &str) {
    let folder = tempfile::tempdir().expect("folder");
    let spool = folder.path().join("spool");
    let open = || async {
        let store = Store::open(url).await.expect("open");
        store.with_spool(spool.clone(), 1 << 20)
    };
    let store = open().await;
    let (writer, task) = begin(&store).await;
    // A flow that each batch has, as it is by then, and one of its own.
    let batch = |id| WindowBatch {
        window: Some(window(id)),
        flows: vec![flow(900, 100 + id, id), flow(id, 100 + id, 1)],
        ..WindowBatch::default()
    };
    rename(url, "hosts", "away").await;
    for id in 1..=3 {
        writer.send(batch(id)).await.expect("send");
    }
    writer.shutdown().await.expect_err("they wait");
    task.await.expect("the writer ends");
    store.close().await;
    rename(url, "away", "hosts").await;

    let (second, away) = (spool.join(format!("{:020}.seg", 2)), spool.join("away"));
    std::fs::rename(&second, &away).expect("moved");
    std::fs::create_dir(&second).expect("a folder in its place");
    let store = open().await;
    let (writer, task) = begin(&store).await;
    writer.send(batch(4)).await.expect("send");
    writer.flush().await.expect("the database takes what can be read");
    let packets = |windows: WindowPage| windows.items.iter().map(|w| w.packets).collect::<Vec<_>>();
    let windows = store.windows(&WindowFilter::default(), WindowSort::Time, FIRST_PAGE).await.expect("windows");
    assert_eq!(packets(windows), [1, 3, 4]);
    let stats = store.stats();
    assert!(!stats.failing && stats.batches_lost == 0, "{stats:?}");
    assert_eq!((stats.batches_waiting, stats.spool_passed_over, stats.batches_in_memory), (1, 1, 0));
    assert!(stats.spool_error.is_some_and(|reason| reason.contains("00002.seg")));
    writer.shutdown().await.expect("nothing else waits");
    task.await.expect("the writer ends");
    store.close().await;

    std::fs::remove_dir(&second).expect("out of the way");
    std::fs::copy(&away, &second).expect("back");
    for _ in 0..2 {
        let store = open().await;
        let (writer, task) = begin(&store).await;
        writer.shutdown().await.expect("flush");
        task.await.expect("the writer ends");
        let windows = store.windows(&WindowFilter::default(), WindowSort::Time, FIRST_PAGE).await.expect("windows");
        assert_eq!(packets(windows), [1, 2, 3, 4], "late, and once");
        let flows = store.last_flows(10).await.expect("flows");
        let shared: Vec<u64> = flows.iter().filter(|f| f.id.0 == 900).map(|f| f.originator.sent.packets).collect();
        assert!(shared.contains(&3) && !shared.contains(&2), "the newer state stays: {shared:?}");
        assert!(store.stats().spool_error.is_none() && store.stats().batches_waiting == 0);
        store.close().await;
        // As if it could not have been removed.
        std::fs::copy(&away, &second).expect("there again");
    }
}

#[tokio::test]
async fn a_segment_that_cannot_be_read_holds_nothing_up_and_is_stored_once_when_it_can_be() {
    let folder = tempfile::tempdir().expect("folder");
    holds_nothing_up_and_is_stored_once(&format!("sqlite:{}", folder.path().join("nta.db").display())).await;
}

#[tokio::test]
async fn holds_nothing_up_and_is_stored_once_on_postgresql() {
    let Some(server) = Server::start("holds_nothing_up_and_is_stored_once_on_postgresql") else { return };
    server.open().await.close().await;
    holds_nothing_up_and_is_stored_once(&server.url()).await;
}

#[tokio::test]
async fn batches_of_a_spool_that_somebody_removed_are_counted_as_lost() {
    let folder = tempfile::tempdir().expect("folder");
    let (path, spool) = (folder.path().join("nta.db"), folder.path().join("spool"));
    let store = Store::open(&format!("sqlite:{}", path.display())).await.expect("open");
    let store = store.with_spool(spool.clone(), 1 << 20);
    let (writer, _task) = begin(&store).await;
    let batch = |id| WindowBatch { window: Some(window(id)), flows: vec![flow(id, 9, 1)], ..WindowBatch::default() };
    rename(&format!("sqlite:{}", path.display()), "hosts", "away").await;
    for id in 1..=2 {
        writer.send(batch(id)).await.expect("send");
    }
    writer.flush().await.expect_err("they wait");
    std::fs::remove_dir_all(&spool).expect("removed");
    rename(&format!("sqlite:{}", path.display()), "away", "hosts").await;
    writer.send(batch(3)).await.expect("send");
    let error = writer.flush().await.expect_err("two are lost");
    assert!(matches!(error, StoreError::Lost { batches: 2, .. }), "{error}");
    let stats = store.stats();
    assert_eq!((stats.batches_lost, stats.cut_windows, stats.cut_flows), (2, 2, 2));
    assert_eq!((stats.spool_gone, stats.spool_corrupt, stats.windows), (2, 0, 1));
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

/// Of three starts the first one's batch can be read by the third: the baselines of the second stay.
async fn what_is_newer_stays(url: &str) {
    let folder = tempfile::tempdir().expect("folder");
    let spool = folder.path().join("spool");
    let open = || async { Store::open(url).await.expect("open").with_spool(spool.clone(), 1 << 20) };
    let batch = |id, updated_ns| WindowBatch {
        window: Some(window(id)),
        flows: vec![flow(id, 9, 1)],
        baselines: Some((Mode::Live, nta_core::baseline::Export { updated_ns, ..Default::default() }.into())),
        readings: Some(nta_core::domain::Readings { maps: "m".to_owned(), time_ns: updated_ns, ..Default::default() }),
        ..WindowBatch::default()
    };
    let store = open().await;
    let (writer, task) = store.writer(store.begin_run(&live(1)).await.expect("run"), 4);
    rename(url, "hosts", "away").await;
    writer.send(batch(1, 100)).await.expect("send");
    writer.shutdown().await.expect_err("it waits");
    task.await.expect("the writer ends");
    store.close().await;
    rename(url, "away", "hosts").await;

    let (first, away) = (spool.join(format!("{:020}.seg", 1)), spool.join("away"));
    std::fs::rename(&first, &away).expect("moved");
    std::fs::create_dir(&first).expect("a folder in its place");
    let store = open().await;
    let (writer, task) = store.writer(store.begin_run(&live(2)).await.expect("run"), 4);
    // The clock was set back meanwhile: newer is what came later.
    writer.send(batch(2, 50)).await.expect("send");
    writer.shutdown().await.expect("stored");
    task.await.expect("the writer ends");
    store.close().await;

    std::fs::remove_dir(&first).expect("out of the way");
    std::fs::rename(&away, &first).expect("back");
    let store = open().await;
    let (writer, task) = store.writer(store.begin_run(&live(3)).await.expect("run"), 4);
    writer.shutdown().await.expect("stored");
    task.await.expect("the writer ends");
    assert_eq!(store.window_count().await.expect("count"), 2, "the late window is there");
    let kept = store.baselines(&baselines_name(Mode::Live, "gw")).await.expect("readable").expect("kept");
    assert_eq!(kept.updated_ns, 50, "of the second start");
    let resume = store.resume("gw").await.expect("readings");
    assert_eq!(resume.readings.time_ns, 50, "of the second start");
    store.close().await;
}

#[tokio::test]
async fn a_batch_that_comes_two_starts_late_leaves_newer_baselines_on_sqlite() {
    let folder = tempfile::tempdir().expect("folder");
    what_is_newer_stays(&format!("sqlite:{}", folder.path().join("nta.db").display())).await;
}

#[tokio::test]
async fn a_batch_that_comes_two_starts_late_leaves_newer_baselines_on_postgresql() {
    let Some(server) = Server::start("a_batch_that_comes_two_starts_late_leaves_newer_baselines_on_postgresql") else {
        return;
    };
    server.open().await.close().await;
    what_is_newer_stays(&server.url()).await;
}

#[tokio::test]
async fn a_spool_that_cannot_be_opened_at_the_start_is_opened_later() {
    let folder = tempfile::tempdir().expect("folder");
    let (url, spool) = (format!("sqlite:{}", folder.path().join("nta.db").display()), folder.path().join("spool"));
    std::fs::write(&spool, "no folder").expect("a file");
    let store = Store::open(&url).await.expect("open").with_spool(spool.clone(), 1 << 20);
    let (writer, task) = begin(&store).await;
    let batch = |id| WindowBatch { window: Some(window(id)), flows: vec![flow(id, 9, 1)], ..WindowBatch::default() };
    rename(&url, "hosts", "away").await;
    writer.send(batch(1)).await.expect("send");
    writer.flush().await.expect_err("it waits");
    let stats = store.stats();
    assert!(stats.spool_error.as_ref().is_some_and(|reason| reason.contains("spool")), "{stats:?}");
    assert_eq!((stats.batches_in_memory, stats.batches_waiting), (1, 1));

    std::fs::remove_file(&spool).expect("out of the way");
    for _ in 0..30 {
        writer.flush().await.expect_err("it waits");
        if store.stats().spool_error.is_none() {
            break;
        }
    }
    let stats = store.stats();
    assert_eq!((stats.spool_error, stats.batches_in_memory, stats.batches_waiting), (None, 0, 1), "it is on disk");
    assert!(spool.join(format!("{:020}.seg", 1)).exists());
    rename(&url, "away", "hosts").await;
    writer.shutdown().await.expect("stored");
    task.await.expect("the writer ends");
    assert_eq!(store.window_count().await.expect("count"), 1);
}

/// Somebody locks the tables for longer than the writer waits: it says so, and all is stored once the lock is gone.
#[tokio::test]
async fn while_somebody_locks_a_postgresql_database_batches_wait_on_disk() {
    let Some(server) = Server::start("while_somebody_locks_a_postgresql_database_batches_wait_on_disk") else { return };
    let folder = tempfile::tempdir().expect("folder");
    let store = server.open().await.with_spool(folder.path().join("spool"), 1 << 20);
    let (writer, task) = begin(&store).await;
    let batch = |id| WindowBatch { window: Some(window(id)), ..WindowBatch::default() };
    let mut other = store.database.connect().await.expect("a connection");
    other.run("BEGIN; LOCK TABLE windows IN ACCESS EXCLUSIVE MODE").await.expect("locked");
    writer.send(batch(1)).await.expect("send");
    let error = writer.flush().await.expect_err("it waits");
    assert!(matches!(error, StoreError::Waiting { batches: 1, .. }), "{error}");
    let stats = store.stats();
    assert!(stats.failing && stats.last_error.is_some_and(|error| error.contains("lock")));
    assert_eq!((stats.batches_waiting, stats.batches_in_memory), (1, 0), "on disk");
    other.run("COMMIT").await.expect("unlocked");
    writer.send(batch(2)).await.expect("send");
    writer.shutdown().await.expect("stored");
    task.await.expect("the writer ends");
    assert_eq!((store.window_count().await.expect("count"), store.stats().failing), (2, false));
    store.close().await;
}

/// The same on SQLite.
#[tokio::test]
async fn while_somebody_locks_a_sqlite_file_batches_wait_on_disk() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(&format!("sqlite:{}", folder.path().join("nta.db").display())).await.expect("open");
    let store = store.with_spool(folder.path().join("spool"), 1 << 20);
    let (writer, task) = begin(&store).await;
    let batch = |id| WindowBatch { window: Some(window(id)), ..WindowBatch::default() };
    let mut other = store.database.connect().await.expect("a connection");
    other.run("BEGIN EXCLUSIVE").await.expect("locked");
    writer.send(batch(1)).await.expect("send");
    writer.flush().await.expect_err("it waits");
    let stats = store.stats();
    assert!(stats.failing && stats.last_error.is_some_and(|error| error.contains("lock")));
    assert_eq!((stats.batches_waiting, stats.batches_in_memory), (1, 0), "on disk");
    other.run("COMMIT").await.expect("unlocked");
    writer.send(batch(2)).await.expect("send");
    writer.shutdown().await.expect("stored");
    task.await.expect("the writer ends");
    assert_eq!((store.window_count().await.expect("count"), store.stats().failing), (2, false));
}

#[tokio::test]
async fn what_comes_at_the_end_is_on_disk_before_the_database_has_it() {
    let folder = tempfile::tempdir().expect("folder");
    let (spool, url) = (folder.path().join("spool"), format!("sqlite:{}", folder.path().join("nta.db").display()));
    let open = || async { Store::open(&url).await.expect("open").with_spool(spool.clone(), 1 << 20) };
    let store = open().await;
    let (writer, task) = begin(&store).await;
    let mut holder = Database::open(&url).await.expect("open").connect().await.expect("connect");
    holder.run("BEGIN IMMEDIATE").await.expect("held");
    store.stops();
    writer.send(WindowBatch { window: Some(window(1)), ..WindowBatch::default() }).await.expect("send");
    while !spool::has_segments(&spool) {
        tokio::task::yield_now().await;
    }
    // The time is over, and the database has not taken it.
    task.abort();
    assert!(task.await.expect_err("aborted").is_cancelled());
    holder.run("ROLLBACK").await.expect("let go");
    store.close().await;

    let store = open().await;
    let (writer, _task) = begin(&store).await;
    writer.flush().await.expect("all is written");
    assert_eq!((store.window_count().await.expect("count"), store.stats().batches_lost), (1, 0));
}
