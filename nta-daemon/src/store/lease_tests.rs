//! The lease of an analysis: one process at a time, whoever ends in between.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::db::Query;
use super::server_tests::Server;
use super::tests::window;
use super::{Run, RunEnd, Store, StoreError, WindowBatch};
use nta_core::domain::{Mode, Timestamp};

const SOON: Duration = Duration::from_secs(60);
const KEY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const AT_ONCE: usize = 8;
const ROUNDS: usize = 500;

fn run() -> Run {
    Run {
        started: Timestamp::from_nanos(1),
        mode: Mode::Replay,
        source: "a.pcap".to_owned(),
        version: "0".to_owned(),
        sensor: "test".to_owned(),
        uuid: [0; 16],
        analysis: None,
    }
}

/// Many threads take a lock in turn that each removes after use: never two have it at once.
#[test]
fn a_lock_file_that_is_removed_after_use_has_one_holder_at_a_time() {
    let folder = tempfile::tempdir().expect("folder");
    let url = format!("sqlite:{}", folder.path().join("nta.db").display());
    let holders = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
                runtime.block_on(async {
                    let store = Store::open(&url).await.expect("open");
                    for _ in 0..ROUNDS {
                        let lock = loop {
                            if let Some(lock) = store.lock("analysis-x", true).await.expect("a lock") {
                                break lock;
                            }
                            std::thread::yield_now();
                        };
                        assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0, "two hold it");
                        std::thread::yield_now();
                        holders.fetch_sub(1, Ordering::SeqCst);
                        drop(lock);
                    }
                    store.close().await;
                });
            });
        }
    });
}

/// Held by one, waited for by another, lost to a third.
async fn is_lost_and_found(store: &Store, lose: &str) {
    let first = store.analysis_lease(KEY).await.expect("free");
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.analysis_lease(KEY).await }
    });
    let other = store.analysis_lease(&KEY.replace('0', "f")).await.expect("another analysis");
    assert!(!waiting.is_finished());
    drop(first);
    let second = tokio::time::timeout(SOON, waiting).await.expect("in time").expect("ended").expect("free");
    drop(other);
    let mut kept = tokio::spawn(second.keep(store.clone()));
    if let Some(path) = store.path() {
        std::fs::remove_file(format!("{}.{lose}", path.display())).expect("removed");
    } else {
        store.read("runs", Query::new(lose.to_owned()), |row| Ok(row.first()?)).await.expect("ended");
    }
    // Who is faster than the holder's next look has it.
    let third = tokio::time::timeout(SOON, store.analysis_lease(KEY)).await.expect("in time").expect("free");
    let lost = tokio::time::timeout(SOON, &mut kept).await.expect("noticed").expect("ended");
    assert!(matches!(lost, StoreError::Analysed { .. }), "{lost}");
    // What the one that lost it lets go of is not the other's.
    let name = format!("analysis-{}", &KEY[..32]);
    assert!(store.lock(&name, true).await.expect("a look").is_none(), "it is held");
    drop(third);
    tokio::time::timeout(SOON, store.analysis_lease(KEY)).await.expect("in time").expect("free");
}

#[tokio::test]
async fn one_process_at_a_time_stores_an_analysis_on_sqlite() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(&format!("sqlite:{}", folder.path().join("nta.db").display())).await.expect("open");
    is_lost_and_found(&store, &format!("analysis-{}.lock", &KEY[..32])).await;
    store.close().await;
    let names = || std::fs::read_dir(folder.path()).expect("folder").flatten().map(|entry| entry.file_name());
    assert_eq!(names().collect::<Vec<_>>(), ["nta.db"]);
}

/// Loses the sessions that hold an analysis, and another process begins it; who ends first makes no difference.
#[tokio::test]
async fn who_has_lost_the_lease_to_another_completes_nothing() {
    let Some(server) = Server::start("who_has_lost_the_lease_to_another_completes_nothing") else { return };
    let (first, second) = (server.open().await, server.open().await);
    let run = |n| Run { analysis: Some(KEY.to_owned()), uuid: Run::new_uuid(Timestamp::from_nanos(n)), ..run() };
    let end = || WindowBatch { end: Some(RunEnd::Completed.word()), ..WindowBatch::default() };
    let lease = first.analysis_lease(KEY).await.expect("free");
    let (writer, _task) = first.writer(first.begin_run(&run(1)).await.expect("a run"), 4);
    writer.send(WindowBatch { window: Some(window(1)), ..WindowBatch::default() }).await.expect("send");
    writer.flush().await.expect("written");
    let lose = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory' AND granted";
    first.read("runs", Query::new(lose.to_owned()), |row| Ok(row.first()?)).await.expect("ended");
    let other = second.analysis_lease(KEY).await.expect("free, for the session has ended");
    let (others, _other_task) = second.writer(second.begin_run(&run(2)).await.expect("a run"), 4);
    second.check_analysis(KEY, 0).await.expect("none was completed meanwhile");

    writer.send(end()).await.expect("send");
    let refused = writer.flush().await.expect_err("the other one's is the result").chain();
    assert!(refused.contains("has lost its lease"), "{refused}");
    assert_eq!(second.completed_analyses(KEY).await.expect("count"), 0);
    others.send(end()).await.expect("send");
    others.flush().await.expect("written");
    assert_eq!(second.completed_analyses(KEY).await.expect("count"), 1);
    drop((lease, other));

    // Who begins when the one without a lease has just completed learns that.
    assert!(matches!(second.check_analysis(KEY, 0).await, Err(StoreError::Overtaken)));
    first.close().await;
    second.close().await;
}

#[tokio::test]
async fn one_process_at_a_time_stores_an_analysis_on_postgresql() {
    let Some(server) = Server::start("one_process_at_a_time_stores_an_analysis_on_postgresql") else { return };
    let store = server.open().await;
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory' AND granted";
    is_lost_and_found(&store, end).await;
    store.close().await;
}
