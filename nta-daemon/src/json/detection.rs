//! What detection reports about itself, as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::words;
use nta_core::domain::{DetectionCounts, LearningState, RoleState, Severity, Status};

/// What became of the detectors' findings since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DetectionJson {
    /// Findings.
    pub findings: u64,
    /// Of these, about something on the allow-list.
    pub allowed: u64,
    /// Of these, about something that is muted.
    #[serde(default)]
    pub muted: u64,
    /// Of these, not reported because the table of alerts was full.
    pub refused: u64,
    /// Of these, not reported because baselines were given time to warm up.
    pub warming_up: u64,
    /// Of these, not reported because their kind needs more windows.
    pub waiting: u64,
    /// Alerts raised, those that came back among them.
    pub alerts_raised: u64,
    /// Alerts cleared.
    pub alerts_cleared: u64,
    /// Entries that detectors had to forget as their tables were full, and hosts that a model did not judge as there were
    /// too many.
    #[serde(default)]
    pub evicted: u64,
    /// Alerts that go on, by severity.
    pub alerts_open: BTreeMap<String, u64>,
}

impl From<&DetectionCounts> for DetectionJson {
    fn from(counts: &DetectionCounts) -> Self {
        Self {
            findings: counts.findings,
            allowed: counts.allowed,
            muted: counts.muted,
            refused: counts.refused,
            warming_up: counts.warming_up,
            waiting: counts.waiting,
            alerts_raised: counts.raised,
            alerts_cleared: counts.cleared,
            evicted: counts.evicted,
            alerts_open: Severity::ALL.iter().zip(counts.open).map(|(s, n)| (s.word().to_owned(), n)).collect(),
        }
    }
}

/// Hosts that are kept apart, and those that found no room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct HostsJson {
    /// Hosts of the last base window.
    pub in_window: u64,
    /// Packets of that window, sent or received by hosts beyond the limit.
    pub packets_beyond_limit: u64,
    /// Hosts that a baseline is kept for.
    pub with_baseline: u64,
    /// Hosts whose baseline had to go.
    pub evicted: u64,
}

impl From<&Status> for HostsJson {
    fn from(status: &Status) -> Self {
        Self {
            in_window: status.window_hosts,
            packets_beyond_limit: status.window_other_packets,
            with_baseline: status.learning.hosts,
            evicted: status.learning.hosts_evicted,
        }
    }
}

/// How far baselines have come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LearningJson {
    /// End of the last window learned from; null before the first.
    #[schema(format = DateTime)]
    pub updated: Option<String>,
    /// Every metric of the network.
    pub metrics: Vec<MetricStateJson>,
    /// From which score on hosts of each role are unusual; empty where no isolation forest judges.
    #[serde(default)]
    pub unusual: Vec<RoleStateJson>,
}

/// From which score on hosts of a role are unusual.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RoleStateJson {
    /// `server`, `client` or `gateway`.
    pub role: String,
    /// `warm_up`, in which the score that training found holds, or `ready`.
    #[schema(value_type = words::LearningState)]
    pub state: String,
    /// Hours learned from; those of long ago count less.
    pub hours: f64,
    /// Hours that are needed.
    pub hours_needed: f64,
    /// The score, 0 to 1; null in warm-up.
    pub threshold: Option<f64>,
}

/// What is known of a metric.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MetricStateJson {
    /// Its name.
    pub metric: String,
    /// Windows of 30 s learned from.
    pub samples: u32,
    /// `warm_up`, or `ready` once something is expected of it.
    #[schema(value_type = words::LearningState)]
    pub state: String,
}

impl From<&LearningState> for LearningJson {
    fn from(learning: &LearningState) -> Self {
        let metric = |state: &nta_core::domain::MetricState| MetricStateJson {
            metric: state.name.to_owned(),
            samples: state.samples,
            state: if state.is_ready { "ready" } else { "warm_up" }.to_owned(),
        };
        Self {
            updated: learning.updated.map(|time| time.to_string()),
            metrics: learning.metrics.iter().map(metric).collect(),
            unusual: learning.unusual.iter().map(RoleStateJson::from).collect(),
        }
    }
}

impl From<&RoleState> for RoleStateJson {
    fn from(role: &RoleState) -> Self {
        Self {
            role: role.name.to_owned(),
            state: if role.threshold.is_some() { "ready" } else { "warm_up" }.to_owned(),
            hours: role.hours,
            hours_needed: role.hours_needed,
            threshold: role.threshold,
        }
    }
}
