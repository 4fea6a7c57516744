//! Forged claims of IPv6 addresses are reported as those of IPv4 are; how IPv6 is used on a link is not.

use std::net::Ipv6Addr;

use super::{ArpSpoof, ArpSpoofConfig};
use crate::detect::fixture;
use crate::domain::{AlertKind, Mac, NeighborMessage, PacketEvent, Timestamp};

const ROUTER: Mac = Mac([2, 0, 0, 0, 0, 1]);
const EVIL: Mac = Mac([2, 0, 0, 0, 0, 0x66]);
const HOST: Mac = Mac([2, 0, 0, 0, 0, 7]);

fn ip(text: &str) -> Ipv6Addr {
    text.parse().expect("an address")
}

/// The address of the link that a station makes of its number.
fn of_link(mac: Mac) -> Ipv6Addr {
    ip(&format!("fe80::{:x}", mac.0[5]))
}

fn gateway() -> Ipv6Addr {
    of_link(ROUTER)
}

/// The group in which an address is looked for (RFC 4291 section 2.7.1), and the frame's destination for it (RFC 2464 section 7).
fn group_of(address: Ipv6Addr) -> (Ipv6Addr, Mac) {
    let [.., a, b, c] = address.octets();
    let group = Ipv6Addr::from(ip("ff02::1:ff00:0").to_bits() | u128::from(u32::from_be_bytes([0, a, b, c])));
    (group, Mac([0x33, 0x33, 0xff, a, b, c]))
}

/// Asks the group for an address, and says where its own is.
fn ask(time_s: f64, (mac, source): (Mac, Ipv6Addr), target: Ipv6Addr) -> NeighborMessage {
    let (destination, frame_destination) = group_of(target);
    NeighborMessage {
        time: Timestamp::from_nanos(((1000.0 + time_s) * 1e9) as u64),
        vlan: 0,
        is_advertisement: false,
        is_override: false,
        source,
        destination,
        target,
        link_layer: Some(mac),
        frame_source: mac,
        frame_destination,
    }
}

/// Says to one host where an address is.
fn answer(time_s: f64, (mac, target): (Mac, Ipv6Addr), (to_mac, to): (Mac, Ipv6Addr)) -> NeighborMessage {
    NeighborMessage {
        is_advertisement: true,
        is_override: true,
        destination: to,
        frame_destination: to_mac,
        ..ask(time_s, (mac, target), target)
    }
}

/// Says it to all.
fn announce(time_s: f64, (mac, target): (Mac, Ipv6Addr)) -> NeighborMessage {
    answer(time_s, (mac, target), (Mac([0x33, 0x33, 0, 0, 0, 1]), ip("ff02::1")))
}

/// What is reported about these, each in a window of its own: who, whose address, why, and as what.
fn reported(messages: &[NeighborMessage]) -> Vec<(String, String, String, AlertKind)> {
    let mut detector = ArpSpoof::new(ArpSpoofConfig::default());
    let windows = messages.iter().map(|message| fixture::window(message.time, &[PacketEvent::Nd(*message)]));
    let findings = fixture::inspect(&mut detector, windows);
    let told =
        |f: &crate::domain::Finding| (f.source.to_string(), f.destination.to_string(), f.facts[0].1.clone(), f.kind);
    findings.iter().map(told).collect()
}

#[track_caller]
fn is(found: &[(String, String, String, AlertKind)], address: Ipv6Addr, sign: &str) {
    let expected = (EVIL.to_string(), address.to_string(), sign.to_owned(), AlertKind::ArpSpoof);
    assert!(!found.is_empty() && found.iter().all(|one| *one == expected), "{found:?}");
}

#[test]
fn an_address_taken_from_a_living_router_names_the_one_that_took_it() {
    let (router, forged) =
        (ask(0.0, (ROUTER, gateway()), of_link(HOST)), answer(3.0, (EVIL, gateway()), (HOST, of_link(HOST))));
    is(&reported(&[router, forged]), gateway(), "conflict");
    // The router that speaks behind the forger is not blamed.
    let later =
        |message, time_s: f64| NeighborMessage { time: Timestamp::from_nanos((time_s * 1e9) as u64), ..message };
    is(&reported(&[later(forged, 1000.0), later(router, 1003.0)]), gateway(), "conflict");
}

