//! Amplification: public servers send a host masses of UDP answers to questions that it never asked.
//!
//! The attacker asks in the victim's name (CISA TA14-017A; Rossow 2014, "Amplification Hell"); seen from the victim,
//! datagrams come from the reflectors' well-known ports and next to none go there. A client gets an answer to each
//! question, a few at most; a resolver's traffic is in balance.
//!
//! Known false alarms: a capture point that sees only the answers (asymmetric routing). Evasion: reflectors at unusual
//! ports, fewer packets than the threshold.

use std::net::IpAddr;

use nta_common::packet::proto;

use super::attempt::{REFLECTOR_PORTS, is_group};
use super::declaration::{Basis, Cost, Declaration, FlowUse, Rates, Scope};
use super::recent::{Map, Recent, Shares, Sliding, Weigh};
use super::{Detector, Try, View};
use crate::domain::{AlertKind, Finding, Measure, PacketEvent};
use crate::tunables::{Bounds, tunables};
use crate::window::{Run, Span};

tunables! {
    /// Reflected answers.
    AmplificationConfig in "detect.amplification" {
        /// Datagrams from one reflector port to one host within 30 s. Default: 33 a second, more than a busy client asks.
        min_packets_30s: u64 = 1_000 => Bounds::COUNT,
        /// Mean frame bytes of a datagram: an amplified answer is larger than a question, which takes some 60 to 100.
        min_mean_bytes: u64 = 150 => Bounds::BYTES,
        /// Answers for each question from which on they are not answers. A zone or time transfer stays below: it takes
        /// TCP, or a question for each datagram.
        min_excess: u64 = 10 => Bounds::COUNT,
    }
}

pub(super) const DECLARATION: Declaration = Declaration {
    name: "amplification",
    spans: &[Span::Base],
    basis: Basis::Rule,
    scope: Scope::Hosts,
    flows: FlowUse::Shared,
    cost: Cost::Short,
    rates: Rates::Measured,
};

/// Victims and ports that are remembered.
const MAX_VICTIMS: usize = 8_192;
/// Answers a second below which a window is not remembered.
const MIN_RATE: f64 = 2.0;
/// Over which time packets are counted, in seconds.
const SECONDS: u64 = 30;
/// Messages that must have been read before they say that the datagrams are no answers.
const MIN_READ: usize = 10;

/// Finds it in base windows and over the last 30 s.
#[derive(Debug)]
pub(super) struct Amplification {
    config: AmplificationConfig,
    met: Map<(IpAddr, u16), Met>,
    victims: Recent<(IpAddr, u16), Victim>,
}

#[derive(Debug, Default)]
struct Victim {
    asked: Sliding,
    answers: Sliding,
    bytes: Sliding,
    shares: Shares,
}

impl Weigh for Victim {
    fn weight(&self) -> u64 {
        self.answers.total()
    }
}

#[derive(Debug, Default)]
struct Met {
    asked: u64,
    answers: u64,
    bytes: u64,
    shares: Shares,
}

impl Amplification {
    pub(super) fn new(config: AmplificationConfig) -> Self {
        Self { config, met: Map::default(), victims: Recent::new(MAX_VICTIMS, SECONDS) }
    }

    fn judge(
        config: &AmplificationConfig,
        view: &View<'_>,
        (host, port): (IpAddr, u16),
        victim: &Victim,
    ) -> Option<Finding> {
        let sum = |sliding: &Sliding| sliding.sum(view.end(), SECONDS);
        let (asked, answers, bytes) = (sum(&victim.asked), sum(&victim.answers), sum(&victim.bytes));
        let near = [answers as f64, config.min_packets_30s as f64];
        view.state(&DECLARATION, host, ("unasked_answers", "datagrams"), near);
        if answers < config.min_packets_30s
            || bytes < answers * config.min_mean_bytes
            || answers < asked * config.min_excess
        {
            return None;
        }
        let measure = Measure {
            name: "unasked_answers",
            unit: "datagrams",
            observed: answers as f64,
            expected: Some(asked as f64),
            threshold: config.min_packets_30s as f64,
        };
        let (kind, what) = if are_no_answers(view, host, port) {
            (AlertKind::UdpFlood, "UDP datagrams that are no answers")
        } else {
            (AlertKind::Amplification, "UDP datagrams")
        };
        let summary = format!(
            "{host} got {answers} {what} ({bytes} bytes) from port {port} within {SECONDS} s and had asked there {asked} times"
        );
        let mut finding = view.finding(&DECLARATION, kind, measure, summary);
        finding.source = victim.shares.party();
        finding.destination = host.into();
        finding.facts =
            vec![("reflector_port", port.to_string()), ("bytes", bytes.to_string()), ("asked", asked.to_string())];
        finding.contributors = victim.shares.contributors(answers);
        Some(finding)
    }
}

