//! Clients that are slow, many, or send more than they may, over real connections.

use axum::routing::get;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;
use tower_http::limit::RequestBodyLimitLayer;

use super::*;
use crate::api::wire::HEAD_FIELDS;

const HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n";

/// A server of one path whose bodies may have 1,000 bytes.
struct Server {
    address: std::net::SocketAddr,
    connections: Arc<Connections>,
    stop: CancellationToken,
    task: JoinHandle<io::Result<()>>,
}

async fn start(most: usize, head_within: Duration) -> Server {
    start_with(Router::new().route("/", get(async || "here")), most, head_within).await
}

async fn start_with(router: Router, most: usize, head_within: Duration) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (connections, stop) = (Arc::new(Connections::default()), CancellationToken::new());
    let router = router.layer(RequestBodyLimitLayer::new(1_000));
    let allowed = Allowed { connections: most, head_within, tls: None };
    let task = tokio::spawn(serve(listener, router, Arc::clone(&connections), allowed, stop.clone().cancelled_owned()));
    Server { address, connections, stop, task }
}

impl Server {
    async fn connect(&self, sent: &[u8]) -> TcpStream {
        let mut client = TcpStream::connect(self.address).await.expect("a connection");
        client.write_all(sent).await.expect("sent");
        client
    }

    /// Asks by a connection of its own.
    async fn ask(&self) -> String {
        let mut client = self.connect(HEAD).await;
        client.write_all(b"Connection: close\r\n\r\n").await.expect("sent");
        rest(&mut client).await
    }
}

async fn rest(client: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.expect("the answer");
    String::from_utf8(answer).expect("text")
}

const LONG: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn half_open_connections_make_room_for_who_asks_and_the_oldest_go_first() {
    let server = start(8, LONG).await;
    let mut half_open = Vec::new();
    for _ in 0..100 {
        half_open.push(server.connect(HEAD).await);
    }
    assert!(server.ask().await.starts_with("HTTP/1.1 200 "));
    assert_eq!(server.connections.closed_early(), 101 - 8);
    let mut newest = half_open.pop().expect("a connection");
    newest.write_all(b"Connection: close\r\n\r\n").await.expect("sent");
    assert!(rest(&mut newest).await.starts_with("HTTP/1.1 200 "), "the newest has its place still");
    server.stop.cancel();
    drop(half_open);
    server.task.await.expect("the task").expect("served");
}

#[tokio::test]
async fn who_has_asked_before_keeps_its_connection_longer_than_who_never_has() {
    let server = start(2, LONG).await;
    let mut kept = server.connect(HEAD).await;
    kept.write_all(b"\r\n").await.expect("sent");
    let mut begin = [0; 12];
    kept.read_exact(&mut begin).await.expect("an answer");
    assert_eq!(&begin, b"HTTP/1.1 200");
    let mut half_open = Vec::new();
    for _ in 0..10 {
        half_open.push(server.connect(HEAD).await);
    }
    kept.write_all(HEAD).await.expect("sent");
    kept.write_all(b"Connection: close\r\n\r\n").await.expect("sent");
    assert!(rest(&mut kept).await.contains("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_head_that_does_not_come_to_its_end_ends_the_connection() {
    let server = start(8, Duration::from_millis(20)).await;
    let mut slow = server.connect(HEAD).await;
    is_problem(&rest(&mut slow).await, 408);
    // Who has not begun one is owed no answer.
    let mut idle = server.connect(b"").await;
    assert_eq!(rest(&mut idle).await, "");
    let mut kept = server.connect(HEAD).await;
    kept.write_all(b"\r\n").await.expect("sent");
    let answer = rest(&mut kept).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("here"), "{answer}");
    // The second head of a connection is as any.
    let mut second = server.connect(HEAD).await;
    second.write_all(b"\r\n").await.expect("sent");
    let mut first = [0; 12];
    second.read_exact(&mut first).await.expect("an answer");
    let (mut read, mut write) = second.into_split();
    let mut answer = String::new();
    let sent = async { write.write_all(b"GET /").await };
    let (sent, taken) = tokio::join!(sent, read.read_to_string(&mut answer));
    sent.expect("sent");
    taken.expect("the answer");
    is_problem(answer.split_once("here").expect("the first one's body").1, 408);
}

/// A whole answer: this status, the length that it says, and a problem of that status behind it.
fn is_problem(answer: &str, status: u16) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("head and body: {answer:?}"));
    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{answer}");
    assert!(
        head.contains("content-type: application/problem+json\r\n") && head.contains("connection: close"),
        "{head}"
    );
    let problem: serde_json::Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(problem["status"], status, "{problem}");
    assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{problem}");
}

