//! Bodies of every route that takes one, with anything in the places of their shape: refused with a reason, or taken and
//! good enough for a pipeline to go on with.

use axum::http::{Method, StatusCode};
use nta_core::baseline::{BaselineConfig, Baselines, Metric};
use nta_core::detect::{DetectConfig, View, detectors};
use nta_core::window::{Protocol, Snapshot, Span, Window};
use nta_daemon::store::WindowBatch;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::app::{App, time};

/// Stands where text that is no JSON value of serde's is put.
const RAW: &str = "@raw@";
const CASES: u32 = 256;

/// The document of every type, learned from forty windows that go on for two weeks.
async fn learned(app: &App) -> Vec<(&'static str, Value)> {
    let longer = (1..=40).map(|number| (6, window(number * 1_009, number % 4 * 1_000_000))).collect();
    app.batch(WindowBatch { longer, ..WindowBatch::default() }).await;
    let (status, generated) = app.send(Method::POST, "/api/baselines/generate", &json!({})).await;
    assert_eq!(status, StatusCode::OK, "{generated}");
    let mut pipeline = Baselines::new(BaselineConfig::default());
    assert_eq!(app.baselines.carry_out(&mut pipeline), (true, vec![]));
    app.baselines.publish(pipeline.export());
    let mut documents = Vec::new();
    for (kind, _) in Metric::TYPES {
        let document = app.json(&format!("/api/baselines/{kind}")).await;
        documents.push((kind, json!({"series": document["series"]})));
    }
    documents
}

fn window(number: u64, bytes: u64) -> Window {
    let protocols = vec![Protocol { number: 6, packets: 900, bytes, flows: 9 }];
    let (start, end) = (time(number * 30), time(number * 30 + 30));
    Window { id: number, start, end, packets: 900, bytes, protocols, tcp_packets: 900, ..Window::default() }
}

/// What may stand in a place, and the text for [`RAW`] where it is that.
fn odd() -> impl Strategy<Value = (Value, &'static str)> {
    let nothing = |value: Value| (value, "");
    let number = prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
    ];
    let ends = json!({"bins": [], "count": 5, "min_key": i32::MAX, "max_key": i32::MIN, "offset": i32::MAX});
    let sketch = json!({"store": ends, "negative_store": ends, "zero_count": 0, "min": 0.0, "max": 1e300, "sum": -1.0});
    let words = prop::sample::select(vec!["NaN", "Infinity", "-inf", "1e999", "", "\0", "resolved", "loss"]);
    let raw = prop::sample::select(vec![
        "1e999",
        "-1e999",
        "NaN",
        "-0",
        "1E-400",
        "18446744073709551616",
        "[",
        "\"\\ud800\"",
    ]);
    prop_oneof![
        4 => number.prop_map(nothing),
        8 => (0..60_u64).prop_map(|number| (number.into(), "")),
        4 => (0.0..1e18).prop_map(|number| (json!(number), "")),
        1 => Just(nothing(Value::Null)),
        1 => Just(nothing(json!([]))),
        1 => Just(nothing(json!({}))),
        1 => Just(nothing(sketch)),
        1 => Just(nothing(json!(vec![1e308; 600]))),
        1 => Just(nothing(json!({"-2147483648": 1.0, "2147483647": 1e300}))),
        1 => words.prop_map(move |word| nothing(word.into())),
        1 => any::<String>().prop_map(move |text| nothing(text.into())),
        1 => raw.prop_map(|raw| (Value::from(RAW), raw)),
        1 => Just((Value::from(RAW), DEEP)),
    ]
}

/// Lists in lists, deeper than any document.
const DEEP: &str = "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\
    [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[";

/// The places of a document that hold something, each as a JSON pointer.
fn places(value: &Value, at: &str, out: &mut Vec<String>) {
    out.push(at.to_owned());
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| places(value, &format!("{at}/{key}"), out)),
        Value::Array(list) => {
            list.iter().take(3).enumerate().for_each(|(n, value)| places(value, &format!("{at}/{n}"), out));
        }
        _ => {}
    }
}

/// Changes of a document: where, and to what.
fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, (Value, &'static str))>> {
    prop::collection::vec((any::<prop::sample::Index>(), odd()), 1..3)
}

