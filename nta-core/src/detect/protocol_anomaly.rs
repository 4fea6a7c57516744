//! Protocol anomaly: the share of a protocol in the packets is far from the usual one.

use super::declaration::{Basis, Cost, Declaration, FlowUse, Rates, Scope};
use super::rise::{Streak, largest};
use super::{Detector, Try, View};
use crate::baseline::Metric;
use crate::domain::{AlertKind, Finding, Measure};
use crate::tunables::{Bounds, tunables};
use crate::window::{Run, Span};

tunables! {
    /// An unusual mix of protocols.
    ProtocolAnomalyConfig in "detect.protocol_anomaly" {
        /// Distance from the usual share, 0 to 1.
        min_distance: f64 = 0.3 => Bounds::SHARE,
        /// And so many usual deviations.
        sigmas: f64 = 6.0 => Bounds::SIGMAS,
        /// Packets that a window must have.
        min_packets: u64 = 300 => Bounds::COUNT,
        /// Windows of 30 s in a row; at twice the distance one is enough.
        windows: u32 = 2 => Bounds::WINDOWS,
    }
}

pub(super) const DECLARATION: Declaration = Declaration {
    name: "protocol_anomaly",
    spans: &[Span::Medium],
    basis: Basis::Rule,
    scope: Scope::Network,
    flows: FlowUse::Unused,
    cost: Cost::Short,
    rates: Rates::Unused,
};

const METRICS: [Metric; 4] = [Metric::ProtocolTcp, Metric::ProtocolUdp, Metric::ProtocolIcmp, Metric::ProtocolOther];
const CONTRIBUTORS: usize = 5;

#[derive(Debug)]
pub(super) struct ProtocolAnomaly {
    config: ProtocolAnomalyConfig,
    streak: Streak,
}

impl ProtocolAnomaly {
    pub(super) fn new(config: ProtocolAnomalyConfig) -> Self {
        Self { config, streak: Streak::default() }
    }

    /// The protocol that has grown most beyond its limit.
    fn measure(&self, view: &View<'_>) -> Option<(Metric, f64, Measure)> {
        if view.snapshot.window.packets < self.config.min_packets {
            return None;
        }
        let of = |metric: Metric| {
            let share = metric.of(view.snapshot)?;
            let expected = view.expect(metric)?;
            let threshold = self.config.min_distance.max(expected.sigma * self.config.sigmas);
            let observed = share - expected.median;
            let (name, unit) = (metric.word(), metric.unit());
            let measure = Measure { name, unit, observed, expected: Some(expected.median), threshold };
            (observed > threshold).then_some((metric, share, measure))
        };
        METRICS.into_iter().filter_map(of).max_by(|a, b| a.2.magnitude().total_cmp(&b.2.magnitude()))
    }
}

impl Detector for ProtocolAnomaly {
    fn declaration(&self) -> &'static Declaration {
        &DECLARATION
    }

    fn take(&mut self, _: &Run<'_>, _: &[Try]) {}

    fn inspect(&mut self, view: &View<'_>, out: &mut Vec<Finding>) {
        let found = self.measure(view);
        let found = self.streak.take(view.snapshot, found, |(_, _, measure)| measure, self.config.windows);
        let Some((metric, share, measure)) = found else { return };
        let packets = |host: &crate::window::HostStats| {
            let (sent, received) = (host.sent_by, host.received_by);
            let count = match metric {
                Metric::ProtocolTcp => sent.tcp + received.tcp,
                Metric::ProtocolUdp => sent.udp + received.udp,
                Metric::ProtocolIcmp => sent.icmp + received.icmp,
                _ => sent.other + received.other,
            };
            count as f64
        };
        let usual = measure.expected.unwrap_or_default();
        let summary = format!(
            "{} has {:.0} % of the packets, usually {:.0} %",
            metric.word().trim_start_matches("protocol_"),
            share * 100.0,
            usual * 100.0
        );
        out.push(Finding {
            facts: vec![("share", format!("{share:.3}"))],
            contributors: largest(view.snapshot, CONTRIBUTORS, packets),
            ..view.finding(&DECLARATION, AlertKind::ProtocolAnomaly, measure, summary)
        });
    }

    fn evicted(&self) -> u64 {
        0
    }
}
