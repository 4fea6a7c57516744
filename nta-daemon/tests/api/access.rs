//! Who may use which route, as somebody who may not would try.

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use nta_core::domain::Status;
use nta_daemon::api::{ApiState, Rules, Secret, router};
use nta_daemon::store::{Audit, Created, NewToken, Store};
use serde_json::{Value, json};
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;
use tower::ServiceExt as _;

use crate::app::{App, HOST, time};
use crate::postgres::Server;

/// What a request asks with: its `Authorization`, if any.
type Shown<'a> = Option<&'a str>;

pub(crate) async fn ask(
    router: &axum::Router,
    method: Method,
    path: &str,
    shown: Shown<'_>,
    body: &Value,
) -> (StatusCode, HeaderMap, Value) {
    let mut request = Request::builder().method(method).uri(path).header(header::HOST, HOST);
    if let Some(shown) = shown {
        request = request.header(header::AUTHORIZATION, shown);
    }
    if !body.is_null() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    let response = router.clone().oneshot(request.body(body).expect("request")).await.expect("response");
    let (parts, body) = response.into_parts();
    if parts.headers.get(header::CONTENT_TYPE).is_some_and(|of| of == "text/event-stream") {
        return (parts.status, parts.headers, Value::Null); // without end
    }
    let body = to_bytes(body, usize::MAX).await.expect("body");
    (parts.status, parts.headers, serde_json::from_slice(&body).unwrap_or_default())
}

/// A token as the command line makes it; answers what its owner shows.
pub(crate) async fn make(store: &Store, role: &'static str, change: impl FnOnce(&mut NewToken)) -> String {
    let secret = Secret::make();
    let mut token = NewToken { name: None, role, hash: secret.hash(), scope: None, created: time(1), expires: None };
    change(&mut token);
    let by = Audit {
        at: time(1),
        who: "test".to_owned(),
        role: "admin".to_owned(),
        origin: "command".to_owned(),
        action: "create token",
        target: String::new(),
        before: None,
        after: None,
    };
    assert!(matches!(store.create_token(&token, &by).await.expect("made"), Created::Done(_)));
    format!("Bearer {}", secret.reveal())
}

/// Every operation of the document with the role that it needs; parameters of the path are filled in.
async fn operations(router: &axum::Router) -> Vec<(Method, String, String)> {
    let (_, _, document) = ask(router, Method::GET, "/openapi.json", None, &Value::Null).await;
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("methods") {
            let role = operation["x-role"].as_str().expect("a role").to_owned();
            let is_open = operation["security"].as_array().is_none_or(Vec::is_empty);
            assert_eq!(is_open, role == "public", "{method} {path} says so to clients");
            let filled = path.split('/').map(|part| if part.starts_with('{') { "7" } else { part });
            let path = filled.collect::<Vec<_>>().join("/");
            found.push((method.to_uppercase().parse().expect("a method"), path, role));
        }
    }
    assert!(found.len() > 20, "{}", found.len());
    found
}

/// A route of each role is refused to who has less, before anything of the request is looked at.
#[tokio::test]
async fn each_route_takes_its_role_and_those_above_it() {
    let app = App::with(1, 1).await;
    let mut shown = vec![("nobody", None)];
    for role in ["viewer", "operator", "sensor"] {
        shown.push((role, Some(make(&app.store, role, |_| ()).await)));
    }
    app.read_tokens().await;
    for (method, path, needed) in operations(&app.router).await {
        for (role, token) in &shown {
            let (status, headers, problem) =
                ask(&app.router, method.clone(), &path, token.as_deref(), &json!({"nonsense": 1})).await;
            let reaches = match needed.as_str() {
                "public" => true,
                "viewer" => matches!(*role, "viewer" | "operator"),
                needed => *role == needed,
            };
            let asked = format!("{role}: {method} {path}, which needs {needed}: {status} {problem}");
            if reaches {
                assert!(!matches!(status.as_u16(), 401 | 403), "{asked}");
                continue;
            }
            let expected = if *role == "nobody" { 401 } else { 403 };
            if method == Method::HEAD {
                assert_eq!(status.as_u16(), expected, "{asked}");
                continue; // without a body
            }
            assert_eq!((status.as_u16(), &problem["status"]), (expected, &expected.into()), "{asked}");
            assert_eq!(headers[header::CONTENT_TYPE], "application/problem+json", "{asked}");
            if expected == 401 {
                assert_eq!(headers[header::WWW_AUTHENTICATE], "Bearer realm=\"nta\"", "{asked}");
            } else {
                let detail = problem["detail"].as_str().unwrap_or_default();
                assert!(detail.contains(&needed) && detail.contains(role), "{asked}");
            }
        }
    }
}

