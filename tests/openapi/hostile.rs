//! Who means harm: paths that lead elsewhere, bodies that are slow or far too large, more connections than anybody needs. Each is
//! refused with its status and a problem, nothing of this machine is in an answer, and the daemon's memory stays as it was.
//!
//! The rest of this kind stands beside what it is about: packed bombs and malformed multipart in `tests/api/uploads`, forged
//! `X-Forwarded-For` in `tests/api/limits`, roles in `tests/api/access`, DNS rebinding in `edge` and `tests/api/guard`, webhooks to
//! instance metadata in `sink/webhook`.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use nta_tests::served::Served;
use serde_json::Value;

use super::served;

/// Segments of a path that somebody hopes to be taken for a way out of a folder, for the end of a string, or for another path.
const SEGMENTS: [&str; 18] = [
    "..",
    "%2e%2e",
    ".%2e",
    "..%2f..%2f..%2f..%2fetc%2fpasswd",
    "%2e%2e%2f%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "..%252f..%252f..%252fetc%252fpasswd",
    "..%c0%af..%c0%afetc%c0%afpasswd",
    "..%5c..%5c..%5cetc%5cpasswd",
    "..\\..\\..\\etc\\passwd",
    "....//....//etc/passwd",
    "%2fetc%2fpasswd",
    "/etc/passwd",
    "file:%2f%2f%2fetc%2fpasswd",
    "%00",
    "nta.db%00.csv",
    "..;%2fetc%2fpasswd",
    "%0d%0aSet-Cookie:%20a=b",
    "%ff%fe",
];

/// What would say that a file of this machine, its folders or its faults are in an answer.
fn leaks(answer: &str, folder: &str) -> Option<&'static str> {
    let lower = answer.to_lowercase();
    ["root:x:", "no such file", "os error", "permission denied", "sqlite", "panicked", "/src/"]
        .into_iter()
        .find(|word| lower.contains(word))
        .or_else(|| answer.contains(folder).then_some("the folder of its database"))
}

fn status(head: &str) -> u16 {
    head.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or_default()
}

/// Each operation of the document that takes something in its path.
#[test]
fn no_path_leads_out_of_what_it_is_about() {
    let (folder, served) = served();
    let here = folder.path().to_str().expect("text").to_owned();
    let document: Value = served.get("/openapi.json");
    let mut asked = 0;
    for (path, item) in document["paths"].as_object().expect("paths") {
        let Some((before, rest)) = path.split_once('{') else { continue };
        let behind = rest.split_once('}').expect("a parameter").1;
        for method in item.as_object().expect("methods").keys() {
            for segment in SEGMENTS {
                let target = format!("{before}{segment}{behind}");
                let method = method.to_uppercase();
                let body = if matches!(method.as_str(), "GET" | "HEAD" | "DELETE") { "" } else { "{}" };
                let (head, answer) = served.send(&format!(
                    "{method} {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\n\
                     Content-Length: {}\r\n\r\n{body}",
                    served.address,
                    body.len()
                ));
                let status = status(&head);
                asked += 1;
                assert!((400..500).contains(&status), "{method} {target}: {head}\n{answer}");
                let lower = head.to_ascii_lowercase();
                assert!(lower.contains("content-type: application/problem+json"), "{method} {target}: {head}");
                // What was asked for may be repeated; it is no file's content.
                let said = answer.replace(segment, "");
                assert_eq!(leaks(&said, &here), None, "{method} {target}: {head}\n{answer}");
                assert!(leaks(&lower, &here).is_none() && !lower.contains("set-cookie"), "{method} {target}: {head}");
            }
        }
    }
    assert!(asked > 100, "{asked}");
    assert_eq!(served.get("/health")["status"], "ok");
}

/// What the daemon holds.
fn held_bytes(served: &Served) -> u64 {
    served.get("/api/status")["process"]["rss_bytes"].as_u64().expect("bytes")
}

/// So much more is what allocators keep and answers need; ten thousand connections with a kilobyte each are ten times that.
const MORE_BYTES: u64 = 64 << 20;

