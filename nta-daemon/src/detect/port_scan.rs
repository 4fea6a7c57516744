//! Port scan: one source tries many ports of a host (vertical) or one port of many hosts (horizontal) within a window,
//! and mostly fails.
//!
//! After Zeek's `scan.zeek` (distinct failed targets per source) with Threshold Random Walk's idea (Jung et al. 2004)
//! that a scanner is known by the share of its attempts that fail.

use super::tunables::tunables;
use super::{Detector, View};
use crate::domain::{AlertKind, Finding, Measure, Party};
use crate::window::HostStats;

tunables! {
    /// Port scans.
    PortScanConfig in "detect.port_scan" {
        /// Distinct services (host and port) that one source must have tried in a window.
        min_services: u64 = 15,
        /// Share of its attempts that must have failed, 0 to 1.
        min_failed_share: f64 = 0.5,
    }
}

/// Finds scans within one base window.
#[derive(Debug)]
pub(super) struct PortScan {
    config: PortScanConfig,
}

impl PortScan {
    pub(super) const fn new(config: PortScanConfig) -> Self {
        Self { config }
    }

    fn judge(&self, view: &View<'_>, host: &HostStats) -> Option<Finding> {
        let role = &host.originator;
        let tried = u64::from(role.attempts) + u64::from(role.unanswered_other);
        if tried < self.config.min_services {
            return None;
        }
        let services = role.services.count();
        let failed = f64::from(role.unanswered + role.refused + role.unanswered_other) / tried as f64;
        if services < self.config.min_services || failed < self.config.min_failed_share {
            return None;
        }
        let (peers, ports) = (role.peers.count(), role.ports.count());
        let (destination, what) = target(view, host, peers);
        let seconds = view.snapshot.seconds();
        Some(Finding {
            detector: self.name(),
            kind: AlertKind::PortScan,
            source: Party::Host(host.address),
            destination,
            port: None,
            start: view.start(),
            end: view.end(),
            measure: Measure {
                name: "services_tried",
                unit: "services",
                observed: services as f64,
                expected: None,
                threshold: self.config.min_services as f64,
            },
            score: failed.min(1.0),
            sentence: format!(
                "{} tried {ports} ports of {what} within {seconds} s; {:.0} % of its {tried} attempts failed",
                host.address,
                failed * 100.0
            ),
            facts: vec![
                ("hosts_tried", peers.to_string()),
                ("ports_tried", ports.to_string()),
                ("attempts", tried.to_string()),
                ("failed_share", format!("{failed:.3}")),
            ],
            contributors: Vec::new(),
        })
    }
}

/// The one host that was scanned, or how many.
fn target(view: &View<'_>, host: &HostStats, peers: u64) -> (Party, String) {
    if peers > 1 {
        return (Party::Many, format!("{peers} hosts"));
    }
    let flow = view.snapshot.flows.iter().find(|seen| seen.flow.originator.address == host.address);
    match flow {
        Some(seen) => (Party::Host(seen.flow.responder.address), seen.flow.responder.address.to_string()),
        None => (Party::Nobody, "a host".to_owned()),
    }
}

impl Detector for PortScan {
    fn name(&self) -> &'static str {
        "port_scan"
    }

    fn inspect(&mut self, view: &View<'_>, out: &mut Vec<Finding>) {
        out.extend(view.snapshot.hosts.iter().filter_map(|host| self.judge(view, host)));
    }
}