/// Hyper answers these itself.
#[tokio::test]
async fn what_is_no_request_gets_a_problem_too() {
    let server = start(8, LONG).await;
    let host = "Host: localhost\r\n";
    let fields = |most: usize| (1..most).map(|number| format!("x-{number}: 1\r\n")).collect::<String>();
    for (sent, expected) in [
        ("\u{1}\u{2}\r\n\r\n".to_owned(), 400),
        (format!("GET / HTTP/1.1\r\n{host}no field\r\n\r\n"), 400),
        (format!("GET / HTTP/1.1\r\n{host}Transfer-Encoding: x, y\r\n\r\n"), 400),
        (format!("GET / HTTP/1.1\r\n{host}Content-Length: -1\r\n\r\n"), 400),
        (format!("GET / HTTP/9.9\r\n{host}\r\n"), 400),
        (format!("GET /{} HTTP/1.1\r\n{host}\r\n", "x".repeat(70_000)), 414),
        (format!("GET /{} HTTP/1.1\r\n{host}\r\n", "x".repeat(2_000_000)), 414),
        (format!("GET / HTTP/1.1\r\n{host}x: {}\r\n\r\n", "x".repeat(2_000_000)), 431),
        (format!("GET / HTTP/1.1\r\n{host}{}\r\n", fields(HEAD_FIELDS + 1)), 431),
    ] {
        let mut client = server.connect(sent.as_bytes()).await;
        is_problem(&rest(&mut client).await, expected);
        // Behind a request that was answered it is the same, sent with it or after it.
        for waits in [false, true] {
            let mut client = server.connect(HEAD).await;
            client.write_all(b"\r\n").await.expect("sent");
            let mut begin = [0; 12];
            if waits {
                client.read_exact(&mut begin).await.expect("an answer");
            }
            client.write_all(sent.as_bytes()).await.expect("sent");
            let answer = rest(&mut client).await;
            let (_, second) = answer.split_once("here").expect("the first one's body");
            let plain = if expected == 414 { 431 } else { expected };
            let status = if second.starts_with(&format!("HTTP/1.1 {plain} ")) { plain } else { expected };
            is_problem(second, status);
        }
    }
    let mut most = server
        .connect(format!("GET / HTTP/1.1\r\n{host}Connection: close\r\n{}\r\n", fields(HEAD_FIELDS - 1)).as_bytes())
        .await;
    assert!(rest(&mut most).await.starts_with("HTTP/1.1 200 "), "so many are taken");
}

/// An answer that looks like a refusal of hyper's, to the last byte, goes out as it is.
#[tokio::test]
async fn what_a_handler_answers_is_never_taken_for_a_refusal() {
    const LOOKS: &str = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
    let pieces = || {
        let pieces = LOOKS.split_inclusive("\r\n").map(|piece| Ok::<_, io::Error>(piece.to_owned()));
        Body::from_stream(futures_util::stream::iter(pieces.collect::<Vec<_>>()))
    };
    let empty = async || axum::http::StatusCode::BAD_REQUEST;
    let router = Router::new().route("/whole", get(async || LOOKS)).route("/pieces", get(async move || pieces()));
    let server = start_with(router.route("/empty", get(empty)), 8, LONG).await;
    for path in ["whole", "pieces", "empty"] {
        let mut client = server.connect(b"").await;
        for connection in ["keep-alive", "close"] {
            let ask = format!("GET /{path} HTTP/1.1\r\nHost: localhost\r\nConnection: {connection}\r\n\r\n");
            client.write_all(ask.as_bytes()).await.expect("sent");
        }
        let answer = rest(&mut client).await;
        assert!(!answer.contains("problem+json"), "{answer}");
        assert_eq!(answer.matches("content-length: 0\r\n").count(), 2, "in a body or as a head: {answer}");
    }
}

/// The client writes all of it before it reads: the answer must not be lost with a connection that is reset meanwhile.
#[tokio::test]
async fn a_body_that_is_far_too_large_gets_a_readable_answer() {
    const BYTES: usize = 50_000_000;
    let server = start(8, LONG).await;
    let head = format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {BYTES}\r\n\r\n");
    let mut client = server.connect(head.as_bytes()).await;
    let part = vec![b'x'; 1_000_000];
    for _ in 0..BYTES / part.len() {
        client.write_all(&part).await.expect("the server takes it");
    }
    let answer = rest(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}