/// Whether most of what was read of the messages between a host and a server's port is nothing that a server sends to who asked:
/// an answer to a query has the question in front. Only DNS is read.
fn are_no_answers(view: &View<'_>, host: IpAddr, port: u16) -> bool {
    let is_between = |one: (IpAddr, u16), other: (IpAddr, u16)| one.0 == host && other.1 == port;
    let (mut read, mut answers) = (0, 0);
    for event in &view.snapshot.events {
        let PacketEvent::Dns(message) = event else { continue };
        if is_between(message.client, message.server) || is_between(message.server, message.client) {
            read += 1;
            let is_answer = message.is_response && message.opcode == 0 && !message.is_malformed;
            answers += usize::from(is_answer && message.questions.len() <= 1);
        }
    }
    read >= MIN_READ && answers * 2 < read
}

impl Detector for Amplification {
    fn declaration(&self) -> &'static Declaration {
        &DECLARATION
    }

    fn take(&mut self, run: &Run<'_>, _: &[Try]) {
        for seen in run.flows.iter().filter(|seen| seen.flow.proto == proto::UDP) {
            let ends = [&seen.flow.originator, &seen.flow.responder];
            // Whoever seems to have begun: an answer that nobody asked for begins its flow.
            for (side, reflector) in ends.into_iter().enumerate() {
                let victim = ends[1 - side];
                if !REFLECTOR_PORTS.contains(&reflector.port)
                    || victim.port == reflector.port
                    || is_group(victim.address)
                {
                    continue;
                }
                let met = self.met.entry((victim.address, reflector.port)).or_default();
                met.asked += seen.sent[1 - side].packets;
                met.answers += seen.sent[side].packets;
                met.bytes += seen.sent[side].bytes;
                met.shares.add(reflector.address, seen.sent[side].packets);
            }
        }
    }

    fn inspect(&mut self, view: &View<'_>, out: &mut Vec<Finding>) {
        let (end, counted) = (view.end(), view.counted());
        self.victims.advance(end);
        let least = MIN_RATE * view.snapshot.seconds();
        for (key, met) in std::mem::take(&mut self.met).into_iter().filter(|(_, met)| met.answers as f64 >= least) {
            let victim = self.victims.meet(key);
            victim.asked.add(counted, met.asked);
            victim.answers.add(counted, met.answers);
            victim.bytes.add(counted, met.bytes);
            victim.shares.merge(&met.shares);
            out.extend(Self::judge(&self.config, view, key, victim));
        }
    }

    fn evicted(&self) -> u64 {
        self.victims.evicted()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Flow, host, row};
    use super::{Amplification, AmplificationConfig};
    use crate::domain::{Finding, Party};

    fn judge(count: u64, flows: impl Fn(u64) -> Vec<Flow>) -> Vec<Finding> {
        row(&mut Amplification::new(AmplificationConfig::default()), count, flows)
    }

    #[test]
    fn unasked_answers_are_reported_whoever_seems_to_have_begun() {
        let found = judge(1, |_| (10..60).map(|from| Flow::udp(from, 11_211, 2, 40_000).sent(40, 1_400)).collect());
        assert_eq!((found.len(), found[0].source, found[0].destination), (1, Party::Many, Party::Host(host(2))));
        let found = judge(6, |_| vec![Flow::udp(2, 40_000, 3, 123).sent(0, 0).answered(300, 468)]);
        assert_eq!((found[0].source, found[0].measure.observed), (Party::Host(host(3)), 1_200.0), "adds up");
    }

    #[test]
    fn resolvers_discovery_and_services_are_none() {
        let resolver = |from: u16| Flow::udp(2, 1_024 + from, 3, 53).answered(1, 1_200);
        assert!(judge(6, |_| (0..4_000).map(resolver).collect()).is_empty(), "asked for");
        assert!(judge(6, |_| vec![Flow::udp(2, 1_900, 250 << 16, 1_900).sent(900, 1_400)]).is_empty(), "same port");
        assert!(judge(6, |_| vec![Flow::udp(2, 443, 3, 40_000).sent(9_000, 1_400)]).is_empty(), "QUIC");
        assert!(judge(6, |_| vec![Flow::udp(2, 53, 3, 40_000).sent(900, 60)]).is_empty(), "small");
    }
}
