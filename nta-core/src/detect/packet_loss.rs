//! Packet loss: the share of TCP segments that are sent again is far above the usual one, or ruinous.
//!
//! Retransmissions stand for losses (RFC 2330's framework calls this a passive estimate); spurious ones are among them,
//! so this is an upper bound.

use super::declaration::{Basis, Cost, Declaration, FlowUse, Rates, Scope};
use super::rise::{Limits, Streak, beyond, largest};
use super::{Detector, Try, View};
use crate::baseline::Metric;
use crate::domain::{AlertKind, Finding, Measure};
use crate::tunables::{Bounds, tunables};
use crate::window::{Run, Span, TcpSent};

tunables! {
    /// Packet loss on the network.
    PacketLossConfig in "detect.packet_loss" {
        /// Times the usual share of retransmissions.
        factor: f64 = 3.0 => Bounds::FACTOR,
        /// And so many usual deviations above it.
        sigmas: f64 = 6.0 => Bounds::SIGMAS,
        /// And at least this share.
        min_share: f64 = 0.02 => Bounds::SHARE,
        /// A share that is too much whatever is usual (TCP's throughput falls with the square root of the loss, Mathis et al. 1997).
        limit_share: f64 = 0.1 => Bounds::SHARE,
        /// TCP packets that a window must have.
        min_packets: u64 = 300 => Bounds::COUNT,
        /// Windows of 30 s in a row; at twice the threshold one is enough.
        windows: u32 = 2 => Bounds::WINDOWS,
    }
}

pub(super) const DECLARATION: Declaration = Declaration {
    name: "packet_loss",
    spans: &[Span::Medium],
    basis: Basis::Rule,
    scope: Scope::Network,
    flows: FlowUse::Unused,
    cost: Cost::Short,
    rates: Rates::Unused,
};

const CONTRIBUTORS: usize = 5;

#[derive(Debug)]
pub(super) struct PacketLoss {
    config: PacketLossConfig,
    streak: Streak,
}

impl PacketLoss {
    pub(super) fn new(config: PacketLossConfig) -> Self {
        Self { config, streak: Streak::default() }
    }

    fn measure(&self, view: &View<'_>) -> Option<Measure> {
        if view.snapshot.window.tcp_packets < self.config.min_packets {
            return None;
        }
        let limits = Limits { factor: self.config.factor, sigmas: self.config.sigmas, floor: self.config.min_share };
        beyond(view, Metric::Loss, &limits, Some(self.config.limit_share))
    }
}

impl Detector for PacketLoss {
    fn declaration(&self) -> &'static Declaration {
        &DECLARATION
    }

    fn take(&mut self, _: &Run<'_>, _: &[Try]) {}

    fn inspect(&mut self, view: &View<'_>, out: &mut Vec<Finding>) {
        let measure = self.measure(view);
        let measure = self.streak.take(view.snapshot, measure, |measure| measure, self.config.windows);
        let Some(measure) = measure else { return };
        let window = &view.snapshot.window;
        let percent = |sent: &TcpSent| 100.0 * sent.lost as f64 / sent.packets.max(1) as f64;
        let [clients, servers] = window.tcp_sent.each_ref().map(percent);
        let summary = format!(
            "{:.1} % of {} TCP packets were sent again: {clients:.1} % of the clients', {servers:.1} % of the servers'",
            measure.observed * 100.0,
            window.tcp_packets
        );
        let [by_clients, by_servers] = window.tcp_sent.each_ref().map(|sent| sent.lost.to_string());
        out.push(Finding {
            facts: vec![("lost_by_clients", by_clients), ("lost_by_servers", by_servers)],
            contributors: largest(view.snapshot, CONTRIBUTORS, |host| {
                f64::from(host.tcp_sent.retransmissions.saturating_sub(host.tcp_sent.syn_retry))
            }),
            ..view.finding(&DECLARATION, AlertKind::PacketLoss, measure, summary)
        });
    }

    fn evicted(&self) -> u64 {
        0
    }
}
