//! Traffic spike: the network carries much more than the last half hour and the hour of the week let expect.

use super::declaration::{Basis, Cost, Declaration, FlowUse, Rates, Scope};
use super::rise::{Limits, Streak, above, largest};
use super::{Detector, Try, View};
use crate::baseline::Metric;
use crate::domain::{AlertKind, Finding};
use crate::tunables::{Bounds, tunables};
use crate::window::{Run, Span};

tunables! {
    /// Traffic spikes of the network.
    TrafficSpikeConfig in "detect.traffic_spike" {
        /// Times the usual value from which on it is a spike.
        factor: f64 = 2.5 => Bounds::FACTOR,
        /// And so many usual deviations (scaled median absolute deviations) above it.
        sigmas: f64 = 5.0 => Bounds::SIGMAS,
        /// Never below so many bit/s.
        min_bps: f64 = 20_000.0 => Bounds::new(0.0, 1e15),
        /// Never below so many packets a second.
        min_packets_per_s: f64 = 15.0 => Bounds::new(0.0, 1e12),
        /// Never below so many TCP connections a second.
        min_connections_per_s: f64 = 5.0 => Bounds::new(0.0, 1e12),
        /// Windows of 30 s in a row; at twice the threshold one is enough.
        windows: u32 = 2 => Bounds::WINDOWS,
    }
}

pub(super) const DECLARATION: Declaration = Declaration {
    name: "traffic_spike",
    spans: &[Span::Medium],
    basis: Basis::Rule,
    scope: Scope::Network,
    flows: FlowUse::Unused,
    cost: Cost::Short,
    rates: Rates::Compared,
};

/// Hosts that an alert names.
const CONTRIBUTORS: usize = 5;

#[derive(Debug)]
pub(super) struct TrafficSpike {
    config: TrafficSpikeConfig,
    streaks: [Streak; 3],
}

impl TrafficSpike {
    pub(super) fn new(config: TrafficSpikeConfig) -> Self {
        Self { config, streaks: [Streak::default(); 3] }
    }
}

impl Detector for TrafficSpike {
    fn declaration(&self) -> &'static Declaration {
        &DECLARATION
    }

    fn take(&mut self, _: &Run<'_>, _: &[Try]) {}

    fn inspect(&mut self, view: &View<'_>, out: &mut Vec<Finding>) {
        let config = &self.config;
        let floors = [
            (Metric::Bandwidth, config.min_bps),
            (Metric::Packets, config.min_packets_per_s),
            (Metric::Connections, config.min_connections_per_s),
        ];
        for ((metric, floor), streak) in floors.into_iter().zip(&mut self.streaks) {
            let Some(observed) = metric.of(view.snapshot) else { continue };
            let limits = Limits { factor: config.factor, sigmas: config.sigmas, floor };
            let expected = view.expect(metric);
            let measure = above(metric, observed, expected, &limits);
            let measure = streak.take(view.snapshot, measure, |measure| measure, config.windows);
            let Some(measure) = measure else { continue };
            let usual = measure.expected.unwrap_or_default();
            let seconds = view.snapshot.seconds();
            let contributors = match metric {
                Metric::Bandwidth => largest(view.snapshot, CONTRIBUTORS, |h| h.bytes() as f64 * 8.0 / seconds),
                Metric::Packets => largest(view.snapshot, CONTRIBUTORS, |h| h.packets() as f64 / seconds),
                _ => largest(view.snapshot, CONTRIBUTORS, |h| f64::from(h.originator.attempts) / seconds),
            };
            let summary = summary(metric, measure.observed, usual);
            out.push(Finding {
                facts: vec![("metric", metric.word().to_owned())],
                contributors,
                ..view.finding(&DECLARATION, AlertKind::TrafficSpike, measure, summary)
            });
        }
    }

    fn evicted(&self) -> u64 {
        0
    }
}

/// What is seen and what is usual. How many times that is says nothing where next to nothing is usual.
fn summary(metric: Metric, observed: f64, usual: f64) -> String {
    let [seen, usually] = [observed, usual].map(|value| rate(metric, value));
    let times = observed / usual;
    if times < 1000.0 {
        format!("the network carries {seen}, {times:.1} times the usual {usually}")
    } else {
        format!("the network carries {seen}, where {usually} is usual")
    }
}

/// With unit, prefix and thousands apart.
fn rate(metric: Metric, value: f64) -> String {
    let (value, unit) = match metric {
        Metric::Bandwidth if value >= 1e9 => (value / 1e9, "Gbit/s"),
        Metric::Bandwidth if value >= 1e6 => (value / 1e6, "Mbit/s"),
        Metric::Bandwidth if value >= 1e3 => (value / 1e3, "kbit/s"),
        Metric::Bandwidth => (value, "bit/s"),
        Metric::Packets => (value, "packets/s"),
        _ => (value, "new connections/s"),
    };
    if value < 100.0 && value.fract() != 0.0 {
        return format!("{value:.1} {unit}");
    }
    let digits = format!("{value:.0}");
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| str::from_utf8(group).unwrap_or("")).collect();
    format!("{} {unit}", groups.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_says_the_numbers_as_people_do() {
        for (metric, observed, usual, says) in [
            (Metric::Packets, 20.4, 2.0, "the network carries 20.4 packets/s, 10.2 times the usual 2 packets/s"),
            (Metric::Bandwidth, 227_170.0, 0.0, "the network carries 227 kbit/s, where 0 bit/s is usual"),
            (Metric::Bandwidth, 4.5e9, 9e8, "the network carries 4.5 Gbit/s, 5.0 times the usual 900 Mbit/s"),
            (
                Metric::Packets,
                1_234_567.0,
                12.0,
                "the network carries 1,234,567 packets/s, where 12 packets/s is usual",
            ),
        ] {
            assert_eq!(summary(metric, observed, usual), says);
        }
    }
}
