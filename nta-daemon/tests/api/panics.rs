//! A task of the App that panics: the App ends with an error, for which the process has the status 1, and no answer has a
//! word of the panic. The next start on the same database works.

use std::path::Path;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use nta_core::domain::{Mode, Status};
use nta_daemon::api::{ApiState, router};
use nta_daemon::app::{App, AppError, Plan, Signals, Task, Work};
use nta_daemon::config::{Config, Reread};
use nta_daemon::store::{RunEnd, Store};
use tokio::sync::{oneshot, watch};
use tower::ServiceExt as _;

use crate::app::HOST;

/// Text of a panic that shows the inside.
const INSIDE: &str = "index out of bounds: the len is 0 but the index is 4294967295";

struct Ended;

impl Work for Ended {
    fn serves_on(&self) -> bool {
        false
    }
}

async fn build(database: &Path) -> App {
    let mut config = Config::default();
    config.store.database = format!("sqlite:{}", database.display()).parse().expect("a URL");
    let listen = Some("127.0.0.1:0".parse().expect("an address"));
    let status = Status::default();
    let plan = Plan { mode: Mode::Live, source: "eth0".to_owned(), listen, status, analysis: None, files: Vec::new() };
    App::build(&config, plan).await.expect("it starts")
}

async fn answer(status: &watch::Receiver<Status>, store: &Store, path: &str) -> (StatusCode, String) {
    let router = router(ApiState::new(store.clone(), status.clone()));
    let request = Request::get(path).header(header::HOST, HOST).body(Body::empty()).expect("request");
    let answer = router.oneshot(request).await.expect("an answer");
    let status = answer.status();
    let body = to_bytes(answer.into_body(), usize::MAX).await.expect("body");
    (status, String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_ends_the_app_with_an_error_and_nothing_of_it_is_answered() {
    let folder = tempfile::tempdir().expect("folder");
    let database = folder.path().join("nta.db");
    let mut signals = Signals::catch().expect("signals");
    let mut hangup = || Ok(Reread { config: Config::default(), patterns: Vec::new() });
    let (send, received) = oneshot::channel();
    let panics = move |task: Task| -> Ended {
        drop(send.send(task.status.subscribe()));
        panic!("{INSIDE}")
    };
    let ended = build(&database).await.run(panics, &mut signals, &mut hangup).await;
    let error = ended.err().expect("an error");
    assert!(matches!(error, AppError::Stopped { task: "the capture" }), "{error}");
    assert!(!error.to_string().contains("index"), "{error}");

    // The status that the server had at its end.
    let status = received.await.expect("it began");
    let store = Store::open(&format!("sqlite:{}", database.display())).await.expect("the database");
    for path in ["/health", "/api/status", "/metrics"] {
        let (code, text) = answer(&status, &store, path).await;
        assert!(!text.contains("index") && !text.contains("panick"), "{path}: {text}");
        let expected = if path == "/health" { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
        assert_eq!(code, expected, "{path}: {text}");
    }
    store.close().await;

    let goes_well = |task: Task| {
        let Task { output, .. } = task;
        output.finish(RunEnd::Stopped);
        Ended
    };
    let next = build(&database).await.run(goes_well, &mut signals, &mut hangup).await;
    assert!(next.is_ok(), "{:?}", next.err());
}