fn changed(mut document: Value, changes: Vec<(prop::sample::Index, (Value, &'static str))>) -> String {
    let mut text = "";
    for (place, (value, raw)) in changes {
        let mut all = Vec::new();
        places(&document, "", &mut all);
        if let Some(at) = document.pointer_mut(&all[place.index(all.len())]) {
            *at = value;
        }
        text = if raw.is_empty() { text } else { raw };
    }
    document.to_string().replace(&format!("\"{RAW}\""), text)
}

/// Refused by name, or done; never a fault of the server.
fn is_sound(status: StatusCode, answer: &Value, body: &str) {
    assert!(status.is_success() || status.is_client_error(), "{status} {answer}\n{body}");
    if !status.is_success() {
        let detail = answer["detail"].as_str().unwrap_or_default();
        assert!(!detail.is_empty() && !detail.contains("panick"), "{status} {answer}\n{body}");
    }
}

/// What a pipeline does at its next windows.
fn goes_on(app: &App, body: &str) {
    let mut pipeline = Baselines::new(BaselineConfig { warm_up_windows: 1, ..BaselineConfig::default() });
    let (_, refused) = app.baselines.carry_out(&mut pipeline);
    assert!(refused.is_empty(), "accepted, and then refused: {refused:?}\n{body}");
    let mut detectors = detectors(&DetectConfig::default());
    for number in [40_000, 40_001, 80_000_000] {
        let snapshot = Snapshot::of_network(Span::Medium, window(number, u64::from(u32::MAX)));
        let mut findings = Vec::new();
        let view = View { snapshot: &snapshot, baselines: &pipeline, tries: &[], states: None };
        detectors.iter_mut().filter(|detector| detector.declaration().accepts(&snapshot)).for_each(|detector| {
            detector.inspect(&view, &mut findings);
        });
        assert!(findings.iter().all(|finding| finding.measure.observed.is_finite()), "{findings:?}\n{body}");
        pipeline.learn(&snapshot, &|_, _| false);
        for metric in Metric::ALL {
            let expected = pipeline.expect(metric, snapshot.window.end);
            assert!(expected.is_none_or(|e| e.median.is_finite() && e.sigma.is_finite()), "{metric:?} {body}");
        }
    }
}

fn runner() -> TestRunner {
    TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() })
}

#[test]
fn no_import_of_its_shape_fails_the_server_or_the_pipeline_after_it() {
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    let app = runtime.block_on(App::with(0, 0));
    let documents = runtime.block_on(learned(&app));
    let accepted = std::cell::Cell::new(0);
    let strategy = (0..documents.len(), changes());
    let run = runner().run(&strategy, |(which, changes)| {
        let (kind, document) = &documents[which];
        let body = changed(document.clone(), changes);
        let path = format!("/api/baselines/{kind}");
        let put = app.send_text(Method::PUT, &path, &body);
        let (status, answer) = runtime.block_on(put);
        is_sound(status, &answer, &body);
        goes_on(&app, &body);
        if status == StatusCode::OK {
            accepted.set(accepted.get() + 1);
            // And what is stored now can be read by whoever asks, and by the next start.
            let (again, _, text) = runtime.block_on(app.get("/api/baselines"));
            assert_eq!(again, StatusCode::OK, "{}", String::from_utf8_lossy(&text));
            let stored = runtime.block_on(app.store.baselines("replay")).expect("readable").expect("stored");
            Baselines::new(BaselineConfig::default()).import(stored).expect("usable");
        }
        Ok(())
    });
    run.expect("no case fails");
    let accepted = accepted.get();
    assert!((10..CASES - 10).contains(&accepted), "{accepted} of {CASES} accepted: the changes say nothing");
}

#[test]
fn no_body_of_its_shape_fails_the_server() {
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    let app = runtime.block_on(App::with(2, 2));
    runtime.block_on(learned(&app));
    let bodies = [
        (Method::POST, "/api/anomalies/detect", json!({"windows": 30, "detectors": ["packet_loss", "traffic_spike"]})),
        (Method::POST, "/api/baselines/generate", json!({"windows": 25})),
        (Method::POST, "/api/metrics/compute", json!({"window_size": 15.0, "force": true, "capture": null})),
        (Method::PATCH, "/api/alerts/0123456789abcdef", json!({"status": "resolved", "note": "a test", "by": "mira"})),
    ];
    let run = runner().run(&(0..bodies.len(), changes()), |(which, changes)| {
        let (method, path, document) = &bodies[which];
        let body = changed(document.clone(), changes);
        let (status, answer) = runtime.block_on(app.send_text(method.clone(), path, &body));
        is_sound(status, &answer, &body);
        goes_on(&app, &body);
        Ok(())
    });
    run.expect("no case fails");
}

#[tokio::test]
async fn the_sketch_that_ended_a_daemon_is_refused_or_harmless() {
    let app = App::with(0, 0).await;
    let store = json!({"bins": [], "count": 5, "min_key": i32::MAX, "max_key": i32::MIN, "offset": i32::MAX,
        "bin_limit": 512, "is_collapsed": false});
    let sketch = json!({"config": {"max_num_bins": 512, "gamma": 1.02, "gamma_ln": 0.02, "min_value": 1e-6, "offset": 700},
        "store": store, "negative_store": store, "min": 0.0, "max": 1.0, "sum": 1.0, "zero_count": 0});
    let hour = json!({"last": 8, "earlier": 60, "latest": 60, "values": sketch});
    let series = json!({"recent": {"values": [], "next": 0}, "season": {"hours": {"80": hour}}, "samples": 120});
    let body = json!({"series": {"bandwidth": series}}).to_string();
    let (status, answer) = app.send_text(Method::PUT, "/api/baselines/bandwidth", &body).await;
    is_sound(status, &answer, &body);
    goes_on(&app, &body);
}
