//! Slow scan: the same as `port_scan` over hours, a target every few minutes.
//!
//! As Zeek's `scan.zeek`, it counts distinct targets that failed per source; unlike it over as long as the source goes
//! on, since slow scanners wait for a detector's window to end. What keeps ordinary hosts out is the success share
//! of Threshold Random Walk (Jung et al. 2004): they reach most of what they try. Reported when the threshold is reached
//! and each time the count has doubled, so that a scan of days is not reported every minute.
//!
//! Strangers have less reason to try in vain: who comes from outside is judged by Threshold Random Walk itself, over all TCP
//! ports together. A local host tried in vain makes it four times as likely that it scans, one that answers a quarter.
//!
//! Known false alarms: a host cut off from the net that goes on trying; peer-to-peer clients that run for hours.
//! Evasion: more than the pause between two probes, many sources.

mod stranger;

use std::net::IpAddr;

use nta_common::packet::proto;

use super::attempt::{self, FIRST_SESSION_PORT};
use super::declaration::{Basis, Cost, Declaration, FlowUse, Rates, Scope};
use super::networks::{Networks, is_outside};
use super::recent::{Recent, Weigh, address};
use super::{Detector, Try, View};
use crate::domain::{AlertKind, Finding, Measure, Party, Timestamp};
use crate::tunables::{Bounds, tunables};
use crate::window::{Distinct, Hosts, Run, Span, address_number};
use stranger::Stranger;

tunables! {
    /// Port scans over hours.
    SlowScanConfig in "detect.slow_scan" {
        /// Distinct ports of one host that one source must have tried in vain. Zeek's `port_scan_threshold`.
        min_ports: u64 = 15 => Bounds::COUNT,
        /// Distinct hosts that one source must have tried in vain at one TCP port. Zeek's `addr_scan_threshold` is 25 in
        /// five minutes; over hours ordinary hosts meet more that is gone.
        min_hosts: u64 = 50 => Bounds::COUNT,
        /// Distinct local hosts that a source from outside must have tried in vain over TCP beyond those that it reached.
        /// With the probabilities of Jung et al. 2004 (0.8 of a scanner's tries fail, 0.2 of another's) the odds are then
        /// 4^8 = 65,536 to one, for a gateway that sees as many strangers in a day.
        min_local_hosts: u64 = 8 => Bounds::COUNT,
        /// Share of all hosts tried in vain that must have been tried at that port, 0 to 1, as in `port_scan`.
        min_port_share: f64 = 0.7 => Bounds::SHARE,
        /// Share of the targets that must have failed, 0 to 1: what Jung et al. 2004 take for a scanner.
        min_failed_share: f64 = 0.8 => Bounds::SHARE,
        /// A source that tried nothing in vain for so many seconds is forgotten.
        pause_s: u64 = 14_400 => Bounds::MEMORY_S,
    }
}

pub(super) const DECLARATION: Declaration = Declaration {
    name: "slow_scan",
    spans: &[Span::Base],
    basis: Basis::Rule,
    scope: Scope::Hosts,
    flows: FlowUse::Shared,
    cost: Cost::Long(2),
    rates: Rates::Unused,
};

/// Sources that are remembered.
const MAX_SOURCES: usize = 16_384;
/// Hosts, and ports, of a source that are counted; beyond it the one with the fewest failures gives way.
const MAX_GROUPS: usize = 16;

/// A scan of this time is a fast one: twice `port_scan`'s.
const FAST_NS: u64 = 120_000_000_000;

/// Finds scans over hours.
#[derive(Debug)]
pub(super) struct SlowScan {
    config: SlowScanConfig,
    local: Networks,
    sources: Recent<IpAddr, Source>,
    /// Of the window.
    tried: Vec<Tried>,
}

/// What somebody tried.
#[derive(Clone, Copy, Debug)]
struct Tried {
    source: u128,
    proto: u8,
    host: IpAddr,
    port: u16,
    failed: bool,
    /// First and last packet of its connection.
    first: Timestamp,
    last: Timestamp,
}

