//! High latency: the median round trip is far above the usual one, or beyond what anybody can work with.

use super::declaration::{Basis, Cost, Declaration, FlowUse, Rates, Scope};
use super::rise::{Limits, Streak, beyond, largest};
use super::{Detector, Try, View};
use crate::baseline::Metric;
use crate::domain::{AlertKind, Finding, Measure};
use crate::tunables::{Bounds, tunables};
use crate::window::{Run, Span};

tunables! {
    /// High latency of the network.
    HighLatencyConfig in "detect.high_latency" {
        /// Times the usual median round trip.
        factor: f64 = 2.0 => Bounds::FACTOR,
        /// And so many usual deviations above it.
        sigmas: f64 = 6.0 => Bounds::SIGMAS,
        /// And at least so many milliseconds.
        min_ms: f64 = 50.0 => Bounds::new(0.0, 3_600_000.0),
        /// A median round trip of so many milliseconds is too much whatever is usual (ITU-T G.114 has 400 ms as the most for speech).
        limit_ms: f64 = 800.0 => Bounds::new(0.0, 3_600_000.0),
        /// Round-trip samples that a window must have for `limit_ms`.
        min_samples: u64 = 20 => Bounds::COUNT,
        /// Windows of 30 s in a row; at twice the threshold one is enough.
        windows: u32 = 2 => Bounds::WINDOWS,
    }
}

pub(super) const DECLARATION: Declaration = Declaration {
    name: "high_latency",
    spans: &[Span::Medium],
    basis: Basis::Rule,
    scope: Scope::Network,
    flows: FlowUse::Unused,
    cost: Cost::Short,
    rates: Rates::Unused,
};

const CONTRIBUTORS: usize = 5;

#[derive(Debug)]
pub(super) struct HighLatency {
    config: HighLatencyConfig,
    streak: Streak,
}

impl HighLatency {
    pub(super) fn new(config: HighLatencyConfig) -> Self {
        Self { config, streak: Streak::default() }
    }

    fn measure(&self, view: &View<'_>) -> Option<Measure> {
        let limits = Limits { factor: self.config.factor, sigmas: self.config.sigmas, floor: self.config.min_ms };
        let is_certain = view.snapshot.window.rtt.count >= self.config.min_samples;
        beyond(view, Metric::Latency, &limits, is_certain.then_some(self.config.limit_ms))
    }
}

impl Detector for HighLatency {
    fn declaration(&self) -> &'static Declaration {
        &DECLARATION
    }

    fn take(&mut self, _: &Run<'_>, _: &[Try]) {}

    fn inspect(&mut self, view: &View<'_>, out: &mut Vec<Finding>) {
        let measure = self.measure(view);
        let measure = self.streak.take(view.snapshot, measure, |measure| measure, self.config.windows);
        let Some(measure) = measure else { return };
        let usual = measure.expected.map_or_else(String::new, |usual| format!(", usually {usual:.1} ms"));
        let summary = format!(
            "the median round trip is {:.1} ms{usual} ({} samples)",
            measure.observed, view.snapshot.window.rtt.count
        );
        out.push(Finding {
            facts: vec![("rtt_samples", view.snapshot.window.rtt.count.to_string())],
            contributors: largest(view.snapshot, CONTRIBUTORS, |host| host.rtt.mean_ms().unwrap_or_default()),
            ..view.finding(&DECLARATION, AlertKind::HighLatency, measure, summary)
        });
    }

    fn evicted(&self) -> u64 {
        0
    }
}