/// Each of these gets 401 and what is wrong.
#[tokio::test]
async fn what_is_no_token_that_holds_lets_nobody_in() {
    let app = App::with(1, 1).await;
    let good = make(&app.store, "admin", |_| ()).await;
    let expired = make(&app.store, "admin", |token| token.expires = Some(time(2))).await;
    app.read_tokens().await;
    let secret = good.strip_prefix("Bearer ").expect("a scheme");
    let mut almost = good.clone();
    almost.pop();
    for (shown, expected) in [
        (good.clone(), 200),
        (format!("bearer {secret}"), 200),
        (expired, 401),
        (almost, 401),
        (format!("{good}A"), 401),
        (secret.to_owned(), 401),
        (format!("Basic {secret}"), 401),
        ("Bearer ".to_owned(), 401),
        ("Bearer nta_".to_owned(), 401),
        (format!("Bearer {secret}, Bearer {secret}"), 401),
        (format!("Bearer {}", "nta_".repeat(1000)), 401),
    ] {
        let (status, headers, problem) = ask(&app.router, Method::GET, "/api/status", Some(&shown), &Value::Null).await;
        assert_eq!(status.as_u16(), expected, "{shown}: {problem}");
        if expected == 401 {
            assert_eq!(headers[header::WWW_AUTHENTICATE], "Bearer realm=\"nta\", error=\"invalid_token\"", "{shown}");
            assert!(!problem.to_string().contains(secret), "{problem}");
        }
    }
    let twice = Request::get("/api/status").header(header::HOST, HOST);
    let twice = twice.header(header::AUTHORIZATION, &good).header(header::AUTHORIZATION, &good).body(Body::empty());
    let answer = app.router.clone().oneshot(twice.expect("request")).await.expect("response");
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    for open in ["/health", "/metrics", "/api", "/openapi.json"] {
        let (status, ..) = ask(&app.router, Method::GET, open, Some("Bearer nonsense"), &Value::Null).await;
        assert_eq!(status, StatusCode::OK, "{open} is open");
    }
}

