//! `/api/metrics`: windows, one by one and summed up.

use axum::extract::State;
use serde::Serialize;
use utoipa::openapi::Schema;

use crate::api::error::Problem;
use crate::api::extract::{InPath, Json, Parameter, Path, PathParameter, Query, number, parameters, text};
use crate::api::found::WindowItem;
use crate::api::page::{List, PageQuery, Period, SortField};
use crate::api::whose::WhoseQuery;
use crate::api::{ApiError, ApiState};
use crate::json::seconds;
use crate::store::{
    Position, Range, Whose, WindowFilter, WindowPage, WindowSort, WindowsSummary, stored_span_from, stored_spans,
};
use nta_core::domain::Timestamp;

impl SortField for WindowSort {
    const ALL: &'static [(&'static str, Self)] = &[
        ("time", Self::Time),
        ("bandwidth", Self::Bandwidth),
        ("packets", Self::Packets),
        ("bytes", Self::Bytes),
        ("flows", Self::Flows),
        ("connections", Self::Connections),
    ];
}

/// Length of the windows of a list unless `span` says otherwise, in nanoseconds: the stored one nearest to it from above.
const DEFAULT_SPAN_NS: u64 = 10_000_000_000;
/// Longest windows that are made of base windows, in nanoseconds: an hour.
const MAX_SPAN_NS: u64 = 3_600_000_000_000;

/// The id of a window.
#[derive(Debug)]
pub(in crate::api) struct WindowId(pub(in crate::api) u64);

impl Parameter for WindowId {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_wrong| "the number of a window".to_owned())
    }

    fn schema() -> Schema {
        number(0, i64::MAX as u64).into()
    }
}

impl PathParameter for WindowId {
    const NAME: &'static str = "id";
    const ABOUT: &'static str = "Id of the window, as `/api/metrics` lists it.";
}

/// A length of windows in seconds, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct SpanText(u64);

impl Parameter for SpanText {
    fn parse(text: &str) -> Result<Self, String> {
        let asked_s = text.strip_suffix('s').unwrap_or(text).parse::<f64>().ok();
        let asked_ns = asked_s.filter(|s| s.is_finite() && *s > 0.0).map(|s| (s * 1e9).round() as u64);
        asked_ns.map(Self).ok_or_else(|| "a number of seconds".to_owned())
    }

    fn schema() -> Schema {
        text().pattern(Some(r"^[0-9]{1,4}(\.[0-9]{1,9})?s?$")).into()
    }
}

impl SpanText {
    /// The length in nanoseconds.
    pub(super) const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The length, if there are windows of it.
    fn multiple_of(self, base_ns: u64) -> Result<u64, ApiError> {
        multiple_of("span", self.0, base_ns)
    }
}

parameters! {
    /// Which windows.
    pub(in crate::api) struct WindowsQuery {
        /// Length of the windows in seconds: a multiple of the base window's, up to an hour. Unless given, the stored length
        /// that is nearest to 10 s from above.
        "span" => span: SpanText,
        ..whose: WhoseQuery,
        ..period: Period,
        ..page: PageQuery<WindowSort>,
    }
}

parameters! {
    /// Which time, and windows of which length.
    pub(in crate::api) struct SummaryQuery {
        /// Length of the windows in seconds, one that is stored; base windows unless given.
        "span" => span: SpanText,
        ..whose: WhoseQuery,
        ..period: Period,
    }
}