#[test]
fn both_directions_repetition_and_restoring_are_reported() {
    let to_host = |at| answer(at, (EVIL, gateway()), (HOST, of_link(HOST)));
    let to_router = answer(0.1, (EVIL, of_link(HOST)), (ROUTER, gateway()));
    is(&reported(&[to_host(0.0), to_router]), of_link(HOST), "both_ways");
    let repeated: Vec<_> = (0..5).map(|nth| to_host(f64::from(nth) * 2.0)).collect();
    assert!(reported(&repeated[..4]).is_empty());
    is(&reported(&repeated), gateway(), "repeated");
    // In frames of its own the forger says where the router really is.
    let restored = NeighborMessage { frame_source: EVIL, ..answer(9.0, (ROUTER, gateway()), (HOST, of_link(HOST))) };
    is(&reported(&[to_host(0.0), restored]), gateway(), "restores");
}

#[test]
fn who_announces_a_living_stations_address_again_and_again_takes_it() {
    let mut messages = vec![ask(0.0, (EVIL, of_link(EVIL)), gateway())];
    for at in [1.0, 3.0, 5.0] {
        messages.extend([ask(at, (ROUTER, gateway()), of_link(HOST)), announce(at + 0.5, (EVIL, gateway()))]);
    }
    let found = reported(&messages);
    assert!(found.iter().any(|(who, _, sign, _)| *who == EVIL.to_string() && sign == "conflict"), "{found:?}");
}

#[test]
fn what_stations_do_for_themselves_is_quiet() {
    let (router, host) = ((ROUTER, gateway()), (HOST, of_link(HOST)));
    let mut messages = Vec::new();
    for at in (0..10).map(|round| f64::from(round) * 30.0) {
        // A host looks for the router and is answered; both look later whether the other is still there, and the answer to one that
        // knows the station does not name it.
        messages.extend([ask(at, host, gateway()), answer(at + 0.001, router, host)]);
        let probe = NeighborMessage { destination: host.1, frame_destination: HOST, ..ask(at + 5.0, router, host.1) };
        messages.extend([probe, NeighborMessage { link_layer: None, ..answer(at + 5.001, host, router) }]);
        // A temporary address a day: first it is asked for, in nobody's name, then announced and used beside the others.
        let temporary = ip(&format!("2001:db8::{:x}:7", 1 + at as u16));
        let free = ask(at + 10.0, (HOST, Ipv6Addr::UNSPECIFIED), temporary);
        messages.push(NeighborMessage { link_layer: None, ..free });
        messages.extend([announce(at + 11.0, (HOST, temporary)), ask(at + 12.0, (HOST, temporary), gateway())]);
    }
    assert!(reported(&messages).is_empty(), "{:?}", reported(&messages));
}

#[test]
fn an_address_that_moves_a_proxy_and_a_virtual_router_are_quiet() {
    let floating = ip("2001:db8::f");
    // The standby takes over: it announces, and who had it says no more.
    let moved = [0.0, 1.0].map(|at| announce(at, (ROUTER, floating))).into_iter();
    let moved: Vec<_> = moved.chain([4.0, 5.0, 6.0].map(|at| announce(at, (EVIL, floating)))).collect();
    assert!(reported(&moved).is_empty(), "{:?}", reported(&moved));
    // A proxy answers for a host that is elsewhere, and does not replace what is known (RFC 4389, RFC 4861 section 7.2.8).
    let host = ask(0.0, (ROUTER, floating), gateway());
    let proxy = NeighborMessage { is_override: false, ..answer(1.0, (EVIL, floating), (HOST, of_link(HOST))) };
    assert!(reported(&[host, proxy, proxy, proxy]).is_empty());
    // VRRP for IPv6 (RFC 9568 section 7.3).
    let shared = answer(1.0, (Mac([0, 0, 0x5e, 0, 2, 9]), gateway()), (HOST, of_link(HOST)));
    assert!(reported(&[ask(0.0, (ROUTER, gateway()), of_link(HOST)), shared]).is_empty());
}

#[test]
fn two_interfaces_that_answer_one_question_are_at_most_a_duplicate() {
    let mut messages = Vec::new();
    for at in [0.0, 20.0, 40.0] {
        messages.push(ask(at, (HOST, of_link(HOST)), gateway()));
        messages.extend([ROUTER, EVIL].map(|mac| answer(at + 0.001, (mac, gateway()), (HOST, of_link(HOST)))));
    }
    let found = reported(&messages);
    assert!(!found.is_empty() && found.iter().all(|(.., kind)| *kind == AlertKind::DuplicateAddress), "{found:?}");
}
