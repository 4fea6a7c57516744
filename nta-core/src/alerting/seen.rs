//! When what was found happened: from the first to the last packet of its parties, not from one end of the window to the other.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::domain::{Finding, FlowObservation, FlowRecord, Party, Timestamp};
use crate::window::Snapshot;

/// Flows that are held against findings of one window, a few milliseconds; with more, what the hosts did in the window has to do.
const MOST_COMPARED: usize = 1_000_000;

/// Says of each finding of a window when its packets came: by the flows between its parties where the window has them, else by
/// what its hosts sent and received. A flow that began no more than the window's length before it is what was found from its
/// beginning on; an older one was there before it, unless the detector says otherwise. Whoever says when the last packet came knows
/// which ones they are: other traffic of its parties is none of it.
pub(crate) fn date(findings: &mut [Finding], snapshot: &Snapshot) {
    if findings.is_empty() {
        return;
    }
    let [start, end] = [snapshot.window.start, snapshot.window.end];
    let lately = start.as_nanos().saturating_sub(snapshot.window.span_ns());
    let bounds = [Timestamp::from_nanos(lately), end];
    // What a detector remembers from windows before.
    let remembered: Vec<_> = findings.iter_mut().map(|finding| finding.seen.take()).collect();
    if findings.len().saturating_mul(snapshot.flows.len()) <= MOST_COMPARED {
        by_flows(findings, snapshot, lately);
    }
    let mut of_all = None;
    for (finding, remembered) in findings.iter_mut().zip(remembered) {
        if let Some(packets) = remembered.filter(|[_, last]| matches!(finding.source, Party::Mac(_)) || *last < end) {
            finding.seen = Some(packets);
            continue;
        }
        let seen = finding.seen.or_else(|| of_hosts(finding, snapshot));
        let seen = seen.or_else(|| *of_all.get_or_insert_with(|| self::of_all(snapshot)));
        finding.seen = seen.and_then(|seen| within(seen, bounds));
        if let (Some([first, _]), Some([since, _])) = (&mut finding.seen, remembered) {
            *first = since.min(*first);
        }
    }
}

/// Dates findings by the flows between their parties, as far as they are hosts, to their port.
/// What began before `lately` has the window's start in common with a finding, and no more.
fn by_flows(findings: &mut [Finding], snapshot: &Snapshot, lately: u64) {
    // Each finding by one of its hosts, so that a flow is held against few.
    let mut by_host: HashMap<IpAddr, Vec<usize>, foldhash::fast::RandomState> = HashMap::default();
    for (at, finding) in findings.iter().enumerate() {
        if let Some(host) = finding.source.host().or(finding.destination.host()) {
            by_host.entry(host).or_default().push(at);
        }
    }
    for run in snapshot.runs() {
        // The flows of two hosts lie together.
        for flows in run.flows.chunk_by(|a, b| ends(a) == ends(b)) {
            let [one, other] = ends(&flows[0]);
            let hosts = [one, other].into_iter().take(if one == other { 1 } else { 2 });
            for at in hosts.filter_map(|host| by_host.get(&host)).flatten() {
                let finding = &mut findings[*at];
                if !is_between(finding, [one, other]) {
                    continue;
                }
                let port = finding.port;
                for seen in flows.iter().filter(|seen| port.is_none_or(|port| port == seen.flow.responder.port)) {
                    let FlowRecord { first, last, .. } = seen.flow;
                    let first = if first.as_nanos() < lately { first.max(snapshot.window.start) } else { first };
                    widen(&mut finding.seen, [first, last]);
                }
            }
        }
    }
}

/// Originator and responder.
const fn ends(seen: &FlowObservation) -> [IpAddr; 2] {
    [seen.flow.originator.address, seen.flow.responder.address]
}

/// Whether these are the parties of a finding, as far as they are hosts.
fn is_between(finding: &Finding, [one, other]: [IpAddr; 2]) -> bool {
    let [source, destination] = [finding.source.host(), finding.destination.host()];
    let are = |one, other| source.is_none_or(|host| host == one) && destination.is_none_or(|host| host == other);
    are(one, other) || are(other, one)
}

/// The time in which all its hosts sent or received anything.
fn of_hosts(finding: &Finding, snapshot: &Snapshot) -> Option<[Timestamp; 2]> {
    let hosts = [finding.source, finding.destination].into_iter().filter_map(|party: Party| party.host());
    let seen = hosts.filter_map(|host| snapshot.hosts.get(&host)).map(|host| [host.first, host.last]);
    seen.reduce(|[first, last], other| [first.max(other[0]), last.min(other[1])])
}

/// The time in which anything came.
fn of_all(snapshot: &Snapshot) -> Option<[Timestamp; 2]> {
    let mut seen = None;
    snapshot.hosts.iter().for_each(|host| widen(&mut seen, [host.first, host.last]));
    snapshot.events.iter().for_each(|event| widen(&mut seen, [event.time(); 2]));
    seen
}

pub(super) fn widen(known: &mut Option<[Timestamp; 2]>, [first, last]: [Timestamp; 2]) {
    let [known_first, known_last] = known.unwrap_or([first, last]);
    *known = Some([known_first.min(first), known_last.max(last)]);
}

/// The part of a time that lies in a window; `None` when there is none.
fn within([first, last]: [Timestamp; 2], [start, end]: [Timestamp; 2]) -> Option<[Timestamp; 2]> {
    let part = [first.max(start), last.min(end)];
    (part[0] <= part[1]).then_some(part)
}

#[cfg(test)]
#[path = "seen_tests.rs"]
mod tests;
