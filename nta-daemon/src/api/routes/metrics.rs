//! `/api/metrics`: windows, one by one and summed up.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::Uri;
use serde::Serialize;

use crate::api::error::{Problem, Refusals};
use crate::api::page::{List, PageRequest, Sorts};
use crate::api::params::Params;
use crate::api::{ApiError, ApiState};
use crate::json::{WindowJson, seconds};
use crate::store::{WindowFilter, WindowSort, WindowsSummary};
use nta_core::domain::Timestamp;
use nta_core::window::Span;

const SORTS: Sorts<WindowSort> = &[
    ("time", WindowSort::Time),
    ("bandwidth", WindowSort::Bandwidth),
    ("packets", WindowSort::Packets),
    ("bytes", WindowSort::Bytes),
    ("flows", WindowSort::Flows),
    ("connections", WindowSort::Connections),
];

/// Length of the windows of a list unless `span` says otherwise, in nanoseconds.
const DEFAULT_SPAN_NS: u64 = 10_000_000_000;
/// Longest windows that are made of base windows, in nanoseconds: an hour.
const MAX_SPAN_NS: u64 = 3_600_000_000_000;

/// A page of windows, the newest first unless `sort` says otherwise.
///
/// Base windows and those of six and thirty-six times their length are stored and have ids of their own. Others are made
/// of base windows when they are asked for: their id is the first one's, their flows are at least so many.
#[utoipa::path(
    get,
    path = "/api/metrics",
    tag = "windows",
    params(
        ("from" = Option<String>, Query, description = "windows that end later; RFC 3339 or Unix seconds"),
        ("to" = Option<String>, Query, description = "windows that start earlier; RFC 3339 or Unix seconds"),
        ("span" = Option<String>, Query, description = "length of the windows in seconds: a multiple of the base \
            window's (default 10, or the base window's where 10 is no multiple)"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "items of a page, default 100"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("sort" = Option<String>, Query, description = "time, bandwidth, packets, bytes, flows, connections; \
            `-` before it: largest first (default -time)"),
    ),
    responses(
        (status = 200, body = List<WindowJson>),
        Refusals,
    )
)]
pub(in crate::api) async fn list(State(state): State<ApiState>, uri: Uri) -> Result<Json<List<WindowJson>>, ApiError> {
    let params = Params::read(&uri, &["from", "to", "span", "limit", "cursor", "sort"])?;
    let [from, to] = params.interval()?;
    let base_ns = state.base_ns();
    let span_ns = params.get("span").map_or_else(|| Ok(default_span(base_ns)), |text| span("span", text, base_ns))?;
    let page = PageRequest::read(&params, SORTS)?;
    let filter = WindowFilter { from, to, span_ns: Some(span_ns) };
    let windows = if Span::ALL.iter().any(|span| span.factor() * base_ns == span_ns) {
        state.store.windows(&filter, page.sort, page.position).await?
    } else {
        state.store.merged_windows(&filter, base_ns, page.sort, page.position).await?
    };
    Ok(Json(page.list(windows.items, windows.next)))
}

/// One window.
#[utoipa::path(
    get,
    path = "/api/metrics/{id}",
    tag = "windows",
    params(("id" = u64, Path, description = "id of the window")),
    responses(
        (status = 200, body = WindowJson),
        Refusals,
        (status = 404, description = "no such window", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn one(
    State(state): State<ApiState>,
    Path(id): Path<String>,
) -> Result<Json<WindowJson>, ApiError> {
    let id = window_id(&id)?;
    let window = state.store.window(id).await?;
    window.map(Json).ok_or_else(|| ApiError::NotFound { detail: format!("there is no window {id}") })
}

/// Sums over all windows, or those from `from` to `to`.
#[utoipa::path(
    get,
    path = "/api/metrics/summary",
    tag = "windows",
    params(
        ("from" = Option<String>, Query, description = "windows that end later; RFC 3339 or Unix seconds"),
        ("to" = Option<String>, Query, description = "windows that start earlier; RFC 3339 or Unix seconds"),
    ),
    responses(
        (status = 200, body = Summary),
        Refusals,
    )
)]
pub(in crate::api) async fn summary(State(state): State<ApiState>, uri: Uri) -> Result<Json<Summary>, ApiError> {
    let params = Params::read(&uri, &["from", "to"])?;
    let [from, to] = params.interval()?;
    let summary = state.store.windows_summary(&WindowFilter { from, to, span_ns: None }).await?;
    Ok(Json(Summary::from(&summary)))
}

