//! The API through its router, over a real database.

mod access;
mod alert_bulk;
mod alerts;
mod app;
mod audit;
mod baselines;
mod caching;
mod collector;
mod collector_trust;
mod contract;
mod control;
mod dashboard;
mod docs;
mod evidence;
mod explain;
mod export;
mod fleet;
mod fleet_seen;
mod graphql;
mod guard;
mod hosts;
mod imports;
mod jobs;
mod limits;
mod lists;
mod live_capture;
mod models;
mod mutes;
mod openapi;
mod packets;
mod paged;
mod pandas;
mod panics;
mod postgres;
mod prometheus;
mod queries;
mod ranges;
mod recording;
mod results;
mod sensors;
mod session;
mod stream;
mod tls;
mod unreadable;
mod uploads;
mod webhooks;

use std::collections::HashSet;

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use nta_daemon::api::{ApiState, serve};
use nta_daemon::json::StatusJson;
use nta_daemon::store::WindowBatch;
use serde_json::Value;
use tower::ServiceExt as _;

use crate::app::{App, HOST, parse, window};

#[tokio::test]
async fn every_path_answers_with_and_without_its_trailing_slash() {
    let app = App::with(3, 12).await;
    let document = app.json("/openapi.json").await;
    let (.., page) = app.get("/dashboard").await;
    let page = String::from_utf8(page.to_vec()).expect("text");
    let asset = page.split("/assets/").nth(1).and_then(|rest| rest.split('"').next()).expect("it loads something");
    for (path, methods) in document["paths"].as_object().expect("paths") {
        // Without alerts, jobs, sensors and captures there is none to show; everything else is there.
        let alert = path.starts_with("/api/alerts/{") || path.contains("{file_id}") || path.contains("{filename}");
        let job = path.starts_with("/api/jobs/{") || path == "/api/sensors/{id}";
        let path = path.replace("{file_id}", &"0".repeat(32)).replace("{filename}", "scored-1.csv");
        let path = path.replace("/assets/{file}", &format!("/assets/{asset}"));
        let path = path
            .replace("{page}", "alerts")
            .replace("{name}", "1")
            .replace("{ip}", "10.0.0.1")
            .replace("{file}", "start.js")
            .replace("{type}", "loss")
            .replace("{id}", "1");
        let path = if alert { path.replace("/1", "/0123456789abcdef") } else { path };
        let path = if job { path.replace("/1", "/01890000-0000-7000-8000-000000000001") } else { path };
        if path == "/api/events" {
            continue; // without end
        }
        let query = if path == "/api/explain" { "?host=10.0.0.1" } else { "" };
        let expected = match methods.get("get") {
            Some(_) if path == "/api/stream" => StatusCode::UPGRADE_REQUIRED,
            Some(_) if alert || job => StatusCode::NOT_FOUND,
            Some(_) => StatusCode::OK,
            None => StatusCode::METHOD_NOT_ALLOWED,
        };
        for path in [format!("{path}{query}"), format!("{path}/{query}")] {
            let (status, ..) = app.get(&path).await;
            assert_eq!(status, expected, "{path}");
        }
    }
    let (status, _, body) = app.get("/api/metrics/?span=5&limit=1").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(parse(&body)["items"].as_array().map(Vec::len), Some(1), "the query survives the slash");
}

#[tokio::test]
async fn the_openapi_document_describes_exactly_the_paths_of_the_index() {
    let app = App::with(0, 0).await;
    let document = app.json("/openapi.json").await;
    let keys = |value: &Value| value.as_object().expect("object").keys().cloned().collect::<HashSet<_>>();
    let index = app.json("/api").await;
    assert_eq!(keys(&document["paths"]), keys(&index["paths"]));
    assert_eq!(app.json("/").await, index);
    assert!(index["paths"]["/api/alerts/{id}"]["PATCH"].is_string(), "{index}");
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")));
    let schemas = keys(&document["components"]["schemas"]);
    for name in ["WindowJson", "FlowJson", "LedgerJson", "Problem", "StatusPage", "AlertDetail", "AnomalyJson"] {
        assert!(schemas.contains(name), "{name} in {schemas:?}");
    }
}

