//! Long-lived connection: a TCP connection that has gone on for hours, as Zeek's long-connections package reports.

use super::declaration::{Basis, Cost, Declaration, FlowUse, Rates, Scope};
use super::{Detector, View};
use crate::domain::{AlertKind, Finding, FlowObservation, Measure, Party};
use crate::tunables::{Bounds, tunables};
use crate::window::{Run, Span};

tunables! {
    /// Connections that do not end.
    LongLivedConfig in "detect.long_lived_connection" {
        /// Seconds since its first packet from which on a connection is long-lived.
        min_duration_s: f64 = 3600.0 => Bounds::SECONDS,
        /// Connections that are reported in a window, the longest ones.
        most: usize = 20 => Bounds::ENTRIES,
        /// Ports of services whose connections are meant to last (BGP by default); not reported.
        allowed_ports: Vec<u16> = vec![179],
    }
}

pub(super) const DECLARATION: Declaration = Declaration {
    name: "long_lived_connection",
    spans: &[Span::Base],
    basis: Basis::Rule,
    scope: Scope::Hosts,
    flows: FlowUse::Shared,
    cost: Cost::Short,
    rates: Rates::Unused,
};

#[derive(Debug)]
pub(super) struct LongLived {
    config: LongLivedConfig,
    /// Numbers of the window's long ones.
    long: Vec<usize>,
}

impl LongLived {
    pub(super) const fn new(config: LongLivedConfig) -> Self {
        Self { config, long: Vec::new() }
    }
}

fn duration_s(seen: &FlowObservation) -> f64 {
    seen.flow.last.since(seen.flow.first) as f64 / 1e9
}

impl Detector for LongLived {
    fn declaration(&self) -> &'static Declaration {
        &DECLARATION
    }

    fn take(&mut self, run: &Run<'_>) {
        let config = &self.config;
        let is_long = |seen: &FlowObservation| {
            seen.flow.proto == nta_common::packet::proto::TCP
                && duration_s(seen) >= config.min_duration_s
                && seen.flow.originator.sent.packets > 0
                && seen.flow.responder.sent.packets > 0
                && !config.allowed_ports.contains(&seen.flow.responder.port)
        };
        let long = run.flows.iter().enumerate().filter(|(_, seen)| is_long(seen));
        self.long.extend(long.map(|(at, _)| run.first + at));
    }

    fn inspect(&mut self, view: &View<'_>, out: &mut Vec<Finding>) {
        let config = &self.config;
        let mut long: Vec<&FlowObservation> =
            self.long.drain(..).filter_map(|number| view.snapshot.flows.get(number)).collect();
        long.sort_unstable_by_key(|seen| (seen.flow.first, seen.flow.id));
        for seen in long.into_iter().take(config.most) {
            let (flow, seconds) = (&seen.flow, duration_s(seen));
            let (from, to) = (&flow.originator, &flow.responder);
            let measure = Measure {
                name: "duration",
                unit: "s",
                observed: seconds,
                expected: None,
                threshold: config.min_duration_s,
            };
            let summary = format!(
                "the connection from {} to {} port {} has lasted {:.1} h",
                from.address,
                to.address,
                to.port,
                seconds / 3600.0
            );
            out.push(Finding {
                source: Party::Host(from.address),
                destination: Party::Host(to.address),
                port: Some(to.port),
                facts: vec![
                    ("flow", flow.id.to_string()),
                    ("began", flow.first.to_string()),
                    ("bytes_sent", from.sent.bytes.to_string()),
                    ("bytes_received", to.sent.bytes.to_string()),
                ],
                ..view.finding(&DECLARATION, AlertKind::LongLivedConnection, measure, summary)
            });
        }
    }

    fn evicted(&self) -> u64 {
        0
    }
}
