//! Floods of what belongs to no conversation: packets of one kind at one host that nobody there asked for, in masses.
//!
//! A SYN or a datagram may begin a conversation; how many of those are too many, `syn_flood` and `udp_flood` judge. What begins
//! none is rare, whatever the host does, so that its number alone says enough:
//! - TCP segments without a connection (`ack_flood`), resets (`rst_flood`) and SYN-ACKs (`synack_reflection`) to a host that
//!   sent no SYN and says nothing but resets;
//! - later fragments whose first never came (`fragment_flood`);
//! - ICMP errors to a host that sends less than they complain about (`icmp_flood`);
//! - another protocol than TCP, UDP and ICMP from many sources to a host that sends none of it (`protocol_flood`);
//! - single datagrams at port after port, faster than a scan (`udp_flood`).
//!
//! What goes without an answer says nothing where one direction is seen. A scan tries each service a few times: what is
//! spread over ports counts only from a thousand a second on.
//! Known false alarms: very many long connections of which nothing was seen before and whose server is gone. Evasion: rates
//! below.

use std::net::IpAddr;

use nta_common::packet::proto;

use super::attempt::{REFLECTOR_PORTS, SourcePorts, is_group};
use super::declaration::{Basis, Cost, Declaration, FlowUse, Rates, Scope};
use super::recent::{Active, Counted, Map, Recent, Shares, Sliding, Weigh};
use super::{Detector, Try, View};
use crate::domain::{AlertKind, Endpoint, Finding, FlowObservation, Measure, Visibility};
use crate::tunables::{Bounds, tunables};
use crate::window::{Overflow, Run, Span};

tunables! {
    /// Floods of what belongs to no conversation.
    FloodConfig in "detect.flood" {
        /// Packets of one kind within 30 s at one host, at one port of it where the kind has ports. Default: 20 a second, as for
        /// SYNs of many sources.
        min_packets_30s: u64 = 600 => Bounds::COUNT,
        /// The same for ICMP errors, and for what is spread over ports. Default: 100 a second: a scan of a thousand ports, or a
        /// route that fails, stays below.
        min_spread_30s: u64 = 3_000 => Bounds::COUNT,
        /// Packets a second, while they come, from which on what is spread over ports is no scan; half of it where they come
        /// from as many source ports, which scanners do not. Default: twenty times nmap's
        /// fastest against one host that answers nothing (50 a second, `-T4`).
        min_spread_rate: u64 = 1_000 => Bounds::COUNT,
        /// Sources of a flood of another protocol: one may be a tunnel, or a switch that sends a copy of its traffic.
        min_protocol_sources: u64 = 8 => Bounds::COUNT,
    }
}

pub(super) const DECLARATION: Declaration = Declaration {
    name: "flood",
    spans: &[Span::Base],
    basis: Basis::Rule,
    scope: Scope::Hosts,
    flows: FlowUse::Shared,
    cost: Cost::Short,
    rates: Rates::Measured,
};

/// Victims that are remembered, by kind and port.
const MAX_VICTIMS: usize = 16_384;
/// Over which time packets are counted, in seconds.
const SECONDS: u64 = 30;
/// Packets a second below which a window is not remembered.
const MIN_RATE: f64 = 2.0;
/// A flow with more is no stray packet: SYN-ACKs are sent six times (Linux `tcp_synack_retries` and the first).
const MAX_STRAY: u64 = 6;
/// Packets a second of one flow without a connection that is a flood by itself.
const MIN_STREAM_RATE: f64 = 1_000.0;
/// A stream that lasts shorter has to have as many packets as in this time, in seconds.
const MIN_STREAM_S: f64 = 0.5;
/// Segments that a client sends in a connection, taken large: most have some ten.
const MAX_SEGMENTS_OF_CONNECTION: u64 = 100;

/// From this share on one source sent most of it.
const MAIN_SHARE: f64 = 0.5;

