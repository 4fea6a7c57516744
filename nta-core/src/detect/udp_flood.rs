//! UDP flood: datagrams at one host in a way that no protocol sends them.
//!
//! Rate alone says nothing: voice, video, QUIC and games send hundreds of packets a second. What they have in common
//! is that a conversation keeps its ports. Flood tools take a new source port for each datagram (hping3's default) or
//! spray ports, and hardly listen. So it counts
//! - *scattered* datagrams: flows that began and ended with one or two datagrams, at one service, where one source
//!   takes port after port, or where nobody answers;
//! - *sprayed* ones: large datagrams without an answer to many ports of one host (small ones are a scan's);
//! - *deaf* streams: a thousand datagrams a second at one service, for half a second or longer, and nothing back; half as many
//!   where they are small, a hundred where the host has said that it takes none.
//!
//! Services that are asked by one datagram from a new port each (DNS, NTP, …) count only where they do not answer.
//! Known false alarms: one-way streams above the rate (multicast does not count), load generators. Evasion: a slow
//! flood from one source port looks like telemetry.

use std::collections::HashSet;
use std::net::IpAddr;

use nta_common::flow::Counts;
use nta_common::packet::proto;

use super::attempt::{REFLECTOR_PORTS, is_group, sides};
use super::declaration::{Basis, Cost, Declaration, FlowUse, Rates, Scope};
use super::recent::{Map, Recent, Shares, Sliding, Weigh};
use super::{Detector, Try, View};
use crate::domain::{AlertKind, Finding, FlowObservation, Measure};
use crate::tunables::{Bounds, tunables};
use crate::window::{Run, Span};

tunables! {
    /// UDP floods.
    UdpFloodConfig in "detect.udp_flood" {
        /// Scattered datagrams within 30 s at one service, most of them from one source. Default: 5 a second; a
        /// conversation keeps its port.
        min_scattered_30s: u64 = 150 => Bounds::COUNT,
        /// Scattered or sprayed datagrams without an answer within 30 s, whoever sent them. Default: 20 a second, so
        /// that a burst of 600 is one.
        min_unanswered_30s: u64 = 600 => Bounds::COUNT,
        /// Datagrams a second of a stream to which nothing comes back, while it lasts, half a second at least. Juniper's
        /// default for a UDP flood; a camera's 8 Mbit/s are 800.
        min_deaf_rate: u64 = 1_000 => Bounds::COUNT,
        /// The same of small datagrams, 500 bytes on the average at most: video fills its packets, and audio sends 100 a second
        /// at most (RFC 3551: 20 ms each by default). Ports to which devices report do not count.
        min_small_rate: u64 = 500 => Bounds::COUNT,
        /// The same where the target has said in the window that it takes none (ICMP destination unreachable): who sends on,
        /// a hundred a second, does not want an answer.
        min_refused_rate: u64 = 100 => Bounds::COUNT,
    }
}

pub(super) const DECLARATION: Declaration = Declaration {
    name: "udp_flood",
    spans: &[Span::Base],
    basis: Basis::Rule,
    scope: Scope::Hosts,
    flows: FlowUse::Shared,
    cost: Cost::Short,
    rates: Rates::Measured,
};

/// Services, and hosts with sprayed ports, that are remembered.
const MAX_TARGETS: usize = 16_384;
/// Over which time datagrams are counted, in seconds.
const SECONDS: u64 = 30;
/// A flow with more is a conversation.
const MAX_SCATTERED: u64 = 2;
/// Datagrams a second below which a window is not remembered: under half of the slowest flood.
const MIN_RATE: f64 = 2.0;
/// Mean IP bytes from which on a datagram is no probe: nmap's largest payloads stay below (nmap-payloads, 2023).
const LARGE_BYTES: u64 = 300;
/// Mean IP bytes up to which datagrams are no video's.
const SMALL_BYTES: u64 = 500;
/// A stream whose other side sends less than this share of its packets is deaf.
const DEAF_SHARE: f64 = 0.01;
/// A deaf stream that lasts shorter has to have as many datagrams as in this time, in seconds.
const MIN_DEAF_S: f64 = 0.5;
/// From this share on one source sent most of it.
const MAIN_SHARE: f64 = 0.5;
/// Ports asked by one datagram from a new port each, beside the reflectors' ports: DHCP, SNMP traps, QUIC, syslog, RADIUS,
/// NetFlow, IPFIX, sFlow, StatsD.
const QUERY_PORTS: [u16; 10] = [67, 162, 443, 514, 1812, 1813, 2055, 4739, 6343, 8125];