#[derive(Debug, Default)]
struct Source {
    /// Hosts tried in vain over TCP.
    hosts: Distinct,
    groups: Vec<Group>,
    /// What it tried of local hosts, if it is none itself.
    stranger: Option<Box<Stranger>>,
}

/// A host whose ports, or a port whose hosts are counted.
#[derive(Debug)]
struct Group {
    of: Of,
    failed: Distinct,
    answered: Distinct,
    /// End of the window of the first failure.
    since: Timestamp,
    /// When the first one that failed began, and the last one ended.
    first: Timestamp,
    last: Timestamp,
    reported: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Host(IpAddr),
    Port(u16),
}

impl Weigh for Source {
    fn weight(&self) -> u64 {
        let stranger = self.stranger.as_ref().map_or(0, |stranger| stranger.weight());
        self.groups.iter().map(|group| group.failed.count()).max().unwrap_or(0).max(stranger)
    }
}

impl Source {
    /// Takes what the source tried in a window.
    fn take(&mut self, new: &[Tried], hosts: &Hosts, local: Option<&Networks>, end: Timestamp) {
        for tried in new {
            let host = hosts.hash(&tried.host);
            if tried.proto == proto::TCP && local.is_some_and(|local| local.contains(&tried.host)) {
                self.stranger.get_or_insert_default().take(tried, host, end);
            }
            self.count(Of::Host(tried.host), tried, hosts.hash(&(tried.proto, tried.port)), end);
            if tried.proto == proto::TCP {
                if tried.failed {
                    self.hosts.insert(host);
                }
                self.count(Of::Port(tried.port), tried, host, end);
            }
        }
    }

    fn count(&mut self, of: Of, tried: &Tried, target: u32, now: Timestamp) {
        let place = self.groups.iter().position(|group| group.of == of);
        let group = match place {
            Some(place) => &mut self.groups[place],
            None if !tried.failed => return,
            None => {
                if self.groups.len() >= MAX_GROUPS {
                    let least = (0..self.groups.len()).min_by_key(|i| self.groups[*i].failed.count()).unwrap_or(0);
                    self.groups.swap_remove(least);
                }
                self.groups.push(Group {
                    of,
                    failed: Distinct::default(),
                    answered: Distinct::default(),
                    since: now,
                    first: tried.first,
                    last: tried.last,
                    reported: 0,
                });
                let last = self.groups.len() - 1;
                &mut self.groups[last]
            }
        };
        if tried.failed {
            group.first = group.first.min(tried.first);
            group.last = group.last.max(tried.last);
        }
        if tried.failed { &mut group.failed } else { &mut group.answered }.insert(target);
    }
}

impl SlowScan {
    pub(super) fn new(config: SlowScanConfig, local: Networks) -> Self {
        let pause_s = config.pause_s;
        Self { config, local, sources: Recent::new(MAX_SOURCES, pause_s), tried: Vec::new() }
    }

