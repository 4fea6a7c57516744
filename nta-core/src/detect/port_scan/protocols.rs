//! An IP protocol scan, as `nmap -sO` makes it: one host is sent one protocol after the other.

use std::net::IpAddr;

use super::{DECLARATION, SECONDS, Tried, distinct, has_service, list};
use crate::detect::View;
use crate::detect::recent::address;
use crate::domain::{AlertKind, Contributor, Finding, Measure};

/// Protocols without ports that a scan of them tries at least: hosts that tunnel, encrypt and route speak a handful, each with a
/// peer of its own (GRE, ESP, AH, OSPF, SCTP, 6in4, L2TP, VRRP, PIM); the list has 140 and more (IANA).
const MIN_PROTOCOLS: usize = 10;

/// What is found among what a source tried; `targets` are in order by host.
pub(super) fn judge(view: &View<'_>, source: IpAddr, targets: &[Tried]) -> Option<Finding> {
    // As with nearly every source.
    if targets.iter().all(|target| has_service(target.proto)) {
        return None;
    }
    let of_host = |of_host: &[Tried]| {
        let (mut failed, mut answered) = (Vec::new(), Vec::new());
        for target in of_host.iter().filter(|target| !has_service(target.proto)) {
            if target.failed { &mut failed } else { &mut answered }.push(target.proto);
        }
        (address(of_host[0].host), distinct(failed), distinct(answered))
    };
    let by_host = targets.chunk_by(|a, b| a.host == b.host).map(of_host);
    let (host, failed, answered) = by_host.max_by_key(|(_, failed, _)| failed.len())?;
    let near = [failed.len() as f64, MIN_PROTOCOLS as f64];
    view.state(&DECLARATION, source, ("protocols_tried_in_vain", "protocols"), near);
    if failed.len() < MIN_PROTOCOLS {
        return None;
    }
    let [named, answered] = [&failed, &answered].map(|protocols| list(protocols.iter()));
    let summary = format!(
        "{source} tried {} IP protocols ({named}) of {host} within {SECONDS} s; {}",
        failed.len(),
        if answered.is_empty() { "none answered".to_owned() } else { format!("answered: {answered}") }
    );
    let measure = Measure {
        name: "protocols_tried_in_vain",
        unit: "protocols",
        observed: failed.len() as f64,
        expected: None,
        threshold: MIN_PROTOCOLS as f64,
    };
    let mut finding = view.finding(&DECLARATION, AlertKind::PortScan, measure, summary);
    (finding.source, finding.destination) = (source.into(), host.into());
    finding.facts = vec![("protocols", named), ("answered", answered)];
    finding.contributors = vec![Contributor { what: host.to_string(), amount: failed.len() as f64 }];
    Some(finding)
}
