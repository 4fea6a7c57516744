//! `POST /api/baselines/generate`: baselines learned from stored windows, by a job.

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use super::jobs::JobJson;
use crate::api::access::Caller;
use crate::api::error::Problem;
use crate::api::extract::{Count, Json, Query};
use crate::api::order::{Asked, order};
use crate::api::{ApiError, ApiState};
use crate::jobs::{Generated, LearnRequest, MAX_WINDOWS};

/// How many windows to learn from.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct GenerateRequest {
    /// So many of the newest windows of 30 s; a week's 20,160 unless given.
    #[schema(schema_with = Count::<MAX_WINDOWS>::schema)]
    windows: Option<Count<MAX_WINDOWS>>,
}

/// Learns from stored windows, in place of what is known of these metrics. Windows under an alert that disturbs a metric
/// are left out, as while capturing.
#[utoipa::path(
    post,
    path = "/api/baselines/generate",
    operation_id = "generate_baselines",
    tag = "baselines",
    params(Asked),
    request_body = GenerateRequest,
    responses(
        (status = 200, description = "What was learned.", body = Generated),
        (status = 202, description = "It takes longer: the job that does it, with `Location`.", body = JobJson),
        (status = 409, description = "Too many imports wait.", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "It cannot be done with what is stored, or the key was used for another request; `detail` says \
            why.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn post(
    _: Query<()>,
    State(state): State<ApiState>,
    caller: Caller,
    asked: Asked,
    Json(body): Json<GenerateRequest>,
) -> Result<Response, ApiError> {
    let request = LearnRequest { windows: body.windows.map(|count| count.0) };
    order(&state, ("baselines", "generate baselines"), &request, asked, &caller).await
}
