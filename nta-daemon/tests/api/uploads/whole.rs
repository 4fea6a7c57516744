//! A capture from its first byte to its last row: sent, analysed, reported, known again, deleted.

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use nta_core::domain::{Mode, Timestamp};
use nta_daemon::store::{Run, Store, WindowBatch};
use serde_json::Value;
use tower::ServiceExt as _;

use super::{Site, gzip, scan, sqlite};
use crate::app::{HOST, flow, window};
use crate::postgres::Server;

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
