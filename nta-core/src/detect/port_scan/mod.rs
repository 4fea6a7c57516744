//! Port scan within a minute: one source tries many ports of a host (vertical), or one port of many hosts
//! (horizontal), and mostly fails.
//!
//! After Zeek's `scan.zeek` (distinct failed targets per source) with Threshold Random Walk's idea (Jung et al. 2004)
//! that a scanner is known by the share of its attempts that fail. A SYN without a handshake, an ACK or FIN out of
//! nowhere, a UDP datagram or an echo request without an answer are failures alike ([`super::attempt`]), so that the
//! kinds of nmap's scans need no rules of their own. Counted are targets, not packets: a flood hits one.
//!
//! Known false alarms: peer-to-peer clients whose peers share a port and are mostly gone; load balancers and inventory
//! tools that probe by design. Evasion: fewer than the threshold a minute (see `slow_scan`), many sources.

mod datagrams;
mod protocols;
mod spread;
mod target;
mod text;
mod tried;

pub(super) use text::list;
pub(super) use tried::largest_network;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use nta_common::packet::proto;

use super::attempt;
use super::declaration::{Basis, Cost, Declaration, FlowUse, Rates, Scope};
use super::recent::{Recent, Weigh, address};
use super::{Detector, Try, View};
use crate::domain::{AlertKind, Contributor, Crowd, Finding, FlowObservation, LEAST_SHARE, Measure, Party};
use crate::tunables::{Bounds, tunables};
use crate::window::{Run, Span, address_number};
use datagrams::Datagrams;
use target::{Target, times};
use tried::{Tried, answered, distinct, drop_sessions, unanswered, used};

tunables! {
    /// Port scans within a minute.
    PortScanConfig in "detect.port_scan" {
        /// Distinct ports of one host that one source must have tried in vain within 60 s. A client knows its
        /// server's ports: in 64 hours of benign captures none tried more than 7 ports of a host. Zeek: 15.
        min_ports: u64 = 10 => Bounds::COUNT,
        /// Distinct hosts that one source must have tried in vain at one port within 60 s. Zeek: 25 in 5 minutes, which
        /// peer-to-peer clients and crawlers reach.
        min_hosts: u64 = 64 => Bounds::COUNT,
        /// The same over TCP and by ping where they are of one /24 or /64, and `min_failed_share` of them gave no sign of life: nobody has as
        /// many servers in one network that are all gone, and peers live in many networks.
        min_near_hosts: u64 = 10 => Bounds::COUNT,
        /// Share of all hosts tried in vain that must have been tried at that port, 0 to 1. A sweep asks all hosts for the
        /// same; the peers of a peer-to-peer client have ports of their own, and only some the common one.
        min_port_share: f64 = 0.7 => Bounds::SHARE,
        /// Share of the targets that must have failed, 0 to 1: the middle between Jung's scanners (0.8 fail) and
        /// ordinary hosts (0.2).
        min_failed_share: f64 = 0.5 => Bounds::SHARE,
    }
}

pub(super) const DECLARATION: Declaration = Declaration {
    name: "port_scan",
    spans: &[Span::Base],
    basis: Basis::Rule,
    scope: Scope::Hosts,
    flows: FlowUse::Shared,
    cost: Cost::Long(4),
    rates: Rates::Measured,
};

/// Sources that are remembered.
const MAX_SOURCES: usize = 16_384;
/// Targets of a source that are remembered, the latest: a scan is far beyond the thresholds by then.
const MAX_TARGETS: usize = 4_096;
/// How long a target counts, in seconds.
const SECONDS: u64 = 60;
/// Mean IP bytes from which on a UDP datagram is no probe, as in `udp_flood`.
const LARGE_BYTES: u64 = 300;
/// Share of the hosts of a near sweep that must have failed: Jung's scanner.
const NEAR_FAILED_SHARE: f64 = 0.8;
/// Ports that a worm tries at most, and the share of all hosts tried in vain that they must make up together.
const MAX_WORM_PORTS: usize = 4;
const WORM_SHARE: f64 = 0.9;
/// Targets that a finding names.
const MAX_CONTRIBUTORS: usize = 10;

/// Finds scans over the last minute.
#[derive(Debug)]
pub(super) struct PortScan {
    config: PortScanConfig,
    sources: Recent<IpAddr, VecDeque<Target>>,
    /// Who tried what in the window.
    tried: Vec<(u128, Target)>,
    /// UDP packets of the window from one host to another.
    datagrams: Datagrams,
    dropped: u64,
}

