//! A source from outside, judged by Threshold Random Walk (Jung et al. 2004) over the local hosts that it tries.

use std::net::IpAddr;

use super::{DECLARATION, Tried};
use crate::detect::View;
use crate::detect::port_scan::list;
use crate::domain::{AlertKind, Contributor, Finding, Measure, Party, Timestamp};
use crate::window::Distinct;

/// Local hosts, and ports, that are named of a stranger's.
const MAX_NAMED: usize = 10;

/// What somebody from outside tried of local hosts over TCP.
#[derive(Debug, Default)]
pub(super) struct Stranger {
    failed: Distinct,
    reached: Distinct,
    /// The first ones tried in vain.
    hosts: Vec<IpAddr>,
    ports: Vec<u16>,
    since: Option<Timestamp>,
    /// When the first one that failed began, and the last one ended.
    seen: Option<[Timestamp; 2]>,
    reported: u64,
}

impl Stranger {
    /// How many hosts it tried in vain.
    pub(super) fn weight(&self) -> u64 {
        self.failed.count()
    }

    pub(super) fn take(&mut self, tried: &Tried, host: u32, now: Timestamp) {
        if !tried.failed {
            self.reached.insert(host);
            return;
        }
        self.since.get_or_insert(now);
        let [first, last] = self.seen.unwrap_or([tried.first, tried.last]);
        self.seen = Some([first.min(tried.first), last.max(tried.last)]);
        self.failed.insert(host);
        if self.hosts.len() < MAX_NAMED && !self.hosts.contains(&tried.host) {
            self.hosts.push(tried.host);
        }
        if self.ports.len() < MAX_NAMED && !self.ports.contains(&tried.port) {
            self.ports.push(tried.port);
        }
    }

    /// When its walk has reached the threshold, and again when it has gone twice as far.
    pub(super) fn judge(&mut self, view: &View<'_>, address: IpAddr, least: u64) -> Option<Finding> {
        let (failed, reached) = (self.failed.count(), self.reached.count());
        let near = [failed as f64, (reached + least) as f64];
        view.state(&DECLARATION, address, ("hosts_tried_in_vain", "hosts"), near);
        if failed < reached + least.max(self.reported * 2) {
            return None;
        }
        self.reported = failed;
        let seconds = view.end().since(self.since?) as f64 / 1e9;
        let within = if seconds < 120.0 { format!("{seconds:.0} s") } else { format!("{:.0} minutes", seconds / 60.0) };
        let mut ports = self.ports.clone();
        ports.sort_unstable();
        let (word, ports) = (if ports.len() == 1 { "port" } else { "ports" }, list(ports.iter()));
        let whom = if reached == 0 { "none".to_owned() } else { self.reached.words() };
        let summary = format!(
            "{address}, from outside, tried {} local hosts ({word} {ports}) in vain within {within} and \
             reached {whom}",
            self.failed.words()
        );
        let measure = Measure {
            name: "hosts_tried_in_vain",
            unit: "hosts",
            observed: failed as f64,
            expected: None,
            threshold: least as f64,
        };
        let mut finding = view.finding(&DECLARATION, AlertKind::PortScan, measure, summary);
        finding.source = address.into();
        finding.destination = Party::Many;
        finding.seen = self.seen;
        finding.port = if self.ports.len() == 1 { self.ports.first().copied() } else { None };
        finding.facts = vec![
            ("minutes", format!("{:.1}", seconds / 60.0)),
            ("ports", ports),
            ("hosts_reached", reached.to_string()),
        ];
        finding.contributors =
            self.hosts.iter().map(|host| Contributor { what: host.to_string(), amount: 1.0 }).collect();
        Some(finding)
    }
}
