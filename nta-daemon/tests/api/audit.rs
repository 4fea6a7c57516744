//! The audit log has every change: each operation of the document that writes leaves one record, or is named here as changing nothing.

use std::collections::BTreeSet;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use nta_core::domain::{AlertChange, AlertKind, Severity, Timestamp};
use nta_daemon::api::{ApiState, router};
use nta_daemon::config::Config;
use nta_daemon::recording::Recorder;
use nta_daemon::sink::webhook::Webhooks;
use nta_daemon::store::{DeadLetter, StoredEvent};
use nta_daemon::uploads::Uploads;
use serde_json::{Value, json};

use tower::ServiceExt as _;

use crate::access::make;
use crate::alerts::{alert, emit};
use crate::app::{App, HOST, parse};

/// Stores nothing: it answers what other settings would have raised.
const CHANGES_NOTHING: [&str; 2] = ["post /api/anomalies/detect", "post /graphql"];
/// Not held against the log here: what needs a job that runs, a live capture, a sensor that ships (whose messages are traffic and not
/// changes), or a model in the registry.
const ELSEWHERE: [&str; 9] = [
    "post /ingest",
    "put /api/sensors/{id}/settings",
    "delete /api/sensors/{id}",
    "post /api/jobs/{id}/cancel",
    "post /api/control/capture/start",
    "post /api/control/capture/stop",
    "post /api/control/reload",
    "post /api/models/{id}/activate",
    "post /api/train",
];

const WEBHOOK: &str = "[[webhooks]]\nname = \"ops\"\nkind = \"generic\"\nurl = \"http://127.0.0.1:1/x\"\nallow_local = true\n\
                       secrets = [\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"]\n";

struct Site {
    router: Router,
    token: String,
    /// Records that are known.
    seen: u64,
    done: BTreeSet<String>,
}

