//! `POST /api/anomalies/detect`: stored windows judged again.
//!
//! Of a stored window the sums over the network are left, not its hosts and flows. So only the detectors that hold those
//! sums against the baselines can judge it again; it is held against what is usual *now*. Nothing is stored and no alert
//! is raised: an operator asks what would have been found, by the settings that hold or by others, and what that changes.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::openapi::schema::ArrayBuilder;
use utoipa::openapi::{RefOr, Schema};

use super::detect_changed::{Difference, changed, difference};
use crate::api::error::Problem;
use crate::api::extract::{Count, Json, Query, or_null};
use crate::api::workers::Cancel;
use crate::api::{ApiError, ApiState};
use crate::jobs::MAX_WINDOWS;
use crate::json::AnomalyJson;
use crate::json::words::words_schema;
use nta_core::baseline::{Baselines, Metric};
use nta_core::detect::{Declaration, Detector, Scope, View, declarations, detectors};
use nta_core::domain::{Finding, LearningState, Timestamp};
use nta_core::window::{Snapshot, Span, Window};

/// Windows of 30 s that are judged unless `windows` says otherwise: an hour.
const DEFAULT_WINDOWS: u32 = 120;
/// Anomalies in an answer; those beyond it are counted.
const MAX_ITEMS: usize = 1000;

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

/// What was found again.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct DetectAnswer {
    /// Windows that were judged.
    windows: usize,
    /// Length of each in seconds.
    span_s: f64,
    /// Start of the first.
    #[schema(format = DateTime)]
    from: String,
    /// End of the last.
    #[schema(format = DateTime)]
    to: String,
    detectors: Vec<String>,
    /// Metrics of which nothing is expected yet: rules that need them found nothing.
    metrics_in_warm_up: Vec<String>,
    /// Anomalies found.
    total: usize,
    /// The first thousand of them; they are not stored, and name no alert and no hosts.
    items: Vec<AnomalyJson>,
    /// What of it was raised when the windows closed: what these settings change.
    difference: Difference,
}

