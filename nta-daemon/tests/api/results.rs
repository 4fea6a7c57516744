//! Captures that are scored, scores that are predicted, and the files that this makes.

use std::collections::BTreeMap;
use std::path::Path;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use nta_daemon::config::Config;
use nta_daemon::store::Store;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::app::HOST;
use crate::postgres::Server;
use crate::uploads::{Site, scan, sqlite};

const JSON: (&str, &str) = ("content-type", "application/json");

impl Site {
    async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        let (status, _, answer) = self.send(Method::POST, path, &[JSON], Body::from(body.to_string())).await;
        (status, answer)
    }

    /// The result of a request for a job, however long that takes.
    async fn done(&self, path: &str, body: &Value) -> Value {
        let (status, answer) = self.post(path, body).await;
        if status == StatusCode::ACCEPTED {
            let job = format!("/api/jobs/{}", answer["id"].as_str().expect("an id"));
            let over = self.until(&job, |_, job| job["ended"].is_string()).await;
            assert_eq!(over["state"], "done", "{over}");
            return over["result"].clone();
        }
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer
    }

    async fn bytes(&self, path: &str) -> (StatusCode, HeaderMap, Vec<u8>) {
        let request = Request::get(path).header(header::HOST, HOST).body(Body::empty()).expect("request");
        let response = self.router.clone().oneshot(request).await.expect("response");
        let (status, headers) = (response.status(), response.headers().clone());
        (status, headers, to_bytes(response.into_body(), usize::MAX).await.expect("body").to_vec())
    }

    /// A file as pandas reads it: names, then rows by name.
    async fn table(&self, link: &Value) -> Vec<BTreeMap<String, String>> {
        let (status, headers, bytes) = self.bytes(link["path"].as_str().expect("a path")).await;
        assert_eq!(
            (status, &headers[header::CONTENT_TYPE]),
            (StatusCode::OK, &"text/csv; charset=utf-8".parse().unwrap())
        );
        assert_eq!(bytes.len() as u64, link["bytes"].as_u64().expect("bytes"));
        assert!(!String::from_utf8(bytes.clone()).expect("UTF-8").contains('#'), "a line that is no row");
        let mut reader = csv::Reader::from_reader(bytes.as_slice());
        let rows: Vec<BTreeMap<String, String>> = reader.deserialize().map(|row| row.expect("a row")).collect();
        assert_eq!(rows.len() as u64, link["rows"].as_u64().expect("rows"));
        rows
    }
}

/// Packets of the capture, as tshark counts them; all of them are between two hosts.
fn packets() -> u64 {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cases/port_scan-hit/expected.json");
    let expected: Value = serde_json::from_slice(&std::fs::read(path).expect("the case")).expect("JSON");
    expected["packets"].as_u64().expect("a count")
}

const SCANNER: &str = "192.168.177.151";
const VICTIM: &str = "192.168.126.204";

fn number(row: &BTreeMap<String, String>, name: &str) -> f64 {
    row[name].parse().unwrap_or_else(|_| panic!("{name}: {}", row[name]))
}