    fn judge(&self, view: &View<'_>, address: IpAddr, source: &mut Source) -> Option<Finding> {
        let end = view.end();
        let config = &self.config;
        let asked = source.hosts.count() as f64;
        let mut best: Option<(&mut Group, u64, u64, f64)> = None;
        for group in &mut source.groups {
            let threshold = if matches!(group.of, Of::Host(_)) { config.min_ports } else { config.min_hosts };
            let (failed, answered) = (group.failed.count(), group.answered.count());
            let share = failed as f64 / (failed + answered) as f64;
            let what = match group.of {
                Of::Host(_) => ("ports_tried_in_vain", "ports"),
                Of::Port(_) => ("hosts_tried_in_vain", "hosts"),
            };
            view.state(&DECLARATION, address, what, [failed as f64, threshold as f64]);
            if end.since(group.since) < FAST_NS {
                // What doubles after this goes on slowly.
                group.reported = if failed >= threshold { failed } else { 0 };
                continue;
            }
            let spread = matches!(group.of, Of::Port(_)) && (failed as f64) < config.min_port_share * asked;
            let due = !spread && failed >= threshold.max(group.reported * 2) && share >= config.min_failed_share;
            if due && best.as_ref().is_none_or(|(_, most, ..)| failed > *most) {
                best = Some((group, failed, threshold, share));
            }
        }
        let Some((group, failed, threshold, share)) = best else {
            return source.stranger.as_mut()?.judge(view, address, config.min_local_hosts);
        };
        group.reported = failed;
        let minutes = end.since(group.since) as f64 / 6e10;
        let (destination, port, name, unit, what) = match group.of {
            Of::Host(host) => (Party::Host(host), None, "ports_tried_in_vain", "ports", format!("ports of {host}")),
            Of::Port(port) => {
                (Party::Many, Some(port), "hosts_tried_in_vain", "hosts", format!("hosts at port {port}"))
            }
        };
        let summary = format!(
            "{address} tried {} {what} in vain within {minutes:.0} minutes; {:.0} % of what it tried failed",
            group.failed.words(),
            share * 100.0
        );
        let measure = Measure { name, unit, observed: failed as f64, expected: None, threshold: threshold as f64 };
        let mut finding = view.finding(&DECLARATION, AlertKind::PortScan, measure, summary);
        finding.source = address.into();
        finding.destination = destination;
        finding.port = port;
        finding.seen = Some([group.first, group.last]);
        finding.facts = vec![("minutes", format!("{minutes:.1}")), ("failed_share", format!("{share:.3}"))];
        Some(finding)
    }
}

