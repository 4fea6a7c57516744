//! Distributed flood: many sources, none of them conspicuous, send a whole network more than it answers.
//!
//! "Carpet bombing" (Netscout 2018) spreads a flood over the addresses of a prefix so that no host reaches the
//! threshold of a detector for one destination. So it counts, for each /24 and /64, the packets that came
//! to nothing: SYNs without a handshake, UDP, ICMP and other protocols without an answer, and TCP segments of no connection.
//! What goes without an answer says nothing where one direction is seen.
//!
//! Known false alarms: a network that is cut off while very many clients keep asking for it.

use std::net::IpAddr;

use nta_common::packet::proto;

use super::attempt::{is_futile, is_group, sides};
use super::declaration::{Basis, Cost, Declaration, FlowUse, Rates, Scope};
use super::flood::{What, stray};
use super::recent::{Map, Shares};
use super::{Detector, Try, View};
use crate::domain::{AlertKind, Finding, FlowObservation, Measure, Party, around};
use crate::tunables::{Bounds, tunables};
use crate::window::{Distinct, Run, Span};

tunables! {
    /// Floods of a network by many.
    DistributedFloodConfig in "detect.distributed_flood" {
        /// Packets a second without an answer to one network (/24, /64).
        min_rate: u64 = 1_000 => Bounds::COUNT,
        /// Sources that they come from.
        min_sources: u64 = 100 => Bounds::COUNT,
        /// Hosts of the network that get some.
        min_hosts: u64 = 4 => Bounds::COUNT,
        /// Share of the largest source and of the largest target, 0 to 1, from which on it is that one's flood or scan.
        max_share: f64 = 0.25 => Bounds::SHARE,
    }
}

pub(super) const DECLARATION: Declaration = Declaration {
    name: "distributed_flood",
    spans: &[Span::Base],
    basis: Basis::Rule,
    scope: Scope::Hosts,
    flows: FlowUse::Shared,
    cost: Cost::Long(3),
    rates: Rates::Measured,
};

/// Finds it in base windows.
#[derive(Debug)]
pub(super) struct DistributedFlood {
    config: DistributedFloodConfig,
    /// Unanswered packets of the window by network.
    packets: Map<(IpAddr, u8), u64>,
    /// Numbers of their flows, and the side that sent them.
    flows: Vec<(usize, usize)>,
}

#[derive(Default)]
struct Network {
    /// Packets by what they are.
    kinds: Map<AlertKind, u64>,
    sources: Distinct,
    hosts: Distinct,
    from: Shares,
    to: Shares,
}

impl DistributedFlood {
    pub(super) fn new(config: DistributedFloodConfig) -> Self {
        Self { config, packets: Map::default(), flows: Vec::new() }
    }

    fn judge(&self, view: &View<'_>, network: (IpAddr, u8), met: &Network) -> Option<Finding> {
        let (config, packets) = (&self.config, met.kinds.values().sum::<u64>());
        let (seconds, rate) = (view.snapshot.seconds(), packets as f64 / view.snapshot.rate_seconds());
        let (sources, hosts) = (met.sources.count(), met.hosts.count());
        let spread = met.from.largest() < config.max_share && met.to.largest() <= config.max_share;
        if rate < config.min_rate as f64 || sources < config.min_sources || hosts < config.min_hosts || !spread {
            return None;
        }
        let measure = Measure {
            name: "unanswered_rate",
            unit: "packets/s",
            observed: rate,
            expected: None,
            threshold: config.min_rate as f64,
        };
        let kind =
            met.kinds.iter().max_by_key(|(kind, packets)| (**packets, **kind)).map_or("-", |(kind, _)| kind.word());
        let summary = format!(
            "{} hosts of {}/{} got {packets} packets, most of them of a {kind}, from {} sources within {seconds:.0} s without an answer",
            met.hosts.words(),
            network.0,
            network.1,
            met.sources.words()
        );
        let mut finding = view.finding(&DECLARATION, AlertKind::DistributedFlood, measure, summary);
        finding.source = Party::Many;
        finding.destination = Party::Network(network.0, network.1);
        finding.facts = vec![("sources", sources.to_string()), ("hosts", hosts.to_string()), ("kind", kind.to_owned())];
        finding.contributors = met.from.contributors(packets);
        Some(finding)
    }
}

/// Who sent, and whom.
const fn ends(seen: &FlowObservation, side: usize) -> [IpAddr; 2] {
    let (originator, responder) = (seen.flow.originator.address, seen.flow.responder.address);
    if side == 0 { [originator, responder] } else { [responder, originator] }
}

/// Which side of a flow sent what came to nothing, and what it is.
fn unanswered(seen: &FlowObservation) -> Option<(usize, What)> {
    match seen.flow.proto {
        proto::TCP if is_futile(seen) => Some((0, What::Syns)),
        proto::TCP => (0..2).find_map(|side| Some((side, stray(seen, side)?))),
        proto::UDP => {
            let [(from, sent), (to, _)] = sides(seen);
            let side = usize::from(!std::ptr::eq(from, &seen.flow.originator));
            (to.sent.packets == 0 && sent.packets > 0).then(|| (side, stray(seen, side).unwrap_or(What::Datagrams)))
        }
        proto::ICMP | proto::ICMPV6 => {
            (seen.flow.responder.sent.packets == 0).then(|| (0, stray(seen, 0).unwrap_or(What::IcmpErrors)))
        }
        _ => stray(seen, 0).map(|what| (0, what)),
    }
}

