//! Who may ask: hosts, origins and content types, over a listener on the loopback.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use nta_daemon::api::{AllowedHosts, ApiState, serve};

use crate::app::App;

/// A server on a port of its own; ends with the test.
async fn server(app: &App) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("listener");
    let address = listener.local_addr().expect("address");
    let hosts = AllowedHosts {
        hosts: vec!["nta.example.org".to_owned()],
        origins: vec!["https://console.example.org".to_owned()],
    };
    let state = ApiState::new(app.store.clone(), app.status.subscribe()).with_hosts(hosts);
    tokio::spawn(serve(listener, state, std::future::pending()));
    address
}

/// Sends this request as it stands; answers status and text.
pub(crate) async fn ask(address: SocketAddr, request: String) -> (u16, String) {
    let asking = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).expect("connect");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("time-out");
        stream.write_all(request.as_bytes()).expect("send");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answer");
        answer
    });
    let answer = asking.await.expect("task");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    (status, answer)
}

pub(crate) fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n")
}

fn post(path: &str, headers: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_host_that_is_listened_on_is_answered() {
    let app = App::with(1, 1).await;
    let address = server(&app).await;
    for (headers, expected) in [
        (format!("Host: {address}\r\n"), 200),
        ("Host: localhost:9999\r\n".to_owned(), 200),
        ("Host: [::1]:5000\r\n".to_owned(), 200),
        ("Host: NTA.example.org\r\n".to_owned(), 200),
        ("Host: evil.example\r\n".to_owned(), 421),
        (format!("Host: evil.example:{}\r\n", address.port()), 421),
        ("Host: 192.0.2.1\r\n".to_owned(), 421),
        ("Host: localhost.evil.example\r\n".to_owned(), 421),
        ("Host: user@localhost\r\n".to_owned(), 400),
        ("Host: \r\n".to_owned(), 400),
        (String::new(), 400),
        ("Host: localhost\r\nHost: evil.example\r\n".to_owned(), 400),
    ] {
        for path in ["/api/status", "/api/status/", "/api", "/openapi.json", "/nowhere"] {
            let expected = if (path, expected) == ("/nowhere", 200) { 404 } else { expected };
            let (status, answer) = ask(address, get(path, &headers)).await;
            assert_eq!(status, expected, "{path} {headers}: {answer}");
            let is_problem = answer.contains("application/problem+json") && answer.contains("\"field\":\"Host\"");
            assert!(matches!(expected, 200 | 404) || is_problem, "{answer}");
        }
    }
    for path in ["/health", "/metrics", "/health/"] {
        assert_eq!(ask(address, get(path, "Host: 10.1.2.3\r\n")).await.0, 200, "{path} is open");
    }
    let target = get("http://evil.example/api/status", "Host: localhost\r\n");
    assert_eq!(ask(address, target).await.0, 400, "target and header differ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_site_cannot_write() {
    let app = App::with(1, 1).await;
    let address = server(&app).await;
    let path = "/api/baselines/generate";
    let json = "Content-Type: application/json\r\n";
    let foreign = "Origin: https://evil.example\r\n";
    // What a page of another site can make a browser send.
    let rebound = format!("Host: evil.example\r\n{foreign}Content-Type: text/plain\r\n");
    let (status, answer) = ask(address, post(path, &rebound, "{}")).await;
    assert_eq!(status, 421, "{answer}");
    for (headers, expected) in [
        (format!("{foreign}{json}"), 403),
        (format!("{foreign}Content-Type: text/plain\r\n"), 403),
        ("Origin: null\r\n".to_owned(), 403),
        (format!("Origin: http://localhost:1\r\n{json}"), 403),
        // Nothing listens there by TLS: a page that says so is another server's.
        (format!("Origin: https://{address}\r\n{json}"), 403),
        (format!("Origin: http://{address}\r\nOrigin: https://evil.example\r\n{json}"), 400),
        (format!("Sec-Fetch-Site: cross-site\r\n{json}"), 403),
        (format!("Sec-Fetch-Site: same-site\r\n{json}"), 403),
        (format!("Sec-Fetch-Site: same-origin\r\n{json}"), 422),
        ("Content-Type: text/plain\r\n".to_owned(), 415),
        ("Content-Type: application/x-www-form-urlencoded\r\n".to_owned(), 415),
        (String::new(), 415),
        ("Content-Type: application/json; charset=utf-16\r\n".to_owned(), 415),
        ("Content-Type: application/json;Charset=\"latin1\"\r\n".to_owned(), 415),
        (format!("{json}Content-Encoding: gzip\r\n"), 415),
        (format!("{json}Content-Encoding: identity\r\n"), 422),
        // Nothing is stored to learn from: the request itself is sound.
        (json.to_owned(), 422),
        (format!("Origin: http://{address}\r\n{json}"), 422),
        (format!("Origin: https://console.example.org\r\n{json}"), 422),
        ("Content-Type: application/json; charset=utf-8\r\n".to_owned(), 422),
        ("Content-Type: application/json;charset=\"UTF-8\"\r\n".to_owned(), 422),
    ] {
        let (status, answer) = ask(address, post(path, &format!("Host: {address}\r\n{headers}"), "{}")).await;
        assert_eq!(status, expected, "{headers}: {answer}");
        assert!(answer.contains("application/problem+json"), "{answer}");
    }
    let read = get("/api/status", &format!("Host: {address}\r\n{foreign}"));
    assert_eq!(ask(address, read).await.0, 200, "a read of another site gets no leave to be looked at");
    let upgrade = format!("Host: {address}\r\n{foreign}Upgrade: websocket\r\n");
    assert_eq!(ask(address, get("/api/status", &upgrade)).await.0, 403);
}
