//! `/api/anomalies`: what was found in each window. An anomaly is one detector's finding about one window; findings
//! about the same thing make an alert, which each names.

use std::collections::BTreeMap;

use axum::extract::State;
use serde::Serialize;

use super::metrics::WindowId;
use crate::api::error::Problem;
use crate::api::extract::{InPath, Json, Path, Query, Several, parameters};
use crate::api::found::AnomalyItem;
use crate::api::page::{List, PageQuery, Period, SortField};
use crate::api::whose::WhoseQuery;
use crate::api::{ApiError, ApiState, found};
use crate::store::{AnomalyFilter, AnomalySort, KindCount, Range, Whose};
use nta_core::domain::{AlertKind, Severity, Timestamp};

impl SortField for AnomalySort {
    const ALL: &'static [(&'static str, Self)] =
        &[("time", Self::Time), ("score", Self::Score), ("severity", Self::Severity)];
}

/// The only order of the anomalies with the highest scores.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct ByScore;

impl SortField for ByScore {
    const ALL: &'static [(&'static str, Self)] = &[("score", Self)];
}

parameters! {
    /// Which anomalies.
    pub(in crate::api) struct AnomaliesFilter {
        /// Kind, or several.
        "type" => kinds: Several<AlertKind>,
        /// Severity that the alert had in that window, or several.
        "severity" => severities: Several<Severity>,
        /// This severity or a worse one.
        "min_severity" => least: Severity,
        ..whose: WhoseQuery,
        ..period: Period,
    }
}

parameters! {
    /// Which anomalies, and which page of them.
    pub(in crate::api) struct AnomaliesQuery {
        ..filter: AnomaliesFilter,
        ..page: PageQuery<AnomalySort>,
    }
}

parameters! {
    /// Which anomalies, and which page of those with the highest scores.
    pub(in crate::api) struct TopQuery {
        ..filter: AnomaliesFilter,
        ..page: PageQuery<ByScore>,
    }
}

parameters! {
    /// Which page of a window's anomalies.
    pub(in crate::api) struct PageOnly {
        ..page: PageQuery<AnomalySort>,
    }
}

/// The words of kinds.
pub(super) fn words(kinds: Option<&Several<AlertKind>>) -> Vec<&'static str> {
    kinds.iter().flat_map(|kinds| &kinds.0).map(|kind| kind.word()).collect()
}

/// Which severities two filters leave; none where both leave all.
///
/// # Errors
/// Where they leave nothing.
pub(super) fn severities(
    named: Option<&Several<Severity>>,
    least: Option<Severity>,
) -> Result<Vec<Severity>, ApiError> {
    let is_named = |severity: &Severity| named.is_none_or(|named| named.0.contains(severity));
    let left: Vec<Severity> =
        Severity::ALL.into_iter().filter(|one| is_named(one) && least.is_none_or(|least| *one >= least)).collect();
    match left.len() {
        0 => Err(ApiError::invalid("min_severity", "expected one that `severity` leaves something of")),
        all if all == Severity::ALL.len() => Ok(Vec::new()),
        _ => Ok(left),
    }
}

impl AnomaliesFilter {
    fn between(&self, whose: Whose, Range { from, to }: Range) -> Result<AnomalyFilter, ApiError> {
        Ok(AnomalyFilter {
            kinds: words(self.kinds.as_ref()),
            severities: severities(self.severities.as_ref(), self.least)?,
            from,
            to,
            whose,
            ..AnomalyFilter::default()
        })
    }

    /// Counts take all that is stored unless a time is given.
    async fn counted(&self, state: &ApiState) -> Result<AnomalyFilter, ApiError> {
        let Period { from, to } = self.period;
        self.between(state.scope(self.whose.clone()).await?.whose, Range { from, to })
    }
}

