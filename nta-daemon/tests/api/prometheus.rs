//! `/metrics`: what a scrape gets, and what Prometheus' own tool says of it.

use std::collections::{BTreeMap, HashSet};
use std::io::Write as _;
use std::net::IpAddr;
use std::process::{Command, Stdio};

use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use nta_core::domain::{AlertKind, Attachment, Mode, NicCounts, Status};
use nta_core::window::Rtt;
use nta_daemon::api::{ApiState, router};
use nta_daemon::pipeline::metrics::Direction;
use nta_daemon::sink::webhook::Webhooks;
use tower::ServiceExt as _;

use crate::app::{App, HOST};

async fn scrape(app: &App, accept: Option<&str>) -> (String, String) {
    let mut request = Request::get("/metrics").header(header::HOST, HOST);
    if let Some(accept) = accept {
        request = request.header(header::ACCEPT, accept);
    }
    let response = app.router.clone().oneshot(request.body(Body::empty()).expect("request")).await.expect("response");
    assert_eq!(response.headers()[header::VARY], "Accept");
    let media_type = response.headers()[header::CONTENT_TYPE].to_str().expect("text").to_owned();
    let text = to_bytes(response.into_body(), usize::MAX).await.expect("body");
    (media_type, String::from_utf8(text.to_vec()).expect("UTF-8"))
}

/// An interface that dropped packets.
fn attachment() -> Attachment {
    let [interface, ingress, egress, count_basis, reason] =
        ["eth3", "xdp", "tcx", "wire", "the driver has XDP"].map(str::to_owned);
    let nic = NicCounts { rx_packets: 2000, rx_dropped: 17, ..NicCounts::default() };
    Attachment { interface, index: 3, ingress, egress, count_basis, reason, nic }
}

/// With something in every family.
async fn app() -> App {
    let app = App::with(2, 3).await;
    let mut rtt = Rtt { count: 3, sum_us: 900, ..Rtt::default() };
    (rtt.histogram[0], rtt.histogram[2], rtt.histogram[15]) = (1, 1, 1);
    app.metrics.round_trips(&rtt);
    app.metrics.raised(AlertKind::PortScan);
    let traffic = BTreeMap::from([((6, Direction::Outbound), [7, 700]), ((17, Direction::Inbound), [2, 90])]);
    let status = Status { last_drain_ns: 3_000_000, last_analysis_ns: 1_500_000, ..Status::default() };
    app.metrics.closed(&traffic, &status);
    drop(app.get("/api/flows").await);
    drop(app.get("/api/hosts/10.0.0.1").await);
    drop(app.get("/api/hosts/nobody").await);
    drop(app.get("/no/such/path").await);
    app
}

#[tokio::test]
async fn the_format_is_what_the_scraper_takes() {
    let app = app().await;
    for (accept, open) in [
        (None, false),
        (Some("*/*"), false),
        (Some("text/plain"), false),
        (Some("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"), true),
        (Some("application/openmetrics-text;q=0, text/plain"), false),
    ] {
        let (media_type, text) = scrape(&app, accept).await;
        assert_eq!(media_type.starts_with("application/openmetrics-text; version=1.0.0"), open, "{accept:?}");
        assert_eq!(text.ends_with("# EOF\n"), open, "{accept:?}");
        let named = if open { "# TYPE nta_flow_bytes counter" } else { "# TYPE nta_flow_bytes_total counter" };
        assert!(text.lines().any(|line| line == named), "{accept:?}: {text}");
        assert_eq!(text.contains("# UNIT nta_flow_bytes bytes"), open, "{accept:?}");
    }
}

#[tokio::test]
async fn sums_and_histograms_go_on_over_windows() {
    let app = app().await;
    let (_, text) = scrape(&app, None).await;
    for line in [
        "nta_flow_packets_total{protocol=\"tcp\",direction=\"outbound\"} 7.0",
        "nta_flow_bytes_total{protocol=\"udp\",direction=\"inbound\"} 90.0",
        "nta_alerts_total{type=\"port_scan\"} 1.0",
        "nta_alerts_total{type=\"syn_flood\"} 0.0",
        "nta_round_trip_seconds_bucket{le=\"0.000128\"} 1",
        "nta_round_trip_seconds_bucket{le=\"0.000512\"} 2",
        "nta_round_trip_seconds_bucket{le=\"+Inf\"} 3",
        "nta_round_trip_seconds_sum 0.0009",
        "nta_drain_seconds_count 1",
        "nta_analysis_seconds_sum 0.0015",
        "nta_http_requests_total{route=\"/api/hosts/{ip}\",method=\"GET\",code=\"200\"} 1",
        "nta_http_requests_total{route=\"/api/hosts/{ip}\",method=\"GET\",code=\"400\"} 1",
        "nta_http_requests_total{route=\"none\",method=\"GET\",code=\"404\"} 1",
        "nta_http_request_duration_seconds_count{route=\"/api/flows\",method=\"GET\"} 1",
        "nta_store_failing 0.0",
    ] {
        assert!(text.lines().any(|one| one == line), "{line} in\n{text}");
    }
    let commits = text.lines().find_map(|line| line.strip_prefix("nta_store_commit_seconds_count "));
    assert!(commits.and_then(|count| count.parse::<u64>().ok()).is_some_and(|count| count >= 3), "{text}");
    for name in ["process_start_time_seconds", "process_open_fds", "process_max_fds", "process_virtual_memory_bytes"] {
        assert!(text.lines().any(|line| line.starts_with(&format!("{name} "))), "{name} in\n{text}");
    }
}

