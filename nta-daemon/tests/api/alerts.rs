//! `/api/alerts` and `/api/anomalies`: what was found, and what people do about it.

use axum::http::{Method, StatusCode};
use nta_core::domain::{
    Alert, AlertChange, AlertKey, AlertKind, AlertState, Basis, ClearReason, Contributor, Finding, Measure, Party,
    Severity,
};
use nta_daemon::store::{Anomaly, Found, RunEnd, Store, WindowBatch};
use serde_json::{Value, json};

use crate::app::{App, parse, time, window};

/// A port scan by a host, found in the window with this number.
pub(crate) fn alert(kind: AlertKind, source: u8, window: u64, score: f64) -> Alert {
    let finding = Finding {
        detector: kind.word(),
        basis: Basis::Rule,
        kind,
        source: Party::Host([192, 0, 2, source].into()),
        destination: Party::Many,
        port: None,
        start: time(window * 5),
        end: time(window * 5 + 5),
        seen: Some([time(window * 5 + 1), time(window * 5 + 3)]),
        measure: Measure { name: "services", unit: "services", observed: 40.0, expected: None, threshold: 15.0 },
        score,
        summary: format!("192.0.2.{source} tried 40 ports"),
        facts: vec![("attempts", "41".to_owned())],
        contributors: vec![Contributor { what: "port 22".to_owned(), amount: 3.0 }],
        crowd: None,
    };
    let key = AlertKey::of(&finding);
    Alert {
        id: nta_core::domain::IdentityScope::default().alert_id(&key, finding.end),
        key,
        state: AlertState::Raised,
        severity: Severity::Medium,
        first: finding.start,
        last: finding.end,
        seen: finding.seen,
        raised: finding.end,
        cleared: None,
        clear_reason: None,
        windows: 1,
        merged: 2,
        detectors: vec![finding.detector],
        opinions: vec![nta_core::domain::Opinion::of(&finding)],
        latest: finding.clone(),
        finding,
    }
}

/// Stores alerts as the pipeline emits them, each with its finding, together with their windows 1 to 3.
async fn with_alerts() -> (App, Vec<Alert>) {
    let app = App::with(3, 2).await;
    let mut alerts = vec![
        alert(AlertKind::PortScan, 1, 1, 0.9),
        alert(AlertKind::PortScan, 2, 2, 0.7),
        alert(AlertKind::SynFlood, 3, 3, 1.0),
    ];
    alerts[2].severity = Severity::Critical;
    emit(&app, AlertChange::Raised, &alerts).await;
    (app, alerts)
}

pub(crate) async fn emit(app: &App, change: AlertChange, alerts: &[Alert]) {
    let mut found = Found::new(app.store.clone(), 0);
    alerts.iter().for_each(|alert| found.alert(change, alert));
    let mut batch = WindowBatch::default();
    found.move_into(&mut batch);
    // A number of each anomaly in the run, behind those that are there.
    let there = app.store.stats().anomaly_rows;
    batch.anomalies.iter_mut().for_each(|anomaly: &mut Anomaly| anomaly.number += there);
    app.batch(batch).await;
}

fn ids(page: &Value) -> Vec<String> {
    let id = |item: &Value| item["id"].as_str().map_or_else(|| item["id"].to_string(), str::to_owned);
    page["items"].as_array().expect("items").iter().map(id).collect()
}

