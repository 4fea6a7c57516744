//! `POST /api/baselines/generate`: baselines learned from stored windows.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use serde::Serialize;

use super::baselines::apply;
use super::detect::{MAX_WINDOWS, medium_windows};
use crate::api::body::Body;
use crate::api::error::{BodyRefusals, Problem};
use crate::api::{ApiError, ApiState};
use nta_core::baseline::{Baselines, Import, Metric};
use nta_core::domain::{AlertKind, Timestamp};
use nta_core::window::{Snapshot, Span};

/// Metrics that cannot be learned from stored windows: they are summed over hosts.
const NOT_STORED: [Metric; 1] = [Metric::Ports];

/// How many windows to learn from.
#[derive(Debug, utoipa::ToSchema)]
#[expect(dead_code, reason = "only described: the handler reads field by field")]
pub(in crate::api) struct GenerateRequest {
    /// So many of the newest windows of 30 s; a week's 20,160 unless given, which is also the most.
    windows: Option<u32>,
}

/// What was learned from stored windows.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct Generated {
    /// Windows learned from.
    windows: usize,
    /// Start of the first.
    from: String,
    /// End of the last.
    to: String,
    /// Values left out because an alert disturbed the metric at that time.
    values_under_alert: usize,
    /// Metrics that were learned anew.
    metrics: Vec<&'static str>,
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
    tag = "baselines",
    request_body = GenerateRequest,
    responses(
        (status = 200, body = Generated),
        BodyRefusals,
        (status = 409, description = "too many imports wait", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn post(State(state): State<ApiState>, body: Bytes) -> Result<Json<Generated>, ApiError> {
    let body = Body::read(&body, &["windows"])?;
    let most = body.number("windows", MAX_WINDOWS)?.unwrap_or(MAX_WINDOWS);
    let windows = medium_windows(&state, most).await?;
    let (Some(first), Some(last)) = (windows.first(), windows.last()) else {
        let detail = "no windows of 30 s are stored yet".to_owned();
        return Err(ApiError::Unprocessable { field: None, detail });
    };
    let (from, to, count) = (first.start, last.end, windows.len());
    let alerts: Vec<(AlertKind, Timestamp, Timestamp)> = state
        .store
        .alerts_between(from, to)
        .await?
        .into_iter()
        .filter_map(|(kind, first, last)| Some((AlertKind::named(&kind)?, first, last)))
        .collect();
    let mut learned = Baselines::new(state.analysis.baseline.clone());
    let values_under_alert = std::cell::Cell::new(0);
    for window in windows {
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
    let network = learned.export().network;
    let metrics: Vec<&str> = network.keys().map(|metric| metric.word()).collect();
    let unchanged = Metric::ALL.iter().filter(|metric| !network.contains_key(metric)).map(|m| m.word()).collect();
    let applies = if state.analysis.baselines.has_ended() { "now" } else { "next window" };
    apply(&state, Import::Metrics(network)).await?;
    Ok(Json(Generated {
        windows: count,
        from: from.to_string(),
        to: to.to_string(),
        values_under_alert: values_under_alert.get(),
        metrics,
        unchanged,
        applies,
    }))
}
