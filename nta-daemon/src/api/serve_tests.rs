//! Clients that are slow, many, or send more than they may, over real connections.

use axum::routing::get;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;
use tower_http::limit::RequestBodyLimitLayer;

use super::*;

const HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n";

/// A server of one path whose bodies may have 1,000 bytes.
struct Server {
    address: std::net::SocketAddr,
    connections: Arc<Connections>,
    stop: CancellationToken,
    task: JoinHandle<io::Result<()>>,
}

async fn start(most: usize, head_within: Duration) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (connections, stop) = (Arc::new(Connections::default()), CancellationToken::new());
    let router = Router::new().route("/", get(async || "here")).layer(RequestBodyLimitLayer::new(1_000));
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
    let answer = rest(&mut slow).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
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
