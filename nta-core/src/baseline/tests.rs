//! Baselines learn, expect, and are kept.

use super::*;
use crate::domain::Timestamp;

const WINDOW_NS: u64 = 30_000_000_000;
const HOUR_NS: u64 = 3_600_000_000_000;

/// A week of a metric whose level depends on the hour of the day.
fn week(level: impl Fn(u64) -> f64) -> Series {
    let mut series = Series::default();
    for window in 0..7 * 24 * 120 {
        let time = Timestamp::from_nanos(window * WINDOW_NS);
        let noise = [0.0, 3.0, -2.0, 1.0, -3.0][(window % 5) as usize];
        series.learn(level(window / 120 % 24) + noise, time);
    }
    series
}

fn with(series: Series) -> Baselines {
    let mut baselines = Baselines::new(BaselineConfig::default());
    baselines.take(Import::Metrics([(Metric::Bandwidth, series)].into())).expect("sound");
    baselines
}

#[test]
fn nothing_is_expected_before_the_warm_up_is_over() {
    let mut series = Series::default();
    let at = |window: u64| Timestamp::from_nanos(window * WINDOW_NS);
    for window in 0..19 {
        series.learn(100.0, at(window));
    }
    assert_eq!(with(series.clone()).expect(Metric::Bandwidth, at(19)), None);
    series.learn(100.0, at(19));
    let expected = with(series).expect(Metric::Bandwidth, at(20)).expect("warm");
    assert!((expected.median - 100.0).abs() < f64::EPSILON);
}

#[test]
fn the_hour_of_the_week_is_known_after_a_week() {
    let baselines = with(week(|hour| if hour == 8 { 1000.0 } else { 100.0 }));
    let at = |hour: u64| Timestamp::from_nanos((7 * 24 + hour) * HOUR_NS);
    let morning = baselines.expect(Metric::Bandwidth, at(8)).expect("known");
    assert!((morning.median / 1000.0 - 1.0).abs() < 0.03, "{morning:?}");
    let night = baselines.expect(Metric::Bandwidth, at(3)).expect("known");
    assert!((night.median / 100.0 - 1.0).abs() < 0.05, "{night:?}");
}

#[test]
fn what_is_usual_over_a_time_follows_the_hours_and_then_what_is_expected_now() {
    let mut baselines = with(week(|hour| if hour == 8 { 1000.0 } else { 100.0 }));
    let at = |minute: u64| Timestamp::from_nanos(7 * 24 * HOUR_NS + minute * HOUR_NS / 60);
    let slots = |baselines: &Baselines, from, to| -> Vec<([Timestamp; 2], f64)> {
        let slots = baselines.usual(Metric::Bandwidth, [from, to]);
        slots.into_iter().map(|(slot, expected)| (slot, (expected.median / 100.0).round())).collect()
    };
    let hours = [([at(450), at(480)], 1.0), ([at(480), at(540)], 10.0), ([at(540), at(555)], 1.0)];
    assert_eq!(slots(&baselines, at(450), at(555)), hours);
    // The last window ended at nine: from half an hour before on it is what detectors expect.
    baselines.updated = Some(at(540));
    let with_now = [([at(450), at(480)], 1.0), ([at(480), at(510)], 10.0), ([at(510), at(555)], 1.0)];
    assert_eq!(slots(&baselines, at(450), at(555)), with_now);
    assert_eq!(slots(&Baselines::new(BaselineConfig::default()), at(450), at(555)), []);
}

/// A quarter of a year of one value, then another: after two months the new one is the hour's median.
#[test]
fn an_hour_of_the_week_follows_a_site_that_has_changed() {
    let mut series = Series::default();
    let at = |week: u64, window: u64| Timestamp::from_nanos(week * 168 * HOUR_NS + 8 * HOUR_NS + window * WINDOW_NS);
    let mut learn = |weeks: std::ops::Range<u64>, value: f64| {
        weeks.for_each(|week| (0..120).for_each(|window| series.learn(value, at(week, window))));
        series.season.expected(at(30, 0), 20).expect("known").median
    };
    assert!((learn(0..13, 1_000.0) / 1_000.0 - 1.0).abs() < 0.02);
    assert!((learn(13..15, 100.0) / 1_000.0 - 1.0).abs() < 0.02, "two weeks are not yet a habit");
    assert!((learn(15..21, 100.0) / 100.0 - 1.0).abs() < 0.02);
}

#[test]
fn one_odd_window_moves_nothing() {
    let mut series = week(|_| 100.0);
    let before = series.recent.expected().expect("full");
    series.learn(1e9, Timestamp::from_nanos(7 * 24 * HOUR_NS));
    let after = series.recent.expected().expect("full");
    assert!((after.median - before.median).abs() <= 3.0 && after.sigma < 10.0, "{after:?}");
}

#[test]
fn what_is_exported_reads_back_the_same() {
    let mut baselines = with(week(|hour| hour as f64 * 10.0));
    let json = serde_json::to_string(&baselines.export()).expect("serializable");
    let export: Export = serde_json::from_str(&json).expect("own output");
    let mut other = Baselines::new(BaselineConfig::default());
    other.import(export.clone()).expect("own format");
    let at = Timestamp::from_nanos((7 * 24 + 5) * HOUR_NS);
    assert_eq!(other.expect(Metric::Bandwidth, at), baselines.expect(Metric::Bandwidth, at));
    let error = baselines.import(Export { format: 99, ..export }).expect_err("another format");
    assert!(error.contains("99"), "{error}");
}
