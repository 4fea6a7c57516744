//! `GET /openapi.json`: the description of the API, made from the handlers.

use axum::Json;
use utoipa::OpenApi;

use super::routes::{
    alerts, anomalies, baselines, compute, detect, features, flows, generate, health, hosts, index, metrics,
    prometheus, status,
};

/// Every documented handler. A test holds this list equal to the index's.
#[derive(OpenApi)]
#[openapi(
    info(title = "nta", description = "Network traffic analyzer: windows, flows, alerts and its own state."),
    paths(
        index::get,
        health::get,
        prometheus::get,
        status::get,
        metrics::list,
        metrics::summary,
        metrics::one,
        compute::post,
        features::list,
        hosts::list,
        hosts::one,
        anomalies::list,
        anomalies::by_type,
        anomalies::top,
        anomalies::summary,
        anomalies::window,
        detect::post,
        alerts::list,
        alerts::one,
        alerts::patch,
        baselines::list,
        baselines::one,
        baselines::stats,
        generate::post,
        baselines::put,
        flows::search,
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