/// What the packets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum What {
    /// Never here: `syn_flood` counts them.
    Syns,
    Segments,
    Resets,
    SynAcks,
    Fragments,
    IcmpErrors,
    Datagrams,
    Protocol(u8),
}

/// Host, what it got, and at which port; without one, at all of them.
type Victim = (IpAddr, What, Option<u16>);

/// Finds floods over the last 30 s.
#[derive(Debug)]
pub(super) struct Flood {
    config: FloodConfig,
    met: Map<Victim, Met>,
    victims: Recent<Victim, Hits>,
}

#[derive(Debug, Default)]
struct Hits {
    packets: Sliding,
    shares: Shares,
}

/// One victim in one window.
#[derive(Debug, Default)]
struct Met {
    packets: u64,
    active: Active,
    /// Of datagrams.
    source_ports: SourcePorts,
    shares: Shares,
}

impl Weigh for Hits {
    fn weight(&self) -> u64 {
        self.packets.total()
    }
}

impl What {
    pub(super) const fn kind(self) -> AlertKind {
        match self {
            Self::Syns => AlertKind::SynFlood,
            Self::Segments => AlertKind::AckFlood,
            Self::Resets => AlertKind::RstFlood,
            Self::SynAcks => AlertKind::SynackReflection,
            Self::Fragments => AlertKind::FragmentFlood,
            Self::IcmpErrors => AlertKind::IcmpFlood,
            Self::Datagrams => AlertKind::UdpFlood,
            Self::Protocol(_) => AlertKind::ProtocolFlood,
        }
    }

    fn words(self) -> String {
        match self {
            Self::Syns => "SYNs".to_owned(),
            Self::Segments => "TCP segments of no connection".to_owned(),
            Self::Resets => "TCP resets of no connection".to_owned(),
            Self::SynAcks => "SYN-ACKs to SYNs that it never sent".to_owned(),
            Self::Fragments => "later fragments of datagrams whose first never came".to_owned(),
            Self::IcmpErrors => "ICMP errors about packets that it never sent".to_owned(),
            Self::Datagrams => "single datagrams at port after port, none of them answered,".to_owned(),
            Self::Protocol(number) => format!("packets of IP protocol {number}, of which it sent none,"),
        }
    }

    /// Whether this capture point would see what asked for it.
    pub(super) fn would_show(self, visibility: &Visibility) -> bool {
        match self {
            Self::Syns | Self::Fragments => true,
            Self::Datagrams => !visibility.udp.is_one_sided(),
            Self::Segments | Self::Resets | Self::SynAcks => !visibility.tcp.is_one_sided(),
            Self::IcmpErrors | Self::Protocol(_) => !visibility.is_one_sided(),
        }
    }
}

/// What a side of a flow sent that belongs to no conversation.
pub(super) fn stray(seen: &FlowObservation, side: usize) -> Option<What> {
    let flow = &seen.flow;
    let (from, to) = if side == 0 { (&flow.originator, &flow.responder) } else { (&flow.responder, &flow.originator) };
    if seen.sent[side].packets == 0 || is_group(to.address) {
        return None;
    }
    let silent = to.sent.packets == 0;
    match flow.proto {
        proto::TCP | proto::UDP if from.port == 0 && to.port == 0 => silent.then_some(What::Fragments),
        proto::TCP => stray_segment(seen, from, to),
        proto::UDP => {
            let is_single = seen.is_new && from.sent.packets <= 2 && silent;
            (is_single && !REFLECTOR_PORTS.contains(&from.port)).then_some(What::Datagrams)
        }
        // Each flow of ICMP has the type of who began in place of its port.
        proto::ICMP if side == 0 => matches!(from.port, 3 | 4 | 5 | 11 | 12).then_some(What::IcmpErrors),
        proto::ICMPV6 if side == 0 => matches!(from.port, 1..=4).then_some(What::IcmpErrors),
        proto::ICMP | proto::ICMPV6 => None,
        number => silent.then_some(What::Protocol(number)),
    }
}

