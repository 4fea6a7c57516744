//! Alerts of a capture, each in its last state: so many at most, the worst.

use std::collections::{HashMap, HashSet};

use nta_core::domain::{Alert, AlertId, ClearReason};

/// Alerts that are reported, the worst; those beyond it are counted.
const MAX_ALERTS: usize = 10_000;

/// Alerts in the order in which they were raised.
#[derive(Debug, Default)]
pub(crate) struct Alerts {
    alerts: Vec<Alert>,
    /// Where each of them lies.
    places: HashMap<AlertId, usize>,
    /// Those that found no room.
    unreported: HashSet<AlertId>,
}

impl Alerts {
    /// Takes the state of an alert.
    pub(crate) fn take(&mut self, alert: &Alert) {
        if let Some(known) = self.places.get(&alert.id).and_then(|place| self.alerts.get_mut(*place)) {
            known.clone_from(alert);
            return;
        }
        if self.alerts.len() >= MAX_ALERTS {
            self.unreported.insert(alert.id);
            // The mildest gives way, of those the oldest.
            let mildest = self.alerts.iter().enumerate().min_by_key(|(place, known)| (known.severity, *place));
            let Some((place, _)) = mildest.filter(|(_, known)| known.severity < alert.severity) else { return };
            self.unreported.insert(self.alerts.remove(place).id);
            self.unreported.remove(&alert.id);
            self.places = self.alerts.iter().enumerate().map(|(place, known)| (known.id, place)).collect();
        }
        self.places.insert(alert.id, self.alerts.len());
        self.alerts.push(alert.clone());
    }

    /// Leaves out those that became part of another one.
    pub(crate) fn without_folded(&mut self) {
        self.alerts.retain(|alert| alert.clear_reason != Some(ClearReason::Folded));
        self.places = self.alerts.iter().enumerate().map(|(place, known)| (known.id, place)).collect();
    }

    /// Those that are reported.
    pub(crate) fn all(&self) -> &[Alert] {
        &self.alerts
    }

    /// How many are not.
    pub(crate) fn unreported(&self) -> u64 {
        self.unreported.len() as u64
    }
}
