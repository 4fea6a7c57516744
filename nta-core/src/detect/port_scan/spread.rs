//! One port tried of many hosts by many sources, of which none is a scanner by itself: the search of a botnet for more of its
//! kind (Antonakakis et al. 2017, of Mirai at ports 23 and 2323).

use std::sync::Arc;

use nta_common::packet::proto;

use super::{DECLARATION, Target, times};
use crate::detect::View;
use crate::detect::recent::{Map, address};
use crate::domain::{AlertKind, Crowd, Finding, Measure, Party};
use crate::window::address_number;

/// Sources, and hosts, in one window: as many sources as make a flood a distributed one.
const MIN: usize = 100;
/// Share of the tries at the port that must have come to nothing. A service that many use answers most.
const FAILED_SHARE: f64 = 0.95;
/// Share of the tries that one source, or one host, may have: else it is that one's scan or flood.
const MAX_SHARE: f64 = 0.25;

/// Tries of a port that are looked at before all are: in a flood of one host there are very many.
const SAMPLE: usize = 256;

/// What is found among what everybody tried in a window.
pub(super) fn judge(view: &View<'_>, tried: &[(u128, Target)]) -> Vec<Finding> {
    let tcp = || tried.iter().filter(|(_, target)| target.proto == proto::TCP);
    let mut by_port: Map<u16, (usize, usize)> = Map::default();
    for (_, target) in tcp() {
        let (tries, failed) = by_port.entry(target.port).or_default();
        *tries += 1;
        *failed += usize::from(target.failed);
    }
    let in_vain =
        |(_, (tries, failed)): &(u16, (usize, usize))| *failed >= MIN && *failed as f64 >= FAILED_SHARE * *tries as f64;
    let mut ports: Vec<_> = by_port.into_iter().filter(in_vain).collect();
    ports.sort_unstable();
    let of_port = |(port, (tries, failed)): (u16, (usize, usize))| {
        let failures = || tcp().filter(move |(_, target)| target.failed && target.port == port);
        let pairs: Vec<(u128, u128)> = failures().map(|(source, t)| (*source, address_number(t.host))).collect();
        let mut finding = finding(view, port, failed as f64 / tries as f64, &pairs)?;
        finding.seen = times(failures().map(|(_, target)| target));
        let crowd = Crowd::new(pairs.iter().map(|pair| address(pair.0)), pairs.iter().map(|pair| address(pair.1)));
        finding.crowd = Some(Arc::new(crowd));
        Some(finding)
    };
    ports.into_iter().filter_map(of_port).collect()
}

/// How many different ones there are, and the largest share.
fn spread(all: impl Iterator<Item = u128>) -> (usize, f64) {
    let mut all: Vec<u128> = all.collect();
    all.sort_unstable();
    let runs = || all.chunk_by(|a, b| a == b);
    (runs().count(), runs().map(<[u128]>::len).max().unwrap_or(0) as f64 / all.len().max(1) as f64)
}

fn finding(view: &View<'_>, port: u16, share: f64, failed: &[(u128, u128)]) -> Option<Finding> {
    let sample = failed.iter().step_by((failed.len() / SAMPLE).max(1));
    let is_one_sided = |(_, largest): (usize, f64)| largest > 2.0 * MAX_SHARE;
    if is_one_sided(spread(sample.clone().map(|pair| pair.0))) || is_one_sided(spread(sample.map(|pair| pair.1))) {
        return None;
    }
    let (sources, hosts) = (spread(failed.iter().map(|pair| pair.0)), spread(failed.iter().map(|pair| pair.1)));
    if sources.0 < MIN || hosts.0 < MIN || sources.1 > MAX_SHARE || hosts.1 > MAX_SHARE {
        return None;
    }
    let seconds = view.snapshot.window.judged_ns() as f64 / 1e9;
    let summary = format!(
        "{} sources tried port {port} of {} hosts within {seconds:.1} s; {:.0} % of the tries came to nothing",
        sources.0,
        hosts.0,
        share * 100.0
    );
    let measure = Measure {
        name: "hosts_tried_in_vain",
        unit: "hosts",
        observed: hosts.0 as f64,
        expected: None,
        threshold: MIN as f64,
    };
    let mut finding = view.finding(&DECLARATION, AlertKind::PortScan, measure, summary);
    (finding.source, finding.destination, finding.port) = (Party::Many, Party::Many, Some(port));
    finding.facts = vec![
        ("sources", sources.0.to_string()),
        ("hosts_tried", hosts.0.to_string()),
        ("ports", port.to_string()),
        ("failed_share", format!("{share:.3}")),
    ];
    Some(finding)
}
