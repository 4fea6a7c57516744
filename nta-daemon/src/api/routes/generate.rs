//! `POST /api/baselines/generate`: baselines learned from stored windows.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::baselines::apply;
use super::detect::{MAX_WINDOWS, medium_windows};
use crate::api::access::Caller;
use crate::api::error::Problem;
use crate::api::extract::{Count, Json, Query};
use crate::api::workers::Cancel;
use crate::api::{ApiError, ApiState};
use crate::store::Audit;
use nta_core::baseline::{Baselines, Import, Metric};
use nta_core::domain::{AlertKind, Timestamp};
use nta_core::window::{Snapshot, Span, Window};

/// Metrics that cannot be learned from stored windows: they are summed over hosts.
const NOT_STORED: [Metric; 1] = [Metric::Ports];

/// How many windows to learn from.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct GenerateRequest {
    /// So many of the newest windows of 30 s; a week's 20,160 unless given.
    #[schema(schema_with = Count::<MAX_WINDOWS>::schema)]
    windows: Option<Count<MAX_WINDOWS>>,
}

/// What was learned from stored windows.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct Generated {
    /// Windows learned from.
    windows: usize,
    /// Start of the first.
    #[schema(format = DateTime)]
    from: String,
    /// End of the last.
    #[schema(format = DateTime)]
    to: String,
    /// Values left out because an alert disturbed the metric at that time.
    values_under_alert: usize,
    /// Metrics that were learned anew.
    metrics: Vec<&'static str>,
    /// Windows that a metric needs before anything is judged by it (`baseline.warm_up_windows`).
    warm_up_windows: u32,
    /// Of `metrics`, those that were learned from fewer windows: nothing is judged by them.
    metrics_in_warm_up: Vec<&'static str>,
    /// What that means and what to do; null when no metric is in warm-up.
    note: Option<String>,
    /// Metrics that stored windows say nothing about: they stay as they were.
    unchanged: Vec<&'static str>,
    /// When it holds: `now`, or `next window` where a pipeline runs.
    applies: &'static str,
}

/// Learns from stored windows, in place of what is known of these metrics. Windows under an alert that disturbs a metric
/// are left out, as while capturing.
#[utoipa::path(
    post,
    path = "/api/baselines/generate",
    operation_id = "generate_baselines",
    tag = "baselines",
    request_body = GenerateRequest,
    responses(
        (status = 200, description = "What was learned.", body = Generated),
        (status = 409, description = "Too many imports wait.", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "It cannot be done with what is stored; `detail` says why.", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn post(
    _: Query<()>,
    State(state): State<ApiState>,
    caller: Caller,
    Json(body): Json<GenerateRequest>,
) -> Result<Json<Generated>, ApiError> {
    let most = body.windows.map_or(MAX_WINDOWS, |count| count.0);
    let windows = medium_windows(&state, most, [None; 2]).await?;
    let (Some(first), Some(last)) = (windows.first(), windows.last()) else {
        let detail = "no windows of 30 s are stored yet".to_owned();
        return Err(ApiError::Unprocessable { field: None, detail });
    };
    let (from, to, count) = (first.start, last.end, windows.len());
    let alerts: Vec<(AlertKind, Timestamp, Timestamp)> = state
        .store
        .alerts_between(from, to, state.sensor.as_deref())
        .await?
        .into_iter()
        .filter_map(|(kind, first, last)| Some((AlertKind::named(&kind)?, first, last)))
        .collect();
    let config = state.analysis.baseline.clone();
    let learning = move |cancel: &Cancel| learn(Baselines::new(config), windows, &alerts, cancel);
    let (learned, values_under_alert) = state.workers.run(learning).await?;
    let (warm_up_windows, cold) = (state.analysis.baseline.warm_up_windows, in_warm_up(&learned));
    let note = note(&cold, warm_up_windows, state.analysis.baselines.has_ended());
    let network = learned.export().network;
    let metrics: Vec<&str> = network.keys().map(|metric| metric.word()).collect();
    let unchanged = Metric::ALL.iter().filter(|metric| !network.contains_key(metric)).map(|m| m.word()).collect();
    let applies = if state.analysis.baselines.has_ended() { "now" } else { "next window" };
    apply(&state, Import::Metrics(network)).await?;
    let after = json!({"windows": count, "from": from.to_string(), "to": to.to_string(), "metrics": metrics});
    let change = caller.audit("generate baselines", "baselines");
    state.record(&Audit { after: Some(after), ..change }).await;
    Ok(Json(Generated {
        windows: count,
        from: from.to_string(),
        to: to.to_string(),
        values_under_alert,
        metrics,
        warm_up_windows,
        metrics_in_warm_up: cold.into_iter().map(|(metric, _)| metric).collect(),
        note,
        unchanged,
        applies,
    }))
}

/// Metrics that were learned, but from too few windows, with how many these are.
fn in_warm_up(learned: &Baselines) -> Vec<(&'static str, u32)> {
    let metrics = learned.state().metrics;
    metrics.iter().filter(|m| m.samples > 0 && !m.is_ready).map(|m| (m.name, m.samples)).collect()
}

/// What it means that these metrics are in warm-up.
fn note(cold: &[(&'static str, u32)], needed: u32, has_ended: bool) -> Option<String> {
    if cold.is_empty() {
        return None;
    }
    let cold: Vec<String> = cold.iter().map(|(metric, samples)| format!("{metric} from {samples}")).collect();
    let next = if has_ended {
        "generate again once more windows are stored"
    } else {
        "the pipeline goes on learning, or generate again once more windows are stored"
    };
    Some(format!(
        "learned from fewer than the {needed} windows of 30 s that the warm-up needs, so nothing is judged by them yet: \
         {}; {next} (baseline.warm_up_windows says how many are needed)",
        cold.join(", ")
    ))
}

/// Learns from each window what no alert disturbed; answers how many values were left out.
fn learn(
    mut learned: Baselines,
    windows: Vec<Window>,
    alerts: &[(AlertKind, Timestamp, Timestamp)],
    cancel: &Cancel,
) -> Result<(Baselines, usize), ApiError> {
    let values_under_alert = std::cell::Cell::new(0);
    for window in windows {
        cancel.check()?;
        let (start, end) = (window.start, window.end);
        let disturbed = |metric: Metric| {
            alerts.iter().any(|(kind, first, last)| metric.is_disturbed_by(*kind) && *last > start && *first < end)
        };
        learned.learn(&Snapshot::of_network(Span::Medium, window), &|metric, _host| {
            let Some(metric) = metric else { return true };
            let under_alert = disturbed(metric);
            values_under_alert.set(values_under_alert.get() + usize::from(under_alert));
            under_alert || NOT_STORED.contains(&metric)
        });
    }
    Ok((learned, values_under_alert.get()))
}