/// A service, or with no port a host of which many ports were hit.
type Target = (IpAddr, Option<u16>);

/// Finds floods in base windows and over the last 30 s.
#[derive(Debug)]
pub(super) struct UdpFlood {
    config: UdpFloodConfig,
    targets: Recent<Target, Hits>,
    /// Numbers of the window's UDP flows to one host.
    flows: Vec<usize>,
    refusals: HashSet<(IpAddr, IpAddr)>,
}

#[derive(Debug, Default)]
struct Hits {
    scattered: Sliding,
    unanswered: Sliding,
    deaf: Sliding,
    shares: Shares,
}

/// One target in one window.
#[derive(Default)]
struct Met {
    scattered: u64,
    unanswered: u64,
    deaf: u64,
    /// The lowest rate from which on one of the deaf streams is a flood.
    deaf_rate: Option<u64>,
    shares: Shares,
}

impl Weigh for Hits {
    fn weight(&self) -> u64 {
        self.scattered.total() + self.unanswered.total() + self.deaf.total()
    }
}

impl UdpFloodConfig {
    /// Datagrams a second from which on a stream is a flood, if nothing comes back.
    fn deaf_rate(&self, sent: &Counts, port: u16, refused: bool) -> u64 {
        let is_small = sent.ip_bytes <= sent.packets * SMALL_BYTES && !is_queried(port);
        if refused {
            self.min_refused_rate
        } else if is_small {
            self.min_small_rate
        } else {
            self.min_deaf_rate
        }
    }
}

/// Whether it is a port that is asked, or reported to, by single datagrams.
fn is_queried(port: u16) -> bool {
    QUERY_PORTS.contains(&port) || REFLECTOR_PORTS.contains(&port)
}

impl UdpFlood {
    pub(super) fn new(config: UdpFloodConfig) -> Self {
        Self { config, targets: Recent::new(MAX_TARGETS, SECONDS), flows: Vec::new(), refusals: HashSet::new() }
    }

    fn judge(
        config: &UdpFloodConfig,
        view: &View<'_>,
        (host, port): Target,
        deaf_rate: u64,
        hits: &Hits,
    ) -> Option<Finding> {
        let end = view.end();
        let one = hits.shares.largest() >= MAIN_SHARE;
        let scattered =
            if one && port.is_some_and(|port| !is_queried(port)) { hits.scattered.sum(end, SECONDS) } else { 0 };
        let (what, observed, threshold, seconds) = [
            ("scattered_datagrams", scattered, config.min_scattered_30s, SECONDS as f64),
            ("unanswered_datagrams", hits.unanswered.sum(end, SECONDS), config.min_unanswered_30s, SECONDS as f64),
            ("deaf_datagrams", hits.deaf.newest(end), deaf_rate / 2, view.snapshot.seconds()),
        ]
        .into_iter()
        .inspect(|(what, observed, threshold, _)| {
            view.state(&DECLARATION, host, (*what, "datagrams"), [*observed as f64, *threshold as f64]);
        })
        .find(|(_, observed, threshold, _)| observed >= threshold)?;
        let measure = Measure {
            name: what,
            unit: "datagrams",
            observed: observed as f64,
            expected: None,
            threshold: threshold as f64,
        };
        let source = hits.shares.party();
        let from = source.host().map_or_else(|| "many sources".to_owned(), |host| host.to_string());
        let place = port.map_or_else(|| "many ports".to_owned(), |port| format!("port {port}"));
        let how = match what {
            "scattered_datagrams" => "each from a new source port",
            "unanswered_datagrams" => "without an answer",
            _ => "in streams that nobody answers",
        };
        let summary = format!("{host}, {place}, got {observed} UDP datagrams within {seconds:.0} s from {from}, {how}");
        let mut finding = view.finding(&DECLARATION, AlertKind::UdpFlood, measure, summary);
        finding.source = source;
        finding.destination = host.into();
        finding.port = port;
        finding.facts = vec![
            ("rate", format!("{:.1}", observed as f64 / seconds)),
            ("unanswered", hits.unanswered.sum(end, SECONDS).to_string()),
        ];
        finding.contributors = hits.shares.contributors(observed);
        Some(finding)
    }
}

/// Whether the originator refused the responder's datagrams (ICMP destination unreachable).
const fn is_refusal(seen: &FlowObservation) -> bool {
    matches!((seen.flow.proto, seen.flow.originator.port), (proto::ICMP, 3) | (proto::ICMPV6, 1))
}