fn stray_segment(seen: &FlowObservation, from: &Endpoint, to: &Endpoint) -> Option<What> {
    let only_resets = to.sent.packets == u64::from(to.tcp.rst);
    if from.tcp.syn > 0 || to.tcp.syn > 0 || !only_resets {
        return None;
    }
    let sent = from.sent.packets;
    let what = if sent == u64::from(from.tcp.rst) {
        What::Resets
    } else if sent == u64::from(from.tcp.syn_ack) {
        What::SynAcks
    } else {
        What::Segments
    };
    let lasted_s = (seen.flow.last.since(seen.flow.first) as f64 / 1e9).max(MIN_STREAM_S);
    let is_stream = || sent as f64 >= MIN_STREAM_RATE * lasted_s && (to.tcp.rst > 0 || from.payload_bytes == Some(0));
    ((seen.is_new && sent <= MAX_STRAY) || is_stream()).then_some(what)
}

impl Flood {
    pub(super) fn new(config: FloodConfig) -> Self {
        Self { config, met: Map::default(), victims: Recent::new(MAX_VICTIMS, SECONDS) }
    }

    fn judge(config: &FloodConfig, view: &View<'_>, victim: Victim, met: &Met, hits: &Hits) -> Option<Finding> {
        let (host, what, port) = victim;
        let spread = matches!(what, What::Datagrams | What::IcmpErrors) || (what == What::Segments && port.is_none());
        let threshold = if spread { config.min_spread_30s } else { config.min_packets_30s };
        let packets = hits.packets.sum(view.end(), SECONDS);
        view.state(&DECLARATION, host, ("stray_packets", "packets"), [packets as f64, threshold as f64]);
        if packets < threshold || !Self::is_unasked(view, host, what, met) {
            return None;
        }
        let rate = met.active.rate(met.packets, view.snapshot.seconds());
        let is_other = match what {
            // One source that tries port after port scans.
            What::Segments if spread => rate < config.min_spread_rate as f64 || hits.shares.largest() >= MAIN_SHARE,
            What::Datagrams => {
                let least = config.min_spread_rate as f64;
                rate < if met.source_ports.are_many() { least / 2.0 } else { least }
            }
            What::Protocol(_) => hits.shares.known_sources() < config.min_protocol_sources,
            _ => false,
        };
        if is_other {
            return None;
        }
        let measure = Measure {
            name: "stray_packets",
            unit: "packets",
            observed: packets as f64,
            expected: None,
            threshold: threshold as f64,
        };
        let source = hits.shares.party();
        let from = source.host().map_or_else(|| "many sources".to_owned(), |host| host.to_string());
        let place = port.map_or_else(String::new, |port| format!(" port {port}"));
        let summary = format!(
            "{host}{place} got {packets} {} within {SECONDS} s from {from}, {rate:.0} a second while they came",
            what.words()
        );
        let mut finding = view.finding(&DECLARATION, what.kind(), measure, summary);
        finding.source = source;
        finding.destination = host.into();
        finding.port = port;
        finding.facts =
            vec![("rate", format!("{rate:.1}")), ("mean_rate", format!("{:.1}", packets as f64 / SECONDS as f64))];
        finding.contributors = hits.shares.contributors(packets);
        Some(finding)
    }

    /// Whether nothing that the host did explains what it got.
    fn is_unasked(view: &View<'_>, host: IpAddr, what: What, met: &Met) -> bool {
        let Some(known) = view.snapshot.hosts.get(&host) else { return true };
        match what {
            // Who scans gets an error for each packet, who is downloaded from a large datagram's fragments with a first.
            What::IcmpErrors => known.sent.packets - known.sent_by.icmp < met.packets / 2,
            What::Fragments => met.packets * 2 >= known.received_by.udp + known.received_by.tcp,
            What::Protocol(_) => known.sent_by.other * 10 < met.packets,
            _ => true,
        }
    }