/// The life of tokens by the API, on a store of either database.
async fn tokens_by_the_api(store: Store) {
    let (_sender, status) = tokio::sync::watch::channel(Status::default());
    let router = router(ApiState::new(store, status));
    let none = Value::Null;
    let (_, _, open) = ask(&router, Method::GET, "/api/status", None, &none).await;
    assert_eq!(open["access"]["token_demanded"], false, "and it is said: {open}");
    for (body, field) in [
        (json!({}), "role"),
        (json!({"role": "root"}), "role"),
        (json!({"role": "public"}), "role"),
        (json!({"role": "admin", "name": "a b"}), "name"),
        (json!({"role": "admin", "name": "anonymous"}), "name"),
        (json!({"role": "admin", "expires": "2001-01-01T00:00:00Z"}), "expires"),
        (json!({"role": "admin", "scope": []}), "scope"),
        (json!({"role": "admin", "scope": ["../../etc"]}), "scope"),
        (json!({"role": "admin", "hash": "00"}), "hash"),
    ] {
        let (status, _, problem) = ask(&router, Method::POST, "/api/tokens", None, &body).await;
        assert_eq!((status.as_u16(), &problem["field"]), (400, &field.into()), "{body}: {problem}");
    }
    let wanted = json!({"role": "admin", "name": "mira", "expires": "2400-01-01T00:00:00Z"});
    let (status, headers, made) = ask(&router, Method::POST, "/api/tokens", None, &wanted).await;
    assert_eq!((status, &headers[header::CACHE_CONTROL]), (StatusCode::CREATED, &"no-store".parse().expect("a value")));
    let secret = made["token"].as_str().expect("shown once").to_owned();
    let mira = format!("Bearer {secret}");
    let (status, ..) = ask(&router, Method::GET, "/api/status", None, &none).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "from the first token on one is demanded");
    let (status, _, shown) = ask(&router, Method::GET, "/api/status", Some(&mira), &none).await;
    assert_eq!((status, &shown["access"]["token_demanded"]), (StatusCode::OK, &true.into()));
    let (status, _, taken) = ask(&router, Method::POST, "/api/tokens", Some(&mira), &wanted).await;
    assert_eq!(status, StatusCode::CONFLICT, "{taken}");
    let (_, _, other) = ask(&router, Method::POST, "/api/tokens", Some(&mira), &json!({"role": "viewer"})).await;
    let viewer = format!("Bearer {}", other["token"].as_str().expect("shown once"));
    let (_, _, list) = ask(&router, Method::GET, "/api/tokens", Some(&mira), &none).await;
    let names: Vec<_> = list["items"].as_array().expect("items").iter().map(|item| item["name"].as_str()).collect();
    assert_eq!(names, [Some("mira"), other["name"].as_str()]);
    assert!(list["items"][0]["last_used"].is_string() && list["items"][1]["last_used"].is_null(), "{list}");
    assert!(!list.to_string().contains("nta_") && !list.to_string().contains("hash"), "{list}");

    let path = format!("/api/tokens/{}", other["id"]);
    assert_eq!(ask(&router, Method::GET, "/api/status", Some(&viewer), &none).await.0, StatusCode::OK);
    assert_eq!(ask(&router, Method::DELETE, &path, Some(&viewer), &none).await.0, StatusCode::FORBIDDEN);
    for _ in 0..2 {
        assert_eq!(ask(&router, Method::DELETE, &path, Some(&mira), &none).await.0, StatusCode::NO_CONTENT);
    }
    let (status, _, problem) = ask(&router, Method::GET, "/api/status", Some(&viewer), &none).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("revoked")), "{problem}");
    assert_eq!(ask(&router, Method::DELETE, "/api/tokens/999", Some(&mira), &none).await.0, StatusCode::NOT_FOUND);

    let (_, _, log) = ask(&router, Method::GET, "/api/audit?sort=time", Some(&mira), &none).await;
    let rows = log["items"].as_array().expect("items");
    // What was refused is there too, and has a test of its own.
    let changes = rows.iter().filter(|row| row["action"] != "refused request");
    let said: Vec<_> =
        changes.map(|row| (row["who"].as_str(), row["action"].as_str(), row["target"].as_str())).collect();
    let target = format!("token {}", other["id"]);
    let expected = [
        (Some("anonymous"), Some("create token"), Some("token 1")),
        (Some("mira"), Some("create token"), Some(target.as_str())),
        (Some("mira"), Some("revoke token"), Some(target.as_str())),
    ];
    assert_eq!(said, expected);
    assert!(!log.to_string().contains(&secret[4..]) && !log.to_string().contains("hash"), "{log}");
    let (_, _, page) = ask(&router, Method::GET, "/api/audit?limit=1&who=mira", Some(&mira), &none).await;
    assert_eq!(
        (&page["items"][0]["action"], page["next_cursor"].is_string()),
        (&"revoke token".into(), true),
        "{page}"
    );

    // The last one goes, and the door stays closed.
    let last = format!("/api/tokens/{}", made["id"]);
    assert_eq!(ask(&router, Method::DELETE, &last, Some(&mira), &none).await.0, StatusCode::NO_CONTENT);
    assert_eq!(ask(&router, Method::GET, "/api/status", None, &none).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn tokens_by_the_api_on_sqlite() {
    tokens_by_the_api(App::with(0, 0).await.store).await;
}

#[tokio::test]
async fn tokens_by_the_api_on_postgresql() {
    let Some(server) = Server::start("tokens_by_the_api_on_postgresql") else { return };
    tokens_by_the_api(server.open().await).await;
}

#[tokio::test]
async fn a_scope_reaches_as_far_as_its_interfaces() {
    let app = App::with(1, 1).await;
    let of = |scope: &[&str]| {
        let scope = scope.iter().map(|name| (*name).to_owned()).collect();
        |token: &mut NewToken| token.scope = Some(scope)
    };
    let own = make(&app.store, "viewer", of(&["eth0", "eth7"])).await;
    let other = make(&app.store, "admin", of(&["eth1"])).await;
    app.read_tokens().await;
    let (status, ..) = ask(&app.router, Method::GET, "/api/status", Some(&own), &Value::Null).await;
    assert_eq!(status, StatusCode::OK, "all that is watched is its own");
    for path in ["/api/status", "/api/flows", "/api/alerts", "/api/tokens"] {
        let (status, _, problem) = ask(&app.router, Method::GET, path, Some(&other), &Value::Null).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}");
        let detail = problem["detail"].as_str().expect("a text");
        assert!(detail.contains("eth1 only") && !detail.contains("eth0"), "what is watched is not named: {problem}");
    }
    // What is in a capture may come from anywhere.
    let capture = "0".repeat(32);
    let packets = "/api/alerts/00000000000000a1/evidence.pcap".to_owned();
    let (of_captures, report) = (format!("/api/flows?capture={capture}"), format!("/report/{capture}"));
    for path in ["/api/captures".to_owned(), report, of_captures, packets] {
        let (status, _, problem) = ask(&app.router, Method::GET, &path, Some(&own), &Value::Null).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("captures")), "{problem}");
    }
    // Another interface is watched too: what is stored is of both together.
    app.status.send_modify(|status| status.attachments[0].interface = "eth9".to_owned());
    let (status, _, problem) = ask(&app.router, Method::GET, "/api/flows", Some(&own), &Value::Null).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{problem}");
    app.status.send_modify(|status| *status = Status::default());
    let (status, ..) = ask(&app.router, Method::GET, "/api/flows", Some(&own), &Value::Null).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "nobody knows of which interfaces it is");
}

