//! `/api/events` and `/api/stream`: what happens, by both ways, over a socket as clients read it.

use std::time::Duration;

use axum::http::StatusCode;
use nta_core::domain::{AlertChange, AlertKind, Severity};
use nta_daemon::api::{ApiState, serve};
use nta_daemon::store::WindowBatch;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::alerts::{alert, emit};
use crate::app::{App, HOST, window};

/// The app's server on the loopback.
struct Served {
    address: std::net::SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<std::io::Result<()>>,
}

async fn served(app: &App, readers: usize) -> Served {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("listen");
    let address = listener.local_addr().expect("address");
    let stop = CancellationToken::new();
    let state = ApiState::new(app.store.clone(), app.status.subscribe()).with_readers(readers);
    let task = tokio::spawn(serve(listener, state, stop.clone().cancelled_owned()));
    Served { address, stop, task }
}

/// A connection whose bytes are read as they come.
struct Client {
    socket: TcpStream,
    bytes: Vec<u8>,
}

impl Client {
    async fn ask(served: &Served, path: &str, headers: &str) -> Self {
        let mut socket = TcpStream::connect(served.address).await.expect("connect");
        let request = format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n{headers}\r\n");
        socket.write_all(request.as_bytes()).await.expect("send");
        Self { socket, bytes: Vec::new() }
    }

    /// Reads on; `false` at the end.
    async fn more(&mut self) -> bool {
        let mut part = [0; 4096];
        let read = tokio::time::timeout(Duration::from_secs(60), self.socket.read(&mut part));
        let read = read.await.expect("something comes").unwrap_or(0);
        self.bytes.extend_from_slice(&part[..read]);
        read > 0
    }

    async fn until(&mut self, text: &str) -> String {
        while !String::from_utf8_lossy(&self.bytes).contains(text) {
            assert!(self.more().await, "no {text} in {}", String::from_utf8_lossy(&self.bytes));
        }
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// The answer's `event:` names with their `id:`s and data, until there are `count`.
    async fn events(&mut self, count: usize) -> Vec<(String, u64, Value)> {
        loop {
            let text = String::from_utf8_lossy(&self.bytes).into_owned();
            let lines: Vec<&str> = text.lines().collect();
            let mut found = Vec::new();
            let (mut id, mut name) = (0, String::new());
            for line in lines {
                if let Some(value) = line.strip_prefix("id: ") {
                    id = value.trim().parse().expect("a number");
                } else if let Some(value) = line.strip_prefix("event: ") {
                    value.trim().clone_into(&mut name);
                } else if let Some(value) = line.strip_prefix("data: ")
                    && let Ok(data) = serde_json::from_str(value.trim())
                {
                    found.push((name.clone(), id, data));
                }
            }
            if found.len() >= count {
                return found;
            }
            assert!(self.more().await, "{count} events in {text}");
        }
    }
}

fn names(events: &[(String, u64, Value)]) -> Vec<(&str, u64)> {
    events.iter().map(|(name, id, _)| (name.as_str(), *id)).collect()
}

#[tokio::test]
async fn events_come_with_their_numbers_and_a_client_that_was_cut_off_misses_none() {
    let app = App::with(2, 0).await;
    let served = served(&app, 8).await;
    let mut client = Client::ask(&served, "/api/events", "").await;
    let head = client.until("event: hello").await;
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("content-type: text/event-stream"), "{head}");
    let mut raised = alert(AlertKind::PortScan, 1, 1, 0.9);
    raised.severity = Severity::High;
    emit(&app, AlertChange::Raised, &[raised.clone()]).await;
    app.write(Some(window(3)), vec![]).await;
    let events = client.events(3).await;
    // Of the run and two windows there were three events before.
    assert_eq!(names(&events), [("hello", 3), ("alert_raised", 4), ("window_closed", 5)]);
    let said = &events[1].2;
    assert_eq!((&said["id"], &said["type"], &said["severity"]), (&4.into(), &"alert_raised".into(), &"high".into()));
    assert_eq!(said["data"]["id"], raised.id.to_string());
    assert_eq!(said["data"]["summary"], "192.0.2.1 tried 40 ports");
    drop(client);

    app.write(Some(window(4)), vec![]).await;
    let mut again = Client::ask(&served, "/api/events?after=1", "Last-Event-ID: 4\r\n").await;
    assert_eq!(names(&again.events(3).await), [("hello", 4), ("window_closed", 5), ("window_closed", 6)]);
    let mut all = Client::ask(&served, "/api/events?after=0&types=alert,run_begun&min_severity=low", "").await;
    assert_eq!(names(&all.events(2).await), [("hello", 0), ("alert_raised", 4)]);
    let mut ahead = Client::ask(&served, "/api/events", "Last-Event-ID: 4000\r\n").await;
    let events = ahead.events(2).await;
    assert_eq!(names(&events), [("hello", 6), ("resync", 6)]);
    assert_eq!(events[1].2["reason"], "ahead");