    /// Takes packets that found the flow table full. Segments are none of a flood where SYNs to the same service found it full in
    /// the last minutes, as many as connections begin with: those are connections that had no room. SYNs are taken first.
    fn add_overflow(&mut self, overflow: &Overflow, counted: Counted) {
        let Some(host) = overflow.destination else { return };
        let begins = (host, What::Syns, Some(overflow.port));
        if overflow.syn {
            self.victims.meet(begins).packets.add(counted, overflow.packets);
            return;
        }
        let begun =
            self.victims.meet_known(&begins).map_or(0, |hits| hits.packets.sum(counted.end, Sliding::LONGEST_S));
        if overflow.proto == proto::TCP && begun.saturating_mul(MAX_SEGMENTS_OF_CONNECTION) >= overflow.packets {
            return;
        }
        let victim = match overflow.proto {
            proto::TCP | proto::UDP if overflow.port == 0 => (host, What::Fragments, None),
            proto::TCP => (host, What::Segments, Some(overflow.port)),
            proto::UDP | proto::ICMP | proto::ICMPV6 => return,
            number => (host, What::Protocol(number), None),
        };
        let met = self.met.entry(victim).or_default();
        met.packets += overflow.packets;
        met.shares.add_unknown(overflow.packets);
    }
}

impl Detector for Flood {
    fn declaration(&self) -> &'static Declaration {
        &DECLARATION
    }

    fn take(&mut self, run: &Run<'_>, _: &[Try]) {
        for seen in run.flows {
            let flow = &seen.flow;
            for (side, [from, to]) in
                [[&flow.originator, &flow.responder], [&flow.responder, &flow.originator]].into_iter().enumerate()
            {
                let Some(what) = stray(seen, side) else { continue };
                let packets = seen.sent[side].packets;
                let ports = [None, (what == What::Segments).then_some(to.port)];
                for port in ports.into_iter().take(1 + usize::from(ports[1].is_some())) {
                    let met = self.met.entry((to.address, what, port)).or_default();
                    met.packets += packets;
                    met.active.add(flow.first.max(run.start), flow.last.min(run.end));
                    met.shares.add(from.address, packets);
                    if what == What::Datagrams {
                        met.source_ports.add(from.port);
                    }
                }
            }
        }
    }

    fn inspect(&mut self, view: &View<'_>, out: &mut Vec<Finding>) {
        let (end, counted) = (view.end(), view.counted());
        self.victims.advance(end);
        let overflow = &view.snapshot.window.overflow;
        let [syns, others] = [true, false].map(|syn| overflow.iter().filter(move |one| one.syn == syn));
        syns.chain(others).for_each(|one| self.add_overflow(one, counted));
        let least = MIN_RATE * view.snapshot.seconds();
        let mut found: Vec<(Victim, Finding)> = Vec::new();
        for (victim, met) in std::mem::take(&mut self.met) {
            if (met.packets as f64) < least || !victim.1.would_show(&view.snapshot.visibility) {
                continue;
            }
            let hits = self.victims.meet(victim);
            hits.packets.add(counted, met.packets);
            hits.shares.merge(&met.shares);
            found.extend(Self::judge(&self.config, view, victim, &met, hits).map(|finding| (victim, finding)));
        }
        // A flood of one port is one of the host, too.
        let of_ports: Vec<Victim> =
            found.iter().map(|(victim, _)| *victim).filter(|(.., port)| port.is_some()).collect();
        let is_told = |(host, what, port): Victim| {
            port.is_none() && of_ports.iter().any(|known| (known.0, known.1) == (host, what))
        };
        out.extend(found.into_iter().filter(|(victim, _)| !is_told(*victim)).map(|(_, finding)| finding));
    }

    fn evicted(&self) -> u64 {
        self.victims.evicted()
    }
}

#[cfg(test)]
#[path = "flood_tests.rs"]
mod tests;