#[tokio::test]
async fn errors_are_problems_that_name_the_field() {
    let app = App::with(1, 1).await;
    for (path, status, field) in [
        ("/nowhere", 404, None),
        ("/api/metrics/99", 404, None),
        ("/api/metrics/one", 400, Some("id")),
        ("/api/metrics?limit=abc", 400, Some("limit")),
        ("/api/metrics?limit=0", 400, Some("limit")),
        ("/api/metrics?limit=1001", 400, Some("limit")),
        ("/api/metrics?limit=1&limit=2", 400, Some("limit")),
        ("/api/metrics?cursor=xyz", 400, Some("cursor")),
        ("/api/metrics?cursor=ff00000000000000010000000000000001ffffffffffffffffffffffffffffffff", 400, Some("cursor")),
        (
            "/api/metrics?sort=time&cursor=8000000000000000010000000000000001ffffffffffffffffffffffffffffffff",
            400,
            Some("cursor"),
        ),
        ("/api/metrics?sort=colour", 400, Some("sort")),
        ("/api/metrics?from=yesterday", 400, Some("from")),
        ("/api/metrics?from=20&to=10", 400, Some("from")),
        ("/api/metrics?span=7", 400, Some("span")),
        ("/api/metrics?form=10", 400, Some("form")),
        ("/api/metrics?span=-5", 400, Some("span")),
        ("/api/alerts?type=colour", 400, Some("type")),
        ("/api/alerts?severity=bad", 400, Some("severity")),
        ("/api/alerts?status=closed", 400, Some("status")),
        ("/api/alerts/1", 400, Some("id")),
        ("/api/alerts/0123456789abcdef", 404, None),
        ("/api/anomalies?type=colour", 400, Some("type")),
        ("/api/anomalies/top?sort=time", 400, Some("sort")),
        ("/api/anomalies/by-type?limit=3", 400, Some("limit")),
        ("/api/baselines?sort=colour", 400, Some("sort")),
        ("/api/metrics/summary?to=never", 400, Some("to")),
        ("/api/alltraffic?sort=bandwidth", 400, Some("sort")),
        ("/health?verbose=1", 400, Some("verbose")),
        ("/api/alerts/0123456789abcdef?notes=1", 400, Some("notes")),
        ("/api/hosts/%FF", 400, Some("ip")),
        ("/api/alltraffic/?limit=-1", 400, Some("limit")),
    ] {
        let (got, media_type, body) = app.get(path).await;
        let problem = parse(&body);
        assert_eq!((got.as_u16(), media_type.as_str()), (status, "application/problem+json"), "{path}: {problem}");
        assert_eq!(problem["status"], status, "{path}");
        assert_eq!(problem.get("field").and_then(Value::as_str), field, "{path}");
        assert!(problem["type"].is_string() && problem["title"].is_string() && problem["detail"].is_string());
    }
    let allowed = parse(&app.get("/api/metrics?sort=colour").await.2);
    assert!(allowed["detail"].as_str().is_some_and(|detail| detail.contains("-bandwidth")), "{allowed}");
}

#[tokio::test]
async fn a_wrong_method_and_a_large_body_are_problems_too() {
    let app = App::with(0, 0).await;
    let request = |path: &str, body: Body| {
        let request = Request::builder().method(Method::POST).uri(path).header(header::HOST, HOST);
        request.body(body).expect("request")
    };
    let response = app.router.clone().oneshot(request("/health", Body::empty())).await.expect("response");
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    assert_eq!(response.headers()[header::ALLOW], "GET,HEAD");
    let problem = document(response).await;
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("GET, HEAD")), "{problem}");

    let mut large = request("/api/metrics/compute", Body::from(vec![0; 100_000]));
    large.headers_mut().insert(header::CONTENT_LENGTH, 100_000.into());
    let response = app.router.clone().oneshot(large).await.expect("response");
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    let problem = document(response).await;
    let detail = problem["detail"].as_str().expect("a text");
    assert_eq!(problem["field"], "body");
    assert!(detail.contains("100000") && detail.contains("65536"), "{detail}");
}

/// The body of an answer as JSON.
async fn document(response: axum::response::Response) -> Value {
    let bytes = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
    serde_json::from_slice(&bytes).expect("JSON")
}

#[tokio::test]
async fn a_refusal_repeats_a_part_of_the_request() {
    let app = App::with(0, 0).await;
    let long = "é".repeat(1_000_000);
    for body in [serde_json::json!({"series": {&long: 1}}), serde_json::json!({&long: 1})] {
        let (status, problem) = app.send(Method::PUT, "/api/baselines/bandwidth", &body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(problem.to_string().len() < 10_000, "{} bytes", problem.to_string().len());
    }
}

#[tokio::test]
async fn only_imports_may_be_large() {
    let app = App::with(0, 0).await;
    let padded = format!("{{\"series\": {{\"loss\": 1}}{}}}", " ".repeat(100_000));
    for (method, path, expected) in [
        (Method::PATCH, "/api/alerts/0123456789abcdef", 413),
        (Method::POST, "/api/anomalies/detect", 413),
        (Method::PUT, "/api/baselines/loss", 400),
    ] {
        let (status, problem) = app.send_text(method, path, &padded).await;
        assert_eq!((status.as_u16(), &problem["status"]), (expected, &expected.into()), "{path}: {problem}");
    }
    let (status, _) = app.send_text(Method::PUT, "/api/baselines/loss", &" ".repeat(9 << 20)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    // A body that does not say how long it is.
    let (_, problem) = app.send_text(Method::POST, "/api/anomalies/detect", &padded).await;
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("65536 bytes")), "{problem}");
}

