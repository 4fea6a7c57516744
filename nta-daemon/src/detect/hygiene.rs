//! From findings to alerts: identity, merging, raising and clearing, severity. Whatever a detector says, an operator
//! sees one alert per thing.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::IpAddr;

use super::tunables::tunables;
use crate::domain::{
    Alert, AlertChange, AlertKey, AlertKind, AlertState, DetectionCounts, Finding, Severity, Timestamp,
};

/// Alerts that are kept at once; findings beyond it are counted and not told.
const MAX_ALERTS: usize = 10_000;
/// A finding this many times its threshold is one step worse; its square two.
const MAGNITUDE_STEP: f64 = 10.0;
/// An alert that goes on for so many windows is one step worse.
const LASTING_WINDOWS: u32 = 12;
const NANOS: u64 = 1_000_000_000;

tunables! {
    /// What makes findings an alert.
    HygieneConfig in "detect.hygiene" {
        /// An alert is cleared when nothing was found for so long, in seconds of the traffic's own time.
        clear_after_s: u64 = 60,
        /// One that comes back within so many seconds after it was cleared is the same alert.
        hold_down_s: u64 = 300,
        /// Addresses that no alert is raised about, as source or as destination.
        allow: Vec<IpAddr> = Vec::new(),
    }
}

/// The alerts that go on, or may come back.
#[derive(Debug)]
pub struct Hygiene {
    config: HygieneConfig,
    /// In order, so that those that end together are told in the same order every time.
    alerts: BTreeMap<AlertKey, Alert>,
    counts: DetectionCounts,
}

impl Hygiene {
    /// No alerts yet.
    pub fn new(config: HygieneConfig) -> Self {
        Self { config, alerts: BTreeMap::new(), counts: DetectionCounts::default() }
    }

    /// What was done so far.
    pub const fn counts(&self) -> DetectionCounts {
        self.counts
    }

    /// Alerts that go on.
    pub fn open(&self) -> impl Iterator<Item = &Alert> {
        self.alerts.values().filter(|alert| alert.state == AlertState::Raised)
    }

    /// Takes the findings of a window that ended at `now`, and tells what changes.
    pub fn judge(&mut self, findings: Vec<Finding>, now: Timestamp, tell: &mut dyn FnMut(AlertChange, &Alert)) {
        for finding in findings {
            self.take(finding, now, tell);
        }
        self.expire(now, tell);
    }

    fn take(&mut self, finding: Finding, now: Timestamp, tell: &mut dyn FnMut(AlertChange, &Alert)) {
        self.counts.findings += 1;
        let parties = [finding.source.host(), finding.destination.host()];
        if parties.into_iter().flatten().any(|address| self.config.allow.contains(&address)) {
            self.counts.allowed += 1;
            return;
        }
        let full = self.alerts.len() >= MAX_ALERTS;
        match self.alerts.entry(AlertKey::of(&finding)) {
            Entry::Occupied(mut known) => {
                let alert = known.get_mut();
                let change = if alert.state == AlertState::Cleared {
                    alert.state = AlertState::Raised;
                    alert.cleared = None;
                    AlertChange::Raised
                } else {
                    AlertChange::Updated
                };
                alert.add(finding);
                tell(change, alert);
            }
            Entry::Vacant(_) if full => self.counts.refused += 1,
            Entry::Vacant(vacant) => {
                self.counts.raised += 1;
                tell(AlertChange::Raised, vacant.insert(Alert::raise(finding, now)));
            }
        }
    }

    fn expire(&mut self, now: Timestamp, tell: &mut dyn FnMut(AlertChange, &Alert)) {
        let clear_after_ns = self.config.clear_after_s * NANOS;
        let forget_after_ns = clear_after_ns + self.config.hold_down_s * NANOS;
        let counts = &mut self.counts;
        self.alerts.retain(|_, alert| {
            let quiet_ns = now.since(alert.last);
            if alert.state == AlertState::Raised && quiet_ns >= clear_after_ns {
                alert.state = AlertState::Cleared;
                alert.cleared = Some(now);
                counts.cleared += 1;
                tell(AlertChange::Cleared, alert);
            }
            quiet_ns < forget_after_ns
        });
    }
}

impl Alert {
    fn raise(finding: Finding, now: Timestamp) -> Self {
        let key = AlertKey::of(&finding);
        let mut alert = Self {
            id: key.id(now),
            key,
            state: AlertState::Raised,
            severity: Severity::Low,
            first: finding.start,
            last: finding.end,
            raised: now,
            cleared: None,
            windows: 1,
            merged: 0,
            detectors: vec![finding.detector],
            finding,
        };
        alert.judge_severity();
        alert
    }

    fn add(&mut self, finding: Finding) {
        self.windows += u32::from(finding.end > self.last);
        self.merged += 1;
        self.first = self.first.min(finding.start);
        self.last = self.last.max(finding.end);
        if !self.detectors.contains(&finding.detector) {
            self.detectors.push(finding.detector);
        }
        if finding.measure.magnitude() > self.finding.measure.magnitude() {
            self.finding = finding;
        }
        self.judge_severity();
    }

    fn judge_severity(&mut self) {
        let magnitude = self.finding.measure.magnitude();
        let steps = usize::from(magnitude >= MAGNITUDE_STEP)
            + usize::from(magnitude >= MAGNITUDE_STEP * MAGNITUDE_STEP)
            + usize::from(self.windows >= LASTING_WINDOWS);
        self.severity = least(self.key.kind).raised(steps).min(most(self.key.kind));
    }
}

/// Severity that no magnitude and no repetition exceeds: regular calls repeat by nature, and most are an update's.
const fn most(kind: AlertKind) -> Severity {
    if matches!(kind, AlertKind::Beaconing) { Severity::Medium } else { Severity::Critical }
}

/// Severity of a finding that just reaches its threshold.
const fn least(kind: AlertKind) -> Severity {
    match kind {
        AlertKind::ArpSpoof | AlertKind::DnsTunnel | AlertKind::DataExfiltration | AlertKind::Amplification => {
            Severity::High
        }
        AlertKind::PortScan
        | AlertKind::SshBruteForce
        | AlertKind::Slowloris
        | AlertKind::SynFlood
        | AlertKind::UdpFlood
        | AlertKind::IcmpFlood
        | AlertKind::DistributedFlood
        | AlertKind::Beaconing => Severity::Medium,
        AlertKind::TrafficSpike
        | AlertKind::HighLatency
        | AlertKind::PacketLoss
        | AlertKind::ProtocolAnomaly
        | AlertKind::LongLivedConnection => Severity::Low,
    }
}
