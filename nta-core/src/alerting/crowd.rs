//! Alerts about many, and what models say of one of them: the host is one of those who scan, or one of those that are scanned or
//! flooded, so that the rule's alert says already what the model says.

use super::alerter::Alerter;
use super::carpet::is_flood;
use super::fusion::is_learned_only;
use crate::domain::{
    Alert, AlertChange, AlertKey, AlertKind, Basis, ClearReason, Crowd, Finding, Party, Timestamp, around,
};

/// Alerts about many that are looked at for one finding, those about the most hosts.
const MOST: usize = 64;

/// What a sweep or a flood of many looks like at one of its hosts.
const fn is_of_many(kind: AlertKind) -> bool {
    is_flood(kind) || matches!(kind, AlertKind::PortScan | AlertKind::HostAnomaly)
}

/// Whom an alert is about.
fn crowds(alert: &Alert) -> impl Iterator<Item = &Crowd> {
    [&alert.finding, &alert.latest].into_iter().filter_map(|finding| finding.crowd.as_deref())
}

/// Whether an alert is about the hosts that a finding names.
fn includes(alert: &Alert, finding: &Finding) -> bool {
    let [source, destination] = [finding.source.host(), finding.destination.host()];
    // An anomaly's host is named as a source whatever it did; who scans one of the hosts may be another.
    let victim = match finding.kind {
        AlertKind::HostAnomaly => source,
        AlertKind::PortScan => None,
        _ => destination,
    };
    let is_in_network = |host| {
        let (network, prefix) = around(host);
        alert.key.destination == Party::Network(network, prefix)
    };
    victim.is_some_and(is_in_network)
        || crowds(alert).any(|crowd| {
            source.is_some_and(|host| crowd.has_source(&host))
                || victim.is_some_and(|host| crowd.has_destination(&host))
        })
}

impl Alerter {
    /// Open alerts of rules about many.
    pub(super) fn of_many(&self) -> Vec<AlertKey> {
        let size = |alert: &Alert| crowds(alert).map(Crowd::size).max();
        let is_network = |alert: &Alert| matches!(alert.key.destination, Party::Network(..));
        let open = self.open().filter(|alert| !is_learned_only(alert));
        let many = open.filter_map(|alert| Some((size(alert).or(is_network(alert).then_some(usize::MAX))?, alert.key)));
        let mut many: Vec<_> = many.collect();
        many.sort_unstable_by_key(|(size, key)| (std::cmp::Reverse(*size), *key));
        many.truncate(MOST);
        many.into_iter().map(|(_, key)| key).collect()
    }

    /// The one of these alerts that says what a model's finding says of one host, unless it supports another.
    pub(super) fn explained_by_many(&self, finding: &Finding, many: &[AlertKey]) -> Option<AlertKey> {
        let is_alone = || self.joinable(finding).is_none_or(|key| self.alerts.get(&key).is_some_and(is_learned_only));
        if finding.basis != Basis::Model || !is_of_many(finding.kind) || many.is_empty() || !is_alone() {
            return None;
        }
        self.of_these(finding, many)
    }

    fn of_these(&self, finding: &Finding, many: &[AlertKey]) -> Option<AlertKey> {
        let is_then = |alert: &Alert| alert.last > finding.start && alert.first.min(alert.went_on()[0]) <= finding.end;
        let explains = |alert: &Alert| is_then(alert) && includes(alert, finding);
        many.iter().find(|key| self.alerts.get(key).is_some_and(explains)).copied()
    }

    /// Ends alerts that models alone had raised about one host before a rule found what happens to many: they are part of it.
    pub(super) fn fold_into(&mut self, many: &[AlertKey], now: Timestamp, emit: &mut dyn FnMut(AlertChange, &Alert)) {
        if many.is_empty() {
            return;
        }
        let learned = self.open().filter(|alert| is_of_many(alert.key.kind) && is_learned_only(alert));
        let explained = learned.filter_map(|alert| Some((alert.key, self.of_these(&alert.latest, many)?)));
        let explained: Vec<(AlertKey, AlertKey)> = explained.collect();
        for (key, by) in explained {
            let Some(alert) = self.alerts.get_mut(&key) else { continue };
            alert.clear(now, ClearReason::Folded);
            self.counts.cleared += 1;
            self.by_host.remove(alert);
            emit(AlertChange::Cleared, alert);
            let findings = alert.merged.saturating_add(1);
            let Some(alert) = self.alerts.get_mut(&by) else { continue };
            alert.merged = alert.merged.saturating_add(findings);
            emit(AlertChange::Updated, alert);
        }
    }

    /// The open alert about whom a rule finds scanning now: a scanner is one, whomever it scans. One about a single host is about many
    /// from the second host on.
    pub(super) fn scanner(&mut self, own: &AlertKey) -> Option<AlertKey> {
        if own.kind != AlertKind::PortScan || own.source.host().is_none() {
            return None;
        }
        let is_rules = |key: &AlertKey| self.alerts.get(key).is_some_and(|alert| !is_learned_only(alert));
        let key = self.by_host.alike(own).find(|key| key.source == own.source && is_rules(key))?;
        let many = AlertKey { destination: Party::Many, ..*own };
        if key == many {
            return Some(key);
        }
        let mut alert = self.alerts.remove(&key)?;
        self.by_host.remove(&alert);
        alert.key = many;
        self.by_host.insert(&alert);
        // One of before that is over stays over.
        self.alerts.insert(many, alert);
        Some(many)
    }
}

impl Alert {
    /// Hosts that the finding with its numbers is about.
    pub(super) fn breadth(finding: &Finding) -> usize {
        finding.crowd.as_ref().map_or(1, |crowd| crowd.size())
    }
}

#[cfg(test)]
#[path = "crowd_tests.rs"]
mod tests;
