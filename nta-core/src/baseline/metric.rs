//! What is learned of the network.

use nta_common::packet::proto;
use serde::{Deserialize, Serialize};

use crate::domain::AlertKind;
use crate::window::Snapshot;

/// Round-trip samples that a window needs to say anything about latency.
const MIN_RTT_SAMPLES: u64 = 5;
/// TCP packets that it needs to say anything about loss.
const MIN_TCP_PACKETS: u64 = 50;
/// Packets that it needs to say anything about the mix of protocols.
const MIN_MIX_PACKETS: u64 = 100;

/// A metric of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Frame bits a second.
    Bandwidth,
    /// Packets a second.
    Packets,
    /// Median round trip in milliseconds.
    Latency,
    /// Segments sent again / TCP packets.
    Loss,
    /// Share of TCP in the packets.
    ProtocolTcp,
    /// Share of UDP.
    ProtocolUdp,
    /// Share of ICMP.
    ProtocolIcmp,
    /// Share of all other IP protocols.
    ProtocolOther,
    /// TCP connections tried a second.
    Connections,
    /// Ports asked for, distinct by host, protocol and port, summed over hosts.
    Ports,
}

impl Metric {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Bandwidth,
        Self::Packets,
        Self::Latency,
        Self::Loss,
        Self::ProtocolTcp,
        Self::ProtocolUdp,
        Self::ProtocolIcmp,
        Self::ProtocolOther,
        Self::Connections,
        Self::Ports,
    ];

    /// Types of baselines in the API, each with its metrics.
    pub const TYPES: [(&'static str, &'static [Self]); 6] = [
        ("bandwidth", &[Self::Bandwidth, Self::Packets]),
        ("latency", &[Self::Latency]),
        ("loss", &[Self::Loss]),
        ("protocol", &[Self::ProtocolTcp, Self::ProtocolUdp, Self::ProtocolIcmp, Self::ProtocolOther]),
        ("connections", &[Self::Connections]),
        ("ports", &[Self::Ports]),
    ];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Bandwidth => "bandwidth",
            Self::Packets => "packets",
            Self::Latency => "latency",
            Self::Loss => "loss",
            Self::ProtocolTcp => "protocol_tcp",
            Self::ProtocolUdp => "protocol_udp",
            Self::ProtocolIcmp => "protocol_icmp",
            Self::ProtocolOther => "protocol_other",
            Self::Connections => "connections",
            Self::Ports => "ports",
        }
    }

    /// Its unit.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Bandwidth => "bit/s",
            Self::Packets | Self::Connections => "1/s",
            Self::Latency => "ms",
            Self::Loss | Self::ProtocolTcp | Self::ProtocolUdp | Self::ProtocolIcmp | Self::ProtocolOther => "1",
            Self::Ports => "ports",
        }
    }

    /// Whether an alert of this kind makes the metric unusual, so that it is not to be learned meanwhile.
    pub const fn is_disturbed_by(self, kind: AlertKind) -> bool {
        use AlertKind as Kind;
        match kind {
            Kind::TrafficSpike
            | Kind::SynFlood
            | Kind::HttpFlood
            | Kind::UdpFlood
            | Kind::IcmpFlood
            | Kind::AckFlood
            | Kind::RstFlood
            | Kind::SynackReflection
            | Kind::FragmentFlood
            | Kind::ProtocolFlood
            | Kind::Amplification
            | Kind::DistributedFlood
            | Kind::ProtocolAnomaly => !matches!(self, Self::Latency | Self::Loss),
            Kind::PortScan => matches!(self, Self::Bandwidth | Self::Packets | Self::Connections | Self::Ports),
            Kind::HighLatency => matches!(self, Self::Latency),
            Kind::PacketLoss => matches!(self, Self::Loss),
            Kind::SshBruteForce
            | Kind::BruteForce
            | Kind::Slowloris
            | Kind::ArpSpoof
            | Kind::DuplicateAddress
            | Kind::RogueDhcp
            | Kind::RogueRouter
            | Kind::NeighborFlood
            | Kind::DnsTunnel
            | Kind::IcmpTunnel
            | Kind::Dga
            | Kind::DnsFlood
            | Kind::LongLivedConnection
            | Kind::Beaconing
            | Kind::DataExfiltration
            | Kind::HostAnomaly => false,
        }
    }

    /// Its value in a window; `None` when the window says nothing about it.
    pub fn of(self, snapshot: &Snapshot) -> Option<f64> {
        let window = &snapshot.window;
        let seconds = snapshot.seconds();
        match self {
            Self::Bandwidth => Some(window.bytes as f64 * 8.0 / seconds),
            Self::Packets => Some(window.packets as f64 / seconds),
            Self::Latency => window.rtt.quantile_ms(0.5).filter(|_| window.rtt.count >= MIN_RTT_SAMPLES),
            Self::Loss => {
                (window.tcp_packets >= MIN_TCP_PACKETS).then(|| window.lost() as f64 / window.tcp_packets as f64)
            }
            Self::ProtocolTcp => share(snapshot, &[proto::TCP]),
            Self::ProtocolUdp => share(snapshot, &[proto::UDP]),
            Self::ProtocolIcmp => share(snapshot, &[proto::ICMP, proto::ICMPV6]),
            Self::ProtocolOther => share(snapshot, &[proto::TCP, proto::UDP, proto::ICMP, proto::ICMPV6])
                .map(|known| (1.0 - known).max(0.0)),
            Self::Connections => {
                let tried = window.tcp.syn.saturating_sub(window.tcp.syn_retry);
                Some(f64::from(tried) / seconds)
            }
            Self::Ports => {
                // From 0, as the sum of no numbers is -0.
                Some(snapshot.hosts.iter().fold(0.0, |sum, host| sum + host.responder.ports.count() as f64))
            }
        }
    }
}

/// Share of IP protocols in the packets of flows; `None` with too few.
fn share(snapshot: &Snapshot, numbers: &[u8]) -> Option<f64> {
    let all: u64 = snapshot.window.protocols.iter().map(|protocol| protocol.packets).sum();
    let some = snapshot.window.protocols.iter().filter(|protocol| numbers.contains(&protocol.number));
    (all >= MIN_MIX_PACKETS).then(|| some.map(|protocol| protocol.packets).sum::<u64>() as f64 / all as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::{Span, Window};

    #[test]
    fn a_window_without_hosts_has_no_metric_of_minus_zero() {
        let end = crate::domain::Timestamp::from_nanos(30_000_000_000);
        let snapshot = Snapshot::of_network(Span::Medium, Window { end, ..Window::default() });
        for metric in Metric::ALL {
            assert!(metric.of(&snapshot).is_none_or(f64::is_sign_positive), "{metric:?}: {:?}", metric.of(&snapshot));
        }
    }
}
