//! Captures that come in parts, and those that a daemon which ended has left.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Method, StatusCode, header};
use nta_daemon::store::Store;

use super::{Site, pcap, sqlite};
use crate::postgres::Server;

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
