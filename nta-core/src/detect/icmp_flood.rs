//! ICMP flood: one host gets echo requests, or replies that it did not ask for, far faster than ping sends them.
//!
//! `ping` sends one a second, and lets only the superuser go below 0.2 s (ping(8), `-i`), so that more than 5 a second
//! for half a minute from one host to another is no person who looks whether a host is up. A short burst has to be
//! larger: path tracers and monitoring send some tens at once.
//!
//! Who measures carries a time stamp and gets answers: smokeping, fping and ping itself, at ten a second where loss is to be seen
//! soon. Flood tools send no data, or hear no answers, or go beyond twice as many.
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
        /// The same when a host that answers is measured: echo packets with data from one source. Default: 20 a second, twice what
        /// fast monitoring sends.
        min_measured_30s: u64 = 600 => Bounds::COUNT,
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
/// Bytes of data in which a time stamp finds room, and the headers before them, of both families.
const TIME_STAMP: u64 = 8;
const HEADERS: [u64; 2] = [28, 48];
/// Share of the requests that have to be answered, and of the packets that have to carry data, for a measurement.
const MEASURED_SHARE: f64 = 0.9;
/// Over which time the packets are counted, in seconds.
const SECONDS: u64 = 30;

/// Finds floods in base windows and over the last 30 s.
#[derive(Debug)]
pub(super) struct IcmpFlood {
    config: IcmpFloodConfig,
    met: Map<IpAddr, Met>,
    hosts: Recent<IpAddr, Target>,
}

/// What a host got in a window.
#[derive(Debug, Default)]
struct Met {
    packets: u64,
    answers: u64,
    /// Packets that carry data.
    stamped: u64,
    shares: Shares,
}

#[derive(Debug, Default)]
struct Target {
    packets: Sliding,
    answers: Sliding,
    stamped: Sliding,
    shares: Shares,
    /// Whether it answered in a window of these: one that falls silent is measured on.
    has_answered: bool,
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
        let is_stamped = target.stamped.sum(view.end(), SECONDS) as f64 >= MEASURED_SHARE * packets as f64;
        let threshold = match one {
            true if target.has_answered && is_stamped => config.min_measured_30s,
            true => config.min_packets_30s,
            false => config.min_packets_30s_many,
        };
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
        finding.contributors = target.shares.contributors(packets);
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
            let sent = &seen.sent[0];
            let met = self.met.entry(seen.flow.responder.address).or_default();
            met.packets += sent.packets;
            met.answers += seen.sent[1].packets;
            let least = HEADERS[usize::from(seen.flow.proto == proto::ICMPV6)] + TIME_STAMP;
            met.stamped += if sent.ip_bytes >= sent.packets * least { sent.packets } else { 0 };
            met.shares.add(seen.flow.originator.address, sent.packets);
        }
    }

    fn inspect(&mut self, view: &View<'_>, out: &mut Vec<Finding>) {
        let (end, counted) = (view.end(), view.counted());
        self.hosts.advance(end);
        let least = MIN_RATE * view.snapshot.seconds();
        let mut met = std::mem::take(&mut self.met);
        met.retain(|_, met| met.packets as f64 >= least);
        for (host, met) in met {
            let target = self.hosts.meet(host);
            target.packets.add(counted, met.packets);
            target.answers.add(counted, met.answers);
            target.stamped.add(counted, met.stamped);
            target.shares.merge(&met.shares);
            target.has_answered |= met.answers as f64 >= MEASURED_SHARE * met.packets as f64;
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
    fn a_measurement_at_ten_a_second_is_none_even_when_the_host_falls_silent() {
        let answers = |window| if window < 12 { 50 } else { 0 };
        let found = judge(24, |window| vec![Flow::echo(1, 2).sent(50, 84).answered(answers(window), 84)]);
        assert!(found.is_empty(), "{found:?}");
        let silent = judge(6, |_| vec![Flow::echo(1, 2).sent(50, 84)]);
        assert_eq!(silent.len(), 2, "a host that never answered");
        let fast = judge(6, |_| vec![Flow::echo(1, 2).sent(600, 84).answered(600, 84)]);
        assert!(!fast.is_empty(), "far beyond what measures");
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
