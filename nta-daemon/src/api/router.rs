//! Every route on one screen, by the role that may use it. Router, OpenAPI document and index are made from this list.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{StatusCode, Uri, header};
use axum::middleware::{Next, from_fn, from_fn_with_state, map_response};
use axum::response::{IntoResponse as _, Response};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::{CompressionLayer, CompressionLevel};
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::normalize_path::NormalizePath;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::access::{Role, bring, require};
use super::caching::revalidate;
use super::error::{after_panic, as_problem, name_methods};
use super::graphql::Graph;
use super::headers::careful;
use super::requests::measure;
use super::routes::{
    alert_bulk, alerts, anomalies, audit, baselines, capture_file, captures, compute, control, dashboard, detect, docs,
    evidence, explain, export, features, flows, generate, graphql, health, hosts, index, ingest, jobs, live_capture,
    metrics, models, mutes, packets, prometheus, recording, reload, results, score, sensors, services, session, stats,
    status, stream, tokens, uploads, webhooks,
};
use super::workers::{LargeBodies, Workers, few_at_a_time, off_the_executor};
use super::{ApiError, ApiState, guard, links, openapi};

/// Time in which a handler must begin its answer; a stream may take longer to end.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest body of a request.
const BODY_LIMIT_BYTES: usize = 64 * 1024;
/// Largest body of an import of baselines: a week's hours of four metrics are about 2 MiB.
const IMPORT_LIMIT_BYTES: usize = 8 * 1024 * 1024;

/// Largest message of a sensor: many windows in one, compressed.
const SHIPMENT_LIMIT_BYTES: usize = 32 * 1024 * 1024;

fn public() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(dashboard::root))
        .routes(routes!(dashboard::overview))
        .routes(routes!(dashboard::page))
        .routes(routes!(dashboard::part))
        .routes(routes!(dashboard::asset))
        .routes(routes!(index::get))
        .routes(routes!(health::get))
        .routes(routes!(prometheus::get))
        .routes(routes!(openapi::get))
        .routes(routes!(docs::page))
        .routes(routes!(docs::file))
}

fn viewer() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(status::get))
        .routes(routes!(metrics::list))
        .routes(routes!(metrics::summary))
        .routes(routes!(metrics::one))
        .routes(routes!(features::list))
        .routes(routes!(export::get))
        .routes(routes!(flows::search))
        .routes(routes!(flows::last10))
        .routes(routes!(flows::all))
        .routes(routes!(hosts::list))
        .routes(routes!(hosts::one))
        .routes(routes!(services::list))
        .routes(routes!(anomalies::list))
        .routes(routes!(anomalies::by_type))
        .routes(routes!(anomalies::top))
        .routes(routes!(anomalies::summary))
        .routes(routes!(anomalies::window))
        .routes(routes!(alerts::list))
        .routes(routes!(alerts::counts))
        .routes(routes!(alerts::one))
        .routes(routes!(packets::get))
        .routes(routes!(evidence::get))
        .routes(routes!(evidence::page))
        .routes(routes!(explain::get))
        .routes(routes!(mutes::list))
        .routes(routes!(baselines::list))
        .routes(routes!(baselines::stats))
        .routes(routes!(baselines::one))
        .routes(routes!(session::open, session::close))
        .routes(routes!(jobs::list))
        .routes(routes!(jobs::one))
        .routes(routes!(captures::list))
        .routes(routes!(captures::one))
        .routes(routes!(captures::report))
        .routes(routes!(captures::report_too))
        .routes(routes!(results::list))
        .routes(routes!(results::download))
        .routes(routes!(models::list))
        .routes(routes!(sensors::list))
        .routes(routes!(sensors::one))
        .routes(routes!(stats::get))
        .routes(routes!(control::status))
        .routes(routes!(control::config))
        .routes(routes!(control::ping))
        .routes(routes!(live_capture::status))
}

/// What answers without end, or by other paths: no thread of the pool is held for it.
fn streams() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(stream::events_route))
        .routes(routes!(stream::stream))
        .routes(routes!(graphql::post))
}

