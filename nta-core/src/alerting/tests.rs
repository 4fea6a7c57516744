//! What becomes of findings.

use super::{Alerter, AlertingConfig, EarlierAlert, Mute};
use crate::domain::{
    Alert, AlertChange, AlertKind, Basis, ClearReason, Finding, IdentityScope, Measure, Party, RunId, SensorId,
    Severity, Timestamp,
};

const S: u64 = 1_000_000_000;

/// A finding of the 5 s window that ends at `end_s`.
fn finding(kind: AlertKind, source: &str, end_s: u64, observed: f64) -> Finding {
    Finding {
        detector: kind.word(),
        basis: Basis::Rule,
        kind,
        source: Party::Host(source.parse().expect("address")),
        destination: Party::Many,
        port: None,
        start: time(end_s - 5),
        end: time(end_s),
        measure: Measure { name: "ports", unit: "ports", observed, expected: None, threshold: 10.0 },
        score: 0.5,
        summary: format!("{source} did it"),
        facts: Vec::new(),
        contributors: Vec::new(),
        crowd: None,
        seen: None,
    }
}

const fn time(seconds: u64) -> Timestamp {
    Timestamp::from_nanos(seconds * S)
}

/// Change, kind, source and identity, in the order reported.
fn judge(alerter: &mut Alerter, findings: Vec<Finding>, now_s: u64) -> Vec<(AlertChange, Alert)> {
    let mut reported = Vec::new();
    alerter.judge(findings, time(now_s), &mut |change, alert| reported.push((change, alert.clone())));
    reported
}

fn changes(reported: &[(AlertChange, Alert)]) -> Vec<AlertChange> {
    reported.iter().map(|(change, _)| *change).collect()
}

const SCAN: AlertKind = AlertKind::PortScan;
const A: &str = "192.0.2.1";

#[test]
fn an_alert_is_raised_once_updated_cleared_after_quiet_and_forgotten_after_hold_down() {
    let mut alerter = Alerter::new(AlertingConfig::default(), Default::default());
    let first = judge(&mut alerter, vec![finding(SCAN, A, 105, 12.0)], 105);
    assert_eq!(changes(&first), [AlertChange::Raised]);
    let second = judge(&mut alerter, vec![finding(SCAN, A, 110, 30.0)], 110);
    assert_eq!(changes(&second), [AlertChange::Updated]);
    let alert = &second[0].1;
    assert_eq!((alert.id, alert.windows, alert.merged, alert.raised), (first[0].1.id, 2, 1, time(105)));
    assert_eq!((alert.finding.measure.observed, alert.latest.end), (30.0, time(110)));

    assert_eq!(changes(&judge(&mut alerter, vec![], 169)), [], "59 s of quiet");
    let cleared = judge(&mut alerter, vec![], 170);
    assert_eq!(changes(&cleared), [AlertChange::Cleared]);
    assert_eq!(cleared[0].1.cleared, Some(time(170)));
    assert_eq!(changes(&judge(&mut alerter, vec![], 175)), [], "cleared once");

    let again = judge(&mut alerter, vec![finding(SCAN, A, 300, 12.0)], 300);
    assert_eq!(changes(&again), [AlertChange::Raised]);
    assert_eq!((again[0].1.id, again[0].1.cleared), (first[0].1.id, None), "the same alert within the hold-down");
    assert_eq!(again[0].1.finding.end, time(110), "the strongest finding stays");

    judge(&mut alerter, vec![], 660);
    let new = judge(&mut alerter, vec![finding(SCAN, A, 1000, 12.0)], 1000);
    assert_eq!(changes(&new), [AlertChange::Raised]);
    assert_ne!(new[0].1.id, first[0].1.id, "a new alert after it");
    let counts = alerter.counts();
    assert_eq!((counts.findings, counts.raised, counts.cleared), (4, 3, 2));
    assert_eq!(counts.open, [0, 1, 0, 0]);
}

#[test]
fn a_silence_without_windows_clears_before_the_next_finding() {
    let mut alerter = Alerter::new(AlertingConfig::default(), Default::default());
    let first = judge(&mut alerter, vec![finding(SCAN, A, 105, 12.0)], 105);
    let within = judge(&mut alerter, vec![finding(SCAN, A, 205, 12.0)], 205);
    assert_eq!(changes(&within), [AlertChange::Cleared, AlertChange::Raised]);
    assert_eq!(within[1].1.id, first[0].1.id);
    let after = judge(&mut alerter, vec![finding(SCAN, A, 5000, 12.0)], 5000);
    assert_eq!(changes(&after), [AlertChange::Cleared, AlertChange::Raised]);
    assert_ne!(after[1].1.id, first[0].1.id);
}

