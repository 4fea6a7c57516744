//! When what was found happened, held against the packets.

use super::*;
use crate::detect::fixture::{flow, full};
use crate::domain::{AlertKind, Basis, Measure};

/// A window of five seconds: .9 scans .2 from its second to its third second, and everybody fetches pages all the time.
fn window() -> Snapshot {
    let scan = (0..10).map(|port| flow("10.0.0.9", "10.0.0.2", 8000 + port, 2.0 + f64::from(port / 5), [60, 0]));
    let pages = (0..5).flat_map(|second| {
        let pairs = [("10.0.0.9", "10.0.0.1"), ("10.0.0.8", "10.0.0.2")];
        pairs.map(|(from, to)| flow(from, to, 80, f64::from(second), [100, 1000]))
    });
    let at = flow("10.0.0.9", "10.0.0.2", 1, 0.0, [1, 1]).flow.first;
    full(at, &[], pages.chain(scan).collect())
}

fn found(window: &Snapshot, source: Option<&str>, destination: Option<&str>, port: Option<u16>) -> Finding {
    let party = |name: Option<&str>| name.map_or(Party::Many, |name| Party::Host(name.parse().expect("an address")));
    Finding {
        detector: "port_scan",
        basis: Basis::Rule,
        kind: AlertKind::PortScan,
        source: party(source),
        destination: party(destination),
        port,
        start: window.window.start,
        end: window.window.end,
        seen: None,
        measure: Measure { name: "ports", unit: "ports", observed: 10.0, expected: None, threshold: 10.0 },
        score: 0.5,
        summary: String::new(),
        facts: Vec::new(),
        contributors: Vec::new(),
        crowd: None,
    }
}

/// First and last packet, in seconds since the window's start.
fn seconds(window: &Snapshot, seen: Option<[Timestamp; 2]>) -> Option<[f64; 2]> {
    Some(seen?.map(|time| time.since(window.window.start) as f64 / 1e9))
}

#[test]
fn a_scan_lasts_from_its_first_to_its_last_packet() {
    let window = window();
    let (scanner, victim) = (Some("10.0.0.9"), Some("10.0.0.2"));
    let parties = [
        // The two alone; then with all that a host did; then at a port; then of many, and of whom no flow is.
        (scanner, victim, None, Some([2.0, 3.0])),
        (victim, scanner, None, Some([2.0, 3.0])),
        (scanner, None, None, Some([0.0, 4.0])),
        (None, victim, Some(8007), Some([3.0, 3.0])),
        (None, None, None, Some([0.0, 4.0])),
        (Some("10.0.0.7"), None, None, Some([0.0, 4.0])),
    ];
    for (source, destination, port, expected) in parties {
        let mut findings = vec![found(&window, source, destination, port)];
        date(&mut findings, &window);
        assert_eq!(seconds(&window, findings[0].seen), expected, "{source:?} > {destination:?} {port:?}");
    }
}

#[test]
fn what_a_detector_remembers_began_before_the_window() {
    let window = window();
    let before = Timestamp::from_nanos(window.window.start.as_nanos() - 7_000_000_000);
    let mut findings = vec![found(&window, Some("10.0.0.9"), Some("10.0.0.2"), None)];
    findings[0].seen = Some([before, window.window.end]);
    date(&mut findings, &window);
    let [first, last] = findings[0].seen.expect("seen");
    assert_eq!((first, last.since(window.window.start)), (before, 3_000_000_000));
}

#[test]
fn of_many_findings_hosts_say_when() {
    let window = window();
    let mut findings =
        vec![found(&window, Some("10.0.0.9"), Some("10.0.0.2"), None); MOST_COMPARED / window.flows.len() + 1];
    date(&mut findings, &window);
    assert!(findings.iter().all(|finding| seconds(&window, finding.seen) == Some([0.0, 4.0])));
}

#[test]
fn what_is_found_began_with_its_flow_where_that_began_shortly_before() {
    let part = |seconds: f64| (seconds * 1e9) as u64;
    let at = flow("10.0.0.9", "10.0.0.2", 1, 0.0, [1, 1]).flow.first;
    // Before the window, and what the finding's begin is then, in seconds before it.
    for (before, expected) in [(0.0, 0.0), (0.5, 0.5), (2.25, 2.25), (5.0, 5.0), (5.5, 0.0), (7200.0, 0.0)] {
        let mut flood = flow("10.0.0.9", "10.0.0.2", 53, 4.0, [9000, 0]);
        flood.flow.first = Timestamp::from_nanos(at.as_nanos() - part(before));
        let window = full(at, &[], vec![flood]);
        let mut findings = vec![found(&window, Some("10.0.0.9"), Some("10.0.0.2"), Some(53))];
        date(&mut findings, &window);
        let [first, last] = findings[0].seen.expect("seen");
        assert_eq!((window.window.start.since(first), last.since(at)), (part(expected), part(4.0)), "{before}");
    }
}

#[test]
fn who_knows_the_last_packet_is_believed() {
    let window = window();
    let packets = [-30, -7].map(|second: i64| {
        Timestamp::from_nanos(window.window.start.as_nanos().saturating_add_signed(second * 1_000_000_000))
    });
    // It goes on to fetch pages, which is none of the scan.
    let mut findings = vec![Finding { seen: Some(packets), ..found(&window, Some("10.0.0.9"), None, None) }];
    date(&mut findings, &window);
    assert_eq!(findings[0].seen, Some(packets));
}

#[test]
fn claims_on_the_link_lasted_as_long_as_their_packets() {
    let window = window();
    let packets = [-3, 1].map(|second: i64| {
        Timestamp::from_nanos(window.window.start.as_nanos().saturating_add_signed(second * 1_000_000_000))
    });
    // Whoever has the address goes on talking.
    let mut findings = vec![Finding {
        source: Party::Mac([2, 0, 0, 0, 0, 9]),
        seen: Some(packets),
        ..found(&window, None, Some("10.0.0.2"), None)
    }];
    date(&mut findings, &window);
    assert_eq!(findings[0].seen, Some(packets));
}
