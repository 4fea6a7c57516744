//! What one flow did in one window.

use nta_common::flow::Counts;

use super::{FlowRecord, FlowUpdate, RttSamples, TcpCounts, both};

/// A flow in a window, seen from its originator: the whole flow so far, and what of it fell into the window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowObservation {
    /// The flow since its first packet.
    pub flow: FlowRecord,
    /// What originator and responder sent in the window.
    pub sent: [Counts; 2],
    /// TCP events in what originator and responder sent in the window.
    pub tcp: [TcpCounts; 2],
    /// Round-trip samples of the window: to the responder, and to the originator.
    pub rtt: RttSamples,
    /// Whether the flow began in the window.
    pub is_new: bool,
}

impl FlowObservation {
    /// Of a flow that changed; `None` when it only ended.
    pub fn of(update: &FlowUpdate<'_>) -> Option<Self> {
        let delta = update.delta?;
        let flow = FlowRecord::of(update);
        let originator_is_a = update.flow.endpoints(update.key)[0] == (flow.originator.address, flow.originator.port);
        let (mut sent, mut tcp, mut rtt) = (delta.counts, delta.tcp, delta.rtt);
        if !originator_is_a {
            sent.reverse();
            tcp.reverse();
            rtt = rtt.reversed();
        }
        Some(Self { flow, sent, tcp, rtt, is_new: delta.is_new })
    }

    /// Leaves out what is counted in the flows that it carries, as windows take it; answers whether anything is left.
    #[must_use]
    pub fn leave_out_carried(&mut self, update: &FlowUpdate<'_>) -> bool {
        if let Some([a, b]) = update.flow.own() {
            let (orig, resp) = (&mut self.flow.originator, &mut self.flow.responder);
            let originator_is_a = update.flow.endpoints(update.key)[0] == (orig.address, orig.port);
            (orig.sent, resp.sent) = if originator_is_a { (a, b) } else { (b, a) };
        }
        self.packets() != 0
    }

    /// What of each side's segments was sent again because something was lost. The retries of a SYN that nobody answers, as
    /// of a scan, say nothing about the network.
    pub fn lost(&self) -> [u32; 2] {
        let peers = [&self.flow.responder, &self.flow.originator];
        both(|side| {
            let TcpCounts { retransmissions, syn_retry, .. } = self.tcp[side];
            let is_answered = peers[side].sent.packets > 0;
            if is_answered { retransmissions } else { retransmissions.saturating_sub(syn_retry) }
        })
    }

    /// Packets of both directions in the window.
    pub const fn packets(&self) -> u64 {
        self.sent[0].packets + self.sent[1].packets
    }

    /// Frame bytes of both directions in the window.
    pub const fn bytes(&self) -> u64 {
        self.sent[0].bytes + self.sent[1].bytes
    }

    /// Whether the originator tried to open a TCP connection in the window: a SYN of a new flow.
    pub fn is_attempt(&self) -> bool {
        self.is_new && self.flow.proto == nta_common::packet::proto::TCP && self.flow.originator.tcp.syn > 0
    }
}
