//! Captures that are sent: in one piece, in parts, packed, broken off, too large, and none at all.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use futures_util::StreamExt as _;
use nta_core::domain::{Mode, Status, Timestamp};
use nta_daemon::api::{ApiState, router};
use nta_daemon::config::{Config, UploadsConfig};
use nta_daemon::recording::RecordedFile;
use nta_daemon::store::{Run, Store, WindowBatch};
use nta_daemon::uploads::Uploads;
use serde_json::Value;
use tokio::sync::watch;
use tower::ServiceExt as _;

use crate::app::{HOST, flow, window};
use crate::postgres::Server;

/// The API over a store, with a folder for captures.
pub(crate) struct Site {
    pub(crate) router: Router,
    uploads: Uploads,
    store: Store,
    folder: PathBuf,
    _status: watch::Sender<Status>,
}

impl Site {
    pub(crate) fn over(store: Store, folder: &Path, change: impl FnOnce(&mut UploadsConfig)) -> Self {
        let mut config = Config::default();
        config.uploads.folder = folder.join("captures").display().to_string();
        config.uploads.keep_free_bytes = 0;
        config.results.folder = folder.join("results").display().to_string();
        config.results.keep_free_bytes = 0;
        change(&mut config.uploads);
        Self::with(store, folder, &config)
    }

    pub(crate) fn with(store: Store, folder: &Path, config: &Config) -> Self {
        let uploads = Uploads::new(&store, config);
        let (sender, status) = watch::channel(Status::default());
        let state = ApiState::new(store.clone(), status).with_uploads(uploads.clone());
        Self { router: router(state), uploads, store, folder: folder.join("captures"), _status: sender }
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Body,
    ) -> (StatusCode, HeaderMap, Value) {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, HOST);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(body).expect("request")).await.expect("response");
        let (status, headers) = (response.status(), response.headers().clone());
        let body = to_bytes(response.into_body(), usize::MAX).await.expect("body");
        (status, headers, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    pub(crate) async fn upload(&self, bytes: &[u8]) -> (StatusCode, Value) {
        let headers = [("content-type", "application/octet-stream")];
        let (status, _, answer) =
            self.send(Method::POST, "/api/upload?name=a.pcap", &headers, Body::from(bytes.to_vec())).await;
        (status, answer)
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        let (status, _, answer) = self.send(Method::GET, path, &[], Body::empty()).await;
        (status, answer)
    }

    /// What a path answers once it is as it should be.
    pub(crate) async fn until(&self, path: &str, is_so: impl Fn(StatusCode, &Value) -> bool) -> Value {
        let mut last = (StatusCode::OK, Value::Null);
        for _ in 0..6000 {
            last = self.get(path).await;
            if is_so(last.0, &last.1) {
                return last.1;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{path}: {last:?}")
    }

    pub(crate) async fn report(&self, answer: &Value) -> Value {
        let path = answer["report"].as_str().expect("a link").to_owned();
        self.until(&path, |status, _| status == StatusCode::OK).await
    }

    /// Names of the files that are kept.
    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }
}

pub(crate) async fn sqlite(folder: &Path) -> Store {
    Store::open(&format!("sqlite:{}", folder.join("nta.db").display())).await.expect("store")
}

/// A bundled capture of a port scan.
pub(crate) fn scan() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cases/port_scan-hit/input.pcap");
    std::fs::read(path).expect("the case")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("gzip");
    encoder.finish().expect("gzip")
}

/// Datagrams between two hosts, one a millisecond.
fn pcap(link_type: u32, frames: u32) -> Vec<u8> {
    let mut file: Vec<u8> = [0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, link_type].map(u32::to_le_bytes).concat();
    for n in 0..frames {
        let mut frame = vec![2; 12];
        frame.extend([8, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 198, 51, 100, 7]);
        frame.extend([3, 0xe8, 0, 53, 0, 8, 0, 0]);
        let len = frame.len() as u32;
        file.extend([1_700_000_000 + n / 1000, n % 1000 * 1000, len, len].map(u32::to_le_bytes).concat());
        file.extend(frame);
    }
    file
}

