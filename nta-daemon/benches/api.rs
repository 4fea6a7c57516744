//! How long each route takes over a database of a million flows and a million windows: half of the answers come within p50,
//! all but one of a hundred within p99, from the request to the whole body.
//!
//! Run by `cargo bench -p nta-daemon --bench api`; NTA_DATABASE names another database; what it lacks is filled in. NTA_RUN
//! (32 hexadecimal digits) names the run in it whose capture is served.
#![expect(clippy::print_stdout, reason = "the bench's result")]

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use nta_common::flow::Counts;
use nta_core::baseline::{Export, HostBaseline, Metric, Series};
use nta_core::domain::{
    Alert, AlertChange, AlertKind, Basis, ConnState, EndReason, Endpoint, Finding, FlowId, FlowRecord, History,
    Measure, Mode, Party, Severity, Status, TcpCounts, Timestamp,
};
use nta_core::features::{FEATURES, SCHEMA_VERSION};
use nta_core::window::{Measured, Protocol, Rtt, Talker, Window};
use nta_daemon::api::{AnalysisAccess, ApiState, router};
use nta_daemon::store::{
    Anomaly, AnomalyFilter, FeatureFilter, FeatureRow, Position, Retention, Run, Store, StoreWriter, WindowBatch,
};
use tokio::sync::watch;
use tower::ServiceExt as _;

const S: u64 = 1_000_000_000;
/// Begin of everything, in seconds.
const BEGIN_S: u64 = 1_700_000_000 / 3600 * 3600;
const BASE_S: u64 = 5;
const FLOWS: u64 = 1_000_000;
const BASE_WINDOWS: u64 = 600_000;
const ALERTS: u64 = 2_000;
const FEATURE_VECTORS: u64 = 200_000;
/// Findings of each alert.
const FINDINGS: u64 = 10;
const HOSTS: u64 = 50_000;
/// Requests of each kind.
const REQUESTS: u64 = 300;
/// Rows of a batch.
const BATCH: u64 = 50_000;

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = format!("sqlite:{}", folder.path().join("nta.db").display());
    let store = Store::open(&std::env::var("NTA_DATABASE").unwrap_or(file)).await.expect("a database");
    let all = u64::from(u32::MAX);
    let store = store.with_retention(Retention {
        max_windows: all,
        max_flows: all,
        max_alerts: all,
        max_anomalies: all,
        max_events: all,
        max_hosts: all,
        ..Retention::default()
    });
    let filled = fill(&store).await;
    let named = std::env::var("NTA_RUN").ok().map(|hex| u128::from_str_radix(&hex, 16).expect("a run").to_be_bytes());
    let run = named.unwrap_or(filled);
    let status = Status { mode: Mode::Replay, window_ns: BASE_S * S, ..Status::default() };
    let access = AnalysisAccess::default();
    access.baselines.publish(store.baselines("replay").await.expect("baselines").expect("they are stored"));
    let state = ApiState::new(store.clone(), watch::channel(status).1).with_run(run).with_analysis(access);
    let router = router(state);
    println!("api {FLOWS} flows, {} windows", store.window_count().await.expect("a count"));
    let mut left_out = get_routes(&router).await;
    for (name, path) in PATHS {
        let [p50, p99] = measure(&router, path).await;
        println!("api {name}: p50 {:.1} ms, p99 {:.1} ms", millis(p50), millis(p99));
        left_out.retain(|route| !is_of(path, route));
    }
    assert!(left_out.is_empty(), "routes without a path: {left_out:?}");
}

