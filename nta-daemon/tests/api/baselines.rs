//! `/api/baselines` and `POST /api/anomalies/detect`: what is usual, and stored windows held against it.

use axum::http::{Method, StatusCode, header};
use nta_core::baseline::{Baselines, Import, Metric};
use nta_core::domain::{AlertChange, AlertKind};
use nta_core::window::{Protocol, Snapshot, Span, Window};
use nta_daemon::store::WindowBatch;
use serde_json::{Value, json};

use crate::app::{App, parse, time};

/// A window of 30 s with this many bytes.
fn medium(number: u64, bytes: u64) -> Window {
    Window {
        id: number,
        start: time(number * 30),
        end: time(number * 30 + 30),
        packets: 900,
        bytes,
        protocols: vec![Protocol { number: 6, packets: 900, bytes, flows: 9 }],
        tcp_packets: 900,
        ..Window::default()
    }
}

/// Windows 1 to `count` of 30 s, all alike but the last, which has twenty times the bytes.
async fn with_medium_windows(count: u64) -> App {
    let app = App::with(1, 1).await;
    let bytes = |number| if number == count { 20_000_000 } else { 1_000_000 };
    let longer = (1..=count).map(|number| (6, medium(number, bytes(number)))).collect();
    app.batch(WindowBatch { longer, ..WindowBatch::default() }).await;
    app
}

#[tokio::test]
async fn types_are_listed_and_an_unknown_one_names_them() {
    let app = App::with(0, 0).await;
    let list = app.json("/api/baselines?sort=type").await;
    let types: Vec<_> = list["items"].as_array().expect("items").iter().map(|t| t["type"].as_str()).collect();
    let all = ["bandwidth", "connections", "latency", "loss", "ports", "protocol"];
    assert_eq!(types, all.map(Some));
    assert_eq!(list["items"][0]["state"], "warm_up");
    assert_eq!(app.json("/api/baselines/stats").await["origin"], "none");
    let one = app.json("/api/baselines?type=ports&usual_from=0&usual_to=3600").await;
    let of_ports =
        (one["items"].as_array().map(Vec::len), &one["items"][0]["type"], &one["items"][0]["metrics"][0]["usual"]);
    assert_eq!(of_ports, (Some(1), &"ports".into(), &json!([])), "nothing is learned: {one}");
    for (refused, field) in [("usual_from=0&usual_to=2764800", "usual_from"), ("type=colour", "type")] {
        let (status, _, body) = app.get(&format!("/api/baselines?{refused}")).await;
        assert_eq!((status, &parse(&body)["field"]), (StatusCode::BAD_REQUEST, &field.into()), "{refused}");
    }
    let (status, _, body) = app.get("/api/baselines/colour").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let detail = parse(&body)["detail"].as_str().expect("detail").to_owned();
    assert!(all.iter().all(|name| detail.contains(name)), "{detail}");
}

#[tokio::test]
async fn what_is_generated_can_be_read_imported_and_judged_by() {
    let app = with_medium_windows(40).await;
    let (status, refused) = app.send(Method::POST, "/api/anomalies/detect", &json!({})).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "nothing is expected yet: {refused}");
    assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains("warm-up")), "{refused}");

    app.baselines.end(); // as after a replay
    let (status, generated) = app.send(Method::POST, "/api/baselines/generate/", &json!({})).await;
    assert_eq!((status, &generated["windows"]), (StatusCode::OK, &40.into()), "{generated}");
    assert_eq!((&generated["applies"], &generated["unchanged"]), (&"now".into(), &json!(["latency", "ports"])));
    let bandwidth = app.json("/api/baselines/bandwidth").await;
    assert_eq!((&bandwidth["state"], &bandwidth["metrics"][0]["samples"]), (&"ready".into(), &40.into()));
    let median = bandwidth["metrics"][0]["expected"]["median"].as_f64().expect("median");
    assert!((median - 8_000_000.0 / 30.0).abs() < 1.0, "{median}");
    let stats = app.json("/api/baselines/stats").await;
    assert_eq!(
        (&stats["samples"], &stats["origin"], &stats["name"]),
        (&40.into(), &"pipeline".into(), &"replay".into())
    );

    // The document of GET is what PUT takes, in a new database.
    let other = with_medium_windows(40).await;
    other.baselines.end();
    let (status, imported) = other.send(Method::PUT, "/api/baselines/bandwidth", &bandwidth).await;
    assert_eq!(status, StatusCode::OK, "{imported}");
    assert_eq!(other.json("/api/baselines/bandwidth").await["series"], bandwidth["series"]);
    assert_eq!(other.store.baselines("replay").await.expect("query").map(|export| export.network.len()), Some(2));

    let (status, found) = other.send(Method::POST, "/api/anomalies/detect", &json!({"windows": 30})).await;
    assert_eq!((status, &found["windows"], &found["span_s"]), (StatusCode::OK, &30.into(), &30.0.into()), "{found}");
    assert_eq!((&found["total"], &found["items"][0]["type"]), (&1.into(), &"traffic_spike".into()), "{found}");
    assert_eq!(found["items"][0]["window_start"], "1970-01-01T00:20:00.000000Z");
    assert!(found["metrics_in_warm_up"].as_array().is_some_and(|cold| cold.contains(&"loss".into())), "{found}");
    assert_eq!(other.json("/api/anomalies").await["items"], json!([]), "nothing is stored");
    let only = json!({"detectors": ["packet_loss"]});
    assert_eq!(other.send(Method::POST, "/api/anomalies/detect", &only).await.1["total"], 0);
}

