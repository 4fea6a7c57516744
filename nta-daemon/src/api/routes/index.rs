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
            "/api/metrics/compute": "POST: windows of another length: window_size, force",
            "/api/features": "feature vectors: window_size, host, from, to, limit, cursor, sort",
            "/api/flows": "flows: host, port, proto, from, to, limit, cursor, sort",
            "/api/hosts": "hosts: from, to, limit, cursor, sort",
            "/api/hosts/{ip}": "a host: totals, peers, ports, what is usual, alerts",
            "/api/anomalies": "what was found: type, severity, from, to, limit, cursor, sort",
            "/api/anomalies/by-type": "how many of each kind and severity",
            "/api/anomalies/top": "those with the highest scores",
            "/api/anomalies/summary": "statistics",
            "/api/anomalies/window/{id}": "those of one window",
            "/api/anomalies/detect": "POST: judges stored windows again: windows, detectors",
            "/api/alerts": "alerts: type, severity, status, state, source, destination, from, to, limit, cursor, sort",
            "/api/alerts/{id}": "an alert; PATCH: status, note, by",
            "/api/baselines": "what is usual",
            "/api/baselines/stats": "how far learning has come",
            "/api/baselines/generate": "POST: learns from stored windows: windows",
            "/api/baselines/{type}": "one type; PUT: series, to import",
            "/api/metrics/summary": "sums over windows: from, to",
            "/api/metrics/{id}": "one window",
            "/api/last10": "the ten flows with the latest packet",
            "/openapi.json": "description of this API",
            "/api/alltraffic": "all flows: limit, cursor, sort; Accept: application/x-ndjson streams them",
        },
    }))
}
