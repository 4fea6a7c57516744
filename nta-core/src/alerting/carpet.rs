//! A flood that is spread over the hosts of a network ("carpet bombing") is one event, however many of them are above a threshold.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::alerter::Alerter;
use crate::domain::{AlertKey, AlertKind, Basis, Finding, Measure, Party, around};

/// Hosts of one network that are flooded in one window, from which on it is the network that is: who is after some servers of
/// a site names fewer.
const MIN_HOSTS: usize = 8;

/// Whether it is a flood of what a host gets.
pub(super) const fn is_flood(kind: AlertKind) -> bool {
    matches!(
        kind,
        AlertKind::SynFlood
            | AlertKind::UdpFlood
            | AlertKind::IcmpFlood
            | AlertKind::AckFlood
            | AlertKind::RstFlood
            | AlertKind::SynackReflection
            | AlertKind::FragmentFlood
            | AlertKind::ProtocolFlood
            | AlertKind::Amplification
    )
}

/// The host that a rule says is flooded, and its network.
fn victim(finding: &Finding) -> Option<(IpAddr, (IpAddr, u8))> {
    let host = finding.destination.host()?;
    (finding.basis == Basis::Rule && is_flood(finding.kind)).then(|| (host, around(host)))
}

/// Puts one finding in the place of those about hosts of one network, where they are many.
pub(super) fn join(findings: Vec<Finding>) -> Vec<Finding> {
    let mut hosts: BTreeMap<(IpAddr, u8), BTreeSet<IpAddr>> = BTreeMap::new();
    for (host, network) in findings.iter().filter_map(victim) {
        hosts.entry(network).or_default().insert(host);
    }
    hosts.retain(|_, hosts| hosts.len() >= MIN_HOSTS);
    if hosts.is_empty() {
        return findings;
    }
    let network = |finding: &Finding| victim(finding).map(|(_, network)| network).filter(|of| hosts.contains_key(of));
    let mut joined: BTreeMap<(IpAddr, u8), Vec<Finding>> = BTreeMap::new();
    let mut left = Vec::new();
    for finding in findings {
        match network(&finding) {
            Some(network) => joined.entry(network).or_default().push(finding),
            None => left.push(finding),
        }
    }
    left.extend(
        joined.into_iter().filter_map(|(network, findings)| of_network(network, hosts[&network].len(), findings)),
    );
    left
}

fn of_network(network: (IpAddr, u8), hosts: usize, findings: Vec<Finding>) -> Option<Finding> {
    let common = |of: fn(&Finding) -> Party| {
        let first = of(findings.first()?);
        findings.iter().all(|finding| of(finding) == first).then_some(first)
    };
    let source = common(|finding| finding.source).unwrap_or(Party::Many);
    let port = findings.first()?.port.filter(|port| findings.iter().all(|finding| finding.port == Some(*port)));
    let kinds: BTreeSet<AlertKind> = findings.iter().map(|finding| finding.kind).collect();
    let kinds = kinds.into_iter().map(AlertKind::word).collect::<Vec<_>>().join(", ");
    let observed = findings.iter().map(|finding| finding.measure.observed).sum::<f64>();
    let seen = findings.iter().filter_map(|finding| finding.seen).reduce(|[a, b], [c, d]| [a.min(c), b.max(d)]);
    let [start, end] =
        [findings.iter().map(|finding| finding.start).min()?, findings.iter().map(|finding| finding.end).max()?];
    let strongest = findings.into_iter().max_by(|a, b| a.measure.magnitude().total_cmp(&b.measure.magnitude()))?;
    let (unit, place) = (strongest.measure.unit, port.map_or_else(String::new, |port| format!(" port {port}")));
    let from = source.host().map_or_else(|| "many sources".to_owned(), |host| host.to_string());
    Some(Finding {
        kind: AlertKind::DistributedFlood,
        source,
        destination: Party::Network(network.0, network.1),
        port,
        start,
        end,
        seen,
        measure: Measure {
            name: "flooded_hosts",
            unit: "hosts",
            observed: hosts as f64,
            expected: None,
            threshold: MIN_HOSTS as f64,
        },
        summary: format!(
            "{hosts} hosts of {}/{} are flooded at once{place} from {from} ({kinds}): {observed:.0} {unit} in all; the worst: {}",
            network.0, network.1, strongest.summary
        ),
        facts: vec![("hosts", hosts.to_string()), ("kind", kinds)],
        ..strongest
    })
}

impl Alerter {
    /// The open alert about the network that a flooded host is of.
    pub(super) fn carpet(&self, finding: &Finding) -> Option<AlertKey> {
        let (_, (network, prefix)) = victim(finding)?;
        let destination = Party::Network(network, prefix);
        let keys = [Party::Many, finding.source].map(|source| AlertKey {
            kind: AlertKind::DistributedFlood,
            source,
            destination,
        });
        keys.into_iter().find(|key| self.is_open(key))
    }
}