/// What would another setting have done?
#[tokio::test]
async fn changed_settings_are_held_against_what_was_raised() {
    let app = with_medium_windows(40).await;
    app.baselines.end(); // as after a replay
    assert_eq!(app.send(Method::POST, "/api/baselines/generate", &json!({})).await.0, StatusCode::OK);
    // The spike of the last window was raised, and something of the one before that nothing finds now.
    let spike = |number: u64| {
        let mut alert = crate::alerts::alert(AlertKind::TrafficSpike, 1, 1, 0.9);
        for finding in [&mut alert.finding, &mut alert.latest] {
            (finding.start, finding.end) = (time(number * 30), time(number * 30 + 30));
        }
        alert
    };
    let mut before = spike(39);
    before.id = nta_core::domain::AlertId(7);
    crate::alerts::emit(&app, AlertChange::Raised, &[spike(40), before]).await;
    let detect = async |body: Value| app.send(Method::POST, "/api/anomalies/detect", &body).await;
    let counts = |answer: &Value| {
        ["would_be_raised", "would_not", "same"].map(|name| answer["difference"][name].as_u64().expect("a count"))
    };
    let (status, as_it_is) = detect(json!({})).await;
    assert_eq!((status, counts(&as_it_is)), (StatusCode::OK, [0, 1, 1]), "{as_it_is}");
    assert_eq!(as_it_is["difference"]["raised_no_more"][0]["window_start"], time(39 * 30).to_string());
    // As a job, when that is asked for: the same answer, once for one key.
    let ask = async || {
        let headers = [("Prefer", "respond-async"), ("Idempotency-Key", "again")];
        crate::jobs::send(&app, "/api/anomalies/detect", &json!({}), &headers).await
    };
    let (status, headers, job) = ask().await;
    assert_eq!((status, &job["kind"]), (StatusCode::ACCEPTED, &"detect".into()), "{job}");
    let path = headers[header::LOCATION].to_str().expect("text").to_owned();
    let done = crate::jobs::over(&app, &path).await;
    assert_eq!((&done["state"], &done["result"]), (&"done".into(), &as_it_is), "{done}");
    let (status, _, again) = ask().await;
    assert_eq!((status, &again), (StatusCode::OK, &as_it_is), "{again}");
    let (_, higher) = detect(json!({"settings": {"traffic_spike": {"factor": 1000.0}}})).await;
    assert_eq!((&higher["total"], counts(&higher)), (&0.into(), [0, 2, 0]), "{higher}");
    let (_, other) = detect(json!({"detectors": ["packet_loss"]})).await;
    assert_eq!(counts(&other), [0, 0, 0], "of the detectors that are asked: {other}");
    let (_, earlier) = detect(json!({"to": time(39 * 30).to_string()})).await;
    assert_eq!((&earlier["total"], counts(&earlier)), (&0.into(), [0, 0, 0]), "of the time that is asked: {earlier}");
    assert_eq!(app.json("/api/anomalies").await["items"].as_array().map(Vec::len), Some(2), "nothing is stored");
    for (body, field) in [
        (json!({"settings": {"port_scan": {"services": 3}}}), "settings.port_scan"),
        (json!({"settings": {"traffic_spike": 3}}), "settings.traffic_spike"),
        (json!({"settings": {"traffic_spike": {"speed": 3}}}), "settings.traffic_spike.speed"),
        (json!({"settings": {"traffic_spike": {"factor": 0.5}}}), "settings.traffic_spike.factor"),
        (json!({"settings": {"traffic_spike": {"factor": "much"}}}), "settings.traffic_spike.factor"),
        (json!({"settings": {"traffic_spike": {"windows": 1.5}}}), "settings.traffic_spike.windows"),
        (json!({"from": "yesterday"}), "from"),
    ] {
        let (status, problem) = detect(body.clone()).await;
        assert_eq!((status, &problem["field"]), (StatusCode::BAD_REQUEST, &field.into()), "{body}: {problem}");
    }
}

