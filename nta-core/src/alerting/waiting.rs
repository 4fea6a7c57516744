//! Findings whose kind, or judge, needs more windows than one before they are an alert.

use super::alerter::{Alerter, NANOS};
use crate::domain::{AlertKey, AlertKind, Basis, Finding, Timestamp};

/// Windows in which a host must be unusual before that alone is an alert: an anomaly is nothing wrong by itself.
pub(crate) const ANOMALY_WINDOWS: u32 = 6;

/// Windows with a finding that is no alert yet.
#[derive(Debug)]
pub(super) struct Waiting {
    windows: u32,
    first: Timestamp,
    pub(super) last: Timestamp,
    /// Further apart than so many nanoseconds windows do not add up.
    pub(super) patience_ns: u64,
}

impl Alerter {
    /// Whether it has been found often enough: since when, and in how many windows.
    pub(super) fn wait(&mut self, key: &AlertKey, finding: &Finding, full: bool) -> Option<(Timestamp, u32)> {
        let mut least = self.config.raise_after.of(key.kind);
        let mut patience_ns = self.config.clear_after_s * NANOS;
        if finding.basis == Basis::Model {
            least = if finding.kind == AlertKind::HostAnomaly { least.max(ANOMALY_WINDOWS) } else { least };
            // Models judge windows of 180 s as well: the next one is never nearer.
            patience_ns += finding.end.since(finding.start);
            if self.waiting.get(key).is_some_and(|waiting| finding.end.since(waiting.last) >= patience_ns) {
                self.waiting.remove(key);
            }
        }
        if least <= 1 {
            return Some((finding.start, 1));
        }
        if full && !self.waiting.contains_key(key) {
            self.counts.refused += 1;
            return None;
        }
        let new = || Waiting { windows: 0, first: finding.start, last: Timestamp::default(), patience_ns };
        let waiting = self.waiting.entry(*key).or_insert_with(new);
        waiting.windows += u32::from(finding.end > waiting.last);
        waiting.last = waiting.last.max(finding.end);
        if waiting.windows < least {
            self.counts.waiting += 1;
            return None;
        }
        let reported = (waiting.first, waiting.windows);
        self.waiting.remove(key);
        Some(reported)
    }
}
