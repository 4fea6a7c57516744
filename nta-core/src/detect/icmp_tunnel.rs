//! ICMP tunnel: echo packets between two hosts that are no echoes.
//!
//! An echo reply returns what the request carried, byte for byte (RFC 792, RFC 4443 4.2), so that what comes back has the requests'
//! lengths. A tunnel (ptunnel, hans, icmpsh, icmptunnel) puts data of its own in either direction: more comes back than was asked, or
//! something else. Per window this counts the *foreign bytes*: those by which the replies differ from the requests and that no loss
//! explains. A lost packet explains anything between a header and a jumbo frame; replies that come twice explain as many
//! bytes as the requests have on average. `ping` of one size has none at any rate, with any loss; several pings of different sizes have what is under way
//! when a window ends.
//!
//! A tunnel whose other end sends everything back, as a kernel does, is known by its lengths: `ping` keeps one, packets of a tunnel have all.
//!
//! Known false alarms: `ping` that grows with each packet (`-g`, `-G` on BSD) for minutes; fragments of one ping that are cut at different lengths in either direction.
//! Evasion: padding everything to one length.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;

use nta_common::flow::Counts;
use nta_common::packet::proto;

use super::declaration::{Basis, Cost, Declaration, FlowUse, Rates, Scope};
use super::recent::{Recent, Weigh, first_of};
use super::{Detector, Try, View};
use crate::domain::{AlertKind, Finding, FlowObservation, Measure, Timestamp};
use crate::tunables::{Bounds, tunables};
use crate::window::{Run, Span};

tunables! {
    /// Tunnels through ICMP echo.
    IcmpTunnelConfig in "detect.icmp_tunnel" {
        /// Foreign bytes between two hosts within 180 s. Default: a screen of text.
        min_foreign_bytes: u64 = 1_000 => Bounds::BYTES,
        /// Their share of all bytes of echo packets between the two, 0 to 1. Default: twice what two pings of 56 and 1,472 bytes, ten times a
        /// second each, have under way when windows end.
        min_foreign_share: f64 = 0.05 => Bounds::SHARE,
        /// Windows of 5 s within 180 s with different mean lengths of the requests that make a tunnel of what is sent back unchanged. Default: a search for
        /// the path's MTU needs eleven lengths.
        min_lengths: u64 = 20 => Bounds::COUNT,
    }
}

pub(super) const DECLARATION: Declaration = Declaration {
    name: "icmp_tunnel",
    spans: &[Span::Base],
    basis: Basis::Rule,
    scope: Scope::Hosts,
    flows: FlowUse::Shared,
    cost: Cost::Short,
    rates: Rates::Unused,
};

/// Pairs that are remembered.
const MAX_PAIRS: usize = 4_096;
/// Over which time is judged, in seconds.
const SECONDS: u64 = 180;
/// Windows of a pair that are kept: those of 180 s, where windows are as short as a second.
const MAX_WINDOWS: usize = 180;
/// Windows with foreign bytes that are needed.
const MIN_WINDOWS: usize = 4;
/// An IP packet with an echo in it has at least so many bytes, and at most as many as a jumbo frame.
const PACKET_BYTES: [u64; 2] = [28, 9_000];
/// Packets below which a window's mean length says nothing.
const MIN_PACKETS: u64 = 2;
const NANOS: u64 = 1_000_000_000;

/// Who asks, and who is asked.
type Pair = (IpAddr, IpAddr);

/// Finds tunnels over the last three minutes.
#[derive(Debug)]
pub(super) struct IcmpTunnel {
    config: IcmpTunnelConfig,
    met: Vec<(Pair, ([Counts; 2], Timestamp))>,
    pairs: Recent<Pair, Echoes>,
}

/// What a pair's windows had.
#[derive(Debug, Default)]
struct Echoes(VecDeque<Echo>);

#[derive(Clone, Copy, Debug)]
struct Echo {
    /// The first packet in it.
    first: Timestamp,
    end: Timestamp,
    bytes: u64,
    foreign: u64,
    /// Mean length of the requests, unless they were too few.
    length: Option<u64>,
}

impl Weigh for Echoes {
    fn weight(&self) -> u64 {
        self.0.iter().map(|echo| echo.foreign + echo.bytes / 100).sum()
    }
}

