//! Sessions: a cookie stands for a token, and for no longer than the token holds.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use serde_json::Value;
use tower::ServiceExt as _;

use crate::access::{ask, make};
use crate::app::{App, HOST, time};

async fn with(router: &Router, method: Method, path: &str, headers: &[(&str, &str)]) -> (StatusCode, HeaderMap, Value) {
    let mut request = Request::builder().method(method).uri(path).header(header::HOST, HOST);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = router.clone().oneshot(request.body(Body::empty()).expect("request")).await.expect("response");
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.expect("body");
    (parts.status, parts.headers, serde_json::from_slice(&body).unwrap_or_default())
}

/// Opens a session; answers its cookie as a browser sends it back, and the whole of it.
async fn open(router: &Router, headers: &[(&str, &str)]) -> (String, String) {
    let (status, headers, session) = with(router, Method::POST, "/api/session", headers).await;
    assert_eq!(status, StatusCode::CREATED, "{session}");
    let whole = headers[header::SET_COOKIE].to_str().expect("text").to_owned();
    (whole.split(';').next().expect("a value").to_owned(), whole)
}

#[tokio::test]
async fn a_cookie_stands_for_a_token_until_it_is_closed_or_the_token_is_revoked() {
    let app = App::with(1, 1).await;
    let operator = make(&app.store, "operator", |token| token.name = Some("noor".to_owned())).await;
    let admin = make(&app.store, "admin", |_| ()).await;
    app.read_tokens().await;
    let (cookie, whole) = open(&app.router, &[("authorization", &operator)]).await;
    for part in ["; HttpOnly", "; SameSite=Strict", "; Path=/", "; Max-Age=43200"] {
        assert!(whole.contains(part), "{whole}");
    }
    assert!(!whole.contains("Secure"), "a browser would not send it back by http: {whole}");
    assert!(!operator.contains(cookie.split('=').nth(1).expect("a value")), "it is not the token");

    let get = async |path: &str, cookie: &str| with(&app.router, Method::GET, path, &[("cookie", cookie)]).await.0;
    let among = format!("theme=dark; {cookie}; x=1");
    assert_eq!(get("/api/status", &among).await, StatusCode::OK);
    assert_eq!(get("/api/tokens", &cookie).await, StatusCode::FORBIDDEN, "it has the role of the token");
    assert_eq!(get("/api/status", "nta_session=nta_forged").await, StatusCode::UNAUTHORIZED);
    assert_eq!(get("/api/status", &cookie.replace("nta_session", "session")).await, StatusCode::UNAUTHORIZED);
    // What a page of another site makes a browser do, should it send the cookie all the same.
    let foreign = [("cookie", cookie.as_str()), ("origin", "https://evil.example")];
    assert_eq!(with(&app.router, Method::DELETE, "/api/session", &foreign).await.0, StatusCode::FORBIDDEN);
    // A session does not renew itself.
    let again = with(&app.router, Method::POST, "/api/session", &[("cookie", &cookie)]).await;
    assert_eq!(again.0, StatusCode::CONFLICT, "{}", again.2);
    // A token that does not hold is not helped by a session that does.
    let both = [("cookie", cookie.as_str()), ("authorization", "Bearer nta_forged")];
    assert_eq!(with(&app.router, Method::GET, "/api/status", &both).await.0, StatusCode::UNAUTHORIZED);

    let closed = with(&app.router, Method::DELETE, "/api/session", &[("cookie", &cookie)]).await;
    assert_eq!(closed.0, StatusCode::NO_CONTENT);
    assert!(closed.1[header::SET_COOKIE].to_str().is_ok_and(|cookie| cookie.contains("Max-Age=0")));
    assert_eq!(get("/api/status", &cookie).await, StatusCode::UNAUTHORIZED, "also for who kept the cookie");

    let (second, _) = open(&app.router, &[("authorization", &operator)]).await;
    assert_eq!(get("/api/status", &second).await, StatusCode::OK);
    let (revoked, ..) = ask(&app.router, Method::DELETE, "/api/tokens/1", Some(&admin), &Value::Null).await;
    assert_eq!(revoked, StatusCode::NO_CONTENT);
    assert_eq!(get("/api/status", &second).await, StatusCode::UNAUTHORIZED, "it went with its token");
    let (_, _, log) = ask(&app.router, Method::GET, "/api/audit?who=noor&sort=time", Some(&admin), &Value::Null).await;
    let actions: Vec<_> = log["items"].as_array().expect("items").iter().map(|row| row["action"].as_str()).collect();
    let changes: Vec<_> = actions.into_iter().filter(|action| *action != Some("refused request")).collect();
    assert_eq!(changes, [Some("open session"), Some("close session"), Some("open session")]);
    assert!(!log.to_string().contains(&second[12..]), "{log}");
}

#[tokio::test]
async fn a_session_needs_a_token_and_is_secure_where_the_browser_speaks_tls() {
    let app = App::with(1, 1).await;
    let open_listener = with(&app.router, Method::POST, "/api/session", &[]).await;
    assert_eq!(open_listener.0, StatusCode::CONFLICT, "nobody needs one: {}", open_listener.2);
    let sensor = make(&app.store, "sensor", |_| ()).await;
    let expired = make(&app.store, "viewer", |token| token.expires = Some(time(2))).await;
    app.read_tokens().await;
    for (shown, expected) in [(None, 401), (Some(&sensor), 403), (Some(&expired), 401)] {
        let (status, headers, _) =
            ask(&app.router, Method::POST, "/api/session", shown.map(String::as_str), &Value::Null).await;
        assert_eq!((status.as_u16(), headers.contains_key(header::SET_COOKIE)), (expected, false));
    }
}

#[tokio::test]
async fn every_answer_tells_browsers_to_be_careful() {
    let app = App::with(1, 1).await;
    for (path, status) in [("/api/status", 200), ("/health", 200), ("/nowhere", 404), ("/api/metrics?limit=0", 400)] {
        let (got, headers, _) = with(&app.router, Method::GET, path, &[("origin", "https://evil.example")]).await;
        assert_eq!(got.as_u16(), status, "{path}");
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff", "{path}");
        assert_eq!(headers[header::CONTENT_SECURITY_POLICY], "default-src 'none'; frame-ancestors 'none'", "{path}");
        assert_eq!(headers[header::REFERRER_POLICY], "no-referrer", "{path}");
        assert!(!headers.contains_key(header::STRICT_TRANSPORT_SECURITY), "{path}: there is no TLS");
        assert!(!headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN), "{path}: no other site reads it");
    }
}
