//! `/api/alerts/{id}/evidence.pcap`: an alert's packets, where they are kept.

use std::path::PathBuf;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use nta_capture::{CaptureReader, LinkType, PcapWriter};
use nta_core::domain::{Alert, AlertChange, AlertKind};
use nta_daemon::api::{ApiState, router};
use tower::ServiceExt as _;

use crate::alerts::{alert, emit};
use crate::app::{App, HOST, parse};

/// A UDP datagram without payload.
fn frame(source: [u8; 4], destination: [u8; 4]) -> Vec<u8> {
    let ip = [&[0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0][..], &source, &destination].concat();
    [&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0][..], &ip, &[0, 53, 0, 53, 0, 8, 0, 0]].concat()
}

async fn ask(router: &Router, alert: &Alert) -> (StatusCode, String, Vec<u8>) {
    let path = format!("/api/alerts/{}/evidence.pcap", alert.id);
    let request = Request::get(path).header(header::HOST, HOST).body(Body::empty()).expect("request");
    let answer = router.clone().oneshot(request).await.expect("an answer");
    let media_type = answer.headers()[header::CONTENT_TYPE].to_str().expect("text").to_owned();
    (answer.status(), media_type, to_bytes(answer.into_body(), usize::MAX).await.expect("body").to_vec())
}

#[tokio::test]
async fn an_alert_has_the_packets_of_its_source_in_its_time_or_says_why_not() {
    let app = App::with(3, 0).await;
    // From 192.0.2.1 to many, seen from 6 s to 8 s.
    let alert = alert(AlertKind::PortScan, 1, 1, 0.9);
    emit(&app, AlertChange::Raised, std::slice::from_ref(&alert)).await;
    let folder = tempfile::tempdir().expect("folder");
    let with =
        |folders: Vec<PathBuf>| router(ApiState::new(app.store.clone(), app.status.subscribe()).with_packets(folders));
    let here = with(vec![folder.path().to_owned()]);

    let (status, _, body) = ask(&here, &alert).await;
    let why = parse(&body)["detail"].to_string();
    assert!(status == StatusCode::NOT_FOUND && why.contains("no packets are kept"), "{why}");

    let mut writer = PcapWriter::new(Vec::new(), LinkType::ETHERNET, 262_144).expect("begun");
    let (scanner, victim, other) = ([192, 0, 2, 1], [192, 0, 2, 7], [192, 0, 2, 9]);
    for (seconds, from, to) in
        [(1, scanner, victim), (6, scanner, victim), (7, victim, scanner), (8, other, victim), (60, scanner, victim)]
    {
        writer.packet(seconds * 1_000_000_000, 60, &[&frame(from, to)]).expect("written");
    }
    std::fs::write(folder.path().join("a.pcap"), writer.into_inner()).expect("written");
    let (status, media_type, body) = ask(&here, &alert).await;
    assert_eq!((status, media_type.as_str()), (StatusCode::OK, "application/vnd.tcpdump.pcap"));
    let mut capture =
        CaptureReader::from_read("x".to_owned(), Box::new(std::io::Cursor::new(body))).expect("a capture");
    let mut times = Vec::new();
    while let Some(frame) = capture.next_frame() {
        times.push(frame.time_ns / 1_000_000_000);
    }
    assert_eq!(times, [6, 7], "both directions, and nobody else's");

    let late = crate::alerts::alert(AlertKind::PortScan, 1, 2000, 0.9);
    emit(&app, AlertChange::Raised, std::slice::from_ref(&late)).await;
    let (status, _, body) = ask(&here, &late).await;
    let why = parse(&body)["detail"].to_string();
    assert!(status == StatusCode::NOT_FOUND && why.contains("none of the 1 captures"), "{why}");
    let unknown = crate::alerts::alert(AlertKind::SynFlood, 5, 1, 0.9);
    let (status, _, body) = ask(&here, &unknown).await;
    assert!(status == StatusCode::NOT_FOUND && parse(&body)["detail"].to_string().contains("there is no alert"));
}
