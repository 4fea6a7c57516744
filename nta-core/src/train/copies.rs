//! Copies of rows, so that a model learns what an attack is and not how fast it was, or from where it was seen: the same
//! faster and slower, and as a capture point sees it that sees one direction only.

use rand::{Rng, RngExt as _};

use super::TrainingRow;
use crate::features::HostFeatures;
use crate::model::AttackRole;

/// Times an attack is copied faster or slower; harmless rows once, as they are many.
const STRETCHED: usize = 3;
/// How much faster or slower, at most.
const STRETCH: std::ops::Range<f64> = 0.3..3.0;
/// Floods differ by powers of ten.
const FLOOD_STRETCH: f64 = 1000.0;
/// Counts up to this are what a host does at any rate.
const FEW: f64 = 5.0;

/// The row itself, then its copies.
pub(super) fn copies(row: &TrainingRow, random: &mut impl Rng) -> Vec<HostFeatures> {
    let times = if row.attack.is_some() { STRETCHED } else { 1 };
    let most = if row.attack.is_some_and(|(kind, _)| kind.shows_in_a_victim()) { FLOOD_STRETCH } else { STRETCH.end };
    let mut all = vec![row.features];
    for _ in 0..times {
        all.push(stretched(&row.features, random.random_range(STRETCH.start.ln()..most.ln()).exp()));
    }
    all.push(match row.attack {
        Some((_, AttackRole::Attacker)) => sent_only(&row.features),
        Some((_, AttackRole::Victim)) => received_only(&row.features),
        None if random.random() => sent_only(&row.features),
        None => received_only(&row.features),
    });
    all
}

/// The same, so many times as fast.
fn stretched(features: &HostFeatures, times: f64) -> HostFeatures {
    let mut copy = *features;
    let rates = [
        &mut copy.packets_sent_rate,
        &mut copy.packets_received_rate,
        &mut copy.bytes_sent_rate,
        &mut copy.bytes_received_rate,
        &mut copy.new_flows_out_rate,
        &mut copy.new_flows_in_rate,
        &mut copy.attempts_out_rate,
        &mut copy.attempts_in_rate,
        &mut copy.syn_sent_rate,
        &mut copy.syn_received_rate,
        &mut copy.rst_sent_rate,
        &mut copy.rst_received_rate,
        &mut copy.fin_sent_rate,
        &mut copy.dns_query_rate,
    ];
    rates.into_iter().for_each(|rate| *rate *= times);
    let counts = [
        &mut copy.flows_out,
        &mut copy.flows_in,
        &mut copy.peers_out,
        &mut copy.peers_in,
        &mut copy.ports_out,
        &mut copy.ports_in,
        &mut copy.services_out,
    ];
    counts.into_iter().filter(|count| **count > FEW).for_each(|count| *count *= times);
    copy
}

/// What is seen of a host when nothing that it receives is.
fn sent_only(features: &HostFeatures) -> HostFeatures {
    let (packets, bytes) = (features.sent_packet_share, features.sent_byte_share);
    HostFeatures {
        packets_received_rate: 0.0,
        bytes_received_rate: 0.0,
        packet_size_received: 0.0,
        sent_byte_share: any(bytes),
        sent_packet_share: any(packets),
        flows_in: 0.0,
        new_flows_in_rate: 0.0,
        attempts_in_rate: 0.0,
        unanswered_out_share: any(features.attempts_out_rate),
        refused_out_share: 0.0,
        unanswered_in_share: 0.0,
        refused_in_share: 0.0,
        unanswered_other_out_share: any(features.new_flows_out_rate - features.attempts_out_rate),
        unanswered_other_in_share: 0.0,
        peers_in: 0.0,
        ports_in: 0.0,
        syn_received_rate: 0.0,
        syn_ack_share_in: 0.0,
        rst_received_rate: 0.0,
        packets_per_flow: features.packets_per_flow * packets,
        bytes_per_flow: features.bytes_per_flow * bytes,
        dns_nxdomain_share: 0.0,
        dns_response_size: 0.0,
        ..*features
    }
}

/// What is seen of a host when nothing that it sends is.
fn received_only(features: &HostFeatures) -> HostFeatures {
    let [packets, bytes] = [features.sent_packet_share, features.sent_byte_share].map(|share| 1.0 - share);
    HostFeatures {
        packets_sent_rate: 0.0,
        bytes_sent_rate: 0.0,
        packet_size_sent: 0.0,
        sent_byte_share: 0.0,
        sent_packet_share: 0.0,
        flows_out: 0.0,
        new_flows_out_rate: 0.0,
        attempts_out_rate: 0.0,
        unanswered_out_share: 0.0,
        refused_out_share: 0.0,
        unanswered_in_share: any(features.attempts_in_rate),
        refused_in_share: 0.0,
        unanswered_other_out_share: 0.0,
        unanswered_other_in_share: any(features.new_flows_in_rate - features.attempts_in_rate),
        peers_out: 0.0,
        ports_out: 0.0,
        services_out: 0.0,
        services_per_peer_out: 0.0,
        flows_per_service_out: 0.0,
        syn_sent_rate: 0.0,
        syn_ack_share_in: 0.0,
        syn_retry_share_out: 0.0,
        rst_sent_rate: 0.0,
        fin_sent_rate: 0.0,
        packets_per_flow: features.packets_per_flow * packets,
        bytes_per_flow: features.bytes_per_flow * bytes,
        dns_query_rate: 0.0,
        dns_nxdomain_share: 0.0,
        dns_name_length: 0.0,
        dns_name_share: 0.0,
        dns_carrier_share: 0.0,
        dns_response_size: 0.0,
        ..*features
    }
}