fn operator() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(alerts::patch))
        .routes(routes!(alert_bulk::resolve))
        .routes(routes!(alert_bulk::acknowledge))
        .routes(routes!(alert_bulk::reopen))
        .routes(routes!(mutes::create))
        .routes(routes!(mutes::delete))
        .routes(routes!(detect::post))
        .routes(routes!(generate::post))
        .routes(routes!(compute::post))
        .routes(routes!(captures::analysis))
        .routes(routes!(capture_file::get))
        .routes(routes!(recording::start))
        .routes(routes!(recording::stop))
        .routes(routes!(score::score))
        .routes(routes!(score::predict))
        .routes(routes!(jobs::cancel))
        .routes(routes!(control::logs))
        .routes(routes!(live_capture::start))
        .routes(routes!(live_capture::stop))
}

fn admin() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::revoke))
        .routes(routes!(audit::list))
        .routes(routes!(reload::post))
        .routes(routes!(sensors::set))
        .routes(routes!(sensors::forget))
        .routes(routes!(captures::delete))
        .routes(routes!(models::train))
        .routes(routes!(models::activate))
        .routes(routes!(webhooks::list))
        .routes(routes!(webhooks::dead))
        .routes(routes!(webhooks::test))
        .routes(routes!(webhooks::retry))
}

/// What takes larger bodies than others.
fn imports() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(baselines::put))
}

/// What sensors send: few at a time, who comes in between is asked to come again.
fn shipments() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(ingest::post))
}

/// What takes captures: with limits of its own, and for as long as bytes come.
fn sendings() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(uploads::post))
        .routes(routes!(uploads::post_root))
        .routes(routes!(uploads::head, uploads::patch))
}

/// All routes with their description.
fn documented() -> (Router<ApiState>, OpenApi) {
    let bound = |most: usize| (from_fn_with_state(most, within), RequestBodyLimitLayer::new(most));
    let small = bound(BODY_LIMIT_BYTES);
    // Health and metrics never wait for a place there.
    let pool = from_fn_with_state(Workers::answering(), off_the_executor);
    let large = bound(IMPORT_LIMIT_BYTES);
    let few = from_fn_with_state(LargeBodies::new(), few_at_a_time);
    let shipped = bound(SHIPMENT_LIMIT_BYTES);
    let described = |mut routes: OpenApiRouter<ApiState>, role: Role| {
        openapi::add_common(routes.get_openapi_mut(), role);
        routes
    };
    // Around all other layers: who may not is refused before the body is read.
    let of = |role: Role| from_fn_with_state(role, require);
    let (routes, mut document) = OpenApiRouter::with_openapi(openapi::frame())
        .merge(described(public(), Role::Public).layer(small.1).layer(small.0.clone()))
        .merge(
            described(viewer(), Role::Viewer)
                .layer(pool.clone())
                .layer(small.1)
                .layer(small.0.clone())
                .layer(of(Role::Viewer)),
        )
        .merge(described(streams(), Role::Viewer).layer(small.1).layer(small.0.clone()).layer(of(Role::Viewer)))
        .merge(
            described(operator(), Role::Operator)
                .layer(pool.clone())
                .layer(small.1)
                .layer(small.0.clone())
                .layer(of(Role::Operator)),
        )
        .merge(described(admin(), Role::Admin).layer(pool.clone()).layer(small.1).layer(small.0).layer(of(Role::Admin)))
        .merge(
            described(imports(), Role::Operator)
                .layer(pool)
                .layer(few)
                .layer(DefaultBodyLimit::disable())
                .layer(large.1)
                .layer(large.0)
                .layer(of(Role::Operator)),
        )
        .merge(
            described(shipments(), Role::Sensor)
                .layer(DefaultBodyLimit::disable())
                .layer(shipped.1)
                .layer(shipped.0)
                .layer(of(Role::Sensor)),
        )
        .merge(described(sendings(), Role::Operator).layer(DefaultBodyLimit::disable()).layer(of(Role::Operator)))
        .split_for_parts();
    openapi::refer_to_items(&mut document);
    openapi::add_schemes(&mut document);
    links::add(&mut document);
    (routes, document)
}

