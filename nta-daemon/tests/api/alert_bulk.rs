//! Verdicts, history, and changes to all alerts that filters find.

use axum::http::{Method, StatusCode};
use nta_core::domain::{AlertChange, AlertKind};
use serde_json::{Value, json};

use crate::alerts::{alert, emit};
use crate::app::App;

/// Three port scans and a SYN flood.
async fn app() -> (App, Vec<String>) {
    let app = App::with(4, 0).await;
    let mut alerts: Vec<_> = (1..=3).map(|n| alert(AlertKind::PortScan, n, n.into(), 0.9)).collect();
    alerts.push(alert(AlertKind::SynFlood, 4, 4, 1.0));
    emit(&app, AlertChange::Raised, &alerts).await;
    (app, alerts.iter().map(|alert| alert.id.to_string()).collect())
}

async fn count(app: &App, filter: &str) -> usize {
    app.json(&format!("/api/alerts?{filter}")).await["items"].as_array().expect("items").len()
}

#[tokio::test]
async fn a_verdict_is_given_taken_back_and_remembered() {
    let (app, ids) = app().await;
    let path = format!("/api/alerts/{}", ids[0]);
    let (status, one) =
        app.send(Method::PATCH, &path, &json!({"status": "resolved", "verdict": "benign", "by": "mira"})).await;
    assert_eq!((status, &one["verdict"], &one["status"]), (StatusCode::OK, &"benign".into(), &"resolved".into()));
    assert_eq!(count(&app, "verdict=benign").await, 1);
    assert_eq!(count(&app, "verdict=none").await, 3);
    let (_, one) = app.send(Method::PATCH, &path, &json!({"verdict": null, "by": "noor"})).await;
    assert_eq!((&one["verdict"], &one["status_by"]), (&Value::Null, &"mira".into()), "the status is mira's still");
    let by: Vec<_> = one["history"].as_array().expect("history").iter().map(|change| &change["by"]).collect();
    assert_eq!(by, ["mira", "noor"]);
    assert_eq!(one["history"][1]["verdict_before"], "benign");
    assert_eq!(one["history"][0]["status_before"], "open");
    let (status, problem) = app.send(Method::PATCH, &path, &json!({"verdict": "maybe"})).await;
    assert_eq!((status, &problem["field"]), (StatusCode::BAD_REQUEST, &"verdict".into()), "{problem}");
    let (status, problem) = app.send(Method::PATCH, &path, &json!({})).await;
    assert_eq!((status, &problem["field"]), (StatusCode::BAD_REQUEST, &"status".into()), "{problem}");
}

#[tokio::test]
async fn all_that_match_are_changed_once_their_number_was_seen() {
    let (app, ids) = app().await;
    let nothing = json!({});
    let path = "/api/alerts/resolve?type=port_scan";
    let (status, problem) = app.send(Method::POST, path, &nothing).await;
    assert_eq!((status, &problem["field"]), (StatusCode::BAD_REQUEST, &"expect".into()), "{problem}");
    let (status, dry) = app.send(Method::POST, &format!("{path}&dry_run=true"), &nothing).await;
    assert_eq!((status, &dry["count"], &dry["dry_run"]), (StatusCode::OK, &3.into(), &true.into()), "{dry}");
    assert_eq!(count(&app, "status=open").await, 4, "nothing was changed");

    // One is resolved meanwhile.
    app.send(Method::PATCH, &format!("/api/alerts/{}", ids[0]), &json!({"status": "resolved"})).await;
    let (status, problem) = app.send(Method::POST, &format!("{path}&expect=3"), &nothing).await;
    assert_eq!((status, &problem["count"], &problem["field"]), (StatusCode::CONFLICT, &2.into(), &"expect".into()));
    assert_eq!(count(&app, "status=open").await, 3, "nothing was changed");
    let body = json!({"verdict": "false_positive", "by": "mira"});
    let (status, problem) = app.send(Method::POST, &format!("{path}&expect=2"), &body).await;
    assert_eq!((status, &problem["count"]), (StatusCode::CONFLICT, &3.into()), "the verdict is new for all three");
    let (status, done) = app.send(Method::POST, &format!("{path}&expect=3"), &body).await;
    assert_eq!((status, &done["count"], &done["dry_run"]), (StatusCode::OK, &3.into(), &false.into()), "{done}");
    assert_eq!((count(&app, "status=open").await, count(&app, "verdict=false_positive").await), (1, 3));
    let one = app.json(&format!("/api/alerts/{}", ids[2])).await;
    assert_eq!((&one["status_by"], &one["history"][0]["status"]), (&"mira".into(), &"resolved".into()), "{one}");

    let audit = app.json("/api/audit").await;
    let entry = audit["items"].as_array().expect("items").iter().find(|one| one["action"] == "resolve alerts");
    let after = &entry.expect("an entry")["after"];
    assert_eq!((&after["count"], &after["filter"]["type"]), (&3.into(), &json!(["port_scan"])), "{after}");

    for (path, left) in [("reopen?verdict=false_positive&expect=3", 4), ("acknowledge?severity=medium&expect=4", 0)] {
        let (status, answer) = app.send(Method::POST, &format!("/api/alerts/{path}"), &nothing).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        assert_eq!(count(&app, "status=open").await, left, "{path}");
    }
}

#[tokio::test]
async fn a_bulk_change_refuses_what_it_does_not_know_by_name() {
    let (app, _) = app().await;
    for (query, body, field) in [
        ("expect=many", json!({}), "expect"),
        ("dry_run=1", json!({}), "dry_run"),
        ("dry_run=true&limit=3", json!({}), "limit"),
        ("dry_run=true&type=nonsense", json!({}), "type"),
        ("dry_run=true", json!({"verdict": "x"}), "verdict"),
        ("dry_run=true", json!({"status": "open"}), "status"),
    ] {
        for action in ["resolve", "acknowledge", "reopen"] {
            let (status, problem) = app.send(Method::POST, &format!("/api/alerts/{action}?{query}"), &body).await;
            assert_eq!((status, &problem["field"]), (StatusCode::BAD_REQUEST, &field.into()), "{action} {query}");
        }
    }
}
