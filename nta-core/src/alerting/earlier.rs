//! Alerts of runs before: what comes back after a restart is the same alert as if there had been none.

use std::collections::BTreeMap;

use super::seen::widen;
use crate::domain::{Alert, AlertId, AlertKey, AlertKind, Timestamp};

/// An alert that an earlier run of the sensor left, as far as one that comes back goes on with it. What was found before the restart
/// stays in the anomalies: the strongest finding is the strongest since then.
#[derive(Clone, Debug, PartialEq)]
pub struct EarlierAlert {
    /// Identity.
    pub id: AlertId,
    /// Kind.
    pub kind: AlertKind,
    /// Source and destination, as parties are shown.
    pub parties: [String; 2],
    /// Start of the first window with a finding.
    pub first: Timestamp,
    /// End of the last one.
    pub last: Timestamp,
    /// First and last packet of what was found, as far as known.
    pub seen: Option<[Timestamp; 2]>,
    /// End of the window in which it was raised.
    pub raised: Timestamp,
    /// Windows with a finding.
    pub windows: u32,
    /// Findings that are part of it beside the first.
    pub merged: u32,
    /// Names of the detectors that found it.
    pub detectors: Vec<&'static str>,
    /// Whether a model found it, too: then it may come back later.
    pub is_learned: bool,
}

/// The ones that may come back, by what they are about.
#[derive(Debug, Default)]
pub(super) struct Earlier(BTreeMap<(AlertKind, [String; 2]), EarlierAlert>);

impl Earlier {
    /// Of several about one thing the newest; of too many the newest.
    pub(super) fn new(mut alerts: Vec<EarlierAlert>, most: usize) -> Self {
        alerts.sort_by_key(|alert| std::cmp::Reverse((alert.last, alert.raised)));
        alerts.truncate(most);
        let mut known = BTreeMap::new();
        for alert in alerts {
            known.entry((alert.kind, alert.parties.clone())).or_insert(alert);
        }
        Self(known)
    }

    /// Hands out the one that is about this.
    pub(super) fn take(&mut self, key: &AlertKey) -> Option<EarlierAlert> {
        if self.0.is_empty() {
            return None;
        }
        self.0.remove(&(key.kind, [key.source, key.destination].map(|party| party.to_string())))
    }

    /// Forgets those that are as old as `is_over` says: how long ago, and whether a model found it.
    pub(super) fn expire(&mut self, now: Timestamp, is_over: impl Fn(u64, bool) -> bool) {
        self.0.retain(|_, alert| !is_over(now.since(alert.last), alert.is_learned));
    }
}

impl Alert {
    /// This one is the alert of before.
    pub(super) fn go_on_from(&mut self, before: &EarlierAlert) {
        self.id = before.id;
        self.raised = before.raised;
        self.first = self.first.min(before.first);
        self.windows = self.windows.saturating_add(before.windows);
        // Its first finding is one more of that.
        self.merged = self.merged.saturating_add(before.merged).saturating_add(1);
        if let Some(seen) = before.seen {
            widen(&mut self.seen, seen);
        }
        let own = std::mem::replace(&mut self.detectors, before.detectors.clone());
        for detector in own {
            if !self.detectors.contains(&detector) {
                self.detectors.push(detector);
            }
        }
        self.judge_severity();
    }
}