#[tokio::test]
async fn alerts_are_listed_filtered_and_sorted() {
    let (app, alerts) = with_alerts().await;
    let id = |n: usize| alerts[n].id.to_string();
    assert_eq!(ids(&app.json("/api/alerts").await), [id(2), id(1), id(0)]);
    assert_eq!(ids(&app.json("/api/alerts?sort=score&limit=2").await), [id(1), id(0)]);
    assert_eq!(ids(&app.json("/api/alerts?sort=-severity&limit=1").await), [id(2)]);
    for (filter, expected) in [
        ("type=port_scan", vec![1, 0]),
        ("severity=critical", vec![2]),
        ("source=192.0.2.2", vec![1]),
        ("destination=*", vec![2, 1, 0]),
        ("status=open&type=syn_flood", vec![2]),
        ("status=resolved", vec![]),
        ("state=cleared", vec![]),
        ("from=10&to=14", vec![1]),
    ] {
        let expected: Vec<String> = expected.into_iter().map(id).collect();
        assert_eq!(ids(&app.json(&format!("/api/alerts?{filter}")).await), expected, "{filter}");
    }
    let first = app.json("/api/alerts?limit=2").await;
    let sides = ["source_inside", "destination_inside"].map(|side| &first["items"][0][side]);
    assert_eq!(sides, [&Value::from(false), &Value::Null], "an address of the outside, and many");
    let cursor = first["next_cursor"].as_str().expect("more");
    assert_eq!(ids(&app.json(&format!("/api/alerts?limit=2&cursor={cursor}")).await), [id(0)]);

    let one = app.json(&format!("/api/alerts/{}", id(0))).await;
    assert_eq!((&one["type"], &one["status"], &one["status_by"]), (&"port_scan".into(), &"open".into(), &Value::Null));
    let seen = alerts[0].seen.expect("seen").map(|time| Value::from(time.to_string()));
    assert_eq!([&one["first_seen"], &one["last_seen"]], [&seen[0], &seen[1]], "packets, not the window");
    assert_eq!(one["findings_folded"], 2);
    assert_eq!(one["why"]["technique"]["id"], "T1046");
    assert_eq!(one["why"]["facts"]["attempts"], "41");
    assert_eq!(one["notes"], json!([]));
}

#[tokio::test]
async fn a_party_that_no_alert_can_have_is_refused() {
    let (app, alerts) = with_alerts().await;
    for list in ["alerts", "anomalies"] {
        for party in ["source", "destination"] {
            let (status, _, body) = app.get(&format!("/api/{list}?{party}=zz")).await;
            let problem = parse(&body);
            assert_eq!((status, &problem["field"]), (StatusCode::BAD_REQUEST, &party.into()), "{list}: {problem}");
        }
    }
    let found = app.json("/api/alerts?source=::ffff:192.0.2.9").await;
    assert_eq!(ids(&found), Vec::<String>::new(), "an address without alerts");
    assert_eq!(ids(&app.json("/api/alerts?source=192.0.2.1").await), [alerts[0].id.to_string()]);
}

#[tokio::test]
async fn an_alert_says_why_it_does_not_go_on() {
    let (app, mut alerts) = with_alerts().await;
    let quiet = &mut alerts[0];
    (quiet.state, quiet.cleared, quiet.clear_reason) = (AlertState::Cleared, Some(time(70)), Some(ClearReason::Quiet));
    emit(&app, AlertChange::Cleared, &alerts[..1]).await;
    let reasons = async |expected: [Value; 3]| {
        for (alert, expected) in alerts.iter().zip(expected) {
            let one = app.json(&format!("/api/alerts/{}", alert.id)).await;
            assert_eq!(one["clear_reason"], expected, "{one}");
            assert_eq!(one["cleared_at"].is_null(), expected.is_null(), "{one}");
            let list = app.json(&format!("/api/alerts?source={}", one["source"].as_str().expect("a host"))).await;
            assert_eq!(list["items"][0]["clear_reason"], expected, "{list}");
        }
    };
    reasons(["quiet".into(), Value::Null, Value::Null]).await;
    app.batch(WindowBatch { end: Some(RunEnd::Completed.word()), ..WindowBatch::default() }).await;
    reasons(["quiet".into(), "run_ended".into(), "run_ended".into()]).await;
}