/// The answer to `/api/metrics/summary`. Numbers without anything to be made from are null.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct Summary {
    total_windows: i64,
    time_span: TimeSpan,
    packets: i64,
    bytes: i64,
    bandwidth: Bandwidth,
    latency: Latency,
    connections: Connections,
}

/// From the first window's start to the last one's end.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct TimeSpan {
    from: Option<String>,
    to: Option<String>,
    seconds: f64,
}

/// Mean over the time that windows cover; largest and smallest window.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Bandwidth {
    mean_bps: Option<f64>,
    max_bps: Option<i64>,
    min_bps: Option<i64>,
}

/// Round trips in milliseconds: the mean of all samples, the largest mean of a flow in a window, the smallest mean of
/// a window.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Latency {
    unit: &'static str,
    samples: i64,
    mean_rtt: Option<f64>,
    max_rtt: Option<f64>,
    min_rtt: Option<f64>,
}

/// New TCP connections.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Connections {
    total_across_windows: i64,
    mean_per_window: Option<f64>,
}

impl From<&WindowsSummary> for Summary {
    fn from(sums: &WindowsSummary) -> Self {
        let time = |ns: Option<i64>| ns.and_then(|ns| u64::try_from(ns).ok()).map(Timestamp::from_nanos);
        let (from, to) = (time(sums.first_ns), time(sums.last_ns));
        let mean = |sum: f64, count: f64| (count > 0.0).then(|| sum / count);
        Self {
            total_windows: sums.windows,
            time_span: TimeSpan {
                from: from.map(|time| time.to_string()),
                to: to.map(|time| time.to_string()),
                seconds: seconds(to.unwrap_or_default().since(from.unwrap_or_default())),
            },
            packets: sums.packets,
            bytes: sums.bytes,
            bandwidth: Bandwidth {
                mean_bps: mean(sums.bytes as f64 * 8.0, sums.span_ns as f64 / 1e9),
                max_bps: sums.max_bps,
                min_bps: sums.min_bps,
            },
            latency: Latency {
                unit: "ms",
                samples: sums.rtt_samples,
                mean_rtt: mean(sums.rtt_sum_ms.unwrap_or_default(), sums.rtt_samples as f64),
                max_rtt: sums.rtt_max_ms,
                min_rtt: sums.rtt_min_ms,
            },
            connections: Connections {
                total_across_windows: sums.connections,
                mean_per_window: mean(sums.connections as f64, sums.windows as f64),
            },
        }
    }
}

/// The id of a window in a path.
pub(super) fn window_id(text: &str) -> Result<u64, ApiError> {
    let wrong = |_not_a_number| ApiError::invalid("id", format!("`{text}`: expected the number of a window"));
    text.parse().map_err(wrong)
}

pub(super) const fn default_span(base_ns: u64) -> u64 {
    if DEFAULT_SPAN_NS.is_multiple_of(base_ns) { DEFAULT_SPAN_NS } else { base_ns }
}

/// The length of the windows asked for in seconds, as nanoseconds; `name` is the field that it stands in.
pub(super) fn span(name: &str, text: &str, base_ns: u64) -> Result<u64, ApiError> {
    let asked_s = text.strip_suffix('s').unwrap_or(text).parse::<f64>().ok();
    let asked_ns = asked_s.filter(|s| s.is_finite() && *s > 0.0).map(|s| (s * 1e9).round() as u64);
    let fits = |ns: &u64| ns.is_multiple_of(base_ns) && (base_ns..=MAX_SPAN_NS.max(base_ns * 36)).contains(ns);
    asked_ns.filter(fits).ok_or_else(|| {
        let base = seconds(base_ns);
        ApiError::invalid(name, format!("`{text}`: expected a multiple of {base} (the base window), up to an hour"))
    })
}