    // The server ends although readers are there, who wait without end.
    served.stop.cancel();
    tokio::time::timeout(Duration::from_secs(60), served.task).await.expect("it ends").expect("task").expect("serve");
    while again.more().await {}
    assert!(again.bytes.ends_with(b"0\r\n\r\n"), "the answer is whole");
}

#[tokio::test]
async fn readers_beyond_the_limit_are_refused_and_a_place_is_free_again() {
    let app = App::with(0, 0).await;
    let served = served(&app, 1).await;
    let mut first = Client::ask(&served, "/api/events", "").await;
    first.until("event: hello").await;
    let mut second = Client::ask(&served, "/api/events", "").await;
    let refused = second.until("try again later").await.to_lowercase();
    assert!(refused.starts_with("http/1.1 503") && refused.contains("retry-after:"), "{refused}");
    assert!(refused.contains("application/problem+json"), "{refused}");
    drop(first);
    // Its place is free once the server has noticed, which an event makes it do.
    for id in 1..=1000 {
        app.write(Some(window(id)), vec![]).await;
        let mut next = Client::ask(&served, "/api/events", "").await;
        let head = next.until("\r\n\r\n").await;
        if head.starts_with("HTTP/1.1 200") {
            served.stop.cancel();
            return;
        }
    }
    panic!("no place is free");
}

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Text messages of a server's frames, until there are `count`; a close frame's code is one too.
async fn messages(client: &mut Client, count: usize) -> Vec<Value> {
    loop {
        let begin =
            client.bytes.windows(4).position(|four| four == b"\r\n\r\n").map_or(client.bytes.len(), |at| at + 4);
        let (mut rest, mut found) = (&client.bytes[begin..], Vec::new());
        while rest.len() >= 2 {
            let (length, at) = match rest[1] & 0x7f {
                126 if rest.len() >= 4 => (usize::from(u16::from_be_bytes([rest[2], rest[3]])), 4),
                126 => break,
                short => (usize::from(short), 2),
            };
            if rest.len() < at + length {
                break;
            }
            let payload = &rest[at..at + length];
            match rest[0] {
                0x81 => found.push(serde_json::from_slice(payload).expect("JSON")),
                0x88 => found.push(u16::from_be_bytes([payload[0], payload[1]]).into()),
                other => panic!("a frame {other:#x}"),
            }
            rest = &rest[at + length..];
        }
        if found.len() >= count {
            return found;
        }
        assert!(client.more().await, "{count} messages in {found:?}");
    }
}

#[tokio::test]
async fn a_websocket_gets_the_same_and_is_closed_at_the_end() {
    let app = App::with(1, 0).await;
    let served = served(&app, 8).await;
    let mut client = Client::ask(&served, "/api/stream?after=0&types=window", UPGRADE).await;
    client.until("HTTP/1.1 101").await;
    let first = messages(&mut client, 2).await;
    assert_eq!((&first[0]["type"], &first[0]["after"]), (&"hello".into(), &0.into()));
    assert_eq!((&first[1]["type"], &first[1]["id"]), (&"window_closed".into(), &2.into()));
    assert_eq!(first[1]["data"]["bytes"], 1000);
    app.batch(WindowBatch { window: Some(window(2)), ..WindowBatch::default() }).await;
    assert_eq!(messages(&mut client, 3).await[2]["id"], 3);

    // Pages of other sites may not open one.
    let foreign = format!("{UPGRADE}Origin: http://evil.example\r\n");
    let mut refused = Client::ask(&served, "/api/stream", &foreign).await;
    assert!(refused.until("\r\n\r\n").await.starts_with("HTTP/1.1 403"));
    served.stop.cancel();
    assert_eq!(messages(&mut client, 4).await[3], 1001, "going away");
    tokio::time::timeout(Duration::from_secs(60), served.task).await.expect("it ends").expect("task").expect("serve");
}

#[tokio::test]
async fn what_cannot_be_followed_is_refused_by_name() {
    let app = App::with(0, 0).await;
    for (path, field, named) in [
        ("/api/events?types=alert,colour", "types", "alert_raised"),
        ("/api/events?severity=bad", "severity", "critical"),
        ("/api/events?severity=low&min_severity=high", "min_severity", "severity"),
        ("/api/events?after=-1", "after", "`id`"),
        ("/api/events?epoch=1", "epoch", "16"),
        ("/api/events?limit=1", "limit", "unknown"),
    ] {
        let (status, _, body) = app.get(path).await;
        let problem: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!((status, &problem["field"]), (StatusCode::BAD_REQUEST, &field.into()), "{path}: {problem}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(named)), "{problem}");
    }
    let (status, media_type, _) = app.get("/api/stream").await;
    assert_eq!((status, media_type.as_str()), (StatusCode::UPGRADE_REQUIRED, "application/problem+json"));
}
