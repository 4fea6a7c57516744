//! `/api/jobs`, and the requests that make jobs.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use nta_core::domain::Mode;
use nta_daemon::store::{JobOwner, NewJob};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::app::{App, HOST, parse, time};

/// Sends a request with headers of its own.
pub(crate) async fn send(
    app: &App,
    path: &str,
    body: &Value,
    headers: &[(&str, &str)],
) -> (StatusCode, HeaderMap, Value) {
    let mut request = Request::builder().method(Method::POST).uri(path).header(header::HOST, HOST);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.header(header::CONTENT_TYPE, "application/json").body(Body::from(body.to_string()));
    let response = app.router.clone().oneshot(request.expect("request")).await.expect("response");
    let (status, headers) = (response.status(), response.headers().clone());
    (status, headers, parse(&to_bytes(response.into_body(), usize::MAX).await.expect("body")))
}

const AT_ONCE: (&str, &str) = ("Prefer", "respond-async");

/// The job once it is over.
pub(crate) async fn over(app: &App, path: &str) -> Value {
    loop {
        let job = app.json(path).await;
        if job["ended"].is_string() {
            return job;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_long_request_answers_its_job_and_the_job_has_the_result() {
    let app = App::with(4, 1).await;
    let body = json!({ "window_size": 10 });
    let (status, headers, job) = send(&app, "/api/metrics/compute", &body, &[AT_ONCE]).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{job}");
    let path = headers[header::LOCATION].to_str().expect("text");
    assert_eq!(path, format!("/api/jobs/{}", job["id"].as_str().expect("id")));
    assert_eq!((&job["kind"], &job["request"]), (&"windows".into(), &json!({"window_size": 10})));
    assert_eq!(headers["preference-applied"], "respond-async");
    let done = over(&app, path).await;
    assert_eq!((&done["state"], &done["progress"]["percent"]), (&"done".into(), &100.0.into()), "{done}");
    assert_eq!((&done["error"], &done["attempts"], &done["who"]), (&Value::Null, &1.into(), &"anonymous".into()));
    // Without the preference the answer is the same result.
    let (status, _, result) = send(&app, "/api/metrics/compute", &body, &[]).await;
    assert_eq!((status, &result), (StatusCode::OK, &done["result"]));
    assert_eq!(result["base_windows"], 4);

    // What cannot be done is refused as if there were no job, and the job says the same.
    let (status, _, refused) = send(&app, "/api/baselines/generate", &json!({}), &[]).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{refused}");
    let list = app.json("/api/jobs?state=failed").await;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1), "{list}");
    let failed = &list["items"][0];
    assert_eq!((&failed["error"]["status"], &failed["error"]["detail"]), (&422.into(), &refused["detail"]));
}

#[tokio::test]
async fn the_same_key_answers_the_same_job() {
    let app = App::with(4, 1).await;
    let key = ("Idempotency-Key", "8e03978e-40d5-43dd-bc93-6894a57f9324");
    let ask = async |size: u64, headers: &[(&str, &str)]| {
        send(&app, "/api/metrics/compute", &json!({ "window_size": size }), headers).await
    };
    let (status, _, first) = ask(10, &[key, AT_ONCE]).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{first}");
    let (status, _, again) = ask(10, &[key]).await;
    assert_eq!((status, &again["window_size_s"]), (StatusCode::OK, &10.0.into()), "{again}");
    let (status, _, later) = ask(10, &[key, AT_ONCE]).await;
    assert_eq!((status, &later), (StatusCode::OK, &again), "once it is done, it is answered at once");
    let (status, _, refused) = ask(15, &[key]).await;
    assert_eq!((status, &refused["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &"Idempotency-Key".into()));
    let list = app.json("/api/jobs").await;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1), "{list}");
    assert_eq!(list["items"][0]["id"], first["id"]);

    let long = "k".repeat(256);
    for headers in [&[("Idempotency-Key", "")][..], &[("Idempotency-Key", &long)], &[key, key]] {
        let (status, _, refused) = ask(10, headers).await;
        assert_eq!((status, &refused["field"]), (StatusCode::BAD_REQUEST, &"Idempotency-Key".into()), "{refused}");
    }
}

#[tokio::test]
async fn jobs_are_listed_page_by_page_and_cancelled_once() {
    let app = App::with(1, 1).await;
    let owner = JobOwner { sensor: "other".to_owned(), mode: Mode::Live, run: [7; 16] };
    for number in 1..=5_u64 {
        let job = NewJob {
            id: format!("01890000-0000-7000-8000-00000000000{number}"),
            kind: if number == 5 { "windows" } else { "baselines" }.to_owned(),
            who: "test".to_owned(),
            request: "{}".to_owned(),
            key: None,
            created: time(number),
        };
        app.store.insert_job(&owner, &job).await.expect("insert");
    }
    let ids = |list: &Value| -> Vec<String> {
        let items = list["items"].as_array().expect("items").iter();
        items.map(|job| job["id"].as_str().expect("id")[35..].to_owned()).collect()
    };
    let first = app.json("/api/jobs?limit=3").await;
    assert_eq!(ids(&first), ["5", "4", "3"]);
    let cursor = first["next_cursor"].as_str().expect("a next page");
    assert_eq!(ids(&app.json(&format!("/api/jobs?limit=3&cursor={cursor}")).await), ["2", "1"]);
    assert_eq!(ids(&app.json("/api/jobs?kind=windows&state=queued").await), ["5"]);
    assert_eq!(ids(&app.json("/api/jobs?sensor=elsewhere").await), [""; 0]);
    assert_eq!(ids(&app.json("/api/jobs?sensor=other&limit=2").await), ["5", "4"]);
    assert_eq!(ids(&app.json("/api/jobs?from=2&to=4&sort=time").await), ["2", "3"]);
    for (path, field) in [("/api/jobs?state=open", "state"), ("/api/jobs?kind=dig", "kind"), ("/api/jobs/7", "id")] {
        let (status, _, body) = app.get(path).await;
        assert_eq!((status, &parse(&body)["field"]), (StatusCode::BAD_REQUEST, &field.into()), "{path}");
    }

    let cancel = async |id: &str| app.send(Method::POST, &format!("/api/jobs/{id}/cancel"), &json!({})).await;
    let (status, refused) = cancel("01890000-0000-7000-8000-000000000001").await;
    assert_eq!(status, StatusCode::CONFLICT, "{refused}");
    assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains("another process")), "{refused}");
    let (status, _) = cancel("01890000-0000-7000-8000-0000000000ff").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, _, _) = send(&app, "/api/metrics/compute", &json!({}), &[]).await;
    assert_eq!(status, StatusCode::OK);
    let done = app.json("/api/jobs?state=done").await["items"][0]["id"].as_str().expect("id").to_owned();
    let (status, refused) = cancel(&done).await;
    assert_eq!(status, StatusCode::CONFLICT, "{refused}");
    assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains("is over: done")), "{refused}");
    let text = String::from_utf8(app.get("/metrics").await.2).expect("text");
    let line = "nta_jobs_ended_total{kind=\"windows\",state=\"done\"} 1.0";
    assert!(text.lines().any(|l| l == line), "{text}");
}
