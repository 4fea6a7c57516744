//! `GET /`: what there is.

use axum::Json;
use serde_json::{Value, json};

use crate::api::state::VERSION;

/// Lists the paths.
#[utoipa::path(get, path = "/", tag = "health", responses((status = 200, body = Object)))]
pub(in crate::api) async fn get() -> Json<Value> {
    Json(json!({
        "name": "nta",
        "version": VERSION,
        "paths": {
            "/health": "whether capture and store work",
            "/metrics": "Prometheus (OpenMetrics)",
            "/api/status": "interfaces, ledger, maps, store, own cost",
            "/api/metrics": "windows: from, to, span, limit, cursor, sort",
            "/api/metrics/summary": "sums over windows: from, to",
            "/api/metrics/{id}": "one window",
            "/api/last10": "the ten flows with the latest packet",
            "/openapi.json": "description of this API",
            "/api/alltraffic": "all flows: limit, cursor, sort; Accept: application/x-ndjson streams them",
        },
    }))
}