/// A page of windows, the newest first unless `sort` says otherwise.
///
/// Base windows, those of two, six and thirty-six times their length and those of an hour are stored and have ids of their
/// own. Others are made of base windows when they are asked for, in the order of time: their id is the first one's, their
/// flows are at least so many.
#[utoipa::path(
    get,
    path = "/api/metrics",
    operation_id = "list_windows",
    tag = "windows",
    params(WindowsQuery),
    responses(
        (status = 200, description = "The page.", body = List<WindowItem>),
        (status = 422, description = "More would be read than may be; `detail` says what to ask for instead.",
            body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn list(
    State(state): State<ApiState>,
    Query(query): Query<WindowsQuery>,
) -> Result<Json<List<WindowItem>>, ApiError> {
    let page = query.page;
    let scope = state.scope(query.whose.clone()).await?;
    let range = page.range(query.period, &scope, &state).await?;
    let filter = query.filter(scope.whose, range, &state)?;
    let windows = windows(&state, &filter, page.sort, page.position).await?;
    Ok(Json(page.list(windows.items.iter().map(WindowItem::from).collect(), windows.next, range)))
}

impl WindowsQuery {
    /// Which windows, within a range.
    pub(super) fn filter(self, whose: Whose, range: Range, state: &ApiState) -> Result<WindowFilter, ApiError> {
        let base_ns = state.base_ns();
        let span_ns = self.span.map_or_else(|| Ok(default_span(base_ns)), |span| span.multiple_of(base_ns))?;
        Ok(WindowFilter { from: range.from, to: range.to, span_ns: Some(span_ns), whose })
    }
}

/// A page of windows: stored ones, or made of base windows.
pub(super) async fn windows(
    state: &ApiState,
    filter: &WindowFilter,
    sort: WindowSort,
    position: Position,
) -> Result<WindowPage, ApiError> {
    let base_ns = state.base_ns();
    let span_ns = filter.span_ns.unwrap_or(base_ns);
    if stored_spans(base_ns).contains(&span_ns) {
        Ok(state.store.windows(filter, sort, position).await?)
    } else if sort == WindowSort::Time {
        Ok(state.store.merged_windows(filter, base_ns, position).await?)
    } else {
        let stored: Vec<String> = stored_spans(base_ns).into_iter().map(|ns| seconds(ns).to_string()).collect();
        let detail = format!(
            "windows of {} s are made when they are asked for, in the order of time; others can be had of the stored \
             lengths: {} s",
            seconds(span_ns),
            stored.join(", ")
        );
        Err(ApiError::Unprocessable { field: Some("sort".to_owned()), detail })
    }
}

/// One window.
#[utoipa::path(
    get,
    path = "/api/metrics/{id}",
    operation_id = "get_window",
    tag = "windows",
    params(InPath<WindowId>),
    responses(
        (status = 200, description = "The window.", body = WindowItem),
        (status = 404, description = "There is no such window, or what is stored of it cannot be read; `detail` says which.",
            body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn one(
    _: Query<()>,
    State(state): State<ApiState>,
    Path(WindowId(id)): Path<WindowId>,
) -> Result<Json<WindowItem>, ApiError> {
    let window = state.store.window(id).await?;
    window
        .map(|window| Json(WindowItem::from(&window)))
        .ok_or_else(|| ApiError::NotFound { detail: format!("there is no window {id}") })
}

/// Sums over all base windows, or those of the length `span`, from `from` to `to`.
#[utoipa::path(
    get,
    path = "/api/metrics/summary",
    operation_id = "summarize_windows",
    tag = "windows",
    params(SummaryQuery),
    responses((status = 200, description = "The sums.", body = WindowsSummaryJson))
)]
pub(in crate::api) async fn summary(
    State(state): State<ApiState>,
    Query(SummaryQuery { span, whose, period: Period { from, to } }): Query<SummaryQuery>,
) -> Result<Json<WindowsSummaryJson>, ApiError> {
    let span_ns = span.map(|span| span.multiple_of(state.base_ns())).transpose()?;
    let whose = state.scope(whose).await?.whose;
    let summary = state.store.windows_summary(&WindowFilter { from, to, span_ns, whose }).await?;
    Ok(Json(WindowsSummaryJson::from(&summary)))
}

/// The answer to `/api/metrics/summary`. Numbers without anything to be made from are null.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct WindowsSummaryJson {
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
    #[schema(format = DateTime)]
    from: Option<String>,
    #[schema(format = DateTime)]
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

/// Round trips in milliseconds.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Latency {
    unit: &'static str,
    samples: i64,
    /// Mean of all samples.
    mean_rtt: Option<f64>,
    /// Longest sample.
    max_rtt: Option<f64>,
    /// Shortest sample. Where `min_rtt_of` is `window_means` it is the smallest mean of a window, or a shorter sample.
    min_rtt: Option<f64>,
    /// `samples`; `window_means` where some of the windows were stored by a version that kept no more than means; null without samples.
    min_rtt_of: Option<&'static str>,
}

/// New TCP connections.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Connections {
    total_across_windows: i64,
    mean_per_window: Option<f64>,
}

impl From<&WindowsSummary> for WindowsSummaryJson {
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
                min_rtt_of: sums.rtt_min_ms.map(|_| if sums.rtt_means > 0 { "window_means" } else { "samples" }),
            },
            connections: Connections {
                total_across_windows: sums.connections,
                mean_per_window: mean(sums.connections as f64, sums.windows as f64),
            },
        }
    }
}

/// The length of windows unless a request says otherwise.
pub(super) fn default_span(base_ns: u64) -> u64 {
    stored_span_from(DEFAULT_SPAN_NS, base_ns)
}

/// A length in nanoseconds, if there are windows of it; `name` is the field that it stands in.
pub(super) fn multiple_of(name: &str, asked_ns: u64, base_ns: u64) -> Result<u64, ApiError> {
    let fits = asked_ns.is_multiple_of(base_ns) && (base_ns..=MAX_SPAN_NS.max(base_ns * 36)).contains(&asked_ns);
    if fits {
        return Ok(asked_ns);
    }
    let (asked, base) = (seconds(asked_ns), seconds(base_ns));
    let detail = format!("`{asked}`: expected a multiple of {base} (the base window), up to an hour");
    Err(ApiError::invalid(name, detail))
}