#[test]
fn an_alert_of_a_run_before_comes_back_as_itself_within_the_hold_down() {
    let mut before = Alerter::new(AlertingConfig::default(), Default::default());
    judge(&mut before, vec![finding(SCAN, A, 105, 12.0)], 105);
    let mut left = None;
    before.end(time(112), ClearReason::RunEnded, &mut |_, alert| left = Some(alert.clone()));
    let left = left.expect("it was open");
    let earlier = EarlierAlert {
        id: left.id,
        kind: SCAN,
        parties: [left.key.source, left.key.destination].map(|party| party.to_string()),
        first: left.first,
        last: left.last,
        seen: left.seen,
        raised: left.raised,
        windows: left.windows,
        merged: left.merged,
        detectors: vec!["slow_scan"],
        is_learned: false,
    };
    let start = |again_s: u64| {
        let ids = IdentityScope::of_run(&SensorId::replay(), &RunId([7; 16]));
        let mut next = Alerter::new(AlertingConfig::default(), ids);
        next.take_up(vec![earlier.clone()]);
        assert_eq!(judge(&mut next, vec![finding(SCAN, "192.0.2.9", again_s, 12.0)], again_s).len(), 1, "another one");
        let reported = judge(&mut next, vec![finding(SCAN, A, again_s, 12.0)], again_s);
        assert_eq!(changes(&reported), [AlertChange::Raised]);
        (reported[0].1.clone(), next)
    };
    let (alert, mut next) = start(127);
    assert_eq!((alert.id, alert.raised, alert.first, alert.last), (left.id, time(105), time(100), time(127)));
    assert_eq!((alert.windows, alert.merged, alert.cleared), (2, 1, None));
    assert_eq!(alert.detectors, ["slow_scan", SCAN.word()]);
    judge(&mut next, vec![], 200);
    assert_eq!(judge(&mut next, vec![finding(SCAN, A, 300, 12.0)], 300)[0].1.id, left.id);
    let (late, _) = start(105 + 360 + 5);
    assert_ne!(late.id, left.id, "a new alert after the hold-down");
    assert_eq!((late.windows, late.raised), (1, time(470)));
}

#[test]
fn findings_of_several_detectors_about_one_thing_are_one_alert() {
    let mut alerter = Alerter::new(AlertingConfig::default(), Default::default());
    let other = Finding { detector: "slow_scan", ..finding(SCAN, A, 105, 50.0) };
    let reported = judge(&mut alerter, vec![finding(SCAN, A, 105, 12.0), other], 105);
    assert_eq!(changes(&reported), [AlertChange::Raised, AlertChange::Updated]);
    let alert = &reported[1].1;
    assert_eq!((alert.windows, alert.merged), (1, 1), "one window, however many found it");
    assert_eq!(alert.detectors, ["port_scan", "slow_scan"]);
    assert_eq!(alert.finding.detector, "slow_scan", "the strongest is reported");
    assert_eq!(alerter.open().count(), 1);
}

#[test]
fn what_is_allowed_is_counted_and_not_reported() {
    let allow = ["10.0.0.0/8", "192.0.2.1 port_scan"].map(|text| text.parse().expect("rule")).into();
    let mut alerter = Alerter::new(AlertingConfig { allow, ..AlertingConfig::default() }, Default::default());
    let as_destination = Finding {
        destination: Party::Host("10.9.9.9".parse().expect("address")),
        ..finding(AlertKind::SynFlood, "203.0.113.5", 105, 12.0)
    };
    let reported = judge(
        &mut alerter,
        vec![
            finding(SCAN, "10.1.2.3", 105, 12.0),
            as_destination,
            finding(SCAN, A, 105, 12.0),
            finding(AlertKind::Slowloris, A, 105, 12.0),
        ],
        105,
    );
    assert_eq!(reported.len(), 1);
    assert_eq!(reported[0].1.key.kind, AlertKind::Slowloris, "allowed for scans only");
    assert_eq!((alerter.counts().findings, alerter.counts().allowed), (4, 3));
}

