//! How often somebody may ask, over real connections.

use std::net::SocketAddr;
use std::num::NonZeroU32;

use nta_daemon::api::{ApiState, Rules, serve};
use nta_daemon::store::{AuditFilter, Position};

use crate::access::make;
use crate::app::App;
use crate::guard::{ask, get};

async fn server(app: &App, rules: Rules) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("listener");
    let address = listener.local_addr().expect("address");
    let state = ApiState::new(app.store.clone(), app.status.subscribe()).with_rules(rules);
    tokio::spawn(serve(listener, state, std::future::pending()));
    address
}

fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// One request a second, four at once.
#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_often_is_told_when_to_come_again_and_forged_headers_do_not_help() {
    let app = App::with(1, 1).await;
    let token = make(&app.store, "viewer", |_| ()).await;
    let rules = Rules { requests_per_s: NonZeroU32::new(1), ..Rules::default() };
    let address = server(&app, rules).await;
    let mut limited = None;
    // Each says that it comes from elsewhere, and shows another token that there is not.
    for number in 0..20 {
        let headers = format!(
            "Host: {address}\r\nX-Forwarded-For: 192.0.2.{number}\r\nForwarded: for=192.0.2.{number}\r\nX-Real-IP: 192.0.2.{number}\r\n\
             Authorization: Bearer nta_{number}\r\n"
        );
        let (status, answer) = ask(address, get("/api/status", &headers)).await;
        assert_eq!(header(&answer, "ratelimit-policy"), Some("\"requests\";q=4;w=4"), "{answer}");
        assert!(header(&answer, "ratelimit").is_some_and(|left| left.starts_with("\"requests\";r=")), "{answer}");
        if status == 429 {
            limited = Some(answer);
            break;
        }
        assert_eq!(status, 401, "{answer}");
    }
    let limited = limited.expect("one of twenty is one too many");
    assert!(limited.contains("application/problem+json"), "{limited}");
    assert!(
        header(&limited, "retry-after").and_then(|wait| wait.parse::<u64>().ok()).is_some_and(|wait| wait >= 1),
        "{limited}"
    );
    assert_eq!(
        header(&limited, "ratelimit").map(|left| left.starts_with("\"requests\";r=0;t=")),
        Some(true),
        "{limited}"
    );
    // Who looks after it is never refused, and who shows a token has a count of its own.
    for _ in 0..20 {
        assert_eq!(ask(address, get("/health", "Host: x\r\n")).await.0, 200);
    }
    let headers = format!("Host: {address}\r\nAuthorization: {token}\r\n");
    assert_eq!(ask(address, get("/api/status", &headers)).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_says_for_whom_it_asks_and_the_audit_log_has_it() {
    let app = App::with(1, 1).await;
    let rules = Rules { trusted_proxies: vec!["127.0.0.0/8".parse().expect("a network")], ..Rules::default() };
    let mut admin = String::new();
    for rules in [rules, Rules::default()] {
        // It reads the tokens that there are when it begins.
        let address = server(&app, rules).await;
        let body = "{\"role\":\"admin\"}";
        let request = format!(
            "POST /api/tokens HTTP/1.1\r\nHost: {address}\r\n{admin}X-Forwarded-For: 203.0.113.1, 192.0.2.77\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let (status, answer) = ask(address, request).await;
        assert_eq!(status, 201, "{answer}");
        let secret = answer.split("\"token\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("shown once");
        admin = format!("Authorization: Bearer {secret}\r\n");
    }
    let (all, first) = (AuditFilter::default(), Position { descending: false, after: None, limit: 9 });
    let origins: Vec<String> =
        app.store.audited(&all, first).await.expect("the log").items.into_iter().map(|row| row.origin).collect();
    assert_eq!(origins, ["192.0.2.77", "127.0.0.1"], "the second does not trust it");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_open_or_need_a_viewer() {
    let app = App::with(1, 1).await;
    let viewer = make(&app.store, "viewer", |_| ()).await;
    let sensor = make(&app.store, "sensor", |_| ()).await;
    let closed = server(&app, Rules { metrics_open: false, ..Rules::default() }).await;
    for (shown, expected) in [(String::new(), 401), (sensor, 403), (viewer, 200)] {
        let shown = if shown.is_empty() { shown } else { format!("Authorization: {shown}\r\n") };
        let (status, answer) = ask(closed, get("/metrics", &format!("Host: x\r\n{shown}"))).await;
        assert_eq!(status, expected, "{shown}: {answer}");
    }
    assert_eq!(ask(closed, get("/health", "Host: x\r\n")).await.0, 200);
}
