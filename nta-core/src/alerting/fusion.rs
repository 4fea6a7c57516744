//! Where the findings of learned judges belong. A rule says who did what to whom; a model saw one host, and says what it
//! looks like. What both are about is one alert.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::alerter::Alerter;
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

/// A host on a side of a kind.
type Place = (AlertSide, IpAddr, AlertKind);

/// Open alerts by the hosts that they name, each look-up O(log n). Holds each open alert at most twice.
#[derive(Debug, Default)]
pub(super) struct ByHost {
    open: BTreeMap<Place, BTreeSet<(Timestamp, AlertKey)>>,
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

    /// Open alerts that a model's finding may belong to: of its kind, about the same parties as far as both know them; for an
    /// anomaly, which has no kind of its own, of any kind with the host on any side.
    fn joinable(&self, finding: &Finding) -> Vec<AlertKey> {
        let own = AlertKey::of(finding);
        if finding.kind != AlertKind::HostAnomaly {
            return self.alike(&own).collect();
        }
        let Some(host) = own.source.host().or(own.destination.host()) else { return Vec::new() };
        let kinds = AlertKind::ALL.into_iter().filter(|kind| *kind != AlertKind::HostAnomaly);
        let places = kinds.flat_map(|kind| [(AlertSide::Source, host, kind), (AlertSide::Destination, host, kind)]);
        places.flat_map(|place| self.at(place)).collect()
    }

    /// The open alerts in a place, those that were raised last.
    fn at(&self, place: Place) -> impl Iterator<Item = AlertKey> + use<'_> {
        self.open.get(&place).into_iter().flat_map(|alerts| alerts.iter().rev().take(MOST_ALIKE)).map(|(_, key)| *key)
    }

    /// Open alerts that may be about the same, of those that were raised last.
    pub(super) fn alike<'a>(&'a self, own: &'a AlertKey) -> impl Iterator<Item = AlertKey> + use<'a> {
        places(own).flat_map(|place| self.at(place)).filter(|key| are_alike(own, key))
    }
}

impl Alerter {
    /// The open alert that a model's finding belongs to.
    pub(super) fn joinable(&self, finding: &Finding) -> Option<AlertKey> {
        self.last_of(self.by_host.joinable(finding))
    }

    /// Of several alerts the one that was raised last, of those that were raised at once the strongest. Which addresses it is about
    /// decides only where nothing else does: what is found under one set of addresses is found under another.
    pub(super) fn last_of(&self, keys: impl IntoIterator<Item = AlertKey>) -> Option<AlertKey> {
        let alerts = keys.into_iter().filter_map(|key| self.alerts.get(&key));
        let rank = |alert: &Alert| (alert.raised, alert.key.kind);
        let strength = |alert: &Alert| (Alert::breadth(&alert.finding), alert.finding.port);
        let magnitude = |alert: &Alert| alert.finding.measure.magnitude();
        let last = alerts.max_by(|a, b| {
            let by_time = rank(a).cmp(&rank(b)).then_with(|| magnitude(a).total_cmp(&magnitude(b)));
            by_time.then_with(|| strength(a).cmp(&strength(b))).then_with(|| a.key.cmp(&b.key))
        });
        last.map(|alert| alert.key)
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
    /// Of each kind the open alerts with a host on the same side as in a finding, those of one side and kind together.
    pub(super) fn about<'a>(&'a self, finding: &Finding) -> impl Iterator<Item = Vec<AlertKey>> + use<'a> {
        let hosts: Vec<_> = places(&AlertKey::of(finding)).map(|(side, host, _)| (side, host)).collect();
        let of_kinds = hosts.into_iter().flat_map(|(side, host)| AlertKind::ALL.map(|kind| (side, host, kind)));
        of_kinds.map(|place| self.at(place).collect())
    }
}

/// Where an alert is looked for.
pub(super) fn places(key: &AlertKey) -> impl Iterator<Item = Place> + use<> {
    let kind = key.kind;
    let sides = [(AlertSide::Source, key.source.host()), (AlertSide::Destination, key.destination.host())];
    sides.into_iter().filter_map(move |(side, host)| Some((side, host?, kind)))
}