#[tokio::test]
async fn imports_and_requests_that_cannot_be_done_say_why() {
    let app = with_medium_windows(25).await;
    let mut learned = Baselines::new(nta_core::baseline::BaselineConfig::default());
    (1..30).for_each(|n| {
        learned.learn(&Snapshot::of_network(Span::Medium, medium(n, 5_000)), &|_, _| false);
    });
    let loss = serde_json::to_value(learned.series(Metric::Loss)).expect("JSON");
    for (method, path, body, status, field) in [
        (Method::PUT, "/api/baselines/bandwidth", json!({}), 400, Some("series")),
        (Method::PUT, "/api/baselines/bandwidth", json!({"series": {"loss": loss.clone()}}), 400, Some("series")),
        (Method::PUT, "/api/baselines/loss", json!({"series": {"loss": {"samples": -1}}}), 400, Some("series")),
        (Method::PUT, "/api/baselines/colour", json!({"series": {"loss": loss.clone()}}), 404, None),
        (Method::PUT, "/api/baselines/loss", json!({"series": {"loss": loss}}), 200, None),
        (Method::POST, "/api/baselines/generate", json!({"windows": 0}), 400, Some("windows")),
        (Method::POST, "/api/anomalies/detect", json!({"windows": "all"}), 400, Some("windows")),
        (Method::POST, "/api/anomalies/detect", json!({"detectors": ["port_scan"]}), 422, Some("detectors")),
        (Method::POST, "/api/anomalies/detect", json!({"detectors": ["nonsense"]}), 400, Some("detectors")),
        (Method::POST, "/api/metrics/compute", json!({"capture": "a.pcap"}), 422, Some("capture")),
        (Method::POST, "/api/metrics/compute", json!({"window_size": 7}), 400, Some("window_size")),
        (Method::POST, "/api/metrics/compute", json!({"window_size": 15}), 200, None),
    ] {
        let (got, answer) = app.send(method.clone(), path, &body).await;
        assert_eq!(got.as_u16(), status, "{method} {path} {body}: {answer}");
        assert_eq!(answer.get("field").and_then(Value::as_str), field, "{path} {body}");
    }
    let empty = App::with(0, 0).await;
    let (status, answer) = empty.send(Method::POST, "/api/baselines/generate", &json!({})).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
}

#[tokio::test]
async fn what_is_generated_from_too_few_windows_says_that_it_judges_nothing() {
    for (windows, has_ended) in [(5, true), (19, false), (20, true), (20, false)] {
        let app = with_medium_windows(windows).await;
        if has_ended {
            app.baselines.end(); // as after a replay
        }
        let (status, generated) = app.send(Method::POST, "/api/baselines/generate", &json!({})).await;
        assert_eq!((status, &generated["windows"]), (StatusCode::OK, &windows.into()), "{generated}");
        assert_eq!(generated["warm_up_windows"], 20, "{generated}");
        if windows >= 20 {
            assert_eq!(
                (&generated["metrics_in_warm_up"], &generated["note"]),
                (&json!([]), &Value::Null),
                "{generated}"
            );
            continue;
        }
        assert_eq!(generated["metrics_in_warm_up"], generated["metrics"], "{generated}");
        let note = generated["note"].as_str().expect("a note");
        let parts = ["the 20 windows", "nothing is judged", &format!("bandwidth from {windows}"), "generate again"];
        assert!(parts.iter().all(|part| note.contains(part)), "{note}");
        assert_eq!(note.contains("goes on learning"), !has_ended, "{note}");
    }
}

#[tokio::test]
async fn a_running_pipeline_takes_imports_at_its_next_window() {
    let app = with_medium_windows(40).await;
    let (status, generated) = app.send(Method::POST, "/api/baselines/generate", &json!({})).await;
    assert_eq!((status, &generated["applies"]), (StatusCode::OK, &"next window".into()), "{generated}");
    let mut pipeline = Baselines::new(nta_core::baseline::BaselineConfig::default());
    assert_eq!(app.baselines.carry_out(&mut pipeline), (true, vec![]));
    assert!(pipeline.series(Metric::Bandwidth).is_some());
    for _ in 0..8 {
        app.baselines.order(Import::Metrics([].into())).expect("room");
    }
    let (status, _) = app.send(Method::POST, "/api/baselines/generate", &json!({})).await;
    assert_eq!(status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn what_get_answers_can_be_put_back_unchanged() {
    let app = with_medium_windows(40).await;
    app.baselines.end(); // as after a replay
    for is_learned in [false, true] {
        for kind in ["bandwidth", "latency", "loss", "protocol", "connections", "ports"] {
            let path = format!("/api/baselines/{kind}");
            let answered = app.json(&path).await;
            let (status, put) = app.send(Method::PUT, &path, &answered).await;
            assert_eq!((status, &put), (StatusCode::OK, &answered), "{kind}, learned: {is_learned}");
        }
        let (status, _) = app.send(Method::POST, "/api/baselines/generate", &json!({})).await;
        assert_eq!(status, StatusCode::OK);
    }
    assert_eq!(app.json("/api/baselines/bandwidth").await["state"], "ready");
}
