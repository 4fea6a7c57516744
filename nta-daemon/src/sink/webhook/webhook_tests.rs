//! Webhooks against a small server: what is sent, how often, and what becomes of what is not taken.

use std::collections::VecDeque;
use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::mpsc;

use super::*;
use crate::store::server_tests::{Away, Server};
use crate::store::{LogState, Notice, Run, StoreWriter, WindowBatch};
use nta_core::domain::{Mode, Severity};

const SECRETS: [&str; 2] = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"];

/// A server that answers requests with these statuses, in their order, then with 200; it hands on each request's head and body.
pub(in crate::sink) async fn server(statuses: &[u16]) -> (SocketAddr, mpsc::Receiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
    let address = listener.local_addr().expect("address");
    let (sender, receiver) = mpsc::channel(100);
    let mut statuses: VecDeque<u16> = statuses.iter().copied().collect();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
            let (head, body) = loop {
                let read = socket.read(&mut part).await.unwrap_or(0);
                bytes.extend_from_slice(&part[..read]);
                let text = String::from_utf8_lossy(&bytes).into_owned();
                if let Some((head, body)) = text.split_once("\r\n\r\n") {
                    let lower = head.to_lowercase();
                    let length = lower.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
                    if body.len() >= length.and_then(|length| length.trim().parse().ok()).unwrap_or(0) {
                        break (lower, body.to_owned());
                    }
                }
                if read == 0 {
                    break (String::new(), String::new());
                }
            };
            let status = statuses.pop_front().unwrap_or(200);
            let location = if status == 302 { "Location: http://127.0.0.1:1/\r\n" } else { "" };
            let answer = format!("HTTP/1.1 {status} x\r\n{location}Content-Length: 4\r\nConnection: close\r\n\r\nsaid");
            let _gone = socket.write_all(answer.as_bytes()).await;
            if sender.send((head, body)).await.is_err() {
                return;
            }
        }
    });
    (address, receiver)
}

pub(in crate::sink) async fn next<T>(requests: &mut mpsc::Receiver<T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), requests.recv()).await.expect("something comes").expect("a request")
}

fn config(kind: &str, url: &str, more: &str) -> WebhookConfig {
    let text = format!("name = \"ops\"\nkind = \"{kind}\"\nurl = \"{url}\"\n{more}");
    toml::from_str(&text).expect("a configuration")
}

pub(super) fn generic(address: SocketAddr, more: &str) -> WebhookConfig {
    let secrets = format!("secrets = [\"{}\", \"{}\"]\n{more}", SECRETS[0], SECRETS[1]);
    config("generic", &format!("http://{address}/hook?a=b"), &format!("allow_local = true\n{secrets}"))
}

pub(super) async fn begin(store: &Store, mode: Mode, sensor: &str) -> (StoreWriter, [u8; 16]) {
    let uuid = Run::new_uuid(Timestamp::from_nanos(1));
    let run = Run {
        started: Timestamp::from_nanos(1),
        mode,
        source: "eth0".to_owned(),
        version: "0".to_owned(),
        sensor: sensor.to_owned(),
        uuid,
        analysis: None,
    };
    (store.writer(store.begin_run(&run).await.expect("run"), 16).0, uuid)
}

pub(super) async fn trouble(writer: &StoreWriter, severity: Severity, reason: &str) {
    let notice = Notice::new(Timestamp::from_nanos(1_000_000_000), "capture_trouble", severity, reason);
    writer.send(WindowBatch { notices: vec![notice], ..WindowBatch::default() }).await.expect("send");
    writer.flush().await.expect("flush");
}

/// Starts webhooks whose cursors begin here.
pub(super) async fn started(store: &Store, configs: &[WebhookConfig], run: [u8; 16]) -> (Webhooks, CancellationToken) {
    let (webhooks, stop) = (Webhooks::new(store.clone(), "gw".to_owned(), configs), CancellationToken::new());
    webhooks.start(Some(run), &stop);
    while webhooks.states().await.expect("states").iter().any(|state| state.row.is_none()) {
        tokio::task::yield_now().await;
    }
    (webhooks, stop)
}

