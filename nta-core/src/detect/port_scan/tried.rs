//! What a source tried, as sets: targets in order, hosts of one network, ports of a call, and what answered.

use std::collections::HashSet;
use std::net::IpAddr;

use nta_common::packet::proto;

use super::{Scan, Target, text};
use crate::detect::attempt::FIRST_SESSION_PORT;
use crate::detect::recent::address;
use crate::window::address_number;

/// Candidate pairs that a peer of a call tries at most (RFC 8445, 6.1.2.5), all in vain but one.
const MAX_CANDIDATES: usize = 100;

/// Hosts or ports of a scan, of which there may be thousands.
type Set<T> = HashSet<T, foldhash::fast::RandomState>;

/// A target without its time; the host as one number for both families, which is faster to sort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tried {
    pub(super) host: u128,
    pub(super) proto: u8,
    pub(super) port: u16,
    pub(super) failed: bool,
    pub(super) answered: bool,
    pub(super) used: bool,
    pub(super) refused: bool,
    /// Protocol and port, and then what came of it, as one number: failures last, what answered first.
    rank: u32,
}

impl From<&Target> for Tried {
    fn from(target: &Target) -> Self {
        let Target { proto, port, failed, answered, used, refused, .. } = *target;
        let finer = u32::from(!answered) << 2 | u32::from(used) << 1 | u32::from(!refused);
        let rank = (u32::from(proto) << 16 | u32::from(port)) << 4 | u32::from(failed) << 3 | finer;
        Self { host: address_number(target.host), proto, port, failed, answered, used, refused, rank }
    }
}

impl Tried {
    /// Protocol and port.
    pub(super) const fn service(&self) -> u32 {
        self.rank >> 4
    }

    /// By host, protocol and port; what came of it follows.
    pub(super) const fn place(&self) -> (u128, u32) {
        (self.host, self.rank)
    }

    /// The same but for what distinguishes successes among themselves, and failures.
    pub(super) const fn outcome(&self) -> (u128, u32) {
        (self.host, self.rank >> 3)
    }
}

/// Ports of a scan's one host that it did not only try: it sent something there, as every client does.
pub(super) fn used(targets: &[Tried], scan: &Scan) -> String {
    let [(host, _)] = scan.hosts[..] else { return String::new() };
    let of_host = |port: &&Tried| port.host == address_number(host) && port.answered && port.used;
    text::ports(&distinct(targets.iter().filter(of_host).map(|port| (port.proto, port.port)).collect()))
}

/// What answered of the hosts and ports of a scan: ports of one host, else hosts, with their ports if there are several.
pub(super) fn answered(targets: &[Tried], scan: &Scan) -> String {
    let ports: Set<(u8, u16)> = scan.ports.iter().copied().collect();
    let the_one = if let [(host, _)] = scan.hosts[..] { Some(address_number(host)) } else { None };
    let ports_of_one = the_one.is_some();
    let of_scan = |t: &&Tried| {
        t.answered && the_one.map_or_else(|| ports.contains(&(t.proto, t.port)), |host| t.host == host && !t.used)
    };
    let open: Vec<(u128, (u8, u16))> = targets.iter().filter(of_scan).map(|t| (t.host, (t.proto, t.port))).collect();
    if ports_of_one {
        return text::ports(&distinct(open.iter().map(|(_, port)| *port).collect()));
    }
    let word = |(host, port): &(u128, (u8, u16))| {
        let host = address(*host);
        if scan.ports.len() == 1 { host.to_string() } else { format!("{host} port {}", text::ports(&[*port])) }
    };
    text::list(distinct(open).iter().map(word))
}

/// What became of a scan that nothing answered: silence, or refusals.
pub(super) fn unanswered(targets: &[Tried], scan: &Scan) -> String {
    let hosts: Set<u128> = scan.hosts.iter().map(|(host, _)| address_number(*host)).collect();
    let ports: Set<(u8, u16)> = scan.ports.iter().copied().collect();
    let is_of_scan = |t: &&Tried| t.failed && ports.contains(&(t.proto, t.port)) && hosts.contains(&t.host);
    let (mut all, mut refused) = (0_u64, 0_u64);
    for target in targets.iter().filter(is_of_scan) {
        all += 1;
        refused += u64::from(target.refused);
    }
    match refused {
        0 => "none answered".to_owned(),
        refused if refused == all => "all refused".to_owned(),
        refused => format!("none answered, {refused} of {all} refused"),
    }
}

/// Takes UDP ports of sessions out unless there are too many of them for one.
pub(super) fn drop_sessions(failed: &mut Vec<(u8, u16)>) {
    let is_session = |(protocol, port): &(u8, u16)| *protocol == proto::UDP && *port >= FIRST_SESSION_PORT;
    if failed.iter().filter(|port| is_session(port)).count() <= MAX_CANDIDATES {
        failed.retain(|port| !is_session(port));
    }
}

/// How many of these hosts, in order, are of the /24 or /64 with the most of them.
pub(in crate::detect) fn largest_network(hosts: &[IpAddr]) -> usize {
    let network = |host: &IpAddr| match host {
        IpAddr::V4(host) => u128::from(host.to_bits() >> 8),
        IpAddr::V6(host) => host.to_bits() >> 64,
    };
    hosts.chunk_by(|a, b| network(a) == network(b)).map(<[IpAddr]>::len).max().unwrap_or(0)
}

pub(super) fn distinct<T: Ord>(mut all: Vec<T>) -> Vec<T> {
    all.sort_unstable();
    all.dedup();
    all
}
