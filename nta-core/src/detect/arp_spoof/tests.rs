//! Forged claims are reported with the right station; honest traffic of the same look is not.

use std::net::Ipv4Addr;

use super::*;
use crate::detect::fixture;
use crate::domain::{ArpPacket, Timestamp};

const HONEST: Mac = Mac([2, 0, 0, 0, 0, 1]);
const EVIL: Mac = Mac([2, 0, 0, 0, 0, 0x66]);
const VICTIM: Mac = Mac([2, 0, 0, 0, 0, 7]);
const ALL: Mac = Mac([0xff; 6]);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 7);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 66);

fn packet(time_s: f64, operation: u16, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) -> ArpPacket {
    ArpPacket {
        time: Timestamp::from_nanos(((1000.0 + time_s) * 1e9) as u64),
        vlan: 0,
        operation,
        sender,
        target,
        frame_source: sender.0,
        frame_destination: target.0,
    }
}

fn ask(time_s: f64, sender: (Mac, Ipv4Addr), asked: Ipv4Addr) -> ArpPacket {
    ArpPacket { frame_destination: ALL, ..packet(time_s, 1, sender, (Mac::default(), asked)) }
}

fn reply(time_s: f64, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) -> ArpPacket {
    packet(time_s, 2, sender, target)
}

/// What is reported about these packets, each in a window of its own: who, and whose address.
fn reported(packets: &[ArpPacket]) -> Vec<(String, String, String)> {
    let mut detector = ArpSpoof::new(ArpSpoofConfig::default());
    let windows = packets.iter().map(|packet| fixture::window(packet.time, &[PacketEvent::Arp(*packet)]));
    let findings = fixture::inspect(&mut detector, windows);
    findings.iter().map(|f| (f.source.to_string(), f.destination.to_string(), f.facts[0].1.clone())).collect()
}

fn is(found: &[(String, String, String)], attacker: Mac, address: Ipv4Addr, sign: &str) -> bool {
    let expected = (attacker.to_string(), address.to_string(), sign.to_owned());
    !found.is_empty() && found.iter().all(|one| *one == expected)
}

#[test]
fn an_address_taken_from_a_living_station_names_the_one_that_took_it() {
    let found = reported(&[ask(0.0, (HONEST, GATEWAY), HOST), reply(3.0, (EVIL, GATEWAY), (VICTIM, HOST))]);
    assert!(is(&found, EVIL, GATEWAY, "conflict"), "{found:?}");
}

#[test]
fn the_true_holder_that_speaks_after_the_forger_is_not_blamed() {
    let found = reported(&[reply(0.0, (EVIL, GATEWAY), (VICTIM, HOST)), ask(3.0, (HONEST, GATEWAY), HOST)]);
    assert!(is(&found, EVIL, GATEWAY, "conflict"), "{found:?}");
}

#[test]
fn both_directions_without_a_question_are_a_station_in_the_middle() {
    let found = reported(&[reply(0.0, (EVIL, GATEWAY), (VICTIM, HOST)), reply(0.1, (EVIL, HOST), (HONEST, GATEWAY))]);
    assert!(is(&found, EVIL, HOST, "both_ways"), "{found:?}");
}

#[test]
fn both_directions_by_questions_are_reported_too() {
    let found = reported(&[ask(0.0, (EVIL, GATEWAY), HOST), ask(0.1, (EVIL, HOST), GATEWAY)]);
    assert!(is(&found, EVIL, HOST, "both_ways"), "{found:?}");
    assert!(reported(&[ask(0.0, (HONEST, GATEWAY), HOST), ask(61.0, (HONEST, HOST), GATEWAY)]).is_empty());
}

#[test]
fn repetition_is_reported_from_the_fifth_on_and_restoring_too() {
    let mut packets: Vec<_> = (0..4).map(|i| reply(f64::from(i) * 2.0, (EVIL, GATEWAY), (VICTIM, HOST))).collect();
    assert!(reported(&packets).is_empty());
    packets.push(reply(8.0, (EVIL, GATEWAY), (VICTIM, HOST)));
    assert!(is(&reported(&packets), EVIL, GATEWAY, "repeated"));
    packets.truncate(1);
    packets.push(ArpPacket { frame_source: EVIL, ..reply(9.0, (HONEST, GATEWAY), (VICTIM, HOST)) });
    assert!(is(&reported(&packets), EVIL, GATEWAY, "restores"));
}

#[test]
fn asking_and_answering_at_once_in_one_name_is_reported_when_another_name_follows() {
    let question = ArpPacket { frame_destination: VICTIM, ..ask(0.0, (EVIL, GATEWAY), HOST) };
    let forged = reply(0.001, (EVIL, GATEWAY), (VICTIM, HOST));
    assert!(reported(&[question, forged]).is_empty());
    assert!(is(&reported(&[question, forged, ask(9.0, (EVIL, OTHER), GATEWAY)]), EVIL, GATEWAY, "asks_and_answers"));
}

#[test]
fn an_address_that_moves_after_a_silence_is_a_lease() {
    let announce = |time_s, mac| ask(time_s, (mac, HOST), HOST);
    assert!(reported(&[announce(0.0, HONEST), announce(61.0, VICTIM), announce(90.0, VICTIM)]).is_empty());
    // Unless the first holder comes back: both live.
    let found = reported(&[announce(0.0, HONEST), announce(61.0, EVIL), announce(63.0, HONEST)]);
    assert!(is(&found, EVIL, HOST, "conflict"), "{found:?}");
}

#[test]
fn virtual_routers_and_groups_may_move() {
    for shared in [[0, 0, 0x5e, 0, 1, 9], [0, 0, 0x0c, 7, 0xac, 1], [0, 0, 0x0c, 0x9f, 0xf0, 1], [3, 0xbf, 0, 0, 0, 1]]
    {
        let packets = [ask(0.0, (HONEST, GATEWAY), HOST), reply(1.0, (Mac(shared), GATEWAY), (VICTIM, HOST))];
        assert!(reported(&packets).is_empty(), "{shared:?}");
    }
    assert!(!is_shared(Mac([0, 0, 0x0c, 0x9f, 0x00, 1])) && !is_shared(Mac([0, 0, 0x5e, 1, 1, 1])));
}

#[test]
fn proxy_arp_storms_probes_and_repeaters_are_quiet() {
    let mut packets = Vec::new();
    for i in 0..60 {
        let at = f64::from(i);
        let remote = Ipv4Addr::new(10, 0, 9, i as u8);
        packets.push(ask(at, (VICTIM, HOST), remote));
        packets.push(reply(at + 0.01, (HONEST, remote), (VICTIM, HOST)));
        packets.push(ask(at + 0.1, (VICTIM, Ipv4Addr::UNSPECIFIED), OTHER));
        packets.push(ArpPacket { frame_source: EVIL, ..reply(at + 0.2, (Mac([2; 6]), OTHER), (VICTIM, HOST)) });
    }
    assert!(reported(&packets).is_empty());
}

#[test]
fn a_station_that_is_allowed_is_quiet() {
    let config = ArpSpoofConfig {
        allowed_macs: vec![EVIL.to_string().try_into().expect("an address")],
        ..ArpSpoofConfig::default()
    };
    let packets = [ask(0.0, (HONEST, GATEWAY), HOST), reply(3.0, (EVIL, GATEWAY), (VICTIM, HOST))];
    let windows = packets.iter().map(|packet| fixture::window(packet.time, &[PacketEvent::Arp(*packet)]));
    assert!(fixture::inspect(&mut ArpSpoof::new(config), windows).is_empty());
}
