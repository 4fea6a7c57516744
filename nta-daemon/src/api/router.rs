//! Every route on one screen.

use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, Uri};
use axum::middleware::map_response;
use axum::routing::get;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::normalize_path::NormalizePath;
use tower_http::timeout::TimeoutLayer;

use super::error::as_problem;
use super::openapi;
use super::routes::{flows, health, index, metrics, prometheus, status};
use super::{ApiError, ApiState};

/// Time in which a handler must begin its answer; a stream may take longer to end.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest body of a request. No route reads one yet.
const BODY_LIMIT_BYTES: usize = 64 * 1024;

/// All routes; every path works with and without a trailing slash.
pub fn router(state: ApiState) -> Router {
    let routes = Router::new()
        .route("/", get(index::get))
        .route("/health", get(health::get))
        .route("/metrics", get(prometheus::get))
        .route("/api/status", get(status::get))
        .route("/api/metrics", get(metrics::list))
        .route("/api/metrics/summary", get(metrics::summary))
        .route("/api/metrics/{id}", get(metrics::one))
        .route("/api/last10", get(flows::last10))
        .route("/api/alltraffic", get(flows::all))
        .route("/openapi.json", get(openapi::get))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, REQUEST_TIMEOUT))
        .layer(RequestBodyLimitLayer::new(BODY_LIMIT_BYTES))
        .layer(map_response(as_problem))
        .with_state(state);
    // Around the router and not a layer of it: the path has to be normal before the router looks at it.
    Router::new().fallback_service(NormalizePath::trim_trailing_slash(routes))
}

async fn not_found(uri: Uri) -> ApiError {
    ApiError::NotFound { detail: format!("there is no path {}; GET / lists them", uri.path()) }
}

async fn method_not_allowed() -> ApiError {
    ApiError::Method
}
