//! Whoever heard of a trouble hears of its end, though the daemon was killed in between.

use super::server_tests::{Away, Server};
use super::tests::window;
use super::*;
use nta_core::domain::{Mode, Severity, Timestamp};

async fn begin(store: &Store, started: u64) -> (StoreWriter, tokio::task::JoinHandle<()>) {
    let run = Run {
        started: Timestamp::from_nanos(started),
        mode: Mode::Live,
        source: "eth0".to_owned(),
        version: "0".to_owned(),
        sensor: "gw".to_owned(),
        uuid: Run::new_uuid(Timestamp::from_nanos(started)),
        analysis: None,
    };
    store.writer(store.begin_run(&run).await.expect("run"), 16)
}

/// Types and reasons of the events of this kind.
async fn events(store: &Store, kind: &str) -> Vec<(String, String)> {
    let events = store.events_after(0, 1000).await.expect("events");
    let of = |event: &StoredEvent| {
        let body: serde_json::Value = serde_json::from_str(&event.body).expect("JSON");
        (event.kind.clone(), body["reason"].as_str().unwrap_or_default().to_owned())
    };
    events.iter().filter(|event| event.kind.starts_with(kind)).map(of).collect()
}

async fn troubles_of_a_run_that_was_killed_end_with_the_next(store: &Store) {
    let (away, back) = ("capture_trouble".to_owned(), "capture_recovered".to_owned());
    let notice = |kind: &str, reason: &str| Notice::new(Timestamp::from_nanos(7), kind, Severity::High, reason);
    let (first, second) = ("eth0 is away".to_owned(), "eth1 is away since 9 s".to_owned());
    let troubles = [(&away, "eth2 is away"), (&away, &*first), (&away, &*second), (&back, "eth2 is away")];
    let notices = troubles.map(|(kind, reason)| notice(kind, reason)).into();
    let mut expected: Vec<_> = troubles.map(|(kind, reason)| (kind.clone(), reason.to_owned())).into();
    for (started, standing, notices, ended) in [
        (1, vec![], notices, None),
        (2, vec!["eth1".to_owned()], vec![], Some(first)),
        (3, vec![], vec![], Some(second)),
        (4, vec![], vec![], None),
    ] {
        let (writer, task) = begin(store, started).await;
        let batch = WindowBatch { notices, standing: Some(standing), ..WindowBatch::default() };
        writer.send(batch).await.expect("send");
        writer.flush().await.expect("flush");
        // Later batches of the run say nothing of what stood at its begin.
        writer.send(WindowBatch { window: Some(window(started)), ..WindowBatch::default() }).await.expect("send");
        writer.flush().await.expect("flush");
        task.abort();
        assert!(task.await.is_err());
        expected.extend(ended.map(|reason| (back.clone(), reason)));
        assert_eq!(events(store, "capture_").await, expected, "run {started}");
    }
}

#[tokio::test]
async fn troubles_of_a_run_that_was_killed_end_with_the_next_on_sqlite() {
    let store = Store::open("sqlite::memory:").await.expect("open");
    troubles_of_a_run_that_was_killed_end_with_the_next(&store).await;
}

#[tokio::test]
async fn troubles_of_a_run_that_was_killed_end_with_the_next_on_postgresql() {
    let Some(server) = Server::start("troubles_of_a_run_that_was_killed_end_with_the_next_on_postgresql") else {
        return;
    };
    let store = server.open().await;
    troubles_of_a_run_that_was_killed_end_with_the_next(&store).await;
    store.close().await;
}

#[tokio::test]
async fn a_database_that_took_nothing_as_the_daemon_was_killed_takes_batches_again() {
    let folder = tempfile::tempdir().expect("folder");
    let url = format!("sqlite:{}", folder.path().join("nta.db").display());
    let spool = folder.path().join("spool");
    let open = || async { Store::open(&url).await.expect("store").with_spool(spool.clone(), 1 << 20) };
    let store = open().await;
    let (writer, task) = begin(&store, 1).await;
    let mut announced = store.announced();
    let away = Away::of(&url, "windows").await;
    writer.send(WindowBatch { window: Some(window(1)), ..WindowBatch::default() }).await.expect("send");
    let told = announced.wait_for(|announced| !announced.events.is_empty()).await.expect("told").events[0].clone();
    task.abort();
    assert!(task.await.is_err());
    store.close().await;
    away.put_back().await;

    let store = open().await;
    let (writer, task) = begin(&store, 2).await;
    writer.send(WindowBatch { window: Some(window(2)), ..WindowBatch::default() }).await.expect("send");
    writer.flush().await.expect("flush");
    let logged = store.events_after(0, 1000).await.expect("events");
    let logged: Vec<_> = logged.iter().filter(|event| event.kind.starts_with("store_")).collect();
    assert_eq!(
        logged.iter().map(|event| event.kind.as_str()).collect::<Vec<_>>(),
        ["store_trouble", "store_recovered"]
    );
    assert_eq!(logged[0].time, told.time, "by this it is known as the one that was told");
    assert!(logged[0].body.contains("no such table"), "{}", logged[0].body);
    drop(writer);
    task.await.expect("ended");
    store.close().await;

    let store = open().await;
    let (writer, _task) = begin(&store, 3).await;
    writer.send(WindowBatch { window: Some(window(3)), ..WindowBatch::default() }).await.expect("send");
    writer.flush().await.expect("flush");
    assert_eq!(events(&store, "store_").await.len(), 2, "it is over");
}
