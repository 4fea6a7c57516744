//! Neighbour sweep: one station asks for many addresses of its own link, and mostly nobody answers: ARP requests (RFC 826), or
//! IPv6 neighbour solicitations (RFC 4861), as `arp-scan`, `netdiscover` and `nmap -sn` send before anything else.
//!
//! A station asks for whom it wants to reach, and those are there: what shows a sweep is, as with Jung et al. 2004, the share
//! that nobody answers for. An address that answered a station stays known to it, so that a monitor whose site goes down is
//! none. The gateway, for which most stations ask, asks for whatever somebody outside tries: not its sweep.
//!
//! Known false alarms: inventory tools, which sweep by design; a router that only asks, where nobody is seen to ask for it.
//! Evasion: fewer than the threshold a minute, several stations.

use std::net::{IpAddr, Ipv4Addr};

use nta_common::packet::proto;

use super::arp_spoof::Sought;
use super::declaration::{Basis, Cost, Declaration, FlowUse, Rates, Scope};
use super::port_scan::{largest_network, list};
use super::recent::{Map, Recent, Weigh, address};
use super::{Detector, Try, View};
use crate::domain::{
    AlertKind, ArpPacket, Contributor, Finding, FlowObservation, Mac, Measure, PacketEvent, Party, Timestamp,
};
use crate::tunables::{Bounds, tunables};
use crate::window::{Run, Span, address_number};

tunables! {
    /// Sweeps of a link by ARP or neighbour discovery.
    NeighborSweepConfig in "detect.neighbor_sweep" {
        /// Addresses of one network (/24 of IPv4) that one station must have asked for in vain within 60 s: twice the 15 ARP
        /// packets that switches let a station send in a second (Cisco's Dynamic ARP Inspection, by default).
        min_hosts: u64 = 30 => Bounds::COUNT,
        /// Share of the addresses asked for that must be without an answer, 0 to 1: Jung's scanner.
        min_failed_share: f64 = 0.8 => Bounds::SHARE,
    }
}

pub(super) const DECLARATION: Declaration = Declaration {
    name: "neighbor_sweep",
    spans: &[Span::Base],
    basis: Basis::Rule,
    scope: Scope::Hosts,
    flows: FlowUse::Shared,
    cost: Cost::Short,
    rates: Rates::Unused,
};

/// Stations that are remembered.
const MAX_STATIONS: usize = 4_096;
/// Addresses that a station asked for and that are remembered: a sweep is far beyond the threshold by then.
const MAX_TARGETS: usize = 1_024;
/// How long a question counts.
const QUESTION_NS: u64 = 60_000_000_000;
/// How long an answer does, and how long a station is remembered, in seconds.
const ANSWER_S: u64 = 2 * 3_600;
/// Addresses of one network that must have been asked for where no answer to the station is seen: a switch shows the questions to
/// all, and the answers to who asked. There a router of many absent clients asks for many too, but not for half of a /24.
const MIN_UNHEARD: u64 = 128;
/// Addresses that a finding names.
const MAX_CONTRIBUTORS: usize = 10;
/// ICMPv6 neighbour solicitation and advertisement (RFC 4861 section 4).
const SOLICITATION: u16 = 135;
const ADVERTISEMENT: u16 = 136;
/// The group of all hosts whose addresses end in the same 24 bits (RFC 4291 section 2.7.1).
const SOLICITED_NODE: u128 = 0xff02_0000_0000_0000_0000_0001_ff00_0000;
const LAST_24: u128 = 0xff_ffff;

