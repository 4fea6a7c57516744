//! One alert of what rules and models say about one thing.

use super::{Alerter, AlertingConfig};
use crate::domain::{Alert, AlertChange, AlertKind, AlertState, Basis, Finding, Measure, Party, Severity, Timestamp};

const S: u64 = 1_000_000_000;
const ATTACKER: &str = "192.0.2.1";
const VICTIM: &str = "198.51.100.9";
const SCAN: AlertKind = AlertKind::PortScan;
use AlertChange::{Cleared, Raised, Updated};

fn host(address: &str) -> Party {
    Party::Host(address.parse().expect("address"))
}

/// A finding of the window of 5 s that ends at `end_s`.
fn finding(detector: &'static str, kind: AlertKind, [source, destination]: [Party; 2], end_s: u64) -> Finding {
    Finding {
        detector,
        basis: Basis::Rule,
        kind,
        source,
        destination,
        port: None,
        start: Timestamp::from_nanos((end_s - 5) * S),
        end: Timestamp::from_nanos(end_s * S),
        measure: Measure { name: "ports", unit: "ports", observed: 12.0, expected: None, threshold: 10.0 },
        score: 0.5,
        summary: format!("{detector} at {end_s}"),
        facts: Vec::new(),
        contributors: Vec::new(),
        crowd: None,
        seen: None,
    }
}

fn rule(end_s: u64) -> Finding {
    finding("port_scan", SCAN, [host(ATTACKER), host(VICTIM)], end_s)
}

/// A model's, with as great a magnitude as it can have.
fn model(detector: &'static str, kind: AlertKind, parties: [Party; 2], end_s: u64) -> Finding {
    let measure = Measure { name: "probability", unit: "1", observed: 1.0, expected: None, threshold: 0.01 };
    Finding { measure, basis: Basis::Model, ..finding(detector, kind, parties, end_s) }
}

fn by_xgboost(end_s: u64) -> Finding {
    model("xgboost", SCAN, [host(ATTACKER), Party::Nobody], end_s)
}

fn anomaly(address: &str, end_s: u64) -> Finding {
    model("isolation_forest", AlertKind::HostAnomaly, [host(address), Party::Nobody], end_s)
}

fn judge(alerter: &mut Alerter, findings: Vec<Finding>, now_s: u64) -> Vec<(AlertChange, Alert)> {
    let mut reported = Vec::new();
    let now = Timestamp::from_nanos(now_s * S);
    alerter.judge(findings, now, &mut |change, alert| reported.push((change, alert.clone())));
    reported
}

fn changes(reported: &[(AlertChange, Alert)]) -> Vec<AlertChange> {
    reported.iter().map(|(change, _)| *change).collect()
}

fn new() -> Alerter {
    Alerter::new(AlertingConfig::default(), Default::default())
}

/// One that is less sure than an alert of its own needs.
fn hint(end_s: u64) -> Finding {
    let measure = Measure { name: "probability", unit: "1", observed: 0.7, expected: None, threshold: 0.9 };
    Finding { measure, ..by_xgboost(end_s) }
}

#[test]
fn a_model_joins_what_a_rule_found_at_once_and_both_are_heard() {
    let mut alerter = new();
    let first = judge(&mut alerter, vec![rule(105)], 105);
    let reported = judge(&mut alerter, vec![by_xgboost(110)], 110);
    assert_eq!(changes(&reported), [Updated]);
    let alert = &reported[0].1;
    assert_eq!((alert.id, alert.key.destination), (first[0].1.id, host(VICTIM)));
    assert_eq!(alert.detectors, ["port_scan", "xgboost"]);
    assert_eq!(alert.finding.detector, "port_scan", "a rule's numbers stay, however sure the model is");
    assert_eq!(alert.severity, first[0].1.severity);
    let says: Vec<_> = alert.opinions.iter().map(|o| (o.detector, o.measure.name, o.summary.as_str())).collect();
    assert_eq!(says, [("port_scan", "ports", "port_scan at 105"), ("xgboost", "probability", "xgboost at 110")]);
    assert_eq!(alerter.open().count(), 1);
}

#[test]
fn in_one_window_they_are_one_alert_as_well() {
    let mut alerter = new();
    let reported = judge(&mut alerter, vec![by_xgboost(105), rule(105), anomaly(ATTACKER, 105)], 105);
    let again = judge(&mut alerter, vec![by_xgboost(110), rule(110), anomaly(ATTACKER, 110)], 110);
    assert_eq!(reported.iter().chain(&again).filter(|(change, _)| *change == Raised).count(), 1);
    let open: Vec<&Alert> = alerter.open().collect();
    assert_eq!(open.len(), 1);
    for detector in ["port_scan", "xgboost", "isolation_forest"] {
        assert!(open[0].detectors.contains(&detector), "{detector}: {:?}", open[0].detectors);
    }
}