/// What a source did, seen as one kind of scan.
struct Scan {
    measure: &'static str,
    unit: &'static str,
    /// Most targets in vain of one host or port.
    failed: usize,
    threshold: u64,
    share: f64,
    /// In order, each with its targets in vain.
    hosts: Vec<(IpAddr, usize)>,
    /// In order.
    ports: Vec<(u8, u16)>,
}

/// A host, its ports that were tried in vain, and how many were tried.
type Host = (IpAddr, Vec<(u8, u16)>, usize);
/// A port, its hosts that were tried in vain, and how many were tried.
type Port = ((u8, u16), Vec<IpAddr>, usize);

impl Weigh for VecDeque<Target> {
    fn weight(&self) -> u64 {
        self.len() as u64
    }
}

impl PortScan {
    pub(super) fn new(config: PortScanConfig) -> Self {
        let sources = Recent::new(MAX_SOURCES, SECONDS);
        let datagrams = Datagrams::default();
        Self { config, sources, tried: Vec::new(), datagrams, dropped: 0 }
    }

    /// One host's ports. `targets` are in order by host, protocol and port.
    fn vertical(&self, view: &View<'_>, source: IpAddr, targets: &[Tried]) -> Option<Scan> {
        let mut hosts: Vec<Host> = Vec::new();
        for of_host in targets.chunk_by(|a, b| a.host == b.host) {
            let ports = || of_host.iter().filter(|target| matches!(target.proto, proto::TCP | proto::UDP));
            let all: Vec<(u8, u16)> = ports().filter(|t| t.failed).map(|t| (t.proto, t.port)).collect();
            let mut failed = all.clone();
            let near = [failed.len() as f64, self.config.min_ports as f64];
            view.state(&DECLARATION, source, ("ports_tried_in_vain", "ports"), near);
            if (failed.len() as u64) < self.config.min_ports {
                continue;
            }
            drop_sessions(&mut failed);
            let tried = |failed: &[(u8, u16)]| {
                let others = ports().filter(|t| !t.failed).map(|t| (t.proto, t.port));
                distinct(others.chain(failed.iter().copied()).collect()).len()
            };
            if self.is_scan(failed.len(), self.config.min_ports, tried(&failed)) {
                // Who scans tries ports of sessions like any others.
                let tried = tried(&all);
                hosts.push((address(of_host[0].host), all, tried));
            }
        }
        let (_, failed, tried) = hosts.iter().max_by_key(|(_, failed, _)| failed.len())?;
        Some(Scan {
            measure: "ports_tried_in_vain",
            unit: "ports",
            failed: failed.len(),
            threshold: self.config.min_ports,
            share: failed.len() as f64 / *tried as f64,
            ports: distinct(hosts.iter().flat_map(|(_, ports, _)| ports.iter().copied()).collect()),
            hosts: hosts.iter().map(|(host, ports, _)| (*host, ports.len())).collect(),
        })
    }

    /// One port of many hosts, or the few ports that a worm tries. `targets` are in order by protocol, port and host.
    fn horizontal(&self, view: &View<'_>, source: IpAddr, targets: &[Tried]) -> Option<Scan> {
        let mut ports: Vec<Port> = Vec::new();
        let mut least = self.config.min_hosts;
        for of_protocol in targets.chunk_by(|a, b| a.proto == b.proto) {
            let asked = distinct(of_protocol.iter().filter(|t| t.failed).map(|t| t.host).collect()).len() as f64;
            for of_port in of_protocol.chunk_by(|a, b| a.port == b.port) {
                let failed: Vec<IpAddr> = of_port.iter().filter(|t| t.failed).map(|t| address(t.host)).collect();
                let near = [failed.len() as f64, self.config.min_hosts as f64];
                view.state(&DECLARATION, source, ("hosts_tried_in_vain", "hosts"), near);
                let tried = of_port.chunk_by(|a, b| a.host == b.host).count();
                let most = failed.len() as f64 >= self.config.min_port_share * asked;
                // Who finds nearly all of them there knew them: health checks end a handshake as a scan's kernel does.
                let gone = of_port.iter().filter(|t| t.failed && !t.answered).count();
                let is_search = gone as f64 >= self.config.min_failed_share * failed.len() as f64;
                // Printers and the like are looked for by a datagram to each address of a network.
                let is_near = is_search
                    && of_port[0].proto != proto::UDP
                    && failed.len() as f64 >= NEAR_FAILED_SHARE * tried as f64
                    && largest_network(&failed) as u64 >= self.config.min_near_hosts;
                if most && (is_near || self.is_scan(failed.len(), self.config.min_hosts, tried)) {
                    least = if is_near { self.config.min_near_hosts } else { least };
                    ports.push(((of_port[0].proto, of_port[0].port), failed, tried));
                }
            }
            if ports.is_empty() && of_protocol[0].proto == proto::TCP {
                ports = self.of_worm(of_protocol, asked);
            }
        }
        let (_, failed, tried) = ports.iter().max_by_key(|(_, failed, _)| failed.len())?;
        Some(Scan {
            measure: "hosts_tried_in_vain",
            unit: "hosts",
            failed: failed.len(),
            threshold: least,
            share: failed.len() as f64 / *tried as f64,
            hosts: distinct(ports.iter().flat_map(|(_, hosts, _)| hosts.iter().map(|host| (*host, 1))).collect()),
            ports: ports.iter().map(|(port, ..)| *port).collect(),
        })
    }

