//! Gateways publish to a NATS server and collectors, each a process of its own, store it: once, whatever is killed or deleted.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use futures_util::StreamExt as _;
use nta_core::domain::Timestamp;
use nta_daemon::api::ingest;
use nta_daemon::store::{Shipment, Store};
use nta_tests::nats::Nats;
use nta_tests::postgres::Postgres;
use nta_tests::process::Process;

use crate::app::window;
use crate::fleet::Gateway;
use crate::tls::certificate;

/// The patience of a test, in steps of 10 ms.
const STEPS: u32 = 6000;

/// Waits until it is so.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    for _ in 0..STEPS {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}");
}

pub(crate) fn collector(nats: &str, database: &str, folder: &Path, log: &str, more: &[&str]) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nta-daemon"));
    command.args(["collect", "--from", nats, "--database", database]).args(more);
    Process::start(&mut command, folder, log)
}

/// A gateway that finds out quickly what was lost.
pub(crate) async fn gateway(nats: &str, more: &str) -> Gateway {
    let folder = tempfile::tempdir().expect("folder");
    Gateway::begin_by("gw1", folder, &format!("to = \"{nats}\"\nresend_after_s = 1\n{more}")).await
}

fn packets(windows: std::ops::RangeInclusive<u64>) -> u64 {
    windows.map(|id| window(id).packets).sum()
}

/// All up to this window is in the store, and once.
async fn has_all(store: &Store, last: u64) {
    let shipped = store.shipped(Some("gw1"), 10).await.expect("shipped");
    assert_eq!(shipped.len(), 1, "{shipped:?}");
    assert!(shipped[0].is_complete() && shipped[0].watermark() == last, "{shipped:?}");
    assert_eq!(shipped[0].packets, packets(1..=last), "each window once");
    assert_eq!(store.window_count().await.expect("count"), last);
}

async fn context(nats: &str) -> jetstream::Context {
    jetstream::new(async_nats::connect(nats).await.expect("a connection"))
}

