//! Readers get every event once and in order, whatever happens to them and to the daemon.

use super::*;
use crate::store::server_tests::{Away, Server};
use crate::store::{Notice, Run, RunEnd, Store, StoreWriter, WindowBatch};
use nta_core::domain::{Mode, Severity, Timestamp};
use nta_core::window::Window;

async fn open(url: &str) -> (Store, StoreWriter, tokio::task::JoinHandle<()>) {
    let store = Store::open(url).await.expect("open");
    let run = Run {
        started: Timestamp::from_nanos(1),
        mode: Mode::Replay,
        source: "a.pcap".to_owned(),
        version: "0".to_owned(),
        sensor: "test".to_owned(),
        uuid: Run::new_uuid(Timestamp::from_nanos(1)),
        analysis: None,
    };
    let (writer, task) = store.writer(store.begin_run(&run).await.expect("run"), 16);
    (store, writer, task)
}

/// Writes batches whose events are troubles named by number.
async fn write(writer: &StoreWriter, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        let notice = Notice::new(Timestamp::from_nanos(number), "capture_trouble", Severity::High, &number.to_string());
        let batch = WindowBatch { notices: vec![notice], ..WindowBatch::default() };
        writer.send(batch).await.expect("send");
    }
    writer.flush().await.expect("flush");
}

const TROUBLES: fn() -> Filter = || Filter { types: Filter::types_of("capture"), ..Filter::default() };

fn after(after: u64) -> Cursor {
    Cursor { after: Some(after), epoch: None }
}

/// The next `count` events: number in the log and reason; whatever else comes is named.
async fn read(reader: &mut Reader, count: usize) -> Vec<(u64, String)> {
    let mut events = Vec::new();
    while events.len() < count {
        let next = tokio::time::timeout(Duration::from_secs(60), reader.next()).await.expect("something comes");
        match next.expect("it goes on") {
            Message::Event(event) => {
                let json: serde_json::Value = serde_json::from_str(&event.json).expect("JSON");
                assert_eq!(json["id"], event.seq);
                events.push((event.seq, json["data"]["reason"].as_str().expect("a reason").to_owned()));
            }
            Message::Resync(why, after) => events.push((after, why.word().to_owned())),
            Message::Missed(count, after) => events.push((after, format!("missed {count}"))),
            Message::Hello(..) | Message::Notice(..) | Message::Heartbeat(_) => {}
        }
    }
    events
}

fn numbers(read: &[(u64, String)]) -> Vec<u64> {
    read.iter().map(|(_, reason)| reason.parse().unwrap_or_default()).collect()
}