/// What one flow brings in the window, with the pairs of hosts of which the first refused the second's datagrams: to its service, and to its host when it was one of many ports.
fn count(
    seen: &FlowObservation,
    view: &View<'_>,
    config: &UdpFloodConfig,
    refusals: &HashSet<(IpAddr, IpAddr)>,
    met: &mut Map<Target, Met>,
) {
    let flow = &seen.flow;
    let [(sender, sent), (target, received)] = sides(seen);
    let (packets, back) = (sent.packets, received.packets);
    let service = (target.address, Some(target.port));
    let source = sender.address;
    if seen.is_new && packets <= MAX_SCATTERED {
        let silent = back == 0;
        let met_service = met.entry(service).or_default();
        met_service.scattered += packets;
        met_service.unanswered += if silent && !view.snapshot.visibility.udp.is_one_sided() { packets } else { 0 };
        met_service.shares.add(source, packets);
        if silent && sent.ip_bytes >= packets * LARGE_BYTES {
            let met_host = met.entry((target.address, None)).or_default();
            met_host.unanswered += packets;
            met_host.shares.add(source, packets);
        }
    } else if (back as f64) < packets as f64 * DEAF_SHARE {
        let lasted_s = flow.last.min(view.end()).since(flow.first.max(view.start())) as f64 / 1e9;
        let refused = refusals.contains(&(target.address, source));
        // Who refuses is seen to answer.
        let is_seen = refused || !view.snapshot.visibility.udp.is_one_sided();
        let least = config.deaf_rate(sent, target.port, refused);
        if is_seen && packets as f64 >= least as f64 * lasted_s.max(MIN_DEAF_S) {
            let met_service = met.entry(service).or_default();
            met_service.deaf += packets;
            met_service.deaf_rate = Some(met_service.deaf_rate.map_or(least, |known| known.min(least)));
            met_service.shares.add(source, packets);
        }
    }
}

