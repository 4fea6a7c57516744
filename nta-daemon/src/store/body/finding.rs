//! The documents of alerts and anomalies: what was found, in words that outlive the detectors.

use serde::{Deserialize, Serialize};

use super::super::{StoreError, from_sql, to_sql};
use super::{Body, VERSION, v1};
use nta_core::domain::{Alert, Finding, Opinion, Timestamp};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FindingRecord {
    /// Name of the detector.
    pub detector: String,
    /// What happened, in one sentence.
    pub summary: String,
    /// What was measured.
    pub measure: String,
    /// Its unit.
    pub unit: String,
    /// What was seen.
    pub observed: f64,
    /// What is usual, where a baseline says so.
    pub expected: Option<f64>,
    /// From where on it is a finding.
    pub threshold: f64,
    /// First instant of the window, and first instant behind it, in nanoseconds.
    pub(super) window_ns: [i64; 2],
    /// Further facts by name.
    pub facts: Vec<(String, String)>,
    /// Who or what had a share in it, and how much; largest first.
    pub contributors: Vec<(String, f64)>,
}

/// What one detector says about an alert.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OpinionRecord {
    /// Its name.
    pub detector: String,
    /// What it goes by: `rule`, `model` and so on.
    pub basis: String,
    /// How sure it is.
    pub score: f64,
    /// What was measured.
    pub measure: String,
    /// What was seen.
    pub observed: f64,
    /// From where on it is a finding.
    pub threshold: f64,
    /// What happened, in one sentence.
    pub summary: String,
}

/// All of an alert but what has columns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::store) struct AlertBody {
    pub(super) v: u32,
    pub(in crate::store) score: f64,
    pub(in crate::store) port: Option<u16>,
    pub(in crate::store) clear_reason: Option<String>,
    pub(in crate::store) windows: u32,
    /// Findings that are part of it beside the first; 0 in a document of before.
    #[serde(default)]
    pub(in crate::store) merged: u32,
    /// First and last packet of what was found, in nanoseconds.
    #[serde(default)]
    pub(in crate::store) seen_ns: Option<[i64; 2]>,
    pub(in crate::store) detectors: Vec<String>,
    pub(in crate::store) finding: FindingRecord,
    pub(in crate::store) opinions: Vec<OpinionRecord>,
    /// The gateways that saw it, where it is one of several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(in crate::store) gateways: Vec<String>,
}

/// All of an anomaly but what has columns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::store) struct AnomalyBody {
    pub(super) v: u32,
    pub(in crate::store) score: f64,
    pub(in crate::store) port: Option<u16>,
    pub(in crate::store) finding: FindingRecord,
}

impl Body for AlertBody {
    type Before = v1::AlertBefore;
}

impl Body for AnomalyBody {
    type Before = v1::AnomalyBefore;
}

impl FindingRecord {
    /// From when to when.
    pub fn window(&self) -> [Timestamp; 2] {
        self.window_ns.map(|ns| Timestamp::from_nanos(from_sql(ns)))
    }

    pub(super) fn in_window(self, window: [Timestamp; 2]) -> Self {
        Self { window_ns: window.map(|time| to_sql(time.as_nanos())), ..self }
    }
}

impl AlertBody {
    pub(in crate::store) fn read(number: i64, text: &str) -> Result<Self, StoreError> {
        super::of_row("detected_alerts", number, text)
    }
}

impl AnomalyBody {
    pub(in crate::store) fn read(id: i64, text: &str) -> Result<Self, StoreError> {
        super::of_row("anomalies", id, text)
    }
}

impl From<&Alert> for AlertBody {
    fn from(alert: &Alert) -> Self {
        Self {
            v: VERSION,
            score: alert.finding.score,
            port: alert.finding.port,
            clear_reason: alert.clear_reason.map(|reason| reason.word().to_owned()),
            windows: alert.windows,
            merged: alert.merged,
            seen_ns: alert.seen.map(|seen| seen.map(|time| to_sql(time.as_nanos()))),
            detectors: alert.detectors.iter().map(|name| (*name).to_owned()).collect(),
            finding: FindingRecord::from(&alert.finding),
            opinions: alert.opinions.iter().map(OpinionRecord::from).collect(),
            gateways: Vec::new(),
        }
    }
}

impl From<&Finding> for AnomalyBody {
    fn from(finding: &Finding) -> Self {
        Self { v: VERSION, score: finding.score, port: finding.port, finding: FindingRecord::from(finding) }
    }
}

impl From<&Finding> for FindingRecord {
    fn from(finding: &Finding) -> Self {
        let measure = &finding.measure;
        Self {
            detector: finding.detector.to_owned(),
            summary: finding.summary.clone(),
            measure: measure.name.to_owned(),
            unit: measure.unit.to_owned(),
            observed: measure.observed,
            expected: measure.expected,
            threshold: measure.threshold,
            window_ns: [finding.start, finding.end].map(|time| to_sql(time.as_nanos())),
            facts: finding.facts.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
            contributors: finding.contributors.iter().map(|share| (share.what.clone(), share.amount)).collect(),
        }
    }
}

impl From<&Opinion> for OpinionRecord {
    fn from(opinion: &Opinion) -> Self {
        Self {
            detector: opinion.detector.to_owned(),
            basis: opinion.basis.word().to_owned(),
            score: opinion.score,
            measure: opinion.measure.name.to_owned(),
            observed: opinion.measure.observed,
            threshold: opinion.measure.threshold,
            summary: opinion.summary.clone(),
        }
    }
}
