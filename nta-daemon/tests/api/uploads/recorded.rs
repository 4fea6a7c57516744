//! Recordings as captures.

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use nta_daemon::recording::RecordedFile;
use serde_json::Value;
use tower::ServiceExt as _;

use super::{Site, pcap, scan, sqlite};
use crate::app::HOST;

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
    // As many as `capinfos -c` counts.
    assert_eq!(left["packets"], 81, "{list}");

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
