//! A PostgreSQL server that takes connections or statements and neither answers nor refuses them.

use super::server_tests::Server;
use super::tests::{begin, window};
use super::*;

const HANGS: &str = "CREATE FUNCTION hang() RETURNS trigger LANGUAGE plpgsql AS \
    $$ BEGIN PERFORM pg_sleep(3600); RETURN NEW; END $$; \
    CREATE TRIGGER hangs BEFORE INSERT ON windows FOR EACH ROW EXECUTE FUNCTION hang()";
const GOES_ON: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'; \
    DROP FUNCTION hang CASCADE";

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_is_an_error_that_says_so() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let error = Store::open(&format!("postgres://nta@127.0.0.1:{port}/nta")).await.expect_err("nobody answers").chain();
    assert!(error.contains("does not answer within"), "{error}");
}

/// A database that neither answers nor refuses is said to be away, what is queued goes to the disk, and all is stored once it goes on.
#[tokio::test]
async fn while_a_database_hangs_batches_wait_on_disk() {
    let Some(server) = Server::start("while_a_database_hangs_batches_wait_on_disk") else { return };
    let folder = tempfile::tempdir().expect("folder");
    let store = server.open().await.with_spool(folder.path().join("spool"), 1 << 20);
    let (writer, task) = begin(&store).await;
    let mut other = store.database.connect().await.expect("a connection");
    other.run(HANGS).await.expect("a trigger");
    for id in 1..=3 {
        writer.send(WindowBatch { window: Some(window(id)), ..WindowBatch::default() }).await.expect("send");
    }
    writer.flush().await.expect_err("they wait");
    let stats = store.stats();
    assert_eq!((stats.failing, stats.batches_waiting, stats.batches_in_memory), (true, 3, 0), "on disk");
    assert!(stats.last_error.is_some(), "the batch, or the lock that what hangs has");
    other.run(GOES_ON).await.expect("let go");
    writer.shutdown().await.expect("all is written");
    task.await.expect("the writer ends");
    assert_eq!((store.window_count().await.expect("count"), store.stats().failing), (3, false));
    assert_eq!(store.stats().batches_lost, 0);
    store.close().await;
}

/// A database that hangs at the end costs nothing: what it was given is broken off.
#[tokio::test]
async fn what_the_database_takes_too_long_for_at_the_end_is_on_disk_with_all_that_is_queued() {
    const TEST: &str = "what_the_database_takes_too_long_for_at_the_end_is_on_disk_with_all_that_is_queued";
    let Some(server) = Server::start(TEST) else { return };
    let folder = tempfile::tempdir().expect("folder");
    let open = || async { server.open().await.with_spool(folder.path().join("spool"), 1 << 20) };
    let store = open().await;
    let (writer, task) = begin(&store).await;
    let mut other = store.database.connect().await.expect("a connection");
    other.run(HANGS).await.expect("a trigger");
    for id in 1..=3 {
        writer.send(WindowBatch { window: Some(window(id)), ..WindowBatch::default() }).await.expect("send");
    }
    // The first is being written, the others are queued behind it.
    while store.stats().queue_length > 2 {
        tokio::task::yield_now().await;
    }
    store.stops();
    store.is_out_of_time();
    writer.shutdown().await.expect_err("they wait");
    task.await.expect("the writer ends");
    let stats = store.stats();
    assert_eq!((stats.batches_waiting, stats.batches_in_memory, stats.queue_length), (3, 0, 0), "on disk");
    other.run(GOES_ON).await.expect("let go");
    store.close().await;

    let store = open().await;
    let (writer, task) = begin(&store).await;
    writer.shutdown().await.expect("all is written");
    task.await.expect("the writer ends");
    assert_eq!((store.window_count().await.expect("count"), store.stats().batches_lost), (3, 0));
    store.close().await;
}