fn header(head: &str, name: &str) -> String {
    let line = head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
    line.unwrap_or_else(|| panic!("no {name} in {head}")).to_owned()
}

#[tokio::test]
async fn events_are_sent_signed_in_order_and_again_until_they_are_taken() {
    let store = Store::open("sqlite::memory:").await.expect("store");
    let (live, run) = begin(&store, Mode::Live, "gw").await;
    trouble(&live, Severity::High, "before it began").await;
    let (address, mut requests) = server(&[500, 429]).await;
    let (webhooks, stop) = started(&store, &[generic(address, "min_severity = \"high\"")], run).await;
    let (replay, _) = begin(&store, Mode::Replay, "gw").await;
    let (other, _) = begin(&store, Mode::Live, "another").await;
    trouble(&replay, Severity::High, "of a replay").await;
    trouble(&other, Severity::High, "of another sensor").await;
    trouble(&live, Severity::Medium, "too mild").await;
    trouble(&live, Severity::High, "eth0 is away").await;
    trouble(&live, Severity::Critical, "eth1 is away").await;
    let attempts = [next(&mut requests).await, next(&mut requests).await, next(&mut requests).await];
    for (head, body) in &attempts {
        assert!(
            head.starts_with("post /hook?a=b http/1.1") && head.contains("content-type: application/json"),
            "{head}"
        );
        let json: serde_json::Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(
            (&json["type"], &json["data"]["reason"]),
            (&"capture_trouble".into(), &"eth0 is away".into()),
            "{json}"
        );
        assert_eq!((&json["sensor"], &json["timestamp"]), (&"gw".into(), &"1970-01-01T00:00:01.000000Z".into()));
        // The server's lower case does not touch digits: the id is made of these and of lower-case letters.
        let (id, time) = (header(head, "webhook-id"), header(head, "webhook-timestamp"));
        let keys: Vec<_> = generic(address, "").secrets.iter().filter_map(crate::config::webhook_key).collect();
        let expected = signature::signature(&keys, &id, time.parse().expect("seconds"), body.as_bytes());
        assert_eq!(header(head, "webhook-signature"), expected.to_lowercase());
    }
    let ids: Vec<String> = attempts.iter().map(|(head, _)| header(head, "webhook-id")).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "by this the receiver knows what it has: {ids:?}");
    let (head, body) = next(&mut requests).await;
    assert!(body.contains("eth1 is away") && header(&head, "webhook-id") != ids[0]);
    while webhooks.states().await.expect("states")[0].row.as_ref().is_none_or(|row| row.delivered < 2) {
        tokio::task::yield_now().await;
    }

    // What comes while it is stopped is sent by the next start, and nothing twice.
    stop.cancel();
    trouble(&live, Severity::High, "eth2 is away").await;
    let (again, _stop) = started(&store, &[generic(address, "")], run).await;
    assert!(next(&mut requests).await.1.contains("eth2 is away"));
    assert_eq!(again.test("nobody").await, None);
    assert_eq!(again.test("ops").await, Some(Ok(())));
    assert!(next(&mut requests).await.1.contains("A test of this webhook"));
}

