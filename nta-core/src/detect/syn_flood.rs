//! SYN flood: one service gets SYNs at a rate that no client makes, and hardly any of them becomes a connection.
//!
//! RFC 4987 (TCP SYN flooding) describes the attack; the measure is the one of SYN-to-handshake balance (Wang, Zhang
//! and Shin 2002, "Detecting SYN flooding attacks"), counted for each service. What counts is an attempt whose
//! handshake its originator never finished: no answer, a refusal, or a reset by a kernel that knows of no connection,
//! so that floods at closed ports and floods that leave nothing half-open are found too. SYNs that found the flow table
//! full count with an unknown source.
//!
//! Known false alarms: a service that is down while very many clients keep asking for it. A scan asks each service a
//! few times only.

use std::net::IpAddr;

use nta_common::packet::proto;

use super::attempt::is_futile;
use super::declaration::{Basis, Cost, Declaration, FlowUse, Rates, Scope};
use super::recent::{Map, Recent, Shares, Sliding, Weigh};
use super::{Detector, Try, View};
use crate::domain::{AlertKind, Finding, Measure};
use crate::tunables::{Bounds, tunables};
use crate::window::{Run, Span};

tunables! {
    /// SYN floods.
    SynFloodConfig in "detect.syn_flood" {
        /// SYNs that came to nothing, at one service within 30 s. Default: 5 a second. A client that retries a dead
        /// server sends 4 SYNs per connection in that time, and a browser has 6 connections to a server.
        min_syns_30s: u64 = 150 => Bounds::COUNT,
        /// The same within 180 s, for slow floods. Default: 2 a second.
        min_syns_180s: u64 = 360 => Bounds::COUNT,
        /// The same within 30 s when no source sent a quarter of them. Default: 20 a second: a queue of 1,024 half-open
        /// connections (Linux' `tcp_max_syn_backlog`), each kept for 63 s, is full from 16 on. Below it is background noise.
        min_syns_30s_many: u64 = 600 => Bounds::COUNT,
        /// Share of the new connections that must have come to nothing, 0 to 1.
        min_futile_share: f64 = 0.8 => Bounds::SHARE,
    }
}

pub(super) const DECLARATION: Declaration = Declaration {
    name: "syn_flood",
    spans: &[Span::Base],
    basis: Basis::Rule,
    scope: Scope::Hosts,
    flows: FlowUse::Shared,
    cost: Cost::Short,
    rates: Rates::Measured,
};

/// Services that are remembered.
const MAX_SERVICES: usize = 16_384;
/// SYNs a second below which a window of a service is not remembered: a quarter of the slowest flood.
const MIN_RATE: f64 = 0.5;
/// From this share on a source is one that floods.
const MAIN_SHARE: f64 = 0.25;

/// Finds floods in base windows and over the last 30 s and 180 s.
#[derive(Debug)]
pub(super) struct SynFlood {
    config: SynFloodConfig,
    met: Map<(IpAddr, u16), Met>,
    services: Recent<(IpAddr, u16), Service>,
}

#[derive(Debug, Default)]
struct Service {
    futile: Sliding,
    answered: Sliding,
    shares: Shares,
}

/// One service in one window.
#[derive(Debug, Default)]
struct Met {
    futile: u64,
    answered: u64,
    shares: Shares,
}

impl Weigh for Service {
    fn weight(&self) -> u64 {
        self.futile.total()
    }
}

impl SynFlood {
    pub(super) fn new(config: SynFloodConfig) -> Self {
        Self { config, met: Map::default(), services: Recent::new(MAX_SERVICES, Sliding::LONGEST_S) }
    }

    fn judge(
        config: &SynFloodConfig,
        view: &View<'_>,
        (host, port): (IpAddr, u16),
        service: &Service,
    ) -> Option<Finding> {
        let end = view.end();
        let rules = if service.shares.largest() >= MAIN_SHARE {
            vec![(30, config.min_syns_30s), (180, config.min_syns_180s)]
        } else {
            vec![(30, config.min_syns_30s_many)]
        };
        let sums = rules.into_iter().map(|(seconds, least)| (seconds, service.futile.sum(end, seconds), least));
        let (seconds, futile, threshold) = sums
            .inspect(|(_, futile, least)| {
                view.state(&DECLARATION, host, ("futile_syns", "SYNs"), [*futile as f64, *least as f64]);
            })
            .find(|(_, futile, least)| futile >= least)?;
        let answered = service.answered.sum(end, seconds);
        let share = futile as f64 / (futile + answered) as f64;
        if share < config.min_futile_share {
            return None;
        }
        let measure = Measure {
            name: "futile_syns",
            unit: "SYNs",
            observed: futile as f64,
            expected: None,
            threshold: threshold as f64,
        };
        let source = service.shares.party();
        let from = source.host().map_or_else(|| "many sources".to_owned(), |host| host.to_string());
        let made = if answered == 1 {
            "1 connection was made".to_owned()
        } else {
            format!("{answered} connections were made")
        };
        let summary = format!(
            "{host} port {port} got {futile} SYNs within {seconds} s that became no connection, from {from}; {made}"
        );
        let mut finding = view.finding(&DECLARATION, AlertKind::SynFlood, measure, summary);
        finding.source = source;
        finding.destination = host.into();
        finding.port = Some(port);
        finding.facts = vec![
            ("syn_rate", format!("{:.1}", futile as f64 / seconds as f64)),
            ("futile_share", format!("{share:.3}")),
            ("answered", answered.to_string()),
        ];
        finding.contributors = service.shares.contributors(futile);
        Some(finding)
    }
}