/// Bytes by which the replies differ from the requests without a loss that explains it.
fn foreign(asked: &Counts, replied: &Counts) -> u64 {
    let [least, most] = PACKET_BYTES;
    if asked.packets == 0 || replied.packets == 0 {
        return 0;
    }
    match asked.packets.checked_sub(replied.packets) {
        Some(lost) => {
            let missing = asked.ip_bytes.saturating_sub(replied.ip_bytes);
            let too_much = (replied.ip_bytes + lost * least).saturating_sub(asked.ip_bytes);
            too_much + missing.saturating_sub(lost * most)
        }
        None => {
            let alike = u128::from(asked.ip_bytes) * u128::from(replied.packets) / u128::from(asked.packets);
            replied.ip_bytes.abs_diff(alike as u64).saturating_sub(replied.packets)
        }
    }
}

impl IcmpTunnel {
    pub(super) fn new(config: IcmpTunnelConfig) -> Self {
        Self { config, met: Vec::new(), pairs: Recent::new(MAX_PAIRS, SECONDS) }
    }

    fn judge(config: &IcmpTunnelConfig, view: &View<'_>, (asks, replies): Pair, echoes: &Echoes) -> Option<Finding> {
        let all = &echoes.0;
        let [bytes, foreign] =
            [|echo: &Echo| echo.bytes, |echo: &Echo| echo.foreign].map(|of| all.iter().map(of).sum::<u64>());
        let windows = all.iter().filter(|echo| echo.foreign > 0).count();
        let lengths = all.iter().filter_map(|echo| echo.length).collect::<BTreeSet<u64>>().len() as u64;
        let share = foreign as f64 / bytes.max(1) as f64;
        view.state(&DECLARATION, asks, ("foreign_bytes", "B"), [foreign as f64, config.min_foreign_bytes as f64]);
        view.state(&DECLARATION, asks, ("echo_lengths", "lengths"), [lengths as f64, config.min_lengths as f64]);
        let is_foreign =
            foreign >= config.min_foreign_bytes && share >= config.min_foreign_share && windows >= MIN_WINDOWS;
        let counts = |echo: &&Echo| if is_foreign { echo.foreign > 0 } else { echo.length.is_some() };
        let began = all.iter().filter(counts).map(|echo| echo.first).min();
        let (measure, says) = if is_foreign {
            let (name, unit, threshold) = ("foreign_bytes", "B", config.min_foreign_bytes as f64);
            let says = format!("{foreign} of {bytes} bytes in the last {SECONDS} s are no echo of what was sent");
            (Measure { name, unit, observed: foreign as f64, expected: None, threshold }, says)
        } else if lengths >= config.min_lengths {
            let (name, unit, threshold) = ("echo_lengths", "lengths", config.min_lengths as f64);
            let says = format!(
                "{bytes} bytes in the last {SECONDS} s of {lengths} different mean lengths, where ping keeps one"
            );
            (Measure { name, unit, observed: lengths as f64, expected: None, threshold }, says)
        } else {
            return None;
        };
        let summary = format!("ICMP echo packets between {asks} and {replies} carry data: {says}");
        let mut finding = view.finding(&DECLARATION, AlertKind::IcmpTunnel, measure, summary);
        finding.source = asks.into();
        finding.destination = replies.into();
        finding.seen = began.map(|first| [first, view.end()]);
        finding.facts = vec![
            ("bytes", bytes.to_string()),
            ("foreign_bytes", foreign.to_string()),
            ("foreign_share", format!("{share:.3}")),
            ("lengths", lengths.to_string()),
        ];
        Some(finding)
    }
}

/// Whether a flow is one of echo requests and replies. What has neither type is a later fragment.
const fn is_echo(seen: &FlowObservation) -> bool {
    let (own, back) = (seen.flow.originator.port, seen.flow.responder.port);
    match seen.flow.proto {
        proto::ICMP => own == 8 && back == 0,
        proto::ICMPV6 => own == 128 && back == 129,
        _ => false,
    }
}

/// Whether a flow began with a reply: its originator is then who is asked.
const fn is_reply(seen: &FlowObservation) -> bool {
    let (own, back) = (seen.flow.originator.port, seen.flow.responder.port);
    match seen.flow.proto {
        proto::ICMP => own == 0 && back == 8,
        proto::ICMPV6 => own == 129 && back == 128,
        _ => false,
    }
}

