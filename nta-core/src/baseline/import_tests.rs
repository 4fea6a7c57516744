//! What is imported is either refused, or can be learned and judged with: whatever numbers it holds.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::window::{Snapshot, Span, Window};

const HOUR_NS: u64 = 3_600_000_000_000;

/// Something learned in every metric and a host, over two weeks, as it is exported.
fn learned() -> Value {
    let mut series = Series::default();
    for window in 0..2 * 168 {
        series.learn([0.0, 1e3, 2.5e6, 7e3][window as usize % 4], Timestamp::from_nanos(window * HOUR_NS));
    }
    let mut baselines = Baselines::new(BaselineConfig::default());
    baselines.take(Import::Metrics(Metric::ALL.map(|metric| (metric, series.clone())).into())).expect("sound");
    let mut export = baselines.export();
    export.hosts.insert("192.0.2.1".parse().expect("address"), HostBaseline { samples: 30, ..HostBaseline::default() });
    serde_json::to_value(export).expect("serializable")
}

/// Uses it as the pipeline and the API do.
fn use_it(export: Export) {
    let mut baselines = Baselines::new(BaselineConfig { warm_up_windows: 1, ..BaselineConfig::default() });
    if baselines.import(export).is_err() {
        return;
    }
    for hour in [0, 1, 8, 167, 168, 400_000, 5_000_000] {
        let time = Timestamp::from_nanos(hour * HOUR_NS);
        let window = Window { start: time, end: time.plus(30_000_000_000), bytes: u64::MAX, ..Window::default() };
        baselines.learn(&Snapshot::of_network(Span::Medium, window), &|_, _| false);
        for metric in Metric::ALL {
            let expected = baselines.expect(metric, time);
            assert!(expected.is_none_or(|e| e.median.is_finite() && e.sigma.is_finite()), "{metric:?}: {expected:?}");
        }
        let _overview = baselines.overview(time);
    }
    let again = serde_json::to_string(&baselines.export()).expect("serializable");
    serde_json::from_str::<Export>(&again).expect("own output");
}

/// The places of a document that hold something, each as a JSON pointer.
fn places(value: &Value, at: &str, out: &mut Vec<String>) {
    out.push(at.to_owned());
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| places(value, &format!("{at}/{key}"), out)),
        Value::Array(list) => {
            list.iter().take(3).enumerate().for_each(|(n, value)| places(value, &format!("{at}/{n}"), out));
        }
        _ => {}
    }
}

/// What may stand there instead.
fn odd() -> impl Strategy<Value = Value> {
    let number = prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(|n| json!(n))
    ];
    prop_oneof![
        3 => number,
        1 => Just(Value::Null),
        1 => Just(json!([])),
        1 => Just(json!({})),
        1 => Just(json!(vec![1e308; 600])),
        1 => Just(json!({"-2147483648": 1.0, "2147483647": 1e300})),
        1 => any::<String>().prop_map(Value::from),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_export_of_its_shape_breaks_what_uses_it(changes in prop::collection::vec((any::<prop::sample::Index>(), odd()), 1..4)) {
        let mut export = learned();
        for (place, value) in changes {
            let mut all = Vec::new();
            places(&export, "", &mut all);
            if let Some(at) = export.pointer_mut(&all[place.index(all.len())]) {
                *at = value;
            }
        }
        if let Ok(export) = serde_json::from_value::<Export>(export) {
            use_it(export);
        }
    }
}

/// The sketch that ended a daemon: no bins, and keys at the ends of the integers.
fn broken_sketch() -> Value {
    let store = json!({"bins": [], "count": 5, "min_key": i32::MAX, "max_key": i32::MIN, "offset": i32::MAX, "bin_limit": 512,
        "is_collapsed": false});
    json!({"config": {"max_num_bins": 512, "gamma": 1.02, "gamma_ln": 0.02, "min_value": 1e-6, "offset": 700},
        "store": store, "negative_store": store, "min": 0.0, "max": 1.0, "sum": 1.0, "zero_count": 0})
}

#[test]
fn a_sketch_of_version_0_1_0_is_read_and_a_broken_one_does_no_harm() {
    let mut sketch = broken_sketch();
    let hour = |values: &Value| json!({"last": 8, "earlier": 60, "latest": 60, "values": values});
    let series = |values: &Value| json!({"recent": {"values": [], "next": 0}, "season": {"hours": {"80": hour(values)}}, "samples": 120});
    let export =
        |values: &Value| json!({"format": 1, "updated_ns": 1, "network": {"bandwidth": series(values)}, "hosts": {}});
    use_it(serde_json::from_value(export(&sketch)).expect("an empty histogram"));

    // A value of 1,000: bin 345 of this width, see Masson et al.
    sketch["store"]["bins"] = json!([0, 120]);
    sketch["store"]["offset"] = json!(344);
    let read: Export = serde_json::from_value(export(&sketch)).expect("a sketch");
    let expected = read.network[&Metric::Bandwidth].season.expected(Timestamp::from_nanos(176 * HOUR_NS), 20);
    assert!(expected.is_some_and(|e| (e.median / 1_000.0 - 1.0).abs() < 0.02), "{expected:?}");

    sketch["store"]["offset"] = json!(i32::MAX);
    let refused = serde_json::from_value::<Export>(export(&sketch)).expect_err("a bin behind the integers").to_string();
    assert!(refused.contains("bin"), "{refused}");
}

#[test]
fn a_refusal_names_what_is_wrong() {
    for (at, value, named) in [
        ("/network/bandwidth/recent/values/0", json!(-1.0), "recent.values: -1"),
        ("/network/bandwidth/recent/next", json!(999), "next at 999"),
        ("/network/bandwidth/season/hours/0/values/bins", json!({"2147483647": 1.0}), "2147483647 is no bin"),
        ("/network/bandwidth/season/hours/0/values/zeros", json!(-3.0), "weight of -3"),
        ("/hosts/192.0.2.1/bytes_sent/level", json!(1e300), "level or deviation"),
    ] {
        let mut export = learned();
        *export.pointer_mut(at).expect(at) = value;
        let refused = serde_json::from_value::<Export>(export).expect_err(at).to_string();
        assert!(refused.contains(named), "{at}: {refused}");
    }
}
