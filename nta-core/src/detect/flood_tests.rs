//! What belongs to no conversation is a flood of its kind; answers, scans and long connections of the same look are none.

use nta_common::flow::Counts;
use nta_common::packet::proto;

use super::super::testing::{Flow, host, row, with_overflow};
use super::{Flood, FloodConfig};
use crate::domain::{AlertKind, Finding, OverflowDelta, Party};

fn judge(count: u64, flows: impl Fn(u64) -> Vec<Flow>) -> Vec<Finding> {
    row(&mut Flood::new(FloodConfig::default()), count, flows)
}

fn kinds(found: &[Finding]) -> Vec<AlertKind> {
    let mut kinds: Vec<_> = found.iter().map(|finding| finding.kind).collect();
    kinds.dedup();
    kinds
}

/// One packet of each of so many flows to host 2.
fn each(count: u32, flow: impl Fn(u32) -> Flow) -> Vec<Flow> {
    (0..count).map(flow).collect()
}

/// SYN-ACKs, to whom has not begun.
fn syn_ack(from: u32, port: u16, to: u32, to_port: u16) -> Flow {
    Flow::tcp(to, to_port, from, port).history("h").sent(0, 0)
}

#[test]
fn segments_without_a_connection_are_named_by_what_they_are() {
    let acks =
        judge(1, |_| each(800, |n| Flow::tcp(1, 1024 + n as u16, 2, 80).history(if n % 4 == 0 { "Ar" } else { "A" })));
    assert_eq!((acks.len(), acks[0].kind, acks[0].port), (1, AlertKind::AckFlood, Some(80)));
    assert_eq!((acks[0].source, acks[0].destination), (Party::Host(host(1)), Party::Host(host(2))));
    let resets = judge(1, |_| each(800, |n| Flow::tcp(10 + n, 443, 2, n as u16).history("R")));
    assert_eq!((kinds(&resets), resets[0].source), (vec![AlertKind::RstFlood], Party::Many));
    let reflected = judge(1, |_| each(800, |n| syn_ack(10 + n % 200, 443, 2, n as u16)));
    assert_eq!(
        (kinds(&reflected), reflected[0].destination),
        (vec![AlertKind::SynackReflection], Party::Host(host(2)))
    );
}

#[test]
fn a_burst_has_the_rate_that_it_had() {
    let found = judge(1, |_| each(1_000, |n| Flow::tcp(1, n as u16, 2, 80).history("A").lasting(0.2)));
    let fact = |name| found[0].facts.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
    assert_eq!((fact("rate"), fact("mean_rate")), (Some("5000.0"), Some("33.3")));
}

#[test]
fn what_answers_connections_of_the_host_is_none() {
    let quiet = |flow: &dyn Fn(u32) -> Flow| assert!(judge(12, |_| each(500, flow)).is_empty());
    quiet(&|n| Flow::tcp(10 + n, n as u16, 2, 80).history("ShADadFf"));
    // Refused: the host asked.
    quiet(&|n| Flow::tcp(2, n as u16, 10 + n, 80).history("Sr"));
    // Alive, and answered: connections from before the capture.
    quiet(&|n| Flow::tcp(10 + n, n as u16, 2, 1883).history("Aa"));
    // A download's acknowledgements, and its segments.
    quiet(&|n| Flow::tcp(10 + n, n as u16, 2, 443).history("Ad").sent(900, 52).answered(1_800, 1_500));
}

#[test]
fn a_scan_without_syns_is_none_and_forged_segments_at_every_port_are() {
    assert!(
        judge(6, |i| each(4_000, |n| Flow::tcp(1, 40_000, 2, (i * 4_000) as u16 + n as u16).history("Ar"))).is_empty()
    );
    let forged = judge(1, |_| each(6_000, |n| Flow::tcp(10 + n, 99, 2, n as u16).history("A").lasting(4.9)));
    assert_eq!((kinds(&forged), forged[0].port), (vec![AlertKind::AckFlood], None));
}

