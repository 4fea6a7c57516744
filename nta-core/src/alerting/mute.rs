//! What operators do not want to hear of for a while. The allow-list is the configuration's, and holds for good; a mute is made by
//! request, holds until its time is over, and may name both parties.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::domain::{AlertKind, Finding, Party};

/// What no alert is raised about while it holds. A part that is not given matches everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mute {
    /// Its number.
    pub id: u64,
    /// Kinds; empty for all.
    pub kinds: Vec<AlertKind>,
    /// Network of who does it.
    pub source: Option<IpNet>,
    /// Network of who suffers it.
    pub destination: Option<IpNet>,
    /// Network of either.
    pub host: Option<IpNet>,
}

impl Mute {
    /// Whether it covers a finding.
    pub fn covers(&self, finding: &Finding) -> bool {
        self.covers_parties(finding.kind, [network(&finding.source), network(&finding.destination)])
    }

    /// The same of a kind and two parties as an alert writes them.
    pub fn covers_named(&self, kind: AlertKind, source: Option<&str>, destination: Option<&str>) -> bool {
        let network = |party: Option<&str>| {
            let party = party?;
            party.parse().ok().or_else(|| party.parse::<IpAddr>().ok().map(IpNet::from))
        };
        self.covers_parties(kind, [network(source), network(destination)])
    }

    fn covers_parties(&self, kind: AlertKind, [source, destination]: [Option<IpNet>; 2]) -> bool {
        let is_in = |own: &Option<IpNet>, party: Option<IpNet>| {
            own.is_none_or(|own| party.is_some_and(|party| own.contains(&party)))
        };
        (self.kinds.is_empty() || self.kinds.contains(&kind))
            && is_in(&self.source, source)
            && is_in(&self.destination, destination)
            && (is_in(&self.host, source) || is_in(&self.host, destination))
    }
}

/// A host or a network of hosts; others are in no network.
fn network(party: &Party) -> Option<IpNet> {
    match party {
        Party::Host(address) => Some(IpNet::from(*address)),
        Party::Network(address, prefix) => IpNet::new(*address, *prefix).ok(),
        Party::Nobody | Party::Many | Party::Mac(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mute(kinds: &[AlertKind], [source, destination, host]: [Option<&str>; 3]) -> Mute {
        let net = |text: Option<&str>| text.map(|text| text.parse().expect("a network"));
        Mute { id: 1, kinds: kinds.to_vec(), source: net(source), destination: net(destination), host: net(host) }
    }

    #[test]
    fn every_part_that_is_given_must_match() {
        use AlertKind::{PortScan, SynFlood};
        let any = mute(&[], [None, None, Some("192.0.2.0/24")]);
        assert!(any.covers_named(PortScan, Some("192.0.2.7"), Some("*")));
        assert!(any.covers_named(SynFlood, Some("*"), Some("192.0.2.0/25")), "a network within it");
        assert!(!any.covers_named(SynFlood, Some("*"), Some("192.0.0.0/16")), "one around it");
        assert!(!any.covers_named(SynFlood, None, Some("198.51.100.1")));
        let both = mute(&[PortScan], [Some("192.0.2.7/32"), Some("2001:db8::/32"), None]);
        assert!(both.covers_named(PortScan, Some("192.0.2.7"), Some("2001:db8::1")));
        assert!(!both.covers_named(SynFlood, Some("192.0.2.7"), Some("2001:db8::1")), "another kind");
        assert!(!both.covers_named(PortScan, Some("192.0.2.7"), Some("*")), "many are not one");
        assert!(!both.covers_named(PortScan, Some("2001:db8::1"), Some("192.0.2.7")), "the other way round");
        let kind = mute(&[PortScan], [None; 3]);
        assert!(kind.covers_named(PortScan, Some("02:00:5e:10:00:01"), None));
    }
}
