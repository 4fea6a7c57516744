//! `GET /openapi.json`: the description of the API, made from the handlers.

use axum::Json;
use utoipa::OpenApi;

use super::routes::{flows, health, index, metrics, prometheus, status};

/// Every documented handler. A test holds this list equal to the index's.
#[derive(OpenApi)]
#[openapi(
    info(title = "nta", description = "Network traffic analyzer: windows, flows and its own state."),
    paths(
        index::get,
        health::get,
        prometheus::get,
        status::get,
        metrics::list,
        metrics::summary,
        metrics::one,
        flows::last10,
        flows::all,
        get,
    )
)]
struct Document;

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "health", responses((status = 200, body = Object)))]
pub(super) async fn get() -> Json<utoipa::openapi::OpenApi> {
    Json(Document::openapi())
}
