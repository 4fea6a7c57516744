//! Prometheus as a sink: adds up what no single window has. It never waits; what it keeps is bounded by the IP protocols, the
//! directions and the kinds of alerts that there are.

use std::collections::BTreeMap;

use crate::pipeline::metrics::{Direction, MetricsHandle};
use crate::pipeline::{PipelineEvent, Sink};
use nta_core::detect::Networks;
use nta_core::domain::AlertChange;
use nta_core::window::Span;

/// Counts for Prometheus.
#[derive(Debug)]
pub struct MetricsSink {
    handle: MetricsHandle,
    local: Networks,
    /// Of the window that is open.
    traffic: BTreeMap<(u8, Direction), [u64; 2]>,
}

impl MetricsSink {
    /// Counts into this; `local` are one's own networks.
    pub const fn new(handle: MetricsHandle, local: Networks) -> Self {
        Self { handle, local, traffic: BTreeMap::new() }
    }
}

impl Sink for MetricsSink {
    fn take(&mut self, _number: u64, event: &PipelineEvent<'_>) {
        match event {
            PipelineEvent::Flow { update, .. } => {
                let Some(delta) = update.delta else { return };
                let [(a, _), (b, _)] = update.key.endpoints();
                let [a, b] = [a, b].map(|address| self.local.contains(&address));
                for (counts, direction) in delta.counts.iter().zip([Direction::of(a, b), Direction::of(b, a)]) {
                    if counts.packets > 0 {
                        let sums = self.traffic.entry((update.key.proto(), direction)).or_default();
                        sums[0] += counts.packets;
                        sums[1] += counts.bytes;
                    }
                }
            }
            PipelineEvent::Window(snapshot) if snapshot.span == Span::Base => {
                self.handle.round_trips(&snapshot.window.rtt);
            }
            PipelineEvent::Alert(AlertChange::Raised, alert) => self.handle.raised(alert.key.kind),
            PipelineEvent::Closed(status) => {
                self.handle.closed(&self.traffic, status);
                self.traffic.clear();
            }
            _ => {}
        }
    }
}