#[tokio::test]
async fn what_is_refused_for_good_is_a_dead_letter_that_can_be_sent_again() {
    let store = Store::open("sqlite::memory:").await.expect("store");
    let (live, run) = begin(&store, Mode::Live, "gw").await;
    let (address, mut requests) = server(&[400, 302, 200, 503]).await;
    let (webhooks, _stop) = started(&store, &[generic(address, "")], run).await;
    trouble(&live, Severity::High, "eth0 is away").await;
    trouble(&live, Severity::High, "eth1 is away").await;
    trouble(&live, Severity::High, "eth2 is away").await;
    for reason in ["eth0", "eth1", "eth2"] {
        assert!(next(&mut requests).await.1.contains(reason), "one attempt each");
    }
    let mut letters = Vec::new();
    while letters.len() < 2 {
        letters = webhooks.dead_letters(None, 10).await.expect("letters");
    }
    let counts = loop {
        let counts = webhooks.counts().remove(0);
        if counts.taken > 0 {
            break counts;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!((counts.taken, counts.failed, counts.dead, counts.is_failing), (1, 2, 2, false), "what /metrics has");
    assert!(letters[1].error.contains("400") && letters[1].error.contains("said"), "{letters:?}");
    assert!(letters[0].error.contains("redirects are not followed"), "{letters:?}");
    assert!(letters[1].event.body.contains("eth0") && letters[1].attempts == 1);
    let again = webhooks.retry(letters[1].id).await.expect("store").expect("a letter");
    assert!(again.expect_err("it fails again").contains("503"));
    assert_eq!(webhooks.dead_letters(Some("ops"), 10).await.expect("letters")[1].attempts, 2);
    assert_eq!(webhooks.retry(letters[1].id).await.expect("store"), Some(Ok(())));
    assert_eq!(webhooks.retry(letters[1].id).await.expect("store"), None, "it is none any more");
    assert_eq!(webhooks.dead_letters(Some("ops"), 10).await.expect("letters").len(), 1);
}

#[tokio::test]
async fn a_webhook_that_takes_nothing_is_an_event_for_the_others() {
    let store = Store::open("sqlite::memory:").await.expect("store");
    let (live, run) = begin(&store, Mode::Live, "gw").await;
    let (broken, _requests) = server(&[500; 5]).await;
    let (address, mut requests) = server(&[]).await;
    let types = "types = [\"webhook\", \"capture\"]";
    let mut configs = [generic(broken, types), generic(address, types)];
    "paging".clone_into(&mut configs[1].name);
    let (_webhooks, _stop) = started(&store, &configs, run).await;
    trouble(&live, Severity::High, "eth0 is away").await;
    let mut kinds = Vec::new();
    while kinds.len() < 3 {
        let (_, body) = next(&mut requests).await;
        let json: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        kinds.push((
            json["type"].as_str().expect("a type").to_owned(),
            json["data"]["reason"].as_str().expect("why").to_owned(),
        ));
    }
    assert_eq!(kinds[0].0, "capture_trouble");
    assert!(kinds[1].0 == "webhook_trouble" && kinds[1].1.starts_with("ops takes no events: 500"), "{kinds:?}");
    assert_eq!(kinds[2], ("webhook_recovered".to_owned(), "ops takes events again".to_owned()));
}

#[tokio::test]
async fn this_machine_and_metadata_are_no_targets_unless_that_is_allowed_in_words() {
    let (address, mut requests) = server(&[]).await;
    let store = Store::open("sqlite::memory:").await.expect("store");
    let port = address.port();
    for url in [
        format!("http://127.0.0.1:{port}/"),
        format!("http://localhost:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "http://[fe80::1]/".to_owned(),
    ] {
        let webhooks = Webhooks::new(store.clone(), "gw".to_owned(), &[config("generic", &url, "")]);
        let error = webhooks.test("ops").await.expect("a webhook").expect_err("refused");
        assert!(error.contains("allow_local"), "{url}: {error}");
    }
    assert!(requests.try_recv().is_err(), "nothing was sent");
    let url = format!("http://localhost:{port}/");
    let webhooks = Webhooks::new(store, "gw".to_owned(), &[config("generic", &url, "allow_local = true")]);
    // The name may lead to ::1 first, where nobody listens.
    assert_eq!(webhooks.test("ops").await, Some(Ok(())));
    assert!(!next(&mut requests).await.0.contains("webhook-signature"), "without a secret nothing is signed");
}

#[tokio::test]
async fn each_kind_speaks_as_its_target_expects() {
    let store = Store::open("sqlite::memory:").await.expect("store");
    let (address, mut requests) = server(&[]).await;
    for (kind, more, expected) in [
        ("slack", "", r#""text":"[low] test: A test"#),
        ("pagerduty", "secrets = [\"key\"]", r#""routing_key":"key""#),
        ("alertmanager", "secrets = [\"token\"]", r#""alertname":"test""#),
    ] {
        let config = config(kind, &format!("http://{address}"), &format!("allow_local = true\n{more}"));
        let webhooks = Webhooks::new(store.clone(), "gw".to_owned(), &[config]);
        assert_eq!(webhooks.test("ops").await, Some(Ok(())), "{kind}");
        let (head, body) = next(&mut requests).await;
        assert!(body.contains(expected), "{kind}: {body}");
        if kind == "alertmanager" {
            assert!(head.starts_with("post /api/v2/alerts ") && head.contains("authorization: bearer token"), "{head}");
        }
    }

    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("bind");
    let url = format!("udp://{}", socket.local_addr().expect("address"));
    let webhooks = Webhooks::new(store.clone(), "gw".to_owned(), &[config("syslog", &url, "allow_local = true")]);
    assert_eq!(webhooks.test("ops").await, Some(Ok(())));
    let mut bytes = [0; 4096];
    let length =
        tokio::time::timeout(Duration::from_secs(60), socket.recv(&mut bytes)).await.expect("it comes").expect("recv");
    let line = String::from_utf8_lossy(&bytes[..length]).into_owned();
    assert!(line.starts_with("<133>1 ") && line.contains(" gw nta "), "{line}");

    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
    let url = format!("tcp://{}", listener.local_addr().expect("address"));
    let webhooks = Webhooks::new(store, "gw".to_owned(), &[config("syslog", &url, "allow_local = true")]);
    let (sent, accepted) = tokio::join!(webhooks.test("ops"), listener.accept());
    assert_eq!(sent, Some(Ok(())));
    let mut text = String::new();
    accepted.expect("accept").0.read_to_string(&mut text).await.expect("read");
    let (length, line) = text.split_once(' ').expect("a length");
    assert_eq!(length.parse(), Ok(line.len()));
    assert!(line.starts_with("<133>1 "), "{line}");
}

#[tokio::test]
async fn a_mail_has_the_line_as_its_subject_and_all_that_is_known() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
    let url = format!("smtp://{}", listener.local_addr().expect("address"));
    let more = "allow_local = true\nfrom = \"nta@example.org\"\nto = [\"ops@example.org\", \"noc@example.org\"]";
    let store = Store::open("sqlite::memory:").await.expect("store");
    let webhooks = Webhooks::new(store, "gw".to_owned(), &[config("smtp", &url, more)]);
    let serve = async {
        let (socket, _) = listener.accept().await.expect("accept");
        let mut socket = BufReader::new(socket);
        socket.write_all(b"220 test\r\n").await.expect("write");
        let (mut said, mut is_mail) = (String::new(), false);
        loop {
            let mut line = String::new();
            if socket.read_line(&mut line).await.unwrap_or(0) == 0 {
                return said;
            }
            said.push_str(&line);
            let answer = match line.trim_end() {
                "." if is_mail => "250 taken\r\n",
                _ if is_mail => continue,
                "DATA" => "354 go on\r\n",
                "QUIT" => "221 bye\r\n",
                _ => "250 ok\r\n",
            };
            is_mail = answer.starts_with("354");
            socket.write_all(answer.as_bytes()).await.expect("write");
            if answer.starts_with("221") || answer.contains("taken") {
                return said;
            }
        }
    };
    let (sent, said) = tokio::join!(webhooks.test("ops"), serve);
    assert_eq!(sent, Some(Ok(())));
    for part in [
        "RCPT TO:<ops@example.org>",
        "RCPT TO:<noc@example.org>",
        "Subject: nta gw: [low] test: A test",
        "detector: test",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

/// Without `table` nothing can be written; without that of the events nothing can be read either.
async fn what_happens_meanwhile_is_sent_at_once_and_once(url: &str, table: &str) {
    let store = Store::open(url).await.expect("store");
    let (live, run) = begin(&store, Mode::Live, "gw").await;
    trouble(&live, Severity::High, "before it began").await;
    let (address, mut requests) = server(&[503]).await;
    let (_webhooks, _stop) = started(&store, &[generic(address, "types = [\"capture\", \"store\"]")], run).await;
    let read = |(head, body): (String, String)| {
        let json: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        (header(&head, "webhook-id"), json["type"].as_str().expect("a type").to_owned(), json["id"].clone())
    };
    let away = Away::of(url, table).await;
    let window = nta_core::window::Window { id: 1, ..Default::default() };
    let notice = Notice::new(Timestamp::from_nanos(7), "capture_trouble", Severity::High, "eth0 is away");
    let batch = WindowBatch { window: Some(window), notices: vec![notice], ..WindowBatch::default() };
    live.send(batch).await.expect("send");
    // The first attempt is refused, and made again.
    let (refused, again) = (read(next(&mut requests).await), read(next(&mut requests).await));
    assert_eq!(refused, again);
    assert!(again.1 == "store_trouble" && again.2 == 0, "{again:?}");
    let capture = read(next(&mut requests).await);
    assert!(capture.1 == "capture_trouble" && capture.2 == 0 && capture.0 != again.0, "{capture:?}");
    away.put_back().await;
    live.flush().await.expect("stored");
    trouble(&live, Severity::High, "eth1 is away").await;
    let (over, then) = (read(next(&mut requests).await), read(next(&mut requests).await));
    assert!(over.1 == "store_recovered" && over.2.as_u64() > Some(0), "{over:?}");
    assert!(then.1 == "capture_trouble" && then.0 != capture.0, "what it has is not sent again: {then:?}");
    store.close().await;
}

#[tokio::test]
async fn what_happens_while_sqlite_takes_nothing_is_sent_at_once_and_once() {
    for table in ["windows", "events"] {
        let folder = tempfile::tempdir().expect("folder");
        let url = format!("sqlite:{}", folder.path().join("nta.db").display());
        what_happens_meanwhile_is_sent_at_once_and_once(&url, table).await;
    }
}

#[tokio::test]
async fn what_happens_while_postgresql_takes_nothing_is_sent_at_once_and_once() {
    for table in ["windows", "events"] {
        let test = "what_happens_while_postgresql_takes_nothing_is_sent_at_once_and_once";
        let Some(server) = Server::start(test) else { return };
        server.open().await.close().await;
        what_happens_meanwhile_is_sent_at_once_and_once(&server.url(), table).await;
    }
}

#[test]
fn a_store_in_trouble_is_one_incident_from_its_begin_to_its_end() {
    let told = |kind: &str, seq: u64, time: u64, reason: &str| StoredEvent {
        seq,
        time: Timestamp::from_nanos(time),
        kind: kind.to_owned(),
        run: 1,
        sensor: Some("gw".to_owned()),
        is_live: true,
        severity: Some(Severity::High),
        body: serde_json::json!({ "severity": "high", "reason": reason }).to_string(),
    };
    let log = LogState { epoch: "abc".to_owned(), ..LogState::default() };
    let of = |event: &StoredEvent| Delivery::new(&log, event);
    let begun = of(&told("store_trouble", 0, 5, "the database takes nothing since 12:00"));
    let logged = of(&told("store_trouble", 40, 5, "the database took nothing from 12:00 to 12:05"));
    let over = of(&told("store_recovered", 41, 9, "the database takes batches again"));
    assert_eq!(begun.id, logged.id, "by this the receiver knows what it has");
    assert_eq!((begun.subject(), begun.phase()), (over.subject(), message::Phase::Begins));
    assert_eq!(over.phase(), message::Phase::Ends);
    // An interface may be called almost anything; a header may not.
    let odd = of(&told("capture_trouble", 1, 5, "eth\u{e9}\u{7f}:1 is away"));
    assert_eq!(odd.id, "nta_abc_capture_trouble_5_high_eth%c3%a9%7f%3a1");
    assert_ne!(odd.id, of(&told("capture_trouble", 2, 6, "eth\u{e9}\u{7f}:1 is away")).id);
}