/// Finds sweeps over the last minute.
#[derive(Debug)]
pub(super) struct NeighborSweep {
    config: NeighborSweepConfig,
    stations: Recent<Station, Asked>,
    sought: Sought,
    /// Neighbour discovery of the window: who asked for, or was answered by, whom.
    discovered: Vec<(Station, u128, Said)>,
    evicted: u64,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Station {
    /// By ARP, in this VLAN.
    Arp(u16, Mac),
    /// By neighbour discovery.
    Ndp(IpAddr),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Question(Timestamp),
    Answer(Timestamp),
}

/// What a station asked for. IPv6 addresses are known by their last 24 bits, which is what is asked for.
#[derive(Debug, Default)]
struct Asked {
    targets: Map<u128, Target>,
    /// Under which address it asked last.
    own: Option<Ipv4Addr>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Target {
    asked: Timestamp,
    answered: Option<Timestamp>,
}

impl Weigh for Asked {
    fn weight(&self) -> u64 {
        self.targets.len() as u64
    }
}

impl Asked {
    /// Takes a question or an answer; answers whether something had to go for it.
    fn take(&mut self, target: u128, said: Said) -> bool {
        let full = self.targets.len() >= MAX_TARGETS && !self.targets.contains_key(&target);
        match said {
            Said::Answer(time) => {
                if let Some(target) = self.targets.get_mut(&target) {
                    target.answered = Some(time);
                }
                return false;
            }
            Said::Question(time) => {
                if full && let Some(oldest) = self.targets.iter().map(|(key, t)| (t.asked, *key)).min() {
                    self.targets.remove(&oldest.1);
                }
                self.targets.entry(target).or_default().asked = time;
            }
        }
        full
    }
}

/// The address, or what of it is asked for.
fn target_number(address: &IpAddr) -> u128 {
    match address {
        IpAddr::V4(_) => address_number(*address),
        IpAddr::V6(address) => address.to_bits() & LAST_24,
    }
}

/// Who asked for what, or was answered.
fn neighbor_discovery(seen: &FlowObservation) -> Option<(Station, u128, Said)> {
    let flow = &seen.flow;
    if flow.proto != proto::ICMPV6 {
        return None;
    }
    let (from, to) = (&flow.originator, &flow.responder);
    let group = match to.address {
        IpAddr::V6(address) => address.to_bits() & !LAST_24 == SOLICITED_NODE,
        IpAddr::V4(_) => false,
    };
    match from.port {
        SOLICITATION if group && !from.address.is_unspecified() => {
            Some((Station::Ndp(from.address), target_number(&to.address), Said::Question(flow.last)))
        }
        SOLICITATION if to.sent.packets > 0 => {
            Some((Station::Ndp(from.address), target_number(&to.address), Said::Answer(flow.last)))
        }
        ADVERTISEMENT if !to.address.is_multicast() => {
            Some((Station::Ndp(to.address), target_number(&from.address), Said::Answer(flow.last)))
        }
        _ => None,
    }
}

impl NeighborSweep {
    pub(super) fn new(config: NeighborSweepConfig) -> Self {
        Self {
            config,
            stations: Recent::new(MAX_STATIONS, ANSWER_S),
            sought: Sought::default(),
            discovered: Vec::new(),
            evicted: 0,
        }
    }

    fn take_arp(&mut self, packet: &ArpPacket) -> Option<Station> {
        let (mac, own) = packet.sender;
        let asks = packet.operation == 1 && packet.target.1 != own;
        if !asks {
            // What a station says of itself answers whoever was asking.
            let asker = Station::Arp(packet.vlan, packet.target.0);
            if packet.operation == 2 && self.stations.meet_known(&asker).is_some() {
                self.stations.meet(asker).take(address_number(own.into()), Said::Answer(packet.time));
            }
            return None;
        }
        self.evicted += self.sought.ask(packet.vlan, packet.target.1.into(), mac, packet.time);
        let station = Station::Arp(packet.vlan, mac);
        let asked = self.stations.admit(station)?;
        asked.own = (!own.is_unspecified()).then_some(own).or(asked.own);
        let forgot = asked.take(address_number(packet.target.1.into()), Said::Question(packet.time));
        self.evicted += u64::from(forgot);
        Some(station)
    }

