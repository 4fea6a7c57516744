//! `POST /api/anomalies/detect`: stored windows judged again, by a job. Nothing of what it finds is stored and no alert is raised: an
//! operator asks what would have been found, by the settings that hold or by others, and what that changes.

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::openapi::schema::ArrayBuilder;
use utoipa::openapi::{RefOr, Schema};

use super::jobs::JobJson;
use crate::api::access::Caller;
use crate::api::error::Problem;
use crate::api::extract::{Count, Json, Query, or_null};
use crate::api::order::{Asked, order};
use crate::api::{ApiError, ApiState};
use crate::jobs::{DetectAnswer, DetectOrder, MAX_WINDOWS, able, chosen};
use crate::json::words::words_schema;
use nta_core::domain::Timestamp;

/// Windows of 30 s that are judged unless `windows` says otherwise: an hour.
const DEFAULT_WINDOWS: u32 = 120;

/// What to judge again.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct DetectRequest {
    /// So many of the newest windows of 30 s; 120 unless given.
    #[schema(schema_with = Count::<MAX_WINDOWS>::schema)]
    windows: Option<Count<MAX_WINDOWS>>,
    /// Only windows that end behind this time: RFC 3339.
    #[schema(format = DateTime)]
    from: Option<String>,
    /// Only windows that begin before this time: RFC 3339.
    #[schema(format = DateTime)]
    to: Option<String>,
    /// Other settings of detectors, by section and setting as in `[detect]`: `{"traffic_spike": {"factor": 3}}`.
    #[schema(value_type = Option<Object>)]
    settings: Option<Map<String, Value>>,
    /// Detectors; all that can judge stored windows unless given.
    #[schema(schema_with = detectors_schema)]
    detectors: Option<Vec<String>>,
}

fn detectors_schema() -> Schema {
    let able = able();
    let most = able.len();
    let items = RefOr::T(words_schema(able));
    or_null(ArrayBuilder::new().items(items).min_items(Some(1)).max_items(Some(most)).unique_items(true).into())
}

/// Judges stored windows again, by the detectors that need no more than sums over the network, against what is usual
/// now.
#[utoipa::path(
    post,
    path = "/api/anomalies/detect",
    operation_id = "detect_again",
    tag = "anomalies",
    params(Asked),
    request_body = DetectRequest,
    responses(
        (status = 200, description = "What was found.", body = DetectAnswer),
        (status = 202, description = "It takes longer, or `Prefer: respond-async` asks for it: the job, with `Location`.", body = JobJson),
        (status = 409, description = "The job was cancelled.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "It cannot be done with what is stored, or the key was used for another request; `detail` says \
            why.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn post(
    _: Query<()>,
    State(state): State<ApiState>,
    caller: Caller,
    asked: Asked,
    Json(body): Json<DetectRequest>,
) -> Result<Response, ApiError> {
    let [from_ns, to_ns] = [time("from", body.from.as_deref())?, time("to", body.to.as_deref())?];
    let windows = body.windows.map_or(DEFAULT_WINDOWS, |count| count.0);
    let request = DetectOrder { windows, from_ns, to_ns, settings: body.settings, detectors: body.detectors };
    // What cannot be asked for is refused before there is a job.
    drop(chosen(&state.analysis.detect.now(), &request)?);
    order(&state, ("detect", None), &request, asked, &caller).await
}

fn time(name: &str, text: Option<&str>) -> Result<Option<u64>, ApiError> {
    let wrong = |text: &str| {
        let shown: String = text.chars().take(100).collect();
        ApiError::invalid(name, format!("`{shown}`: expected RFC 3339 as in 2026-01-31T12:00:00Z"))
    };
    text.map(|text| crate::api::parse_time(text).map(Timestamp::as_nanos).ok_or_else(|| wrong(text))).transpose()
}