/// A download that broke off goes on where it stopped.
async fn parts_of_a_file(site: &Site, file_id: &str) {
    let path = format!("/api/captures/{file_id}/file");
    let ask = async |headers: &[(&str, &str)]| {
        let mut request = Request::get(&path).header(header::HOST, HOST);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response =
            site.router.clone().oneshot(request.body(Body::empty()).expect("request")).await.expect("response");
        let (status, headers) = (response.status(), response.headers().clone());
        (status, headers, to_bytes(response.into_body(), usize::MAX).await.expect("body"))
    };
    let (status, headers, whole) = ask(&[]).await;
    assert_eq!((status, &headers["accept-ranges"]), (StatusCode::OK, &"bytes".parse().expect("a value")));
    let tag = headers["etag"].to_str().expect("text").to_owned();
    let rest = [("range", "bytes=1000-"), ("if-range", tag.as_str()), ("accept-encoding", "gzip")];
    let (status, headers, part) = ask(&rest).await;
    assert_eq!((status, &part[..]), (StatusCode::PARTIAL_CONTENT, &whole[1000..]));
    let expected = format!("bytes 1000-{}/{}", whole.len() - 1, whole.len());
    assert_eq!(headers["content-range"], expected.as_str());
    assert!(!headers.contains_key("content-encoding"), "{headers:?}");
    let (status, _, other) = ask(&[("range", "bytes=1000-"), ("if-range", "\"another\"")]).await;
    assert_eq!((status, other.len()), (StatusCode::OK, whole.len()), "of another file it wants all");
    let (status, headers, problem) = ask(&[("range", "bytes=99999999-")]).await;
    assert_eq!(status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(headers["content-range"], format!("bytes */{}", whole.len()).as_str());
    assert_eq!(headers["content-type"], "application/problem+json", "{}", String::from_utf8_lossy(&problem));
}

/// Who watches the network sees nothing of a capture that was sent, whatever time it is of, unless it is asked for.
async fn live_lists_are_apart(site: &Site, file_id: &str) {
    let count = |page: &Value| page["items"].as_array().map(Vec::len);
    let lists = ["flows", "alltraffic", "alerts", "anomalies", "anomalies/top", "hosts", "metrics", "features"];
    for list in lists {
        let (_, page) = site.get(&format!("/api/{list}?from=0")).await;
        assert_eq!(count(&page), Some(0), "{list}: {page}");
        // The time is the capture's own.
        let (status, page) = site.get(&format!("/api/{list}?capture={file_id}")).await;
        assert!(status == StatusCode::OK && count(&page) > Some(0), "{list}: {page}");
        if list != "hosts" {
            assert!(page["from"].as_str().is_some_and(|from| from.starts_with("20")), "{list}: {page}");
        }
    }
    for (path, pointer) in [
        ("/api/last10", "/items/0"),
        ("/api/anomalies/by-type", "/by_type/port_scan"),
        ("/api/anomalies/summary", "/first"),
        ("/api/metrics/summary", "/bandwidth/mean_bps"),
    ] {
        for (query, is_there) in [(String::new(), false), (format!("?capture={file_id}"), true)] {
            let (_, answer) = site.get(&format!("{path}{query}")).await;
            assert_eq!(
                answer.pointer(pointer).is_some_and(|value| !value.is_null()),
                is_there,
                "{path}{query}: {answer}"
            );
        }
    }
    // What is asked about it without a time is asked about its end, which is years before the clock's.
    let (_, explained) = site.get(&format!("/api/explain?host=192.0.2.1&capture={file_id}")).await;
    let (_, windows) = site.get(&format!("/api/metrics?capture={file_id}")).await;
    let end = windows["items"][0]["end"].as_str().expect("the end of the newest window");
    let at = explained["at"].as_str().expect("a time");
    assert!(at <= end && explained["state"] == "kept", "to the microsecond the last instant before {end}: {explained}");
    assert_eq!(explained["windows"][0]["end"], end, "{explained}");
    // An alert's packets are those of its capture.
    let (_, alerts) = site.get(&format!("/api/alerts?capture={file_id}")).await;
    let evidence = format!("/api/alerts/{}/evidence.pcap", alerts["items"][0]["id"].as_str().expect("an alert"));
    let (status, headers, problem) = site.send(Method::GET, &evidence, &[], Body::empty()).await;
    assert_eq!((status, &headers["nta-cut"]), (StatusCode::OK, &"false".parse().expect("a value")), "{problem}");

    // A sensor's own rows of the same time.
    let run = Run {
        started: Timestamp::from_nanos(1),
        mode: Mode::Live,
        source: "eth0".to_owned(),
        version: "0".to_owned(),
        sensor: "gw".to_owned(),
        uuid: Run::new_uuid(Timestamp::from_nanos(1)),
        analysis: None,
    };
    let (writer, _task) = site.store.writer(site.store.begin_run(&run).await.expect("run"), 4);
    let batch = WindowBatch { window: Some(window(1)), flows: vec![flow(77)], ..WindowBatch::default() };
    writer.send(batch).await.expect("send");
    writer.flush().await.expect("flush");
    for list in ["flows?from=0", "alltraffic?from=0", "last10", "hosts", "metrics?span=5&from=0"] {
        let (_, page) = site.get(&format!("/api/{list}")).await;
        let items = page["items"].as_array().expect("items");
        assert!(!items.is_empty() && items.iter().all(|row| row["sensor"] == "gw"), "{list}: {page}");
    }
    let unknown = "0".repeat(32);
    for query in [format!("capture={unknown}"), format!("capture={file_id}&sensor=gw"), "capture=../x".to_owned()] {
        for list in lists {
            let (status, problem) = site.get(&format!("/api/{list}?{query}")).await;
            assert_eq!((status, &problem["field"]), (StatusCode::BAD_REQUEST, &"capture".into()), "{list}?{query}");
        }
    }
}

/// The whole way of a capture: sent, analysed, reported, known again, deleted.
async fn a_capture_from_its_first_byte_to_its_last_row(store: Store) {
    let folder = tempfile::tempdir().expect("folder");
    let site = Site::over(store, folder.path(), |_| {});
    let bytes = scan();
    let (status, answer) = site.upload(&bytes).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    let file_id = answer["file_id"].as_str().expect("a name").to_owned();
    assert_eq!((&answer["is_duplicate"], &answer["bytes"]), (&false.into(), &bytes.len().into()));

    let report = site.report(&answer).await;
    assert_eq!((&report["read"]["end"], &report["sha256"]), (&"complete".into(), &answer["sha256"]), "{report}");
    assert_eq!((&report["name"], &report["file_id"]), (&"a.pcap".into(), &file_id.as_str().into()));
    assert_eq!(report["threats"][0]["type"], "port_scan", "{}", report["threats"]);
    let source = &report["suspicious_addresses"][0];
    assert_eq!(source["address"], report["threats"][0]["source"], "{source}");
    assert!(source["reasons"][0]["summary"].as_str().is_some_and(|text| !text.is_empty()));
    assert_eq!(report["recommendations"][0]["type"], "port_scan");
    let state = site.until(&format!("/analysis/{file_id}"), |_, status| status["state"] == "complete").await;
    assert_eq!((&state["percent"], &state["report"]), (&100.0.into(), &format!("/report/{file_id}").into()));
    site.until(&format!("/api/captures/{file_id}"), |_, capture| capture["state"] == "analysed").await;

    // As a page: one style, named by its hash, and nothing that a capture could smuggle in.
    let page = Request::get(format!("/report/{file_id}")).header(header::HOST, HOST);
    let page = page.header(header::ACCEPT, "text/html,application/xhtml+xml,*/*;q=0.8").body(Body::empty());
    let page = site.router.clone().oneshot(page.expect("request")).await.expect("response");
    assert_eq!(page.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
    let policy = page.headers()[header::CONTENT_SECURITY_POLICY].to_str().expect("text").to_owned();
    let html = to_bytes(page.into_body(), usize::MAX).await.expect("body");
    let html = String::from_utf8_lossy(&html);
    let style = html.split("<style>").nth(1).and_then(|rest| rest.split("</style>").next()).expect("a style");
    let hash = base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        sha2::Digest::finalize(sha2::Digest::chain_update(<sha2::Sha256 as sha2::Digest>::new(), style)),
    );
    assert!(
        policy.contains(&format!("style-src 'sha256-{hash}'")) && policy.starts_with("default-src 'none'"),
        "{policy}"
    );
    assert!(!html.contains("<script") && !html.contains(" style=") && !html.contains("src="), "{html}");
    assert!(html.matches("<svg").count() >= 3 && html.contains("port_scan"), "{html}");
    assert!(html.contains("/api/flows?capture="), "{html}");

    for (query, media_type) in [("format=html", "text/html; charset=utf-8"), ("format=json", "application/json")] {
        let accept = [("accept", "text/html")];
        let path = format!("/reports/{file_id}?{query}");
        let (status, headers, _) = site.send(Method::GET, &path, &accept, Body::empty()).await;
        assert_eq!(
            (status, &headers["content-type"]),
            (StatusCode::OK, &media_type.parse().expect("a value")),
            "{path}"
        );
    }
    let (status, refused) = site.get(&format!("/report/{file_id}?format=pdf")).await;
    assert_eq!((status, &refused["field"]), (StatusCode::BAD_REQUEST, &"format".into()), "{refused}");
    assert!(refused["detail"].as_str().is_some_and(|said| said.contains("json") && said.contains("html")), "{refused}");
    parts_of_a_file(&site, &file_id).await;

    live_lists_are_apart(&site, &file_id).await;

    // Every number has the rows that it is made of behind its link.
    let link = report["totals"]["flows_link"].as_str().expect("a link");
    let (mut flows, mut next) = (0, format!("{link}&limit=1000"));
    loop {
        let (status, page) = site.get(&next).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        flows += page["items"].as_array().expect("items").len() as u64;
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        next = format!("{link}&limit=1000&cursor={cursor}");
    }
    assert_eq!(report["totals"]["flows"], flows, "as many as the report says");
    for pointer in [
        "/time_span/link",
        "/totals/hosts_link",
        "/totals/alerts_link",
        "/hosts/0/link",
        "/conversations/0/link",
        "/protocols/0/link",
        "/services/0/link",
        "/over_time/link",
        "/suspicious_addresses/0/link",
        "/suspicious_addresses/0/reasons/0/link",
        "/threats/0/link",
        "/threats/0/flows_link",
        "/recommendations/0/link",
    ] {
        let link = report.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer}: {report}"));
        let (status, page) = site.get(link).await;
        assert_eq!(status, StatusCode::OK, "{pointer} {link}: {page}");
        assert!(
            page.get("items").is_none_or(|items| items.as_array().is_some_and(|items| !items.is_empty())),
            "{link}"
        );
    }
    let over_time = report["over_time"]["protocols"].as_array().expect("series");
    let in_series: u64 =
        over_time.iter().flat_map(|s| s["bytes"].as_array().expect("bytes")).filter_map(Value::as_u64).sum();
    let in_protocols: u64 =
        report["protocols"].as_array().expect("protocols").iter().filter_map(|part| part["bytes"].as_u64()).sum();
    assert_eq!(in_series, in_protocols, "no byte is lost over time");

    // The same bytes again, however they come.
    let packed = gzip(&bytes);
    let encoded = [("content-type", "application/octet-stream"), ("content-encoding", "gzip")];
    let form = [
        &b"--xyz\r\nContent-Disposition: form-data; name=\"file\"; filename=\"../../etc/passwd\"\r\n\r\n"[..],
        &bytes,
        b"\r\n--xyz--\r\n",
    ]
    .concat();
    let multipart = [("content-type", "multipart/form-data; boundary=xyz")];
    for (path, headers, body) in
        [("/api/upload", &[][..], bytes.clone()), ("/upload", &encoded[..], packed), ("/upload", &multipart[..], form)]
    {
        let (status, _, again) = site.send(Method::POST, path, headers, Body::from(body)).await;
        assert_eq!((status, &again["file_id"]), (StatusCode::OK, &answer["file_id"]), "{again}");
        assert_eq!((&again["is_duplicate"], &again["sha256"]), (&true.into(), &answer["sha256"]));
    }
    let (_, list) = site.get("/api/captures").await;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1), "{list}");
    assert_eq!((&list["used_bytes"], site.files()), (&bytes.len().into(), vec![file_id.clone()]));
    let (_, stats) = site.get("/stats").await;
    assert_eq!((&stats["captures"]["captures"], &stats["captures"]["flows"]), (&1.into(), &flows.into()));
    assert_eq!((&stats["captures"]["received"], &stats["captures"]["duplicates"]), (&4.into(), &3.into()), "{stats}");

    let capture = format!("/api/captures/{file_id}");
    let (status, ..) = site.send(Method::DELETE, &capture, &[], Body::empty()).await;
    assert_eq!((status, site.files()), (StatusCode::NO_CONTENT, vec![]));
    for path in [capture, format!("/report/{file_id}"), format!("/reports/{file_id}"), format!("/analysis/{file_id}")] {
        assert_eq!(site.get(&path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    for list in ["flows", "alerts", "hosts", "metrics"] {
        let path = format!("/api/{list}?sensor=capture-{file_id}&from=0");
        site.until(&path, |status, page| status == StatusCode::OK && page["items"] == serde_json::json!([])).await;
    }
    site.uploads.stop().await;
    site.store.close().await;
}

#[tokio::test]
async fn a_capture_from_its_first_byte_to_its_last_row_on_sqlite() {
    let folder = tempfile::tempdir().expect("folder");
    a_capture_from_its_first_byte_to_its_last_row(sqlite(folder.path()).await).await;
}

#[tokio::test]
async fn a_capture_from_its_first_byte_to_its_last_row_on_postgresql() {
    let Some(server) = Server::start("a_capture_from_its_first_byte_to_its_last_row_on_postgresql") else { return };
    a_capture_from_its_first_byte_to_its_last_row(server.open().await).await;
}

/// Recordings that an earlier process left, and one that ends now, are captures like those that are sent.
#[tokio::test]
async fn recordings_are_captures() {
    let folder = tempfile::tempdir().expect("folder");
    let recordings = folder.path().join("nta.db.recordings");
    std::fs::create_dir(&recordings).expect("folder");
    std::fs::write(recordings.join("left-0001.pcap"), scan()).expect("written");
    // Without packets, and no recording.
    std::fs::write(recordings.join("left-0002.pcap"), &scan()[..24]).expect("written");
    std::fs::write(recordings.join("notes.txt"), "not one of them, and longer than a header").expect("written");
    let site = Site::over(sqlite(folder.path()).await, folder.path(), |_| {});
    tokio::spawn(site.uploads.clone().keep());
    let count = |page: &Value| page["items"].as_array().map(Vec::len);
    let list = site.until("/api/captures", |_, page| count(page) == Some(1)).await;
    let left = &list["items"][0];
    let expected = ["left-0001.pcap", "recording", "recorded"].map(Value::from);
    assert_eq!(["name", "origin", "state"].map(|name| left[name].clone()), expected, "{list}");
    assert_eq!((&left["bytes"], &list["used_bytes"]), (&scan().len().into(), &0.into()), "{list}");
    assert_eq!(list["recordings"]["used_bytes"], scan().len() + 24, "{list}");
    assert!(left["expires"].is_string(), "{list}");

    std::fs::write(recordings.join("now-0001.pcap"), pcap(1, 100)).expect("written");
    let file = |name: &str, packets: u64| RecordedFile {
        name: name.to_owned(),
        bytes: 0,
        packets,
        times: Some([1_700_000_000_000_000_000, 1_700_000_000_099_000_000]),
    };
    let ended = [file("now-0001.pcap", 100), file("left-0002.pcap", 0)];
    let adopted = site.uploads.adopt(&ended).await.expect("adopted");
    assert_eq!((adopted.len(), adopted[0].0.as_str()), (1, "now-0001.pcap"));
    assert_eq!(site.uploads.adopt(&ended).await.expect("known"), adopted, "once");
    let file_id = &adopted[0].1;
    // The same bytes, sent: they are here already.
    let (status, again) = site.upload(&pcap(1, 100)).await;
    assert_eq!((status, &again["file_id"]), (StatusCode::OK, &file_id.as_str().into()), "{again}");

    let (status, problem) = site.get(&format!("/report/{file_id}")).await;
    assert_eq!(status, StatusCode::CONFLICT, "{problem}");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("/analysis/")), "{problem}");
    let (_, _, state) = site.send(Method::GET, &format!("/analysis/{file_id}"), &[], Body::empty()).await;
    assert!(["queued", "running", "complete"].contains(&state["state"].as_str().expect("a state")), "{state}");
    let report = site.until(&format!("/report/{file_id}"), |status, _| status == StatusCode::OK).await;
    assert_eq!((&report["totals"]["packets"], &report["sha256"]), (&100.into(), &again["sha256"]), "{report}");
    site.until(&format!("/api/captures/{file_id}"), |_, capture| capture["state"] == "analysed").await;
    let request = Request::get(format!("/api/captures/{file_id}/file")).header(header::HOST, HOST).body(Body::empty());
    let response = site.router.clone().oneshot(request.expect("request")).await.expect("response");
    let tag = response.headers()[header::ETAG].to_str().expect("a tag").to_owned();
    assert_eq!(tag, format!("\"{}\"", again["sha256"].as_str().expect("a hash")));
    assert_eq!(to_bytes(response.into_body(), usize::MAX).await.expect("body"), pcap(1, 100));

    let (status, ..) = site.send(Method::DELETE, &format!("/api/captures/{file_id}"), &[], Body::empty()).await;
    assert_eq!((status, recordings.join("now-0001.pcap").exists()), (StatusCode::NO_CONTENT, false));
    let (_, list) = site.get("/api/captures").await;
    assert_eq!((count(&list), site.files().len()), (Some(1), 0), "{list}");
    site.uploads.stop().await;
}

