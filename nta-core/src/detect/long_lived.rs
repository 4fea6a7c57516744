//! Long-lived connection: a TCP connection that has gone on for hours, as Zeek's long-connections package reports.
//!
//! How bad it is follows from how rare it is: at most medium, and low where other pairs of hosts have such connections to the
//! same port. Connections that two hosts keep side by side are a pool, and are not reported.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::declaration::{Basis, Cost, Declaration, FlowUse, Rates, Scope};
use super::{Detector, Try, View};
use crate::domain::{AlertKind, Finding, FlowObservation, LEAST_SHARE, Measure, Party};
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

/// So many long connections between two hosts to one port are a pool.
const POOL: usize = 4;
/// So many other pairs with long connections to the port make them usual.
const USUAL_PAIRS: usize = 2;
/// How sure it is that the connection is rare, and that it is usual. Severity follows.
const RARE: f64 = 0.4;
const USUAL: f64 = 0.2;

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

/// Port, client and server.
const fn service(seen: &FlowObservation) -> (u16, IpAddr, IpAddr) {
    (seen.flow.responder.port, seen.flow.originator.address, seen.flow.responder.address)
}

fn duration_s(seen: &FlowObservation) -> f64 {
    seen.flow.last.since(seen.flow.first) as f64 / 1e9
}

impl Detector for LongLived {
    fn declaration(&self) -> &'static Declaration {
        &DECLARATION
    }

    fn take(&mut self, run: &Run<'_>, _: &[Try]) {
        let config = &self.config;
        let is_long = |seen: &FlowObservation| {
            seen.flow.proto == nta_common::packet::proto::TCP
                && duration_s(seen) >= LEAST_SHARE * config.min_duration_s
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
        for seen in &long {
            let near = [duration_s(seen), config.min_duration_s];
            view.state(&DECLARATION, seen.flow.originator.address, ("duration", "s"), near);
        }
        long.retain(|seen| duration_s(seen) >= config.min_duration_s);
        let mut kept: BTreeMap<(u16, IpAddr, IpAddr), usize> = BTreeMap::new();
        for seen in &long {
            *kept.entry(service(seen)).or_default() += 1;
        }
        long.retain(|seen| kept.get(&service(seen)).is_none_or(|count| *count < POOL));
        let mut pairs: BTreeMap<u16, usize> = BTreeMap::new();
        for (port, ..) in kept.keys() {
            *pairs.entry(*port).or_default() += 1;
        }
        long.sort_unstable_by_key(|seen| (seen.flow.first, seen.flow.id));
        for seen in long.into_iter().take(config.most) {
            let is_usual = pairs.get(&seen.flow.responder.port).is_some_and(|pairs| *pairs > USUAL_PAIRS);
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
                seen: Some([flow.first, flow.last]),
                facts: vec![
                    ("flow", flow.id.to_string()),
                    ("began", flow.first.to_string()),
                    ("bytes_sent", from.sent.bytes.to_string()),
                    ("bytes_received", to.sent.bytes.to_string()),
                ],
                score: if is_usual { USUAL } else { RARE },
                ..view.finding(&DECLARATION, AlertKind::LongLivedConnection, measure, summary)
            });
        }
    }

    fn evicted(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Flow, window};
    use super::{LongLived, LongLivedConfig, RARE, USUAL};
    use crate::domain::Finding;

    /// What is said about connections to port 443 that began two hours ago, between these hosts.
    fn judge(ends: &[(u32, u32)]) -> Vec<Finding> {
        let flows = ends
            .iter()
            .enumerate()
            .map(|(n, (from, to))| Flow::tcp(*from, 40_000 + n as u16, *to, 443).history("Aa").since(0));
        window(&mut LongLived::new(LongLivedConfig::default()), 7_200, flows.collect())
    }

    #[test]
    fn what_others_have_as_well_is_usual_and_a_pool_is_quiet() {
        let scores = |ends| judge(ends).iter().map(|finding| finding.score).collect::<Vec<f64>>();
        assert_eq!(scores(&[(1, 2), (3, 4)]), [RARE; 2]);
        assert_eq!(scores(&[(1, 2), (3, 4), (5, 6)]), [USUAL; 3]);
        assert!(judge(&[(1, 2); 6]).is_empty());
    }
}