impl Site {
    async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> (StatusCode, HeaderMap, Value) {
        let method: Method = method.to_uppercase().parse().expect("a method");
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, HOST);
        // A session stands for the token.
        if headers.iter().all(|(name, _)| *name != "cookie") {
            request = request.header(header::AUTHORIZATION, &self.token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer =
            self.router.clone().oneshot(request.body(Body::from(body)).expect("request")).await.expect("answer");
        let (status, headers) = (answer.status(), answer.headers().clone());
        (status, headers, parse_or_null(&to_bytes(answer.into_body(), usize::MAX).await.expect("body")))
    }

    /// Writes, and holds what the audit log has of it against who did what, and whether something was before and is behind it.
    async fn write(
        &mut self,
        operation: &str,
        path: &str,
        body: &Value,
        (action, [before, after]): (&str, [bool; 2]),
    ) -> (HeaderMap, Value) {
        // Of a job it is the order that is kept, whatever becomes of it.
        let headers = [("content-type", "application/json"), ("prefer", "respond-async")];
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let headers = if body.is_empty() { &[][..] } else { &headers[..] };
        self.send(operation, path, (headers, body), (action, [before, after])).await
    }

    async fn send(
        &mut self,
        operation: &str,
        path: &str,
        (headers, body): (&[(&str, &str)], Vec<u8>),
        (action, [before, after]): (&str, [bool; 2]),
    ) -> (HeaderMap, Value) {
        let method = operation.split(' ').next().expect("a method");
        let (status, headers, answer) = self.ask(method, path, headers, body).await;
        assert!(status.is_success(), "{operation}: {status} {answer}");
        let (_, _, log) = self.ask("get", "/api/audit?limit=1000&sort=time", &[], Vec::new()).await;
        let records = log["items"].as_array().expect("records").clone();
        let new: Vec<_> = records.iter().filter(|record| record["id"].as_u64() > Some(self.seen)).collect();
        let [record] = new.as_slice() else { panic!("{operation}: one record, not {new:?}") };
        self.seen = record["id"].as_u64().expect("a number");
        assert_eq!((&record["action"], &record["role"]), (&action.into(), &"admin".into()), "{operation}: {record}");
        let said = ["who", "origin", "target", "at"].map(|name| record[name].as_str().unwrap_or_default().is_empty());
        assert_eq!(said, [false; 4], "{operation}: {record}");
        assert_eq!(record["who"], "auditor", "{operation}");
        assert_eq!([record["before"].is_null(), record["after"].is_null()], [!before, !after], "{operation}: {record}");
        self.done.insert(operation.to_owned());
        (headers, answer)
    }
}

fn parse_or_null(bytes: &[u8]) -> Value {
    if bytes.is_empty() { Value::Null } else { parse(bytes) }
}

/// Datagrams of one host.
fn pcap(last: u8) -> Vec<u8> {
    let mut file: Vec<u8> = [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1].map(u32::to_le_bytes).concat();
    let frame =
        [&[2; 12][..], &[8, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 198, 51, 100, last]].concat();
    let frame = [frame, vec![3, 0xe8, 0, 53, 0, 8, 0, 0]].concat();
    let length = u32::try_from(frame.len()).expect("short");
    file.extend([1_700_000_000, 0, length, length].map(u32::to_le_bytes).concat());
    file.extend(frame);
    file
}

#[tokio::test]
async fn every_operation_that_writes_leaves_one_record_of_who_did_what() {
    let app = App::with(3, 3).await;
    let alerts: Vec<_> = (1..=3).map(|n| alert(AlertKind::PortScan, n, u64::from(n), 0.9)).collect();
    emit(&app, AlertChange::Raised, &alerts).await;
    let token = make(&app.store, "admin", |token| token.name = Some("auditor".to_owned())).await;
    let folder = tempfile::tempdir().expect("folder");
    let mut config: Config = toml::from_str(WEBHOOK).expect("a configuration");
    config.uploads.folder = folder.path().join("captures").display().to_string();
    config.recordings.folder = folder.path().join("recordings").display().to_string();
    config.uploads.keep_free_bytes = 0;
    let state = ApiState::new(app.store.clone(), app.status.subscribe())
        .with_uploads(Uploads::new(&app.store, &config))
        .with_sensor("test".to_owned())
        .with_recorder(Recorder::new(folder.path().join("recordings"), 8 << 20, 16 << 20))
        .with_webhooks(Webhooks::new(app.store.clone(), "test".to_owned(), &config.webhooks));
    state.read_tokens().await.expect("the store answers");
    let mut site = Site { router: router(state), token, seen: 0, done: BTreeSet::new() };
    let (_, _, log) = site.ask("get", "/api/audit", &[], Vec::new()).await;
    site.seen = log["items"][0]["id"].as_u64().unwrap_or_default();
    let none = Value::Null;

    // Alerts.
    for (name, action, expect) in
        [("acknowledge", "acknowledge alerts", 3), ("resolve", "resolve alerts", 3), ("reopen", "reopen alerts", 3)]
    {
        let path = format!("/api/alerts/{name}?from=0&expect={expect}");
        site.write(&format!("post /api/alerts/{name}"), &path, &json!({}), (action, [false, true])).await;
    }
    let path = format!("/api/alerts/{}", alerts[0].id);
    let change = json!({"status": "resolved", "note": "seen"});
    site.write("patch /api/alerts/{id}", &path, &change, ("change alert", [true, true])).await;
    let tomorrow = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24)).to_string();
    let mute =
        json!({"types": ["port_scan"], "source": "192.0.2.1", "reason": "a scanner of ours", "expires": tomorrow});
    let (_, mute) = site.write("post /api/mutes", "/api/mutes", &mute, ("create mute", [false, true])).await;
    let path = format!("/api/mutes/{}", mute["id"]);
    site.write("delete /api/mutes/{id}", &path, &none, ("delete mute", [true, false])).await;

    // Baselines and windows.
    let order = ("generate baselines", [false, true]);
    site.write("post /api/baselines/generate", "/api/baselines/generate", &json!({}), order).await;
    let loss = json!({"series": {"loss": nta_core::baseline::Series::default()}});
    let (path, import) = ("/api/baselines/loss", ("import baseline", [true, true]));
    site.write("put /api/baselines/{type}", path, &loss, import).await;
    let order = ("compute windows", [false, true]);
    site.write("post /api/metrics/compute", "/api/metrics/compute", &json!({}), order).await;

    // Captures, in one piece and in parts.
    let raw = [("content-type", "application/octet-stream")];
    let upload = ("upload capture", [false, true]);
    let (_, sent) = site.send("post /api/upload", "/api/upload?name=a.pcap", (&raw, pcap(1)), upload).await;
    site.send("post /upload", "/upload?name=b.pcap", (&raw, pcap(2)), upload).await;
    let length = pcap(3).len().to_string();
    let announced = ("announce capture", [false, true]);
    let (headers, _) =
        site.send("post /api/upload", "/api/upload", (&[("upload-length", &length)], Vec::new()), announced).await;
    let path = headers[header::LOCATION].to_str().expect("a path").to_owned();
    let part = [("upload-offset", "0"), ("content-type", "application/octet-stream")];
    site.send("patch /api/upload/{file_id}", &path, (&part, pcap(3)), upload).await;
    let file_id = sent["file_id"].as_str().expect("a name");
    let order = ("score capture", [false, true]);
    let capture = json!({"capture": file_id});
    site.write("post /api/analysis/score", "/api/analysis/score", &capture, order).await;
    let order = ("predict", [false, true]);
    let scored = json!({"scored": "scored-0000.csv"});
    site.write("post /api/analysis/predict", "/api/analysis/predict", &scored, order).await;
    let path = format!("/api/captures/{file_id}");
    site.write("delete /api/captures/{file_id}", &path, &none, ("delete capture", [true, false])).await;

    // Tokens, sessions, webhooks.
    let token = json!({"role": "viewer", "name": "guest"});
    let (_, made) = site.write("post /api/tokens", "/api/tokens", &token, ("create token", [false, true])).await;
    let path = format!("/api/tokens/{}", made["id"]);
    site.write("delete /api/tokens/{id}", &path, &none, ("revoke token", [true, true])).await;
    let open = ("open session", [false, true]);
    let (headers, _) = site.write("post /api/session", "/api/session", &none, open).await;
    let cookie = headers[header::SET_COOKIE].to_str().expect("text").split(';').next().expect("a cookie").to_owned();
    let close = ("close session", [true, false]);
    site.send("delete /api/session", "/api/session", (&[("cookie", &cookie)], Vec::new()), close).await;
    let letter = DeadLetter {
        id: 0,
        webhook: "ops".to_owned(),
        event: StoredEvent {
            seq: 7,
            time: Timestamp::from_nanos(1),
            kind: "capture_trouble".to_owned(),
            run: 0,
            sensor: Some("test".to_owned()),
            is_live: true,
            severity: Some(Severity::High),
            body: "{\"severity\":\"high\",\"reason\":\"eth0 is away\"}".to_owned(),
        },
        failed: Timestamp::from_nanos(2),
        attempts: 14,
        error: "503".to_owned(),
    };
    app.store.add_dead_letter("test", &letter).await.expect("kept");
    let path = "/api/webhooks/ops/test";
    site.write("post /api/webhooks/{name}/test", path, &none, ("test webhook", [false, true])).await;
    let (_, _, dead) = site.ask("get", "/api/webhooks/dead", &[], Vec::new()).await;
    let path = format!("/api/webhooks/dead/{}/retry", dead["items"][0]["id"]);
    site.write("post /api/webhooks/dead/{id}/retry", &path, &none, ("retry dead letter", [false, true])).await;

    // Recordings, where this process may.
    let (status, _, refused) = site
        .ask(
            "post",
            "/api/analysis/start-tcpdump",
            &[("content-type", "application/json")],
            b"{\"interface\":\"lo\"}".to_vec(),
        )
        .await;
    if status == StatusCode::FORBIDDEN {
        eprintln!("not run: the records of recordings: {}", refused["detail"]);
        site.done.extend(["start", "stop"].map(|word| format!("post /api/analysis/{word}-tcpdump")));
    } else {
        assert_eq!(status, StatusCode::OK, "{refused}");
        let (_, _, log) = site.ask("get", "/api/audit?limit=1", &[], Vec::new()).await;
        assert_eq!((&log["items"][0]["action"], &log["items"][0]["target"]), (&"start recording".into(), &"lo".into()));
        site.seen = log["items"][0]["id"].as_u64().expect("a number");
        site.done.insert("post /api/analysis/start-tcpdump".to_owned());
        let (path, stop) = ("/api/analysis/stop-tcpdump", ("stop recording", [true, true]));
        site.write("post /api/analysis/stop-tcpdump", path, &json!({}), stop).await;
    }

    let (_, _, document) = site.ask("get", "/openapi.json", &[], Vec::new()).await;
    let mut writes = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for method in item.as_object().expect("methods").keys() {
            if ["post", "put", "patch", "delete"].contains(&method.as_str()) {
                writes.insert(format!("{method} {path}"));
            }
        }
    }
    site.done.extend(CHANGES_NOTHING.into_iter().chain(ELSEWHERE).map(str::to_owned));
    assert_eq!(site.done, writes, "what writes, and what is checked here");
}
