//! A finding: one detector's judgement about one window.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::{Crowd, Timestamp};

/// What kind of thing was found; the words are the API's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AlertKind {
    /// Many ports of a host, or one port of many hosts, tried.
    PortScan,
    /// Passwords guessed at an SSH server.
    SshBruteForce,
    /// Passwords guessed at another server.
    BruteForce,
    /// Connections held open with next to nothing sent.
    Slowloris,
    /// A station that claims another's IP address.
    ArpSpoof,
    /// Two stations that use one IP address.
    DuplicateAddress,
    /// A DHCP server beside the one that was there.
    RogueDhcp,
    /// A router beside the one that was there.
    RogueRouter,
    /// Advertisements of routers or neighbours in masses.
    NeighborFlood,
    /// Data carried in DNS messages.
    DnsTunnel,
    /// Data carried in ICMP echo packets.
    IcmpTunnel,
    /// Names in masses under one domain that do not exist.
    DnsFlood,
    /// Domains in masses that do not exist.
    Dga,
    /// SYNs in masses.
    SynFlood,
    /// Small requests in masses, each over a connection of its own.
    HttpFlood,
    /// UDP packets in masses.
    UdpFlood,
    /// ICMP packets in masses.
    IcmpFlood,
    /// TCP segments of no connection in masses.
    AckFlood,
    /// TCP resets of no connection in masses.
    RstFlood,
    /// SYN-ACKs in masses to someone who sent no SYN.
    SynackReflection,
    /// Fragments in masses of datagrams that never come.
    FragmentFlood,
    /// Packets of another protocol than TCP, UDP and ICMP in masses.
    ProtocolFlood,
    /// Answers of public servers in masses to someone who did not ask.
    Amplification,
    /// Many sources that are each below notice flood one network together.
    DistributedFlood,
    /// Much more traffic than usual.
    TrafficSpike,
    /// Round trips much longer than usual.
    HighLatency,
    /// Many segments sent again.
    PacketLoss,
    /// A mix of protocols unlike the usual one.
    ProtocolAnomaly,
    /// A connection that does not end.
    LongLivedConnection,
    /// A host that calls another at regular intervals.
    Beaconing,
    /// Much more sent to the outside than usual.
    DataExfiltration,
    /// A host unlike those of the site's own normal traffic.
    HostAnomaly,
}

