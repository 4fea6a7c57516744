//! A site's alarms of what is unusual are as many as were asked for, whatever its hosts score.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};

use super::*;
use crate::alerting::{Alerter, AlertingConfig};
use crate::domain::{AlertChange, AlertKind, Basis, Finding, IdentityScope, Measure, Party};

const WINDOW_NS: u64 = 30_000_000_000;
const WINDOWS_A_DAY: u64 = 24 * 120;
const HOSTS: u8 = 12;
const DAYS: u64 = 24;
/// Days before it is counted.
const FIRST: u64 = 6;
const FOREST: u64 = 7;

fn host(number: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, number])
}

fn kind(number: u8) -> HostKind {
    HostKind::ALL[usize::from(number) % 3]
}

/// A site whose hosts are each a little unlike the others, drift in minutes and now and then do something odd for a while.
struct Site {
    random: Xoshiro256PlusPlus,
    level: f64,
    drift: Vec<f64>,
    odd: Vec<(u32, f64)>,
}

impl Site {
    fn new(level: f64, spread: f64) -> Self {
        let drift = (0..HOSTS).map(|number| spread * f64::from(number % 5)).collect();
        Self { random: Xoshiro256PlusPlus::seed_from_u64(3), level, drift, odd: vec![(0, 0.0); usize::from(HOSTS)] }
    }

    fn scores(&mut self, spread: f64) -> Vec<(IpAddr, HostKind, f64)> {
        let random = &mut self.random;
        let mut score = |number: u8| {
            let at = usize::from(number);
            self.drift[at] = 0.98 * self.drift[at] + 0.2 * spread * (random.random::<f64>() - 0.5);
            // Three times a day each for 3 to 20 minutes.
            if self.odd[at].0 == 0 && random.random::<f64>() < 3.0 / WINDOWS_A_DAY as f64 {
                self.odd[at] = (random.random_range(6..40), 4.0 * spread * random.random::<f64>());
            }
            self.odd[at].0 = self.odd[at].0.saturating_sub(1);
            let odd = if self.odd[at].0 > 0 { self.odd[at].1 } else { 0.0 };
            self.level + self.drift[at] + odd + spread * random.random::<f64>()
        };
        (0..HOSTS).map(|number| (host(number), kind(number), score(number))).collect()
    }
}

fn anomaly(address: IpAddr, score: f64, threshold: f64, end: Timestamp) -> Finding {
    Finding {
        detector: "isolation_forest",
        basis: Basis::Model,
        kind: AlertKind::HostAnomaly,
        source: address.into(),
        destination: Party::Nobody,
        port: None,
        start: Timestamp::from_nanos(end.as_nanos() - WINDOW_NS),
        end,
        seen: None,
        score,
        measure: Measure { name: "isolation_score", unit: "1", observed: score, expected: None, threshold },
        summary: String::new(),
        facts: Vec::new(),
        contributors: Vec::new(),
        crowd: None,
    }
}

/// Alarms a day once it has learned for six days, as the alerting layer raises them, with a restart in between.
fn alarms_a_day(level: f64, spread: f64, asked: f64) -> f64 {
    let (mut site, mut levels) = (Site::new(level, spread), ScoreLevels::default());
    let mut alerter = Alerter::new(AlertingConfig::default(), IdentityScope::default());
    let mut raised = 0_u32;
    for window in 1..=DAYS * WINDOWS_A_DAY {
        let end = Timestamp::from_nanos(window * WINDOW_NS);
        let hosts = site.scores(spread);
        let mut findings = Vec::new();
        for (address, kind, score) in &hosts {
            if let Some(threshold) = levels.threshold(FOREST, asked, *kind).filter(|threshold| score > threshold) {
                findings.push(anomaly(*address, *score, threshold, end));
            }
        }
        alerter.judge(findings, end, &mut |change, _| {
            raised += u32::from(change == AlertChange::Raised && window > FIRST * WINDOWS_A_DAY);
        });
        let scores = Scores { forest: FOREST, alarms_per_day: asked, hosts };
        levels.learn(&scores, (end, WINDOW_NS), &|_| false);
        if window == DAYS / 2 * WINDOWS_A_DAY {
            let text = serde_json::to_string(&levels).expect("serializable");
            levels = serde_json::from_str(&text).expect("its own output");
        }
    }
    f64::from(raised) / (DAYS - FIRST) as f64
}

#[test]
fn a_site_raises_as_many_alarms_as_were_asked_for_whatever_its_hosts_score() {
    for (level, spread, asked) in [(0.35, 0.05, 1.0), (0.55, 0.02, 1.0), (0.35, 0.05, 6.0)] {
        let a_day = alarms_a_day(level, spread, asked);
        let range = 0.3 * asked..=1.1 * asked;
        assert!(range.contains(&a_day), "{a_day:.2} a day of {asked} at scores of {level} and more");
    }
}

