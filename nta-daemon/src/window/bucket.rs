//! One window: sums while it is open, a snapshot when it closes.

use std::collections::HashMap;
use std::net::IpAddr;

use foldhash::fast::RandomState;
use nta_common::tcp::RTT_BUCKETS;
use nta_common::{Counter, LedgerSlot};

use super::rtt::quantile_ms;
use crate::domain::{Event, EventCounts, FlowUpdate, OverflowDelta, TcpCounts, Timestamp};

/// Hosts that a window tells by name; the rest is summed up as "others".
const TOP_TALKERS: usize = 10;
/// Destinations of overflow that a window tells by name.
const TOP_OVERFLOWS: usize = 100;
/// Hosts that an open window keeps apart. Beyond it new hosts are summed up as "others" at once.
const MAX_HOSTS: usize = 65_536;

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
    /// Flows with at least one packet.
    pub flows: u64,
    /// Flows whose first packet fell into the window.
    pub new_flows: u64,
    /// TCP events of all flows.
    pub tcp: TcpCounts,
    /// TCP packets.
    pub tcp_packets: u64,
    /// Round-trip samples.
    pub rtt_samples: u64,
    /// Mean round trip in milliseconds.
    pub rtt_mean_ms: Option<f64>,
    /// Quantiles of the round trip in milliseconds: 50 %, 95 %, 99 %.
    pub rtt_quantiles_ms: [Option<f64>; 3],
    /// Largest mean round trip of a flow in milliseconds.
    pub rtt_max_ms: Option<f64>,
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

/// A window that is still open.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    pub(super) late_packets: u64,
    window: Window,
    hosts: HashMap<IpAddr, Talker, RandomState>,
    others: Talker,
    overflow: Vec<Overflow>,
    protocols: HashMap<u8, Protocol, RandomState>,
    rtt_sum_us: u64,
    rtt_histogram: [u64; RTT_BUCKETS],
}

impl Bucket {
    pub(super) fn new(id: u64, start: Timestamp, end: Timestamp) -> Self {
        Self {
            start,
            end,
            late_packets: 0,
            window: Window { id, start, end, ..Window::default() },
            hosts: HashMap::default(),
            others: Talker::default(),
            overflow: Vec::new(),
            protocols: HashMap::default(),
            rtt_sum_us: 0,
            rtt_histogram: [0; RTT_BUCKETS],
        }
    }

    pub(super) fn add(&mut self, update: &FlowUpdate<'_>) {
        let Some(delta) = update.delta else { return };
        let window = &mut self.window;
        window.flows += 1;
        window.new_flows += u64::from(delta.is_new);
        window.ip_bytes += delta.counts[0].ip_bytes + delta.counts[1].ip_bytes;
        for counts in &delta.tcp {
            window.tcp += *counts;
        }
        let number = update.key.proto();
        if number == nta_common::packet::proto::TCP {
            window.tcp_packets += delta.packets();
        }
        if delta.rtt.count > 0 {
            window.rtt_samples += u64::from(delta.rtt.count);
            self.rtt_sum_us += u64::from(delta.rtt.sum_us);
            let mean_ms = f64::from(delta.rtt.sum_us) / f64::from(delta.rtt.count) / 1000.0;
            window.rtt_max_ms = Some(window.rtt_max_ms.map_or(mean_ms, |max| max.max(mean_ms)));
            for (sum, count) in self.rtt_histogram.iter_mut().zip(delta.rtt.histogram) {
                *sum += u64::from(count);
            }
        }
        let protocol = self.protocols.entry(number).or_insert(Protocol { number, ..Protocol::default() });
        protocol.packets += delta.packets();
        protocol.bytes += delta.bytes();
        protocol.flows += 1;
        let [a, b] = update.key.endpoints();
        let [sent, back] = delta.counts;
        for (address, out, back) in [(a.0, sent, back), (b.0, back, sent)] {
            let talker = if self.hosts.len() < MAX_HOSTS || self.hosts.contains_key(&address) {
                self.hosts.entry(address).or_insert(Talker { address: Some(address), ..Talker::default() })
            } else {
                &mut self.others
            };
            talker.packets_sent += out.packets;
            talker.packets_received += back.packets;
            talker.bytes_sent += out.bytes;
            talker.bytes_received += back.bytes;
            talker.flows += 1;
        }
    }

    /// Bounded by the aggregate itself ([`nta_common::limits::MAX_OVERFLOWS`] a drain).
    pub(super) fn add_overflow(&mut self, delta: &OverflowDelta) {
        let OverflowDelta { destination, port, proto, syn, counts } = *delta;
        self.window.ip_bytes += counts.ip_bytes;
        let (packets, bytes) = (counts.packets, counts.bytes);
        self.overflow.push(Overflow { destination: Some(destination), port, proto, syn, packets, bytes });
        let protocol = self.protocols.entry(proto).or_insert(Protocol { number: proto, ..Protocol::default() });
        protocol.packets += packets;
        protocol.bytes += bytes;
        if proto == nta_common::packet::proto::TCP {
            self.window.tcp_packets += packets;
        }
        if syn {
            self.window.tcp.syn = self.window.tcp.syn.saturating_add(u32::try_from(packets).unwrap_or(u32::MAX));
        }
        let talker = if self.hosts.len() < MAX_HOSTS || self.hosts.contains_key(&destination) {
            self.hosts.entry(destination).or_insert(Talker { address: Some(destination), ..Talker::default() })
        } else {
            &mut self.others
        };
        talker.packets_received += packets;
        talker.bytes_received += bytes;
    }

    pub(super) fn add_event(&mut self, event: &Event) {
        self.window.events.count(event);
    }

    pub(super) fn close(self, ledger: LedgerSlot) -> Window {
        let mut window = self.window;
        window.packets = ledger.get(Counter::Seen);
        window.bytes = ledger.seen_bytes;
        window.ledger = ledger;
        window.late_packets = self.late_packets;
        if window.rtt_samples > 0 {
            window.rtt_mean_ms = Some(self.rtt_sum_us as f64 / window.rtt_samples as f64 / 1000.0);
            window.rtt_quantiles_ms = [0.5, 0.95, 0.99].map(|q| quantile_ms(&self.rtt_histogram, q));
        }
        window.protocols = self.protocols.into_values().collect();
        window.protocols.sort_unstable_by_key(|p| (std::cmp::Reverse(p.bytes), p.number));
        let mut hosts: Vec<Talker> = self.hosts.into_values().collect();
        hosts.sort_unstable_by_key(|t| (std::cmp::Reverse(t.bytes_sent + t.bytes_received), t.address));
        let mut others = self.others;
        for host in hosts.drain(TOP_TALKERS.min(hosts.len())..) {
            others.packets_sent += host.packets_sent;
            others.packets_received += host.packets_received;
            others.bytes_sent += host.bytes_sent;
            others.bytes_received += host.bytes_received;
            others.flows += host.flows;
        }
        window.top_talkers = hosts;
        window.others = (others.packets_sent + others.packets_received > 0).then_some(others);
        let mut overflow = self.overflow;
        overflow.sort_unstable_by_key(|o| (std::cmp::Reverse(o.packets), o.destination, o.port, o.proto, o.syn));
        let mut rest = Overflow::default();
        for other in overflow.drain(TOP_OVERFLOWS.min(overflow.len())..) {
            rest.packets += other.packets;
            rest.bytes += other.bytes;
        }
        window.overflow = overflow;
        window.overflow_others = (rest.packets > 0).then_some(rest);
        window
    }
}
