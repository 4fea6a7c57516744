//! What a report sums up while a capture is read: flows as they end, windows as they close.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;
use nta_common::packet::proto;

use super::ranking::{Amount, Pairs};
use super::services::service;
use nta_core::domain::{ConnState, FlowRecord, TcpCounts};
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
    pub(super) pairs: Pairs,
    /// TCP connections by how far they came.
    states: Vec<(ConnState, u64)>,
    pub(super) flows: Vec<FlowRecord>,
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
    pub(crate) fn flow(&mut self, flow: &FlowRecord) {
        let (orig, resp) = (&flow.originator, &flow.responder);
        let sent = [orig.sent, resp.sent];
        let amount = Amount {
            packets: sent.map(|counts| counts.packets),
            bytes: sent.map(|counts| counts.bytes),
            flows: 1,
            first: flow.first.as_nanos(),
            last: flow.last.as_nanos(),
        };
        let [packets, bytes] = [amount.packets, amount.bytes].map(|[a, b]| a + b);
        let volume = Volume { packets, bytes, flows: 1 };
        self.protocols.entry((orig.address.is_ipv6(), flow.proto)).or_default().add(&volume);
        match flow.proto {
            proto::ICMP | proto::ICMPV6 => {
                self.icmp.entry((flow.proto, orig.port, resp.port)).or_default().add(&volume);
            }
            proto::TCP | proto::UDP | proto::SCTP | proto::UDP_LITE => {
                let service = u32::from(flow.proto) << 16 | u32::from(server_port(flow));
                self.services.entry(service).or_default().add(&volume);
            }
            _ => {}
        }
        if flow.proto == proto::TCP {
            self.count_state(flow.conn_state);
        }
        self.pairs.add([orig.address, resp.address], &amount);
        // Most flows are too small to be named.
        let is_small =
            self.flows.len() == TOP_FLOWS && self.flows.last().is_some_and(|least| rank(least) <= rank(flow));
        if !is_small {
            let at = self.flows.partition_point(|top| rank(top) <= rank(flow));
            self.flows.truncate(TOP_FLOWS - 1);
            self.flows.insert(at, *flow);
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

/// The port of the one who was asked; of a conversation whose beginning was not seen the one that has a name.
pub(super) fn server_port(flow: &FlowRecord) -> u16 {
    let (orig, resp) = (flow.originator.port, flow.responder.port);
    let is_named = |port| service(flow.proto, port).is_some();
    if !is_named(resp) && is_named(orig) { orig } else { resp }
}

/// The most bytes first; of as many, the one that began first: engines report flows in orders of their own.
const fn rank(flow: &FlowRecord) -> (u64, u64, u64) {
    let bytes = flow.originator.sent.bytes + flow.responder.sent.bytes;
    (u64::MAX - bytes, flow.first.as_nanos(), flow.id.0)
}