/// Nothing says that the run ended, but the next start.
#[tokio::test]
async fn an_alert_of_a_run_that_was_killed_is_interrupted() {
    let (mut app, mut alerts) = with_alerts().await;
    let (quiet, open) = alerts.split_at_mut(1);
    let cleared = Some(time(70));
    (quiet[0].state, quiet[0].cleared, quiet[0].clear_reason) =
        (AlertState::Cleared, cleared, Some(ClearReason::Quiet));
    emit(&app, AlertChange::Cleared, quiet).await;
    app.kill().await;
    let one = app.json(&format!("/api/alerts/{}", open[0].id)).await;
    assert!(one["clear_reason"].is_null(), "nobody knows yet: {one}");
    app.begin_another().await;
    for alert in open {
        let one = app.json(&format!("/api/alerts/{}", alert.id)).await;
        assert_eq!((&one["clear_reason"], &one["state"]), (&"interrupted".into(), &"cleared".into()), "{one}");
        assert_eq!(one["cleared_at"], time(20).to_string(), "the end of the last window: {one}");
    }
    let one = app.json(&format!("/api/alerts/{}", quiet[0].id)).await;
    assert_eq!(one["clear_reason"], "quiet", "{one}");
}

#[tokio::test]
async fn alerts_are_counted_as_they_are_listed() {
    let (app, alerts) = with_alerts().await;
    let path = format!("/api/alerts/{}", alerts[0].id);
    assert_eq!(app.send(Method::PATCH, &path, &json!({"status": "resolved"})).await.0, StatusCode::OK);
    for filter in
        ["from=0", "from=0&status=open", "from=0&status=open,resolved&severity=high,low", "from=0&type=port_scan"]
    {
        let mut listed =
            std::collections::BTreeMap::from(["low", "medium", "high", "critical"].map(|of| (of.to_owned(), 0)));
        let page = app.json(&format!("/api/alerts?limit=1000&{filter}")).await;
        let items = page["items"].as_array().expect("items");
        for alert in items {
            *listed.get_mut(alert["severity"].as_str().expect("a severity")).expect("one of four") += 1;
        }
        let counts = app.json(&format!("/api/alerts/counts?{filter}")).await;
        assert_eq!(counts, json!({"total": items.len(), "by_severity": listed}), "{filter}");
    }
}

#[tokio::test]
async fn what_people_do_survives_what_the_pipeline_emits_later() {
    let (app, alerts) = with_alerts().await;
    let path = format!("/api/alerts/{}/", alerts[0].id);
    let change = json!({"status": "acknowledged", "note": "our scanner", "by": "mira"});
    let (status, changed) = app.send(Method::PATCH, &path, &change).await;
    assert_eq!(status, StatusCode::OK, "{changed}");
    assert_eq!((&changed["status"], &changed["status_by"]), (&"acknowledged".into(), &"mira".into()));
    assert!(changed["status_at"].as_str().is_some_and(|at| at.ends_with('Z')));

    // The same status once more, by nobody in particular, is nobody else's.
    let (_, same) = app.send(Method::PATCH, &path, &json!({"status": "acknowledged"})).await;
    assert_eq!((&same["status_by"], &same["status_at"]), (&"mira".into(), &changed["status_at"]));
    let (_, other) = app.send(Method::PATCH, &path, &json!({"status": "acknowledged", "by": "noor"})).await;
    assert_eq!(other["status_by"], "noor");
    let (_, open) = app.send(Method::PATCH, &path, &json!({"status": "open"})).await;
    assert_eq!(open["status_by"], "anonymous", "another status is somebody's");
    app.send(Method::PATCH, &path, &json!({"status": "acknowledged", "by": "mira"})).await;

    let mut later = alerts[0].clone();
    (later.state, later.cleared, later.windows) = (AlertState::Cleared, Some(time(100)), 9);
    emit(&app, AlertChange::Cleared, &[later]).await;
    let (_, noted) = app.send(Method::PATCH, &path, &json!({"note": "closed"})).await;
    assert_eq!((&noted["state"], &noted["windows"]), (&"cleared".into(), &9.into()), "the pipeline's part is new");
    assert_eq!((&noted["status"], &noted["status_by"]), (&"acknowledged".into(), &"mira".into()));
    let notes = noted["notes"].as_array().expect("notes");
    let said: Vec<_> = notes.iter().map(|note| (note["by"].as_str(), note["note"].as_str())).collect();
    assert_eq!(said, [(Some("mira"), Some("our scanner")), (Some("anonymous"), Some("closed"))]);
    assert_eq!(ids(&app.json("/api/alerts?status=acknowledged").await), [alerts[0].id.to_string()]);
    let (_, third) = app.send(Method::PATCH, &path, &json!({"note": "a slip"})).await;
    let (_, fewer) = app.send(Method::PATCH, &path, &json!({"withdraw": third["notes"][2]["id"]})).await;
    assert_eq!(fewer["notes"], noted["notes"], "the slip is taken back");

    app.store.close().await;
    let store = Store::open(&app.url).await.expect("open again");
    let stored = store.alert(&alerts[0].id.to_string()).await.expect("query").expect("alert");
    assert_eq!((stored.status.as_str(), stored.windows), ("acknowledged", 9));
    assert_eq!(store.alert_notes(&stored.id).await.expect("notes").len(), 2);
}