/// Ten thousand clients that begin a request and never end it; or as many as this process has descriptors for.
#[test]
fn ten_thousand_connections_leave_the_daemon_answering() {
    let limits = std::fs::read_to_string("/proc/self/limits").expect("limits");
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files")).expect("a limit");
    let files: usize = files.split_whitespace().next().and_then(|soft| soft.parse().ok()).unwrap_or(usize::MAX);
    let most = files.saturating_sub(200).min(10_000);
    let (_folder, served) = served();
    let before = held_bytes(&served);
    let begun = format!("GET /api/alerts HTTP/1.1\r\nHost: {}\r\nx: {}", served.address, "x".repeat(1_000));
    let mut open = Vec::with_capacity(most);
    for _ in 0..most {
        let mut client = TcpStream::connect(&served.address).expect("a connection");
        // One that made room already takes nothing.
        let _sent = client.write_all(begun.as_bytes());
        open.push(client);
    }
    println!("{} connections at once", open.len());
    for path in ["/health", "/api/status", "/api/alerts"] {
        assert_eq!(served.ask("GET", path, "").0, 200, "{path}");
    }
    let more = held_bytes(&served).saturating_sub(before);
    assert!(more < MORE_BYTES, "{more} bytes for {most} connections");
    drop(open);
    assert_eq!(served.get("/health")["status"], "ok");
    served.stop();
}

fn begin(served: &Served, text: &str) -> TcpStream {
    let mut client = TcpStream::connect(&served.address).expect("a connection");
    client.set_read_timeout(Some(Duration::from_secs(120))).expect("a limit");
    client.write_all(text.as_bytes()).expect("sent");
    client
}

/// The status, and the problem that comes with it.
fn refused(client: &mut TcpStream) -> (u16, Value) {
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("the answer");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("head and body: {answer:?}"));
    assert!(head.to_ascii_lowercase().contains("content-type: application/problem+json"), "{answer}");
    let problem: Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(problem["status"], status(head), "{answer}");
    (status(head), problem)
}

#[test]
fn what_is_slow_or_far_too_large_is_refused_by_its_status() {
    let (_folder, served) = served();
    let before = held_bytes(&served);
    let host = format!("Host: {}\r\n", served.address);
    let json = "Content-Type: application/json\r\n";
    let detect = "POST /api/anomalies/detect HTTP/1.1\r\n";
    let import = "PUT /api/baselines/loss HTTP/1.1\r\n";
    // These say nothing more, and wait for what comes.
    let mut slow_head = begin(&served, &format!("GET /api/alerts HTTP/1.1\r\n{host}Acc"));
    let mut slow_bodies: Vec<TcpStream> = [detect, import]
        .iter()
        .map(|line| begin(&served, &format!("{line}{host}{json}Connection: close\r\nContent-Length: 10\r\n\r\n{{")))
        .collect();
    for (head, length, expected) in [
        // The length is said, is not said, and is a lie.
        (format!("{detect}{host}{json}Connection: close\r\nContent-Length: 100000000\r\n\r\n"), 1 << 20, 413),
        (format!("{import}{host}{json}Connection: close\r\nContent-Length: 100000000\r\n\r\n"), 1 << 20, 413),
        (format!("{detect}{host}{json}Connection: close\r\nContent-Length: 99999999999999999999999\r\n\r\n"), 0, 400),
        (format!("GET /{} HTTP/1.1\r\n{host}\r\n", "a/".repeat(1 << 20)), 0, 414),
        (format!("GET /api/alerts?{} HTTP/1.1\r\n{host}\r\n", "type=dga&".repeat(20_000)), 0, 414),
        (format!("GET /api/alerts HTTP/1.1\r\n{host}Cookie: {}\r\n\r\n", "a".repeat(1 << 20)), 0, 431),
        (format!("GET /api/alerts HTTP/1.1\r\n{host}{}\r\n", "x: y\r\n".repeat(5_000)), 0, 431),
    ] {
        let mut client = begin(&served, &head);
        let _taken = client.write_all(&vec![b' '; length]);
        let line = head.lines().next().unwrap_or_default();
        assert_eq!(refused(&mut client).0, expected, "{}", &line[..line.len().min(60)]);
    }
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    let mut chunked =
        begin(&served, &format!("{detect}{host}{json}Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"));
    for _ in 0..16 {
        let _taken = chunked.write_all(chunk.as_bytes());
    }
    let _taken = chunked.write_all(b"0\r\n\r\n");
    assert_eq!(refused(&mut chunked).0, 413);
    // A document that is as deep as it may be long.
    let deep = format!("{{\"settings\": {}", "[".repeat(60_000));
    let mut nested = begin(
        &served,
        &format!("{detect}{host}{json}Connection: close\r\nContent-Length: {}\r\n\r\n{deep}", deep.len()),
    );
    assert_eq!(refused(&mut nested).0, 400);
    assert_eq!(refused(&mut slow_head).0, 408);
    for slow in &mut slow_bodies {
        let (status, problem) = refused(slow);
        assert_eq!((status, &problem["field"]), (408, &"body".into()), "{problem}");
    }
    let more = held_bytes(&served).saturating_sub(before);
    assert!(more < MORE_BYTES, "{more} bytes more");
    served.stop();
}