impl Detector for DistributedFlood {
    fn declaration(&self) -> &'static Declaration {
        &DECLARATION
    }

    fn take(&mut self, run: &Run<'_>, _: &[Try]) {
        for (at, seen) in run.flows.iter().enumerate() {
            let Some((side, _)) = unanswered(seen) else { continue };
            let to = ends(seen, side)[1];
            if !is_group(to) {
                self.flows.push((run.first + at, side));
                *self.packets.entry(around(to)).or_default() += seen.sent[side].packets;
            }
        }
    }

    fn inspect(&mut self, view: &View<'_>, out: &mut Vec<Finding>) {
        let hosts = &view.snapshot.hosts;
        let flows = std::mem::take(&mut self.flows);
        // Who and whom is asked only of networks that get as much, which are few, if any.
        let mut packets = std::mem::take(&mut self.packets);
        let least = self.config.min_rate as f64 * view.snapshot.rate_seconds();
        packets.retain(|_, packets| *packets as f64 >= least);
        if packets.is_empty() {
            return;
        }
        let mut networks: Map<(IpAddr, u8), Network> = Map::default();
        for (seen, side) in
            flows.into_iter().filter_map(|(number, side)| Some((view.snapshot.flows.get(number)?, side)))
        {
            let [from, to] = ends(seen, side);
            let what = unanswered(seen).map(|(_, what)| what).filter(|what| what.would_show(&view.snapshot.visibility));
            let Some(what) = what.filter(|_| packets.contains_key(&around(to))) else { continue };
            let (met, sent) = (networks.entry(around(to)).or_default(), seen.sent[side].packets);
            met.sources.insert(hosts.hash(&from));
            met.hosts.insert(hosts.hash(&to));
            met.from.add(from, sent);
            met.to.add(to, sent);
            *met.kinds.entry(what.kind()).or_default() += sent;
        }
        out.extend(networks.iter().filter_map(|(network, met)| self.judge(view, *network, met)));
    }

    fn evicted(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Flow, host, row};
    use super::{DistributedFlood, DistributedFloodConfig};
    use crate::domain::{Finding, Party};

    fn judge(flows: impl Fn(u32) -> Flow) -> Vec<Finding> {
        let mut detector = DistributedFlood::new(DistributedFloodConfig::default());
        row(&mut detector, 1, |_| (0..6_000).map(&flows).collect())
    }

    #[test]
    fn a_carpet_is_reported_by_its_network() {
        let found = judge(|n| Flow::udp(1_000 + n % 500, 40_000 + n as u16 / 500, 1 + n % 100, 80));
        assert_eq!((found.len(), found[0].source, found[0].destination), (1, Party::Many, Party::Network(host(0), 24)));
        assert_eq!(found[0].measure.observed as u64, 1_200);
    }

    #[test]
    fn a_carpet_of_answers_and_of_segments_is_one_and_is_named() {
        let kind =
            |found: &[Finding]| found[0].facts.iter().find(|(name, _)| *name == "kind").map(|(_, kind)| kind.clone());
        let reflected =
            |n: u32| Flow::udp(1 + n % 100, 4_000 + n as u16, 1_000 + n % 500, 53).sent(0, 0).answered(1, 1_200);
        let found = judge(reflected);
        assert_eq!((found.len(), kind(&found).as_deref()), (1, Some("udp_flood")));
        assert_eq!(found[0].destination, Party::Network(host(0), 24));
        let found = judge(|n| Flow::tcp(1_000 + n % 500, n as u16, 1 + n % 100, 443).history("A"));
        assert_eq!((found.len(), kind(&found).as_deref()), (1, Some("ack_flood")));
        let found = judge(|n| Flow::tcp(1 + n % 100, n as u16, 1_000 + n % 500, 443).history("h").sent(0, 0));
        assert_eq!((found.len(), kind(&found).as_deref()), (1, Some("synack_reflection")));
        // Where the other direction is not seen, downloads look like that.
        let download =
            |n| Flow::udp(1 + n % 100, 40_000 + n as u16, 1_000 + n % 500, 443).sent(0, 0).answered(20, 1_200);
        assert!(judge(download).is_empty());
    }

    #[test]
    fn one_target_one_source_and_answers_are_none() {
        assert!(judge(|n| Flow::udp(1_000 + n, 40_000, 2, 80)).is_empty(), "another detector's");
        assert!(judge(|n| Flow::udp(1_000, 1_024 + n as u16, 1 + n % 100, 80)).is_empty(), "a scan");
        assert!(judge(|n| Flow::tcp(1_000 + n, 40_000, 1 + n % 100, 80).history("ShAD")).is_empty(), "a busy network");
    }
}
