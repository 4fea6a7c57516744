//! `/api/analysis/start-tcpdump` and `/stop-tcpdump`: what is refused before a packet is recorded. `tests/kernel_live` records.

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use nta_daemon::api::{ApiState, router};
use nta_daemon::recording::Recorder;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::app::{App, HOST, parse};

#[tokio::test]
async fn what_cannot_be_recorded_is_refused_with_its_field() {
    let app = App::with(0, 0).await;
    let (status, refused) = app.send(Method::POST, "/api/analysis/start-tcpdump", &json!({ "interface": "lo" })).await;
    assert_eq!(status, StatusCode::CONFLICT, "a daemon that captures nothing: {refused}");

    let folder = tempfile::tempdir().expect("folder");
    let recorder = Recorder::new(folder.path().join("recordings"), 8 << 20, 16 << 20);
    let live = router(ApiState::new(app.store.clone(), app.status.subscribe()).with_recorder(recorder));
    let post = async |path: &str, body: Value| {
        let request = Request::post(path).header(header::HOST, HOST).header(header::CONTENT_TYPE, "application/json");
        let request = request.body(Body::from(body.to_string())).expect("request");
        let answer = live.clone().oneshot(request).await.expect("an answer");
        let status = answer.status().as_u16();
        (status, parse(&to_bytes(answer.into_body(), usize::MAX).await.expect("body")))
    };
    for (body, status, field) in [
        (json!({}), 400, "interface"),
        (json!({ "interface": "nowhere9" }), 422, "interface"),
        (json!({ "interface": "lo", "filter": "tcp prt 80" }), 422, "filter"),
        (json!({ "interface": "lo", "snaplen": 0 }), 400, "snaplen"),
        (json!({ "interface": "lo", "max_bytes": 1000 }), 400, "max_bytes"),
        (json!({ "interface": "lo", "max_bytes": 9 << 20 }), 400, "max_bytes"),
        (json!({ "interface": "lo", "duration": 0 }), 400, "duration"),
        (json!({ "interface": "lo", "snap": 5 }), 400, "snap"),
    ] {
        let (answer, refused) = post("/api/analysis/start-tcpdump", body.clone()).await;
        assert_eq!((answer, &refused["field"]), (status, &field.into()), "{body}: {refused}");
    }
    let (status, refused) = post("/api/analysis/stop-tcpdump", json!({})).await;
    assert_eq!(status, 409, "{refused}");
    assert!(!folder.path().join("recordings").exists(), "nothing was made");
}
