//! One window: sums while it is open, a snapshot when it closes.

use std::collections::HashMap;
use std::net::IpAddr;

use foldhash::fast::RandomState;
use nta_common::{Counter, LedgerSlot};

use super::host::{HostStats, Seed};
use super::pool::Pools;
use super::{Both, Closed, Flows, Hosts, Measured, Rtt};
use crate::domain::{
    EventCounts, FlowObservation, HostMeasures, OverflowDelta, PacketEvent, TcpCounts, Timestamp, Visibility,
};

/// Hosts that a window names; the rest is summed up as "others".
pub(super) const TOP_TALKERS: usize = 10;
const SECOND_NS: u64 = 1_000_000_000;
/// Destinations of overflow that a window names.
const TOP_OVERFLOWS: usize = 100;

/// DNS messages and ARP packets that a window hands to detectors; the others are only counted.
const MAX_EVENTS: usize = 100_000;

/// A closed window. Times are exact; counts are exact.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Window {
    /// Number of the window since the start of the run, from 1.
    pub id: u64,
    /// First instant.
    pub start: Timestamp,
    /// First instant behind it.
    pub end: Timestamp,
    /// Every packet seen, IP or not.
    pub packets: u64,
    /// Frame bytes of those.
    pub bytes: u64,
    /// Bytes of IP packets by their headers.
    pub ip_bytes: u64,
    /// Flows with at least one packet. In windows made of shorter ones estimated beyond 190, to 2.3 %.
    pub flows: u64,
    /// Flows whose first packet fell into the window.
    pub new_flows: u64,
    /// TCP events of all flows.
    pub tcp: TcpCounts,
    /// TCP packets.
    pub tcp_packets: u64,
    /// What the clients of its TCP connections sent, and what the servers did.
    pub tcp_sent: [TcpSent; 2],
    /// Conversations, by the sides that were seen of them.
    pub visibility: Visibility,
    /// All round trips, to both sides.
    pub rtt: Rtt,
    /// Those to the clients, and those to the servers.
    pub rtt_sides: [Rtt; 2],
    /// Share of each IP protocol, largest first.
    pub protocols: Vec<Protocol>,
    /// Hosts with the most bytes sent and received, largest first.
    pub top_talkers: Vec<Talker>,
    /// All other hosts together; `None` when there are none.
    pub others: Option<Talker>,
    /// Destinations of packets that found the flow table full, most packets first.
    pub overflow: Vec<Overflow>,
    /// All other such destinations together; `None` when there are none.
    pub overflow_others: Option<Overflow>,
    /// Events by what they say.
    pub events: EventCounts,
    /// Packets that came with a time before the window's start.
    pub late_packets: u64,
    /// What the ledger counted in the window.
    pub ledger: LedgerSlot,
    /// How long it really was, and what about it is not as it should be.
    pub measured: Measured,
    /// How near hosts came to what detectors look for; filled in once it is judged.
    pub near: HostMeasures,
}

/// What one side of a window's TCP connections sent, by the flows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpSent {
    /// TCP packets.
    pub packets: u64,
    /// Segments sent again because they, or their acknowledgment, were lost: not the retries of a SYN that nobody answers.
    pub lost: u64,
}

/// What one IP protocol did in a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Protocol {
    /// IP protocol number.
    pub number: u8,
    /// Packets.
    pub packets: u64,
    /// Frame bytes.
    pub bytes: u64,
    /// Flows.
    pub flows: u64,
}

/// What one host did in a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Talker {
    /// Its address; `None` for the sum of the others.
    pub address: Option<IpAddr>,
    /// Packets sent.
    pub packets_sent: u64,
    /// Packets received.
    pub packets_received: u64,
    /// Frame bytes sent.
    pub bytes_sent: u64,
    /// Frame bytes received.
    pub bytes_received: u64,
    /// Flows it took part in.
    pub flows: u64,
}

/// Packets to one destination that found the flow table full. Their sources are not known, everything else is exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overflow {
    /// Where to; `None` for the sum of the others.
    pub destination: Option<IpAddr>,
    /// Destination port.
    pub port: u16,
    /// IP protocol number.
    pub proto: u8,
    /// Whether these are SYNs without ACK.
    pub syn: bool,
    /// Packets.
    pub packets: u64,
    /// Frame bytes.
    pub bytes: u64,
}

impl Talker {
    /// What a host sent and received.
    pub(super) fn of(host: &HostStats) -> Self {
        Self {
            address: Some(host.address),
            packets_sent: host.sent.packets,
            packets_received: host.received.packets,
            bytes_sent: host.sent.bytes,
            bytes_received: host.received.bytes,
            flows: u64::from(host.flows()),
        }
    }

