//! What a model says with too little certainty for an alert of its own. A rule that finds the same at the same time has it
//! beside its own words, whichever window either of them judged.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::fusion::{AlertSide, are_alike, places};
use crate::domain::{Alert, AlertKey, AlertKind, Basis, Finding, Timestamp};

/// Hints that are kept at once; beyond it new ones are counted and dropped.
const MAX_HINTS: usize = 4_096;

impl Finding {
    /// Whether it may support a rule, but is below the threshold from which on it is an alert.
    pub(super) fn is_a_hint(&self) -> bool {
        self.basis == Basis::Model && self.measure.observed < self.measure.threshold
    }
}

/// The last hint of each kind about each host, on either side.
#[derive(Debug, Default)]
pub(super) struct Hints(BTreeMap<(AlertSide, IpAddr, AlertKind), Finding>);

impl Hints {
    /// Keeps one; `false` if there is no room.
    pub(super) fn keep(&mut self, hint: &Finding) -> bool {
        let mut fits = true;
        for place in places(&AlertKey::of(hint)) {
            let known = self.0.get(&place);
            // Of one window the surest, whatever the other parties' addresses are.
            let is_older = |known: &Finding| known.end > hint.end || known.end == hint.end && known.score > hint.score;
            if known.is_some_and(is_older) {
                continue;
            }
            if self.0.len() < MAX_HINTS || known.is_some() {
                self.0.insert(place, hint.clone());
            } else {
                fits = false;
            }
        }
        fits
    }

    /// Those that support an alert that is about to be raised: of its kind, about one of its parties, of its time.
    pub(super) fn take(&mut self, alert: &Alert) -> Vec<Finding> {
        if alert.finding.basis == Basis::Model {
            return Vec::new();
        }
        let start = alert.finding.start;
        let hints = places(&alert.key).filter_map(|place| self.0.remove(&place));
        hints.filter(|hint| hint.end > start && are_alike(&AlertKey::of(hint), &alert.key)).collect()
    }

    /// Forgets what is older than that.
    pub(super) fn expire(&mut self, now: Timestamp, after_ns: u64) {
        self.0.retain(|_, hint| now.since(hint.end) < after_ns);
    }
}