#[tokio::test]
async fn a_reader_that_comes_back_goes_on_where_it_was_over_a_restart_too() {
    let folder = tempfile::tempdir().expect("folder");
    let url = format!("sqlite:{}", folder.path().join("nta.db").display());
    let (store, writer, task) = open(&url).await;
    let stream = EventStream::new(store.clone());
    let mut reader = stream.subscribe(Cursor::default(), TROUBLES()).await.expect("a reader");
    write(&writer, 1..=5).await;
    let first = read(&mut reader, 3).await;
    assert_eq!(numbers(&first), [1, 2, 3]);
    let last = first[2].0;
    drop(reader);
    write(&writer, 6..=300).await;
    let mut again = stream.subscribe(after(last), TROUBLES()).await.expect("a reader");
    // More than a page: from the store, then from the ring.
    assert_eq!(numbers(&read(&mut again, 297).await), (4..=300).collect::<Vec<_>>());
    write(&writer, 301..=301).await;
    let here = read(&mut again, 1).await;
    assert_eq!(numbers(&here), [301]);

    // Killed: nothing says that the run ended.
    task.abort();
    assert!(task.await.is_err());
    stream.end();
    assert!(again.next().await.is_none(), "it ends with the server");
    assert!(matches!(stream.subscribe(after(0), TROUBLES()).await, Err(Refused::Ending)));
    drop((again, stream, writer));
    store.close().await;
    let (store, writer, _task) = open(&url).await;
    write(&writer, 302..=310).await;
    let stream = EventStream::new(store);
    let mut next = stream.subscribe(after(last), TROUBLES()).await.expect("a reader");
    assert_eq!(numbers(&read(&mut next, 307).await), (4..=310).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_cursor_that_leads_nowhere_gets_one_resync() {
    let (store, writer, _task) = open("sqlite::memory:").await;
    write(&writer, 1..=20).await;
    let state = store.log_state().await.expect("state");
    let stream = EventStream::new(store.clone());
    let subscribe = async |cursor| stream.subscribe(cursor, TROUBLES()).await.expect("a reader");
    let of = |after, epoch: &str| Cursor { after: Some(after), epoch: Some(epoch.to_owned()) };
    let mut same = subscribe(of(state.newest - 1, &state.epoch)).await;
    let mut ahead = subscribe(after(state.newest + 1)).await;
    let mut other = subscribe(of(3, "0123456789abcdef")).await;
    assert_eq!(numbers(&read(&mut same, 1).await), [20]);
    assert_eq!(read(&mut ahead, 1).await, [(state.newest, "ahead".to_owned())]);
    assert_eq!(read(&mut other, 1).await, [(state.newest, "other_log".to_owned())]);

    let few = crate::store::Retention { max_events: 5, ..crate::store::Retention::default() };
    store.clone().with_retention(few).retain_now().await;
    let oldest = store.log_state().await.expect("state").oldest;
    assert_eq!(oldest, state.newest - 4);
    let mut old = subscribe(after(oldest - 2)).await;
    assert_eq!(read(&mut old, 6).await[0], (oldest - 1, "too_old".to_owned()), "then what is left of it");
    let mut edge = subscribe(after(oldest - 1)).await;
    assert_eq!(numbers(&read(&mut edge, 5).await), [16, 17, 18, 19, 20], "nothing is missing");
    write(&writer, 21..=21).await;
    for reader in [&mut same, &mut ahead, &mut other, &mut old, &mut edge] {
        assert_eq!(numbers(&read(reader, 1).await), [21], "one resync, and on it goes");
    }
    assert_eq!(stream.stats(), StreamStats { readers: 5, refused: 0, resyncs: 3, missed: 0 });
}

#[tokio::test]
async fn a_reader_that_is_too_slow_is_told_how_many_it_missed() {
    let (store, writer, _task) = open("sqlite::memory:").await;
    let stream = EventStream::new(store.clone());
    let mut slow = stream.subscribe(Cursor::default(), TROUBLES()).await.expect("a reader");
    write(&writer, 1..=3).await;
    assert_eq!(numbers(&read(&mut slow, 1).await), [1]);
    // More than the ring has, of which only the last are kept.
    let many = 5000_u64;
    for chunk in 0..10 {
        let notices = (1..=many / 10).map(|n| {
            let number = (4 + chunk * (many / 10) + n - 1).to_string();
            Notice::new(Timestamp::from_nanos(n), "capture_trouble", Severity::High, &number)
        });
        let batch = WindowBatch { notices: notices.collect(), ..WindowBatch::default() };
        writer.send(batch).await.expect("send");
    }
    writer.flush().await.expect("flush");
    let few = crate::store::Retention { max_events: 10, ..crate::store::Retention::default() };
    store.clone().with_retention(few).retain_now().await;
    stream.0.lock().clear();
    let rest = read(&mut slow, 2 + 1 + 10).await;
    assert_eq!(numbers(&rest[..2]), [2, 3], "what it had been given already");
    assert_eq!(rest[2].1, format!("missed {}", many - 10));
    assert_eq!(numbers(&rest[3..]), (many - 6..=many + 3).collect::<Vec<_>>());
    assert_eq!(stream.stats().missed, many - 10);
}

#[tokio::test]
async fn readers_are_bounded_and_a_place_is_free_again() {
    let (store, writer, _task) = open("sqlite::memory:").await;
    let stream = EventStream::for_readers(store, 2);
    let subscribe = || stream.subscribe(Cursor::default(), TROUBLES());
    let (first, mut second) = (subscribe().await.expect("a reader"), subscribe().await.expect("a reader"));
    assert!(matches!(subscribe().await, Err(Refused::Full { most: 2 })));
    assert_eq!((stream.stats().readers, stream.stats().refused), (2, 1));
    drop(first);
    let mut third = subscribe().await.expect("a reader");
    write(&writer, 1..=1).await;
    for reader in [&mut second, &mut third] {
        assert_eq!(numbers(&read(reader, 1).await), [1]);
    }
}

#[tokio::test]
async fn a_run_that_ends_and_windows_that_close_are_events_too() {
    let (store, writer, _task) = open("sqlite::memory:").await;
    let stream = EventStream::new(store);
    let mut all = stream.subscribe(after(0), Filter::default()).await.expect("a reader");
    let window = Window { id: 1, end: Timestamp::from_nanos(5), ..Window::default() };
    let batch = WindowBatch { window: Some(window), end: Some(RunEnd::Completed.word()), ..WindowBatch::default() };
    writer.send(batch).await.expect("send");
    let mut kinds = Vec::new();
    while kinds.len() < 3 {
        if let Some(Message::Event(event)) = all.next().await {
            kinds.push(event.kind.clone());
        }
    }
    assert_eq!(kinds, ["run_begun", "window_closed", "run_ended"]);
}

/// What comes next but greetings: whether it has a number, kind and reason.
async fn next(reader: &mut Reader) -> (bool, String, String) {
    loop {
        let next = tokio::time::timeout(Duration::from_secs(60), reader.next()).await.expect("something comes");
        let (is_numbered, kind, json) = match next.expect("it goes on") {
            Message::Notice(event, _) => (event.seq > 0, event.kind.clone(), event.body.clone()),
            Message::Event(event) => {
                let json: serde_json::Value = serde_json::from_str(&event.json).expect("JSON");
                (event.seq > 0, event.kind.clone(), json["data"].to_string())
            }
            Message::Hello(..) | Message::Heartbeat(_) => continue,
            other => panic!("{other:?}"),
        };
        let data: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        return (is_numbered, kind, data["reason"].as_str().expect("a reason").to_owned());
    }
}

/// Without `table` nothing can be written; without that of the events nothing can be read either.
async fn what_happens_meanwhile_is_told_at_once(url: &str, table: &str) {
    let (store, writer, _task) = open(url).await;
    let stream = EventStream::new(store.clone());
    let types = ["store", "capture"].into_iter().flat_map(Filter::types_of).collect();
    let filter = Filter { types, ..Filter::default() };
    let mut reader = stream.subscribe(Cursor::default(), filter.clone()).await.expect("a reader");
    let alerts = Filter { types: Filter::types_of("alert"), ..Filter::default() };
    let mut of_alerts = stream.subscribe(Cursor::default(), alerts).await.expect("a reader");
    let batch = |id: u64, kind: &str| WindowBatch {
        window: Some(Window { id, end: Timestamp::from_nanos(id), ..Window::default() }),
        notices: vec![Notice::new(Timestamp::from_nanos(id), kind, Severity::High, "eth0 is away")],
        ..WindowBatch::default()
    };
    let gone = Away::of(url, table).await;
    writer.send(batch(1, "capture_trouble")).await.expect("send");
    let (is_numbered, kind, reason) = next(&mut reader).await;
    assert!(!is_numbered && kind == "store_trouble" && reason.contains("takes nothing since"), "{kind}: {reason}");
    let away = |numbered: bool, kind: &str| (numbered, kind.to_owned(), "eth0 is away".to_owned());
    assert_eq!(next(&mut reader).await, away(false, "capture_trouble"));
    writer.send(batch(2, "capture_recovered")).await.expect("send");
    assert_eq!(next(&mut reader).await, away(false, "capture_recovered"));
    // Who comes while it goes on learns of it, where the log can be read.
    match stream.subscribe(Cursor::default(), filter.clone()).await {
        Ok(mut late) => assert_eq!((next(&mut late).await.1.as_str(), table), ("store_trouble", "windows")),
        Err(refused) => assert!(matches!(refused, Refused::Store(_)) && table == "events", "{refused}"),
    }
    let waits = writer.flush().await.expect_err("they wait").to_string();
    assert!(waits.contains("2 batches"), "{waits}");
    gone.put_back().await;
    writer.flush().await.expect("stored");
    let mut later = stream.subscribe(after(0), filter).await.expect("a reader");
    for reader in [&mut reader, &mut later] {
        let (first, second) = (next(reader).await, next(reader).await);
        assert!(first.0 && first.1 == "store_trouble" && first.2.contains("took nothing from"), "{first:?}");
        assert!(second.0 && second.1 == "store_recovered", "{second:?}");
        assert_eq!(next(reader).await, away(true, "capture_trouble"));
        assert_eq!(next(reader).await, away(true, "capture_recovered"));
    }
    assert!(store.announced().borrow().events.is_empty());
    stream.end();
    while let Some(message) = of_alerts.next().await {
        assert!(matches!(message, Message::Hello(..) | Message::Heartbeat(_)), "not asked for: {message:?}");
    }
    store.close().await;
}

#[tokio::test]
async fn what_happens_while_sqlite_takes_nothing_is_told_at_once() {
    for table in ["windows", "events"] {
        let folder = tempfile::tempdir().expect("folder");
        let url = format!("sqlite:{}", folder.path().join("nta.db").display());
        Store::open(&url).await.expect("open").close().await;
        what_happens_meanwhile_is_told_at_once(&url, table).await;
    }
}

#[tokio::test]
async fn what_happens_while_postgresql_takes_nothing_is_told_at_once() {
    for table in ["windows", "events"] {
        let Some(server) = Server::start("what_happens_while_postgresql_takes_nothing_is_told_at_once") else { return };
        server.open().await.close().await;
        what_happens_meanwhile_is_told_at_once(&server.url(), table).await;
    }
}
