//! `/api/anomalies`: what was found in each window. An anomaly is one detector's finding about one window; findings
//! about the same thing make an alert, which each names.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::Uri;
use serde::Serialize;

use crate::api::error::{Problem, Refusals};
use crate::api::page::{List, PageRequest, Sorts};
use crate::api::params::Params;
use crate::api::{ApiError, ApiState};
use crate::json::AnomalyJson;
use crate::store::{AnomalyFilter, AnomalySort, KindCount};
use nta_core::domain::{Severity, Timestamp};

const SORTS: Sorts<AnomalySort> =
    &[("time", AnomalySort::Time), ("score", AnomalySort::Score), ("severity", AnomalySort::Severity)];
const TOP_SORTS: Sorts<AnomalySort> = &[("score", AnomalySort::Score)];
const FILTERS: [&str; 4] = ["type", "severity", "from", "to"];

fn filter(params: &Params) -> Result<AnomalyFilter, ApiError> {
    let [from, to] = params.interval()?;
    let (kind, severity) = (params.kind("type")?, params.severity("severity")?);
    Ok(AnomalyFilter { kind, severity, from, to, window: None })
}

async fn page(
    state: &ApiState,
    params: &Params,
    filter: &AnomalyFilter,
    sorts: Sorts<AnomalySort>,
) -> Result<Json<List<AnomalyJson>>, ApiError> {
    let page = PageRequest::read(params, sorts)?;
    let anomalies = state.store.anomalies(filter, page.sort, page.position).await?;
    Ok(Json(page.list(anomalies.items, anomalies.next)))
}

/// A page of anomalies, the newest first unless `sort` says otherwise.
#[utoipa::path(
    get,
    path = "/api/anomalies",
    tag = "anomalies",
    params(
        ("type" = Option<String>, Query, description = "kind, such as port_scan"),
        ("severity" = Option<String>, Query, description = "low, medium, high, critical"),
        ("from" = Option<String>, Query, description = "in windows that end later; RFC 3339 or Unix seconds"),
        ("to" = Option<String>, Query, description = "in windows that start earlier; RFC 3339 or Unix seconds"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "items of a page, default 100"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("sort" = Option<String>, Query, description = "time, score, severity; `-` before it: largest first \
            (default -time)"),
    ),
    responses((status = 200, body = List<AnomalyJson>), Refusals)
)]
pub(in crate::api) async fn list(State(state): State<ApiState>, uri: Uri) -> Result<Json<List<AnomalyJson>>, ApiError> {
    let params = Params::read(&uri, &["type", "severity", "from", "to", "limit", "cursor", "sort"])?;
    page(&state, &params, &filter(&params)?, SORTS).await
}

/// The anomalies with the highest scores.
#[utoipa::path(
    get,
    path = "/api/anomalies/top",
    tag = "anomalies",
    params(
        ("type" = Option<String>, Query, description = "kind, such as port_scan"),
        ("severity" = Option<String>, Query, description = "low, medium, high, critical"),
        ("from" = Option<String>, Query, description = "in windows that end later; RFC 3339 or Unix seconds"),
        ("to" = Option<String>, Query, description = "in windows that start earlier; RFC 3339 or Unix seconds"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "items of a page, default 100"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("sort" = Option<String>, Query, description = "score; `-` before it: largest first (default -score)"),
    ),
    responses((status = 200, body = List<AnomalyJson>), Refusals)
)]
pub(in crate::api) async fn top(State(state): State<ApiState>, uri: Uri) -> Result<Json<List<AnomalyJson>>, ApiError> {
    let params = Params::read(&uri, &["type", "severity", "from", "to", "limit", "cursor", "sort"])?;
    page(&state, &params, &filter(&params)?, TOP_SORTS).await
}