    fn judge(&self, view: &View<'_>, station: Station, asked: &Asked) -> Option<Finding> {
        let own = match station {
            Station::Arp(vlan, _) if asked.own.is_some_and(|own| self.sought.is_gateway(vlan, own.into())) => {
                return None;
            }
            Station::Arp(_, Mac(mac)) => asked.own.map_or(Party::Mac(mac), |own| Party::Host(own.into())),
            Station::Ndp(own) => Party::Host(own),
        };
        let end = view.end();
        let recent = asked.targets.iter().filter(|(_, target)| end.since(target.asked) <= QUESTION_NS);
        let (mut failed, mut answered) = (Vec::new(), Vec::new());
        for (number, target) in recent {
            // Of an IPv6 address the last 24 bits are known.
            let side = if target.answered.is_some() { &mut answered } else { &mut failed };
            side.push(address(*number));
        }
        failed.sort_unstable();
        answered.sort_unstable();
        let least = if asked.targets.values().any(|target| target.answered.is_some()) {
            self.config.min_hosts
        } else {
            self.config.min_hosts.max(MIN_UNHEARD)
        };
        let (near, asked_for) = (largest_network(&failed), failed.len() + answered.len());
        let share = failed.len() as f64 / asked_for.max(1) as f64;
        if let Party::Host(own) = own {
            view.state(&DECLARATION, own, ("addresses_asked_for_in_vain", "hosts"), [near as f64, least as f64]);
        }
        if (near as u64) < least || share < self.config.min_failed_share {
            return None;
        }
        let (protocol, who) = match station {
            Station::Arp(_, mac) => ("ARP", format!("{own} ({mac})")),
            Station::Ndp(_) => ("neighbour discovery", own.to_string()),
        };
        let (named, there) = match station {
            Station::Arp(..) => (format!("{} to {}", failed[0], failed[failed.len() - 1]), list(answered.iter())),
            Station::Ndp(_) => {
                (String::new(), list(answered.iter().map(|host| format!("…{:06x}", target_number(host)))))
            }
        };
        let range = if named.is_empty() { String::new() } else { format!(" ({named})") };
        let summary = format!(
            "{who} asked for {asked_for} addresses of its link{range} by {protocol} within 60 s; {}",
            if there.is_empty() { "no answer was seen".to_owned() } else { format!("answered: {there}") }
        );
        let measure = Measure {
            name: "addresses_asked_for_in_vain",
            unit: "hosts",
            observed: failed.len() as f64,
            expected: None,
            threshold: least as f64,
        };
        let mut finding = view.finding(&DECLARATION, AlertKind::PortScan, measure, summary);
        finding.source = own;
        finding.destination = Party::Many;
        finding.facts = vec![
            ("hosts_tried", asked_for.to_string()),
            ("protocol", protocol.to_owned()),
            ("answered", there),
            ("failed_share", format!("{share:.3}")),
        ];
        if matches!(station, Station::Arp(..)) {
            let share = |host: &IpAddr| Contributor { what: host.to_string(), amount: 1.0 };
            finding.contributors = answered.iter().chain(&failed).take(MAX_CONTRIBUTORS).map(share).collect();
        }
        Some(finding)
    }
}

impl Detector for NeighborSweep {
    fn declaration(&self) -> &'static Declaration {
        &DECLARATION
    }

    fn take(&mut self, run: &Run<'_>, _: &[Try]) {
        self.discovered.extend(run.flows.iter().filter_map(neighbor_discovery));
    }

    fn inspect(&mut self, view: &View<'_>, out: &mut Vec<Finding>) {
        self.stations.advance(view.end());
        let mut asking = Vec::new();
        for event in &view.snapshot.events {
            if let PacketEvent::Arp(packet) = event {
                asking.extend(self.take_arp(packet));
            }
        }
        let mut discovered = std::mem::take(&mut self.discovered);
        // Questions first: an answer counts for what was asked for.
        discovered.sort_by_key(|(station, target, said)| (matches!(said, Said::Answer(_)), *station, *target));
        for (station, target, said) in discovered.drain(..) {
            let asked = match said {
                Said::Question(_) => self.stations.admit(station),
                Said::Answer(_) => self.stations.meet_known(&station),
            };
            let Some(asked) = asked else { continue };
            self.evicted += u64::from(asked.take(target, said));
            if matches!(said, Said::Question(_)) {
                asking.push(station);
            }
        }
        self.discovered = discovered;
        asking.sort_unstable();
        asking.dedup();
        for station in asking {
            let Some(asked) = self.stations.meet_known(&station) else { continue };
            if (asked.targets.len() as u64) < self.config.min_hosts {
                continue;
            }
            let asked = std::mem::take(asked);
            out.extend(self.judge(view, station, &asked));
            *self.stations.meet(station) = asked;
        }
    }

    fn evicted(&self) -> u64 {
        self.stations.evicted() + self.evicted
    }
}

#[cfg(test)]
#[path = "neighbor_sweep_tests.rs"]
mod tests;
