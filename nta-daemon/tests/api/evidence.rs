//! `/api/alerts/{id}/evidence` and its page.

use axum::http::{Request, StatusCode, header};
use nta_core::domain::{AlertChange, AlertKind, FlowRecord, Party};
use serde_json::Value;
use tower::ServiceExt as _;

use crate::alerts::{alert, emit};
use crate::app::{App, HOST, flow, time};

/// The flows between both parties, one of the source to somebody else, and one that is too late.
async fn app() -> (App, String) {
    let app = App::with(3, 0).await;
    let between = |id: u64, first: u64, [source, destination]: [[u8; 4]; 2]| {
        let mut flow = FlowRecord { first: time(first), last: time(first + 1), ..flow(id) };
        (flow.originator.address, flow.responder.address) = (source.into(), destination.into());
        flow
    };
    let [scanner, victim, other] = [[192, 0, 2, 1], [198, 51, 100, 2], [198, 51, 100, 3]];
    let flows = vec![
        between(1, 6, [scanner, victim]),
        between(2, 7, [victim, scanner]),
        between(3, 7, [scanner, other]),
        between(4, 500, [scanner, victim]),
    ];
    app.write(None, flows).await;
    let mut found = alert(AlertKind::PortScan, 1, 1, 0.9);
    found.key.destination = Party::Host(victim.into());
    found.finding.summary = "<script>alert(1)</script> tried 40 ports".to_owned();
    found.latest = found.finding.clone();
    emit(&app, AlertChange::Raised, std::slice::from_ref(&found)).await;
    (app, found.id.to_string())
}

#[tokio::test]
async fn an_alert_shows_the_windows_findings_and_flows_that_it_rests_on() {
    let (app, id) = app().await;
    let evidence = app.json(&format!("/api/alerts/{id}/evidence")).await;
    let ids = |list: &str, field: &str| -> Vec<Value> {
        evidence[list].as_array().expect(list).iter().map(|one| one[field].clone()).collect()
    };
    assert_eq!(evidence["alert"]["id"], id);
    assert_eq!(ids("windows", "id"), [Value::from(1)], "from 5 s to 10 s");
    assert_eq!(ids("anomalies", "alert"), [Value::from(id.as_str())]);
    assert_eq!(ids("flows", "id"), ["0000000000000001", "0000000000000002"], "between the two, and then");
    assert_eq!((&evidence["flows_cut"], &evidence["flows_missing"]), (&false.into(), &Value::Null));
}

#[tokio::test]
async fn where_no_party_is_a_host_it_says_why_there_are_no_flows() {
    let (app, _) = app().await;
    let mut many = alert(AlertKind::SynFlood, 1, 2, 0.9);
    (many.key.source, many.key.destination) = (Party::Many, Party::Network([192, 0, 2, 0].into(), 24));
    emit(&app, AlertChange::Raised, std::slice::from_ref(&many)).await;
    let evidence = app.json(&format!("/api/alerts/{}/evidence", many.id)).await;
    assert!(evidence["flows_missing"].as_str().is_some_and(|why| why.contains("none of its parties")), "{evidence}");
    for path in ["evidence", "alert.html"] {
        assert_eq!(app.get(&format!("/api/alerts/0123456789abcdef/{path}")).await.0, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn the_page_needs_nothing_else_and_runs_nothing() {
    let (app, id) = app().await;
    let request = Request::get(format!("/api/alerts/{id}/alert.html")).header(header::HOST, HOST);
    let request = request.body(axum::body::Body::empty()).expect("request");
    let response = app.router.clone().oneshot(request).await.expect("response");
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
    let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().expect("text").to_owned();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    let page = axum::body::to_bytes(response.into_body(), usize::MAX).await.expect("body");
    let page = String::from_utf8(page.to_vec()).expect("UTF-8");
    assert!(page.contains("&lt;script&gt;alert(1)") && !page.contains("<script"), "{page}");
    assert!(page.contains("<svg") && page.contains("198.51.100.2"), "{page}");
    assert!(!page.contains("http:") && !page.contains("https:") && !page.contains(" style="), "{page}");
}