#[test]
fn a_model_that_is_sure_may_speak_after_one_window_and_stays_mild() {
    let mut alerter = new();
    let reported = judge(&mut alerter, vec![by_xgboost(110)], 110);
    assert_eq!(changes(&reported), [Raised]);
    assert_eq!((reported[0].1.windows, reported[0].1.detectors.as_slice()), (1, ["xgboost"].as_slice()));
    for end_s in (115..400).step_by(5) {
        let reported = judge(&mut alerter, vec![by_xgboost(end_s)], end_s);
        assert!(reported[0].1.severity <= Severity::Medium, "{}", reported[0].1.severity.word());
    }
}

#[test]
fn one_that_is_not_sure_supports_a_rule_of_its_time_and_raises_nothing() {
    for together in [true, false] {
        let mut alerter = new();
        let reported = if together {
            judge(&mut alerter, vec![hint(105), rule(105)], 105)
        } else {
            assert_eq!(changes(&judge(&mut alerter, vec![hint(105)], 105)), []);
            // The rule judges 30 s, in which the model's 5 s lie.
            let long = Finding { start: Timestamp::from_nanos(80 * S), ..rule(110) };
            judge(&mut alerter, vec![long], 110)
        };
        let alert = &reported.last().expect("raised").1;
        assert_eq!((reported[0].0, alert.detectors.as_slice()), (Raised, ["port_scan", "xgboost"].as_slice()));
        assert_eq!(alert.finding.detector, "port_scan");
        assert_eq!(changes(&judge(&mut alerter, vec![hint(110)], 110)), [Updated], "and while it goes on");
    }
    let mut alerter = new();
    for end_s in (105..300).step_by(5) {
        assert_eq!(changes(&judge(&mut alerter, vec![hint(end_s)], end_s)), []);
    }
    assert_eq!(alerter.counts().waiting, 39);
    let mut alerter = new();
    judge(&mut alerter, vec![hint(105)], 105);
    let later = judge(&mut alerter, vec![rule(120)], 120);
    assert_eq!(later[0].1.detectors, ["port_scan"], "what was said before the rule's window is of another time");
}

#[test]
fn windows_of_180_s_in_a_row_add_up_for_an_anomaly() {
    let mut alerter = new();
    let long = |end_s: u64| Finding { start: Timestamp::from_nanos((end_s - 180) * S), ..anomaly(ATTACKER, end_s) };
    for window in 2..7 {
        assert_eq!(changes(&judge(&mut alerter, vec![long(180 * window)], 180 * window)), []);
    }
    assert_eq!(changes(&judge(&mut alerter, vec![], 1_265)), []);
    assert_eq!(changes(&judge(&mut alerter, vec![long(1_260)], 1_270)), [Raised]);
}

#[test]
fn what_a_model_found_first_becomes_the_rules() {
    for theirs in [
        [host(ATTACKER), Party::Nobody],
        [host(ATTACKER), Party::Many],
        [Party::Many, host(VICTIM)],
        [Party::Nobody, host(VICTIM)],
    ] {
        let mut alerter = new();
        let found = |end_s| vec![model("xgboost", SCAN, theirs, end_s)];
        let first = judge(&mut alerter, found(110), 110);
        let reported = judge(&mut alerter, vec![rule(115)], 115);
        assert_eq!(changes(&reported), [Updated], "one alert, not two");
        let alert = &reported[0].1;
        assert_eq!((alert.key.source, alert.key.destination), (host(ATTACKER), host(VICTIM)));
        assert_eq!((alert.id, alert.raised), (first[0].1.id, first[0].1.raised), "it is the same one");
        assert_eq!((alert.finding.detector, alert.severity), ("port_scan", Severity::Medium));
        assert_eq!(alert.detectors, ["xgboost", "port_scan"]);

        assert_eq!(changes(&judge(&mut alerter, found(120), 120)), [Updated], "and the model goes on joining it");
        assert_eq!(alerter.open().count(), 1);
        assert_eq!(changes(&judge(&mut alerter, vec![], 190)), [Cleared]);
        assert_eq!(changes(&judge(&mut alerter, found(195), 195)), [Raised], "what is over is not joined");
    }
}

