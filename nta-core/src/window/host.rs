//! What one host did in a window, as originator and as responder. Mergeable, so that longer windows come from shorter
//! ones and never from packets.

use std::hash::{BuildHasher as _, Hash};
use std::net::IpAddr;

use nta_common::flow::Counts;
use nta_common::packet::proto;

use super::Distinct;
use super::Rtt;
use crate::domain::{ConnState, DnsMessage, FlowObservation, TcpCounts, Timestamp};

/// Keys the hashes under which distinct values are counted.
pub type Seed = foldhash::quality::SeedableRandomState;

/// Response code of a name that does not exist (RFC 1035).
const NXDOMAIN: u8 = 3;

/// Packets by IP protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByProtocol {
    /// TCP.
    pub tcp: u64,
    /// UDP.
    pub udp: u64,
    /// ICMP and ICMPv6.
    pub icmp: u64,
    /// All else.
    pub other: u64,
}

/// What a host did in one role.
#[derive(Clone, Debug, Default)]
pub struct HostRole {
    /// Flows with a packet in the window.
    pub flows: u32,
    /// Flows that began in the window.
    pub new_flows: u32,
    /// TCP connections tried: new flows with a SYN.
    pub attempts: u32,
    /// Attempts that nobody has answered by the window's end.
    pub unanswered: u32,
    /// Attempts that were refused (`REJ`).
    pub refused: u32,
    /// Flows that ended in the window.
    pub ended: u32,
    /// How long these had lasted, together, in nanoseconds.
    pub ended_ns: u64,
    /// New flows other than TCP to which nobody has answered by the window's end.
    pub unanswered_other: u32,
    /// Hosts at the other end.
    pub peers: Distinct,
    /// Ports of the responders (as responder: own ports).
    pub ports: Distinct,
    /// Responder and its port, together.
    pub services: Distinct,
}

/// DNS of a host as client, from its messages.
#[derive(Clone, Debug, Default)]
pub struct DnsUse {
    /// Queries.
    pub queries: u32,
    /// Responses.
    pub responses: u32,
    /// Responses with the code NXDOMAIN.
    pub nxdomain: u32,
    /// Bytes of the names asked for, together.
    pub name_bytes: u64,
    /// Queries for TXT, NULL, CNAME, MX and other types that carry free data.
    pub carriers: u32,
    /// Bytes of the responses' messages.
    pub response_bytes: u64,
    /// Names asked for.
    pub names: Distinct,
}

/// One host in a window.
#[derive(Clone, Debug)]
pub struct HostStats {
    /// Its address.
    pub address: IpAddr,
    /// Sent by it.
    pub sent: Counts,
    /// Received by it.
    pub received: Counts,
    /// First packet of its flows, which may be before the window.
    pub first: Timestamp,
    /// Last packet of its flows in the window.
    pub last: Timestamp,
    /// Packets sent, by protocol.
    pub sent_by: ByProtocol,
    /// Packets received, by protocol.
    pub received_by: ByProtocol,
    /// TCP events in what it sent.
    pub tcp_sent: TcpCounts,
    /// TCP events in what it received.
    pub tcp_received: TcpCounts,
    /// SYNs for it that found the flow table full.
    pub overflow_syn: u64,
    /// As who began.
    pub originator: HostRole,
    /// As who was asked.
    pub responder: HostRole,
    /// Round trips of its connections.
    pub rtt: Rtt,
    /// DNS as client; `None` without any.
    pub dns: Option<Box<DnsUse>>,
}

impl ByProtocol {
    fn add(&mut self, protocol: u8, packets: u64) {
        *match protocol {
            proto::TCP => &mut self.tcp,
            proto::UDP => &mut self.udp,
            proto::ICMP | proto::ICMPV6 => &mut self.icmp,
            _ => &mut self.other,
        } += packets;
    }

    fn merge(&mut self, other: Self) {
        self.tcp += other.tcp;
        self.udp += other.udp;
        self.icmp += other.icmp;
        self.other += other.other;
    }

    /// All of them.
    pub const fn total(self) -> u64 {
        self.tcp + self.udp + self.icmp + self.other
    }
}

impl HostRole {
    fn add(&mut self, seen: &FlowObservation, peer: IpAddr, seed: &Seed) {
        let flow = &seen.flow;
        self.flows += 1;
        self.new_flows += u32::from(seen.is_new);
        let silent = flow.responder.sent.packets == 0;
        if seen.is_attempt() {
            self.attempts += 1;
            self.unanswered += u32::from(silent);
            self.refused += u32::from(flow.conn_state == ConnState::Rej);
        } else if seen.is_new && silent && flow.proto != proto::TCP {
            self.unanswered_other += 1;
        }
        if flow.ended.is_some() {
            self.ended += 1;
            self.ended_ns = self.ended_ns.saturating_add(flow.last.since(flow.first));
        }
        self.peers.insert(hash(seed, &peer));
        if matches!(flow.proto, proto::TCP | proto::UDP | proto::SCTP) {
            self.ports.insert(hash(seed, &(flow.proto, flow.responder.port)));
            self.services.insert(hash(seed, &(flow.proto, flow.responder.address, flow.responder.port)));
        }
    }