#[tokio::test]
async fn the_parts_of_the_ledger_stand_without_their_total_and_no_label_is_a_path() {
    let app = app().await;
    app.status.send_modify(|status| status.ledger.interfaces[0].name = "/captures/secret.pcap".to_owned());
    let (_, replay) = scrape(&app, None).await;
    assert!(!replay.contains("secret"), "{replay}");
    app.status.send_modify(|status| {
        status.mode = Mode::Live;
        status.ledger.interfaces[0].name = "eth0".to_owned();
    });
    let (_, text) = scrape(&app, None).await;
    let value = |line: &str| line.rsplit_once(' ').and_then(|(_, value)| value.parse::<f64>().ok()).expect("a value");
    let parts: f64 = text.lines().filter(|line| line.starts_with("nta_ledger_packets_total{")).map(value).sum();
    let total = text.lines().find(|line| line.starts_with("nta_packets_total{interface=\"eth0\"}")).map(value);
    assert_eq!(Some(parts), total, "the sum of the parts is the total");
    let labels = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('{'));
    let values: HashSet<&str> = labels.flat_map(|(_, labels)| labels.split('"').skip(1).step_by(2)).collect();
    assert!(values.iter().all(|value| value.parse::<IpAddr>().is_err()), "{values:?}");
}

#[tokio::test]
async fn promtool_finds_nothing() {
    let app = app().await;
    let (_, text) = scrape(&app, None).await;
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).stdout(Stdio::piped());
    let mut promtool = match promtool.spawn() {
        Ok(promtool) => promtool,
        Err(error) => {
            eprintln!("not run: promtool_finds_nothing: promtool: {error} (Debian's package prometheus)");
            return;
        }
    };
    promtool.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("written");
    let said = promtool.wait_with_output().expect("it ends");
    let [out, error] = [said.stdout, said.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(said.status.success() && out.is_empty() && error.is_empty(), "{out}{error}\n{text}");
}

#[tokio::test]
async fn uploads_readers_webhooks_stops_and_what_is_away_are_counted() {
    let app = app().await;
    let garbage = Request::post("/api/upload").header(header::HOST, HOST);
    let garbage = garbage.header(header::CONTENT_TYPE, "application/octet-stream");
    let garbage = garbage.body(Body::from("no capture at all".repeat(100))).expect("request");
    let refused = app.router.clone().oneshot(garbage).await.expect("response");
    assert!(refused.status().is_client_error(), "{refused:?}");
    app.status.send_modify(|status| {
        status.stopped = vec!["eth0: capture stopped by request".to_owned()];
        status.degraded = vec!["eth1 is away".to_owned(), "eth2 is away".to_owned()];
        status.window_ns = 2_500_000_000;
        status.attachments = vec![attachment()];
    });
    let config = "name = \"ops\"\nkind = \"slack\"\nurl = \"https://hooks.example.org/services/T0/B0/hidden\"";
    let webhooks = Webhooks::new(app.store.clone(), "test".to_owned(), &[toml::from_str(config).expect("a webhook")]);
    let state = ApiState::new(app.store.clone(), app.status.subscribe()).with_webhooks(webhooks);
    let request = Request::get("/metrics").header(header::HOST, HOST).body(Body::empty()).expect("request");
    let response = router(state).oneshot(request).await.expect("response");
    let text = to_bytes(response.into_body(), usize::MAX).await.expect("body");
    let of_webhooks = String::from_utf8(text.to_vec()).expect("UTF-8");
    let (_, text) = scrape(&app, None).await;
    for (line, text) in [
        ("nta_capture_stops 1.0", &text),
        ("nta_capture_degraded 2.0", &text),
        ("nta_window_seconds 2.5", &text),
        ("nta_interface_dropped_packets_total{interface=\"eth3\"} 17.0", &text),
        ("nta_uploads_total{outcome=\"refused\"} 1.0", &text),
        ("nta_uploads_total{outcome=\"received\"} 0.0", &text),
        ("nta_uploads_kept_bytes 0.0", &text),
        ("nta_stream_readers 0.0", &text),
        ("nta_log_records_dropped_total 0.0", &text),
        ("nta_webhook_attempts_total{webhook=\"ops\",outcome=\"taken\"} 0.0", &of_webhooks),
        ("nta_webhook_dead_letters_total{webhook=\"ops\"} 0.0", &of_webhooks),
        ("nta_webhook_failing{webhook=\"ops\"} 0.0", &of_webhooks),
    ] {
        assert!(text.lines().any(|one| one == line), "{line} in\n{text}");
    }
    assert!(!of_webhooks.contains("hidden"), "{of_webhooks}");
}
