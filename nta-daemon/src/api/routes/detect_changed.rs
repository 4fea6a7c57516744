//! Stored windows judged by changed settings: how settings are changed, and what that makes of what was raised.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use super::detect::able;
use crate::api::found::{self, AnomalyItem};
use crate::api::{ApiError, ApiState};
use crate::json::AnomalyJson;
use crate::store::{AnomalyFilter, AnomalySort, Position, StoredAnomaly};
use nta_core::detect::{DetectConfig, entries};
use nta_core::domain::{Finding, Timestamp};

/// Anomalies that are read at most for the difference, and at a time.
const MOST_READ: usize = 20_000;
const CHUNK: u32 = 1000;
/// Anomalies of each kind in an answer; those beyond are counted.
const MOST_ITEMS: usize = 1000;

/// What is found now, held against what was raised of the same windows and detectors.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct Difference {
    /// How many anomalies are found now and were not raised.
    would_be_raised: usize,
    /// How many were raised and are not found now.
    would_not: usize,
    /// How many are found now and were raised.
    same: usize,
    /// The first thousand that are found now and were not raised.
    #[schema(max_items = 1000)]
    raised_anew: Vec<AnomalyJson>,
    /// The first thousand that were raised and are not found now.
    #[schema(max_items = 1000)]
    raised_no_more: Vec<AnomalyItem>,
}

/// The configuration with other settings of detectors that judge stored windows.
///
/// # Errors
/// Names the section, the setting or the value that cannot be used.
pub(super) fn changed(config: &DetectConfig, settings: &Map<String, Value>) -> Result<DetectConfig, ApiError> {
    let mut document = serde_json::to_value(config).map_err(|_cannot_fail| ApiError::Internal)?;
    let able = able();
    for (section, new) in settings {
        let field = |key: &str| format!("settings.{section}{key}");
        if !able.contains(&section.as_str()) {
            let detail = format!("expected settings of some of {}: others judge what is not stored", able.join(", "));
            return Err(ApiError::invalid(field(""), detail));
        }
        let Some(new) = new.as_object() else {
            return Err(ApiError::invalid(field(""), "expected an object of settings"));
        };
        let known = entries().into_iter().find(|entry| entry.section == format!("detect.{section}"));
        let known = known.map(|entry| entry.settings).unwrap_or_default();
        for (key, value) in new {
            let Some(setting) = known.iter().find(|setting| setting.key == key) else {
                let keys: Vec<&str> = known.iter().map(|setting| setting.key).collect();
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
pub(super) async fn difference(
    state: &ApiState,
    findings: &[Finding],
    detectors: &[&'static str],
    [first, end]: [Timestamp; 2],
) -> Result<Difference, ApiError> {
    let filter = AnomalyFilter {
        from: Some(first),
        to: Some(end),
        whose: state.tools.sensor.clone().into(),
        ..AnomalyFilter::default()
    };
    let mut raised: BTreeMap<Key, StoredAnomaly> = BTreeMap::new();
    let mut position = Position { descending: false, after: None, limit: CHUNK };
    let mut read = 0;
    loop {
        let page = state.store.anomalies(&filter, AnomalySort::Time, position).await?;
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
                return Err(ApiError::Unprocessable { field: Some("from".to_owned()), detail });
            }
            None => break,
        }
    }
    let mut difference =
        Difference { would_be_raised: 0, would_not: 0, same: 0, raised_anew: Vec::new(), raised_no_more: Vec::new() };
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
    difference.raised_no_more = raised.values().take(MOST_ITEMS).map(found::anomaly).collect();
    Ok(difference)
}
