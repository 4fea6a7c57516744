//! What counts as found.

use super::*;
use crate::domain::{AlertId, AlertKey, AlertState, Basis, Contributor, Finding, Measure};
use crate::evaluate::parse;
use std::path::Path;

const HEADER: &str = "file\ttype\tattacker\tvictim\tattack_start\tattack_end\n";

fn host(last: u8) -> Party {
    Party::Host(IpAddr::from([10, 0, 0, last]))
}

/// An alert of these seconds.
fn alert(kind: AlertKind, source: Party, destination: Party, [first, last]: [u64; 2]) -> Alert {
    let (first, last) = (Timestamp::from_nanos(first * 1_000_000_000), Timestamp::from_nanos(last * 1_000_000_000));
    let finding = Finding {
        detector: "port_scan",
        basis: Basis::Rule,
        kind,
        source,
        destination,
        port: None,
        start: first,
        end: last,
        measure: Measure { name: "ports_tried", unit: "1", observed: 2.0, expected: None, threshold: 1.0 },
        score: 1.0,
        summary: "ports were tried".to_owned(),
        facts: Vec::new(),
        contributors: Vec::new(),
        crowd: None,
        seen: None,
    };
    Alert {
        seen: None,
        id: AlertId(first.as_nanos()),
        key: AlertKey::of(&finding),
        state: AlertState::Cleared,
        severity: Severity::High,
        first,
        last,
        raised: last,
        cleared: None,
        clear_reason: None,
        windows: 1,
        merged: 0,
        detectors: vec!["port_scan"],
        opinions: Vec::new(),
        latest: finding.clone(),
        finding,
    }
}

fn scored(rows: &str, alerts: Vec<Alert>) -> Report {
    let labels = parse(Path::new("labels.tsv"), &format!("{HEADER}{rows}")).expect("labels");
    let times = Some((Timestamp::from_nanos(0), Timestamp::from_nanos(3_600_000_000_000)));
    let outcome = Outcome { file: "a.pcap".to_owned(), alerts, times, flows: 500_000, base_ns: 5_000_000_000 };
    score(&labels, &[outcome], BTreeMap::new(), Judges::Naming)
}

/// Found attacks and precision of the first attack.
fn first(report: &Report) -> (u64, Option<f64>) {
    (report.attacks[0].found, report.attacks[0].precision)
}

#[test]
fn an_attack_is_found_at_its_time_with_both_parties_right() {
    let row = "a.pcap\tportscan\t10.0.0.1\t10.0.0.2\t1000\t1010\n";
    let of = |source, destination, times| scored(row, vec![alert(AlertKind::PortScan, source, destination, times)]);
    assert_eq!(first(&of(host(1), host(2), [1000, 1010])), (1, Some(1.0)));
    assert_eq!(first(&of(host(2), host(1), [1000, 1010])), (0, Some(0.0)), "the wrong way round");
    assert_eq!(first(&of(host(1), host(3), [1000, 1010])), (0, Some(0.0)), "another victim");
    let slack = slack_ns(&alert(AlertKind::PortScan, host(1), host(2), [0, 1]), 5_000_000_000) / 1_000_000_000;
    assert!(slack <= 180, "{slack}");
    assert_eq!(first(&of(host(1), host(2), [1010 + slack, 1300])).0, 1);
    assert_eq!(first(&of(host(1), host(2), [1011 + slack, 1300])).0, 0, "later than a window after it");
}

#[test]
fn an_alert_about_many_is_right_when_it_names_one_of_them() {
    let row = "a.pcap\tsynflood\t10.0.0.1\t10.0.0.2\t1000\t1010\n";
    let mut many = alert(AlertKind::SynFlood, Party::Many, host(2), [1000, 1010]);
    assert_eq!(first(&scored(row, vec![many.clone()])), (0, Some(0.0)));
    many.finding.contributors.push(Contributor { what: "10.0.0.1".to_owned(), amount: 1.0 });
    assert_eq!(first(&scored(row, vec![many])), (1, Some(1.0)));
    let network = |prefix| Party::Network(IpAddr::from([10, 0, 0, 0]), prefix);
    for (prefix, found) in [(24, 1), (0, 1), (31, 0)] {
        let flood = alert(AlertKind::SynFlood, host(1), network(prefix), [1000, 1010]);
        assert_eq!(first(&scored(row, vec![flood])).0, found, "/{prefix}");
    }
}

#[test]
fn a_sweep_is_no_scan_and_who_hears_of_an_attack_twice_is_told_so() {
    let rows = "a.pcap\thostsweep\t10.0.0.1\t-\t1000\t1010\na.pcap\tportscan\t10.0.0.9\t10.0.0.8\t1000\t1010\n";
    let sweep = || alert(AlertKind::PortScan, host(1), Party::Many, [1000, 1010]);
    let scan = || alert(AlertKind::PortScan, host(1), host(7), [1000, 1010]);
    let report = scored(rows, vec![sweep(), sweep(), scan()]);
    let [of_sweeps, of_scans] = &report.attacks[..] else { panic!("{:?}", report.attacks) };
    assert_eq!((of_sweeps.found, of_sweeps.precision, of_sweeps.alerts_per_attack), (1, Some(1.0), Some(2.0)));
    assert_eq!((of_scans.found, of_scans.precision, of_scans.alerts_per_attack), (0, Some(0.0), None));
}

#[test]
fn false_alarms_are_counted_by_the_hour_and_by_the_million_flows() {
    let alarm = alert(AlertKind::PortScan, host(1), host(2), [1000, 1010]);
    let benign = scored("a.pcap\tbenign\t-\t-\t-\t-\n", vec![alarm]).benign;
    assert_eq!(benign.by_severity["high"], Rate { alerts: 1, per_hour: 1.0, per_million_flows: 2.0 });
    assert_eq!((benign.high_per_hour, benign.high_per_million_flows), (1.0, 2.0));
}

#[test]
fn the_median_of_an_even_number_is_the_mean_of_the_two_in_the_middle() {
    for (sorted, expected) in [
        (vec![], 0.0),
        (vec![4.0], 4.0),
        (vec![1.0, 4.0], 2.5),
        (vec![1.0, 2.0, 9.0], 2.0),
        (vec![1.0, 2.0, 4.0, 9.0], 3.0),
    ] {
        assert!((median(&sorted) - expected).abs() < 1e-12, "{sorted:?}");
    }
}
