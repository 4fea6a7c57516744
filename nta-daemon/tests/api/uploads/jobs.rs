//! Analyses as jobs: how far they are, how they are cancelled, and how the next daemon goes on with them.

use axum::body::{Body, Bytes};
use axum::http::{Method, Request, StatusCode, header};
use futures_util::StreamExt as _;
use nta_core::domain::{Mode, Status, Timestamp};
use nta_daemon::api::{ApiState, router};
use nta_daemon::config::Config;
use nta_daemon::jobs::{Jobs, KINDS, Tools};
use nta_daemon::store::{JobOwner, NewJob, Run, Store, Upload, UploadState, UploadTotals};
use nta_daemon::uploads::Uploads;
use serde_json::Value;
use tokio::sync::watch;
use tower::ServiceExt as _;

use super::{Site, pcap, scan, sqlite};
use crate::app::HOST;
use crate::postgres::Server;

#[tokio::test]
async fn the_analysis_of_an_upload_is_a_job() {
    let folder = tempfile::tempdir().expect("folder");
    let site = Site::over(sqlite(folder.path()).await, folder.path(), |_| {});
    let (_, answer) = site.upload(&scan()).await;
    let path = format!("/api/jobs/{}", answer["job"].as_str().expect("a job"));
    let job = site.until(&path, |_, job| job["ended"].is_string()).await;
    assert_eq!((&job["kind"], &job["state"]), (&"analyse".into(), &"done".into()), "{job}");
    // As many as `capinfos -c` counts.
    assert_eq!((&job["progress"]["percent"], &job["progress"]["packets"]), (&100.0.into(), &81.into()), "{job}");
    assert_eq!(
        (&job["request"]["file_id"], &job["result"]["report"]),
        (&answer["file_id"], &answer["report"]),
        "{job}"
    );
    let (_, list) = site.get("/api/jobs?kind=analyse").await;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1), "{list}");
    // Who follows the stream learns it.
    let mut events = Vec::new();
    for _ in 0..500 {
        events = site.store.events_after(0, 1000).await.expect("events");
        // A job shows its end before the event of it is stored.
        if events.iter().any(|event| event.kind == "job_ended") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    for (kind, key, value) in [
        ("upload_received", "file_id", &answer["file_id"]),
        ("job_begun", "id", &answer["job"]),
        ("job_ended", "id", &answer["job"]),
    ] {
        let of = events.iter().filter(|event| event.kind == kind).map(|event| event.body.as_str());
        let bodies: Vec<Value> = of.map(|body| serde_json::from_str(body).expect("JSON")).collect();
        assert!(bodies.len() == 1 && bodies[0][key] == *value, "{kind}: {bodies:?}");
    }
    // What is known needs none.
    let (_, again) = site.upload(&scan()).await;
    assert_eq!((&again["is_duplicate"], &again["job"]), (&true.into(), &Value::Null), "{again}");
    site.uploads.stop().await;
}

/// A body whose end comes when the test says so.
fn in_two(bytes: &[u8], at: usize) -> (Body, tokio::sync::oneshot::Sender<()>) {
    let (go_on, told) = tokio::sync::oneshot::channel();
    let [first, rest] = [&bytes[..at], &bytes[at..]].map(Bytes::copy_from_slice);
    let rest = futures_util::stream::once(async move {
        told.await.map_err(std::io::Error::other)?;
        Ok::<_, std::io::Error>(rest)
    });
    (Body::from_stream(futures_util::stream::iter([Ok(first)]).chain(rest)), go_on)
}

/// Sends a capture whose second half comes when the test says so.
fn sent_in_two(site: &Site, bytes: &[u8]) -> (Sent, tokio::sync::oneshot::Sender<()>) {
    let (body, go_on) = in_two(bytes, bytes.len() / 2);
    let request = Request::post("/api/upload").header(header::HOST, HOST).body(body).expect("request");
    (tokio::spawn(site.router.clone().oneshot(request)), go_on)
}

/// A request that is under way.
type Sent = tokio::task::JoinHandle<Result<axum::response::Response, std::convert::Infallible>>;

#[tokio::test]
async fn an_analysis_is_cancelled_while_its_capture_comes_and_begun_anew() {
    let folder = tempfile::tempdir().expect("folder");
    let site = Site::over(sqlite(folder.path()).await, folder.path(), |_| {});
    let bytes = pcap(1, 3000);
    let (upload, go_on) = sent_in_two(&site, &bytes);
    let jobs = "/api/jobs?kind=analyse&state=running";
    let list = site.until(jobs, |_, list| list["items"][0]["id"].is_string()).await;
    let job = format!("/api/jobs/{}", list["items"][0]["id"].as_str().expect("an id"));
    let (status, _, answer) = site.send(Method::POST, &format!("{job}/cancel"), &[], Body::empty()).await;
    assert!(status.is_success(), "{status} {answer}");
    site.until(&job, |_, job| job["state"] == "cancelled").await;
    // The capture comes to its end all the same.
    go_on.send(()).expect("it waits");
    let response = upload.await.expect("no panic").expect("response");
    assert_eq!(response.status(), StatusCode::CREATED);
    let list = site.until("/api/captures", |_, list| list["items"][0]["state"] == "failed").await;
    let capture = &list["items"][0];
    assert!(capture["problem"].as_str().is_some_and(|problem| problem.contains("cancelled")), "{capture}");
    assert_eq!(capture["bytes"], bytes.len(), "{capture}");
    let analysis = capture["analysis"].as_str().expect("a path");
    site.until(analysis, |_, status| status["state"] == "complete").await;
    let report = site.report(capture).await;
    assert_eq!(report["totals"]["packets"], 3000, "{report}");
    site.uploads.stop().await;
}