impl AlertKind {
    /// All of them.
    pub const ALL: [Self; 32] = [
        Self::PortScan,
        Self::SshBruteForce,
        Self::BruteForce,
        Self::Slowloris,
        Self::ArpSpoof,
        Self::DuplicateAddress,
        Self::RogueDhcp,
        Self::RogueRouter,
        Self::NeighborFlood,
        Self::DnsTunnel,
        Self::IcmpTunnel,
        Self::DnsFlood,
        Self::Dga,
        Self::SynFlood,
        Self::HttpFlood,
        Self::UdpFlood,
        Self::IcmpFlood,
        Self::AckFlood,
        Self::RstFlood,
        Self::SynackReflection,
        Self::FragmentFlood,
        Self::ProtocolFlood,
        Self::Amplification,
        Self::DistributedFlood,
        Self::TrafficSpike,
        Self::HighLatency,
        Self::PacketLoss,
        Self::ProtocolAnomaly,
        Self::LongLivedConnection,
        Self::Beaconing,
        Self::DataExfiltration,
        Self::HostAnomaly,
    ];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::PortScan => "port_scan",
            Self::SshBruteForce => "ssh_brute_force",
            Self::BruteForce => "brute_force",
            Self::Slowloris => "slowloris",
            Self::ArpSpoof => "arp_spoof",
            Self::DuplicateAddress => "duplicate_address",
            Self::RogueDhcp => "rogue_dhcp",
            Self::RogueRouter => "rogue_router",
            Self::NeighborFlood => "neighbor_flood",
            Self::DnsTunnel => "dns_tunnel",
            Self::IcmpTunnel => "icmp_tunnel",
            Self::DnsFlood => "dns_flood",
            Self::Dga => "dga",
            Self::SynFlood => "syn_flood",
            Self::HttpFlood => "http_flood",
            Self::UdpFlood => "udp_flood",
            Self::IcmpFlood => "icmp_flood",
            Self::AckFlood => "ack_flood",
            Self::RstFlood => "rst_flood",
            Self::SynackReflection => "synack_reflection",
            Self::FragmentFlood => "fragment_flood",
            Self::ProtocolFlood => "protocol_flood",
            Self::Amplification => "amplification",
            Self::DistributedFlood => "distributed_flood",
            Self::TrafficSpike => "traffic_spike",
            Self::HighLatency => "high_latency",
            Self::PacketLoss => "packet_loss",
            Self::ProtocolAnomaly => "protocol_anomaly",
            Self::LongLivedConnection => "long_lived_connection",
            Self::Beaconing => "beaconing",
            Self::DataExfiltration => "data_exfiltration",
            Self::HostAnomaly => "host_anomaly",
        }
    }

    /// The kind that this word names.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// The words of all kinds, for whoever has written another one.
    pub fn words() -> String {
        Self::ALL.map(Self::word).join(", ")
    }

    /// Whether what a host does in a window shows it, so that a model can learn it there. Others show in ARP packets, over
    /// hours, or in the network as a whole.
    pub const fn shows_in_a_host(self) -> bool {
        match self {
            Self::PortScan
            | Self::SshBruteForce
            | Self::Slowloris
            | Self::DnsTunnel
            | Self::SynFlood
            | Self::UdpFlood
            | Self::IcmpFlood
            | Self::Amplification
            | Self::DataExfiltration => true,
            Self::BruteForce
            | Self::ArpSpoof
            | Self::DuplicateAddress
            | Self::RogueDhcp
            | Self::RogueRouter
            | Self::NeighborFlood
            | Self::IcmpTunnel
            | Self::DnsFlood
            | Self::Dga
            | Self::HttpFlood
            | Self::AckFlood
            | Self::RstFlood
            | Self::SynackReflection
            | Self::FragmentFlood
            | Self::ProtocolFlood
            | Self::DistributedFlood
            | Self::TrafficSpike
            | Self::HighLatency
            | Self::PacketLoss
            | Self::ProtocolAnomaly
            | Self::LongLivedConnection
            | Self::Beaconing
            | Self::HostAnomaly => false,
        }
    }

    /// Whether it shows in what its victim does, too: its sources may be made up.
    pub const fn shows_in_a_victim(self) -> bool {
        self.shows_in_a_host()
            && matches!(self, Self::SynFlood | Self::UdpFlood | Self::IcmpFlood | Self::Amplification)
    }

    /// Technique of MITRE ATT&CK (Enterprise, v17): number and name.
    pub const fn technique(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::PortScan => Some(("T1046", "Network Service Discovery")),
            Self::SshBruteForce | Self::BruteForce => Some(("T1110", "Brute Force")),
            Self::Slowloris | Self::HttpFlood => {
                Some(("T1499.002", "Endpoint Denial of Service: Service Exhaustion Flood"))
            }
            Self::ArpSpoof => Some(("T1557.002", "Adversary-in-the-Middle: ARP Cache Poisoning")),
            Self::RogueDhcp => Some(("T1557.003", "Adversary-in-the-Middle: DHCP Spoofing")),
            Self::RogueRouter => Some(("T1557", "Adversary-in-the-Middle")),
            Self::NeighborFlood => Some(("T1498.001", "Network Denial of Service: Direct Network Flood")),
            Self::DnsTunnel => Some(("T1071.004", "Application Layer Protocol: DNS")),
            Self::IcmpTunnel => Some(("T1095", "Non-Application Layer Protocol")),
            Self::Dga => Some(("T1568.002", "Dynamic Resolution: Domain Generation Algorithms")),
            Self::SynFlood => Some(("T1499.001", "Endpoint Denial of Service: OS Exhaustion Flood")),
            Self::UdpFlood
            | Self::IcmpFlood
            | Self::DnsFlood
            | Self::AckFlood
            | Self::RstFlood
            | Self::FragmentFlood
            | Self::ProtocolFlood
            | Self::DistributedFlood => Some(("T1498.001", "Network Denial of Service: Direct Network Flood")),
            Self::Amplification | Self::SynackReflection => {
                Some(("T1498.002", "Network Denial of Service: Reflection Amplification"))
            }
            Self::Beaconing => Some(("T1071", "Application Layer Protocol")),
            Self::DataExfiltration => Some(("T1048", "Exfiltration Over Alternative Protocol")),
            Self::DuplicateAddress
            | Self::TrafficSpike
            | Self::HighLatency
            | Self::PacketLoss
            | Self::ProtocolAnomaly
            | Self::LongLivedConnection
            | Self::HostAnomaly => None,
        }
    }
}