    /// The ports of a worm, if they are few and with them nearly all is said: Mirai tries 23 and 2323, its heirs some more.
    /// Peers have a port each.
    fn of_worm(&self, of_protocol: &[Tried], asked: f64) -> Vec<Port> {
        let by_port = of_protocol.chunk_by(|a, b| a.port == b.port);
        let of_one = |of_port: &[Tried]| {
            let failed: Vec<IpAddr> = of_port.iter().filter(|t| t.failed).map(|t| address(t.host)).collect();
            ((of_port[0].proto, of_port[0].port), failed, of_port.len())
        };
        let mut ports: Vec<Port> = by_port.map(of_one).collect();
        ports.sort_by_key(|(port, failed, _)| (std::cmp::Reverse(failed.len()), *port));
        ports.truncate(MAX_WORM_PORTS);
        let hosts = distinct(ports.iter().flat_map(|(_, failed, _)| failed.iter().copied()).collect()).len();
        let tried: usize = ports.iter().map(|(.., tried)| tried).sum();
        let is_worm = hosts as f64 >= WORM_SHARE * asked && self.is_scan(hosts, self.config.min_hosts, tried);
        if is_worm { ports } else { Vec::new() }
    }

    fn is_scan(&self, failed: usize, least: u64, tried: usize) -> bool {
        failed as u64 >= least && failed as f64 >= self.config.min_failed_share * tried as f64
    }

    /// Judges what a source tried lately, and among it what is `new` in this window.
    fn judge(
        &self,
        view: &View<'_>,
        source: IpAddr,
        targets: &VecDeque<Target>,
        new: &[(u128, Target)],
    ) -> Option<Finding> {
        let at_least = if targets.len() < MAX_TARGETS { "" } else { "at least " };
        // From the first to the last packet of what it tried in vain.
        let seen = times(targets.iter().filter(|target| target.failed && has_service(target.proto)));
        let mut targets: Vec<Tried> = targets.iter().map(Tried::from).collect();
        targets.sort_unstable_by_key(Tried::place);
        targets.dedup_by_key(|target| target.outcome());
        if let Some(finding) = protocols::judge(view, source, &targets) {
            return Some(finding);
        }
        targets.retain(|target| has_service(target.proto));
        let scan = self.vertical(view, source, &targets).or_else(|| {
            let failed = targets.iter().filter(|target| target.failed).count();
            let least = self.config.min_hosts.min(self.config.min_near_hosts) as f64;
            if (failed as f64) < LEAST_SHARE * least {
                return None;
            }
            targets.sort_unstable_by_key(|t| (t.service(), t.host, t.failed));
            self.horizontal(view, source, &targets)
        })?;
        let (hosts, ports) = (scan.hosts.len(), scan.ports.len());
        let destination = match scan.hosts.first() {
            Some((host, _)) if hosts == 1 => Party::Host(*host),
            _ => Party::Many,
        };
        let what = destination.host().map_or_else(|| format!("{hosts} hosts"), |host| host.to_string());
        // Those before them are forgotten.
        let of_last = if at_least.is_empty() { "" } else { "of the last tries: " };
        let named = text::ports(&scan.ports);
        let (answered, used) = (answered(&targets, &scan), used(&targets, &scan));
        let summary = format!(
            "{source} tried {at_least}{ports} {} ({of_last}{named}) of {what} within {SECONDS} s; {}{}",
            if ports == 1 { "port" } else { "ports" },
            if answered.is_empty() { unanswered(&targets, &scan) } else { format!("answered: {answered}") },
            if used.is_empty() { String::new() } else { format!("; sent data to: {used}") }
        );
        let measure = Measure {
            name: scan.measure,
            unit: scan.unit,
            observed: scan.failed as f64,
            expected: None,
            threshold: scan.threshold as f64,
        };
        let mut finding = view.finding(&DECLARATION, AlertKind::PortScan, measure, summary);
        finding.source = source.into();
        finding.destination = destination;
        finding.port = if ports == 1 { scan.ports.first().map(|(_, port)| *port) } else { None };
        finding.seen = seen;
        finding.facts = vec![
            ("hosts_tried", hosts.to_string()),
            ("ports_tried", ports.to_string()),
            ("ports", named),
            ("answered", answered),
            ("sent_data_to", used),
            ("failed_share", format!("{:.3}", scan.share)),
        ];
        if destination == Party::Many {
            let hosts = scan.hosts.iter().map(|(host, _)| *host);
            finding.crowd = Some(Arc::new(Crowd::new([source], hosts.chain(new.iter().map(|(_, t)| t.host)))));
        }
        let mut shares = scan.hosts;
        shares.sort_by_key(|(host, ports)| (std::cmp::Reverse(*ports), *host));
        shares.truncate(MAX_CONTRIBUTORS);
        finding.contributors =
            shares.iter().map(|(host, ports)| Contributor { what: host.to_string(), amount: *ports as f64 }).collect();
        Some(finding)
    }
}