/// A start looks at what an earlier run left while it serves already: what is sent then is nobody's rest.
#[tokio::test]
async fn what_is_sent_while_a_start_recovers_stays() {
    let folder = tempfile::tempdir().expect("folder");
    let site = Site::over(sqlite(folder.path()).await, folder.path(), |_| {});
    let bytes = pcap(1, 3000);
    let (upload, go_on) = sent_in_two(&site, &bytes);
    let captures = "/api/captures";
    site.until(captures, |_, list| list["items"][0]["state"] == "receiving").await;
    let stray = site.folder.join("0123456789abcdef0123456789abcdef");
    std::fs::write(&stray, b"x").expect("written");
    let keeper = tokio::spawn(site.uploads.clone().keep());
    // The last thing that it does.
    site.until(captures, |_, _| !stray.exists()).await;
    go_on.send(()).expect("it waits");
    let response = upload.await.expect("no panic").expect("response");
    assert_eq!(response.status(), StatusCode::CREATED);
    let list = site.until(captures, |_, list| list["items"][0]["state"] == "analysed").await;
    let report = site.report(&list["items"][0]).await;
    assert_eq!((&report["totals"]["packets"], &report["read"]["end"]), (&3000.into(), &"complete".into()), "{report}");
    let flows = report["totals"]["flows_link"].as_str().expect("a link").to_owned();
    site.until(&flows, |_, list| list["items"].as_array().map(Vec::len) == Some(1)).await;
    site.uploads.stop().await;
    keeper.await.expect("it ends");
}

/// What a daemon that was killed has left: a capture that is whole, and the job that was to analyse it.
async fn left(store: Store) {
    let folder = tempfile::tempdir().expect("folder");
    let (file_id, bytes, now) = ("0123456789abcdef0123456789abcdef", pcap(1, 700), Timestamp::from_nanos(1));
    let upload = Upload {
        file_id: file_id.to_owned(),
        name: String::new(),
        state: UploadState::Receiving,
        bytes: 0,
        length: None,
        sha256: None,
        head: None,
        added: now,
        changed: now,
        run: None,
        totals: UploadTotals::default(),
        problem: None,
        recorded: None,
        span: None,
    };
    store.insert_upload(&upload).await.expect("noted");
    let same = store.identify_upload(file_id, (&"5a".repeat(32), bytes.len() as u64), now).await.expect("noted");
    assert_eq!(same, None);
    std::fs::create_dir(folder.path().join("captures")).expect("folder");
    std::fs::write(folder.path().join("captures").join(file_id), bytes).expect("written");
    let run = || Run::new_uuid(Timestamp::from_nanos(1));
    let dead = JobOwner { sensor: "gw".to_owned(), mode: Mode::Live, run: run() };
    let id = "01890000-0000-7000-8000-000000000001".to_owned();
    let row = NewJob {
        id: id.clone(),
        kind: "analyse".to_owned(),
        who: "ada".to_owned(),
        request: serde_json::json!({ "file_id": file_id }).to_string(),
        key: None,
        created: Timestamp::from_nanos(1),
    };
    store.insert_job(&dead, &row).await.expect("insert");
    store.begin_job(&id, Timestamp::from_nanos(2)).await.expect("begin");

    // What was found goes with captures that are too old, as this one is.
    let mut config = Config::default();
    config.uploads.folder = folder.path().join("captures").display().to_string();
    (config.uploads.keep_free_bytes, config.uploads.keep_days) = (0, 0);
    let uploads = Uploads::new(&store, &config);
    let (sender, status) = watch::channel(Status { mode: Mode::Live, ..Status::default() });
    let tools = Tools::new(store.clone(), status.clone()).with_uploads(uploads.clone()).with_sensor("gw".to_owned());
    let jobs = Jobs::new(tools, run(), KINDS);
    uploads.analyse_by(&jobs);
    let state = ApiState::new(store.clone(), status).with_uploads(uploads.clone()).with_jobs(jobs.clone());
    let site = Site { router: router(state), uploads, store, folder: folder.path().join("captures"), _status: sender };
    assert_eq!(jobs.take_over().await.expect("store"), (1, 0));
    let keeper = tokio::spawn(site.uploads.clone().keep());
    let report = site.until(&format!("/report/{file_id}"), |status, _| status == StatusCode::OK).await;
    assert_eq!((&report["totals"]["packets"], &report["totals"]["flows"]), (&700.into(), &1.into()), "{report}");
    let job = site.until(&format!("/api/jobs/{id}"), |_, job| job["ended"].is_string()).await;
    assert_eq!((&job["state"], &job["attempts"], &job["who"]), (&"done".into(), &2.into(), &"ada".into()), "{job}");
    let (_, list) = site.get("/api/jobs?kind=analyse").await;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1), "nobody else does it: {list}");
    site.uploads.stop().await;
    keeper.await.expect("it ends");
}

#[tokio::test]
async fn the_next_daemon_goes_on_with_an_analysis_on_sqlite() {
    let folder = tempfile::tempdir().expect("folder");
    left(sqlite(folder.path()).await).await;
}

#[tokio::test]
async fn the_next_daemon_goes_on_with_an_analysis_on_postgresql() {
    let Some(server) = Server::start("the_next_daemon_goes_on_with_an_analysis_on_postgresql") else { return };
    left(server.open().await).await;
}
