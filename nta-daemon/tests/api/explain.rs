//! `/api/explain`: why there was an alert, or none.

use axum::http::StatusCode;
use nta_core::domain::{AlertChange, AlertKind, HostMeasure, HostMeasures};
use nta_core::window::{Measured, Window};
use nta_daemon::store::WindowBatch;
use serde_json::Value;

use crate::alerts::{alert, emit};
use crate::app::{App, parse, time, window};

const S: u64 = 1_000_000_000;

fn measure(detector: &'static str, host: u8, observed: f64) -> HostMeasure {
    HostMeasure {
        detector: detector.into(),
        host: [192, 0, 2, host].into(),
        name: "services".into(),
        unit: "services".into(),
        observed,
        threshold: 15.0,
    }
}

/// Window 1 from 5 s to 10 s, with room for all; window 2 behind it, without.
async fn app() -> App {
    let app = App::with(0, 0).await;
    for (id, left_out) in [(1, 0), (2, 3)] {
        let kept = vec![measure("port_scan", 1, 40.0), measure("slowloris", 1, 6.0), measure("port_scan", 2, 7.5)];
        let measured = Measured { span_ns: 5 * S, length_ns: 5 * S, ..Measured::default() };
        app.write(
            Some(Window { near: HostMeasures { kept, left_out, is_forgotten: false }, measured, ..window(id) }),
            vec![],
        )
        .await;
    }
    app
}

fn of<'a>(answer: &'a Value, detector: &str) -> &'a Value {
    let all = answer["detectors"].as_array().expect("detectors");
    all.iter().find(|one| one["detector"] == detector).expect(detector)
}

#[tokio::test]
async fn measures_beyond_what_is_kept_are_not_told_as_none() {
    let app = App::with(0, 0).await;
    let measured = Measured { span_ns: 5 * S, length_ns: 5 * S, ..Measured::default() };
    let near = HostMeasures { is_forgotten: true, ..HostMeasures::default() };
    app.write(Some(Window { near, measured, ..window(1) }), vec![]).await;
    let answer = app.json("/api/explain?host=192.0.2.1&at=7").await;
    assert_eq!(answer["state"], "not_kept", "{answer}");
    let reason = answer["reason"].as_str().expect("a reason");
    assert!(reason.contains("store.max_near_measures") && reason.contains("store.keep_near_days"), "{reason}");
    assert_eq!(
        (&answer["windows"][0]["measures_kept"], &of(&answer, "port_scan")["state"]),
        (&false.into(), &"not_kept".into())
    );
}

#[tokio::test]
async fn every_detector_says_how_near_a_host_came() {
    let app = app().await;
    let found = alert(AlertKind::PortScan, 1, 1, 0.9);
    emit(&app, AlertChange::Raised, std::slice::from_ref(&found)).await;
    let answer = app.json("/api/explain?host=192.0.2.1&at=7").await;
    assert_eq!((&answer["state"], &answer["reason"]), (&"kept".into(), &Value::Null), "{answer}");
    assert_eq!(answer["alerts"][0]["id"], found.id.to_string());
    assert_eq!(answer["detectors"].as_array().map(Vec::len), Some(nta_core::detect::declarations().len()));
    let scan = of(&answer, "port_scan");
    assert_eq!((&scan["state"], &scan["measures"][0]["observed"]), (&"reached".into(), &40.0.into()), "{scan}");
    assert_eq!(scan["measures"][0]["threshold"], 15.0);
    assert_eq!(scan["measures"][0]["window_start"], time(5).to_string());
    assert!(scan["about"].as_str().is_some_and(|about| about.contains("an alert names it")), "{scan}");
    assert_eq!(answer["detectors"][0]["detector"], "port_scan", "the nearest first");
    assert_eq!(of(&answer, "slowloris")["state"], "near");
    assert_eq!(of(&answer, "slowloris")["measures"][0]["share"], 0.4);
    assert_eq!(of(&answer, "syn_flood")["state"], "below_quarter");
    assert_eq!(of(&answer, "traffic_spike")["state"], "network");
    assert_eq!(of(&answer, "isolation_forest")["state"], "not_kept", "it judges windows of 30 s alone");
    // Where measures found no room nothing is said of those that are not there.
    let crowded = app.json("/api/explain?host=192.0.2.1&at=12").await;
    assert_eq!(of(&crowded, "syn_flood")["state"], "unknown");
    // Another host, and the same address written as IPv6 has it.
    let other = app.json("/api/explain?host=::ffff:192.0.2.2&at=7").await;
    assert_eq!((&other["host"], &of(&other, "port_scan")["state"]), (&"192.0.2.2".into(), &"near".into()), "{other}");
    assert_eq!(other["alerts"].as_array().map(Vec::len), Some(0));
}

#[tokio::test]
async fn what_is_not_kept_is_said_with_the_reason() {
    let app = app().await;
    for (at, reason) in [(1, "the oldest window that is stored begins"), (100, "no window of that time has closed")] {
        let answer = app.json(&format!("/api/explain?host=192.0.2.1&at={at}")).await;
        assert_eq!(answer["state"], "not_kept", "{answer}");
        assert!(answer["reason"].as_str().is_some_and(|text| text.contains(reason)), "{answer}");
        assert_eq!(of(&answer, "port_scan")["state"], "not_kept");
    }
    app.batch(WindowBatch { window: Some(window(9)), ..WindowBatch::default() }).await;
    let gap = app.json("/api/explain?host=192.0.2.1&at=30").await;
    assert!(gap["reason"].as_str().is_some_and(|text| text.contains("nothing was counted then")), "{gap}");
    let empty = App::with(0, 0).await.json("/api/explain?host=192.0.2.1").await;
    assert_eq!((&empty["state"], &empty["reason"]), (&"not_kept".into(), &"no window is stored".into()));
}

#[tokio::test]
async fn a_question_without_a_host_is_refused_by_name() {
    let app = App::with(0, 0).await;
    for (query, field) in [("", "host"), ("?host=gateway", "host"), ("?host=10.0.0.1&at=noon", "at"), ("?ip=1", "ip")] {
        let (status, _, body) = app.get(&format!("/api/explain{query}")).await;
        assert_eq!((status, &parse(&body)["field"]), (StatusCode::BAD_REQUEST, &field.into()), "{query}");
    }
}
