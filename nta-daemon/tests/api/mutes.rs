//! `/api/mutes`: made, previewed, and over.

use axum::http::{Method, StatusCode};
use nta_core::domain::{AlertChange, AlertKind};
use serde_json::{Value, json};

use crate::alerts::{alert, emit};
use crate::app::App;

const LATER: &str = "2100-01-01T00:00:00Z";

async fn app() -> App {
    let app = App::with(4, 0).await;
    let mut alerts: Vec<_> = (1..=3).map(|n| alert(AlertKind::PortScan, n, n.into(), 0.9)).collect();
    alerts.push(alert(AlertKind::SynFlood, 3, 4, 1.0));
    emit(&app, AlertChange::Raised, &alerts).await;
    app
}

fn in_days(days: i64) -> String {
    (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * days)).to_string()
}

#[tokio::test]
async fn a_preview_says_what_would_have_been_hidden_and_makes_nothing() {
    let app = app().await;
    for (body, count, by_type) in [
        (json!({"types": ["port_scan"]}), 3, json!({"port_scan": 3})),
        (json!({"source": "192.0.2.0/30"}), 4, json!({"port_scan": 3, "syn_flood": 1})),
        (json!({"host": "192.0.2.3"}), 2, json!({"port_scan": 1, "syn_flood": 1})),
        (json!({"types": ["syn_flood"], "host": "192.0.2.1"}), 0, json!({})),
        (json!({"destination": "0.0.0.0/0"}), 0, json!({})),
    ] {
        let (status, preview) = app.send(Method::POST, "/api/mutes?dry_run=true", &body).await;
        assert_eq!((status, &preview["alerts"]), (StatusCode::OK, &count.into()), "{body}: {preview}");
        assert_eq!(preview["by_type"], by_type, "{body}");
        assert_eq!(preview["items"].as_array().map(Vec::len), Some(count), "{body}");
    }
    assert_eq!(app.json("/api/mutes").await["items"], json!([]));
}

#[tokio::test]
async fn a_mute_reaches_the_pipeline_at_once_and_goes_as_it_came() {
    let app = app().await;
    let expires = in_days(2);
    let body = json!({"types": ["port_scan"], "source": "192.0.2.0/24", "reason": "our scanner", "expires": expires, "by": "mira"});
    let (status, made) = app.send(Method::POST, "/api/mutes", &body).await;
    assert_eq!(
        (status, &made["state"], &made["by"]),
        (StatusCode::CREATED, &"active".into(), &"mira".into()),
        "{made}"
    );
    assert_eq!((&made["hidden"], &made["last_hidden"]), (&0.into(), &Value::Null));
    let id = made["id"].as_u64().expect("a number");
    let until =
        nta_core::domain::Timestamp::from_nanos(u64::try_from(jiff::Timestamp::now().as_nanosecond()).expect("now"));
    let held = app.mutes.active(until);
    assert_eq!(held.iter().map(|mute| mute.id).collect::<Vec<_>>(), [id]);
    assert!(held[0].covers_named(AlertKind::PortScan, Some("192.0.2.9"), Some("*")));
    assert!(app.mutes.active(until.plus(3 * 86_400 * 1_000_000_000)).is_empty(), "its time is over then");
    let list = app.json("/api/mutes").await;
    assert_eq!((&list["items"][0]["id"], &list["items"][0]["reason"]), (&id.into(), &"our scanner".into()), "{list}");

    let (status, _) = app.send_empty(Method::DELETE, &format!("/api/mutes/{id}")).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert!(app.mutes.active(until).is_empty(), "at once");
    assert_eq!(app.send_empty(Method::DELETE, &format!("/api/mutes/{id}")).await.0, StatusCode::NOT_FOUND);
    let audit = app.json("/api/audit").await;
    let actions: Vec<_> = audit["items"].as_array().expect("items").iter().map(|one| &one["action"]).collect();
    assert_eq!(actions, ["delete mute", "create mute"]);
    assert_eq!(audit["items"][1]["after"]["source"], "192.0.2.0/24");
}

#[tokio::test]
async fn what_mutes_too_much_or_for_too_long_is_refused_by_name() {
    let app = app().await;
    let soon = in_days(1);
    let [long, past] = [in_days(400), in_days(-1)];
    for (body, field) in [
        (json!({"reason": "all", "expires": soon}), "types"),
        (json!({"types": [], "reason": "x", "expires": soon}), "types"),
        (json!({"types": ["nonsense"], "reason": "x", "expires": soon}), "types"),
        (json!({"host": "gateway", "reason": "x", "expires": soon}), "host"),
        (json!({"host": "192.0.2.1/24", "reason": "x", "expires": soon}), "host"),
        (json!({"host": "192.0.2.1", "expires": soon}), "reason"),
        (json!({"host": "192.0.2.1", "reason": " ", "expires": soon}), "reason"),
        (json!({"host": "192.0.2.1", "reason": "x"}), "expires"),
        (json!({"host": "192.0.2.1", "reason": "x", "expires": past}), "expires"),
        (json!({"host": "192.0.2.1", "reason": "x", "expires": long}), "expires"),
        (json!({"host": "192.0.2.1", "reason": "x", "expires": LATER, "until": 1}), "until"),
    ] {
        let (status, problem) = app.send(Method::POST, "/api/mutes", &body).await;
        assert_eq!((status, &problem["field"]), (StatusCode::BAD_REQUEST, &field.into()), "{body}: {problem}");
    }
    let (_, problem) = app.send(Method::POST, "/api/mutes", &json!({})).await;
    let detail = problem["detail"].as_str().expect("a text");
    assert!(["`types`", "`reason`", "`expires`"].iter().all(|field| detail.contains(field)), "all at once: {detail}");
    assert_eq!(app.json("/api/mutes").await["items"], json!([]), "none was made");
}

#[tokio::test]
async fn the_same_mute_is_made_once_and_another_of_the_same_is_refused() {
    let app = app().await;
    let (expires, later) = (in_days(2), in_days(3));
    let body = json!({"types": ["syn_flood", "port_scan"], "host": "192.0.2.1", "reason": "ours", "expires": expires});
    let (status, first) = app.send(Method::POST, "/api/mutes", &body).await;
    assert_eq!(status, StatusCode::CREATED, "{first}");
    let again = json!({"types": ["port_scan", "syn_flood", "port_scan"], "host": "192.0.2.1", "reason": "ours", "expires": expires});
    let (status, same) = app.send(Method::POST, "/api/mutes", &again).await;
    assert_eq!((status, &same), (StatusCode::OK, &first), "in whatever order, and however often, its types are named");
    let other = json!({"types": ["syn_flood", "port_scan"], "host": "192.0.2.1", "reason": "ours", "expires": later});
    let (status, refused) = app.send(Method::POST, "/api/mutes", &other).await;
    assert_eq!(status, StatusCode::CONFLICT, "{refused}");
    let named = format!("mute {}", first["id"]);
    assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains(&named)), "{refused}");
    let narrower = json!({"types": ["port_scan"], "host": "192.0.2.1", "reason": "ours", "expires": later});
    assert_eq!(app.send(Method::POST, "/api/mutes", &narrower).await.0, StatusCode::CREATED);
    assert_eq!(app.json("/api/mutes").await["items"].as_array().map(Vec::len), Some(2));
    let log = app.json("/api/audit").await;
    assert_eq!(log["items"].as_array().map(Vec::len), Some(2), "only what was made is a change: {log}");
}