/// The router; every path works with and without a trailing slash.
pub fn router(state: ApiState) -> Router {
    let (routes, document) = documented();
    let mut state = state.with_own_jobs().with_document(document);
    if state.config.now().api.graphql {
        let paths = guarded(routes.clone(), state.clone());
        state.graph = Graph::new(&state.document, paths);
    }
    guarded(routes, state)
}

/// Puts around the routes what holds for every request.
fn guarded(routes: Router<ApiState>, state: ApiState) -> Router {
    let routes = routes
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .layer(CatchPanicLayer::custom(after_panic))
        .layer(from_fn(in_time))
        .layer(from_fn_with_state(Arc::clone(&state.access), bring))
        .layer(from_fn_with_state((Arc::clone(&state.hosts), Arc::clone(&state.access)), guard::check))
        .layer(map_response(as_problem))
        .layer(from_fn(careful))
        .layer(from_fn(revalidate))
        // Fast and not small: it is done where all requests are.
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
        .layer(from_fn_with_state(Arc::clone(&state.requests), measure))
        .with_state(state);
    // Around the router and not a layer of it: the path has to be normal before the router looks at it.
    Router::new().fallback_service(NormalizePath::trim_trailing_slash(routes)).layer(map_response(name_methods))
}

/// Ends a request whose answer does not begin in time. An upload has time-outs of its own.
async fn in_time(request: Request, next: Next) -> Response {
    const UPLOADS: [&str; 3] = ["/upload", "/api/upload", "/api/upload/{file_id}"];
    let is_upload = request.extensions().get::<MatchedPath>().is_some_and(|path| UPLOADS.contains(&path.as_str()));
    if is_upload {
        return next.run(request).await;
    }
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_late) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

async fn not_found(uri: Uri) -> ApiError {
    let path: String = uri.path().chars().take(100).collect();
    ApiError::NotFound { detail: format!("there is no path {path}; GET /api lists them") }
}

/// Its text is made of `Allow`, which the router adds to this answer: `name_methods`.
async fn method_not_allowed() -> StatusCode {
    StatusCode::METHOD_NOT_ALLOWED
}