impl Detector for SlowScan {
    fn declaration(&self) -> &'static Declaration {
        &DECLARATION
    }

    fn take(&mut self, run: &Run<'_>, tries: &[Try]) {
        for (seen, tried) in run.flows.iter().zip(tries) {
            if !matches!(tried, Try::Answered | Try::Futile) {
                continue;
            }
            let [(source, _), (target, _)] = attempt::sides(seen);
            let (proto, failed) = (seen.flow.proto, *tried == Try::Futile);
            let (source, host, port) = (address_number(source.address), target.address, target.port);
            if proto == proto::TCP || (proto == proto::UDP && port < FIRST_SESSION_PORT) {
                let (first, last) = (seen.flow.first, seen.flow.last);
                self.tried.push(Tried { source, proto, host, port, failed, first, last });
            }
        }
    }

    fn inspect(&mut self, view: &View<'_>, out: &mut Vec<Finding>) {
        let end = view.end();
        self.sources.advance(end);
        let hosts = &view.snapshot.hosts;
        let mut tried = std::mem::take(&mut self.tried);
        // Where one direction is seen, nobody is seen to answer.
        let visible = view.snapshot.visibility;
        tried.retain(|tried| !(if tried.proto == proto::TCP { visible.tcp } else { visible.udp }).is_one_sided());
        // In order but for those whose responder tried, and in two halves.
        tried.sort_by_key(|tried| tried.source);
        let mut failing = Vec::new();
        let strangers = |source: IpAddr| is_outside(&self.local, &source).then_some(&self.local);
        for new in tried.chunk_by(|a, b| a.source == b.source) {
            let failed = new.iter().filter(|tried| tried.failed).count();
            if failed > 0 {
                failing.push((failed, address(new[0].source), new));
            } else if let Some(source) = self.sources.meet_known(&address(new[0].source)) {
                source.take(new, hosts, strangers(address(new[0].source)), end);
            }
        }
        for (_, address, new) in self.sources.heaviest(failing) {
            let Some(source) = self.sources.admit(address) else { continue };
            source.take(new, hosts, strangers(address), end);
            let mut source = std::mem::take(source);
            out.extend(self.judge(view, address, &mut source));
            *self.sources.meet(address) = source;
        }
        tried.clear();
        self.tried = tried;
    }

    fn evicted(&self) -> u64 {
        self.sources.evicted()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Flow, host, window};
    use super::{Networks, SlowScan, SlowScanConfig};
    use crate::domain::{Finding, Party};

    /// A window every `pause` seconds.
    fn judge(count: u64, pause: u64, flows: impl Fn(u64) -> Vec<Flow>) -> Vec<Finding> {
        let mut detector = SlowScan::new(SlowScanConfig::default(), Networks::default());
        (0..count).flat_map(|i| window(&mut detector, i * pause, flows(i))).collect()
    }

    #[test]
    fn a_host_every_half_an_hour_is_found_and_reported_when_it_doubles() {
        let found = judge(120, 1_800, |i| vec![Flow::tcp(1, 40_000, 1_000 + i as u32, 1433)]);
        assert_eq!(found.iter().map(|f| f.measure.observed).collect::<Vec<_>>(), [50.0, 100.0]);
        assert_eq!((found[0].source, found[0].port), (Party::Host(host(1)), Some(1433)));
    }

    #[test]
    fn a_stranger_that_tries_local_hosts_now_and_then_is_found_early_and_again_when_it_doubles() {
        const OUTSIDE: u32 = 0xc100_0000;
        let port = |i: u64| [80, 8080, 88][i as usize % 3];
        let tries = |i: u64| vec![Flow::tcp(OUTSIDE, 40_000, 1_000 + i as u32, port(i))];
        let found = judge(20, 600, tries);
        assert_eq!(found.iter().map(|f| f.measure.observed).collect::<Vec<_>>(), [8.0, 16.0]);
        let said = "203.0.0.0, from outside, tried 8 local hosts (ports 80, 88, 8080) in vain within 70 minutes and reached none";
        assert_eq!((found[0].summary.as_str(), found[0].contributors.len()), (said, 8));
        // Each that answers takes one back, and a local host has reasons to try.
        let customer = |i: u64| {
            let there = Flow::tcp(OUTSIDE, 40_001, 5_000 + i as u32, 443).history("ShADad");
            [tries(i), vec![there]].concat()
        };
        assert!(judge(40, 600, customer).is_empty());
        assert!(judge(20, 600, |i| vec![Flow::tcp(1, 40_000, 1_000 + i as u32, port(i))]).is_empty());
    }

    #[test]
    fn a_fast_scan_is_not_reported_again() {
        let fast = |i: u64| (0..20).map(|port| Flow::tcp(1, 40_000, 2, 1 + 20 * i.min(2) as u16 + port)).collect();
        assert!(judge(60, 5, fast).is_empty());
    }

    #[test]
    fn a_port_every_ten_minutes_is_found() {
        let found = judge(20, 600, |i| vec![Flow::tcp(1, 40_000, 2, 1 + i as u16).history("Sr")]);
        assert_eq!((found.len(), found[0].destination), (1, Party::Host(host(2))));
    }

    #[test]
    fn who_pauses_longer_or_reaches_most_is_none() {
        assert!(judge(100, 15_000, |i| vec![Flow::tcp(1, 40_000, 1_000 + i as u32, 1433)]).is_empty());
        let browser = |i: u64| {
            let gone = Flow::tcp(1, 40_000, 1_000 + i as u32, 443);
            let there = Flow::tcp(1, 40_001, 9_000 + i as u32, 443).history("ShADad");
            vec![gone, there]
        };
        assert!(judge(300, 600, browser).is_empty());
        assert!(judge(300, 600, |_| vec![Flow::tcp(1, 40_000, 2, 80)]).is_empty(), "a dead server");
        let peer = |i: u64| if i.is_multiple_of(2) { 6_881 } else { 20_000 + i as u16 };
        assert!(judge(300, 600, |i| vec![Flow::tcp(1, 40_000, 1_000 + i as u32, peer(i))]).is_empty(), "peers");
    }
}
