//! Which alerts of several gateways are one: those of one attacker, or of one victim where the attackers may be made up.

use std::net::IpAddr;

use crate::detect::Networks;
use crate::domain::{AlertId, AlertKey, AlertKind, IdentityScope, Party, Timestamp};

/// What alerts of several gateways have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Common {
    /// Who does it.
    Source(Party),
    /// Who suffers it.
    Destination(Party),
}

/// What an alert shares with those of its kind at other gateways; `None` where it is about one gateway alone. An address of a private
/// network is another host behind each gateway, unless the network is one of `shared`.
pub fn common(key: &AlertKey, shared: &Networks) -> Option<Common> {
    let is_shared = |party: &Party| is_one_everywhere(party, shared);
    let Joins { by_source, by_destination } = joins(key.kind);
    // Many sources of a flood are made up, and others at each gateway.
    let is_crowd = !matches!(key.source, Party::Host(_));
    if by_destination && is_crowd {
        return is_shared(&key.destination).then_some(Common::Destination(key.destination));
    }
    (by_source && !is_crowd && is_shared(&key.source)).then_some(Common::Source(key.source))
}

/// The identity of the alert of several gateways whose first part begins at this time. Others of it begin more than `apart_ns` before or
/// behind.
pub fn joint_id(kind: AlertKind, common: Common, first: Timestamp, apart_ns: u64) -> AlertId {
    let [source, destination] = match common {
        Common::Source(party) => [party, Party::Nobody],
        Common::Destination(party) => [Party::Nobody, party],
    };
    let begin = Timestamp::from_nanos(first.as_nanos() / apart_ns.max(1));
    IdentityScope::of_fleet().alert_id(&AlertKey { kind, source, destination }, begin)
}

/// By which of its parties alerts of a kind are one.
struct Joins {
    by_source: bool,
    by_destination: bool,
}

fn joins(kind: AlertKind) -> Joins {
    let (by_source, by_destination) = match kind {
        AlertKind::PortScan
        | AlertKind::SshBruteForce
        | AlertKind::BruteForce
        | AlertKind::Slowloris
        | AlertKind::DnsTunnel
        | AlertKind::IcmpTunnel
        | AlertKind::Dga
        | AlertKind::LongLivedConnection
        | AlertKind::Beaconing
        | AlertKind::DataExfiltration
        | AlertKind::HostAnomaly => (true, false),
        AlertKind::DnsFlood
        | AlertKind::SynFlood
        | AlertKind::HttpFlood
        | AlertKind::UdpFlood
        | AlertKind::IcmpFlood
        | AlertKind::AckFlood
        | AlertKind::RstFlood
        | AlertKind::SynackReflection
        | AlertKind::FragmentFlood
        | AlertKind::ProtocolFlood
        | AlertKind::Amplification
        | AlertKind::DistributedFlood => (true, true),
        // Of one link, or of one gateway's traffic as a whole.
        AlertKind::ArpSpoof
        | AlertKind::DuplicateAddress
        | AlertKind::RogueDhcp
        | AlertKind::RogueRouter
        | AlertKind::NeighborFlood
        | AlertKind::TrafficSpike
        | AlertKind::HighLatency
        | AlertKind::PacketLoss
        | AlertKind::ProtocolAnomaly => (false, false),
    };
    Joins { by_source, by_destination }
}

fn is_one_everywhere(party: &Party, shared: &Networks) -> bool {
    let (Party::Host(address) | Party::Network(address, _)) = party else { return false };
    let is_nowhere = match address {
        IpAddr::V4(v4) => v4.is_multicast() || v4.is_unspecified() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_multicast() || v6.is_unspecified(),
    };
    shared.contains(address) || !is_nowhere && !Networks::default().contains(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Party {
        Party::Host(text.parse().expect("an address"))
    }

    fn of(kind: AlertKind, source: Party, destination: Party) -> Option<Common> {
        common(
            &AlertKey { kind, source, destination },
            &Networks::from(vec!["10.9.0.0/16".parse().expect("a network")]),
        )
    }

    #[test]
    fn an_attacker_joins_and_the_victim_of_many_does_and_what_is_private_does_not() {
        let (attacker, victim) = (host("198.51.100.7"), host("203.0.113.5"));
        for kind in [AlertKind::PortScan, AlertKind::SynFlood] {
            assert_eq!(of(kind, attacker, victim), Some(Common::Source(attacker)), "{kind}");
        }
        let by_victim = Some(Common::Destination(victim));
        let network = Party::Network([203, 0, 113, 0].into(), 24);
        for source in [Party::Many, Party::Nobody, network] {
            assert_eq!(of(AlertKind::SynFlood, source, victim), by_victim);
            assert_eq!(of(AlertKind::PortScan, source, victim), None, "a scan has somebody who scans");
        }
        assert_eq!(of(AlertKind::DistributedFlood, Party::Many, network), Some(Common::Destination(network)));
        assert_eq!(of(AlertKind::TrafficSpike, attacker, victim), None, "of one gateway's traffic as a whole");
        let elsewhere =
            ["192.168.1.10", "100.64.0.1", "169.254.1.1", "fe80::1", "fd00::1", "224.0.0.1", "ff02::1", "0.0.0.0"];
        for private in elsewhere.into_iter().chain(["10.8.0.1", "127.0.0.1", "255.255.255.255", "::1", "::"]) {
            assert_eq!(of(AlertKind::PortScan, host(private), victim), None, "{private}");
            assert_eq!(of(AlertKind::SynFlood, Party::Many, host(private)), None, "{private}");
        }
        assert_eq!(
            of(AlertKind::PortScan, host("10.9.1.1"), victim),
            Some(Common::Source(host("10.9.1.1"))),
            "it is shared"
        );
        assert_eq!(of(AlertKind::PortScan, host("2001:db8::1"), victim), Some(Common::Source(host("2001:db8::1"))));
        assert_eq!(of(AlertKind::PortScan, Party::Mac([2; 6]), victim), None);
    }
}