/// All, where there is any.
fn any(of: f64) -> f64 {
    f64::from(u8::from(of > 0.0))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand::rngs::Xoshiro256PlusPlus;

    use super::*;
    use crate::domain::AlertKind;
    use crate::features::{FEATURES, FeatureVector};

    /// A client that begins 10 flows a second with 3 hosts, each at 40 ports in all, and is asked a little itself.
    fn features() -> HostFeatures {
        HostFeatures {
            packets_sent_rate: 60.0,
            packets_received_rate: 20.0,
            packet_size_received: 90.0,
            sent_packet_share: 0.75,
            sent_byte_share: 0.6,
            flows_out: 50.0,
            flows_in: 2.0,
            new_flows_out_rate: 10.0,
            attempts_out_rate: 9.0,
            new_flows_in_rate: 0.4,
            attempts_in_rate: 0.4,
            refused_out_share: 0.7,
            unanswered_out_share: 0.1,
            peers_out: 3.0,
            ports_out: 40.0,
            syn_sent_rate: 9.0,
            syn_received_rate: 0.4,
            rtt_mean: 12.0,
            packets_per_flow: 8.0,
            dns_query_rate: 1.0,
            ..[0.0; FEATURES.len()].into()
        }
    }

    fn row(attack: Option<(AlertKind, AttackRole)>) -> TrainingRow {
        TrainingRow { features: features(), seconds: 5.0, attack, source: 0 }
    }

    fn of(row: &TrainingRow) -> Vec<HostFeatures> {
        copies(row, &mut Xoshiro256PlusPlus::seed_from_u64(7))
    }

    #[test]
    fn a_faster_copy_has_more_of_everything_that_is_many() {
        let copy = stretched(&features(), 2.0);
        assert_eq!(
            (copy.packets_sent_rate, copy.syn_sent_rate, copy.ports_out, copy.flows_out),
            (120.0, 18.0, 80.0, 100.0)
        );
        assert_eq!((copy.peers_out, copy.flows_in), (3.0, 2.0), "few stay few");
        assert_eq!((copy.refused_out_share, copy.sent_byte_share, copy.rtt_mean), (0.7, 0.6, 12.0));
    }

    #[test]
    fn of_an_attacker_is_seen_what_it_sends_and_of_a_victim_what_it_receives() {
        let sent = sent_only(&features());
        assert_eq!((sent.packets_received_rate, sent.sent_packet_share, sent.packet_size_received), (0.0, 1.0, 0.0));
        assert_eq!((sent.unanswered_out_share, sent.refused_out_share, sent.syn_received_rate), (1.0, 0.0, 0.0));
        assert_eq!((sent.ports_out, sent.syn_sent_rate, sent.packets_per_flow), (40.0, 9.0, 6.0));
        let received = received_only(&features());
        assert_eq!((received.packets_sent_rate, received.sent_byte_share, received.packets_per_flow), (0.0, 0.0, 2.0));
        assert_eq!((received.ports_out, received.syn_sent_rate, received.dns_query_rate), (0.0, 0.0, 0.0));
        assert_eq!((received.unanswered_in_share, received.syn_received_rate), (1.0, 0.4));
    }

    #[test]
    fn attacks_are_copied_more_often_floods_further_and_the_same_seed_copies_the_same() {
        assert_eq!(of(&row(None)).len(), 3);
        let scan = of(&row(Some((AlertKind::PortScan, AttackRole::Attacker))));
        assert_eq!((scan.len(), scan[0], scan[4]), (5, features(), sent_only(&features())));
        let within = |copies: &[HostFeatures], most: f64| {
            copies[1..4].iter().all(|copy| (18.0..60.0 * most).contains(&copy.packets_sent_rate))
        };
        assert!(within(&scan, 3.0));
        let flood = row(Some((AlertKind::SynFlood, AttackRole::Victim)));
        let vectors = |row: &TrainingRow| of(row).into_iter().map(FeatureVector::from).collect::<Vec<_>>();
        assert_eq!(vectors(&flood), vectors(&flood));
        let fast = (0..20).flat_map(|seed| copies(&flood, &mut Xoshiro256PlusPlus::seed_from_u64(seed)));
        assert!(fast.clone().any(|copy| copy.packets_sent_rate > 6_000.0));
        assert!(fast.into_iter().all(|copy| copy.packets_sent_rate <= 60_000.0));
    }
}
