//! Where the findings of learned judges belong. A rule says who did what to whom; a model saw one host, and says what it
//! looks like. What both are about is one alert.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::domain::{Alert, AlertKey, AlertKind, Basis, Finding, Party, Timestamp};

/// Whether no rule found it.
pub(super) fn is_learned_only(alert: &Alert) -> bool {
    alert.opinions.iter().all(|opinion| opinion.basis == Basis::Model)
}

/// Whether a model found it, too.
pub(super) fn is_learned(alert: &Alert) -> bool {
    alert.opinions.iter().any(|opinion| opinion.basis == Basis::Model)
}

/// On which side of an alert a host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum AlertSide {
    Source,
    Destination,
}

/// Open alerts by the hosts that they name, each look-up O(log n). Holds each open alert at most twice.
#[derive(Debug, Default)]
pub(super) struct ByHost {
    open: BTreeMap<(AlertSide, IpAddr, AlertKind), BTreeSet<(Timestamp, AlertKey)>>,
}

impl ByHost {
    /// Takes an alert that is open now.
    pub(super) fn insert(&mut self, alert: &Alert) {
        for place in places(&alert.key) {
            self.open.entry(place).or_default().insert((alert.raised, alert.key));
        }
    }

    /// Forgets one that is not, or that is about to be about someone else.
    pub(super) fn remove(&mut self, alert: &Alert) {
        for place in places(&alert.key) {
            if let Some(alerts) = self.open.get_mut(&place) {
                alerts.remove(&(alert.raised, alert.key));
                if alerts.is_empty() {
                    self.open.remove(&place);
                }
            }
        }
    }

    /// The open alert that a model's finding belongs to: of its kind, about the same parties as far as both know them; for an
    /// anomaly, which has no kind of its own, of any kind with the host on any side. Of several the one that was raised last.
    pub(super) fn joinable(&self, finding: &Finding) -> Option<AlertKey> {
        let own = AlertKey::of(finding);
        if finding.kind != AlertKind::HostAnomaly {
            return self.alike(&own).max().map(|(_, key)| key);
        }
        let last = |place: (AlertSide, IpAddr, AlertKind)| self.open.get(&place).and_then(BTreeSet::last);
        let host = own.source.host().or(own.destination.host())?;
        let kinds = AlertKind::ALL.into_iter().filter(|kind| *kind != AlertKind::HostAnomaly);
        let places = kinds.flat_map(|kind| [(AlertSide::Source, host, kind), (AlertSide::Destination, host, kind)]);
        places.filter_map(last).max().map(|(_, key)| *key)
    }

    /// Open alerts that may be about the same, of those that were raised last.
    pub(super) fn alike<'a>(&'a self, own: &'a AlertKey) -> impl Iterator<Item = (Timestamp, AlertKey)> + use<'a> {
        let alerts = places(own).filter_map(|place| self.open.get(&place));
        let latest = alerts.flat_map(|alerts| alerts.iter().rev().take(MOST_ALIKE));
        latest.copied().filter(|(_, key)| are_alike(own, key))
    }
}

/// Alerts of one kind and host that are looked at.
const MOST_ALIKE: usize = 16;

/// Whether two of one kind may be about the same: neither names a party that the other one names otherwise. A scanner is one,
/// whomever it scans.
pub(super) fn are_alike(one: &AlertKey, other: &AlertKey) -> bool {
    let same = |a: Party, b: Party| a == b || a.host().is_none() || b.host().is_none();
    let is_scan = one.kind == AlertKind::PortScan && one.source.host().is_some() && one.source == other.source;
    is_scan || same(one.source, other.source) && same(one.destination, other.destination)
}

impl ByHost {
    /// Of each kind the open alert that was raised last with a host on the same side as in a finding.
    pub(super) fn about<'a>(&'a self, finding: &Finding) -> impl Iterator<Item = &'a AlertKey> + use<'a> {
        let hosts: Vec<_> = places(&AlertKey::of(finding)).map(|(side, host, _)| (side, host)).collect();
        let of_kinds = hosts.into_iter().flat_map(|(side, host)| AlertKind::ALL.map(|kind| (side, host, kind)));
        of_kinds.filter_map(|place| self.open.get(&place)?.last()).map(|(_, key)| key)
    }
}

/// Where an alert is looked for.
pub(super) fn places(key: &AlertKey) -> impl Iterator<Item = (AlertSide, IpAddr, AlertKind)> + use<> {
    let kind = key.kind;
    let sides = [(AlertSide::Source, key.source.host()), (AlertSide::Destination, key.destination.host())];
    sides.into_iter().filter_map(move |(side, host)| Some((side, host?, kind)))
}