/// Whether there is something to be tried of a host by this protocol: a port, or an echo.
const fn has_service(protocol: u8) -> bool {
    matches!(protocol, proto::TCP | proto::UDP | proto::ICMP | proto::ICMPV6)
}

/// Whether it is too large for a UDP probe.
fn is_large(seen: &FlowObservation) -> bool {
    let [(_, sent), _] = attempt::sides(seen);
    seen.flow.proto == proto::UDP && sent.ip_bytes > sent.packets * LARGE_BYTES
}

impl Detector for PortScan {
    fn declaration(&self) -> &'static Declaration {
        &DECLARATION
    }

    fn take(&mut self, run: &Run<'_>, tries: &[Try]) {
        for (seen, tried) in run.flows.iter().zip(tries) {
            let protocol = seen.flow.proto;
            if protocol == proto::UDP {
                let [(source, sent), (target, _)] = attempt::sides(seen);
                self.datagrams.add(source, target, sent);
            }
            if !has_service(protocol) && seen.is_new && !attempt::is_group(seen.flow.responder.address) {
                let source = address_number(seen.flow.originator.address);
                self.tried.push((source, Target::of_protocol(seen, run)));
            } else if matches!(tried, Try::Answered | Try::Futile) && !is_large(seen) {
                let [(source, _), _] = attempt::sides(seen);
                self.tried.push((address_number(source.address), Target::new(seen, *tried, run)));
            }
        }
    }

    fn inspect(&mut self, view: &View<'_>, out: &mut Vec<Finding>) {
        let end = view.end();
        self.sources.advance(end);
        let mut tried = std::mem::take(&mut self.tried);
        self.datagrams.leave_out(view, &mut tried);
        // Where one direction is seen, silence is no failure; who tries in vain over TCP shows it alone.
        if view.snapshot.visibility.udp.is_one_sided() {
            tried.retain(|(_, target)| target.proto == proto::TCP || !target.failed);
        }
        let of_many = spread::judge(view, &tried);
        // Each of those who search together has tried some hosts of a network: one event, one alert.
        let is_told = |own: &Finding| own.destination == Party::Many && of_many.iter().any(|all| all.port == own.port);
        // In order but for those whose responder tried, and in two halves.
        tried.sort_by_key(|(source, _)| *source);
        let failures = |new: &[(u128, Target)]| new.iter().filter(|(_, target)| target.failed).count();
        let sources = tried.chunk_by(|a, b| a.0 == b.0).map(|new| ((failures(new), new.len()), address(new[0].0), new));
        let sources = self.sources.heaviest(sources.collect());
        for ((failed, _), source, new) in sources {
            let Some(targets) = self.sources.admit(source) else { continue };
            targets.extend(new.iter().map(|(_, target)| target));
            let beyond = targets.len().saturating_sub(MAX_TARGETS);
            targets.drain(..beyond);
            self.dropped += beyond as u64;
            if failed == 0 {
                continue;
            }
            targets.retain(|target| target.at <= end && end.since(target.at) <= SECONDS * 1_000_000_000);
            // Most sources of a flood have tried less than any scan.
            let least = self.config.min_ports.min(self.config.min_hosts).min(self.config.min_near_hosts);
            if (targets.iter().filter(|target| target.failed).count() as u64) < least {
                continue;
            }
            let targets = std::mem::take(targets);
            out.extend(self.judge(view, source, &targets, new).filter(|own| own.port.is_none() || !is_told(own)));
            *self.sources.meet(source) = targets;
        }
        out.extend(of_many);
        tried.clear();
        self.tried = tried;
    }

    fn evicted(&self) -> u64 {
        self.sources.evicted() + self.dropped
    }
}

#[cfg(test)]
mod tests;