/// Whoever is refused leaves a trace: a known token in the audit log, once an hour for each route, and never a token itself.
async fn refusals_leave_a_trace(store: Store) {
    let viewer = make(&store, "viewer", |token| token.name = Some("mira".to_owned())).await;
    let admin = make(&store, "admin", |_| ()).await;
    let (_sender, status) = tokio::sync::watch::channel(Status::default());
    let state = ApiState::new(store, status);
    state.read_tokens().await.expect("the store answers");
    let router = router(state);
    for _ in 0..3 {
        for (method, path) in
            [(Method::GET, "/api/audit"), (Method::DELETE, "/api/captures/0"), (Method::GET, "/api/audit/")]
        {
            let (status, ..) = ask(&router, method, path, Some(&viewer), &Value::Null).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{path}");
        }
        let wrong = format!("nta_{}", "0".repeat(64));
        let (status, ..) = ask(&router, Method::GET, "/api/audit", Some(&wrong), &Value::Null).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
    let path = "/api/audit?action=refused%20request&sort=time";
    let (_, _, log) = ask(&router, Method::GET, path, Some(&admin), &Value::Null).await;
    let rows: Vec<_> =
        log["items"].as_array().expect("items").iter().map(|row| (&row["who"], &row["target"])).collect();
    let expected = ["GET /api/audit", "DELETE /api/captures/{file_id}"].map(Value::from);
    assert_eq!(rows, [(&"mira".into(), &expected[0]), (&"mira".into(), &expected[1])], "{log}");
    assert!(!log.to_string().contains("nta_"), "{log}");
}

#[tokio::test]
async fn refusals_leave_a_trace_on_sqlite() {
    refusals_leave_a_trace(App::with(0, 0).await.store.clone()).await;
}

#[tokio::test]
async fn refusals_leave_a_trace_on_postgresql() {
    let Some(server) = Server::start("refusals_leave_a_trace_on_postgresql") else { return };
    refusals_leave_a_trace(server.open().await).await;
}

#[tokio::test]
async fn a_listener_that_others_reach_demands_a_token_before_there_is_one() {
    let app = App::with(1, 1).await;
    let router = router(
        ApiState::new(app.store.clone(), app.status.subscribe()).with_rules(Rules { opens: false, ..Rules::default() }),
    );
    assert_eq!(ask(&router, Method::GET, "/api/status", None, &Value::Null).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(ask(&router, Method::GET, "/health", None, &Value::Null).await.0, StatusCode::OK);
}

/// While the store does not answer, whom it let in before is let in, and nobody else.
#[tokio::test]
async fn without_its_store_the_daemon_lets_in_whom_it_knew() {
    let app = App::with(1, 1).await;
    let known = make(&app.store, "viewer", |_| ()).await;
    app.read_tokens().await;
    let (_sender, status) = tokio::sync::watch::channel(Status::default());
    let never_read = router(ApiState::new(app.store.clone(), status));
    app.store.close().await;
    assert_eq!(ask(&app.router, Method::GET, "/api/status", Some(&known), &Value::Null).await.0, StatusCode::OK);
    assert_eq!(ask(&app.router, Method::GET, "/api/status", None, &Value::Null).await.0, StatusCode::UNAUTHORIZED);
    let (status, ..) = ask(&never_read, Method::GET, "/api/status", None, &Value::Null).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "nobody is let in by default");
}

/// What people change is in the audit log, with what it was before.
#[tokio::test]
async fn changes_of_alerts_and_baselines_are_in_the_audit_log() {
    let app = App::with(1, 1).await;
    let alerts = [crate::alerts::alert(nta_core::domain::AlertKind::PortScan, 1, 1, 0.9)];
    crate::alerts::emit(&app, nta_core::domain::AlertChange::Raised, &alerts).await;
    let operator = make(&app.store, "operator", |token| token.name = Some("noor".to_owned())).await;
    let admin = make(&app.store, "admin", |_| ()).await;
    app.read_tokens().await;
    let path = format!("/api/alerts/{}", alerts[0].id);
    let change = async |body: Value| ask(&app.router, Method::PATCH, &path, Some(&operator), &body).await;
    let (status, _, problem) = change(json!({"status": "resolved", "by": "mira"})).await;
    assert_eq!((status.as_u16(), &problem["field"]), (400, &"by".into()), "nobody acts as another: {problem}");
    let (status, _, changed) = change(json!({"status": "resolved", "note": "our scanner"})).await;
    assert_eq!((status, &changed["status_by"]), (StatusCode::OK, &"noor".into()), "{changed}");
    let series = json!({"series": {"loss": nta_core::baseline::Series::default()}});
    let (status, _, answer) = ask(&app.router, Method::PUT, "/api/baselines/loss", Some(&operator), &series).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let (_, _, log) = ask(&app.router, Method::GET, "/api/audit?who=noor&sort=time", Some(&admin), &Value::Null).await;
    let (alert, baseline) = (&log["items"][0], &log["items"][1]);
    assert_eq!((&alert["action"], &alert["role"]), (&"change alert".into(), &"operator".into()), "{log}");
    assert_eq!(alert["before"], json!({"status": "open", "verdict": null, "by": null}));
    assert_eq!(alert["after"], json!({"status": "resolved", "note": "our scanner", "by": "noor", "verdict": null}));
    assert_eq!(
        (&baseline["target"], baseline["after"]["metrics"].is_array()),
        (&"baseline loss".into(), true),
        "{log}"
    );
    assert_eq!(log["items"].as_array().map(Vec::len), Some(2), "what was refused changed nothing: {log}");
}

/// A database that loses its tokens, as one does that was damaged and is made anew, opens nothing: they are put back.
#[tokio::test]
async fn a_database_that_loses_its_tokens_opens_no_door() {
    let folder = tempfile::tempdir().expect("folder");
    let url = format!("sqlite:{}", folder.path().join("nta.db").display());
    let (_sender, status) = tokio::sync::watch::channel(Status::default());
    let router = router(ApiState::new(Store::open(&url).await.expect("store"), status));
    let (none, body) = (Value::Null, serde_json::json!({"role": "admin", "name": "mira"}));
    let (made, _, token) = ask(&router, Method::POST, "/api/tokens", None, &body).await;
    assert_eq!(made, StatusCode::CREATED, "{token}");
    let bearer = format!("Bearer {}", token["token"].as_str().expect("it is shown"));
    assert_eq!(ask(&router, Method::GET, "/api/status", Some(&bearer), &none).await.0, StatusCode::OK);

    let mut other = url.parse::<SqliteConnectOptions>().expect("a file").connect().await.expect("a connection");
    sqlx::query("DELETE FROM api_tokens").execute(&mut other).await.expect("deleted");
    let mut there = 0;
    for _ in 0..1000 {
        assert_eq!(ask(&router, Method::GET, "/api/status", None, &none).await.0, StatusCode::UNAUTHORIZED);
        there = sqlx::query_scalar("SELECT count(*) FROM api_tokens").fetch_one(&mut other).await.expect("a number");
        if there > 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(there, 1);
    assert_eq!(ask(&router, Method::GET, "/api/status", Some(&bearer), &none).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_scope_of_interfaces_that_are_not_watched_is_warned_about() {
    let app = App::with(0, 0).await;
    let body = json!({"role": "viewer", "scope": ["eth0", "eth9"]});
    let (status, made) = app.send(Method::POST, "/api/tokens", &body).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let expected = "scope: `eth9` is not watched now; until it is, the token sees nothing of it";
    assert_eq!(made["warnings"], json!([expected]), "{made}");
}