    /// Where it comes among others: by bytes, most first, and address.
    pub(super) const fn rank(&self) -> (std::cmp::Reverse<u64>, Option<IpAddr>) {
        (std::cmp::Reverse(self.bytes()), self.address)
    }

    /// Frame bytes sent and received.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes_sent + self.bytes_received
    }

    /// Adds a host to a sum.
    pub(super) fn take(&mut self, host: &HostStats) {
        self.merge(&Self::of(host));
    }

    /// Takes a host out of a sum.
    pub(super) const fn leave(&mut self, other: &Self) {
        self.packets_sent -= other.packets_sent;
        self.packets_received -= other.packets_received;
        self.bytes_sent -= other.bytes_sent;
        self.bytes_received -= other.bytes_received;
        self.flows -= other.flows;
    }

    /// Adds another sum.
    pub(super) const fn merge(&mut self, other: &Self) {
        self.packets_sent += other.packets_sent;
        self.packets_received += other.packets_received;
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
        self.flows += other.flows;
    }
}

/// A window that is still open.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    pub(super) late_packets: u64,
    window: Window,
    flows: Flows,
    events: Vec<PacketEvent>,
    overflow: Vec<OverflowDelta>,
    seed: Seed,
    pools: Pools,
    protocols: HashMap<u8, Protocol, RandomState>,
}

impl Bucket {
    pub(super) fn new(id: u64, [start, end]: [Timestamp; 2], seed: Seed, pools: Pools, flows: usize) -> Self {
        Self {
            start,
            end,
            late_packets: 0,
            window: Window { id, start, end, ..Window::default() },
            flows: Flows::with_room_for(flows, &pools.flows),
            events: Vec::new(),
            overflow: Vec::new(),
            seed,
            pools,
            protocols: HashMap::default(),
        }
    }

    pub(super) fn flow_count(&self) -> usize {
        self.flows.len()
    }

    pub(super) fn add(&mut self, seen: FlowObservation) {
        let window = &mut self.window;
        window.flows += 1;
        window.new_flows += u64::from(seen.is_new);
        window.ip_bytes += seen.sent[0].ip_bytes + seen.sent[1].ip_bytes;
        for counts in &seen.tcp {
            window.tcp += *counts;
        }
        window.visibility.add(&seen);
        let number = seen.flow.proto;
        if number == nta_common::packet::proto::TCP {
            window.tcp_packets += seen.packets();
            let lost = seen.lost();
            for (side, sent) in window.tcp_sent.iter_mut().enumerate() {
                sent.packets += seen.sent[side].packets;
                sent.lost += u64::from(lost[side]);
            }
        }
        if let Some([to_server, to_client]) = seen.rtt.sides() {
            for (side, samples) in window.rtt_sides.iter_mut().zip([to_client, to_server]) {
                let samples = Rtt::of(&samples);
                window.rtt.merge(&samples);
                side.merge(&samples);
            }
        }
        let protocol = self.protocols.entry(number).or_insert(Protocol { number, ..Protocol::default() });
        protocol.packets += seen.packets();
        protocol.bytes += seen.bytes();
        protocol.flows += 1;
        self.flows.push(&self.seed, seen);
    }

    /// Bounded by the aggregate itself ([`nta_common::limits::MAX_OVERFLOWS`] a drain).
    pub(super) fn add_overflow(&mut self, delta: &OverflowDelta) {
        let OverflowDelta { destination, port, proto, syn, counts } = *delta;
        self.window.ip_bytes += counts.ip_bytes;
        let (packets, bytes) = (counts.packets, counts.bytes);
        self.window.overflow.push(Overflow { destination: Some(destination), port, proto, syn, packets, bytes });
        let protocol = self.protocols.entry(proto).or_insert(Protocol { number: proto, ..Protocol::default() });
        protocol.packets += packets;
        protocol.bytes += bytes;
        if proto == nta_common::packet::proto::TCP {
            self.window.tcp_packets += packets;
        }
        if syn {
            self.window.tcp.syn = self.window.tcp.syn.saturating_add(u32::try_from(packets).unwrap_or(u32::MAX));
        }
        self.overflow.push(*delta);
    }

    /// Bounded by the rate limits of events, and by [`MAX_EVENTS`].
    pub(super) fn add_event(&mut self, event: &PacketEvent) {
        self.window.events.count(event);
        if matches!(event, PacketEvent::Dns(_) | PacketEvent::Arp(_) | PacketEvent::Nd(_))
            && self.events.len() < MAX_EVENTS
        {
            self.events.push(event.clone());
        }
    }

