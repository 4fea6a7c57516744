//! Collectors and those that they speak with: who is told of what gateways saw, whose word a gateway takes, and what `doctor` finds of both.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nta_core::domain::{AlertKind, IdentityScope, RunId};
use nta_daemon::store::{Store, WindowBatch};
use nta_tests::nats::Nats;
use nta_tests::postgres::Postgres;
use nta_tests::process::Process;

use crate::alerts::alert;
use crate::app::window;
use crate::collector::{collector, gateway, until};
use crate::fleet::Gateway;

/// A target of webhooks: the bodies that come.
fn target() -> (String, std::sync::mpsc::Receiver<serde_json::Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listener");
    let url = format!("http://{}/hook", listener.local_addr().expect("address"));
    let (send, bodies) = std::sync::mpsc::sync_channel(64);
    std::thread::spawn(move || {
        for stream in listener.incoming().take(64).flatten() {
            let mut reader = BufReader::new(stream);
            let (mut line, mut length) = (String::new(), 0);
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                if let Some(given) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = given.trim().parse().expect("a length");
                }
                line.clear();
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).expect("a body");
            let _gone = reader.get_mut().write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");
            let _over = send.send(serde_json::from_slice(&body).expect("JSON"));
        }
    });
    (url, bodies)
}

/// Two gateways see a scan by this host.
async fn scanned(gateways: &[Gateway; 2], source: u8, window_id: u64) {
    for (name, gateway) in ["gw1", "gw2"].into_iter().zip(gateways) {
        let mut alert = alert(AlertKind::PortScan, source, window_id, 0.7);
        let scope = IdentityScope::of_run(&name.parse().expect("a name"), &RunId([source; 16]));
        alert.id = scope.alert_id(&alert.key, alert.first);
        let alerts = vec![alert];
        let batch = WindowBatch { window: Some(window(window_id)), alerts, ..WindowBatch::default() };
        gateway.writer.send(batch).await.expect("send");
        gateway.writer.flush().await.expect("flush");
        gateway.waits_with(0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_collectors_tells_of_what_two_gateways_saw_and_the_other_once_it_is_killed() {
    let test = "one_of_two_collectors_tells_of_what_two_gateways_saw_and_the_other_once_it_is_killed";
    let Some(nats) = Nats::start(test, "") else { return };
    if !Postgres::can_run(test) {
        return;
    }
    let (server, folder) = (Postgres::start(), tempfile::tempdir().expect("folder"));
    let (hook, bodies) = target();
    let config = folder.path().join("nta.toml");
    let text = format!(
        "[[webhooks]]\nname = \"ops\"\nkind = \"generic\"\nurl = \"{hook}\"\nallow_local = true\ntypes = [\"alert_raised\"]\n\
         secrets = [\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"]\n"
    );
    std::fs::write(&config, text).expect("written");
    let (url, database, config) = (nats.url(), server.url(), config.display().to_string());
    let start = |log: &str| Some(collector(&url, &database, folder.path(), log, &["--config", &config]));
    let mut collectors = [start("first"), start("second")];
    let gateways = [
        Gateway::begin_by("gw1", tempfile::tempdir().expect("folder"), &format!("to = \"{url}\"")).await,
        Gateway::begin_by("gw2", tempfile::tempdir().expect("folder"), &format!("to = \"{url}\"")).await,
    ];
    let sends =
        |of: &Option<Process>| of.as_ref().is_some_and(|process| process.log().contains("this collector sends"));
    until("nobody sends", async || collectors.iter().any(sends)).await;
    scanned(&gateways, 9, 1).await;
    let told = |bodies: &std::sync::mpsc::Receiver<serde_json::Value>| {
        let body = bodies.recv_timeout(Duration::from_secs(60)).expect("a message");
        let text = body.to_string();
        assert!(text.contains("seen by 2 gateways"), "{text}");
        text
    };
    assert!(told(&bodies).contains("192.0.2.9"));
    assert_eq!(collectors.iter().filter(|of| sends(of)).count(), 1, "one of them");
    let first = collectors.iter().position(sends).expect("one sends");
    // Killed, not ended.
    collectors[first].take().expect("it runs").stop("KILL", Duration::from_secs(10));
    until("the other does not send", async || collectors.iter().any(sends)).await;
    scanned(&gateways, 10, 2).await;
    let mut text = told(&bodies);
    if text.contains("\"192.0.2.9\"") {
        // It was killed before it had noted that it was taken.
        text = told(&bodies);
    }
    assert!(text.contains("\"192.0.2.10\""), "{text}");
    for gateway in gateways {
        gateway.stop.cancel();
    }
}

/// What `doctor` finds of whom a configuration ships to or collects from.
pub(crate) fn doctor(config: &Path) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nta-daemon"));
    let output = command.args(["doctor", "--format", "json", "--config"]).arg(config).output().expect("started");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let checks = report["checks"].as_array().expect("checks");
    let check = checks.iter().find(|check| check["name"] == "ship" || check["name"] == "collect").expect("one");
    (check["ok"] == true, check["detail"].to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn nkeys_say_who_asks_and_settings_that_the_wrong_one_signed_are_not_followed() {
    let test = "nkeys_say_who_asks_and_settings_that_the_wrong_one_signed_are_not_followed";
    let folder = tempfile::tempdir().expect("folder");
    let [centre, paris, other] = [(); 3].map(|()| nkeys::KeyPair::new_user());
    for (name, key) in [("centre", &centre), ("paris", &paris), ("other", &other)] {
        std::fs::write(folder.path().join(name), key.seed().expect("a seed")).expect("written");
    }
    let settings = format!(
        "authorization {{ users: [\n\
         {{ nkey: {}, permissions: {{ publish: \"nta.ship.gw1\", subscribe: [\"nta.ack.gw1\", \"_INBOX.>\"] }} }}\n\
         {{ nkey: {}, permissions: {{ publish: [\"nta.ack.>\", \"$JS.API.>\", \"$JS.ACK.>\"], subscribe: \"_INBOX.>\" }} }}\n] }}",
        paris.public_key(),
        centre.public_key()
    );
    let Some(nats) = Nats::start(test, &settings) else { return };
    let (url, shown) = (nats.url(), folder.path().display());
    let database = format!("sqlite:{shown}/nta.db");
    let credentials = format!("{shown}/centre");
    let _collector = collector(&url, &database, folder.path(), "log", &["--credentials-file", &credentials]);
    let store = Store::open(&database).await.expect("store");
    let with = |user: &str, key: &nkeys::KeyPair| {
        format!("credentials_file = \"{shown}/{user}\"\nsettings_keys = [\"{}\"]", key.public_key())
    };
    let unknown = gateway(&url, &with("other", &centre)).await;
    until("who is not known is let in", async || {
        let error = unknown.shipping.state().last_error;
        error.is_some_and(|(_, error)| error.to_lowercase().contains("authorization"))
    })
    .await;
    unknown.stop.cancel();
    for (text, is_well, said) in [
        (format!("[ship]\nto = \"{url}\"\n{}", with("paris", &centre)), true, "NATS 2."),
        (format!("[ship]\nto = \"{url}\"\n{}", with("other", &centre)), false, "authorization"),
        (format!("[sensor]\nname = \"gw1\"\n[ship]\nto = \"{url}\"\n{}", with("paris", &centre)), true, "NATS 2."),
        (
            format!("[sensor]\nname = \"gw2\"\n[ship]\nto = \"{url}\"\n{}", with("paris", &centre)),
            false,
            "may not publish",
        ),
        (format!("[collect]\nfrom = \"{url}\"\ncredentials_file = \"{credentials}\""), true, "with JetStream"),
        ("[ship]\nto = \"nats://127.0.0.1:1\"".to_owned(), false, "refused"),
        ("[ship]\nto = \"http://127.0.0.1:1\"".to_owned(), false, "refused"),
    ] {
        let config = folder.path().join("doctor.toml");
        std::fs::write(&config, &text).expect("written");
        let (found, detail) = doctor(&config);
        assert!(found == is_well && detail.to_lowercase().contains(&said.to_lowercase()), "{text}: {detail}");
    }
    let good = gateway(&url, &with("paris", &centre)).await;
    good.commit(1..=2).await;
    good.waits_with(0).await;
    let version = store.set_sensor_settings("gw1", r#"{"flows":true}"#).await.expect("set");
    good.commit(3..=3).await;
    until("the settings are not followed", async || good.shipping.state().settings == version).await;
    good.stop.cancel();
    let suspicious = gateway(&url, &with("paris", &other)).await;
    suspicious.commit(1..=1).await;
    until("the settings are not refused", async || suspicious.shipping.state().refused_settings == version).await;
    assert_eq!(suspicious.shipping.state().settings, 0);
    assert!(suspicious.shipping.trouble().is_some_and(|trouble| trouble.contains("not followed")));
    suspicious.stop.cancel();
}