#[tokio::test]
async fn changes_that_make_no_sense_are_refused_by_field() {
    let (app, alerts) = with_alerts().await;
    let path = format!("/api/alerts/{}", alerts[0].id);
    for (path, body, status, field) in [
        (path.as_str(), json!({"status": "closed"}), 400, Some("status")),
        (&path, json!({"status": 1}), 400, Some("status")),
        (&path, json!({"note": ""}), 400, Some("note")),
        (&path, json!({"withdraw": 7}), 400, Some("withdraw")),
        (&path, json!({"note": "x".repeat(4001)}), 400, Some("note")),
        (&path, json!({"status": "open", "who": "me"}), 400, Some("who")),
        (&path, json!({"by": "me"}), 400, Some("status")),
        (&path, json!([1]), 400, Some("body")),
        ("/api/alerts/0123456789abcdef", json!({"status": "open"}), 404, None),
        ("/api/alerts/17", json!({"status": "open"}), 400, Some("id")),
    ] {
        let (got, problem) = app.send(Method::PATCH, path, &body).await;
        assert_eq!(got.as_u16(), status, "{path} {body}: {problem}");
        assert_eq!(problem.get("field").and_then(Value::as_str), field, "{body}");
    }
    let broken = app.send_text(Method::PATCH, &path, "{\"status\": ").await;
    assert_eq!((broken.0, &broken.1["field"]), (StatusCode::BAD_REQUEST, &"body".into()));
    assert!(broken.1["detail"].as_str().is_some_and(|detail| detail.contains("line 1")), "{}", broken.1);

    for _ in 0..200 {
        assert_eq!(app.send(Method::PATCH, &path, &json!({"note": "again"})).await.0, StatusCode::OK);
    }
    let (full, _) = app.send(Method::PATCH, &path, &json!({"note": "again", "status": "resolved"})).await;
    assert_eq!(full, StatusCode::CONFLICT);
    assert_eq!(app.json(&path).await["status"], "open", "both or neither");
}

