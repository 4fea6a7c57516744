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

use std::collections::VecDeque;
use std::net::IpAddr;

use nta_common::packet::proto;

use super::attempt::{self, Attempt, FIRST_SESSION_PORT};
use super::declaration::{Basis, Cost, Declaration, FlowUse, Rates, Scope};
use super::recent::{Map, Recent, Weigh, address};
use super::{Detector, View};
use crate::domain::{AlertKind, Contributor, Finding, FlowObservation, Measure, Party, Timestamp};
use crate::tunables::{Bounds, tunables};
use crate::window::{Run, Span, address_number};

tunables! {
    /// Port scans within a minute.
    PortScanConfig in "detect.port_scan" {
        /// Distinct ports of one host that one source must have tried in vain within 60 s. A client knows its
        /// server's ports: in 64 hours of benign captures none tried more than 7 ports of a host. Zeek: 15.
        min_ports: u64 = 10 => Bounds::COUNT,
        /// Distinct hosts that one source must have tried in vain at one port within 60 s. Zeek: 25 in 5 minutes, which
        /// peer-to-peer clients and crawlers reach.
        min_hosts: u64 = 64 => Bounds::COUNT,
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
/// UDP packets from one host to another in a second from which on they are a flood.
const FLOOD_RATE: f64 = 1_000.0;
/// Mean IP bytes from which on a UDP datagram is no probe, as in `udp_flood`.
const LARGE_BYTES: u64 = 300;
/// Candidate pairs that a peer of a call tries at most (RFC 8445, 6.1.2.5), all in vain but one.
const MAX_CANDIDATES: usize = 100;
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
    datagrams: Map<(IpAddr, IpAddr), u64>,
    dropped: u64,
}

#[derive(Clone, Copy, Debug)]
struct Target {
    at: Timestamp,
    proto: u8,
    host: IpAddr,
    port: u16,
    failed: bool,
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

/// A target without its time; the host as one number for both families, which is faster to sort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tried {
    host: u128,
    proto: u8,
    port: u16,
    failed: bool,
}

impl From<&Target> for Tried {
    fn from(target: &Target) -> Self {
        Self { host: address_number(target.host), proto: target.proto, port: target.port, failed: target.failed }
    }
}

impl Tried {
    fn service(&self) -> u32 {
        u32::from(self.proto) << 16 | u32::from(self.port)
    }
}

impl Weigh for VecDeque<Target> {
    fn weight(&self) -> u64 {
        self.len() as u64
    }
}

impl PortScan {
    pub(super) fn new(config: PortScanConfig) -> Self {
        let sources = Recent::new(MAX_SOURCES, SECONDS);
        Self { config, sources, tried: Vec::new(), datagrams: Map::default(), dropped: 0 }
    }

    /// One host's ports. `targets` are in order by host, protocol and port.
    fn vertical(&self, targets: &[Tried]) -> Option<Scan> {
        let mut hosts: Vec<Host> = Vec::new();
        for of_host in targets.chunk_by(|a, b| a.host == b.host) {
            let ports = || of_host.iter().filter(|target| matches!(target.proto, proto::TCP | proto::UDP));
            let mut failed: Vec<(u8, u16)> = ports().filter(|t| t.failed).map(|t| (t.proto, t.port)).collect();
            if (failed.len() as u64) < self.config.min_ports {
                continue;
            }
            drop_sessions(&mut failed);
            let mut tried: Vec<(u8, u16)> = ports().filter(|t| !t.failed).map(|t| (t.proto, t.port)).collect();
            tried.extend(&failed);
            let tried = distinct(tried).len();
            if self.is_scan(failed.len(), self.config.min_ports, tried) {
                hosts.push((address(of_host[0].host), failed, tried));
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

    /// One port of many hosts. `targets` are in order by protocol, port and host.
    fn horizontal(&self, targets: &[Tried]) -> Option<Scan> {
        let mut ports: Vec<Port> = Vec::new();
        for of_protocol in targets.chunk_by(|a, b| a.proto == b.proto) {
            let asked = distinct(of_protocol.iter().filter(|t| t.failed).map(|t| t.host).collect()).len() as f64;
            for of_port in of_protocol.chunk_by(|a, b| a.port == b.port) {
                let failed: Vec<IpAddr> = of_port.iter().filter(|t| t.failed).map(|t| address(t.host)).collect();
                let tried = of_port.chunk_by(|a, b| a.host == b.host).count();
                let most = failed.len() as f64 >= self.config.min_port_share * asked;
                if most && self.is_scan(failed.len(), self.config.min_hosts, tried) {
                    ports.push(((of_port[0].proto, of_port[0].port), failed, tried));
                }
            }
        }
        let (_, failed, tried) = ports.iter().max_by_key(|(_, failed, _)| failed.len())?;
        Some(Scan {
            measure: "hosts_tried_in_vain",
            unit: "hosts",
            failed: failed.len(),
            threshold: self.config.min_hosts,
            share: failed.len() as f64 / *tried as f64,
            hosts: distinct(ports.iter().flat_map(|(_, hosts, _)| hosts.iter().map(|host| (*host, 1))).collect()),
            ports: ports.iter().map(|(port, ..)| *port).collect(),
        })
    }

    fn is_scan(&self, failed: usize, least: u64, tried: usize) -> bool {
        failed as u64 >= least && failed as f64 >= self.config.min_failed_share * tried as f64
    }

    fn judge(&self, view: &View<'_>, source: IpAddr, targets: &VecDeque<Target>) -> Option<Finding> {
        let at_least = if targets.len() < MAX_TARGETS { "" } else { "at least " };
        let mut targets: Vec<Tried> = targets.iter().map(Tried::from).collect();
        targets.sort_unstable_by_key(|t| (t.host, t.service(), t.failed));
        targets.dedup();
        let scan = self.vertical(&targets).or_else(|| {
            if (targets.iter().filter(|target| target.failed).count() as u64) < self.config.min_hosts {
                return None;
            }
            targets.sort_unstable_by_key(|t| (t.service(), t.host, t.failed));
            self.horizontal(&targets)
        })?;
        let (hosts, ports) = (scan.hosts.len(), scan.ports.len());
        let destination = match scan.hosts.first() {
            Some((host, _)) if hosts == 1 => Party::Host(*host),
            _ => Party::Many,
        };
        let what = destination.host().map_or_else(|| format!("{hosts} hosts"), |host| host.to_string());
        let summary = format!(
            "{source} tried {at_least}{ports} {} of {what} within {SECONDS} s; {} % of its targets did not answer or refused",
            if ports == 1 { "port" } else { "ports" },
            // Rounded down: an open port is what one looks for.
            (scan.share * 1000.0).floor() / 10.0
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
        finding.facts = vec![
            ("hosts_tried", hosts.to_string()),
            ("ports_tried", ports.to_string()),
            ("failed_share", format!("{:.3}", scan.share)),
        ];
        let mut shares = scan.hosts;
        shares.sort_by_key(|(host, ports)| (std::cmp::Reverse(*ports), *host));
        shares.truncate(MAX_CONTRIBUTORS);
        finding.contributors =
            shares.iter().map(|(host, ports)| Contributor { what: host.to_string(), amount: *ports as f64 }).collect();
        Some(finding)
    }
}

/// Takes UDP ports of sessions out unless there are too many of them for one.
fn drop_sessions(failed: &mut Vec<(u8, u16)>) {
    let is_session = |(protocol, port): &(u8, u16)| *protocol == proto::UDP && *port >= FIRST_SESSION_PORT;
    if failed.iter().filter(|port| is_session(port)).count() <= MAX_CANDIDATES {
        failed.retain(|port| !is_session(port));
    }
}

fn distinct<T: Ord>(mut all: Vec<T>) -> Vec<T> {
    all.sort_unstable();
    all.dedup();
    all
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

    fn take(&mut self, run: &Run<'_>) {
        for seen in run.flows {
            let protocol = seen.flow.proto;
            if protocol == proto::UDP {
                let [(source, sent), (target, _)] = attempt::sides(seen);
                *self.datagrams.entry((source.address, target.address)).or_default() += sent.packets;
            }
            if let Some((attempt, source, target)) = attempt::judge(seen).filter(|_| !is_large(seen)) {
                let (host, port, failed) = (target.address, target.port, attempt == Attempt::Futile);
                let at = seen.flow.last.max(run.start).min(run.end);
                let target = Target { at, proto: protocol, host, port, failed };
                self.tried.push((address_number(source.address), target));
            }
        }
    }

    fn inspect(&mut self, view: &View<'_>, out: &mut Vec<Finding>) {
        let end = view.end();
        self.sources.advance(end);
        let mut tried = std::mem::take(&mut self.tried);
        // In a window that was closed late a flood is over long before it: as many packets as in one of its kind are enough.
        let window = &view.snapshot.window;
        let most = FLOOD_RATE * window.length_ns().min(window.span_ns()) as f64 / 1e9;
        self.datagrams.retain(|_, packets| *packets as f64 >= most);
        if !self.datagrams.is_empty() {
            let is_flood = |source: u128, target: &Target| {
                target.proto == proto::UDP && self.datagrams.contains_key(&(address(source), target.host))
            };
            tried.retain(|(source, target)| !is_flood(*source, target));
            self.datagrams.clear();
        }
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
            let least = self.config.min_ports.min(self.config.min_hosts);
            if (targets.iter().filter(|target| target.failed).count() as u64) < least {
                continue;
            }
            let targets = std::mem::take(targets);
            out.extend(self.judge(view, source, &targets));
            *self.sources.meet(source) = targets;
        }
        tried.clear();
        self.tried = tried;
    }

    fn evicted(&self) -> u64 {
        self.sources.evicted() + self.dropped
    }
}

#[cfg(test)]
mod tests;