    fn merge(&mut self, other: &Self) {
        self.flows += other.flows;
        self.new_flows += other.new_flows;
        self.attempts += other.attempts;
        self.unanswered += other.unanswered;
        self.refused += other.refused;
        self.ended += other.ended;
        self.ended_ns = self.ended_ns.saturating_add(other.ended_ns);
        self.unanswered_other += other.unanswered_other;
        self.peers.merge(&other.peers);
        self.ports.merge(&other.ports);
        self.services.merge(&other.services);
    }

    fn heap_bytes(&self) -> usize {
        self.peers.heap_bytes() + self.ports.heap_bytes() + self.services.heap_bytes()
    }
}

/// Types of records whose answers or names carry free data, as tunnels use them: NULL, CNAME, MX, TXT, SRV, KEY, and
/// those for private use (RFC 6895).
const fn is_carrier(qtype: u16) -> bool {
    matches!(qtype, 5 | 10 | 15 | 16 | 25 | 33 | 65280..)
}

impl DnsUse {
    /// Takes a message; `name` is the hash of the name asked for.
    pub(super) fn add(&mut self, message: &DnsMessage, name: Option<u32>) {
        if message.is_malformed {
            return;
        }
        if message.is_response {
            self.responses += 1;
            self.nxdomain += u32::from(message.rcode == NXDOMAIN);
            self.response_bytes += u64::from(message.message_bytes);
            return;
        }
        self.queries += 1;
        if let (Some(question), Some(name)) = (message.questions.first(), name) {
            self.name_bytes += question.name.len() as u64;
            self.carriers += u32::from(is_carrier(question.qtype));
            self.names.insert(name);
        }
    }

    fn merge(&mut self, other: &Self) {
        self.queries += other.queries;
        self.responses += other.responses;
        self.nxdomain += other.nxdomain;
        self.name_bytes += other.name_bytes;
        self.carriers += other.carriers;
        self.response_bytes += other.response_bytes;
        self.names.merge(&other.names);
    }
}

impl HostStats {
    /// A host that did nothing yet.
    pub fn new(address: IpAddr) -> Self {
        Self {
            address,
            sent: Counts::default(),
            received: Counts::default(),
            first: Timestamp::from_nanos(u64::MAX),
            last: Timestamp::default(),
            sent_by: ByProtocol::default(),
            received_by: ByProtocol::default(),
            tcp_sent: TcpCounts::default(),
            tcp_received: TcpCounts::default(),
            overflow_syn: 0,
            originator: HostRole::default(),
            responder: HostRole::default(),
            rtt: Rtt::default(),
            dns: None,
        }
    }

    /// Takes a flow that this host began (`side` 0) or was asked in (1).
    pub(super) fn add(&mut self, seen: &FlowObservation, side: usize, seed: &Seed) {
        let (own, other) = (side, 1 - side);
        let protocol = seen.flow.proto;
        self.sent += seen.sent[own];
        self.received += seen.sent[other];
        self.first = self.first.min(seen.flow.first);
        self.last = self.last.max(seen.flow.last);
        self.sent_by.add(protocol, seen.sent[own].packets);
        self.received_by.add(protocol, seen.sent[other].packets);
        self.tcp_sent += seen.tcp[own];
        self.tcp_received += seen.tcp[other];
        for samples in seen.rtt.sides().iter().flatten() {
            self.rtt.add(samples);
        }
        let (role, peer) = if side == 0 {
            (&mut self.originator, seen.flow.responder.address)
        } else {
            (&mut self.responder, seen.flow.originator.address)
        };
        role.add(seen, peer, seed);
    }

    /// Takes packets to this host that found the flow table full.
    pub(super) fn add_overflow(&mut self, protocol: u8, syn: bool, counts: &Counts) {
        self.received += *counts;
        self.received_by.add(protocol, counts.packets);
        if syn {
            self.overflow_syn += counts.packets;
        }
    }

    /// Adds what the host did in another window.
    pub fn merge(&mut self, other: &Self) {
        self.sent += other.sent;
        self.received += other.received;
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.sent_by.merge(other.sent_by);
        self.received_by.merge(other.received_by);
        self.tcp_sent += other.tcp_sent;
        self.tcp_received += other.tcp_received;
        self.overflow_syn += other.overflow_syn;
        self.originator.merge(&other.originator);
        self.responder.merge(&other.responder);
        self.rtt.merge(&other.rtt);
        if let Some(dns) = &other.dns {
            self.dns.get_or_insert_default().merge(dns);
        }
    }

    /// Packets sent and received.
    pub const fn packets(&self) -> u64 {
        self.sent.packets + self.received.packets
    }

    /// Frame bytes sent and received.
    pub const fn bytes(&self) -> u64 {
        self.sent.bytes + self.received.bytes
    }

    /// Flows it took part in.
    pub const fn flows(&self) -> u32 {
        self.originator.flows + self.responder.flows
    }

    /// SYNs without ACK that were sent to it.
    pub fn syn_received(&self) -> u64 {
        u64::from(self.tcp_received.syn) + self.overflow_syn
    }

    /// Memory it takes, in bytes.
    pub fn memory_bytes(&self) -> usize {
        let dns = self.dns.as_ref().map_or(0, |dns| size_of::<DnsUse>() + dns.names.heap_bytes());
        size_of::<Self>() + self.originator.heap_bytes() + self.responder.heap_bytes() + dns
    }
}

/// The hash under which a value is counted.
pub(super) fn hash(seed: &Seed, value: &impl Hash) -> u32 {
    let hash = seed.hash_one(value);
    (hash ^ (hash >> 32)) as u32
}
