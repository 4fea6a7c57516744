//! `POST /api/metrics/compute`: windows of another length. They are made of the stored base windows whenever they are
//! asked for, so that there is nothing to keep up to date: the answer says what there is.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use serde::Serialize;

use crate::api::body::Body;
use crate::api::error::BodyRefusals;
use crate::api::{ApiError, ApiState};
use crate::json::{WindowJson, seconds};
use crate::store::{Position, WindowFilter, WindowSort};

/// Which windows.
#[derive(Debug, utoipa::ToSchema)]
#[expect(dead_code, reason = "only described: the handler reads field by field")]
pub(in crate::api) struct ComputeRequest {
    /// Length of the windows in seconds, a multiple of the base window's; 10 unless given.
    window_size: Option<u32>,
    /// Has no effect: windows are computed anew each time.
    force: Option<bool>,
    /// A capture file: not taken, `nta-daemon replay --database` stores one.
    capture: Option<String>,
}

/// What was computed.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct Computed {
    /// Length of the windows in seconds.
    window_size_s: f64,
    /// Base windows that they are made of.
    base_windows: i64,
    /// Where to read all of them.
    path: String,
    /// The newest; null without any.
    newest: Option<WindowJson>,
}

/// Computes windows of this length from the stored base windows.
#[utoipa::path(
    post,
    path = "/api/metrics/compute",
    tag = "windows",
    request_body = ComputeRequest,
    responses((status = 200, body = Computed), BodyRefusals)
)]
pub(in crate::api) async fn post(State(state): State<ApiState>, body: Bytes) -> Result<Json<Computed>, ApiError> {
    let body = Body::read(&body, &["window_size", "force", "capture"])?;
    if body.get("force").is_some_and(|force| !force.is_boolean()) {
        return Err(ApiError::invalid("force", "expected true or false"));
    }
    if body.get("capture").is_some() {
        let detail = "captures are computed by `nta-daemon replay --database URL FILE`, into the same database";
        return Err(ApiError::Unprocessable { field: Some("capture".to_owned()), detail: detail.to_owned() });
    }
    let base_ns = state.base_ns();
    let span_ns = match body.get("window_size") {
        None => super::metrics::default_span(base_ns),
        Some(size) => super::metrics::span("window_size", &size.to_string(), base_ns)?,
    };
    let filter = WindowFilter { span_ns: Some(span_ns), ..WindowFilter::default() };
    let newest = Position { descending: true, after: None, limit: 1 };
    let newest = state.store.merged_windows(&filter, base_ns, WindowSort::Time, newest).await?;
    let base = WindowFilter { span_ns: Some(base_ns), ..WindowFilter::default() };
    Ok(Json(Computed {
        window_size_s: seconds(span_ns),
        base_windows: state.store.windows_summary(&base).await?.windows,
        path: format!("/api/metrics?span={}", seconds(span_ns)),
        newest: newest.items.into_iter().next(),
    }))
}
