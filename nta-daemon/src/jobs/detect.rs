//! `detect`: stored windows judged again, by the settings that hold or by others. Of a stored window the sums over the network are left,
//! not its hosts and flows: only the detectors that hold those sums against the baselines can judge it, against what is usual *now*.
//! Nothing but the job is stored, and no alert is raised.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ending::MOST_RESULT;
use super::{JobContext, JobError, Kind};
use crate::api::{AnomalyItem, ApiError, anomaly};
use crate::json::AnomalyJson;
use crate::store::{AnomalyFilter, AnomalySort, Position, StoredAnomaly};
use nta_core::baseline::{Baselines, Metric};
use nta_core::detect::{Declaration, DetectConfig, Detector, Scope, View, declarations, detectors};
use nta_core::domain::{Finding, LearningState, Timestamp};
use nta_core::window::{Snapshot, Span, Window};

/// Anomalies of each kind in an answer; those beyond are counted.
const MOST_ITEMS: usize = 1000;
/// Anomalies that are read at most for the difference, and at a time.
const MOST_READ: usize = 20_000;
const CHUNK: u32 = 1000;
/// Windows between two looks at whether it goes on.
const STEP: usize = 64;

/// The kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Detect;

/// What to judge again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DetectOrder {
    /// So many of the newest windows of 30 s.
    pub(crate) windows: u32,
    /// Only those that end behind this time, in nanoseconds since the Unix epoch.
    pub(crate) from_ns: Option<u64>,
    /// Only those that begin before this time.
    pub(crate) to_ns: Option<u64>,
    /// Other settings of detectors.
    pub(crate) settings: Option<Map<String, Value>>,
    /// Detectors; `None` for all that can.
    pub(crate) detectors: Option<Vec<String>>,
}

/// What was found again.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct DetectAnswer {
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
    /// The first thousand of them, fewer where the answer would exceed 1 MiB; they are not stored, and name no alert and no hosts.
    items: Vec<AnomalyJson>,
    /// What of it was raised when the windows closed: what these settings change.
    difference: Difference,
}

/// What is found now, held against what was raised of the same windows and detectors.
#[derive(Debug, Default, Serialize, utoipa::ToSchema)]
pub(crate) struct Difference {
    /// How many anomalies are found now and were not raised.
    would_be_raised: usize,
    /// How many were raised and are not found now.
    would_not: usize,
    /// How many are found now and were raised.
    same: usize,
    /// The first thousand that are found now and were not raised; fewer as of `items`.
    #[schema(max_items = 1000)]
    raised_anew: Vec<AnomalyJson>,
    /// The first thousand that were raised and are not found now; fewer as of `items`.
    #[schema(max_items = 1000)]
    raised_no_more: Vec<AnomalyItem>,
}

impl Kind for Detect {
    fn name(&self) -> &'static str {
        "detect"
    }

    fn resumes(&self) -> bool {
        true
    }

    fn run(&self, context: &JobContext) -> Result<Value, JobError> {
        context.check()?;
        let order: DetectOrder = context.request()?;
        let tools = &context.tools;
        let (names, mut chosen) = chosen(&tools.analysis.detect.now(), &order)?;
        let (export, _) = context.wait(tools.known())?;
        let mut baselines = Baselines::new(tools.analysis.baseline.clone());
        let import = baselines.import((*export).clone());
        import.map_err(|detail| unprocessable(None, format!("baselines: {detail}")))?;
        let learning = baselines.state();
        let cold = cold(&learning);
        if cold.len() == learning.metrics.len() {
            let detail = format!(
                "the baselines are in warm-up: no metric has the {} windows after which anything is expected of it",
                tools.analysis.baseline.warm_up_windows
            );
            return Err(unprocessable(None, detail));
        }
        let range = [order.from_ns, order.to_ns].map(|time| time.map(Timestamp::from_nanos));
        let windows = context.wait(tools.medium_windows(order.windows, range))?;
        let (Some(first), Some(last)) = (windows.first(), windows.last()) else {
            return Err(unprocessable(Some("windows"), "no windows of 30 s are stored yet".to_owned()));
        };
        let (from, to, count) = (first.start, last.end, windows.len());
        let span_s = crate::json::seconds(first.end.since(first.start));
        let findings = judge(context, &mut chosen, &baselines, windows)?;
        let answer = DetectAnswer {
            difference: difference(context, &findings, &names, [from, to])?,
            windows: count,
            span_s,
            from: from.to_string(),
            to: to.to_string(),
            detectors: names.into_iter().map(str::to_owned).collect(),
            metrics_in_warm_up: cold,
            total: findings.len(),
            items: findings.iter().take(MOST_ITEMS).map(AnomalyJson::from).collect(),
        };
        answer.fitting().map_err(|_cannot_fail| ApiError::Internal.into())
    }
}

impl DetectAnswer {
    /// With as many items as a result may have bytes; the counts are of all.
    fn fitting(mut self) -> serde_json::Result<Value> {
        loop {
            let value = serde_json::to_value(&self)?;
            let Difference { raised_anew, raised_no_more, .. } = &mut self.difference;
            let most = self.items.len().max(raised_anew.len()).max(raised_no_more.len());
            if most == 0 || value.to_string().len() <= MOST_RESULT {
                return Ok(value);
            }
            self.items.truncate(most / 2);
            raised_anew.truncate(most / 2);
            raised_no_more.truncate(most / 2);
        }
    }
}

fn unprocessable(field: Option<&str>, detail: String) -> JobError {
    ApiError::Unprocessable { field: field.map(str::to_owned), detail }.into()
}