/// Parts, over a restart in the middle.
async fn parts(store: Store) {
    let folder = tempfile::tempdir().expect("folder");
    let site = Site::over(store.clone(), folder.path(), |_| {});
    let bytes = pcap(1, 3000);
    let length = bytes.len().to_string();
    let (status, headers, announced) =
        site.send(Method::POST, "/api/upload", &[("upload-length", &length)], Body::empty()).await;
    assert_eq!(status, StatusCode::CREATED, "{announced}");
    let location = headers[header::LOCATION].to_str().expect("a path").to_owned();
    let offset = async |site: &Site| {
        let (status, headers, _) = site.send(Method::HEAD, &location, &[], Body::empty()).await;
        assert_eq!((status, headers["upload-length"].to_str().ok()), (StatusCode::OK, Some(length.as_str())));
        headers["upload-offset"].to_str().expect("a number").to_owned()
    };
    assert_eq!(offset(&site).await, "0");
    // Three bytes are less than the head of a capture.
    let (status, headers, _) =
        site.send(Method::PATCH, &location, &[("upload-offset", "0")], Body::from(bytes[..3].to_vec())).await;
    assert_eq!((status, headers["upload-offset"].to_str().ok()), (StatusCode::ACCEPTED, Some("3")));
    // One that breaks off stays as far as it came.
    let broken =
        futures_util::stream::iter([Ok(Bytes::from(bytes[3..50_000].to_vec())), Err(std::io::Error::other("gone"))]);
    let (status, ..) = site.send(Method::PATCH, &location, &[("upload-offset", "3")], Body::from_stream(broken)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let had: usize = offset(&site).await.parse().expect("a number");
    assert!((3..=50_000).contains(&had), "{had}");
    let wrong = (had + 1).to_string();
    let (status, headers, problem) =
        site.send(Method::PATCH, &location, &[("upload-offset", &wrong)], Body::from(vec![0; 5])).await;
    assert_eq!((status, &problem["field"]), (StatusCode::CONFLICT, &"Upload-Offset".into()), "{problem}");
    assert_eq!(headers["upload-offset"], had.to_string());

    // Another daemon on the same database and folder goes on.
    site.uploads.stop().await;
    drop(site);
    let site = Site::over(store, folder.path(), |_| {});
    let keeper = tokio::spawn(site.uploads.clone().keep());
    assert_eq!(offset(&site).await, had.to_string());
    let rest = Body::from(bytes[had..].to_vec());
    let (status, _, whole) = site.send(Method::PATCH, &location, &[("upload-offset", &had.to_string())], rest).await;
    assert_eq!((status, &whole["bytes"]), (StatusCode::CREATED, &bytes.len().into()), "{whole}");
    let report = site.report(&whole).await;
    assert_eq!((&report["totals"]["packets"], &report["read"]["end"]), (&3000.into(), &"complete".into()), "{report}");
    let (status, _, problem) =
        site.send(Method::PATCH, &location, &[("upload-offset", &length)], Body::from(vec![0; 5])).await;
    assert_eq!(status, StatusCode::CONFLICT, "{problem}");

    // What is known is known when it comes in parts, too.
    let (_, headers, _) = site.send(Method::POST, "/upload", &[("upload-length", &length)], Body::empty()).await;
    let location = headers[header::LOCATION].to_str().expect("a path").to_owned();
    let (status, _, again) =
        site.send(Method::PATCH, &location, &[("upload-offset", "0")], Body::from(bytes.clone())).await;
    assert_eq!((status, &again["file_id"]), (StatusCode::OK, &whole["file_id"]), "{again}");
    // More than was announced.
    let (_, headers, _) = site.send(Method::POST, "/upload", &[("upload-length", "100")], Body::empty()).await;
    let location = headers[header::LOCATION].to_str().expect("a path").to_owned();
    let (status, ..) = site.send(Method::PATCH, &location, &[("upload-offset", "0")], Body::from(bytes)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    site.uploads.stop().await;
    keeper.await.expect("it ends");
}

#[tokio::test]
async fn parts_over_a_restart_on_sqlite() {
    let folder = tempfile::tempdir().expect("folder");
    parts(sqlite(folder.path()).await).await;
}

#[tokio::test]
async fn parts_over_a_restart_on_postgresql() {
    let Some(server) = Server::start("parts_over_a_restart_on_postgresql") else { return };
    parts(server.open().await).await;
}

#[tokio::test]
async fn what_is_no_capture_or_too_much_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("folder");
    let site = Site::over(sqlite(folder.path()).await, folder.path(), |config| {
        config.max_bytes = 1 << 20;
        config.quota_bytes = 3 << 19;
        config.idle_s = 1;
    });
    let raw = [("content-type", "application/octet-stream")];
    let gz = [raw[0], ("content-encoding", "gzip")];
    let bomb = gzip(&[pcap(1, 1), vec![0; 200 << 20]].concat());
    let cut = gzip(&pcap(1, 2000));
    let form = |body: &'static str| Body::from(body);
    let multipart = [("content-type", "multipart/form-data; boundary=x")];
    for (headers, body, status, said) in [
        (&raw[..], Body::from("hello, world"), 415, "text"),
        (&raw[..], Body::from(&b"\x89PNG\r\n\x1a\n0000"[..]), 415, "a PNG image"),
        (&raw[..], Body::from("{\"a\": 1}"), 415, "JSON"),
        (&raw[..], Body::empty(), 415, "the body is empty"),
        (&raw[..], Body::from(pcap(1, 30_000)), 413, "max_bytes"),
        (&gz[..], Body::from(bomb), 413, "max_bytes"),
        (&gz[..], Body::from(cut[..cut.len() / 2].to_vec()), 400, "unpacked"),
        (&gz[..], Body::from(pcap(1, 100)), 400, "unpacked"),
        (&[raw[0], ("content-encoding", "br")][..], Body::empty(), 415, "gzip, zstd"),
        (&[("content-type", "application/json")][..], Body::from("{}"), 415, "application/octet-stream"),
        (
            &[("content-type", "application/x-www-form-urlencoded")][..],
            Body::from("a"),
            415,
            "application/octet-stream",
        ),
        (&[("upload-length", "-1")][..], Body::empty(), 400, "not negative"),
        (&[("upload-length", "0")][..], Body::empty(), 400, "at least 1"),
        (&[("upload-length", "99999999")][..], Body::empty(), 413, "99999999"),
        (&[("upload-length", "99999999")][..], Body::empty(), 413, "bytes that `[uploads] max_bytes` allows"),
        (&multipart[..], form("--x--\r\n"), 400, "no file"),
        (&multipart[..], form("no form at all"), 400, "no form"),
        (
            &multipart[..],
            form("--x\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\nhello, world\r\n--x--\r\n"),
            415,
            "text",
        ),
        (&[("content-type", "multipart/form-data")][..], form("x"), 400, "no form"),
    ] {
        let (got, _, problem) = site.send(Method::POST, "/api/upload", headers, body).await;
        assert_eq!(got.as_u16(), status, "{said}: {problem}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(said)), "{said}: {problem}");
        if status == 413 {
            let field = if headers[0].0 == "upload-length" { "Upload-Length" } else { "body" };
            assert_eq!(problem["field"], field, "{problem}");
        }
    }
    // It is refused before it has come: nobody would read the rest.
    let endless = futures_util::stream::iter([Ok(Bytes::from(vec![b'a'; 2000]))])
        .chain(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
    let (status, ..) = site.send(Method::POST, "/api/upload", &raw, Body::from_stream(endless)).await;
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    // Who says nothing more is not waited for.
    let silent = futures_util::stream::iter([Ok(Bytes::from(pcap(1, 100)))])
        .chain(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
    let (status, _, problem) = site.send(Method::POST, "/api/upload", &raw, Body::from_stream(silent)).await;
    assert_eq!(status, StatusCode::REQUEST_TIMEOUT, "{problem}");
    assert_eq!((site.files(), site.uploads.used_bytes()), (vec![], 0), "nothing of it is left");

    let (status, _) = site.upload(&pcap(1, 15_000)).await;
    assert_eq!(status, StatusCode::CREATED);
    let (status, problem) = site.upload(&pcap(1, 14_999)).await;
    assert_eq!(status, StatusCode::INSUFFICIENT_STORAGE, "{problem}");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("quota_bytes")), "{problem}");
    assert_eq!(site.files().len(), 1);
    site.uploads.stop().await;
}

#[tokio::test]
async fn a_capture_that_is_not_whole_has_a_report_that_says_so() {
    let folder = tempfile::tempdir().expect("folder");
    let site = Site::over(sqlite(folder.path()).await, folder.path(), |_| {});
    let whole = pcap(1, 1000);
    let mut corrupt = whole.clone();
    // The length of the 501st record.
    corrupt[24 + 500 * 58 + 8..][..4].fill(0xff);
    let odd = [&pcap(1, 4)[..24 + 2 * 58], &{
        let mut frame = pcap(1, 1)[24..].to_vec();
        frame[16 + 26..16 + 30].copy_from_slice(&[224, 0, 0, 1]);
        frame
    }]
    .concat();
    for (bytes, end, packets, analysed) in [
        (&whole[..whole.len() - 7], "cut_off", 999, 999),
        (&corrupt[..], "corrupt", 500, 500),
        (&pcap(147, 50)[..], "complete", 50, 0),
        (&whole[..20], "unreadable", 0, 0),
        (&odd[..], "complete", 3, 3),
    ] {
        let (status, answer) = site.upload(bytes).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        let report = site.report(&answer).await;
        let read = &report["read"];
        assert_eq!((&read["end"], &read["packets"]), (&end.into(), &packets.into()), "{read}");
        assert_eq!(read["analysed_packets"], analysed, "{read}");
        assert_eq!(read["detail"].is_null(), end == "complete", "{read}");
        let skipped: u64 = read["skipped"].as_object().expect("reasons").values().filter_map(Value::as_u64).sum();
        assert_eq!(skipped, packets - analysed, "{read}");
        let unusual = &report["unusual_packets"];
        if bytes == odd {
            assert_eq!(
                (&unusual[0]["kind"], &unusual[0]["frames"][0]["number"]),
                (&"impossible_source".into(), &3.into())
            );
            assert_eq!(unusual[0]["wireshark"], "frame.number in {3}");
        } else {
            assert_eq!(unusual, &serde_json::json!([]));
        }
    }
    site.uploads.stop().await;
}

/// What was whole when a daemon was killed is analysed by the next one, and what was found before is not there twice.
#[tokio::test]
async fn the_next_start_analyses_what_was_whole_and_deletes_files_of_nobody() {
    let folder = tempfile::tempdir().expect("folder");
    let store = sqlite(folder.path()).await;
    // No place to analyse anything: as if it had been killed before.
    let site = Site::over(store.clone(), folder.path(), |_| {});
    site.uploads.stop().await;
    drop(site);
    let site = Site::over(store.clone(), folder.path(), |_| {});
    let (_, answer) = site.upload(&pcap(1, 700)).await;
    site.uploads.stop().await;
    let stray = site.folder.join("0123456789abcdef0123456789abcdef");
    let foreign = site.folder.join("notes.txt");
    for path in [&stray, &foreign] {
        std::fs::write(path, b"x").expect("written");
    }
    drop(site);
    let site = Site::over(store, folder.path(), |_| {});
    let keeper = tokio::spawn(site.uploads.clone().keep());
    let report = site.report(&answer).await;
    assert_eq!((&report["totals"]["packets"], &report["totals"]["flows"]), (&700.into(), &1.into()));
    let path = answer["capture"].as_str().expect("a path");
    site.until(path, |_, capture| capture["state"] == "analysed").await;
    let (_, flows) = site.get(report["totals"]["flows_link"].as_str().expect("a link")).await;
    assert_eq!(flows["items"].as_array().map(Vec::len), Some(1), "{flows}");
    for _ in 0..6000 {
        if !stray.exists() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!stray.exists() && foreign.exists(), "only what has a name of ours goes");
    site.uploads.stop().await;
    keeper.await.expect("it ends");
}

#[tokio::test]
async fn slow_uploads_leave_the_api_free_and_one_too_many_is_told_to_come_back() {
    let folder = tempfile::tempdir().expect("folder");
    let site = Site::over(sqlite(folder.path()).await, folder.path(), |config| config.at_once = 2);
    let (begun, mut has_begun) = tokio::sync::mpsc::channel::<()>(2);
    let slow: Vec<_> = (0..2)
        .map(|_| {
            let begun = begun.clone();
            let first = Ok::<_, std::io::Error>(Bytes::from(pcap(1, 100)));
            let rest = futures_util::stream::once(async move {
                begun.send(()).await.expect("the test waits");
                std::future::pending().await
            });
            let body = Body::from_stream(futures_util::stream::iter([first]).chain(rest));
            let request = Request::post("/api/upload").header(header::HOST, HOST).body(body).expect("request");
            tokio::spawn(site.router.clone().oneshot(request))
        })
        .collect();
    for _ in 0..2 {
        has_begun.recv().await.expect("it begins");
    }
    let (status, list) = site.get("/api/captures").await;
    assert_eq!((status, list["items"].as_array().map(Vec::len)), (StatusCode::OK, Some(2)), "{list}");
    assert!(list["items"].as_array().is_some_and(|items| items.iter().all(|item| item["state"] == "receiving")));
    let (status, headers, _) = site.send(Method::POST, "/api/upload", &[], Body::from(pcap(1, 3))).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(headers.contains_key(header::RETRY_AFTER));
    // Clients that go away leave nothing.
    slow.iter().for_each(tokio::task::JoinHandle::abort);
    for gone in slow {
        assert!(gone.await.is_err_and(|end| end.is_cancelled()));
    }
    site.until("/api/captures", |_, list| list["items"] == serde_json::json!([])).await;
    assert_eq!((site.files(), site.uploads.used_bytes()), (vec![], 0));
    let (status, _) = site.upload(&pcap(1, 3)).await;
    assert_eq!(status, StatusCode::CREATED);
    site.uploads.stop().await;
}