#[test]
fn what_is_muted_is_counted_and_an_alert_of_it_clears() {
    let mut alerter = Alerter::new(AlertingConfig::default(), Default::default());
    assert_eq!(judge(&mut alerter, vec![finding(SCAN, A, 105, 12.0)], 105).len(), 1, "raised");
    let host = A.parse::<std::net::IpAddr>().expect("address").into();
    alerter.mute(vec![Mute { id: 7, kinds: vec![SCAN], source: Some(host), destination: None, host: None }]);
    for end in [110, 115] {
        assert!(judge(&mut alerter, vec![finding(SCAN, A, end, 12.0)], end).is_empty());
    }
    let other = judge(&mut alerter, vec![finding(AlertKind::Slowloris, A, 120, 12.0)], 120);
    assert_eq!(other.len(), 1, "another kind is raised");
    let cleared = judge(&mut alerter, vec![finding(SCAN, A, 300, 12.0)], 300);
    assert!(cleared.iter().all(|(change, _)| *change == AlertChange::Cleared) && cleared.len() == 2, "{cleared:?}");
    assert_eq!((alerter.counts().muted, alerter.take_muted()), (3, [(7, 3)].into()));
    assert!(alerter.take_muted().is_empty(), "each once");
    alerter.mute(Vec::new());
    assert_eq!(judge(&mut alerter, vec![finding(SCAN, A, 305, 12.0)], 305).len(), 1, "its time is over");
}

#[test]
fn a_kind_may_need_several_windows() {
    let raise_after = toml::from_str::<toml::Table>("raise_after = { port_scan = 3 }").expect("TOML");
    let config: AlertingConfig = raise_after.try_into().expect("config");
    let mut alerter = Alerter::new(config, Default::default());
    for (end_s, observed) in [(105, 12.0), (105, 15.0), (110, 12.0)] {
        assert!(judge(&mut alerter, vec![finding(SCAN, A, end_s, observed)], end_s).is_empty(), "{end_s}");
    }
    let reported = judge(&mut alerter, vec![finding(SCAN, A, 115, 12.0)], 115);
    assert_eq!(changes(&reported), [AlertChange::Raised]);
    let alert = &reported[0].1;
    assert_eq!((alert.windows, alert.first, alert.raised), (3, time(100), time(115)));
    assert_eq!(alerter.counts().waiting, 3);

    assert!(judge(&mut alerter, vec![finding(SCAN, "192.0.2.2", 120, 12.0)], 120).is_empty());
    judge(&mut alerter, vec![], 200);
    for end_s in [205, 210] {
        let reported = judge(&mut alerter, vec![finding(SCAN, "192.0.2.2", end_s, 12.0)], end_s);
        assert!(reported.is_empty(), "windows too far apart do not add up");
    }
}

#[test]
fn during_warm_up_only_findings_without_a_baseline_are_reported() {
    let mut alerter = Alerter::new(AlertingConfig { warm_up_s: 60, ..AlertingConfig::default() }, Default::default());
    let spike = |end_s| {
        let mut spike = finding(AlertKind::TrafficSpike, A, end_s, 50.0);
        spike.measure.expected = Some(5.0);
        spike
    };
    let reported = judge(&mut alerter, vec![spike(105), finding(SCAN, A, 105, 12.0)], 105);
    assert_eq!(reported.iter().map(|(_, alert)| alert.key.kind).collect::<Vec<_>>(), [SCAN]);
    assert!(judge(&mut alerter, vec![spike(160)], 160).is_empty());
    assert_eq!(alerter.counts().warming_up, 2);
    let reported = judge(&mut alerter, vec![spike(165)], 165);
    assert!(
        reported
            .iter()
            .any(|(change, alert)| { *change == AlertChange::Raised && alert.key.kind == AlertKind::TrafficSpike })
    );
}

#[test]
fn beyond_the_limit_findings_are_counted_and_known_alerts_go_on() {
    let mut alerter = Alerter::new(AlertingConfig { max_alerts: 2, ..AlertingConfig::default() }, Default::default());
    let all = |end_s| ["192.0.2.3", "192.0.2.1", "192.0.2.2"].map(|source| finding(SCAN, source, end_s, 12.0)).into();
    assert_eq!(judge(&mut alerter, all(105), 105).len(), 2);
    assert_eq!(changes(&judge(&mut alerter, all(110), 110)), [AlertChange::Updated; 2]);
    assert_eq!((alerter.counts().refused, alerter.counts().raised), (2, 2));
}

