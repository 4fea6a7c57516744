//! Floods of many hosts of one network become one alert, those of a few stay apart.

use super::{Alerter, AlertingConfig};
use crate::domain::{Alert, AlertChange, AlertKind, Basis, Finding, Measure, Party, Timestamp};

const S: u64 = 1_000_000_000;

/// A flood of a host of 198.51.100.0/24 in the 5 s up to `end_s`.
fn flood(kind: AlertKind, host: u8, source: Party, end_s: u64) -> Finding {
    Finding {
        detector: "flood",
        basis: Basis::Rule,
        kind,
        source,
        destination: Party::Host([198, 51, 100, host].into()),
        port: Some(443),
        start: Timestamp::from_nanos((end_s - 5) * S),
        end: Timestamp::from_nanos(end_s * S),
        seen: None,
        measure: Measure { name: "stray_packets", unit: "packets", observed: 700.0, expected: None, threshold: 600.0 },
        score: 0.5,
        summary: format!("host {host} got much"),
        facts: Vec::new(),
        contributors: Vec::new(),
        crowd: None,
    }
}

fn raised(alerter: &mut Alerter, findings: Vec<Finding>, now_s: u64) -> Vec<Alert> {
    let mut raised = Vec::new();
    alerter.judge(findings, Timestamp::from_nanos(now_s * S), &mut |change, alert| {
        if change == AlertChange::Raised {
            raised.push(alert.clone());
        }
    });
    raised
}

#[test]
fn a_flood_of_many_hosts_of_a_network_is_one_alert_and_stays_one() {
    let mut alerter = Alerter::new(AlertingConfig::default(), Default::default());
    let many = (1..=40).map(|host| flood(AlertKind::AckFlood, host, Party::Many, 105)).collect();
    let first = raised(&mut alerter, many, 105);
    assert_eq!(first.len(), 1);
    assert_eq!((first[0].key.kind, first[0].key.source), (AlertKind::DistributedFlood, Party::Many));
    assert_eq!(first[0].key.destination, Party::Network([198, 51, 100, 0].into(), 24));
    assert_eq!((first[0].finding.measure.observed, first[0].finding.port), (40.0, Some(443)));
    // Its last packets, when few hosts are above their thresholds, are no alerts of their own.
    let rest = (1..=3).map(|host| flood(AlertKind::AckFlood, host, Party::Many, 110)).collect();
    assert!(raised(&mut alerter, rest, 110).is_empty());
    // Another network is another thing.
    let mut other = flood(AlertKind::AckFlood, 1, Party::Many, 115);
    other.destination = Party::Host([203, 0, 113, 1].into());
    assert_eq!(raised(&mut alerter, vec![other], 115).len(), 1);
}

#[test]
fn one_source_is_named_and_a_few_hosts_are_alerts_of_their_own() {
    let mut alerter = Alerter::new(AlertingConfig::default(), Default::default());
    let source = Party::Host([192, 0, 2, 1].into());
    let few = (1..=7).map(|host| flood(AlertKind::UdpFlood, host, source, 105)).collect();
    assert_eq!(raised(&mut alerter, few, 105).len(), 7);
    let mut alerter = Alerter::new(AlertingConfig::default(), Default::default());
    let many = (1..=8).map(|host| flood(AlertKind::UdpFlood, host, source, 105)).collect();
    let found = raised(&mut alerter, many, 105);
    assert_eq!((found.len(), found[0].key.source), (1, source));
}

#[test]
fn a_sweep_by_who_floods_the_network_is_part_of_it() {
    let mut alerter = Alerter::new(AlertingConfig::default(), Default::default());
    let source = Party::Host([192, 0, 2, 1].into());
    let mut findings: Vec<Finding> = (1..=20).map(|host| flood(AlertKind::UdpFlood, host, source, 105)).collect();
    let mut sweep = flood(AlertKind::PortScan, 1, source, 105);
    (sweep.destination, sweep.detector) = (Party::Many, "port_scan");
    findings.push(sweep);
    let found = raised(&mut alerter, findings, 105);
    assert_eq!((found.len(), found[0].key.kind), (1, AlertKind::DistributedFlood));
}
