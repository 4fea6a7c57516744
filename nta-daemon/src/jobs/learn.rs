//! `baselines`: what is usual, learned from stored windows in place of what is known. Windows under an alert that disturbs a metric
//! are left out, as while capturing.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{JobContext, JobError, Kind};
use crate::api::ApiError;
use nta_core::baseline::{Baselines, Import, Metric};
use nta_core::domain::{AlertKind, Timestamp};
use nta_core::window::{Snapshot, Span, Window};

/// Windows of 30 s that are learned from at most: a week.
pub(crate) const MAX_WINDOWS: u32 = 20_160;
/// Metrics that cannot be learned from stored windows: they are summed over hosts.
const NOT_STORED: [Metric; 1] = [Metric::Ports];

/// The kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Learn;

/// How many windows to learn from.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct LearnRequest {
    /// So many of the newest windows of 30 s; a week's unless given.
    pub(crate) windows: Option<u32>,
}

/// What was learned from stored windows.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Generated {
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

impl Kind for Learn {
    fn name(&self) -> &'static str {
        "baselines"
    }

    fn resumes(&self) -> bool {
        true
    }

    fn run(&self, context: &JobContext) -> Result<Value, JobError> {
        let request: LearnRequest = context.request()?;
        let tools = &context.tools;
        let windows = context.wait(tools.medium_windows(request.windows.unwrap_or(MAX_WINDOWS), [None; 2]))?;
        let (Some(first), Some(last)) = (windows.first(), windows.last()) else {
            let detail = "no windows of 30 s are stored yet".to_owned();
            return Err(ApiError::Unprocessable { field: None, detail }.into());
        };
        let (from, to, count) = (first.start, last.end, windows.len());
        let alerts: Vec<(AlertKind, Timestamp, Timestamp)> = context
            .wait(tools.store.alerts_between(from, to, tools.sensor.as_deref()))?
            .into_iter()
            .filter_map(|(kind, first, last)| Some((AlertKind::named(&kind)?, first, last)))
            .collect();
        let config = &tools.analysis.baseline;
        let (learned, values_under_alert) = learn(Baselines::new(config.clone()), windows, &alerts, context)?;
        let (warm_up_windows, cold) = (config.warm_up_windows, in_warm_up(&learned));
        let has_ended = tools.analysis.baselines.has_ended();
        let note = note(&cold, warm_up_windows, has_ended);
        let network = learned.export().network;
        let metrics: Vec<&str> = network.keys().map(|metric| metric.word()).collect();
        let unchanged = Metric::ALL.iter().filter(|metric| !network.contains_key(metric)).map(|m| m.word()).collect();
        let applies = if has_ended { "now" } else { "next window" };
        context.wait_to_the_end(tools.apply(Import::Metrics(network)))?;
        let generated = Generated {
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
        };
        serde_json::to_value(generated).map_err(|_cannot_fail| ApiError::Internal.into())
    }
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
    context: &JobContext,
) -> Result<(Baselines, usize), JobError> {
    let values_under_alert = std::cell::Cell::new(0);
    let total = windows.len() as u64;
    for (done, window) in (0..).zip(windows) {
        context.check()?;
        context.progress.set(done, total);
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