impl Detector for SynFlood {
    fn declaration(&self) -> &'static Declaration {
        &DECLARATION
    }

    fn take(&mut self, run: &Run<'_>, _: &[Try]) {
        for seen in run.flows.iter().filter(|seen| seen.flow.proto == proto::TCP) {
            let flow = &seen.flow;
            let service = (flow.responder.address, flow.responder.port);
            let syns = u64::from(seen.tcp[0].syn);
            if syns > 0 && is_futile(seen) {
                let met = self.met.entry(service).or_default();
                met.futile += syns;
                met.shares.add(flow.originator.address, syns);
            } else if seen.is_attempt() {
                self.met.entry(service).or_default().answered += 1;
            }
        }
    }

    fn inspect(&mut self, view: &View<'_>, out: &mut Vec<Finding>) {
        let (end, counted) = (view.end(), view.counted());
        self.services.advance(end);
        let mut met = std::mem::take(&mut self.met);
        for overflow in view.snapshot.window.overflow.iter().filter(|overflow| overflow.syn) {
            if let Some(host) = overflow.destination {
                let met = met.entry((host, overflow.port)).or_default();
                met.futile += overflow.packets;
                met.shares.add_unknown(overflow.packets);
            }
        }
        let least = MIN_RATE * view.snapshot.seconds();
        for (key, met) in met.into_iter().filter(|(_, met)| met.futile as f64 >= least) {
            let service = self.services.meet(key);
            service.futile.add(counted, met.futile);
            service.answered.add(counted, met.answered);
            service.shares.merge(&met.shares);
            out.extend(Self::judge(&self.config, view, key, service));
        }
    }

    fn evicted(&self) -> u64 {
        self.services.evicted()
    }
}

#[cfg(test)]
mod tests {
    use nta_common::flow::Counts;
    use nta_common::packet::proto;

    use super::super::testing::{Flow, host, row, with_overflow};
    use super::{SynFlood, SynFloodConfig};
    use crate::domain::{Finding, OverflowDelta, Party};

    fn judge(count: u64, flows: impl Fn(u64) -> Vec<Flow>) -> Vec<Finding> {
        row(&mut SynFlood::new(SynFloodConfig::default()), count, flows)
    }

    /// So many SYNs of a host in window `i`, each from a port of its own.
    fn syns(from: u32, i: u64, count: u64, history: &str) -> Vec<Flow> {
        (0..count).map(|n| Flow::tcp(from, 1024 + (i * count + n) as u16, 2, 80).history(history)).collect()
    }

    #[test]
    fn ten_a_second_are_a_flood_whatever_the_answer() {
        for history in ["S", "Sr", "ShR"] {
            let found = judge(6, |i| syns(1, i, 50, history));
            assert_eq!(found[0].source, Party::Host(host(1)), "{history}");
            assert_eq!((found[0].destination, found[0].port), (Party::Host(host(2)), Some(80)));
            assert_eq!((found.len(), found[0].measure.observed), (4, 150.0), "from the third window on");
        }
    }

    #[test]
    fn two_a_second_for_three_minutes_are_one() {
        assert_eq!(judge(36, |i| syns(1, i, 10, "S")).len(), 1);
        assert!(judge(72, |i| syns(1, i, 9, "S")).is_empty());
    }

    #[test]
    fn two_sources_are_many_and_both_are_named() {
        let found = judge(2, |i| [syns(1, i, 100, "S"), syns(3, i, 100, "S")].concat());
        assert_eq!(found[0].source, Party::Many);
        assert_eq!(found[0].contributors.len(), 2);
    }

    #[test]
    fn a_busy_server_and_a_dead_one_are_none() {
        assert!(judge(12, |i| syns(1, i, 400, "ShADadFf")).is_empty());
        assert!(judge(12, |i| [syns(1, i, 90, "ShADadFf"), syns(3, i, 20, "S")].concat()).is_empty());
        assert!(judge(36, |i| syns(1, i, 8, "S")).is_empty());
    }

    #[test]
    fn noise_of_many_is_none_and_a_flood_of_many_one() {
        let many = |i: u64, count: u32| {
            (0..count).map(move |n| Flow::tcp(10 + i as u32 * count + n, 1_024, 2, 3389)).collect()
        };
        assert!(judge(36, |i| many(i, 90)).is_empty());
        assert_eq!(judge(6, |i| many(i, 120))[0].source, Party::Many);
    }

    #[test]
    fn a_scan_is_none() {
        assert!(judge(6, |_| (1..1000).map(|port| Flow::tcp(1, 40_000, 2, port)).collect()).is_empty());
    }

    #[test]
    fn syns_that_found_the_flow_table_full_count() {
        let counts = Counts { packets: 100_000, bytes: 6_000_000, ip_bytes: 4_000_000 };
        let overflow = OverflowDelta { destination: host(2), port: 443, proto: proto::TCP, syn: true, counts };
        let mut detector = SynFlood::new(SynFloodConfig::default());
        let found = with_overflow(&mut detector, 0, syns(1, 0, 10, "S"), &[overflow]);
        assert_eq!((found.len(), found[0].source, found[0].port), (1, Party::Many, Some(443)));
        assert_eq!(found[0].measure.observed as u64, 100_000);
    }
}
