//! `POST /api/metrics/compute`: windows of another length. They are made of the stored base windows whenever they are
//! asked for, so that there is nothing to keep up to date: the answer says what there is.

use axum::extract::State;
use serde::{Deserialize, Serialize};

use crate::api::error::Problem;
use crate::api::extract::{Json, Query};
use crate::api::found::WindowItem;
use crate::api::{ApiError, ApiState};
use crate::json::seconds;
use crate::store::{Position, WindowFilter, WindowSort, stored_spans};

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
    newest: Option<WindowItem>,
}

/// Computes windows of this length from the stored base windows.
#[utoipa::path(
    post,
    path = "/api/metrics/compute",
    operation_id = "compute_windows",
    tag = "windows",
    request_body = ComputeRequest,
    responses(
        (status = 200, description = "What there is.", body = Computed),
        (status = 422, description = "Captures are not computed here.", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn post(
    _: Query<()>,
    State(state): State<ApiState>,
    Json(body): Json<ComputeRequest>,
) -> Result<Json<Computed>, ApiError> {
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
    let filter = WindowFilter { span_ns: Some(span_ns), ..WindowFilter::default() };
    let newest = Position { descending: true, after: None, limit: 1 };
    let newest = if stored_spans(base_ns).contains(&span_ns) {
        state.store.windows(&filter, WindowSort::Time, newest).await?
    } else {
        state.store.merged_windows(&filter, base_ns, newest).await?
    };
    let base = WindowFilter { span_ns: Some(base_ns), ..WindowFilter::default() };
    Ok(Json(Computed {
        window_size_s: seconds(span_ns),
        base_windows: state.store.windows_summary(&base).await?.windows,
        path: format!("/api/metrics?span={}", seconds(span_ns)),
        newest: newest.items.first().map(WindowItem::from),
    }))
}
