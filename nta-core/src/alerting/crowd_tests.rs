//! What is about many is one alert, whoever says the same of one of them.

use std::net::IpAddr;
use std::sync::Arc;

use super::super::{Alerter, AlertingConfig};
use crate::domain::{
    Alert, AlertChange, AlertKind, Basis, ClearReason, Crowd, Finding, Measure, Party, Severity, Timestamp,
};

const S: u64 = 1_000_000_000;
const SCANNER: [u8; 4] = [192, 0, 2, 1];

fn victim(number: u8) -> Party {
    Party::Host([198, 51, 100, number].into())
}

fn finding(kind: AlertKind, [source, destination]: [Party; 2], observed: f64, end_s: u64) -> Finding {
    Finding {
        detector: "port_scan",
        basis: Basis::Rule,
        kind,
        source,
        destination,
        port: None,
        start: Timestamp::from_nanos((end_s - 5) * S),
        end: Timestamp::from_nanos(end_s * S),
        seen: None,
        measure: Measure { name: "ports", unit: "ports", observed, expected: None, threshold: 10.0 },
        score: 0.5,
        summary: format!("{observed} at {end_s}"),
        facts: Vec::new(),
        contributors: Vec::new(),
        crowd: None,
    }
}

/// A scan of these hosts of 198.51.100.0/24.
fn scan(hosts: std::ops::Range<u8>, observed: f64, end_s: u64) -> Finding {
    let address = |number| IpAddr::from([198, 51, 100, number]);
    let one = finding(AlertKind::PortScan, [Party::Host(SCANNER.into()), victim(hosts.start)], observed, end_s);
    if hosts.len() == 1 {
        return one;
    }
    let crowd = Crowd::new([SCANNER.into()], hosts.map(address));
    Finding { destination: Party::Many, crowd: Some(Arc::new(crowd)), ..one }
}

/// A model's word about the target of a SYN flood.
fn flooded(number: u8, end_s: u64) -> Finding {
    let measure = Measure { name: "probability", unit: "1", observed: 0.95, expected: None, threshold: 0.9 };
    let flood = finding(AlertKind::SynFlood, [Party::Many, victim(number)], 1.0, end_s);
    Finding { detector: "xgboost", basis: Basis::Model, measure, ..flood }
}

fn judge(alerter: &mut Alerter, findings: Vec<Finding>, now_s: u64) -> Vec<(AlertChange, Alert)> {
    let mut reported = Vec::new();
    let now = Timestamp::from_nanos(now_s * S);
    alerter.judge(findings, now, &mut |change, alert| reported.push((change, alert.clone())));
    reported
}

fn new() -> Alerter {
    Alerter::new(AlertingConfig::default(), Default::default())
}

fn open(alerter: &Alerter) -> Vec<&Alert> {
    alerter.open().collect()
}

#[test]
fn what_a_model_says_of_hosts_of_a_sweep_is_part_of_it() {
    let mut alerter = new();
    let sweep = scan(1..200, 190.0, 105);
    let victims = (1..200).map(|number| flooded(number, 105));
    judge(&mut alerter, [sweep].into_iter().chain(victims).collect(), 105);
    let found = open(&alerter);
    assert_eq!((found.len(), found[0].key.kind, found[0].merged), (1, AlertKind::PortScan, 199));
    assert_eq!(found[0].detectors, ["port_scan"], "a word for another kind of attack does not support it");
    // A host that was not swept is another thing.
    judge(&mut alerter, vec![flooded(220, 110)], 110);
    assert_eq!(open(&alerter).len(), 2);
}

#[test]
fn what_a_model_said_just_before_the_rule_becomes_part_of_it() {
    let after = |pause_s: u64| {
        let mut alerter = new();
        judge(&mut alerter, (1..64).map(|number| flooded(number, 105)).collect(), 105);
        assert_eq!(open(&alerter).len(), 63);
        let reported = judge(&mut alerter, vec![scan(1..200, 190.0, 110 + pause_s)], 110 + pause_s);
        let is_folded = |alert: &Alert| alert.clear_reason == Some(ClearReason::Folded);
        (reported.iter().filter(|(_, alert)| is_folded(alert)).count(), open(&alerter).len(), open(&alerter)[0].merged)
    };
    assert_eq!(after(0), (63, 1, 63));
    let (folded, left, _) = after(10);
    assert_eq!((folded, left), (0, 64), "what was over before the scan began is another thing");
}

#[test]
fn floods_of_a_network_hold_what_a_model_says_of_its_hosts() {
    let mut alerter = new();
    let mut network = finding(AlertKind::DistributedFlood, [Party::Many, Party::Many], 40.0, 105);
    network.destination = Party::Network([198, 51, 100, 0].into(), 24);
    judge(&mut alerter, vec![network, flooded(9, 105)], 105);
    assert_eq!(open(&alerter).len(), 1);
    // A scan of one of the hosts is somebody else's.
    let scan = Finding { kind: AlertKind::PortScan, source: victim(77), ..flooded(9, 105) };
    judge(&mut alerter, vec![scan], 105);
    assert_eq!(open(&alerter).len(), 2);
}

#[test]
fn a_scanner_is_one_alert_from_host_to_host_and_the_widest_scan_is_told() {
    let mut alerter = new();
    let first = judge(&mut alerter, vec![scan(1..2, 1000.0, 105)], 105);
    let id = first[0].1.id;
    assert_eq!(first[0].1.key.destination, victim(1));
    judge(&mut alerter, vec![scan(1..4, 20.0, 110)], 110);
    judge(&mut alerter, vec![scan(9..10, 30.0, 115)], 115);
    let found = open(&alerter);
    assert_eq!((found.len(), found[0].id, found[0].key.destination), (1, id, Party::Many));
    assert_eq!((found[0].windows, found[0].finding.summary.as_str()), (3, "20 at 110"));
    // As bad as the worst of it: a hundred times the threshold.
    assert_eq!(found[0].severity, Severity::Critical);
    // Another scanner is another.
    let mut other = scan(1..2, 20.0, 115);
    other.source = victim(50);
    judge(&mut alerter, vec![other], 115);
    assert_eq!(open(&alerter).len(), 2);
}
