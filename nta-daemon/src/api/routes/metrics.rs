//! `/api/metrics`: windows, one by one and summed up.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::Uri;
use serde::Serialize;

use crate::api::error::{Problem, Refusals};
use crate::api::page::{List, PageRequest, Sorts};
use crate::api::params::Params;
use crate::api::{ApiError, ApiState};
use crate::domain::Timestamp;
use crate::json::{WindowJson, seconds};
use crate::store::{WindowFilter, WindowSort, WindowsSummary};

const SORTS: Sorts<WindowSort> = &[
    ("time", WindowSort::Time),
    ("bandwidth", WindowSort::Bandwidth),
    ("packets", WindowSort::Packets),
    ("bytes", WindowSort::Bytes),
    ("flows", WindowSort::Flows),
    ("connections", WindowSort::Connections),
];

/// A page of windows, the newest first unless `sort` says otherwise.
#[utoipa::path(
    get,
    path = "/api/metrics",
    tag = "windows",
    params(
        ("from" = Option<String>, Query, description = "windows that end later; RFC 3339 or Unix seconds"),
        ("to" = Option<String>, Query, description = "windows that start earlier; RFC 3339 or Unix seconds"),
        ("span" = Option<String>, Query, description = "length of the windows in seconds"),
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
    let span_ns = params.get("span").map(|text| span(text, state.status().window_ns)).transpose()?;
    let page = PageRequest::read(&params, SORTS)?;
    let windows = state.store.windows(&WindowFilter { from, to, span_ns }, page.sort, page.position).await?;
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
    let id: u64 = id
        .parse()
        .map_err(|_not_a_number| ApiError::invalid("id", format!("`{id}`: expected the number of a window")))?;
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

/// The length of the windows asked for, in seconds. Only the base window exists yet.
fn span(text: &str, base_ns: u64) -> Result<u64, ApiError> {
    let asked_s = text.strip_suffix('s').unwrap_or(text).parse::<f64>().ok();
    let same = |asked_s: &f64| (asked_s - seconds(base_ns)).abs() < 1e-9;
    asked_s.filter(same).map(|_| base_ns).ok_or_else(|| {
        ApiError::invalid("span", format!("`{text}`: windows are available with a span of {}", seconds(base_ns)))
    })
}
