//! Where the findings of learned judges belong. A rule says who did what to whom; a model saw one host, and says what it
//! looks like. What both are about is one alert.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::domain::{Alert, AlertKey, AlertKind, Basis, Finding, Party, Timestamp};

/// Whether no rule found it.
pub(super) fn is_learned_only(alert: &Alert) -> bool {
    alert.opinions.iter().all(|opinion| opinion.basis == Basis::Model)
}

/// On which side of an alert a host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum AlertSide {
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

    /// The open alert that a model's finding belongs to: of its kind, with its host on its side; for an anomaly, which has
    /// no kind of its own, of any kind with the host on any side. Of several the one that was raised last.
    pub(super) fn joinable(&self, finding: &Finding) -> Option<AlertKey> {
        let own = AlertKey::of(finding);
        let last = |place: (AlertSide, IpAddr, AlertKind)| self.open.get(&place).and_then(BTreeSet::last);
        if finding.kind != AlertKind::HostAnomaly {
            return places(&own).filter_map(last).max().map(|(_, key)| *key);
        }
        let host = own.source.host().or(own.destination.host())?;
        let kinds = AlertKind::ALL.into_iter().filter(|kind| *kind != AlertKind::HostAnomaly);
        let places = kinds.flat_map(|kind| [(AlertSide::Source, host, kind), (AlertSide::Destination, host, kind)]);
        places.filter_map(last).max().map(|(_, key)| *key)
    }
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
fn places(key: &AlertKey) -> impl Iterator<Item = (AlertSide, IpAddr, AlertKind)> + use<> {
    let kind = key.kind;
    let sides = [(AlertSide::Source, key.source.host()), (AlertSide::Destination, key.destination.host())];
    sides.into_iter().filter_map(move |(side, host)| Some((side, host?, kind)))
}

/// What a model may have called what a rule now names: the same kind and host, nobody or many at the other end.
pub(super) fn models_keys(rule: &AlertKey) -> impl Iterator<Item = AlertKey> + use<> {
    let AlertKey { kind, source, destination } = *rule;
    let unknown = [Party::Nobody, Party::Many];
    let of_source = unknown.map(|destination| AlertKey { kind, source, destination });
    let of_destination = unknown.map(|source| AlertKey { kind, source, destination });
    let of_source = of_source.into_iter().filter(move |_| source.host().is_some());
    let of_destination = of_destination.into_iter().filter(move |_| destination.host().is_some());
    of_source.chain(of_destination)
}
