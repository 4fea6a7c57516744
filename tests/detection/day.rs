//! Synthetic days: traffic that follows the hours, with spikes in some of them. The days themselves must raise nothing,
//! and each spike must be reported soon and nothing else.

use std::path::Path;

use nta_tests::daemon::run;
use serde_json::Value;

use crate::traffic::{DAY_S, HOUR_S, Plan, Spike, WEEK_S, write};

/// Monday, 13 November 2023, 00:00 UTC.
const MONDAY_S: u64 = 1_699_833_600;
/// How soon a spike must be reported.
const FOUND_WITHIN_S: f64 = 120.0;
/// Day and night, steep slopes and the summit, in minutes of the day.
const SPIKES_MIN: [u64; 6] = [90, 250, 520, 870, 1215, 1400];

#[test]
fn a_day_without_a_spike_raises_nothing() {
    assert_eq!(reported(&[day(0, &[])]), Vec::<String>::new());
}

#[test]
fn a_spike_at_any_hour_is_found_within_two_minutes_and_nothing_else() {
    found(&[day(0, &SPIKES_MIN)]);
}

/// The same weekday a week later: the baseline keeps hours of the week.
#[test]
fn a_spike_is_found_when_the_season_is_known_and_the_season_raises_nothing() {
    found(&[day(0, &[]), day(WEEK_S, &SPIKES_MIN)]);
}

/// A day that begins so many seconds after Monday.
fn day(after_s: u64, spikes_min: &[u64]) -> Plan {
    let start_s = MONDAY_S + after_s;
    let spikes = spikes_min.iter().map(|minute| Spike::at(start_s + minute * 60)).collect();
    Plan { start_s, seconds: DAY_S, spikes }
}

/// Every spike of these days has its alert, in time, and there is no other alert.
fn found(days: &[Plan]) {
    let alerts = alerts(days);
    let spikes: Vec<&Spike> = days.iter().flat_map(|day| &day.spikes).collect();
    let reported = || alerts.iter().map(summary).collect::<Vec<_>>();
    let missed: Vec<String> = spikes
        .iter()
        .filter(|spike| {
            let in_time = |alert: &&Value| {
                let after_s = raised_s(alert) - spike.start_s as f64;
                alert["type"] == "traffic_spike" && (0.0..=FOUND_WITHIN_S).contains(&after_s)
            };
            alerts.iter().filter(in_time).count() != 1
        })
        .map(|spike| format!("{:.1} h", (spike.start_s - MONDAY_S) as f64 / HOUR_S as f64))
        .collect();
    assert!(missed.is_empty(), "spikes not reported once and in time: {missed:?}, reported: {:#?}", reported());
    assert_eq!(alerts.len(), spikes.len(), "more than the spikes: {:#?}", reported());
}

fn reported(days: &[Plan]) -> Vec<String> {
    alerts(days).iter().map(summary).collect()
}

fn summary(alert: &Value) -> String {
    format!("{} {}: {}", alert["raised_at"], alert["type"], alert["why"]["summary"])
}

fn raised_s(alert: &Value) -> f64 {
    let text = alert["raised_at"].as_str().expect("raised_at");
    let time: jiff::Timestamp = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    time.as_millisecond() as f64 / 1e3
}

/// The alerts of a replay of these days at full speed.
fn alerts(days: &[Plan]) -> Vec<Value> {
    let folder = tempfile::tempdir().expect("a folder");
    let files: Vec<std::path::PathBuf> = (0..days.len()).map(|n| folder.path().join(format!("{n}.pcap"))).collect();
    for (day, file) in days.iter().zip(&files) {
        write(day, file);
    }
    let mut arguments = vec![Path::new("replay"), Path::new("--format"), Path::new("json")];
    arguments.extend(files.iter().map(std::path::PathBuf::as_path));
    let run = run(arguments);
    assert_eq!(run.status, Some(0), "{}", run.stderr);
    let document = &run.json()[0];
    assert_eq!(document["ledger"]["balanced"], true);
    document["alerts"].as_array().expect("alerts").clone()
}