#[tokio::test]
async fn anomalies_are_what_alerts_are_made_of() {
    let (app, alerts) = with_alerts().await;
    let mut goes_on = alerts[0].clone();
    goes_on.latest = alert(AlertKind::PortScan, 1, 3, 0.5).latest;
    goes_on.severity = Severity::High;
    emit(&app, AlertChange::Updated, &[goes_on]).await;

    let all = app.json("/api/anomalies").await;
    let alerts_named: Vec<_> = all["items"].as_array().expect("items").iter().map(|a| a["alert"].as_str()).collect();
    let id = |n: usize| alerts[n].id.to_string();
    assert_eq!(alerts_named, [Some(id(0).as_str()), Some(&id(2)), Some(&id(1)), Some(&id(0))]);
    let by_type = app.json("/api/anomalies/by-type").await;
    let expected = json!({"total": 4, "by_type": {
        "port_scan": {"count": 3, "by_severity": {"medium": 2, "high": 1}},
        "syn_flood": {"count": 1, "by_severity": {"critical": 1}},
    }});
    assert_eq!(by_type, expected);
    let top = app.json("/api/anomalies/top?limit=2").await;
    let scores: Vec<_> = top["items"].as_array().expect("items").iter().map(|a| a["score"].as_f64()).collect();
    assert_eq!(scores, [Some(1.0), Some(0.9)]);
    let summary = app.json("/api/anomalies/summary?type=port_scan").await;
    assert_eq!((&summary["total"], &summary["types"], &summary["max_score"]), (&3.into(), &1.into(), &0.9.into()));
    assert!(summary["mean_score"].as_f64().is_some_and(|mean| (mean - 0.7).abs() < 1e-9), "{summary}");
    assert_eq!(summary["last"], "1970-01-01T00:00:20.000000Z");
    let none = app.json("/api/anomalies/summary?from=1000").await;
    assert_eq!((&none["total"], &none["mean_score"]), (&0.into(), &Value::Null));

    assert_eq!(app.json("/api/anomalies/window/3").await["items"].as_array().map(Vec::len), Some(2));
    assert_eq!(app.json("/api/anomalies/window/2").await["items"][0]["source"], "192.0.2.2");
    assert_eq!(app.get("/api/anomalies/window/99").await.0, StatusCode::NOT_FOUND);
    assert_eq!(ids(&app.json("/api/anomalies?severity=high&from=15").await), ["4"]);
}

/// From an alert, and from an anomaly, to what the network did in the window that decided.
#[tokio::test]
async fn the_window_that_decided_is_found_by_its_id() {
    let (app, alerts) = with_alerts().await;
    for alert in &alerts {
        let of_one = app.json(&format!("/api/alerts/{}", alert.id)).await;
        let profile = app.json(&format!("/api/alerts?source={}", alert.key.source)).await;
        let anomalies = app.json("/api/anomalies").await;
        let anomaly = anomalies["items"].as_array().expect("items").iter().find(|one| one["alert"] == of_one["id"]);
        for named in [&of_one, &profile["items"][0], anomaly.expect("its anomaly")] {
            let window = app.json(&format!("/api/metrics/{}", named["window_id"])).await;
            let times = [&window["start"], &window["end"]];
            assert_eq!(times, [&of_one["why"]["window_start"], &of_one["why"]["window_end"]], "{named}");
        }
    }
}

#[tokio::test]
async fn a_longer_window_has_anomalies_of_its_own() {
    let app = App::with(1, 0).await;
    let mut long = alert(AlertKind::TrafficSpike, 1, 0, 0.8);
    (long.latest.start, long.latest.end) = (time(0), time(30));
    let spike = nta_core::window::Window { start: time(0), end: time(30), ..window(1) };
    app.batch(WindowBatch { longer: vec![(6, spike)], ..WindowBatch::default() }).await;
    emit(&app, AlertChange::Raised, &[long]).await;
    let id = app.json("/api/metrics?span=30").await["items"][0]["id"].clone();
    let of = async |id: &Value| app.json(&format!("/api/anomalies/window/{id}")).await["items"].clone();
    assert_eq!(of(&id).await[0]["type"], "traffic_spike");
    assert_eq!(of(&id).await[0]["window_id"], id);
    assert_eq!(
        app.json("/api/alerts").await["items"][0]["window_id"],
        Value::Null,
        "its strongest finding's is not stored"
    );
    assert_eq!(of(&1.into()).await, json!([]), "not of the base window in it");
    assert_eq!(parse(&app.get("/api/anomalies/window/x").await.2)["field"], "id");
}