/// Detectors, and their names.
pub(crate) type Chosen = (Vec<&'static str>, Vec<Box<dyn Detector>>);

/// The detectors that are asked for, with the settings that are asked for.
///
/// # Errors
/// Names the field, the setting or the value that cannot be used.
pub(crate) fn chosen(config: &DetectConfig, order: &DetectOrder) -> Result<Chosen, ApiError> {
    let config = match &order.settings {
        Some(settings) => changed(config, settings)?,
        None => config.clone(),
    };
    let mut chosen = detectors(&config);
    let names = names(order.detectors.as_deref(), &chosen)?;
    chosen.retain(|detector| names.contains(&detector.declaration().name));
    Ok((names, chosen))
}

fn judge(
    context: &JobContext,
    detectors: &mut [Box<dyn Detector>],
    baselines: &Baselines,
    windows: Vec<Window>,
) -> Result<Vec<Finding>, JobError> {
    let (mut findings, all) = (Vec::new(), windows.len());
    for (number, window) in windows.into_iter().enumerate() {
        if number.is_multiple_of(STEP) {
            context.check()?;
            context.progress.set(number as u64, all as u64);
        }
        let snapshot = Snapshot::of_network(Span::Medium, window);
        let view = View { snapshot: &snapshot, baselines, tries: &[], states: None };
        for detector in detectors.iter_mut().filter(|detector| detector.declaration().accepts(&snapshot)) {
            detector.inspect(&view, &mut findings);
        }
    }
    Ok(findings)
}

/// Detectors that can judge what a stored window still holds.
pub(crate) fn able() -> Vec<&'static str> {
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

/// The configuration with other settings of detectors that judge stored windows.
///
/// # Errors
/// Names the section, the setting or the value that cannot be used.
fn changed(config: &DetectConfig, settings: &Map<String, Value>) -> Result<DetectConfig, ApiError> {
    let mut document = serde_json::to_value(config).map_err(|_cannot_fail| ApiError::Internal)?;
    let (able, sections) = (able(), config.sections());
    for (section, new) in settings {
        let field = |key: &str| format!("settings.{section}{key}");
        if !able.contains(&section.as_str()) {
            let detail = format!("expected settings of some of {}: others judge what is not stored", able.join(", "));
            return Err(ApiError::invalid(field(""), detail));
        }
        let Some(new) = new.as_object() else {
            return Err(ApiError::invalid(field(""), "expected an object of settings"));
        };
        let known = sections.iter().find(|known| known.name == format!("detect.{section}"));
        let known = known.map(|known| known.settings.as_slice()).unwrap_or_default();
        let known = || known.iter().filter(|setting| setting.key != "enabled");
        for (key, value) in new {
            let Some(setting) = known().find(|setting| setting.key == key) else {
                let keys: Vec<&str> = known().map(|setting| setting.key).collect();
                return Err(ApiError::invalid(
                    field(&format!(".{key}")),
                    format!("expected one of {}", keys.join(", ")),
                ));
            };
            if let Some(bounds) = setting.bounds
                && !value.as_f64().is_some_and(|value| bounds.contains(value))
            {
                return Err(ApiError::invalid(field(&format!(".{key}")), format!("expected a number {bounds}")));
            }
            document[section][key] = value.clone();
        }
    }
    serde_path_to_error::deserialize(&document)
        .map_err(|error| ApiError::invalid(format!("settings.{}", error.path()), error.inner().to_string()))
}

/// One thing that was found: its detector, its kind and its window.
type Key = (String, String, [Timestamp; 2]);

/// Holds findings against what was raised of windows from `first` to `end`.
fn difference(
    context: &JobContext,
    findings: &[Finding],
    detectors: &[&'static str],
    [first, end]: [Timestamp; 2],
) -> Result<Difference, JobError> {
    let tools = &context.tools;
    let filter = AnomalyFilter {
        from: Some(first),
        to: Some(end),
        whose: tools.sensor.clone().into(),
        ..AnomalyFilter::default()
    };
    let mut raised: BTreeMap<Key, StoredAnomaly> = BTreeMap::new();
    let mut position = Position { descending: false, after: None, limit: CHUNK };
    let mut read = 0;
    loop {
        let page = context.wait(tools.store.anomalies(&filter, AnomalySort::Time, position))?;
        read += page.items.len();
        for anomaly in page.items {
            let detector = anomaly.finding.detector.clone();
            let window = anomaly.finding.window();
            if detectors.contains(&detector.as_str()) && window[0] >= first && window[1] <= end {
                raised.insert((detector, anomaly.kind.clone(), window), anomaly);
            }
        }
        match page.next {
            Some(next) if read < MOST_READ => position.after = Some(next),
            Some(_) => {
                let detail = format!("more than {MOST_READ} anomalies were raised in that time; ask for a shorter one");
                return Err(unprocessable(Some("from"), detail));
            }
            None => break,
        }
    }
    let mut difference = Difference::default();
    for finding in findings {
        let key = (finding.detector.to_owned(), finding.kind.word().to_owned(), [finding.start, finding.end]);
        if raised.remove(&key).is_some() {
            difference.same += 1;
            continue;
        }
        difference.would_be_raised += 1;
        if difference.raised_anew.len() < MOST_ITEMS {
            difference.raised_anew.push(AnomalyJson::from(finding));
        }
    }
    difference.would_not = raised.len();
    difference.raised_no_more = raised.values().take(MOST_ITEMS).map(anomaly).collect();
    Ok(difference)
}
