//! What counts as a sweep of a link, and what does not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{ArpPacket, Finding, Mac, NeighborSweep, NeighborSweepConfig, PacketEvent, Party, Timestamp};
use crate::detect::fixture;
use crate::domain::FlowObservation;

const SCANNER: (Mac, Ipv4Addr) = (Mac([2, 0, 0, 0, 0, 9]), Ipv4Addr::new(10, 0, 0, 9));

fn at(time_s: f64) -> Timestamp {
    Timestamp::from_nanos(((1_000.0 + time_s) * 1e9) as u64)
}

fn host(number: u32) -> (Mac, Ipv4Addr) {
    let [.., a, b] = number.to_be_bytes();
    (Mac([2, 0, 0, 1, a, b]), Ipv4Addr::from(0x0a00_0000 + number))
}

fn packet(time_s: f64, operation: u16, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) -> PacketEvent {
    PacketEvent::Arp(ArpPacket {
        time: at(time_s),
        vlan: 0,
        operation,
        sender,
        target,
        frame_source: sender.0,
        frame_destination: target.0,
    })
}

fn ask(time_s: f64, asker: (Mac, Ipv4Addr), asked: u32) -> PacketEvent {
    packet(time_s, 1, asker, (Mac::default(), host(asked).1))
}

/// What is found in windows of 5 s, the number of each times 5 s after the start.
fn judge(windows: impl IntoIterator<Item = Vec<PacketEvent>>) -> Vec<Finding> {
    let mut detector = NeighborSweep::new(NeighborSweepConfig::default());
    let snapshots = windows.into_iter().enumerate().map(|(i, events)| fixture::window(at(5.0 * i as f64), &events));
    fixture::inspect(&mut detector, snapshots)
}

#[test]
fn a_sweep_names_the_station_and_who_answered() {
    let mut events: Vec<PacketEvent> = (1..=254).map(|n| ask(f64::from(n) / 100.0, SCANNER, n)).collect();
    events.push(packet(3.0, 2, host(7), SCANNER));
    let found = judge([events]);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].source, found[0].destination), (Party::Host(SCANNER.1.into()), Party::Many));
    assert_eq!(found[0].measure.observed as u64, 252, "its own address is announced");
    let said = "10.0.0.9 (02:00:00:00:00:09) asked for 253 addresses of its link (10.0.0.1 to 10.0.0.254) by ARP within \
                60 s; answered: 10.0.0.7";
    assert_eq!(found[0].summary, said);
}

#[test]
fn a_sweep_without_an_address_of_its_own_names_the_station() {
    let nobody = (SCANNER.0, Ipv4Addr::UNSPECIFIED);
    let found = judge([(1..=254).map(|n| ask(f64::from(n) / 100.0, nobody, n)).collect()]);
    assert_eq!(found[0].source, Party::Mac(SCANNER.0.0));
}

#[test]
fn who_asks_for_those_that_are_there_or_were_is_none() {
    let monitor = |answers: bool| {
        move |window: usize| {
            let time = 5.0 * window as f64;
            let asks = (20..100).map(|n| ask(time, SCANNER, n));
            let replies = (20..100).map(|n| packet(time + 0.1, 2, host(n), SCANNER));
            asks.chain(replies.filter(|_| answers)).collect::<Vec<_>>()
        }
    };
    assert!(judge((0..4).map(monitor(true)).chain((4..8).map(monitor(false)))).is_empty(), "its site goes down");
}

#[test]
fn the_gateway_that_asks_for_what_others_try_is_none() {
    let gateway = host(1);
    let clients = (100..104).map(|n| ask(0.0, host(n), 1));
    let tried = (1..=254).map(|n| ask(1.0, gateway, n));
    assert!(judge([clients.chain(tried).collect()]).is_empty());
}

#[test]
fn few_slow_and_scattered_questions_are_none() {
    let router = |n: u32| ask(f64::from(n) / 25.0, SCANNER, n);
    assert!(
        judge([(1..=120).map(router).collect()]).is_empty(),
        "clients that are gone, and answers that a switch keeps"
    );
    let heard = [(1..=120).map(router).collect(), vec![packet(5.0, 2, host(7), SCANNER), router(126)]].concat();
    assert_eq!(judge([heard]).len(), 1, "as many, and an answer");
    assert!(judge([(1..=29).map(|n| ask(0.1, SCANNER, n)).collect()]).is_empty(), "few");
    assert!(judge((0..120).map(|n| vec![ask(5.0 * f64::from(n), SCANNER, n + 1)])).is_empty(), "12 a minute");
    let far = |n: u32| ask(1.0, SCANNER, (n % 20) << 8 | (n / 20 + 1));
    assert!(judge([(0..200).map(far).collect()]).is_empty(), "of twenty networks");
    let probe = |n: u32| packet(1.0, 1, host(n), (Mac::default(), host(n).1));
    assert!(judge([(1..200).map(probe).collect()]).is_empty(), "announcements");
}

#[test]
fn a_sweep_by_neighbour_solicitations_is_one_and_answers_count() {
    let asker: IpAddr = "fe80::9".parse().expect("an address");
    let solicit = |n: u128| icmp(asker, super::SOLICITED_NODE | n, 135);
    let advertise = |n: u128| FlowObservation { ..icmp(v6(0xfe80 << 112 | n), number(asker), 136) };
    let judge = |flows: Vec<FlowObservation>| {
        let mut detector = NeighborSweep::new(NeighborSweepConfig::default());
        fixture::inspect(&mut detector, [fixture::full(at(0.0), &[], flows)].into_iter())
    };
    let found = judge((1..=200).map(solicit).chain([advertise(3)]).collect());
    assert_eq!((found.len(), found[0].source), (1, Party::Host(asker)));
    assert!(
        found[0].summary.ends_with("by neighbour discovery within 60 s; answered: …000003"),
        "{}",
        found[0].summary
    );
    assert!(judge((1..=200).map(solicit).chain((1..=100).map(advertise)).collect()).is_empty(), "half are there");
}

fn v6(number: u128) -> IpAddr {
    Ipv6Addr::from_bits(number).into()
}

fn number(address: IpAddr) -> u128 {
    crate::window::address_number(address)
}

/// A packet of this ICMPv6 type.
fn icmp(from: IpAddr, to: u128, kind: u16) -> FlowObservation {
    let mut seen = fixture::flow(&from.to_string(), &v6(to).to_string(), 0, 0.0, [72, 0]);
    seen.flow.id = crate::domain::FlowId(number(from) as u64 ^ (to as u64).rotate_left(20) ^ u64::from(kind));
    seen.flow.proto = super::proto::ICMPV6;
    seen.flow.originator.port = kind;
    (seen.flow.first, seen.flow.last) = (at(1.0), at(1.0));
    seen.sent[1] = nta_common::flow::Counts::default();
    seen.flow.responder.sent = seen.sent[1];
    seen
}
