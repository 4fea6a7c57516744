//! `GET /health`: whether capture and store work.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;

use crate::api::ApiState;
use crate::api::error::{Problem, problem_response};
use crate::api::extract::{Json, Query};
use crate::api::state::{VERSION, now};
use crate::collector::Counts;
use crate::json::{mode_name, words};
use crate::sink::Standing;
use crate::sink::ship::Shipping;

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct Health {
    /// `ok`, or `degraded` while something is away and nothing of the rest is lost: an interface, the database while batches wait on
    /// disk, or the stream that a collector reads. Or capture is stopped by request: who asked for it knows, and a service manager is not to undo it.
    status: &'static str,
    /// Why it is degraded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
    #[serde(flatten)]
    about: About,
}

/// The same document when something does not work: a problem, whose `status` is the number and `detail` the reason.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct Failing {
    #[serde(flatten)]
    problem: Problem,
    #[serde(flatten)]
    about: About,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct About {
    #[schema(format = DateTime)]
    timestamp: String,
    #[schema(value_type = words::Mode)]
    mode: &'static str,
    version: &'static str,
}

/// Whether packets are counted and kept: 200 while they are, also where an interface is away or batches wait on disk (`degraded`), 503
/// with the reason else.
#[utoipa::path(
    get,
    path = "/health",
    operation_id = "get_health",
    tag = "about",
    responses(
        (status = 200, description = "Packets are counted and kept; `reasons` says what is away, or stopped by request and by whom.", body = Health),
        (status = 503, description = "Packets are not counted, or what is counted is lost; `detail` says why.", body = Failing,
            content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn get(_: Query<()>, State(state): State<ApiState>) -> Response {
    let standing = Standing::new(state.status.clone(), state.store.clone(), Arc::clone(&state.outputs));
    let mode = mode_name(state.status().mode);
    let about = About { timestamp: now().to_string(), mode, version: VERSION };
    let failures = standing.failures();
    if failures.is_empty() {
        let mut reasons = standing.degraded();
        reasons.extend(state.shipping.as_ref().and_then(Shipping::trouble).map(|reason| format!("shipping: {reason}")));
        reasons
            .extend(state.collected.as_ref().and_then(Counts::trouble).map(|reason| format!("collecting: {reason}")));
        let status = if reasons.is_empty() { "ok" } else { "degraded" };
        return Json(Health { status, reasons, about }).into_response();
    }
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, failures.join("; "));
    problem_response(StatusCode::SERVICE_UNAVAILABLE.as_u16(), axum::Json(Failing { problem, about }))
}