/// What is asked for: each path with names for what differs from request to request, see [`path_of`].
const PATHS: [(&str, &str); 56] = [
    ("root", "/"),
    ("index", "/api"),
    ("document", "/openapi.json"),
    ("health", "/health"),
    ("status", "/api/status"),
    ("prometheus", "/metrics"),
    ("windows", "/api/metrics"),
    ("windows by bandwidth", "/api/metrics?sort=-bandwidth"),
    ("windows of a day", "/api/metrics?sort=time&{day}"),
    ("windows of a day by bytes", "/api/metrics?sort=bytes&{day}"),
    ("base windows", "/api/metrics?span=5"),
    ("windows that are made", "/api/metrics?span=20"),
    ("windows that are made, of a day", "/api/metrics?span=20&{day}"),
    ("one window", "/api/metrics/{window}"),
    ("summary of all windows", "/api/metrics/summary"),
    ("summary of a day", "/api/metrics/summary?{day}"),
    ("last flows", "/api/last10"),
    ("all flows", "/api/alltraffic"),
    ("all flows of a day", "/api/alltraffic?{day}&sort=time"),
    ("flows", "/api/flows"),
    ("flows of a day", "/api/flows?{day}"),
    ("flows of a day, last packet", "/api/flows?{day}&sort=last_time"),
    ("flows of a host", "/api/flows?host={host}"),
    ("flows of a busy host", "/api/flows?host={busy}"),
    ("flows of a busy host in a day, last packet", "/api/flows?host={busy}&{day}&sort=-last_time"),
    ("flows of a port", "/api/flows?port={port}"),
    ("flows of a protocol", "/api/flows?proto=udp"),
    ("flows of a protocol, last packet", "/api/flows?proto=udp&sort=-last_time"),
    ("flows of a host and port", "/api/flows?host={host}&port=443"),
    ("flows of a busy host and port in a day", "/api/flows?host={busy}&port=8080&{day}"),
    ("hosts", "/api/hosts"),
    ("hosts of an hour", "/api/hosts?{hour}"),
    ("hosts by flows", "/api/hosts?sort=-flows"),
    ("one host", "/api/hosts/{host}"),
    ("a busy host", "/api/hosts/{busy}"),
    ("services", "/api/services"),
    ("services of an hour", "/api/services?{hour}"),
    ("services of a day", "/api/services?{day}"),
    ("alerts", "/api/alerts"),
    ("counts of open alerts", "/api/alerts/counts?status=open"),
    ("alerts of a kind", "/api/alerts?type=port_scan&severity=high"),
    ("alerts of a source", "/api/alerts?source={source}"),
    ("alerts of a day by score", "/api/alerts?{day}&sort=-score"),
    ("one alert", "/api/alerts/{alert}"),
    ("anomalies", "/api/anomalies"),
    ("anomalies of a day by severity", "/api/anomalies?{day}&sort=-severity"),
    ("anomalies by type", "/api/anomalies/by-type"),
    ("anomalies by type, of a day", "/api/anomalies/by-type?{day}"),
    ("top anomalies", "/api/anomalies/top"),
    ("summary of anomalies", "/api/anomalies/summary"),
    ("anomalies of a window", "/api/anomalies/window/{window}"),
    ("features of a host", "/api/features?host={host}"),
    ("features", "/api/features"),
    ("baselines", "/api/baselines"),
    ("statistics of baselines", "/api/baselines/stats"),
    ("one baseline", "/api/baselines/bandwidth"),
];

/// The n-th request for a path.
fn path_of(path: &str, n: u64) -> String {
    let middle_s = BEGIN_S + BASE_WINDOWS * BASE_S / 2;
    path.replace("{day}", &format!("from={}&to={}", time(middle_s - 86_400), time(middle_s)))
        .replace("{hour}", &format!("from={}&to={}", time(middle_s - 3600), time(middle_s)))
        .replace("{window}", &(1 + n * 37).to_string())
        .replace("{host}", &host(n * 31).to_string())
        .replace("{source}", &host(n * 7).to_string())
        .replace("{busy}", &busy().to_string())
        .replace("{port}", &[443, 53, 22, 8080][n as usize % 4].to_string())
        .replace("{alert}", &alert(n).0.id.to_string())
}

/// The routes that GET takes.
async fn get_routes(router: &Router) -> Vec<String> {
    let request = Request::get("/openapi.json").header(header::HOST, "localhost").body(Body::empty());
    let response = router.clone().oneshot(request.expect("a request")).await.expect("an answer");
    let body = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
    let document: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    let paths = document["paths"].as_object().expect("paths");
    paths.iter().filter(|(_, methods)| methods.get("get").is_some()).map(|(path, _)| path.clone()).collect()
}

/// Whether a path is one of a route, part by part.
fn is_of(path: &str, route: &str) -> bool {
    let path = path.split('?').next().unwrap_or(path);
    let (mut parts, mut of_route) = (path.split('/'), route.split('/'));
    std::iter::from_fn(|| Some((parts.next(), of_route.next())).filter(|pair| *pair != (None, None)))
        .all(|(part, of_route)| part == of_route || of_route.is_some_and(|of_route| of_route.starts_with('{')))
}