/// Hosts can be made up by the thousand; each is good for a mild alert.
#[test]
fn mild_alerts_leave_room_for_worse_ones_and_cleared_ones_give_way() {
    let mut alerter = Alerter::new(AlertingConfig { max_alerts: 8, ..AlertingConfig::default() }, Default::default());
    let made_up = |end_s| (1..=30_u32).map(|n| finding(SCAN, &format!("198.51.100.{n}"), end_s, 10.0)).collect();
    let mild = judge(&mut alerter, made_up(105), 105);
    assert!(mild.iter().all(|(_, alert)| alert.severity <= Severity::Medium), "{mild:?}");
    assert!((1..8).contains(&mild.len()) && alerter.counts().refused == 30 - mild.len() as u64, "{mild:?}");
    let real = judge(&mut alerter, vec![finding(SCAN, A, 110, 10_000.0)], 110);
    assert_eq!(
        (changes(&real), real[0].1.key.source),
        (vec![AlertChange::Raised], Party::Host(A.parse().expect("address")))
    );
    // Over, and kept in case they come back: others take their place.
    let later = judge(&mut alerter, vec![finding(SCAN, "192.0.2.77", 200, 10.0)], 200);
    assert!(changes(&later).contains(&AlertChange::Raised), "{later:?}");
    assert!(alerter.counts().evicted > 0);
}

/// A replay skips a silence: the next window is hours later.
#[test]
fn an_alert_before_a_silence_was_over_in_it() {
    let mut alerter = Alerter::new(AlertingConfig::default(), Default::default());
    judge(&mut alerter, vec![finding(SCAN, A, 105, 12.0)], 105);
    for (now, findings) in [(9_000, vec![]), (20_000, vec![finding(SCAN, A, 20_000, 12.0)])] {
        let reported = judge(&mut alerter, findings, now);
        let cleared = reported.iter().find(|(change, _)| *change == AlertChange::Cleared);
        assert_eq!(cleared.map(|(_, alert)| alert.cleared), (now == 9_000).then_some(Some(time(165))));
    }
}

#[test]
fn what_is_open_when_the_run_ends_is_cleared_then_with_the_reason() {
    let mut alerter = Alerter::new(AlertingConfig::default(), Default::default());
    let raised = judge(&mut alerter, vec![finding(SCAN, A, 105, 12.0)], 105);
    let mut reported = Vec::new();
    alerter.end(time(108), ClearReason::RunEnded, &mut |change, alert| reported.push((change, alert.clone())));
    assert_eq!(changes(&reported), [AlertChange::Cleared]);
    let alert = &reported[0].1;
    assert_eq!((alert.id, alert.cleared), (raised[0].1.id, Some(time(108))));
    assert_eq!(alert.clear_reason, Some(ClearReason::RunEnded));
    assert_eq!((alerter.open().count(), alerter.counts().cleared), (0, 1));
    alerter.end(time(109), ClearReason::RunEnded, &mut |_, alert| panic!("reported twice: {alert:?}"));
}

#[test]
fn the_order_of_findings_changes_nothing() {
    let mut findings: Vec<Finding> =
        (1..=20_u32).map(|n| finding(SCAN, &format!("192.0.2.{}", n % 7 + 1), 105, f64::from(n) + 10.0)).collect();
    let mut forward = Alerter::new(AlertingConfig::default(), Default::default());
    let reported = judge(&mut forward, findings.clone(), 105);
    findings.reverse();
    findings.rotate_left(3);
    let mut shuffled = Alerter::new(AlertingConfig::default(), Default::default());
    assert_eq!(judge(&mut shuffled, findings, 105), reported);
    assert_eq!(judge(&mut forward, vec![], 200), judge(&mut shuffled, vec![], 200));
}

#[test]
fn what_another_alert_explains_is_part_of_it() {
    let mut alerter = Alerter::new(AlertingConfig::default(), Default::default());
    let to = |finding: Finding, victim: &str| Finding {
        destination: Party::Host(victim.parse().expect("address")),
        ..finding
    };
    let (victim, other) = ("198.51.100.9", "198.51.100.10");
    let guessing = |end_s| to(finding(AlertKind::SshBruteForce, A, end_s, 12.0), victim);
    let calls = |victim, end_s| to(finding(AlertKind::Beaconing, A, end_s, 20.0), victim);
    // In the order of their kinds the calls would come first.
    let reported = judge(&mut alerter, vec![calls(victim, 105), guessing(105)], 105);
    assert_eq!(changes(&reported), [AlertChange::Raised, AlertChange::Updated]);
    assert_eq!(reported[1].1.detectors, ["ssh_brute_force", "beaconing"]);
    assert_eq!((reported[1].1.key.kind, reported[1].1.merged), (AlertKind::SshBruteForce, 1));
    // Who calls another host, or calls on when the guessing is over, is another matter.
    assert_eq!(changes(&judge(&mut alerter, vec![calls(other, 110)], 110)), [AlertChange::Raised]);
    assert_eq!(changes(&judge(&mut alerter, vec![calls(victim, 150)], 150)), [AlertChange::Raised]);
}
