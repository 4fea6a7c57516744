//! How a fleet is seen: numbers for Prometheus from both sides, rows of one gateway in every list, two gateways of one name.

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use nta_core::domain::{
    Alert, AlertChange, AlertKind, AlertState, ClearReason, IdentityScope, RunId, Severity, Status, Timestamp,
};
use nta_core::features::{FEATURES, SCHEMA_VERSION};
use nta_daemon::api::{ApiState, router};
use nta_daemon::config::RemoteWriteConfig;
use nta_daemon::sink::Standing;
use nta_daemon::sink::remote_write::RemoteWrite;
use nta_daemon::store::{FeatureRow, Found, Store, WindowBatch};
use serde_json::Value;
use tokio::sync::watch;
use tower::ServiceExt as _;

use crate::alerts::alert;
use crate::app::{HOST, flow, time, window};
use crate::fleet::{Centre, Gateway, ask, make};

/// Series of a scrape, by name and labels.
async fn scrape(state: ApiState) -> Vec<(String, f64)> {
    let request = Request::get("/metrics").header(header::HOST, HOST).body(Body::empty()).expect("request");
    let answer = router(state).oneshot(request).await.expect("answer");
    assert_eq!(answer.status(), StatusCode::OK);
    let body = to_bytes(answer.into_body(), usize::MAX).await.expect("body");
    let text = String::from_utf8(body.to_vec()).expect("UTF-8");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(of, value)| (of.to_owned(), value.parse().expect("a number")))
        .collect()
}

