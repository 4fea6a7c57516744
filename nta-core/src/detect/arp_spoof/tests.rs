//! Forged claims are reported with the right station; honest traffic of the same look is not.

use std::net::Ipv4Addr;

use super::*;
use crate::detect::fixture;
use crate::domain::{ArpPacket, PacketEvent, Timestamp};

const HONEST: Mac = Mac([2, 0, 0, 0, 0, 1]);
const EVIL: Mac = Mac([2, 0, 0, 0, 0, 0x66]);
const VICTIM: Mac = Mac([2, 0, 0, 0, 0, 7]);
const OTHER_MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);
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
    let to = |mac, question| ArpPacket { frame_destination: mac, ..question };
    let forged = |gap| [to(VICTIM, ask(0.0, (EVIL, GATEWAY), HOST)), to(HONEST, ask(gap, (EVIL, HOST), GATEWAY))];
    let found = reported(&forged(0.1));
    assert!(is(&found, EVIL, HOST, "both_ways"), "{found:?}");
    assert!(reported(&forged(61.0)).is_empty());
    // To all: the two may be virtual machines behind one MAC address that look for each other.
    assert!(reported(&[ask(0.0, (EVIL, GATEWAY), HOST), ask(0.1, (EVIL, HOST), GATEWAY)]).is_empty());
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
    // Once more under the old address, while another has it already.
    assert!(reported(&[announce(0.0, VICTIM), announce(61.0, HONEST), announce(63.0, VICTIM)]).is_empty());
    // Both go on: the address was given twice.
    let found = reported(&[0.0, 2.0, 4.0, 6.0].map(|at| announce(at, if at % 4.0 == 0.0 { HONEST } else { EVIL })));
    assert!(is(&found, EVIL, HOST, "duplicate"), "{found:?}");
}

#[test]
fn a_station_that_speaks_up_for_another_beside_it_is_forging_if_it_has_an_address_of_its_own() {
    let mut packets = vec![ask(0.0, (EVIL, OTHER), GATEWAY)];
    for at in [1.0, 3.0, 5.0] {
        packets.extend([ask(at, (HONEST, HOST), HOST), ask(at + 1.0, (EVIL, HOST), HOST)]);
    }
    let found = reported(&packets);
    assert!(found.contains(&(EVIL.to_string(), HOST.to_string(), "conflict".to_owned())), "{found:?}");
    // The gateway's address, which three stations look for, is enough one turn earlier, and without another address.
    let mut packets: Vec<_> =
        (1..4).map(|n| ask(0.1, (Mac([2, 0, 0, 0, 9, n]), [10, 0, 0, 90 + n].into()), GATEWAY)).collect();
    for at in [1.0, 3.0] {
        packets.extend([ask(at, (HONEST, GATEWAY), GATEWAY), ask(at + 1.0, (EVIL, GATEWAY), GATEWAY)]);
    }
    assert!(is(&reported(&packets), EVIL, GATEWAY, "conflict"));
}

#[test]
fn two_interfaces_that_answer_one_question_are_at_most_a_duplicate() {
    let mut packets = Vec::new();
    for at in [0.0, 20.0, 40.0] {
        packets.push(ask(at, (VICTIM, HOST), OTHER));
        packets.extend([HONEST, EVIL].map(|mac| reply(at + 0.001, (mac, OTHER), (VICTIM, HOST))));
        // Asked alone, the second answers alone, and asks in either name.
        packets.push(ArpPacket { frame_destination: EVIL, ..ask(at + 5.0, (VICTIM, HOST), OTHER) });
        packets.push(reply(at + 5.001, (EVIL, OTHER), (VICTIM, HOST)));
        packets.extend([ask(at + 6.0, (EVIL, OTHER), GATEWAY), ask(at + 7.0, (HONEST, OTHER), GATEWAY)]);
        packets.push(ask(at + 8.0, (EVIL, Ipv4Addr::new(10, 0, 0, 67)), GATEWAY));
    }
    assert!(is(&reported(&packets), EVIL, OTHER, "duplicate"), "{:?}", reported(&packets));
}

