//! Who may ask the daemon as it is started by a user: other hosts, other sites, other protocols, odd requests.

use super::served;

const JSON: &str = "Content-Type: application/json\r\n";

/// A request line, headers and a body, as they stand.
fn request(line: &str, headers: &str, body: &str) -> String {
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    format!("{line} HTTP/1.1\r\n{headers}{length}Connection: close\r\n\r\n{body}")
}

#[test]
fn only_pages_and_names_of_this_server_are_answered() {
    let (_folder, served) = served();
    let host = format!("Host: {}\r\n", served.address);
    let port = served.address.rsplit(':').next().expect("a port").to_owned();
    let foreign = "Origin: https://evil.example\r\n";
    let (read, write) = ("GET /api/alerts", "POST /api/baselines/generate");
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (line, headers, body, expected) in [
        (read, host.clone(), "", 200),
        (read, format!("Host: localhost:{port}\r\n"), "", 200),
        // A name that was made to point here.
        (read, format!("Host: evil.example:{port}\r\n"), "", 421),
        (read, format!("Host: evil.example:{port}\r\n{foreign}"), "", 421),
        (read, format!("Host: 127.0.0.1.nip.io:{port}\r\n"), "", 421),
        (write, format!("Host: evil.example\r\n{foreign}Content-Type: text/plain\r\n"), "{}", 421),
        ("GET /health", format!("Host: evil.example:{port}\r\n"), "", 200),
        // A page of another site.
        (write, format!("{host}{foreign}{JSON}"), "{}", 403),
        (write, format!("{host}Origin: null\r\n{JSON}"), "{}", 403),
        (write, format!("{host}{foreign}Content-Type: text/plain\r\n"), "{}", 403),
        (write, format!("{host}Content-Type: text/plain\r\n"), "{}", 415),
        (write, format!("{host}Content-Type: application/x-www-form-urlencoded\r\n"), "a=b", 415),
        (write, format!("{host}Content-Type: multipart/form-data; boundary=x\r\n"), "--x--", 415),
        (write, host.clone(), "{}", 415),
        (write, format!("{host}Origin: http://{}\r\n{JSON}", served.address), "{\"windows\": 0}", 400),
        // Upgrades, and a stream of events, which a page may open without asking for leave.
        (read, format!("{host}{foreign}{upgrade}"), "", 403),
        (read, format!("{host}{upgrade}"), "", 200),
        ("GET /api/events", format!("{host}{foreign}Accept: text/event-stream\r\n"), "", 403),
        ("GET /api/events", format!("Host: evil.example\r\n{foreign}Accept: text/event-stream\r\n"), "", 421),
        ("OPTIONS /api/alerts", format!("{host}{foreign}Access-Control-Request-Method: PATCH\r\n"), "", 405),
    ] {
        let (head, answer) = served.send(&request(line, &headers, body));
        let status = head.split_whitespace().nth(1);
        assert_eq!(status, Some(expected.to_string().as_str()), "{line} {headers}\n{head}\n{answer}");
        let lower = head.to_ascii_lowercase();
        assert!(!lower.contains("access-control-allow"), "no page of another site may look: {head}");
        assert!(expected == 200 || lower.contains("application/problem+json"), "{line} {headers}\n{head}");
    }
}

#[test]
fn requests_that_two_servers_would_read_differently_are_refused() {
    let (_folder, served) = served();
    let host = format!("Host: {}\r\n", served.address);
    let here = format!("http://{}", served.address);
    let chunked = "Transfer-Encoding: chunked\r\n";
    for (text, expected) in [
        (request(&format!("GET {here}/api/alerts"), &host, ""), &[200][..]),
        (request("GET http://evil.example/api/alerts", &host, ""), &[400, 421]),
        (request("GET http://evil.example/api/alerts", "Host: evil.example\r\n", ""), &[421]),
        (request("GET http://evil.example/health", &host, ""), &[200, 400]),
        (request("GET /api/alerts", &format!("{host}Host: evil.example\r\n"), ""), &[400]),
        (request("GET /api/alerts", &format!("{host}{host}"), ""), &[400]),
        (request("GET /api/alerts", "", ""), &[400]),
        (request("GET /api/alerts", "Host: a@localhost\r\n", ""), &[400]),
        (request("GET /api/alerts", "Host: localhost, evil.example\r\n", ""), &[400]),
        (request("GET //evil.example/api/alerts", &host, ""), &[404]),
        (request("CONNECT evil.example:80", &host, ""), &[400, 404, 405, 421]),
        (request("OPTIONS *", &host, ""), &[400, 404, 405]),
        (request("POST /api/baselines/generate", &format!("{host}{JSON}Content-Length: 9\r\n"), "{}"), &[400]),
        (request("POST /api/baselines/generate", &format!("{host}{JSON}Content-Length: -1\r\n"), ""), &[400]),
        // Of the two the length does not count (RFC 9112, 6.3): it is read as chunks, once.
        (request("POST /api/anomalies/detect", &format!("{host}{JSON}{chunked}"), "0\r\n\r\n"), &[400, 422]),
        (request("POST /api/baselines/generate", &format!("{host}{JSON}Transfer-Encoding: x, y\r\n"), ""), &[400]),
        (request("GET /api/alerts", &format!("{host} folded: x\r\n"), ""), &[400]),
        (request("GET /api/alerts", &format!("{host}Content-Length : 3\r\n"), ""), &[400]),
        ("GET /api/alerts HTTP/9.9\r\n\r\n".to_owned(), &[400, 505]),
        ("\u{1}\u{2}\r\n\r\n".to_owned(), &[400]),
    ] {
        let (head, answer) = served.send(&text);
        let status = head.split_whitespace().nth(1).and_then(|word| word.parse::<u16>().ok()).unwrap_or_default();
        assert!(expected.contains(&status), "{text:?}\nexpected {expected:?}\n{head}\n{answer}");
        let is_problem = head.to_ascii_lowercase().contains("content-type: application/problem+json");
        let is_empty = answer.is_empty() && head.to_ascii_lowercase().contains("content-length: 0");
        assert!(status < 400 || (is_problem && !is_empty), "{text:?}\n{head}\n{answer}");
        assert_eq!(head.matches("HTTP/1.1 ").count() + answer.matches("HTTP/1.1 ").count(), 1, "one answer: {text:?}");
    }
    assert_eq!(served.get("/health")["status"], "ok", "and it goes on");
}