/// A page of anomalies, the newest first unless `sort` says otherwise.
#[utoipa::path(
    get,
    path = "/api/anomalies",
    operation_id = "list_anomalies",
    tag = "anomalies",
    params(AnomaliesQuery),
    responses(
        (status = 200, description = "The page.", body = List<AnomalyItem>),
        (status = 422, description = "More would be read than may be; `detail` says what to ask for instead.",
            body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn list(
    State(state): State<ApiState>,
    Query(AnomaliesQuery { filter, page }): Query<AnomaliesQuery>,
) -> Result<Json<List<AnomalyItem>>, ApiError> {
    let scope = state.scope(filter.whose.clone()).await?;
    let range = page.range(filter.period, &scope, &state).await?;
    let anomalies = state.store.anomalies(&filter.between(scope.whose, range)?, page.sort, page.position).await?;
    Ok(Json(page.list(anomalies.items.iter().map(found::anomaly).collect(), anomalies.next, range)))
}

/// The anomalies with the highest scores.
#[utoipa::path(
    get,
    path = "/api/anomalies/top",
    operation_id = "list_top_anomalies",
    tag = "anomalies",
    params(TopQuery),
    responses(
        (status = 200, description = "The page.", body = List<AnomalyItem>),
        (status = 422, description = "More would be read than may be; `detail` says what to ask for instead.",
            body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn top(
    State(state): State<ApiState>,
    Query(TopQuery { filter, page }): Query<TopQuery>,
) -> Result<Json<List<AnomalyItem>>, ApiError> {
    let scope = state.scope(filter.whose.clone()).await?;
    let range = page.range(filter.period, &scope, &state).await?;
    let anomalies =
        state.store.anomalies(&filter.between(scope.whose, range)?, AnomalySort::Score, page.position).await?;
    Ok(Json(page.list(anomalies.items.iter().map(found::anomaly).collect(), anomalies.next, range)))
}

/// The anomalies of exactly this window: those that its length was judged for.
#[utoipa::path(
    get,
    path = "/api/anomalies/window/{id}",
    operation_id = "list_anomalies_of_window",
    tag = "anomalies",
    params(InPath<WindowId>, PageOnly),
    responses(
        (status = 200, description = "The page.", body = List<AnomalyItem>),
        (status = 404, description = "There is no such window, or what is stored of it cannot be read; `detail` says which.",
            body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "More would be read than may be; `detail` says what to ask for instead.",
            body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn window(
    State(state): State<ApiState>,
    Path(WindowId(id)): Path<WindowId>,
    Query(PageOnly { page }): Query<PageOnly>,
) -> Result<Json<List<AnomalyItem>>, ApiError> {
    if state.store.window(id).await?.is_none() {
        return Err(ApiError::NotFound { detail: format!("there is no window {id}") });
    }
    let anomalies = state.store.anomalies_of_window(id, page.sort, page.position).await?;
    Ok(Json(page.list(anomalies.items.iter().map(found::anomaly).collect(), anomalies.next, Range::default())))
}

/// How many anomalies there are of each kind.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct AnomalyCounts {
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
    operation_id = "count_anomalies_by_type",
    tag = "anomalies",
    params(AnomaliesFilter),
    responses(
        (status = 200, description = "The counts.", body = AnomalyCounts),
        (status = 422, description = "More would be read than may be; `detail` says what to ask for instead.",
            body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn by_type(
    State(state): State<ApiState>,
    Query(filter): Query<AnomaliesFilter>,
) -> Result<Json<AnomalyCounts>, ApiError> {
    let counts = state.store.anomaly_counts(&filter.counted(&state).await?).await?;
    let mut by_type: BTreeMap<String, TypeCount> = BTreeMap::new();
    for row in &counts {
        let of = by_type.entry(row.kind.clone()).or_default();
        of.count += row.count;
        *of.by_severity.entry(severity(row)).or_default() += row.count;
    }
    Ok(Json(AnomalyCounts { total: counts.iter().map(|row| row.count).sum(), by_type }))
}

/// Statistics over anomalies. Numbers without anything to be made from are null.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct AnomaliesSummary {
    total: i64,
    /// Kinds that occurred.
    types: usize,
    by_severity: BTreeMap<&'static str, i64>,
    /// Start of the first window with one.
    #[schema(format = DateTime)]
    first: Option<String>,
    /// End of the last one.
    #[schema(format = DateTime)]
    last: Option<String>,
    mean_score: Option<f64>,
    max_score: Option<f64>,
}

/// Statistics over all anomalies, or those that the filters name.
#[utoipa::path(
    get,
    path = "/api/anomalies/summary",
    operation_id = "summarize_anomalies",
    tag = "anomalies",
    params(AnomaliesFilter),
    responses(
        (status = 200, description = "The statistics.", body = AnomaliesSummary),
        (status = 422, description = "More would be read than may be; `detail` says what to ask for instead.",
            body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn summary(
    State(state): State<ApiState>,
    Query(filter): Query<AnomaliesFilter>,
) -> Result<Json<AnomaliesSummary>, ApiError> {
    let counts = state.store.anomaly_counts(&filter.counted(&state).await?).await?;
    let total: i64 = counts.iter().map(|row| row.count).sum();
    let mut by_severity: BTreeMap<&'static str, i64> = Severity::ALL.iter().map(|s| (s.word(), 0)).collect();
    for row in &counts {
        *by_severity.entry(severity(row)).or_default() += row.count;
    }
    let time = |ns: i64| Timestamp::from_nanos(u64::try_from(ns).unwrap_or_default()).to_string();
    let types: std::collections::BTreeSet<&str> = counts.iter().map(|row| row.kind.as_str()).collect();
    let score_sum: i64 = counts.iter().map(|row| row.score_sum_ppm).sum();
    Ok(Json(AnomaliesSummary {
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