/// Says of a body that is too large what this path takes.
async fn within(State(most): State<usize>, request: Request, next: Next) -> Response {
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let response = next.run(request).await;
    if response.status() != StatusCode::PAYLOAD_TOO_LARGE {
        return response;
    }
    let most = most as u64;
    ApiError::TooLarge { most, given: length.filter(|length| *length > most) }.into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use axum::routing::get;
    use tokio::sync::watch;
    use tower::ServiceExt as _;

    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Mutex, mpsc};

    use super::*;
    use crate::store::Store;
    use nta_core::domain::Status;

    async fn fails_inside() -> &'static str {
        panic!("inside: /var/lib/nta, row 7")
    }

    #[tokio::test]
    async fn a_handler_that_panics_answers_a_problem_without_a_word_of_it() {
        let (_sender, status) = watch::channel(Status::default());
        let state = ApiState::new(Store::open("sqlite::memory:").await.expect("store"), status);
        let router = guarded(documented().0.route("/fails", get(fails_inside)), state);
        let ask = |path: &str| Request::get(path).header(header::HOST, "localhost").body(Body::empty());
        let answer = router.clone().oneshot(ask("/fails").expect("request")).await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(answer.headers()[header::CONTENT_TYPE], super::super::error::PROBLEM_TYPE);
        let text = to_bytes(answer.into_body(), usize::MAX).await.expect("body");
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(text.contains("\"status\":500") && !text.contains("inside") && !text.contains("row 7"), "{text}");
        let next = router.oneshot(ask("/health").expect("request")).await.expect("an answer");
        assert_eq!(next.status(), StatusCode::OK, "and the next request is answered");
    }

    #[tokio::test]
    async fn answers_that_block_leave_the_only_thread_of_the_executor_free_and_are_bounded() {
        let (begun, has_begun) = mpsc::sync_channel(100);
        let (open, gate) = mpsc::sync_channel::<()>(0);
        let gate = Arc::new(Mutex::new(gate));
        let blocks = async move || {
            let _sent = begun.send(());
            // Until the other end is gone.
            let _opened = gate.lock().map(|gate| gate.recv());
            "made"
        };
        let (_sender, status) = watch::channel(Status::default());
        let state = ApiState::new(Store::open("sqlite::memory:").await.expect("store"), status);
        let pool = from_fn_with_state(Workers::answering(), off_the_executor);
        let slow = Router::new().route("/slow", get(blocks)).layer(pool);
        let router = guarded(documented().0.merge(slow), state);
        let ask = |path: &str| {
            let request = Request::get(path).header(header::HOST, "localhost").body(Body::empty());
            router.clone().oneshot(request.expect("request"))
        };
        // Running and waiting; this executor has one thread, which any of them would block.
        let polled = Arc::new(AtomicUsize::new(0));
        let one = |_| {
            let (polled, answer) = (Arc::clone(&polled), ask("/slow"));
            tokio::spawn(async move {
                polled.fetch_add(1, Ordering::Relaxed);
                answer.await
            })
        };
        let mut asked: Vec<_> = (0..80).map(one).collect();
        let mut begun = 0;
        while begun < 16 || polled.load(Ordering::Relaxed) < 80 {
            begun += has_begun.try_iter().count();
            tokio::task::yield_now().await;
        }
        let health = ask("/health").await.expect("an answer");
        assert_eq!(health.status(), StatusCode::OK);
        let busy = ask("/slow").await.expect("an answer");
        assert_eq!(busy.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(busy.headers().contains_key(header::RETRY_AFTER), "{busy:?}");
        // Those that wait and whose client goes away make room.
        for gone in asked.split_off(16) {
            gone.abort();
            assert!(gone.await.is_err_and(|end| end.is_cancelled()));
        }
        drop(open);
        let last = ask("/slow").await.expect("an answer");
        assert_eq!(last.status(), StatusCode::OK);
        for made in asked {
            assert_eq!(made.await.expect("task").expect("an answer").status(), StatusCode::OK);
        }
        assert!(has_begun.try_iter().count() <= 1, "those that went away were never begun");
    }

    #[tokio::test]
    async fn who_sends_slowly_keeps_nobody_waiting() {
        let (_sender, status) = watch::channel(Status::default());
        let state = ApiState::new(Store::open("sqlite::memory:").await.expect("store"), status);
        let router = guarded(documented().0, state);
        let polled = Arc::new(AtomicUsize::new(0));
        let slow = |path: &str, method: &str| {
            let polled = Arc::clone(&polled);
            let never = futures_util::stream::poll_fn(move |_| {
                polled.fetch_add(1, Ordering::Relaxed);
                std::task::Poll::<Option<Result<&'static str, std::io::Error>>>::Pending
            });
            let request = Request::builder().method(method).uri(path).header(header::HOST, "localhost");
            let request = request.header(header::CONTENT_TYPE, "application/json").body(Body::from_stream(never));
            tokio::spawn(router.clone().oneshot(request.expect("request")))
        };
        // More than there are places, of both kinds of bodies.
        let small: Vec<_> = (0..100).map(|_| slow("/api/baselines/generate", "POST")).collect();
        let large: Vec<_> = (0..100).map(|_| slow("/api/baselines/bandwidth", "PUT")).collect();
        while polled.load(Ordering::Relaxed) < 100 + 8 {
            tokio::task::yield_now().await;
        }
        let request = Request::get("/api/alerts?limit=1").header(header::HOST, "localhost").body(Body::empty());
        let answer = router.clone().oneshot(request.expect("request")).await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(polled.load(Ordering::Relaxed), 100 + 8, "of the large ones so many are read at a time");
        small.iter().chain(&large).for_each(tokio::task::JoinHandle::abort);
    }
}