fn hour(levels: &mut ScoreLevels, number: u64, hosts: &[(IpAddr, HostKind, f64)], skip: &dyn Fn(IpAddr) -> bool) {
    let scores = Scores { forest: FOREST, alarms_per_day: 1.0, hosts: hosts.to_vec() };
    for window in 0..120 {
        levels.learn(&scores, (Timestamp::from_nanos(number * HOUR_NS + window * WINDOW_NS), WINDOW_NS), skip);
    }
}

#[test]
fn nothing_is_known_for_three_days_and_of_another_forest_nothing_at_all() {
    let mut levels = ScoreLevels::default();
    assert!(levels.state().is_empty(), "no forest");
    let server = [(host(1), HostKind::Server, 0.5)];
    for number in 1..=71 {
        hour(&mut levels, number, &server, &|_| false);
    }
    assert_eq!(levels.threshold(FOREST, 1.0, HostKind::Server), None);
    let state = levels.state();
    assert_eq!((state.len(), state[0].name, state[0].threshold), (3, "server", None));
    assert!((state[0].hours_needed - 72.0).abs() < 1e-9 && (60.0..72.0).contains(&state[0].hours), "{state:?}");
    for number in 72..=80 {
        hour(&mut levels, number, &server, &|_| false);
    }
    // A constant score is usual, and what is a little above it is not.
    let threshold = levels.threshold(FOREST, 1.0, HostKind::Server).expect("learned");
    assert!((0.5..0.51).contains(&threshold), "{threshold}");
    // No such host was seen, so that none is compared.
    assert_eq!(levels.threshold(FOREST, 1.0, HostKind::Gateway), Some(1.0));
    assert_eq!(levels.threshold(FOREST + 1, 1.0, HostKind::Server), None);
    let other = Scores { forest: FOREST + 1, alarms_per_day: 1.0, hosts: Vec::new() };
    levels.learn(&other, (Timestamp::from_nanos(90 * HOUR_NS), WINDOW_NS), &|_| false);
    assert_eq!(levels.threshold(FOREST, 1.0, HostKind::Server), None, "another forest is learned from the beginning");
}

#[test]
fn what_is_under_alert_and_what_is_short_is_not_learned() {
    let mut levels = ScoreLevels::default();
    let hosts = [(host(1), HostKind::Server, 0.4), (host(2), HostKind::Server, 0.9)];
    for number in 1..=80 {
        hour(&mut levels, number, &hosts, &|address| address == host(2));
    }
    let threshold = levels.threshold(FOREST, 1.0, HostKind::Server).expect("learned");
    assert!(threshold < 0.5, "{threshold}: the host under alert has made its own score usual");
    // Five windows make no alarm, so that they count for none.
    let odd = Scores { forest: FOREST, alarms_per_day: 1.0, hosts: vec![(host(3), HostKind::Client, 0.9)] };
    for window in 0..5 {
        levels.learn(&odd, (Timestamp::from_nanos(81 * HOUR_NS + window * WINDOW_NS), WINDOW_NS), &|_| false);
    }
    levels.learn(&odd, (Timestamp::from_nanos(82 * HOUR_NS), WINDOW_NS), &|_| false);
    assert_eq!(levels.threshold(FOREST, 1.0, HostKind::Client), Some(1.0));
}

#[test]
fn many_hosts_are_followed_to_a_limit_and_the_rest_is_counted() {
    let mut levels = ScoreLevels::default();
    let address = |number: u32| IpAddr::V4(std::net::Ipv4Addr::from(number));
    let hosts: Vec<_> = (0..MAX_HOSTS as u32 + 5).map(|number| (address(number), HostKind::Client, 0.5)).collect();
    let scores = Scores { forest: FOREST, alarms_per_day: 1.0, hosts };
    levels.learn(&scores, (Timestamp::from_nanos(HOUR_NS), WINDOW_NS), &|_| false);
    assert_eq!((levels.open.hosts.len(), levels.left_out()), (MAX_HOSTS, 5));
    levels.learn(&scores, (Timestamp::from_nanos(5 * HOUR_NS), WINDOW_NS), &|_| false);
    assert!(serde_json::to_string(&levels).expect("serializable").len() < 10_000);
}

#[test]
fn what_is_read_is_refused_or_can_be_used() {
    let read = |text: &str| serde_json::from_str::<ScoreLevels>(text).map_err(|error| error.to_string());
    let with = |hours: &str, rate: &str, roles: &str| {
        format!(r#"{{"forest":7,"hours":{hours},"alarms_per_day":{rate},"roles":{{{roles}}}}}"#)
    };
    assert!(read(&with("80", "1", r#""server":{"500":3.5}"#)).is_ok());
    for (text, says) in [
        (with("-1", "1", ""), "scores.hours: -1"),
        (with("721", "1", ""), "scores.hours: 721"),
        (with("80", "-1", ""), "scores.alarms_per_day: -1"),
        (with("80", "1", r#""server":{"1000":1}"#), "at step 1000"),
        (with("80", "1", r#""server":{"1":-1}"#), "a count of -1"),
        (with("80", "1", r#""router":{}"#), "router"),
    ] {
        let error = read(&text).expect_err(says);
        assert!(error.contains(says), "{error}");
    }
}