/// Both sides' `/metrics` say what was shipped over an absence: eleven batches, none lost.
pub(crate) async fn measured(server: &Store, gateway: &Gateway) {
    let series = scrape(ApiState::new(server.clone(), watch::channel(Status::default()).1)).await;
    let of = |series: &[(String, f64)], name: &str| series.iter().find(|(of, _)| of == name).map(|(_, value)| *value);
    let sensor = |name: &str| of(&series, &format!("nta_sensor_{name}{{sensor=\"gw1\"}}"));
    assert_eq!(of(&series, "nta_sensors"), Some(1.0));
    assert_eq!(
        (sensor("complete"), sensor("missing_batches"), sensor("lost_batches")),
        (Some(1.0), Some(0.0), Some(0.0))
    );
    assert_eq!(sensor("double_batches_total"), Some(0.0));
    assert!(sensor("silent_seconds").is_some_and(|silent| silent < 60.0), "{series:?}");
    assert!(sensor("lag_seconds").is_some_and(|lag| lag > 1e9), "its windows are of 1970");
    // The gateway notes what was taken a moment after it let go of it.
    for _ in 0..3000 {
        if gateway.shipping.state().watermark == 11 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let state = ApiState::new(gateway.store.clone(), watch::channel(Status::default()).1);
    let series = scrape(state.with_shipping(gateway.shipping.clone())).await;
    let shipping = |name: &str| of(&series, &format!("nta_shipping_{name}"));
    assert_eq!((shipping("watermark"), shipping("sent_batches_total")), (Some(11.0), Some(11.0)));
    assert_eq!((shipping("failing"), shipping("failed_batches")), (Some(0.0), Some(0.0)));
    assert!(shipping("failures_total").is_some_and(|failures| failures > 2.0), "the server was away: {series:?}");
    assert_eq!(shipping("given_up_total{kind=\"batches\"}"), Some(0.0));
}

#[tokio::test]
async fn every_list_and_sum_answers_for_one_gateway_of_the_fleet() {
    let folder = tempfile::tempdir().expect("folder");
    let server = Store::open(&format!("sqlite:{}", folder.path().join("nta.db").display())).await.expect("store");
    let (admin, token) = (make(&server, "admin", &[]).await, make(&server, "sensor", &[]).await);
    let centre = Centre::listen(&server, "127.0.0.1:0").await;
    for (number, name) in [(1, "gw1"), (2, "gw2")] {
        let gateway = Gateway::named(name, centre.address, &token, "flows = true").await;
        let mut found = Found::new(server.clone(), 0);
        found.alert(AlertChange::Raised, &alert(AlertKind::PortScan, number, 1, 0.9));
        let features = vec![FeatureRow {
            start: time(5),
            end: time(10),
            span_ns: 5_000_000_000,
            host: [10, 0, 0, 1].into(),
            schema_version: SCHEMA_VERSION,
            vector: vec![1.0; FEATURES.len()],
        }];
        let mut batch = WindowBatch { window: Some(window(1)), flows: vec![flow(1)], ..WindowBatch::default() };
        found.move_into(&mut batch);
        batch.features = features;
        gateway.writer.send(batch).await.expect("send");
        gateway.commit(2..=2).await;
        gateway.waits_with(0).await;
        gateway.stop.cancel();
    }
    let get = async |path: String| ask(&server, Method::GET, &path, &admin, Body::empty(), "application/json").await;
    let (_, document) = get("/openapi.json".to_owned()).await;
    let takes = |of: &Value| {
        of["get"]["parameters"].as_array().is_some_and(|all| all.iter().any(|one| one["name"] == "sensor"))
    };
    let paths =
        document["paths"].as_object().expect("paths").iter().filter(|(_, of)| takes(of)).map(|(path, _)| path.as_str());
    // Streams end with their reader, a job is the server's own, and what an export or an explanation is of is asked otherwise.
    let others = ["/api/events", "/api/stream", "/api/jobs", "/api/export", "/api/explain"];
    let mut seen = 0;
    for path in paths.filter(|path| !others.contains(path)) {
        let asked = match path {
            "/api/metrics" => format!("{path}?span=5&from=0&"),
            "/api/features" => format!("{path}?window_size=5&from=0&"),
            "/api/last10" | "/api/hosts/{ip}" => format!("{}?", path.replace("{ip}", "10.0.0.1")),
            _ => format!("{path}?from=0&"),
        };
        let of = async |name: &str| {
            let (status, answer) = get(format!("{asked}sensor={name}")).await;
            assert_eq!(status, StatusCode::OK, "{asked}{name}: {answer}");
            answer
        };
        if path.starts_with("/api/hosts/{") {
            let answer = of("gw2").await;
            assert_eq!((&answer["sensor"], &answer["flows"]), (&"gw2".into(), &2.into()), "{answer}");
            continue;
        }
        let (one, none) = (of("gw1").await, of("elsewhere").await);
        match one["items"].as_array() {
            Some(items) if items.iter().any(|item| item.get("sensor").is_some()) => {
                assert!(items.iter().all(|item| item["sensor"] == "gw1"), "{path}: {one}");
                assert_eq!(none["items"].as_array().map(Vec::len), Some(0), "{path}: {none}");
            }
            // What has no rows of its own sums up.
            _ => {
                let (both, own) = (get(asked.trim_end_matches(['?', '&']).to_owned()).await.1, [&one, &none]);
                assert!(own.into_iter().all(|own| *own != both) && one != none, "{path}: {one} {none} {both}");
            }
        }
        seen += 1;
    }
    assert!(seen >= 13, "{seen}");
    centre.end().await;
}

#[tokio::test]
async fn two_gateways_of_one_name_are_said_and_both_go_on() {
    let folder = tempfile::tempdir().expect("folder");
    let server = Store::open(&format!("sqlite:{}", folder.path().join("nta.db").display())).await.expect("store");
    let (admin, token) = (make(&server, "admin", &[]).await, make(&server, "sensor", &[]).await);
    let centre = Centre::listen(&server, "127.0.0.1:0").await;
    let list = async || {
        let (_, list) = ask(&server, Method::GET, "/api/sensors", &admin, Body::empty(), "application/json").await;
        list["items"].as_array().expect("items").clone()
    };
    let mut one = Gateway::begin(centre.address, &token, "").await;
    one.commit(1..=1).await;
    one.waits_with(0).await;
    one.stop.cancel();
    // Another database alone is no other gateway.
    let two = Gateway::begin(centre.address, &token, "").await;
    two.commit(1..=1).await;
    two.waits_with(0).await;
    let logs = list().await;
    assert!(logs.len() == 2 && logs.iter().all(|log| log["state"] == "ok"), "{logs:?}");
    one.go_on();
    one.commit(2..=2).await;
    one.waits_with(0).await;
    two.commit(2..=2).await;
    two.waits_with(0).await;
    for log in list().await {
        assert_eq!((&log["state"], &log["is_complete"]), (&"degraded".into(), &true.into()), "{log}");
        assert!(log["reasons"][0].as_str().is_some_and(|reason| reason.contains("two gateways ship as gw1")), "{log}");
    }
    for gateway in [one, two] {
        gateway.stop.cancel();
    }
    centre.end().await;
}

/// An alert of a gateway that began just now.
fn begun(gateway: &str, kind: AlertKind, severity: Severity) -> Alert {
    let now = Timestamp::from_nanos(u64::try_from(jiff::Timestamp::now().as_nanosecond()).expect("a time"));
    let mut alert = alert(kind, 9, 1, 0.7);
    let scope = IdentityScope::of_run(&gateway.parse().expect("a name"), &RunId([9; 16]));
    (alert.first, alert.last, alert.raised, alert.severity) = (now, now, now, severity);
    alert.id = scope.alert_id(&alert.key, now);
    alert
}

async fn ship(gateway: &Gateway, number: u64, alerts: Vec<Alert>) {
    let batch = WindowBatch { window: Some(window(number)), alerts, ..WindowBatch::default() };
    gateway.writer.send(batch).await.expect("send");
    gateway.writer.flush().await.expect("flush");
    gateway.waits_with(0).await;
}

/// The series about alerts that are not 0, of who is asked for the first time; a centre may know its open ones at the next scrape only.
async fn counted(store: &Store) -> Vec<(String, f64)> {
    let state = ApiState::new(store.clone(), watch::channel(Status::default()).1);
    for _ in 0..600 {
        let mut series = scrape(state.clone()).await;
        if series.iter().any(|(name, _)| name.starts_with("nta_alerts_open{")) {
            series.retain(|(name, value)| {
                *value != 0.0 && (name.starts_with("nta_alerts_open") || name.starts_with("nta_alerts_total"))
            });
            series.sort_by(|one, other| one.0.cmp(&other.0));
            return series;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("alerts that go on are not counted");
}

fn series(all: &[(&str, f64)]) -> Vec<(String, f64)> {
    all.iter().map(|(name, value)| (format!("nta_alerts_{name}"), *value)).collect()
}

#[tokio::test]
async fn a_centre_counts_the_alerts_of_its_list_and_a_gateway_its_own() {
    let folder = tempfile::tempdir().expect("folder");
    let server = Store::open(&format!("sqlite:{}", folder.path().join("nta.db").display())).await.expect("store");
    let (admin, token) = (make(&server, "admin", &[]).await, make(&server, "sensor", &[]).await);
    let centre = Centre::listen(&server, "127.0.0.1:0").await;
    let [one, two] = [
        Gateway::named("gw1", centre.address, &token, "").await,
        Gateway::named("gw2", centre.address, &token, "").await,
    ];
    let flood = begun("gw1", AlertKind::SynFlood, Severity::Medium);
    let scans = ["gw1", "gw2"].map(|name| begun(name, AlertKind::PortScan, Severity::High));
    ship(&one, 1, vec![flood, scans[0].clone()]).await;
    ship(&two, 1, vec![scans[1].clone()]).await;
    let listed = async || {
        let path = "/api/alerts?state=raised";
        ask(&server, Method::GET, path, &admin, Body::empty(), "application/json").await.1
    };
    let list = listed().await;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(2), "the flood, and one scan of both: {list}");
    // The scan was raised for one gateway, and again as that of both.
    let raised = [("total{type=\"port_scan\"}", 2.0), ("total{type=\"syn_flood\"}", 1.0)];
    let open = [
        ("open_by_type{type=\"port_scan\",severity=\"high\"}", 1.0),
        ("open_by_type{type=\"syn_flood\",severity=\"medium\"}", 1.0),
        ("open{severity=\"high\"}", 1.0),
        ("open{severity=\"medium\"}", 1.0),
    ];
    assert_eq!(counted(&server).await, series(&[&open[..], &raised[..]].concat()));
    // What a gateway says of itself is what its own pipeline has, which raised nothing here.
    assert_eq!(counted(&one.store).await, Vec::new());

    for (gateway, mut scan) in [&one, &two].into_iter().zip(scans) {
        (scan.state, scan.cleared) = (AlertState::Cleared, Some(scan.last));
        scan.clear_reason = Some(ClearReason::Quiet);
        ship(gateway, 2, vec![scan]).await;
    }
    assert_eq!(listed().await["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(counted(&server).await, series(&[&[open[1], open[3]], &raised[..]].concat()));
    one.stop.cancel();
    two.stop.cancel();
    centre.end().await;
}

#[tokio::test]
async fn a_centre_says_of_a_gateway_what_its_own_health_says() {
    let folder = tempfile::tempdir().expect("folder");
    let server = Store::open(&format!("sqlite:{}", folder.path().join("nta.db").display())).await.expect("store");
    let (admin, token) = (make(&server, "admin", &[]).await, make(&server, "sensor", &[]).await);
    let centre = Centre::listen(&server, "127.0.0.1:0").await;
    let gateway = Gateway::named("gw1", centre.address, &token, "").await;
    gateway.stop.cancel();
    // Nobody takes its metrics: the address is one that nothing listens at any more.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("listener").local_addr().expect("address");
    let to = format!("http://{closed}/api/v1/write").parse().expect("a URL");
    let config = RemoteWriteConfig { to, interval_s: 1, ..RemoteWriteConfig::default() };
    let push = RemoteWrite::new(&config, "gw1").expect("usable").expect("configured");
    let (outputs, stop) = (vec![push.counters()], tokio_util::sync::CancellationToken::new());
    tokio::spawn(push.run(stop.clone(), || async { Some("a 1\n".to_owned()) }));
    let (published, status) = watch::channel(Status::default());
    let standing = Standing::new(status.clone(), gateway.store.clone(), outputs.clone().into());
    gateway.shipping.start(standing, &stop);
    let own = router(ApiState::new(gateway.store.clone(), status).with_outputs(outputs));
    let health = async || {
        let request = Request::get("/health").header(header::HOST, HOST).body(Body::empty()).expect("request");
        let body = to_bytes(own.clone().oneshot(request).await.expect("answer").into_body(), usize::MAX).await;
        serde_json::from_slice::<Value>(&body.expect("body")).expect("JSON")
    };
    let said = async || {
        let answer = ask(&server, Method::GET, "/api/sensors/gw1", &admin, Body::empty(), "application/json").await.1;
        (answer["state"].clone(), answer["reasons"].clone())
    };
    let committed = std::cell::Cell::new(0);
    let agree = async |what: &str, expected: &Value| {
        for _ in 0..600 {
            // What is committed is shipped at once.
            committed.set(committed.get() + 1);
            gateway.commit(committed.get()..=committed.get()).await;
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            if said().await == (what.into(), expected.clone()) {
                return;
            }
        }
        panic!("{what} {expected}: {:?}", said().await);
    };
    while health().await["status"] == "ok" {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    published.send_modify(|status| {
        status.degraded = vec!["eth1 is away".to_owned()];
        status.stopped = vec!["eth2 is stopped".to_owned()];
    });
    let degraded = health().await["reasons"].clone();
    let has = |text: &str| {
        degraded.as_array().expect("reasons").iter().any(|one| one.as_str().is_some_and(|one| one.contains(text)))
    };
    assert!(
        has("capture: eth1 is away") && has("eth2 is stopped") && has("remote_write: ") && has("refused"),
        "{degraded}"
    );
    agree("degraded", &degraded).await;
    // What fails altogether is said too.
    published.send_modify(|status| status.failure = Some("no interface is counted".to_owned()));
    let failed = health().await["detail"].clone();
    assert_eq!(failed, "capture: no interface is counted");
    agree("degraded", &[failed].into_iter().collect()).await;
    stop.cancel();
    centre.end().await;
}

#[tokio::test]
async fn what_is_inside_is_what_each_gateway_knows() {
    let folder = tempfile::tempdir().expect("folder");
    let server = Store::open(&format!("sqlite:{}", folder.path().join("nta.db").display())).await.expect("store");
    let (admin, token) = (make(&server, "admin", &[]).await, make(&server, "sensor", &[]).await);
    let centre = Centre::listen(&server, "127.0.0.1:0").await;
    let own = "flows = true\n[detect]\nlocal_networks = [\"192.0.2.0/24\"]";
    let [one, two] = [
        Gateway::named("gw1", centre.address, &token, own).await,
        Gateway::named("gw2", centre.address, &token, "flows = true").await,
    ];
    for (name, gateway) in [("gw1", &one), ("gw2", &two)] {
        gateway.commit(1..=1).await;
        ship(gateway, 2, vec![begun(name, AlertKind::PortScan, Severity::High)]).await;
    }
    let get = async |path: &str| ask(&server, Method::GET, path, &admin, Body::empty(), "application/json").await.1;
    let inside = async |path: &str, field: &str| {
        let list = get(path).await;
        let items = list["items"].as_array().expect("items").clone();
        let mut all: Vec<_> = items.iter().map(|item| (item["sensor"].to_string(), item[field].to_string())).collect();
        all.sort();
        all
    };
    let expected = |all: &[(&str, &str)]| -> Vec<(String, String)> {
        all.iter().map(|(sensor, inside)| ((*sensor).to_owned(), (*inside).to_owned())).collect()
    };
    // 192.0.2.9 is inside for the first; the alert of both has an attacker that is inside for one of them.
    let alerts = expected(&[("\"gw1\"", "true"), ("\"gw2\"", "false"), ("null", "true")]);
    assert_eq!(inside("/api/alerts?parts=true", "source_inside").await, alerts);
    // Private addresses are inside for who has not said otherwise.
    let hosts = "/api/hosts?from=0&host=10.0.0.1";
    assert_eq!(inside(hosts, "inside").await, expected(&[("\"gw1\"", "false"), ("\"gw2\"", "true")]));
    for (sensor, is_inside) in [("gw1", false), ("gw2", true)] {
        assert_eq!(get(&format!("/api/hosts/10.0.0.1?sensor={sensor}")).await["inside"], is_inside, "{sensor}");
    }
    // What its machine knows later holds from the next message on.
    one.config.detect.local_networks.learn(vec!["10.0.0.0/8".parse().expect("a network")]);
    ship(&one, 3, Vec::new()).await;
    assert_eq!(inside(hosts, "inside").await, expected(&[("\"gw1\"", "true"), ("\"gw2\"", "true")]));
    one.stop.cancel();
    two.stop.cancel();
    centre.end().await;
}
