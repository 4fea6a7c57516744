//! Inputs by hand, within their bounds, and in the documentation.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::features::{FEATURES, FeatureVector};

/// What the formula of an input says that is a feature.
const AS_IT_IS: &str = "the feature of that name";

fn nothing() -> HostFeatures {
    [0.0; FEATURES.len()].into()
}

fn input(features: HostFeatures, seconds: f64, name: &str) -> f64 {
    let place = INPUT_FIELDS.iter().position(|field| field.name == name).expect("an input");
    f64::from(derive(features, seconds)[place])
}

fn same(one: &Input, other: &Input) {
    for ((a, b), field) in one.iter().zip(other).zip(&INPUT_FIELDS) {
        assert!((a - b).abs() < 1e-6, "{}: {a}, {b}", field.name);
    }
}

#[test]
fn names_are_unique_and_a_silent_host_is_all_zeros() {
    let names: HashSet<_> = INPUT_FIELDS.iter().map(|field| field.name).collect();
    assert_eq!((names.len(), INPUTS), (INPUT_FIELDS.len(), 70));
    same(&derive(nothing(), 5.0), &[0.0; INPUTS]);
}

/// In 5 s 200 connections tried at 100 ports of two hosts: 120 refused, 70 without an answer, ten answered; 50 other flows, half of
/// them answered.
fn scanner() -> HostFeatures {
    HostFeatures {
        packets_sent_rate: 80.0,
        packets_received_rate: 30.0,
        new_flows_out_rate: 50.0,
        new_flows_in_rate: 12.5,
        attempts_out_rate: 40.0,
        unanswered_out_share: 0.35,
        refused_out_share: 0.6,
        unanswered_other_out_share: 0.5,
        syn_sent_rate: 54.0,
        rst_received_rate: 24.0,
        peers_out: 2.0,
        ports_out: 100.0,
        services_out: 125.0,
        packet_size_sent: 60.0,
        packet_size_received: 180.0,
        tcp_share: 0.9,
        udp_share: 0.1,
        ..nothing()
    }
}

#[test]
fn a_scanner_by_hand() {
    for (name, expected) in [
        ("packet_size_sent", 60.0),
        ("refused_out_share", 0.6),
        // 270 SYN of 400 packets, 120 RST of 150.
        ("syn_of_sent", 0.675),
        ("rst_of_received", 0.8),
        // 200 attempts of 250 flows in 400 packets.
        ("attempts_of_flows_out", 0.8),
        ("flows_per_packet_out", 0.625),
        ("services_per_flow_out", 0.5),
        ("ports_per_peer_out", 50.0),
        ("ports_per_service_out", 0.8),
        ("sent_size_share", 0.25),
        // 250 flows out, 62.5 in.
        ("out_flow_share", 0.8),
        // 70 attempts and 25 other flows, of 250; with 120 refused ones 215; 35 answered.
        ("unanswered_flow_share_out", 0.38),
        ("failed_flow_share_out", 0.86),
        ("answered_flow_share_out", 0.14),
        // ln 401, ln 151, ln 251, ln 216; 250 packets more sent; 55 packets of UDP.
        ("ln_packets_sent", 5.993_961),
        ("ln_packets_received", 5.017_280),
        ("ln_flows_begun_out", 5.525_453),
        ("ln_failed_out", 5.375_278),
        ("ln_more_sent", 5.525_453),
        ("ln_more_received", 0.0),
        ("ln_udp", 4.025_352),
        ("ln_ports_out", 4.615_121),
    ] {
        let got = input(scanner(), 5.0, name);
        assert!((got - expected).abs() < 1e-4, "{name}: {got}, not {expected}");
    }
}

#[test]
fn twice_as_long_at_half_the_rate_is_the_same() {
    let slow = HostFeatures {
        packets_sent_rate: 40.0,
        packets_received_rate: 15.0,
        new_flows_out_rate: 25.0,
        new_flows_in_rate: 6.25,
        attempts_out_rate: 20.0,
        syn_sent_rate: 27.0,
        rst_received_rate: 12.0,
        ..scanner()
    };
    same(&derive(slow, 10.0), &derive(scanner(), 5.0));
}

#[test]
fn the_network_is_not_in_it() {
    let elsewhere = HostFeatures {
        rtt_mean: 80.0,
        rtt_p95: 200.0,
        retransmission_share: 0.1,
        out_of_order_share: 0.05,
        zero_window_rate: 3.0,
        flow_duration_mean: 40.0,
        ..scanner()
    };
    same(&derive(elsewhere, 5.0), &derive(scanner(), 5.0));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn inputs_stay_within_their_bounds(
        values in proptest::collection::vec(prop_oneof![Just(0.0), 0.0..1.0, 0.0..1e9_f64, 0.0..f64::MAX], FEATURES.len()),
        seconds in 0.001..1e6_f64,
    ) {
        let mut vector: FeatureVector = values.try_into().expect("as many as features");
        for (value, feature) in vector.iter_mut().zip(&FEATURES) {
            if feature.name.contains("_share") {
                *value = value.min(1.0);
            }
        }
        for (value, field) in derive(vector.into(), seconds).into_iter().zip(&INPUT_FIELDS) {
            prop_assert!(value.is_finite() && value >= 0.0, "{} {}", field.name, value);
            if field.name.contains("share") || field.name.contains("_of_") {
                prop_assert!(value <= 1.0, "{} {}", field.name, value);
            }
        }
    }
}

#[test]
fn the_documentation_lists_every_input_in_order() {
    let document = include_str!("../../../docs/MODELS.md");
    let (_, list) = document.split_once("| input | unit | formula |").expect("the table of inputs");
    let rows: Vec<&str> = list.lines().skip(2).take_while(|line| line.starts_with('|')).collect();
    let expected = INPUT_FIELDS.iter().filter(|field| field.formula != AS_IT_IS);
    let expected = expected.map(|field| format!("| `{}` | {} | {} |", field.name, field.unit, field.formula));
    assert_eq!(rows, expected.collect::<Vec<_>>());
    let same = INPUT_FIELDS.iter().filter(|field| field.formula == AS_IT_IS).map(|field| format!("`{}`", field.name));
    let named = same.collect::<Vec<_>>().join(", ");
    let line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(line(document).contains(&named), "{named}");
}
