//! `/api/analysis/score` and `/api/analysis/predict`: a capture becomes connections and scores, and scores become predictions, by
//! jobs.

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::openapi::Schema;

use super::jobs::JobJson;
use super::results::ResultName;
use crate::api::access::Caller;
use crate::api::error::Problem;
use crate::api::extract::{Json, Parameter as _, Query, or_null, text};
use crate::api::order::{Asked, order};
use crate::api::{ApiError, ApiState};
use crate::jobs::{PredictRequest as PredictOrder, Predicted, ScoreRequest as ScoreOrder, Scored};

/// Longest name of a capture.
const MOST_NAME: usize = 255;

/// Which capture.
#[derive(Debug, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct ScoreRequest {
    /// `file_id` of an upload, or the name of a file of `stop-tcpdump`.
    #[schema(min_length = 1, max_length = 255)]
    capture: String,
}

/// Scores a capture. Its connections become a `conn.log` as Zeek writes it, and a CSV file gets a row for each host that did enough
/// in a window, with the alerts about it and what a classifier is asked. Both are in `GET /api/analysis/list-files` when the job is done.
#[utoipa::path(
    post,
    path = "/api/analysis/score",
    operation_id = "score_capture",
    tag = "analysis",
    params(Asked),
    request_body = ScoreRequest,
    responses(
        (status = 200, description = "The files.", body = Scored),
        (status = 202, description = "It takes longer: the job that does it, with `Location`.", body = JobJson),
        (status = 409, description = "The job was cancelled.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "There is no such capture, it cannot be read, or the key was used for another request; `detail` \
            says which.", body = Problem, content_type = "application/problem+json"),
        (status = 507, description = "There is no room for the files.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn score(
    _: Query<()>,
    State(state): State<ApiState>,
    caller: Caller,
    asked: Asked,
    Json(ScoreRequest { capture }): Json<ScoreRequest>,
) -> Result<Response, ApiError> {
    if capture.is_empty() || capture.chars().count() > MOST_NAME || capture.contains('\0') {
        return Err(ApiError::invalid("capture", format!("expected a name of 1 to {MOST_NAME} characters")));
    }
    order(&state, ("score", "score capture"), &ScoreOrder { capture }, asked, &caller).await
}

/// What is predicted.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct PredictRequest {
    /// Name of a scored file.
    #[schema(schema_with = ResultName::schema)]
    scored: String,
    /// `id` of a classifier; the one that judges unless given.
    #[schema(schema_with = model_schema)]
    model: Option<String>,
}

/// First digits of the SHA-256 of a model.
const MODEL_DIGITS: usize = 12;

fn model_schema() -> Schema {
    or_null(text().pattern(Some("^[0-9a-f]{12}$")).into())
}

/// Asks a classifier about each row of a scored file. The predictions are a CSV file of `GET /api/analysis/list-files` when the job is
/// done, and the answer sums them up.
#[utoipa::path(
    post,
    path = "/api/analysis/predict",
    operation_id = "predict",
    tag = "analysis",
    params(Asked),
    request_body = PredictRequest,
    responses(
        (status = 200, description = "What was predicted.", body = Predicted),
        (status = 202, description = "It takes longer: the job that does it, with `Location`.", body = JobJson),
        (status = 409, description = "The job was cancelled.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "There is no such file or model, the file is not what `score` writes, or the key was used for \
            another request; `detail` says which.", body = Problem, content_type = "application/problem+json"),
        (status = 507, description = "There is no room for the file.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn predict(
    _: Query<()>,
    State(state): State<ApiState>,
    caller: Caller,
    asked: Asked,
    Json(PredictRequest { scored, model }): Json<PredictRequest>,
) -> Result<Response, ApiError> {
    let ResultName(scored) =
        ResultName::parse(&scored).map_err(|expected| ApiError::invalid("scored", format!("expected {expected}")))?;
    let is_id =
        |id: &str| id.len() == MODEL_DIGITS && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if model.as_deref().is_some_and(|id| !is_id(id)) {
        return Err(ApiError::invalid("model", "expected the `id` of a model: 12 hexadecimal digits"));
    }
    order(&state, ("predict", "predict"), &PredictOrder { scored, model }, asked, &caller).await
}