/// The stream, once something of a gateway is in it.
async fn has_messages(nats: &str) -> jetstream::stream::Stream {
    let context = context(nats).await;
    until("nothing is published", async || {
        let stream = context.get_stream("NTA_SHIP").await;
        stream.is_ok_and(|stream| stream.cached_info().state.bytes > 1000)
    })
    .await;
    context.get_stream("NTA_SHIP").await.expect("a stream")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_is_stored_once_over_kills_of_collectors_and_a_broker_that_loses_all() {
    let test = "what_is_published_is_stored_once_over_kills_of_collectors_and_a_broker_that_loses_all";
    let Some(mut nats) = Nats::start(test, "") else { return };
    if !Postgres::can_run(test) {
        return;
    }
    let (postgres, folder) = (Postgres::start(), tempfile::tempdir().expect("folder"));
    let (url, database) = (nats.url(), postgres.url());
    let store = Store::open(&database).await.expect("store");
    let mut first = collector(&url, &database, folder.path(), "first", &[]);
    let mut second = collector(&url, &database, folder.path(), "second", &[]);
    let gateway = gateway(&url, "").await;
    gateway.commit(1..=3).await;
    gateway.waits_with(0).await;
    has_all(&store, 3).await;

    // The stream is deleted, with whatever is in it.
    context(&url).await.delete_stream("NTA_SHIP").await.expect("deleted");
    gateway.commit(4..=9).await;
    gateway.waits_with(0).await;
    has_all(&store, 9).await;

    // One is killed at its work, and what it had comes to the other.
    gateway.commit(10..=20).await;
    first.stop("KILL", Duration::from_secs(10));
    gateway.commit(21..=40).await;
    gateway.waits_with(0).await;
    has_all(&store, 40).await;

    // While nobody reads, the stream has it; then it is emptied behind everyone's back, and the connection stays.
    assert!(second.stop("TERM", Duration::from_secs(20)).success(), "{}", second.log());
    gateway.commit(41..=50).await;
    has_messages(&url).await.purge().await.expect("emptied");
    let mut third = collector(&url, &database, folder.path(), "third", &[]);
    gateway.waits_with(0).await;
    has_all(&store, 50).await;

    // The same, and its server loses all.
    assert!(third.stop("TERM", Duration::from_secs(20)).success(), "{}", third.log());
    gateway.commit(51..=55).await;
    has_messages(&url).await;
    nats.lose_everything();
    let _fourth = collector(&url, &database, folder.path(), "fourth", &[]);
    gateway.commit(56..=60).await;
    // What is no settings is refused, and not said to be followed.
    store.set_sensor_settings("gw1", r#"{"unknown":true}"#).await.expect("settings");
    until("the settings are not refused", async || gateway.shipping.state().refused_settings == 1).await;
    assert_eq!(gateway.shipping.state().settings, 0);
    store
        .set_sensor_settings("gw1", r#"{"flows":true,"headers":null,"max_bytes_per_s":null}"#)
        .await
        .expect("settings");
    gateway.waits_with(0).await;
    has_all(&store, 60).await;
    until("the settings are not followed", async || gateway.shipping.state().settings == 2).await;
    gateway.stop.cancel();
    store.close().await;
}

/// A consumer as collectors share it, whose messages come again soon.
async fn shared_consumer(nats: &str) -> PullConsumer {
    let stream = jetstream::stream::Config {
        name: "NTA_SHIP".to_owned(),
        subjects: vec!["nta.ship.>".to_owned()],
        retention: jetstream::stream::RetentionPolicy::WorkQueue,
        ..Default::default()
    };
    let stream = context(nats).await.create_stream(stream).await.expect("a stream");
    let consumer = pull::Config {
        durable_name: Some("nta-collect".to_owned()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: Duration::from_secs(1),
        ..Default::default()
    };
    stream.create_consumer(consumer).await.expect("a consumer")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_collector_stored_and_did_not_acknowledge_comes_again_and_adds_nothing() {
    let test = "what_a_collector_stored_and_did_not_acknowledge_comes_again_and_adds_nothing";
    let Some(nats) = Nats::start(test, "") else { return };
    let folder = tempfile::tempdir().expect("folder");
    let (url, database) = (nats.url(), format!("sqlite:{}", folder.path().join("nta.db").display()));
    let store = Store::open(&database).await.expect("store");
    let consumer = shared_consumer(&url).await;
    let gateway = gateway(&url, "").await;
    gateway.commit(1..=5).await;
    // A collector up to where it would acknowledge: it is killed there, after the message that has batches.
    let client = async_nats::connect(&url).await.expect("a connection");
    let mut messages = consumer.messages().await.expect("messages");
    loop {
        let message = messages.next().await.expect("a message").expect("a message");
        let shipment = Shipment::decode(&message.payload).expect("a sensor's");
        let has_batches = shipment.range().is_some();
        let taken = ingest(&store, &[shipment], Timestamp::from_nanos(1), None).await.expect("stored");
        let taken = taken.into_iter().next().expect("an answer").expect("stored");
        if has_batches {
            break;
        }
        client.publish("nta.ack.gw1", taken.answer.into()).await.expect("answered");
    }
    drop(messages);
    assert!(store.window_count().await.expect("count") > 0);
    let collector = collector(&url, &database, folder.path(), "log", &[]);
    gateway.waits_with(0).await;
    until("it does not come again", async || store.shipped(None, 1).await.expect("shipped")[0].doubles > 0).await;
    has_all(&store, 5).await;
    drop(collector);
    gateway.stop.cancel();
}

/// Where a process says that it serves.
async fn served(process: &Process) -> String {
    let url = |log: &str| Some(log.split("url=").nth(1)?.split_whitespace().next()?.trim_matches('"').to_owned());
    until("it does not serve", async || url(&process.log()).is_some()).await;
    url(&process.log()).expect("a URL")
}

/// The body of an answer.
async fn get(url: &str, path: &str) -> String {
    let address = url.trim_start_matches("http://").to_owned();
    let stream = tokio::net::TcpStream::connect(&address).await.expect("a connection");
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.expect("HTTP");
    tokio::spawn(connection);
    let request = axum::http::Request::get(path).header("host", &address).body(String::new()).expect("a request");
    let answer = sender.send_request(request).await.expect("an answer");
    let body = http_body_util::BodyExt::collect(answer.into_body()).await.expect("a body").to_bytes();
    String::from_utf8_lossy(&body).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_never_be_stored_leaves_the_stream_is_said_and_counted() {
    let test = "what_can_never_be_stored_leaves_the_stream_is_said_and_counted";
    let Some(nats) = Nats::start(test, "") else { return };
    let folder = tempfile::tempdir().expect("folder");
    let (url, database) = (nats.url(), format!("sqlite:{}", folder.path().join("nta.db").display()));
    let collector = collector(&url, &database, folder.path(), "log", &["--listen", "127.0.0.1:0"]);
    let api = served(&collector).await;
    let client = async_nats::connect(&url).await.expect("a connection");
    let mut answers = client.subscribe("nta.ack.>").await.expect("answers");
    let jetstream = context(&url).await;
    let mut said = Vec::new();
    for body in ["no message", "ntaship9 of another version"] {
        jetstream.publish("nta.ship.gw9", body.into()).await.expect("sent").await.expect("kept");
        said.push(answers.next().await.expect("an answer"));
    }
    let problem = |place: usize| String::from_utf8_lossy(&said[place].payload).into_owned();
    assert!(problem(0).contains("does not begin with ntaship2") && problem(1).contains("ntaship9"), "{said:?}");
    // What another sensor's subject carries is not stored either.
    let gateway = gateway(&url, "").await;
    gateway.commit(1..=2).await;
    gateway.waits_with(0).await;
    gateway.commit(3..=3).await;
    let head = nta_daemon::store::Head {
        sensor: "gw1".to_owned(),
        epoch: "other".to_owned(),
        sent: Timestamp::from_nanos(1),
        about: nta_daemon::store::About::default(),
    };
    let state = gateway.store.outbox_state().await.expect("state");
    let forged = gateway.store.shipment(state.newest + 1, 1, head, &state).await.expect("a message");
    let forged = forged.encode().expect("bytes");
    jetstream.publish("nta.ship.gw2", forged.into()).await.expect("sent").await.expect("kept");
    until("it is not counted", async || {
        get(&api, "/metrics").await.contains("nta_collector_messages_total{outcome=\"ended\"} 3")
    })
    .await;
    let log = collector.log();
    assert_eq!(log.matches("can never be stored").count(), 3, "{log}");
    gateway.waits_with(0).await;
    until("something is left in the stream", async || {
        jetstream.get_stream("NTA_SHIP").await.expect("a stream").cached_info().state.messages == 0
    })
    .await;
    let sensors: serde_json::Value = serde_json::from_str(&get(&api, "/api/sensors").await).expect("JSON");
    assert_eq!(sensors["items"].as_array().map(Vec::len), Some(1), "{sensors}");
    assert_eq!(sensors["items"][0]["completeness"], "1…3 complete, none double", "{sensors}");
    gateway.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_cannot_read_says_so_until_it_can() {
    let Some(mut nats) = Nats::start("a_collector_that_cannot_read_says_so_until_it_can", "") else { return };
    let folder = tempfile::tempdir().expect("folder");
    let (url, database) = (nats.url(), format!("sqlite:{}", folder.path().join("nta.db").display()));
    let collector = collector(&url, &database, folder.path(), "log", &["--listen", "127.0.0.1:0"]);
    let api = served(&collector).await;
    let json = async |path: &str| serde_json::from_str::<serde_json::Value>(&get(&api, path).await).expect("JSON");
    let has = async |lines: [&str; 2]| {
        let text = get(&api, "/metrics").await;
        lines.into_iter().all(|line| text.lines().any(|one| one == line))
    };
    assert_eq!(json("/health").await["status"], "ok");
    let status = json("/api/status").await["collecting"].clone();
    assert_eq!((&status["connected"], &status["trouble"]), (&true.into(), &serde_json::Value::Null), "{status}");
    assert!(status["from"] == url.as_str() && status["last_read_at"].is_string(), "{status}");
    assert!(has(["nta_collector_connected 1.0", "nta_collector_failing 0.0"]).await);

    nats.kill();
    until("its health is well without NATS", async || json("/health").await["status"] == "degraded").await;
    let reasons = json("/health").await["reasons"].clone();
    let said = reasons[0].as_str().expect("a reason");
    assert!(said.starts_with("collecting: nothing can be read from nats://") && said.contains(&url), "{reasons}");
    let status = json("/api/status").await["collecting"].clone();
    assert!(status["connected"] == false && status["trouble"].is_string(), "{status}");
    assert!(has(["nta_collector_connected 0.0", "nta_collector_failing 1.0"]).await);

    nats.start_again();
    until("its health is bad with NATS", async || json("/health").await["status"] == "ok").await;
    assert!(has(["nta_collector_connected 1.0", "nta_collector_failing 0.0"]).await);
    let gateway = gateway(&url, "").await;
    gateway.commit(1..=3).await;
    gateway.waits_with(0).await;
    until("nothing is stored", async || json("/api/status").await["collecting"]["messages"] != 0).await;
    gateway.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_password_publishes_nothing_and_tls_is_spoken_with_who_is_trusted() {
    let test = "who_has_no_password_publishes_nothing_and_tls_is_spoken_with_who_is_trusted";
    let folder = tempfile::tempdir().expect("folder");
    if !certificate(folder.path()) {
        return nta_tests::not_run(test, "openssl makes no certificate (Debian's package openssl)");
    }
    let shown = folder.path().display();
    let settings = format!(
        "tls {{ cert_file: \"{shown}/cert.pem\", key_file: \"{shown}/key.pem\" }}\n\
         authorization {{ users: [\n\
         {{ user: gw1, password: one, permissions: {{ publish: \"nta.ship.gw1\", subscribe: [\"nta.ack.gw1\", \"_INBOX.>\"] }} }}\n\
         {{ user: centre, password: two, permissions: {{ publish: [\"nta.ack.>\", \"$JS.API.>\", \"$JS.ACK.>\"], \
         subscribe: \"_INBOX.>\" }} }}\n] }}"
    );
    let Some(nats) = Nats::start(test, &settings) else { return };
    let url = nats.url().replace("nats://127.0.0.1", "tls://localhost");
    for (name, line) in [("gw1", "gw1:one"), ("centre", "centre:two"), ("wrong", "gw1:two")] {
        std::fs::write(folder.path().join(name), line).expect("written");
    }
    let database = format!("sqlite:{shown}/nta.db");
    let file = |name: &str| format!("{shown}/{name}");
    let (ca, centre) = (file("cert.pem"), file("centre"));
    let flags = ["--ca-file", &ca, "--credentials-file", &centre];
    let _collector = collector(&url, &database, folder.path(), "log", &flags);
    let with = |user: &str| format!("ca_file = \"{ca}\"\ncredentials_file = \"{}\"", file(user));
    let good = gateway(&url, &with("gw1")).await;
    good.commit(1..=3).await;
    good.waits_with(0).await;
    for (more, reason) in [(with("wrong"), "authorization"), (format!("credentials_file = \"{}\"", file("gw1")), "tls")]
    {
        let bad = gateway(&url, &more).await;
        until("it does not say why", async || {
            let error = bad.shipping.state().last_error;
            error.is_some_and(|(_, error)| error.to_lowercase().contains(reason))
        })
        .await;
        bad.commit(1..=1).await;
        bad.waits_with(1).await;
        bad.stop.cancel();
    }
    good.stop.cancel();
}

/// Speaks as much of NATS as lets a client in.
fn old_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listener");
    let url = format!("nats://{}", listener.local_addr().expect("address"));
    std::thread::spawn(move || {
        for stream in listener.incoming().take(32).flatten() {
            std::thread::spawn(move || -> std::io::Result<()> {
                let info = r#"{"server_id":"A","version":"2.9.10","max_payload":1048576,"headers":true,"proto":1}"#;
                let mut writer = stream.try_clone()?;
                write!(writer, "INFO {info}\r\n")?;
                for line in BufReader::new(stream).lines() {
                    if line?.starts_with("PING") {
                        write!(writer, "PONG\r\n")?;
                    }
                }
                Ok(())
            });
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_may_lose_what_it_acknowledged_is_refused_unless_it_is_allowed() {
    let (url, folder) = (old_server(), tempfile::tempdir().expect("folder"));
    let database = format!("sqlite:{}", folder.path().join("nta.db").display());
    let mut refused = collector(&url, &database, folder.path(), "refused", &[]);
    let status = refused.wait(Duration::from_secs(60));
    let log = refused.log();
    assert!(status.code() == Some(1) && log.contains("2.9.10") && log.contains("--allow-old-nats"), "{status}: {log}");
    let gateway = gateway(&url, "").await;
    until("the gateway takes it", async || {
        gateway.shipping.state().last_error.is_some_and(|(_, error)| error.contains("2.10.23"))
    })
    .await;
    gateway.stop.cancel();
    // It has no JetStream: what is refused then is another thing.
    let mut allowed = collector(&url, &database, folder.path(), "allowed", &["--allow-old-nats"]);
    let status = allowed.wait(Duration::from_secs(60));
    let log = allowed.log();
    assert!(status.code() == Some(1) && log.contains("NTA_SHIP") && !log.contains("2.10.23"), "{status}: {log}");
}
