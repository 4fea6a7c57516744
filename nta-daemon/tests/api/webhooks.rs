//! `/api/webhooks`: how they do, a test, and dead letters; on both databases.

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use nta_core::domain::{Severity, Timestamp};
use nta_daemon::api::{ApiState, router};
use nta_daemon::config::Config;
use nta_daemon::sink::webhook::Webhooks;
use nta_daemon::store::{DeadLetter, Store, StoredEvent};
use serde_json::Value;
use tokio::sync::watch;
use tower::ServiceExt as _;

use crate::app::HOST;
use crate::postgres::Server;

/// A target where nobody listens, and one that is not allowed.
const CONFIG: &str = "[[webhooks]]\nname = \"ops\"\nkind = \"generic\"\nurl = \"http://127.0.0.1:1/very-secret\"\nallow_local = true\n\
                      secrets = [\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"]\n\
                      [[webhooks]]\nname = \"meta\"\nkind = \"slack\"\nurl = \"http://169.254.169.254/latest\"\n";

async fn check(store: &Store) {
    let config: Config = toml::from_str(CONFIG).expect("a configuration");
    let webhooks = Webhooks::new(store.clone(), "gw".to_owned(), &config.webhooks);
    let (_sender, status) = watch::channel(Default::default());
    let router = router(ApiState::new(store.clone(), status).with_webhooks(webhooks));
    let ask = async |method: Method, path: &str| {
        let request = Request::builder().method(method).uri(path).header(header::HOST, HOST).body(Body::empty());
        let answer = router.clone().oneshot(request.expect("request")).await.expect("answer");
        let status = answer.status();
        let body = to_bytes(answer.into_body(), usize::MAX).await.expect("body");
        (status, serde_json::from_slice::<Value>(&body).expect("JSON"))
    };
    let event = StoredEvent {
        seq: 7,
        time: Timestamp::from_nanos(1),
        kind: "capture_trouble".to_owned(),
        run: 0,
        sensor: Some("gw".to_owned()),
        is_live: true,
        severity: Some(Severity::High),
        body: "{\"severity\":\"high\",\"reason\":\"eth0 is away\"}".to_owned(),
    };
    let letter = DeadLetter {
        id: 0,
        webhook: "ops".to_owned(),
        event,
        failed: Timestamp::from_nanos(2),
        attempts: 14,
        error: "503".to_owned(),
    };
    store.add_dead_letter("gw", &letter).await.expect("kept");
    store.add_dead_letter("another", &letter).await.expect("kept");

    let (status, list) = ask(Method::GET, "/api/webhooks").await;
    assert_eq!((status, list["items"].as_array().map(Vec::len)), (StatusCode::OK, Some(2)), "{list}");
    let ops = &list["items"][0];
    assert_eq!(
        (&ops["name"], &ops["state"], &ops["dead_letters"]),
        (&"ops".into(), &"idle".into(), &1.into()),
        "{list}"
    );
    assert_eq!(ops["target"], "http://127.0.0.1:1");
    assert!(!list.to_string().contains("secret"), "{list}");

    let (status, tried) = ask(Method::POST, "/api/webhooks/ops/test").await;
    assert_eq!((status, &tried["delivered"]), (StatusCode::OK, &false.into()), "{tried}");
    let (_, refused) = ask(Method::POST, "/api/webhooks/meta/test").await;
    assert!(refused["error"].as_str().is_some_and(|error| error.contains("allow_local")), "{refused}");
    assert_eq!(ask(Method::POST, "/api/webhooks/nobody/test").await.0, StatusCode::NOT_FOUND);

    let (_, dead) = ask(Method::GET, "/api/webhooks/dead?webhook=ops&limit=5").await;
    assert_eq!(dead["items"].as_array().map(Vec::len), Some(1), "of this sensor: {dead}");
    let item = &dead["items"][0];
    assert_eq!((&item["event"]["id"], &item["event"]["data"]["reason"]), (&7.into(), &"eth0 is away".into()));
    let path = format!("/api/webhooks/dead/{}/retry", item["id"]);
    let (status, again) = ask(Method::POST, &path).await;
    assert_eq!((status, &again["delivered"]), (StatusCode::OK, &false.into()), "{again}");
    assert_eq!(ask(Method::GET, "/api/webhooks/dead").await.1["items"][0]["attempts"], 15);
    assert_eq!(ask(Method::POST, "/api/webhooks/dead/9999/retry").await.0, StatusCode::NOT_FOUND);
    assert_eq!(ask(Method::POST, "/api/webhooks/dead/0/retry").await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn webhooks_are_listed_tested_and_their_dead_letters_sent_again_on_sqlite() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(&format!("sqlite:{}", folder.path().join("nta.db").display())).await.expect("store");
    check(&store).await;
}

#[tokio::test]
async fn webhooks_are_listed_tested_and_their_dead_letters_sent_again_on_postgresql() {
    let test = "webhooks_are_listed_tested_and_their_dead_letters_sent_again_on_postgresql";
    let Some(server) = Server::start(test) else { return };
    let store = server.open().await;
    check(&store).await;
    store.close().await;
}