/// p50 and p99 over requests that differ.
async fn measure(router: &Router, path: &str) -> [Duration; 2] {
    let mut times = Vec::new();
    for n in 0..REQUESTS {
        let path = path_of(path, n);
        let request = Request::get(&path).header(header::HOST, "localhost").body(Body::empty()).expect("a request");
        let begin = Instant::now();
        let response = router.clone().oneshot(request).await.expect("an answer");
        let status = response.status();
        let body = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
        times.push(begin.elapsed());
        let is_fine = status.is_success() || status == StatusCode::NOT_FOUND;
        assert!(is_fine, "{path}: {status}: {}", String::from_utf8_lossy(&body));
    }
    times.sort_unstable();
    [times[times.len() / 2], times[times.len() * 99 / 100]]
}

async fn fill(store: &Store) -> [u8; 16] {
    let run = Run {
        started: time(BEGIN_S),
        mode: Mode::Replay,
        source: "bench".to_owned(),
        version: "0".to_owned(),
        sensor: "bench".to_owned(),
        uuid: Run::new_uuid(time(BEGIN_S)),
        analysis: None,
    };
    let (writer, _task) = store.writer(store.begin_run(&run).await.expect("a run"), 4);
    let begin = Instant::now();
    if store.flow_count().await.expect("a count") == 0 {
        for first in (0..FLOWS).step_by(BATCH as usize) {
            let flows = (first..(first + BATCH).min(FLOWS)).map(flow).collect();
            write(&writer, WindowBatch { flows, ..WindowBatch::default() }).await;
        }
    }
    if store.anomaly_counts(&AnomalyFilter::default()).await.expect("counts").is_empty() {
        for first in (0..ALERTS).step_by(500) {
            let mut batch = WindowBatch::default();
            for n in first..(first + 500).min(ALERTS) {
                let (alert, anomalies) = alert(n);
                batch.alerts.push(alert);
                batch.anomalies.extend(anomalies);
            }
            write(&writer, batch).await;
        }
    }
    if store.window_count().await.expect("a count") == 0 {
        for (factor, windows) in
            [(1, BASE_WINDOWS), (2, BASE_WINDOWS / 2), (6, BASE_WINDOWS / 6), (36, BASE_WINDOWS / 36)]
        {
            for first in (0..windows).step_by(BATCH as usize) {
                let longer = (first..(first + BATCH).min(windows)).map(|n| (factor, window(factor, n))).collect();
                write(&writer, WindowBatch { longer, ..WindowBatch::default() }).await;
            }
        }
    }
    let all = FeatureFilter { span_ns: Some(BASE_S * S), ..FeatureFilter::default() };
    let first = Position { descending: false, after: None, limit: 1 };
    if store.features(&all, first).await.expect("features").items.is_empty() {
        for first in (0..FEATURE_VECTORS).step_by(BATCH as usize) {
            let features = (first..(first + BATCH).min(FEATURE_VECTORS)).map(features).collect();
            write(&writer, WindowBatch { features, ..WindowBatch::default() }).await;
        }
    }
    let network = Metric::ALL.map(|metric| (metric, Series::default())).into();
    let hosts = (0..10_000).map(|n| (host(n), HostBaseline::default())).collect();
    let export = Export { network, hosts, updated_ns: BEGIN_S * S, ..Export::default() };
    store.save_baselines("replay", &export).await.expect("baselines");
    println!("api filled in {:.0} s", begin.elapsed().as_secs_f64());
    run.uuid
}

async fn write(writer: &StoreWriter, batch: WindowBatch) {
    writer.send(batch).await.expect("sent");
    writer.flush().await.expect("written");
}

const fn time(seconds: u64) -> Timestamp {
    Timestamp::from_nanos(seconds * S)
}

const fn host(n: u64) -> IpAddr {
    let n = (n % HOSTS) as u32;
    IpAddr::V4(Ipv4Addr::new(10, (n >> 16) as u8, (n >> 8) as u8, n as u8))
}

/// A server that every tenth flow goes to.
const fn busy() -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))
}