/// The anomalies of exactly this window: those that its length was judged for.
#[utoipa::path(
    get,
    path = "/api/anomalies/window/{id}",
    tag = "anomalies",
    params(
        ("id" = u64, Path, description = "id of the window, as /api/metrics tells it with `span` 5, 30 or 180"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "items of a page, default 100"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("sort" = Option<String>, Query, description = "time, score, severity; `-` before it: largest first \
            (default -time)"),
    ),
    responses(
        (status = 200, body = List<AnomalyJson>),
        Refusals,
        (status = 404, description = "no such window", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn window(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Json<List<AnomalyJson>>, ApiError> {
    let params = Params::read(&uri, &["limit", "cursor", "sort"])?;
    let id = super::metrics::window_id(&id)?;
    if state.store.window(id).await?.is_none() {
        return Err(ApiError::NotFound { detail: format!("there is no window {id}") });
    }
    let filter = AnomalyFilter { window: Some(id), ..AnomalyFilter::default() };
    page(&state, &params, &filter, SORTS).await
}

/// How many anomalies there are of each kind.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct ByType {
    total: i64,
    by_type: BTreeMap<String, TypeCount>,
}

#[derive(Debug, Default, Serialize, utoipa::ToSchema)]
struct TypeCount {
    count: i64,
    /// By the severity that the alert had in that window; those that did not occur are left out.
    by_severity: BTreeMap<&'static str, i64>,
}

/// How many anomalies there are of each kind and severity.
#[utoipa::path(
    get,
    path = "/api/anomalies/by-type",
    tag = "anomalies",
    params(
        ("type" = Option<String>, Query, description = "kind, such as port_scan"),
        ("severity" = Option<String>, Query, description = "low, medium, high, critical"),
        ("from" = Option<String>, Query, description = "in windows that end later; RFC 3339 or Unix seconds"),
        ("to" = Option<String>, Query, description = "in windows that start earlier; RFC 3339 or Unix seconds"),
    ),
    responses((status = 200, body = ByType), Refusals)
)]
pub(in crate::api) async fn by_type(State(state): State<ApiState>, uri: Uri) -> Result<Json<ByType>, ApiError> {
    let params = Params::read(&uri, &FILTERS)?;
    let counts = state.store.anomaly_counts(&filter(&params)?).await?;
    let mut by_type: BTreeMap<String, TypeCount> = BTreeMap::new();
    for row in &counts {
        let of = by_type.entry(row.kind.clone()).or_default();
        of.count += row.count;
        *of.by_severity.entry(severity(row)).or_default() += row.count;
    }
    Ok(Json(ByType { total: counts.iter().map(|row| row.count).sum(), by_type }))
}

/// Statistics over anomalies. Numbers without anything to be made from are null.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct Summary {
    total: i64,
    /// Kinds that occurred.
    types: usize,
    by_severity: BTreeMap<&'static str, i64>,
    /// Start of the first window with one.
    first: Option<String>,
    /// End of the last one.
    last: Option<String>,
    mean_score: Option<f64>,
    max_score: Option<f64>,
}

/// Statistics over all anomalies, or those that the filters name.
#[utoipa::path(
    get,
    path = "/api/anomalies/summary",
    tag = "anomalies",
    params(
        ("type" = Option<String>, Query, description = "kind, such as port_scan"),
        ("severity" = Option<String>, Query, description = "low, medium, high, critical"),
        ("from" = Option<String>, Query, description = "in windows that end later; RFC 3339 or Unix seconds"),
        ("to" = Option<String>, Query, description = "in windows that start earlier; RFC 3339 or Unix seconds"),
    ),
    responses((status = 200, body = Summary), Refusals)
)]
pub(in crate::api) async fn summary(State(state): State<ApiState>, uri: Uri) -> Result<Json<Summary>, ApiError> {
    let params = Params::read(&uri, &FILTERS)?;
    let counts = state.store.anomaly_counts(&filter(&params)?).await?;
    let total: i64 = counts.iter().map(|row| row.count).sum();
    let mut by_severity: BTreeMap<&'static str, i64> = Severity::ALL.iter().map(|s| (s.word(), 0)).collect();
    for row in &counts {
        *by_severity.entry(severity(row)).or_default() += row.count;
    }
    let time = |ns: i64| Timestamp::from_nanos(u64::try_from(ns).unwrap_or_default()).to_string();
    let types: std::collections::BTreeSet<&str> = counts.iter().map(|row| row.kind.as_str()).collect();
    let score_sum: i64 = counts.iter().map(|row| row.score_sum_ppm).sum();
    Ok(Json(Summary {
        total,
        types: types.len(),
        by_severity,
        first: counts.iter().map(|row| row.first_ns).min().map(time),
        last: counts.iter().map(|row| row.last_ns).max().map(time),
        mean_score: (total > 0).then(|| score_sum as f64 / 1e6 / total as f64),
        max_score: counts.iter().map(|row| row.score_max_ppm).max().map(|ppm| ppm as f64 / 1e6),
    }))
}

fn severity(row: &KindCount) -> &'static str {
    let place = usize::try_from(row.severity).unwrap_or_default();
    Severity::ALL.get(place).map_or("low", |severity| severity.word())
}
