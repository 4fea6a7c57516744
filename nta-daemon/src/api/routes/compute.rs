//! `POST /api/metrics/compute`: windows of another length, by a job. They are made of the stored base windows whenever they are
//! asked for, so that there is nothing to keep up to date: the answer says what there is.

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use super::jobs::JobJson;
use crate::api::access::Caller;
use crate::api::error::Problem;
use crate::api::extract::{Json, Query};
use crate::api::order::{Asked, order};
use crate::api::{ApiError, ApiState};
use crate::jobs::{ComputeRequest as Order, Computed};

/// Which windows.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct ComputeRequest {
    /// Length of the windows in seconds, a multiple of the base window's; unless given, the stored one nearest to 10 s
    /// from above.
    #[schema(exclusive_minimum = 0, maximum = 3600)]
    window_size: Option<f64>,
    /// Has no effect: windows are computed each time.
    #[expect(dead_code, reason = "clients may send it")]
    force: Option<bool>,
    /// A capture file: not taken, `nta-daemon replay --database` stores one.
    capture: Option<String>,
}

/// Computes windows of this length from the stored base windows.
#[utoipa::path(
    post,
    path = "/api/metrics/compute",
    operation_id = "compute_windows",
    tag = "windows",
    params(Asked),
    request_body = ComputeRequest,
    responses(
        (status = 200, description = "What there is.", body = Computed),
        (status = 202, description = "It takes longer: the job that does it, with `Location`.", body = JobJson),
        (status = 409, description = "The job was cancelled.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Captures are not computed here, or the key was used for another request; `detail` says which.",
            body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn post(
    _: Query<()>,
    State(state): State<ApiState>,
    caller: Caller,
    asked: Asked,
    Json(body): Json<ComputeRequest>,
) -> Result<Response, ApiError> {
    if body.capture.is_some() {
        let detail = "captures are computed by `nta-daemon replay --database URL FILE`, into the same database";
        return Err(ApiError::Unprocessable { field: Some("capture".to_owned()), detail: detail.to_owned() });
    }
    let base_ns = state.base_ns();
    let span_ns = match body.window_size {
        None => super::metrics::default_span(base_ns),
        // Negative ones become 0, which is no window's length.
        Some(size) => super::metrics::multiple_of("window_size", (size * 1e9).round() as u64, base_ns)?,
    };
    order(&state, ("windows", "compute windows"), &Order { span_ns }, asked, &caller).await
}
