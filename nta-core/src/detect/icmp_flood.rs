//! ICMP flood: one host gets echo requests, or replies that it did not ask for, far faster than ping sends them.
//!
//! `ping` sends one a second, and lets only the superuser go below 0.2 s (ping(8), `-i`), so that more than 5 a second
//! for half a minute from one host to another is no person who looks whether a host is up. A short burst has to be
//! larger: path tracers and monitoring send some tens at once.
//!
//! Known false alarms: `ping -f` by an administrator; monitoring of one gateway by more than a hundred hosts a second.

use std::net::IpAddr;

use nta_common::packet::proto;

use super::declaration::{Basis, Cost, Declaration, FlowUse, Rates, Scope};
use super::recent::{Map, Recent, Shares, Sliding, Weigh};
use super::{Detector, Try, View};
use crate::domain::{AlertKind, Finding, FlowObservation, Measure};
use crate::tunables::{Bounds, tunables};
use crate::window::{Run, Span};

tunables! {
    /// ICMP floods.
    IcmpFloodConfig in "detect.icmp_flood" {
        /// Echo packets within 30 s to one host of which one source sent most. Default: 8 a second, where ping's limit
        /// for ordinary users is 5.
        min_packets_30s: u64 = 240 => Bounds::COUNT,
        /// The same when no source sent most of them. Default: 100 a second.
        min_packets_30s_many: u64 = 3_000 => Bounds::COUNT,
    }
}

pub(super) const DECLARATION: Declaration = Declaration {
    name: "icmp_flood",
    spans: &[Span::Base],
    basis: Basis::Rule,
    scope: Scope::Hosts,
    flows: FlowUse::Shared,
    cost: Cost::Short,
    rates: Rates::Measured,
};

/// Hosts that are remembered.
const MAX_HOSTS: usize = 16_384;
/// Packets a second below which it is ordinary ping, and a window is not remembered.
const MIN_RATE: f64 = 2.0;
/// From this share on one source sent most of it.
const MAIN_SHARE: f64 = 0.5;
/// Over which time the packets are counted, in seconds.
const SECONDS: u64 = 30;

/// Finds floods in base windows and over the last 30 s.
#[derive(Debug)]
pub(super) struct IcmpFlood {
    config: IcmpFloodConfig,
    met: Map<IpAddr, (u64, u64, Shares)>,
    hosts: Recent<IpAddr, Target>,
}

#[derive(Debug, Default)]
struct Target {
    packets: Sliding,
    answers: Sliding,
    shares: Shares,
}

impl Weigh for Target {
    fn weight(&self) -> u64 {
        self.packets.total()
    }
}

impl IcmpFlood {
    pub(super) fn new(config: IcmpFloodConfig) -> Self {
        Self { config, met: Map::default(), hosts: Recent::new(MAX_HOSTS, SECONDS) }
    }

    fn judge(config: &IcmpFloodConfig, view: &View<'_>, host: IpAddr, target: &Target) -> Option<Finding> {
        let packets = target.packets.sum(view.end(), SECONDS);
        let one = target.shares.largest() >= MAIN_SHARE;
        let threshold = if one { config.min_packets_30s } else { config.min_packets_30s_many };
        view.state(&DECLARATION, host, ("echo_packets", "packets"), [packets as f64, threshold as f64]);
        if packets < threshold {
            return None;
        }
        let answers = target.answers.sum(view.end(), SECONDS);
        let measure = Measure {
            name: "echo_packets",
            unit: "packets",
            observed: packets as f64,
            expected: None,
            threshold: threshold as f64,
        };
        let source = target.shares.party();
        let from = source.host().map_or_else(|| "many sources".to_owned(), |host| host.to_string());
        let summary = format!(
            "{host} got {packets} ICMP echo packets within {SECONDS} s from {from}, where ping sends {SECONDS}; it answered {answers}"
        );
        let mut finding = view.finding(&DECLARATION, AlertKind::IcmpFlood, measure, summary);
        finding.source = source;
        finding.destination = host.into();
        finding.facts =
            vec![("rate", format!("{:.1}", packets as f64 / SECONDS as f64)), ("answers", answers.to_string())];
        finding.contributors = target.shares.contributors();
        Some(finding)
    }
}

/// Echo requests to the responder, or replies to it that nobody asked for: an answer makes those a request's flow.
fn is_echo(seen: &FlowObservation) -> bool {
    match (seen.flow.proto, seen.flow.originator.port) {
        (proto::ICMP, 8) | (proto::ICMPV6, 128) => true,
        (proto::ICMP, 0) | (proto::ICMPV6, 129) => seen.flow.responder.sent.packets == 0,
        _ => false,
    }
}

impl Detector for IcmpFlood {
    fn declaration(&self) -> &'static Declaration {
        &DECLARATION
    }

    fn take(&mut self, run: &Run<'_>, _: &[Try]) {
        for seen in run.flows.iter().filter(|seen| is_echo(seen)) {
            let (packets, answers, shares) = self.met.entry(seen.flow.responder.address).or_default();
            *packets += seen.sent[0].packets;
            *answers += seen.sent[1].packets;
            shares.add(seen.flow.originator.address, seen.sent[0].packets);
        }
    }

    fn inspect(&mut self, view: &View<'_>, out: &mut Vec<Finding>) {
        let (end, counted) = (view.end(), view.counted());
        self.hosts.advance(end);
        let least = MIN_RATE * view.snapshot.seconds();
        let mut met = std::mem::take(&mut self.met);
        met.retain(|_, (packets, ..)| *packets as f64 >= least);
        for (host, (packets, answers, shares)) in met {
            let target = self.hosts.meet(host);
            target.packets.add(counted, packets);
            target.answers.add(counted, answers);
            target.shares.merge(&shares);
            out.extend(Self::judge(&self.config, view, host, target));
        }
    }

    fn evicted(&self) -> u64 {
        self.hosts.evicted()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Flow, host, row};
    use super::{IcmpFlood, IcmpFloodConfig};
    use crate::domain::{Finding, Party};

    fn judge(count: u64, flows: impl Fn(u64) -> Vec<Flow>) -> Vec<Finding> {
        row(&mut IcmpFlood::new(IcmpFloodConfig::default()), count, flows)
    }

    #[test]
    fn ten_a_second_are_a_flood_after_half_a_minute() {
        let found = judge(6, |_| vec![Flow::echo(1, 2).sent(50, 28).answered(50, 28)]);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].source, found[0].destination), (Party::Host(host(1)), Party::Host(host(2))));
    }

    #[test]
    fn a_burst_is_one_at_once() {
        let found = judge(1, |_| vec![Flow::echo(1, 2).sent(12_000, 28)]);
        assert_eq!(found[0].measure.magnitude() as u64, 50);
    }

    #[test]
    fn forged_sources_are_many() {
        let found = judge(1, |_| (10..4_010).map(|from| Flow::echo(from, 2)).collect());
        assert_eq!((found.len(), found[0].source), (1, Party::Many));
    }

    #[test]
    fn ping_and_monitoring_are_none() {
        assert!(judge(72, |_| vec![Flow::echo(1, 2).sent(25, 84).answered(25, 84)]).is_empty(), "ping -i 0.2");
        assert!(
            judge(12, |_| (10..60).map(|from| Flow::echo(from, 2).sent(5, 84).answered(5, 84)).collect()).is_empty()
        );
        assert!(judge(1, |_| vec![Flow::echo(1, 2).sent(100, 84).answered(100, 84)]).is_empty());
    }
}