impl Detector for UdpFlood {
    fn declaration(&self) -> &'static Declaration {
        &DECLARATION
    }

    fn take(&mut self, run: &Run<'_>, _: &[Try]) {
        for (at, seen) in run.flows.iter().enumerate() {
            if seen.flow.proto == proto::UDP && !is_group(sides(seen)[1].0.address) {
                self.flows.push(run.first + at);
            } else if is_refusal(seen) {
                self.refusals.insert((seen.flow.originator.address, seen.flow.responder.address));
            }
        }
    }

    fn inspect(&mut self, view: &View<'_>, out: &mut Vec<Finding>) {
        let (end, counted) = (view.end(), view.counted());
        self.targets.advance(end);
        let mut met: Map<Target, Met> = Map::default();
        for seen in self.flows.drain(..).filter_map(|number| view.snapshot.flows.get(number)) {
            count(seen, view, &self.config, &self.refusals, &mut met);
        }
        self.refusals.clear();
        let least = MIN_RATE * view.snapshot.seconds();
        met.retain(|_, met| (met.scattered.max(met.unanswered) + met.deaf) as f64 >= least);
        for overflow in view.snapshot.window.overflow.iter().filter(|overflow| overflow.proto == proto::UDP) {
            if let Some(host) = overflow.destination {
                let met = met.entry((host, Some(overflow.port))).or_default();
                met.unanswered += overflow.packets;
                met.shares.add_unknown(overflow.packets);
            }
        }
        for (key, met) in met {
            let hits = self.targets.meet(key);
            hits.scattered.add(counted, met.scattered);
            hits.unanswered.add(counted, met.unanswered);
            hits.deaf.add(counted, met.deaf);
            hits.shares.merge(&met.shares);
            let deaf_rate = met.deaf_rate.unwrap_or(self.config.min_deaf_rate);
            out.extend(Self::judge(&self.config, view, key, deaf_rate, hits));
        }
    }

    fn evicted(&self) -> u64 {
        self.targets.evicted()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Flow, host, row};
    use super::{UdpFlood, UdpFloodConfig};
    use crate::domain::{Finding, Party};

    fn judge(count: u64, flows: impl Fn(u64) -> Vec<Flow>) -> Vec<Finding> {
        row(&mut UdpFlood::new(UdpFloodConfig::default()), count, flows)
    }

    fn scattered(i: u64, count: u64, port: u16) -> impl Iterator<Item = Flow> {
        (0..count).map(move |n| Flow::udp(1, 1024 + (i * count + n) as u16, 2, port))
    }

    #[test]
    fn a_new_port_for_each_datagram_is_a_flood_even_if_answered() {
        let found = judge(6, |i| scattered(i, 50, 9955).map(|flow| flow.answered(1, 60)).collect());
        assert_eq!((found.len(), found[0].source, found[0].port), (4, Party::Host(host(1)), Some(9955)));
    }

    #[test]
    fn a_resolver_that_answers_is_not_flooded() {
        assert!(judge(12, |i| scattered(i, 500, 53).map(|flow| flow.answered(1, 200)).collect()).is_empty());
        assert!(!judge(12, |i| scattered(i, 500, 53).collect()).is_empty());
    }

    #[test]
    fn who_sends_on_where_nobody_takes_it_floods() {
        let stream = Flow::udp(1, 40_000, 2, 9_955).sent(3_000, 1_300);
        let refusal = Flow::unreachable(2, 1);
        let found = judge(1, |_| vec![stream.clone().lasting(4.9), refusal.clone()]);
        assert_eq!(
            (found.len(), found[0].source, found[0].destination),
            (1, Party::Host(host(1)), Party::Host(host(2)))
        );
        assert!(judge(1, |_| vec![stream.clone().lasting(4.9)]).is_empty(), "a camera");
        let other = Flow::unreachable(2, 3);
        assert!(judge(1, |_| vec![stream.clone().lasting(4.9), other.clone()]).is_empty(), "another's");
        // As Zeek turns round what comes from a server's port.
        let turned = Flow::udp(2, 9_955, 1, 53).sent(0, 0).answered(3_000, 1_300).lasting(4.9);
        assert_eq!(judge(1, |_| vec![turned.clone(), refusal.clone()])[0].source, Party::Host(host(1)));
    }

    #[test]
    fn a_missing_answer_says_nothing_where_one_direction_is_seen() {
        let download = Flow::udp(2, 50_000, 1, 443).sent(0, 0).answered(6_000, 1_200).lasting(4.9);
        assert!(judge(1, |_| vec![download.clone()]).is_empty());
        let whole = |n: u32| Flow::udp(10 + n, 40_000, 4, 5_000).sent(50, 80).answered(50, 80).since(0);
        let both = |_| (0..20).map(whole).chain([download.clone()]).collect();
        assert_eq!(judge(1, both)[0].destination, Party::Host(host(2)), "where both are seen it does");
    }

    #[test]
    fn conversations_are_none() {
        let voice = Flow::udp(1, 5004, 2, 5004).sent(250, 200).answered(250, 200).since(0);
        let video = Flow::udp(1, 50_000, 2, 443).sent(900, 1_200).answered(5_000, 1_300).since(0);
        let metrics = Flow::udp(1, 50_001, 2, 9_999).sent(50, 80).since(0);
        let down = Flow::udp(3, 40_000, 4, 51_820).sent(30_000, 1_400).answered(15_000, 80).since(0);
        assert!(judge(40, |_| vec![voice.clone(), video.clone(), metrics.clone(), down.clone()]).is_empty());
    }

    #[test]
    fn large_datagrams_at_many_ports_are_a_flood_of_the_host() {
        let found = judge(1, |_| (1..2_000).map(|port| Flow::udp(1, 40_000, 2, port).sent(1, 1_000)).collect());
        assert_eq!((found.len(), found[0].destination, found[0].port), (1, Party::Host(host(2)), None));
        assert!(judge(1, |_| (1..2_000).map(|port| Flow::udp(1, 40_000, 2, port)).collect()).is_empty(), "a scan");
    }

    #[test]
    fn a_stream_that_nobody_answers_is_one_above_the_rate() {
        let stream = |packets, seconds| Flow::udp(1, 40_000, 2, 80).sent(packets, 1_300).lasting(seconds);
        assert_eq!(judge(1, |_| vec![stream(5_000, 4.9)]).len(), 1);
        let small = |port| Flow::udp(1, 40_000, 2, port).sent(3_000, 228).lasting(4.9);
        assert_eq!(judge(1, |_| vec![small(5_201)]).len(), 1, "too small for video, too many for audio");
        assert!(judge(6, |_| vec![small(8_125)]).is_empty(), "metrics");
        assert_eq!(judge(1, |_| vec![stream(600, 0.1)]).len(), 1, "a burst");
        assert!(judge(1, |_| vec![stream(4_000, 4.9)]).is_empty(), "a camera");
        assert!(judge(1, |_| vec![stream(400, 0.01)]).is_empty(), "a picture");
    }

    #[test]
    fn strangers_that_call_a_peer_are_none() {
        let calls = |from| Flow::udp(from, 6_881, 2, 6_881);
        assert!(judge(12, |i| (0..90).map(|n| calls(10 + i as u32 * 90 + n)).collect()).is_empty());
    }
}