#[test]
fn fragments_without_a_first_are_one_and_those_of_large_datagrams_none() {
    let later = |n: u32| Flow::udp(10 + n, 0, 2, 0).sent(4, 1_480);
    assert_eq!(kinds(&judge(1, |_| each(250, later))), [AlertKind::FragmentFlood]);
    // A tenth of the firsts went another way.
    let mixed = |_| [each(200, later), vec![Flow::udp(3, 2_049, 2, 700).sent(9_000, 1_500)]].concat();
    assert!(judge(1, mixed).is_empty());
}

#[test]
fn icmp_errors_are_one_unless_the_host_sent_what_they_are_about() {
    let errors = |_: u64| each(1_000, |n| Flow::unreachable(10 + n, 2).sent(5, 56));
    assert_eq!(kinds(&judge(1, errors)), [AlertKind::IcmpFlood]);
    let scanner = |i| [errors(i), each(5_000, |n| Flow::udp(2, 40_000, 10 + n, 161))].concat();
    assert!(judge(1, scanner).iter().all(|finding| finding.destination != Party::Host(host(2))));
}

#[test]
fn another_protocol_from_many_is_one_and_a_tunnel_or_a_mirror_none() {
    let gre = |from| Flow::protocol(47, from, 2).sent(300, 500);
    assert_eq!(kinds(&judge(1, |_| each(20, |n| gre(10 + n)))), [AlertKind::ProtocolFlood]);
    assert!(judge(6, |_| vec![gre(10).sent(100_000, 1_400)]).is_empty(), "a copy of a switch's traffic");
    assert!(judge(6, |_| each(20, |n| gre(10 + n).answered(200, 500))).is_empty(), "tunnels");
}

#[test]
fn small_datagrams_at_every_port_are_one_above_any_scans_rate() {
    let sprayed =
        |seconds| move |_| each(6_000, |n| Flow::udp(10 + n % 50, 999, 2, n as u16).sent(1, 274).lasting(seconds));
    assert_eq!(kinds(&judge(1, sprayed(4.9))), [AlertKind::UdpFlood]);
    assert!(judge(1, |_| each(900, |n| Flow::udp(1, 999, 2, n as u16).lasting(4.9))).is_empty(), "a scan");
    // 700 a second: a scanner keeps its port.
    let pace = |port: fn(u16) -> u16| {
        move |i: u64| {
            each(3_500, |n| {
                let to = (i * 3_500) as u16 + n as u16;
                Flow::udp(1, port(to), 2, to).lasting(4.99)
            })
        }
    };
    assert_eq!(kinds(&judge(2, pace(|n| n.wrapping_add(2_000)))), [AlertKind::UdpFlood]);
    assert!(judge(2, pace(|n| 40_000 + n % 10)).is_empty(), "ten tries");
}

#[test]
fn what_found_the_flow_table_full_counts() {
    let counts = Counts { packets: 100_000, bytes: 6_000_000, ip_bytes: 4_000_000 };
    let overflow = OverflowDelta { destination: host(2), port: 443, proto: proto::TCP, syn: false, counts };
    let found = with_overflow(&mut Flood::new(FloodConfig::default()), 0, Vec::new(), &[overflow]);
    assert_eq!((kinds(&found), found[0].port, found[0].source), (vec![AlertKind::AckFlood], Some(443), Party::Many));
}

/// More clients than the table holds: their SYNs find it full as their segments do.
#[test]
fn connections_that_found_the_flow_table_full_are_no_flood() {
    let overflow = |syn, packets| {
        let counts = Counts { packets, bytes: 60 * packets, ip_bytes: 40 * packets };
        OverflowDelta { destination: host(2), port: 443, proto: proto::TCP, syn, counts }
    };
    let judge = |syns| {
        let mut flood = Flood::new(FloodConfig::default());
        let mut found = with_overflow(&mut flood, 0, Vec::new(), &[overflow(false, 100_000), overflow(true, syns)]);
        found.extend(with_overflow(&mut flood, 5, Vec::new(), &[overflow(false, 100_000)]));
        kinds(&found)
    };
    assert!(judge(20_000).is_empty(), "five segments a connection, and five behind");
    assert_eq!(judge(500), [AlertKind::AckFlood], "a flood beside connections");
}