#[test]
fn a_rule_whose_own_alert_comes_back_ends_the_models() {
    let mut alerter = new();
    let first = judge(&mut alerter, vec![rule(105)], 105);
    judge(&mut alerter, vec![by_xgboost(175)], 175);
    assert_eq!(alerter.open().count(), 1, "the rule's is over, the model's is open");
    let reported = judge(&mut alerter, vec![rule(180)], 180);
    assert_eq!(changes(&reported), [Cleared, Raised]);
    assert_eq!(reported[0].1.detectors, ["xgboost"]);
    assert_eq!(reported[1].1.id, first[0].1.id);
    assert_eq!(changes(&judge(&mut alerter, vec![by_xgboost(185)], 185)), [Updated]);
    assert_eq!(alerter.open().count(), 1);
}

#[test]
fn another_host_and_another_side_are_other_things() {
    for parties in [[host(VICTIM), Party::Nobody], [Party::Many, host(ATTACKER)], [host("192.0.2.77"), Party::Nobody]] {
        let mut alerter = new();
        judge(&mut alerter, vec![rule(105)], 105);
        let reported = judge(&mut alerter, vec![model("xgboost", SCAN, parties, 110)], 110);
        assert_eq!(changes(&reported), [Raised], "{parties:?}");
    }
}

#[test]
fn another_word_for_what_a_rule_explains_supports_nothing_and_raises_nothing() {
    let mut alerter = new();
    judge(&mut alerter, vec![rule(105)], 105);
    let other = |end_s| model("xgboost", AlertKind::SynFlood, [host(ATTACKER), Party::Nobody], end_s);
    let reported = judge(&mut alerter, vec![rule(110), other(110)], 110);
    assert_eq!((changes(&reported), reported[1].1.key.kind), (vec![Updated, Updated], SCAN));
    assert_eq!((reported[1].1.detectors.as_slice(), reported[1].1.merged), (["port_scan"].as_slice(), 2));
    // Once the rule is silent, the model's word counts for itself.
    assert_eq!(changes(&judge(&mut alerter, vec![other(120)], 120)), [Raised]);
    assert_eq!(alerter.open().count(), 2);
}

#[test]
fn an_anomaly_joins_any_alert_about_its_host_the_latest_of_several() {
    for address in [ATTACKER, VICTIM] {
        let mut alerter = new();
        judge(&mut alerter, vec![rule(105)], 105);
        let newer = finding("syn_flood", AlertKind::SynFlood, [host(ATTACKER), host(VICTIM)], 110);
        judge(&mut alerter, vec![rule(110), newer], 110);
        let reported = judge(&mut alerter, vec![anomaly(address, 115)], 115);
        assert_eq!(changes(&reported), [Updated]);
        assert_eq!(reported[0].1.key.kind, AlertKind::SynFlood);
        assert_eq!(reported[0].1.detectors, ["syn_flood", "isolation_forest"]);
    }
    let mut alerter = new();
    judge(&mut alerter, vec![rule(105)], 105);
    for end_s in [110, 115, 120, 125, 130] {
        assert_eq!(changes(&judge(&mut alerter, vec![anomaly("192.0.2.77", end_s)], end_s)), []);
    }
    let reported = judge(&mut alerter, vec![anomaly("192.0.2.77", 135)], 135);
    assert_eq!((changes(&reported), reported[0].1.severity), (vec![Raised], Severity::Low));
    assert_eq!(reported[0].1.key.kind, AlertKind::HostAnomaly);
}

/// 7,000 open alerts of who guesses at as many servers, and a model that names it.
#[test]
fn joining_takes_the_alert_that_was_raised_last_however_many_there_are() {
    const GUESSING: AlertKind = AlertKind::SshBruteForce;
    let mut alerter = new();
    let victims: Vec<Party> =
        (0..7_000_u32).map(|n| Party::Host(std::net::Ipv4Addr::from(0x0a00_0000 + n).into())).collect();
    let scans =
        |end_s| victims.iter().map(|v| finding("ssh_brute_force", GUESSING, [host(ATTACKER), *v], end_s)).collect();
    judge(&mut alerter, scans(105), 105);
    judge(&mut alerter, vec![finding("ssh_brute_force", GUESSING, [host(ATTACKER), host(VICTIM)], 110)], 110);
    let by_xgboost = |end_s| Finding { kind: GUESSING, ..by_xgboost(end_s) };
    for end_s in 111..140 {
        let reported = judge(&mut alerter, vec![by_xgboost(end_s)], end_s);
        assert_eq!((changes(&reported), reported[0].1.key.destination), (vec![Updated], host(VICTIM)));
    }
    judge(&mut alerter, vec![], 300);
    assert!(alerter.open().next().is_none());
    assert_eq!(changes(&judge(&mut alerter, vec![by_xgboost(305)], 305)), [Raised], "none is open");
    assert!(alerter.open().all(|alert| alert.state == AlertState::Raised));
}