    pub(super) fn close(self, ledger: LedgerSlot, measured: Measured) -> Closed {
        let mut window = Window { start: self.start, end: self.end, measured, ..self.window };
        window.packets = ledger.get(Counter::Seen);
        window.bytes = ledger.seen_bytes;
        window.ledger = ledger;
        window.late_packets = self.late_packets;
        window.protocols = self.protocols.into_values().collect();
        let Self { flows, events, overflow, seed, pools, .. } = self;
        Closed { window, flows, events, overflow, seed, hosts: pools.hosts }
    }
}

impl Window {
    /// Its measured length in nanoseconds.
    pub const fn length_ns(&self) -> u64 {
        if self.measured.length_ns > 0 { self.measured.length_ns } else { self.end.since(self.start) }
    }

    /// The length by which it is judged, in nanoseconds: of a capture, what comes before its first frame and behind its last one is
    /// silence, as the windows there would not be compared else.
    pub const fn judged_ns(&self) -> u64 {
        self.length_ns().saturating_add(self.measured.outside_ns)
    }

    /// A count by the second: by the measured length, or by a second where that is shorter, as a moment has no rate.
    pub fn per_second(&self, count: u64) -> f64 {
        count as f64 * 1e9 / self.length_ns().max(SECOND_NS) as f64
    }

    /// How long windows of its kind are, in nanoseconds: by this they are found.
    pub const fn span_ns(&self) -> u64 {
        if self.measured.span_ns > 0 { self.measured.span_ns } else { self.end.since(self.start) }
    }

    /// What the wall clock said at its end, had it not been set within it: what hours of the week go by.
    pub const fn wall_end(&self) -> Timestamp {
        self.end.offset(self.measured.wall_ahead_ns)
    }

    /// Whether it is about as long as windows of its kind are, half to double: only then is what it counts held against what
    /// is usual, and learned.
    pub const fn is_comparable(&self) -> bool {
        let (length_ns, span_ns) = (self.judged_ns(), self.measured.span_ns);
        span_ns == 0 || (length_ns >= span_ns / 2 && length_ns <= span_ns.saturating_mul(2))
    }

    /// Segments sent again because something was lost.
    pub const fn lost(&self) -> u64 {
        self.tcp_sent[0].lost + self.tcp_sent[1].lost
    }

    /// Brings lists into order and cuts them, and computes what follows from the sums.
    pub(super) fn settle(&mut self, hosts: &Hosts, both: &impl Both) {
        (self.top_talkers, self.others) = hosts.top(TOP_TALKERS, both);
        self.settle_sums();
    }

    /// The same for all that does not need the hosts.
    pub(super) fn settle_sums(&mut self) {
        self.protocols.sort_unstable_by_key(|p| (std::cmp::Reverse(p.bytes), p.number));
        self.overflow.sort_unstable_by_key(|o| (std::cmp::Reverse(o.packets), o.destination, o.port, o.proto, o.syn));
        let mut rest = self.overflow_others.unwrap_or_default();
        for other in self.overflow.drain(TOP_OVERFLOWS.min(self.overflow.len())..) {
            rest.packets += other.packets;
            rest.bytes += other.bytes;
        }
        self.overflow_others = (rest.packets > 0).then_some(rest);
    }

    /// Adds the sums of another window; [`Window::settle`] follows.
    pub(super) fn merge(&mut self, other: &Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.ip_bytes += other.ip_bytes;
        self.new_flows += other.new_flows;
        self.tcp += other.tcp;
        self.tcp_packets += other.tcp_packets;
        self.visibility.merge(&other.visibility);
        self.rtt.merge(&other.rtt);
        for side in 0..2 {
            self.rtt_sides[side].merge(&other.rtt_sides[side]);
            self.tcp_sent[side].packets += other.tcp_sent[side].packets;
            self.tcp_sent[side].lost += other.tcp_sent[side].lost;
        }
        for protocol in &other.protocols {
            match self.protocols.iter_mut().find(|own| own.number == protocol.number) {
                Some(own) => {
                    own.packets += protocol.packets;
                    own.bytes += protocol.bytes;
                    own.flows += protocol.flows;
                }
                None => self.protocols.push(*protocol),
            }
        }
        for overflow in &other.overflow {
            let same = |o: &&mut Overflow| {
                (o.destination, o.port, o.proto, o.syn)
                    == (overflow.destination, overflow.port, overflow.proto, overflow.syn)
            };
            match self.overflow.iter_mut().find(same) {
                Some(own) => {
                    own.packets += overflow.packets;
                    own.bytes += overflow.bytes;
                }
                None => self.overflow.push(*overflow),
            }
        }
        if let Some(others) = &other.overflow_others {
            let rest = self.overflow_others.get_or_insert_default();
            rest.packets += others.packets;
            rest.bytes += others.bytes;
        }
        self.late_packets += other.late_packets;
        self.measured.merge(&other.measured);
        self.events += other.events;
        self.ledger.merge(&other.ledger);
    }
}