fn flow(n: u64) -> FlowRecord {
    let side = |address, port, packets: u64| Endpoint {
        address,
        port,
        sent: Counts { packets, bytes: packets * 700, ip_bytes: packets * 686 },
        tcp: TcpCounts::default(),
        payload_bytes: Some(packets * 640),
        translated: None,
    };
    let first = BEGIN_S + n * BASE_WINDOWS * BASE_S / FLOWS;
    let server = if n.is_multiple_of(10) { busy() } else { host(n.wrapping_mul(7919)) };
    FlowRecord {
        // Identities are hashes: spread over all 64 bits.
        id: FlowId(n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        proto: if n.is_multiple_of(5) { 17 } else { 6 },
        originator: side(host(n), 32_768 + (n % 28_000) as u16, 1 + n % 50),
        responder: side(server, [443, 443, 53, 22, 8080, 80][n as usize % 6], 1 + n % 90),
        nesting: Default::default(),
        vlan: 0,
        first: time(first),
        last: time(first + n % 300),
        handshake_us: [1500, 300],
        service: None,
        conn_state: ConnState::Sf,
        history: History::parse("ShADadFf"),
        ended: Some(EndReason::Closed),
    }
}

fn window(factor: u64, n: u64) -> Window {
    let span_s = factor * BASE_S;
    let start = BEGIN_S + n * span_s;
    let scale = factor * (100 + n.wrapping_mul(7919) % 900);
    let talker = |at: u64| Talker {
        address: Some(host(n + at)),
        packets_sent: scale / (at + 1),
        bytes_sent: scale * 300 / (at + 1),
        flows: 3,
        ..Talker::default()
    };
    Window {
        id: n + 1,
        start: time(start),
        end: time(start + span_s),
        packets: scale,
        bytes: scale * 700,
        flows: scale / 10,
        new_flows: scale / 20,
        rtt: Rtt { count: 10, sum_us: 125_000, min_us: 1_000, max_us: 80_000, ..Rtt::default() },
        protocols: vec![Protocol { number: 6, packets: scale, bytes: scale * 700, flows: 5 }],
        top_talkers: (0..4).map(talker).collect(),
        measured: Measured { span_ns: span_s * S, ..Measured::default() },
        ..Window::default()
    }
}

/// What one of fifty hosts did in a base window.
fn features(n: u64) -> FeatureRow {
    let start_s = BEGIN_S + n / 50 * BASE_S;
    FeatureRow {
        start: time(start_s),
        end: time(start_s + BASE_S),
        span_ns: BASE_S * S,
        host: host(n % 50 * 31),
        schema_version: SCHEMA_VERSION,
        vector: (0..FEATURES.len()).map(|at| n as f64 / (at + 3) as f64).collect(),
    }
}

/// An alert, and what was found in its windows.
fn alert(n: u64) -> (Alert, Vec<Anomaly>) {
    let kind = [AlertKind::PortScan, AlertKind::SynFlood, AlertKind::DnsTunnel][n as usize % 3];
    let start_s = BEGIN_S + n * BASE_WINDOWS * BASE_S / ALERTS / BASE_S * BASE_S;
    let finding = |at: u64| Finding {
        detector: "bench",
        basis: Basis::Rule,
        kind,
        source: Party::Host(host(n * 7)),
        destination: Party::Many,
        port: None,
        start: time(start_s + at * BASE_S),
        end: time(start_s + (at + 1) * BASE_S),
        measure: Measure { name: "ports", unit: "ports", observed: 40.0, expected: None, threshold: 15.0 },
        score: (n % 100) as f64 / 100.0,
        summary: "10.0.0.1 tried 40 ports of 10.0.0.2 in 5 s".to_owned(),
        facts: Vec::new(),
        seen: None,
        contributors: Vec::new(),
        crowd: None,
    };
    let mut alerter =
        nta_core::alerting::Alerter::new(nta_core::alerting::AlertingConfig::default(), Default::default());
    let mut raised = None;
    let first = finding(0);
    let end = first.end;
    alerter.judge(vec![first], end, &mut |change, alert: &Alert| {
        if change == AlertChange::Raised {
            raised = Some(alert.clone());
        }
    });
    let severity = [Severity::Low, Severity::Medium, Severity::High][n as usize % 3];
    let alert = Alert { severity, ..raised.expect("an alert") };
    let anomalies = (0..FINDINGS)
        .map(|at| Anomaly { number: n * FINDINGS + at + 1, alert: alert.id, severity, finding: finding(at) })
        .collect();
    (alert, anomalies)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
