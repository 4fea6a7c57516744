//! What a report sums up while a capture is read: flows as they end, windows as they close.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;
use nta_common::packet::proto;
use nta_common::tcp::letter;

use super::dns::Names;
use super::ranking::{Amount, Pairs};
use super::tunnels::Tunnels;
use nta_core::domain::{ConnState, FlowRecord, FlowUpdate, PacketEvent, TcpCounts, server_port};
use nta_core::window::{Rtt, Window};

/// Flows that are named, those with the most bytes.
const TOP_FLOWS: usize = 10;

/// Packets, bytes and flows of some kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Volume {
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) flows: u64,
}

/// The sums.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// By IP version (whether it is 6) and protocol.
    pub(super) protocols: BTreeMap<(bool, u8), Volume>,
    /// By protocol and the server's port, as one number.
    services: HashMap<u32, Volume, RandomState>,
    /// By protocol, type and code.
    pub(super) icmp: HashMap<(u8, u16, u16), Volume, RandomState>,
    pub(super) dns: Names,
    pub(super) pairs: Pairs,
    pub(super) tunnels: Tunnels,
    /// TCP connections by how far they came.
    states: Vec<(ConnState, u64)>,
    /// TCP connections without a SYN or SYN-ACK.
    pub(super) begun_before: u64,
    /// TCP connections that went on behind an answer that was not seen.
    pub(super) answers_unseen: u64,
    /// The flows with the most bytes of their own, by [`rank`].
    pub(super) flows: Vec<(Rank, FlowRecord)>,
    pub(super) tcp: Tcp,
    pub(super) tcp_packets: u64,
    /// Round trips to the clients, to the servers, and all.
    pub(super) rtt: [Rtt; 3],
    pub(super) windows: u64,
}

/// TCP events; as [`TcpCounts`], but for a capture of any length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tcp {
    pub(super) syn: u64,
    pub(super) syn_retries: u64,
    pub(super) resets: u64,
    pub(super) retransmissions: u64,
    pub(super) out_of_order: u64,
    pub(super) duplicate_acks: u64,
    pub(super) zero_windows: u64,
    pub(super) lost: u64,
}

impl Tally {
    /// A flow that is over.
    pub(crate) fn flow(&mut self, update: &FlowUpdate<'_>) {
        let (flow, proto) = (update.flow, update.key.proto());
        if flow.is_nested() {
            self.tunnels.flow(&FlowRecord::of(update));
        }
        let (orig, conn_state) = update.outcome();
        let ends = flow.endpoints(update.key);
        let own = flow.own().unwrap_or(flow.totals);
        let ([(orig_address, orig_port), (resp_address, resp_port)], sent) =
            ([ends[orig], ends[1 - orig]], [own[orig], own[1 - orig]]);
        if sent.iter().all(|counts| counts.packets == 0) {
            return;
        }
        let amount = Amount {
            packets: sent.map(|counts| counts.packets),
            bytes: sent.map(|counts| counts.bytes),
            flows: 1,
            first: flow.first.as_nanos(),
            last: flow.seen.as_nanos(),
        };
        let [packets, bytes] = [amount.packets, amount.bytes].map(|[a, b]| a + b);
        let volume = Volume { packets, bytes, flows: 1 };
        self.protocols.entry((orig_address.is_ipv6(), proto)).or_default().add(&volume);
        match proto {
            proto::ICMP | proto::ICMPV6 => self.icmp.entry((proto, orig_port, resp_port)).or_default().add(&volume),
            proto::TCP | proto::UDP | proto::SCTP | proto::UDP_LITE => {
                let service = u32::from(proto) << 16 | u32::from(server_port(proto, [orig_port, resp_port]));
                self.services.entry(service).or_default().add(&volume);
            }
            _ => {}
        }
        if proto == proto::TCP {
            self.count_state(conn_state);
            let begins = |(code, _)| matches!(code, letter::SYN | letter::HANDSHAKE | letter::MULTI_FLAG);
            // Who goes on behind a SYN was answered.
            let goes_on = sent[0].packets > u64::from(flow.tcp_totals()[orig].syn);
            self.answers_unseen += u64::from(conn_state == ConnState::S0 && goes_on);
            self.begun_before += u64::from(!update.reading.tcp.letters().any(begins));
        }
        self.pairs.add([orig_address, resp_address], &amount);
        // Most flows are too small to be named.
        let rank = rank(bytes, update);
        let is_small = self.flows.len() == TOP_FLOWS && self.flows.last().is_some_and(|(least, _)| *least <= rank);
        if !is_small {
            let at = self.flows.partition_point(|(top, _)| *top <= rank);
            self.flows.truncate(TOP_FLOWS - 1);
            self.flows.insert(at, (rank, FlowRecord::of(update)));
        }
    }

    /// By protocol and port.
    pub(super) fn services(&self) -> impl Iterator<Item = ((u8, u16), &Volume)> {
        self.services.iter().map(|(service, volume)| (((service >> 16) as u8, *service as u16), volume))
    }

    /// TCP connections by Zeek's word for how far they came.
    pub(super) fn states(&self) -> BTreeMap<&'static str, u64> {
        self.states.iter().map(|(state, many)| (state.as_str(), *many)).collect()
    }

    fn count_state(&mut self, state: ConnState) {
        match self.states.iter_mut().find(|(known, _)| *known == state) {
            Some((_, many)) => *many += 1,
            None => self.states.push((state, 1)),
        }
    }

    /// What a single packet says.
    pub(crate) fn event(&mut self, event: &PacketEvent) {
        if let PacketEvent::Dns(message) = event {
            self.dns.message(message);
        }
    }

    /// A base window that closed.
    pub(crate) fn window(&mut self, window: &Window) {
        self.windows += 1;
        self.tcp.add(&window.tcp);
        self.tcp.lost += window.tcp_sent.iter().map(|sent| sent.lost).sum::<u64>();
        self.tcp_packets += window.tcp_packets;
        let [client, server] = &window.rtt_sides;
        for (sum, samples) in self.rtt.iter_mut().zip([client, server, &window.rtt]) {
            sum.merge(samples);
        }
    }
}

impl Volume {
    pub(super) const fn add(&mut self, other: &Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.flows += other.flows;
    }
}

impl Tcp {
    fn add(&mut self, counts: &TcpCounts) {
        self.syn += u64::from(counts.syn);
        self.syn_retries += u64::from(counts.syn_retry);
        self.resets += u64::from(counts.rst);
        self.retransmissions += u64::from(counts.retransmissions);
        self.out_of_order += u64::from(counts.out_of_order);
        self.duplicate_acks += u64::from(counts.dup_acks);
        self.zero_windows += u64::from(counts.zero_windows);
    }
}

/// What is named first is lower.
pub(super) type Rank = (u64, u64, u64);

/// The most bytes first; of as many, the one that began first: engines report flows in orders of their own.
const fn rank(bytes: u64, update: &FlowUpdate<'_>) -> Rank {
    (u64::MAX - bytes, update.flow.first.as_nanos(), update.flow.id.0)
}