#[tokio::test]
async fn health_says_why_it_fails() {
    let app = App::with(0, 0).await;
    let health = app.json("/health").await;
    assert_eq!((&health["status"], &health["mode"]), (&"ok".into(), &"replay".into()));
    assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
    assert!(health["timestamp"].as_str().is_some_and(|time| time.ends_with('Z')));

    app.status.send_modify(|status| status.failure = Some("eth0 went away".to_owned()));
    let (status, media_type, body) = app.get("/health").await;
    assert_eq!((status, media_type.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "application/problem+json"));
    assert_eq!(parse(&body)["detail"], "capture: eth0 went away");
    assert_eq!(parse(&body)["status"], 503);

    app.status.send_modify(|status| status.failure = None);
    app.store.close().await;
    app.writer
        .send(WindowBatch { window: Some(window(1)), flows: vec![], ..WindowBatch::default() })
        .await
        .expect("send");
    app.writer.flush().await.expect_err("closed");
    let (status, _, body) = app.get("/health").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let reasons = parse(&body)["detail"].as_str().expect("reasons").to_owned();
    assert!(reasons.contains("takes no writes"), "{reasons}");
    assert_eq!(app.get("/api/metrics").await.0, StatusCode::SERVICE_UNAVAILABLE);
    let status = app.json("/api/status").await;
    assert_eq!(status["store"]["stored_flows"], Value::Null, "the status answers all the same");
}

#[tokio::test]
async fn the_status_has_interfaces_ledger_maps_store_and_cost() {
    let app = App::with(2, 3).await;
    let status = app.json("/api/status").await;
    assert_eq!(status["interfaces"][0]["reason"], "veth: native XDP would switch off GSO");
    assert_eq!(status["ledger"]["total"]["seen"], 3);
    assert_eq!(status["ledger"]["balanced"], true);
    assert_eq!(status["maps"][0]["fill_ratio"], 0.25);
    assert_eq!((&status["store"]["stored_windows"], &status["store"]["flow_rows"]), (&2.into(), &3.into()));
    assert!(status["process"]["rss_bytes"].as_u64().is_some_and(|bytes| bytes > 0));
    assert!(status["uptime_s"].as_f64().is_some_and(|seconds| seconds > 0.0));
    assert_eq!((&status["detection"]["findings"], &status["detection"]["alerts_open"]["high"]), (&7.into(), &2.into()));
    assert_eq!((&status["hosts"]["with_baseline"], &status["last_analysis_ms"]), (&9.into(), &1.5.into()));
    assert_eq!(status["baselines"]["metrics"][0]["state"], "ready");
    serde_json::from_value::<StatusJson>(status).expect("the shape that is documented");
}

#[tokio::test]
async fn prometheus_gets_the_ledger_and_the_cost() {
    let app = App::with(2, 3).await;
    let (status, media_type, body) = app.get("/metrics").await;
    assert_eq!(status, StatusCode::OK);
    assert!(media_type.starts_with("text/plain; version=0.0.4"));
    let text = String::from_utf8(body).expect("text");
    for line in [
        "nta_packets_total{interface=\"capture\"} 3.0",
        "nta_ledger_packets_total{interface=\"capture\",outcome=\"arp\"} 1.0",
        "# TYPE nta_ledger_packets_total counter",
        "nta_map_max_entries{map=\"flows4\"} 400.0",
        "nta_store_rows_written_total{table=\"flows\"} 3.0",
        "nta_windows_closed_total 2.0",
        "nta_findings_total{outcome=\"alerted\"} 4.0",
        "nta_findings_total{outcome=\"allowed\"} 3.0",
        "nta_alerts_raised_total 3.0",
        "nta_alerts_open{severity=\"high\"} 2.0",
        "nta_baseline_hosts 9.0",
        "nta_baseline_ready{metric=\"bandwidth\"} 1.0",
        "nta_store_rows_written_total{table=\"detected_alerts\"} 0.0",
        "nta_capture_up 1.0",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
    }
    assert!(text.contains("\nprocess_cpu_seconds_total ") && text.contains("nta_build_info{version="));
}

#[tokio::test]
async fn the_server_ends_when_it_is_asked_to() {
    let app = App::with(0, 0).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("listener");
    let address = listener.local_addr().expect("address");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let state = ApiState::new(app.store.clone(), app.status.subscribe());
    let server = tokio::spawn(serve(listener, state, async { drop(stopped.await) }));
    drop(tokio::net::TcpStream::connect(address).await.expect("it listens"));
    drop(stop);
    server.await.expect("task").expect("server");
}