#[test]
fn a_host_that_stands_for_its_virtual_machines_is_quiet() {
    let mut packets = Vec::new();
    for at in [0.0, 10.0, 20.0, 30.0] {
        packets.push(ask(at, (EVIL, OTHER), GATEWAY));
        for n in 1..4 {
            // On the host both the guest's packet and what becomes of it are seen.
            let (guest, own) = (Mac([8, 0, 0x27, 0, 0, n]), Ipv4Addr::new(10, 0, 0, 70 + n));
            let at = at + f64::from(n);
            packets.extend([ask(at, (guest, own), GATEWAY), ask(at + 0.001, (EVIL, own), GATEWAY)]);
            packets.push(ask(at + 0.4, (VICTIM, HOST), own));
            packets.extend([guest, EVIL].map(|mac| reply(at + 0.401, (mac, own), (VICTIM, HOST))));
        }
    }
    assert!(reported(&packets).is_empty(), "{:?}", reported(&packets));
}

#[test]
fn who_announces_the_addresses_of_living_stations_takes_them_however_many() {
    // Three addresses in the open would pass for a host of virtual machines.
    let stations = [(HONEST, GATEWAY), (VICTIM, HOST)];
    let mut packets = vec![ask(0.0, (EVIL, OTHER), GATEWAY), ask(0.5, (EVIL, OTHER), HOST)];
    for at in [1.0, 3.0, 5.0] {
        for (mac, own) in stations {
            packets.extend([ask(at, (mac, own), OTHER), reply(at + 0.3, (EVIL, own), (ALL, own))]);
        }
    }
    let found = reported(&packets);
    for (_, own) in stations {
        assert!(found.contains(&(EVIL.to_string(), own.to_string(), "conflict".to_owned())), "{own}: {found:?}");
    }
    // A floating address that comes over: announced five times, and its holder says no more.
    let floating = |n: u8| Ipv4Addr::new(10, 0, 0, 50 + n);
    let mut packets: Vec<_> = (0..3).map(|n| ask(f64::from(n) / 10.0, (HONEST, floating(n)), floating(n))).collect();
    for at in [1.0, 1.1, 1.2, 6.0, 6.1] {
        packets.extend((0..3).map(|n| reply(at, (EVIL, floating(n)), (ALL, floating(n)))));
    }
    assert!(reported(&packets).is_empty(), "{:?}", reported(&packets));
}

#[test]
fn a_client_behind_a_repeater_is_a_holder_as_any_other() {
    let behind = |packet| ArpPacket { frame_source: OTHER_MAC, ..packet };
    let packets = [behind(ask(0.0, (VICTIM, HOST), GATEWAY)), reply(3.0, (EVIL, HOST), (HONEST, GATEWAY))];
    assert!(is(&reported(&packets), EVIL, HOST, "conflict"));
    // And one that forges is named by the address to which the traffic will go.
    let packets = [ask(0.0, (VICTIM, HOST), GATEWAY), behind(reply(3.0, (EVIL, HOST), (HONEST, GATEWAY)))];
    assert!(is(&reported(&packets), EVIL, HOST, "conflict"));
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

#[test]
fn a_forged_claim_began_with_its_first_packet_and_ended_with_its_last() {
    let at = |seconds: f64| Timestamp::from_nanos(((1000.0 + seconds) * 1e9) as u64);
    let forged = |seconds| reply(seconds, (EVIL, GATEWAY), (VICTIM, HOST));
    let seen = |windows: &[&[ArpPacket]]| {
        let mut detector = ArpSpoof::new(ArpSpoofConfig::default());
        let windows = windows.iter().map(|packets| {
            let events: Vec<PacketEvent> = packets.iter().map(|packet| PacketEvent::Arp(*packet)).collect();
            fixture::window(packets[0].time, &events)
        });
        fixture::inspect(&mut detector, windows).last().and_then(|finding| finding.seen)
    };
    // Only the fifth repetition tells; the claim began with the first one.
    let repeated: Vec<ArpPacket> = (0..6).map(|number| forged(1.5 + f64::from(number))).collect();
    assert_eq!(seen(&[&repeated[..3], &repeated[3..]]), Some([at(1.5), at(6.5)]));
    // Of a holder that was there for long the one that takes the address is meant.
    let honest = [ask(0.0, (HONEST, GATEWAY), HOST)];
    assert_eq!(seen(&[&honest, &[forged(3.25), forged(3.75)]]), Some([at(3.25), at(3.75)]));
}