impl Detector for IcmpTunnel {
    fn declaration(&self) -> &'static Declaration {
        &DECLARATION
    }

    fn take(&mut self, run: &Run<'_>, _: &[Try]) {
        for seen in run.flows {
            let ends = (seen.flow.originator.address, seen.flow.responder.address);
            let first = first_of(std::slice::from_ref(seen), run.start);
            if is_echo(seen) {
                self.met.push((ends, (seen.sent, first)));
            } else if is_reply(seen) {
                self.met.push(((ends.1, ends.0), ([seen.sent[1], seen.sent[0]], first)));
            }
        }
    }

    fn inspect(&mut self, view: &View<'_>, out: &mut Vec<Finding>) {
        let end = view.end();
        self.pairs.advance(end);
        let met = std::mem::take(&mut self.met);
        let weighed = met.into_iter().map(|(pair, seen)| (foreign(&seen.0[0], &seen.0[1]), pair, seen)).collect();
        for (foreign, pair, ([asked, replied], first)) in self.pairs.heaviest(weighed) {
            let Some(echoes) = self.pairs.admit(pair) else { continue };
            let kept = &mut echoes.0;
            while kept.front().is_some_and(|echo| end.since(echo.end) >= SECONDS * NANOS || echo.end > end)
                || kept.len() >= MAX_WINDOWS
            {
                kept.pop_front();
            }
            let length = (asked.packets >= MIN_PACKETS && replied.packets >= MIN_PACKETS)
                .then(|| asked.ip_bytes / asked.packets);
            kept.push_back(Echo { first, end, bytes: asked.ip_bytes + replied.ip_bytes, foreign, length });
            out.extend(Self::judge(&self.config, view, pair, echoes));
        }
    }

    fn evicted(&self) -> u64 {
        self.pairs.evicted()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Flow, WINDOW_S, host, row};
    use super::{IcmpTunnel, IcmpTunnelConfig, NANOS};
    use crate::domain::{Finding, Party, Timestamp};

    /// What is found in windows with so many requests of so many bytes and so many replies.
    fn judge(count: u64, window: impl Fn(u64) -> [(u64, u64); 2]) -> Vec<Finding> {
        row(&mut IcmpTunnel::new(IcmpTunnelConfig::default()), count, |i| {
            let [(asked, own), (replied, back)] = window(i);
            vec![Flow::echo(1, 2).sent(asked, own).answered(replied, back)]
        })
    }

    #[test]
    fn replies_that_are_more_or_other_than_what_was_asked_are_one() {
        let polled = judge(8, |_| [(5, 60), (20, 1_200)]);
        assert_eq!((polled[0].source, polled[0].destination), (Party::Host(host(1)), Party::Host(host(2))));
        let [first, judged] = [0, 3].map(|window| Timestamp::from_nanos((1_700_000_000 + window * WINDOW_S) * NANOS));
        assert_eq!((polled[0].seen.map(|[began, _]| began), polled[0].start), (Some(first), judged));
        assert!(!judge(8, |_| [(10, 60), (10, 400)]).is_empty(), "as many, and longer");
        assert!(!judge(8, |_| [(10, 900), (10, 60)]).is_empty(), "an upload");
        assert!(!judge(30, |i| [(9, 120 + i * 37 % 400), (9, 120 + i * 37 % 400)]).is_empty(), "sent back by a kernel");
    }

    #[test]
    fn ping_at_any_rate_of_any_length_and_with_any_loss_is_none() {
        assert!(judge(40, |i| [(5, 84), (5 - i % 3, 84)]).is_empty(), "ping");
        assert!(judge(40, |i| [(5_000, 84), (4_000 + i * 31 % 1_000, 84)]).is_empty(), "ping -f");
        assert!(judge(40, |i| [(50, 1_500), (49 + i % 3, 1_500)]).is_empty(), "large ones, ten a second, late replies");
        assert!(judge(40, |_| [(50, 64), (5, 64)]).is_empty(), "mtr: the last hop answers");
        assert!(judge(40, |_| [(5, 84), (10, 84)]).is_empty(), "a loop that doubles replies");
        // A search for the path's MTU: the large ones are lost.
        let sizes = [1_500, 800, 1_150, 1_320, 1_400, 1_450, 1_470, 1_480, 1_490, 1_492, 1_493];
        assert!(judge(11, |i| [(2, sizes[i as usize]), (u64::from(i > 1) * 2, sizes[i as usize])]).is_empty());
        assert!(judge(40, |_| [(0, 0), (20, 900)]).is_empty(), "one direction");
    }
}