/// Judges stored windows again, by the detectors that need no more than sums over the network, against what is usual
/// now.
#[utoipa::path(
    post,
    path = "/api/anomalies/detect",
    operation_id = "detect_again",
    tag = "anomalies",
    request_body = DetectRequest,
    responses(
        (status = 200, description = "What was found.", body = DetectAnswer),
        (status = 422, description = "It cannot be done with what is stored; `detail` says why.", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn post(
    _: Query<()>,
    State(state): State<ApiState>,
    Json(body): Json<DetectRequest>,
) -> Result<Json<DetectAnswer>, ApiError> {
    let most = body.windows.map_or(DEFAULT_WINDOWS, |count| count.0);
    let (from, to) = (time("from", body.from.as_deref())?, time("to", body.to.as_deref())?);
    let config = match &body.settings {
        Some(settings) => changed(&state.analysis.detect, settings)?,
        None => state.analysis.detect.clone(),
    };
    let mut chosen = detectors(&config);
    let names = names(body.detectors.as_deref(), &chosen)?;
    chosen.retain(|detector| names.contains(&detector.declaration().name));

    let (export, _) = state.tools.known().await?;
    let mut baselines = Baselines::new(state.analysis.baseline.clone());
    let import = baselines.import((*export).clone());
    import.map_err(|detail| ApiError::Unprocessable { field: None, detail: format!("baselines: {detail}") })?;
    let learning = baselines.state();
    let cold = cold(&learning);
    if cold.len() == learning.metrics.len() {
        let detail = format!(
            "the baselines are in warm-up: no metric has the {} windows after which anything is expected of it",
            state.analysis.baseline.warm_up_windows
        );
        return Err(ApiError::Unprocessable { field: None, detail });
    }
    let windows = state.tools.medium_windows(most, [from, to]).await?;
    let (Some(first), Some(last)) = (windows.first(), windows.last()) else {
        let detail = "no windows of 30 s are stored yet".to_owned();
        return Err(ApiError::Unprocessable { field: Some("windows".to_owned()), detail });
    };
    let (from, to, count) = (first.start, last.end, windows.len());
    let span_s = crate::json::seconds(first.end.since(first.start));
    let findings = state.workers.run(move |cancel| judge(chosen, &baselines, windows, cancel)).await?;
    let difference = difference(&state, &findings, &names, [from, to]).await?;
    Ok(Json(DetectAnswer {
        difference,
        windows: count,
        span_s,
        from: from.to_string(),
        to: to.to_string(),
        detectors: names.into_iter().map(str::to_owned).collect(),
        metrics_in_warm_up: cold,
        total: findings.len(),
        items: findings.iter().take(MAX_ITEMS).map(AnomalyJson::from).collect(),
    }))
}

fn time(name: &str, text: Option<&str>) -> Result<Option<Timestamp>, ApiError> {
    let wrong = |text: &str| {
        let shown: String = text.chars().take(100).collect();
        ApiError::invalid(name, format!("`{shown}`: expected RFC 3339 as in 2026-01-31T12:00:00Z"))
    };
    text.map(|text| crate::api::parse_time(text).ok_or_else(|| wrong(text))).transpose()
}

fn judge(
    mut detectors: Vec<Box<dyn Detector>>,
    baselines: &Baselines,
    windows: Vec<Window>,
    cancel: &Cancel,
) -> Result<Vec<Finding>, ApiError> {
    let mut findings = Vec::new();
    for window in windows {
        cancel.check()?;
        let snapshot = Snapshot::of_network(Span::Medium, window);
        let view = View { snapshot: &snapshot, baselines, tries: &[], states: None };
        for detector in detectors.iter_mut().filter(|detector| detector.declaration().accepts(&snapshot)) {
            detector.inspect(&view, &mut findings);
        }
    }
    Ok(findings)
}

/// Detectors that can judge what a stored window still holds.
pub(super) fn able() -> Vec<&'static str> {
    let able = |declaration: &&Declaration| declaration.scope == Scope::Network;
    declarations().into_iter().filter(able).map(|declaration| declaration.name).collect()
}

fn names(asked: Option<&[String]>, known: &[Box<dyn Detector>]) -> Result<Vec<&'static str>, ApiError> {
    let is_on = |name: &str| known.iter().any(|detector| detector.declaration().name == name);
    let able = able();
    let Some(asked) = asked else {
        return Ok(able.into_iter().filter(|name| is_on(name)).collect());
    };
    if asked.is_empty() || asked.len() > able.len() {
        let detail = format!("expected 1 to {} detectors", able.len());
        return Err(ApiError::invalid("detectors", detail));
    }
    let mut names = Vec::new();
    for asked in asked {
        let name = able.iter().copied().find(|name| name == asked);
        let runs = is_on(asked);
        match name {
            Some(name) if runs => names.push(name),
            Some(_) => {
                let detail = format!("`{asked}` is switched off in the configuration");
                return Err(ApiError::Unprocessable { field: Some("detectors".to_owned()), detail });
            }
            None if runs => {
                let detail = format!(
                    "`{asked}` judges hosts and flows of a window, which are not stored; replay the capture instead. \
                     Stored windows can be judged by {}",
                    able.join(", ")
                );
                return Err(ApiError::Unprocessable { field: Some("detectors".to_owned()), detail });
            }
            None => {
                let detail = format!("`{asked}`: expected some of {}", able.join(", "));
                return Err(ApiError::invalid("detectors", detail));
            }
        }
    }
    Ok(names)
}

fn cold(learning: &LearningState) -> Vec<String> {
    let metrics = learning.metrics.iter().zip(Metric::ALL);
    metrics.filter(|(state, _)| !state.is_ready).map(|(_, metric)| metric.word().to_owned()).collect()
}