impl fmt::Display for AlertKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// One side of what was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Party {
    /// Not known, or nobody in particular.
    #[default]
    Nobody,
    /// Many, none of whom stands out.
    Many,
    /// A host.
    Host(IpAddr),
    /// A station on the link.
    Mac([u8; 6]),
    /// A network: address and prefix length.
    Network(IpAddr, u8),
}

impl Party {
    /// The address, if it is a host.
    pub const fn host(&self) -> Option<IpAddr> {
        match self {
            Self::Host(address) => Some(*address),
            _ => None,
        }
    }
}

/// The network around a host: its /24 or /64.
pub fn around(host: IpAddr) -> (IpAddr, u8) {
    match host {
        IpAddr::V4(address) => (Ipv4Addr::from(u32::from(address) & !0xff).into(), 24),
        IpAddr::V6(address) => (Ipv6Addr::from(u128::from(address) >> 64 << 64).into(), 64),
    }
}

impl fmt::Display for Party {
    /// `-` for nobody, `*` for many.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => f.write_str("-"),
            Self::Many => f.write_str("*"),
            Self::Host(address) => address.fmt(f),
            Self::Mac([a, b, c, d, e, g]) => write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}"),
            Self::Network(address, prefix) => write!(f, "{address}/{prefix}"),
        }
    }
}

impl From<IpAddr> for Party {
    fn from(address: IpAddr) -> Self {
        Self::Host(address)
    }
}

/// The number that a rule judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measure {
    /// What was measured, such as `ports_tried`.
    pub name: &'static str,
    /// Its unit, such as `1/s`.
    pub unit: &'static str,
    /// What was seen.
    pub observed: f64,
    /// What is usual, where a baseline says so.
    pub expected: Option<f64>,
    /// From where on it is a finding.
    pub threshold: f64,
}

impl Measure {
    /// How many times the threshold was seen; 1 when the threshold is 0.
    pub fn magnitude(&self) -> f64 {
        if self.threshold > 0.0 { self.observed / self.threshold } else { 1.0 }
    }
}

/// Who or what had a share in it, and how much.
#[derive(Clone, Debug, PartialEq)]
pub struct Contributor {
    /// A host, a port, a name.
    pub what: String,
    /// Its share, in the unit of the measure unless `what` says otherwise.
    pub amount: f64,
}

/// What a judgement rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// A rule: it knows who did what to whom.
    Rule,
    /// A model that learned: it knows what one host looks like.
    Model,
}

impl Basis {
    /// The word for it, as in the API.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::Model => "model",
        }
    }
}

/// One detector's judgement about one window.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Name of the detector.
    pub detector: &'static str,
    /// What its judgement rests on.
    pub basis: Basis,
    /// Kind.
    pub kind: AlertKind,
    /// Who does it.
    pub source: Party,
    /// Who suffers it.
    pub destination: Party,
    /// Port that it is about, at the destination.
    pub port: Option<u16>,
    /// First instant of the window.
    pub start: Timestamp,
    /// First instant behind it.
    pub end: Timestamp,
    /// When the first and the last packet of what was found came, in the window or before it, as far as the detector remembers; the
    /// end of the window in place of a last one that it does not know. `None` where neither is known.
    pub seen: Option<[Timestamp; 2]>,
    /// The number that decided.
    pub measure: Measure,
    /// How sure the detector is, 0 to 1.
    pub score: f64,
    /// What happened, one sentence with the numbers.
    pub summary: String,
    /// Further facts: name and value.
    pub facts: Vec<(&'static str, String)>,
    /// Largest shares first.
    pub contributors: Vec<Contributor>,
    /// Whom it is about beside its parties, where those are many; `None` where that is not known.
    pub crowd: Option<Arc<Crowd>>,
}
