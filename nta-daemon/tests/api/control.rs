//! `/api/control/…`: ping, configuration without secrets, detailed status, the log.

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use nta_daemon::api::{ApiState, router};
use nta_daemon::config::Config;
use nta_daemon::telemetry::{Records, RecordsLayer};
use serde_json::Value;
use tower::ServiceExt as _;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::app::{App, HOST, parse};

async fn get(router: &axum::Router, path: &str) -> (StatusCode, Value) {
    let request = Request::get(path).header(header::HOST, HOST).body(Body::empty()).expect("request");
    let answer = router.clone().oneshot(request).await.expect("an answer");
    let status = answer.status();
    (status, parse(&to_bytes(answer.into_body(), usize::MAX).await.expect("body")))
}

#[tokio::test]
async fn a_ping_is_answered_and_the_status_has_all_of_the_other_one_and_more() {
    let app = App::with(2, 3).await;
    assert_eq!(app.json("/api/control/ping").await["answer"], "pong");
    let (status, detailed) = (app.json("/api/status").await, app.json("/api/control/status").await);
    for key in status.as_object().expect("an object").keys() {
        assert!(detailed.get(key).is_some(), "{key} is missing: {detailed}");
    }
    assert_eq!(detailed["store"]["stored_windows"], 2);
    assert_eq!(detailed["jobs"]["running"], 0);
    assert!(detailed["http"]["connections_max"].as_u64().is_some_and(|most| most > 0), "{detailed}");
}

#[tokio::test]
async fn the_configuration_is_shown_without_what_is_secret() {
    let file = r#"
        [store]
        database = "postgres://nta:s3cr3t-of-db@db.example/nta?password=second-one&sslmode=require"
        [capture]
        interfaces = ["eth*"]
        [[webhooks]]
        name = "ops"
        kind = "slack"
        url = "https://hooks.slack.com/services/T0000/B0000/XXXXsecret"
        secrets = ["xoxb-very-secret"]
        [[webhooks]]
        name = "signed"
        kind = "generic"
        url = "https://hooks.example.org/a?key=hidden-key"
        secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
    "#;
    let config: Config = toml::from_str(file).expect("a configuration");
    let app = App::with(0, 0).await;
    let state = ApiState::new(app.store.clone(), app.status.subscribe()).with_config(config.clone());
    let (status, shown) = get(&router(state), "/api/control/config").await;
    assert_eq!(status, StatusCode::OK, "{shown}");
    let settings = &shown["settings"];
    assert_eq!(settings["capture"]["interfaces"], serde_json::json!(["eth*"]));
    assert_eq!(settings["store"]["database"], "postgres://nta@db.example/nta?sslmode=require");
    assert_eq!(settings["webhooks"][0]["name"], "ops");
    for section in ["sensor", "capture", "events", "windows", "detect", "baseline", "model", "store", "uploads", "api"]
    {
        assert!(settings[section].is_object(), "{section}: {settings}");
    }
    let text = shown.to_string();
    let secrets = ["s3cr3t-of-db", "second-one", "XXXXsecret", "T0000", "xoxb", "hidden-key", "MfKQ9r8"];
    for secret in secrets {
        assert!(!text.contains(secret), "{secret} is shown: {text}");
    }
    // What the log must not hold is all of that.
    let hidden = config.secrets().join("\n");
    for secret in ["s3cr3t-of-db", "XXXXsecret", "xoxb-very-secret", "whsec_MfKQ9r8"] {
        assert!(hidden.contains(secret), "{secret} could be logged: {hidden}");
    }
}

#[tokio::test]
async fn the_log_is_found_by_level_and_target_and_says_what_made_room() {
    static RECORDS: Records = Records::new();
    RECORDS.hide(["open sesame".to_owned()]);
    let subscriber = tracing_subscriber::registry().with(RecordsLayer(&RECORDS));
    let rounds = 2100;
    tracing::subscriber::with_default(subscriber, || {
        for round in 0..rounds {
            tracing::info!(target: "shown::a", round, "a round");
        }
        tracing::warn!(target: "shown::b", interface = "eth0", "open sesame postgres://nta:password1@db/nta");
        tracing::error!(target: "shown::a::c", "broken");
    });
    let app = App::with(0, 0).await;
    let router = router(ApiState::new(app.store.clone(), app.status.subscribe()).with_records(&RECORDS));
    let logs = async |query: &str| {
        let (status, page) = get(&router, &format!("/api/control/logs{query}")).await;
        assert_eq!(status, StatusCode::OK, "{query}: {page}");
        let messages: Vec<String> = page["items"]
            .as_array()
            .expect("items")
            .iter()
            .map(|item| item["message"].as_str().expect("a message").to_owned())
            .collect();
        (messages, page)
    };
    let warned = "*** postgres://nta:***@db/nta";
    let (messages, page) = logs("?limit=3").await;
    assert_eq!(messages, ["broken", warned, "a round"], "the newest first");
    let (all, kept) = (rounds + 2, 2000);
    assert_eq!(page["log"]["records"], all);
    assert_eq!((&page["log"]["kept"], &page["log"]["dropped"]), (&kept.into(), &(all - kept).into()));
    assert_eq!(
        (&page["items"][1]["level"], &page["items"][1]["fields"]["interface"]),
        (&"warn".into(), &"eth0".into())
    );
    assert_eq!(page["items"][2]["fields"]["round"], rounds - 1);
    assert_eq!(logs("?level=warn").await.0, ["broken", warned]);
    assert_eq!(logs("?level=error").await.0, ["broken"]);
    assert_eq!(logs("?target=shown::b").await.0, [warned]);
    assert_eq!(logs("?target=shown::a&level=warn").await.0, ["broken"], "a prefix");
    assert_eq!(logs("").await.0.len(), 100);
    assert_eq!(logs("?limit=2000").await.0.len(), 2000);
    for (query, field) in
        [("level=loud", "level"), ("limit=0", "limit"), ("limit=2001", "limit"), ("target=", "target")]
    {
        let (status, refused) = get(&router, &format!("/api/control/logs?{query}")).await;
        assert_eq!((status.as_u16(), &refused["field"]), (400, &field.into()), "{query}: {refused}");
    }
}

#[tokio::test]
async fn what_is_refused_to_pages_of_other_sites_is_in_the_log() {
    static RECORDS: Records = Records::new();
    let _log = tracing::subscriber::set_default(tracing_subscriber::registry().with(RecordsLayer(&RECORDS)));
    let app = App::with(0, 0).await;
    let router = router(ApiState::new(app.store.clone(), app.status.subscribe()).with_records(&RECORDS));
    for (host, origin, expected) in [(HOST, "https://evil.example", 403), ("evil.example", "http://evil.example", 421)]
    {
        let request = Request::post("/api/alerts/resolve").header(header::HOST, host).header(header::ORIGIN, origin);
        let answer = router.clone().oneshot(request.body(Body::empty()).expect("request")).await.expect("an answer");
        assert_eq!(answer.status().as_u16(), expected);
        let (_, log) = get(&router, "/api/control/logs?level=warn&target=nta_daemon::api").await;
        let fields = &log["items"][0]["fields"];
        assert_eq!(log["items"][0]["message"], "api: a request was refused", "{log}");
        let of = ("POST".into(), "/api/alerts/resolve".into(), expected.into());
        assert_eq!((&fields["method"], &fields["route"], &fields["status"]), (&of.0, &of.1, &of.2), "{log}");
    }
}