async fn from_a_capture_to_predictions(store: Store) {
    let folder = tempfile::tempdir().expect("folder");
    let site = Site::over(store, folder.path(), |_| {});
    let (_, answer) = site.upload(&scan()).await;
    let file_id = answer["file_id"].as_str().expect("a name").to_owned();
    let result = site.done("/api/analysis/score", &json!({ "capture": file_id })).await;
    assert_eq!((&result["is_whole"], &result["problem"]), (&true.into(), &Value::Null), "{result}");

    // The connections hold every packet.
    let (status, _, log) = site.bytes(result["connections"]["path"].as_str().expect("a path")).await;
    let log = String::from_utf8(log).expect("text");
    assert_eq!(status, StatusCode::OK);
    let fields: Vec<&str> =
        log.lines().find_map(|line| line.strip_prefix("#fields\t")).expect("names").split('\t').collect();
    let place = |name: &str| fields.iter().position(|field| *field == name).expect("a column");
    let mut by_host: BTreeMap<String, u64> = BTreeMap::new();
    let lines: Vec<Vec<&str>> =
        log.lines().filter(|line| !line.starts_with('#')).map(|line| line.split('\t').collect()).collect();
    for line in &lines {
        let packets: u64 =
            ["orig_pkts", "resp_pkts"].map(|name| line[place(name)].parse::<u64>().expect("a count")).iter().sum();
        for side in ["id.orig_h", "id.resp_h"] {
            *by_host.entry(line[place(side)].to_owned()).or_default() += packets;
        }
    }
    assert_eq!(by_host, [SCANNER, VICTIM].map(|host| (host.to_owned(), packets())).into());
    assert_eq!(result["connections"]["rows"], lines.len());

    // The scanner is known by its rows, and its victim.
    let scored = site.table(&result["scored"]).await;
    let of = |host: &str| scored.iter().filter(|row| row["host"] == host).cloned().collect::<Vec<_>>();
    let against = |host: &str, column: &str| {
        of(host).iter().any(|row| row[column] == "port_scan" && number(row, "rule_score") > 0.0)
    };
    assert!(against(SCANNER, "alerts_as_source") && against(VICTIM, "alerts_as_destination"), "{scored:?}");
    assert!(!against(SCANNER, "alerts_as_destination") && !against(VICTIM, "alerts_as_source"));
    for row in &scored {
        assert!(["5", "30", "180"].contains(&row["window_s"].as_str()), "{row:?}");
        assert_eq!(row["forest_score"], "", "there is no forest");
        assert!((1.0..=packets() as f64).contains(&number(row, "packets")), "{row:?}");
        assert!((number(row, "ln_packets_sent").exp_m1() - number(row, "packets")).max(0.0) < 1.0, "{row:?}");
        assert!(row["window_start"] < row["window_end"] && row["window_start"].ends_with('Z'));
    }

    if cfg!(feature = "xgboost") {
        let summary = site.done("/api/analysis/predict", &json!({ "scored": result["scored"]["name"] })).await;
        assert_eq!((&summary["model"], &summary["file"]["rows"]), (&result["model"], &result["scored"]["rows"]));
        let predictions = site.table(&summary["file"]).await;
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for (row, of) in predictions.iter().zip(&scored) {
            assert!(["window_start", "window_end", "window_s", "host"].iter().all(|name| row[*name] == of[*name]));
            let all = || row.iter().filter(|(name, _)| name.starts_with("p_")).map(|(name, _)| number(row, name));
            assert!((all().sum::<f64>() - 1.0).abs() < 1e-6, "{row:?}");
            let likeliest = all().fold(0.0, f64::max);
            assert!((number(row, &format!("p_{}", row["class"])) - likeliest).abs() < 1e-12, "{row:?}");
            let is_sure = number(row, "probability") >= number(row, "threshold");
            assert_eq!(row["prediction"], if is_sure { row["class"].as_str() } else { "unknown" }, "{row:?}");
            *counts.entry(row["prediction"].clone()).or_default() += 1;
        }
        assert_eq!(summary["predictions"], json!(counts));
        let (status, refused) = site
            .post("/api/analysis/predict", &json!({ "scored": result["scored"]["name"], "model": "0123456789ab" }))
            .await;
        assert_eq!((status, &refused["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &"model".into()), "{refused}");
    } else {
        let body = json!({ "scored": result["scored"]["name"] });
        let (status, refused) = site.post("/api/analysis/predict", &body).await;
        assert_eq!((status, &refused["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &"model".into()), "{refused}");
    }

    let (_, list) = site.get("/api/analysis/list-files").await;
    let kinds: Vec<&str> =
        list["items"].as_array().expect("items").iter().map(|item| item["kind"].as_str().expect("a kind")).collect();
    let expected: &[&str] =
        if cfg!(feature = "xgboost") { &["predictions", "scored", "connections"] } else { &["scored", "connections"] };
    assert_eq!(kinds, expected, "{list}");
    let bytes: u64 =
        list["items"].as_array().expect("items").iter().map(|item| item["bytes"].as_u64().expect("bytes")).sum();
    assert_eq!(list["used_bytes"], bytes);
    let (_, scored) = site.get("/api/analysis/list-files?kind=scored").await;
    assert_eq!(scored["items"][0]["source"], file_id.as_str(), "{scored}");
    assert_eq!(scored["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn from_a_capture_to_predictions_on_sqlite() {
    let folder = tempfile::tempdir().expect("folder");
    from_a_capture_to_predictions(sqlite(folder.path()).await).await;
}

#[tokio::test]
async fn from_a_capture_to_predictions_on_postgresql() {
    let Some(server) = Server::start("from_a_capture_to_predictions_on_postgresql") else { return };
    from_a_capture_to_predictions(server.open().await).await;
}

#[tokio::test]
async fn nothing_but_what_is_listed_can_be_named() {
    let folder = tempfile::tempdir().expect("folder");
    let site = Site::over(sqlite(folder.path()).await, folder.path(), |_| {});
    let (_, answer) = site.upload(&scan()).await;
    site.done("/api/analysis/score", &json!({ "capture": answer["file_id"] })).await;
    std::fs::write(folder.path().join("results/planted-1.csv"), "a\n1\n").expect("written");
    for (name, expected) in [
        ("planted-1.csv", 404), // in the folder, in no list
        ("nothing-1.csv", 404),
        ("..%2fnta.db", 400),
        ("..%2f..%2f..%2fetc%2fpasswd", 400),
        ("%2e%2e", 400),
        ("%2fetc%2fpasswd", 400),
        ("nta.db%00.csv", 400),
        ("a%5cb.csv", 400),
        ("../nta.db", 404), // another path, of which there is none
    ] {
        let (status, _, body) = site.bytes(&format!("/api/analysis/download/{name}")).await;
        assert_eq!(status.as_u16(), expected, "{name}: {}", String::from_utf8_lossy(&body));
    }
    // Nor as what is scored or predicted.
    for (path, body, expected) in [
        ("/api/analysis/score", json!({ "capture": "../nta.db" }), 422),
        ("/api/analysis/score", json!({ "capture": "/etc/passwd" }), 422),
        ("/api/analysis/score", json!({ "capture": "0".repeat(32) }), 422),
        ("/api/analysis/score", json!({ "capture": "" }), 400),
        ("/api/analysis/score", json!({}), 400),
        ("/api/analysis/predict", json!({ "scored": "../nta.db" }), 400),
        ("/api/analysis/predict", json!({ "scored": "planted-1.csv" }), 422),
        ("/api/analysis/predict", json!({ "scored": "planted-1.csv", "model": "x" }), 400),
    ] {
        let (status, answer) = site.post(path, &body).await;
        assert_eq!(status.as_u16(), expected, "{path} {body}: {answer}");
    }
}

#[tokio::test]
async fn a_recording_is_scored_by_the_name_of_its_file() {
    let folder = tempfile::tempdir().expect("folder");
    let site = Site::over(sqlite(folder.path()).await, folder.path(), |_| {});
    let recordings = folder.path().join("nta.db.recordings");
    std::fs::create_dir(&recordings).expect("made");
    std::fs::write(recordings.join("eth0-0001.pcap"), scan()).expect("written");
    std::os::unix::fs::symlink("/etc/passwd", recordings.join("link.pcap")).expect("a link");
    let result = site.done("/api/analysis/score", &json!({ "capture": "eth0-0001.pcap" })).await;
    assert_eq!(result["capture"], "eth0-0001.pcap");
    assert!(result["scored"]["rows"].as_u64() > Some(0), "{result}");
    let (status, _) = site.post("/api/analysis/score", &json!({ "capture": "link.pcap" })).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_capture_that_is_cut_is_scored_as_far_as_it_goes_and_one_that_is_none_is_refused() {
    let folder = tempfile::tempdir().expect("folder");
    let site = Site::over(sqlite(folder.path()).await, folder.path(), |_| {});
    let recordings = folder.path().join("nta.db.recordings");
    std::fs::create_dir(&recordings).expect("made");
    let bytes = scan();
    std::fs::write(recordings.join("cut.pcap"), &bytes[..bytes.len() - 3]).expect("written");
    std::fs::write(recordings.join("text.pcap"), "no capture at all, but a text of some length").expect("written");
    let result = site.done("/api/analysis/score", &json!({ "capture": "cut.pcap" })).await;
    assert_eq!(result["is_whole"], false, "{result}");
    assert!(result["problem"].as_str().is_some_and(|problem| problem.contains("cut off at byte")), "{result}");
    let (status, refused) = site.post("/api/analysis/score", &json!({ "capture": "text.pcap" })).await;
    assert_eq!((status, &refused["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &"capture".into()), "{refused}");
    let text = refused.to_string();
    assert!(!text.contains(folder.path().to_str().expect("text")), "{text}");
}

#[tokio::test]
async fn files_beyond_the_quota_are_refused_and_none_is_listed() {
    let folder = tempfile::tempdir().expect("folder");
    let mut config = Config::default();
    config.uploads.folder = folder.path().join("captures").display().to_string();
    config.results.folder = folder.path().join("results").display().to_string();
    (config.uploads.keep_free_bytes, config.results.keep_free_bytes, config.results.quota_bytes) = (0, 0, 1000);
    let site = Site::with(sqlite(folder.path()).await, folder.path(), &config);
    let (_, answer) = site.upload(&scan()).await;
    let (status, refused) = site.post("/api/analysis/score", &json!({ "capture": answer["file_id"] })).await;
    assert_eq!(status, StatusCode::INSUFFICIENT_STORAGE, "{refused}");
    assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains("quota_bytes")), "{refused}");
    let (_, list) = site.get("/api/analysis/list-files").await;
    assert_eq!((&list["items"], &list["used_bytes"]), (&json!([]), &0.into()), "{list}");
    assert_eq!(std::fs::read_dir(folder.path().join("results")).expect("the folder").count(), 0);
}
