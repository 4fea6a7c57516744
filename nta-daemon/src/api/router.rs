//! Every route on one screen.

use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{StatusCode, Uri};
use axum::middleware::map_response;
use axum::routing::{get, post};
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::normalize_path::NormalizePath;
use tower_http::timeout::TimeoutLayer;

use super::error::as_problem;
use super::openapi;
use super::routes::{
    alerts, anomalies, baselines, compute, detect, features, flows, generate, health, hosts, index, metrics,
    prometheus, status,
};
use super::{ApiError, ApiState};

/// Time in which a handler must begin its answer; a stream may take longer to end.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest body of a request.
const BODY_LIMIT_BYTES: usize = 64 * 1024;
/// Largest body of an import of baselines: a week's hours of four metrics are about 2 MiB.
const IMPORT_LIMIT_BYTES: usize = 8 * 1024 * 1024;

/// All routes; every path works with and without a trailing slash.
pub fn router(state: ApiState) -> Router {
    let routes = Router::new()
        .route("/", get(index::get))
        .route("/health", get(health::get))
        .route("/metrics", get(prometheus::get))
        .route("/api/status", get(status::get))
        .route("/api/metrics", get(metrics::list))
        .route("/api/metrics/summary", get(metrics::summary))
        .route("/api/metrics/compute", post(compute::post))
        .route("/api/metrics/{id}", get(metrics::one))
        .route("/api/features", get(features::list))
        .route("/api/flows", get(flows::search))
        .route("/api/hosts", get(hosts::list))
        .route("/api/hosts/{ip}", get(hosts::one))
        .route("/api/last10", get(flows::last10))
        .route("/api/alltraffic", get(flows::all))
        .route("/api/anomalies", get(anomalies::list))
        .route("/api/anomalies/by-type", get(anomalies::by_type))
        .route("/api/anomalies/top", get(anomalies::top))
        .route("/api/anomalies/summary", get(anomalies::summary))
        .route("/api/anomalies/window/{id}", get(anomalies::window))
        .route("/api/anomalies/detect", post(detect::post))
        .route("/api/alerts", get(alerts::list))
        .route("/api/alerts/{id}", get(alerts::one).patch(alerts::patch))
        .route("/api/baselines", get(baselines::list))
        .route("/api/baselines/stats", get(baselines::stats))
        .route("/api/baselines/generate", post(generate::post))
        .route("/openapi.json", get(openapi::get))
        .method_not_allowed_fallback(method_not_allowed)
        .layer(RequestBodyLimitLayer::new(BODY_LIMIT_BYTES));
    let imports = Router::new()
        .route("/api/baselines/{type}", get(baselines::one).put(baselines::put))
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::disable())
        .layer(RequestBodyLimitLayer::new(IMPORT_LIMIT_BYTES));
    let routes = routes
        .merge(imports)
        .fallback(not_found)
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, REQUEST_TIMEOUT))
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
