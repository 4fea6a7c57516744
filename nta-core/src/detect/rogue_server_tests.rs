//! Second DHCP servers and routers, and floods of advertisements.

use nta_common::packet::proto;

use super::super::fixture;
use super::{ASK_NEIGHBOR, ASK_ROUTERS, NEIGHBOR, ROUTER, RogueServer, RogueServerConfig};
use crate::domain::{AlertKind, Finding, FlowObservation};
use crate::window::Snapshot;

type Packets = Vec<(f64, FlowObservation)>;

/// A packet of another protocol than TCP.
fn packet(protocol: u8, ends: [(&str, u16); 2], time_s: f64) -> (f64, FlowObservation) {
    let mut seen = fixture::flow(ends[0].0, ends[1].0, ends[1].1, time_s, [100, 0]);
    (seen.flow.proto, seen.flow.originator.port) = (protocol, ends[0].1);
    seen.sent[1] = Default::default();
    seen.flow.responder.sent = Default::default();
    (time_s, seen)
}

/// A question of a client, and an offer and an acknowledgement of each server.
fn lease(servers: &[&str], time_s: f64) -> Packets {
    let ask = |at| packet(proto::UDP, [("0.0.0.0", 68), ("255.255.255.255", 67)], at);
    let answer = |server: &&str| packet(proto::UDP, [(server, 67), ("255.255.255.255", 68)], time_s + 0.1);
    let mut packets = vec![ask(time_s), ask(time_s + 0.2)];
    packets.extend(servers.iter().map(answer));
    packets.extend(servers.first().map(answer));
    packets
}

/// To all nodes.
fn advertisement(kind: u16, from: &str, time_s: f64) -> (f64, FlowObservation) {
    packet(proto::ICMPV6, [(from, kind), ("ff02::1", if kind == ROUTER { 133 } else { 135 })], time_s)
}

fn question(time_s: f64) -> (f64, FlowObservation) {
    packet(proto::ICMPV6, [("fe80::9", ASK_ROUTERS), ("ff02::2", ROUTER)], time_s)
}

/// What is found when these packets come.
fn judge(packets: Packets) -> Vec<Finding> {
    fixture::inspect(&mut RogueServer::new(RogueServerConfig::default()), windows(packets).into_iter())
}

/// How near hosts came to a threshold, nearest last: measure, host and share of the threshold.
fn near(packets: Packets) -> Vec<(String, String, f64)> {
    let mut near = Vec::new();
    fixture::stating(&mut RogueServer::new(RogueServerConfig::default()), windows(packets).into_iter(), |said, _| {
        near.extend(said.kept.into_iter().map(|one| (one.name.to_string(), one.host.to_string(), one.share())));
    });
    near.sort_by(|a, b| a.2.total_cmp(&b.2));
    near
}

fn windows(mut packets: Packets) -> Vec<Snapshot> {
    packets.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut windows: Vec<(u64, Vec<FlowObservation>)> = Vec::new();
    for (time_s, seen) in packets {
        match windows.last_mut() {
            Some((number, flows)) if *number == time_s as u64 / 5 => flows.push(seen),
            _ => windows.push((time_s as u64 / 5, vec![seen])),
        }
    }
    windows.into_iter().map(|(_, flows)| fixture::full(flows[0].flow.first, &[], flows)).collect()
}

fn who(found: &[Finding]) -> Vec<(AlertKind, String, String)> {
    found.iter().map(|one| (one.kind, one.source.to_string(), one.destination.to_string())).collect()
}

#[test]
fn a_dhcp_server_that_answers_what_another_one_answered_alone_is_reported() {
    let (own, other) = ("10.0.0.1", "10.0.0.66");
    let alone = |count: u32| (0..count).flat_map(|n| lease(&[own], f64::from(n) * 60.0)).collect::<Packets>();
    let found = judge([alone(3), lease(&[other, own], 180.0)].concat());
    assert_eq!(who(&found), [(AlertKind::RogueDhcp, other.to_owned(), own.to_owned())]);
    assert!(judge([alone(2), lease(&[other, own], 180.0)].concat()).is_empty(), "not known for long enough");
    let allowed = RogueServerConfig { allowed: vec![other.parse().expect("an address")], ..Default::default() };
    let windows = [alone(3), lease(&[other, own], 180.0)].concat();
    let snapshots = windows.into_iter().map(|(_, seen)| fixture::full(seen.flow.first, &[], vec![seen]));
    assert!(fixture::inspect(&mut RogueServer::new(allowed), snapshots).is_empty());
}

#[test]
fn dhcp_servers_that_share_or_relieve_each_other_are_quiet() {
    let (own, other) = ("10.0.0.1", "10.0.0.2");
    let each = |servers: fn(u32) -> Vec<&'static str>| {
        judge((0..40).flat_map(|n| lease(&servers(n), f64::from(n) * 60.0)).collect())
    };
    assert!(each(|_| vec!["10.0.0.1", "10.0.0.2"]).is_empty(), "redundant from the beginning");
    assert!(each(|n| vec![if n % 3 == 2 { "10.0.0.2" } else { "10.0.0.1" }]).is_empty(), "each has its clients");
    assert!(each(|n| vec![if (10..20).contains(&n) { "10.0.0.2" } else { "10.0.0.1" }]).is_empty(), "a stand-by");
    // A relay answers whoever asks all; the server behind it is asked to renew, and answers by itself.
    let mut renewals: Packets = (0..9).flat_map(|n| lease(&[own], f64::from(n) * 60.0)).collect();
    for n in 4..9 {
        let mut renewal = packet(proto::UDP, [("10.0.0.50", 68), (other, 67)], f64::from(n) * 60.0);
        renewal.1.sent[1] = renewal.1.sent[0];
        renewal.1.flow.responder.sent = renewal.1.sent[0];
        renewals.push(renewal);
    }
    assert!(judge(renewals).is_empty());
    // Two links of one gateway: each question has one answer.
    let links: Packets = (0..20).flat_map(|n| lease(&[own], f64::from(n) * 60.0)).collect();
    let other_link = (10..20).flat_map(|n| lease(&[other], f64::from(n) * 60.0 + 0.3)).collect();
    assert!(judge([links, other_link].concat()).is_empty());
}

#[test]
fn a_router_is_new_beside_one_that_goes_on() {
    let (own, other) = ("fe80::1", "fe80::66");
    let beacons = |from: &'static str, times: std::ops::Range<u32>| {
        times.step_by(300).map(move |at| advertisement(ROUTER, from, f64::from(at))).collect::<Packets>()
    };
    let found = judge([beacons(own, 0..6_000), beacons(other, 2_050..4_000)].concat());
    assert_eq!(who(&found[..1]), [(AlertKind::RogueRouter, other.to_owned(), own.to_owned())]);
    assert!(
        judge([beacons(own, 0..6_000), beacons(other, 250..6_000)].concat()).is_empty(),
        "there from the beginning"
    );
    assert!(judge([beacons(own, 0..3_000), beacons(other, 3_050..6_000)].concat()).is_empty(), "a stand-by took over");
    let back = [beacons(own, 0..3_000), beacons(other, 3_050..4_000), beacons(own, 4_000..6_000)].concat();
    assert!(judge(back).is_empty(), "and gave the work back");
    // Hosts that asked had one answer: after ten minutes no other router is on the link.
    let asked = (0..5).flat_map(|n| [question(f64::from(n) * 200.0), advertisement(ROUTER, own, f64::from(n) * 200.0)]);
    let race = [question(900.0), advertisement(ROUTER, own, 900.1), advertisement(ROUTER, other, 900.1)];
    assert_eq!(who(&judge(asked.chain(race).collect())), [(AlertKind::RogueRouter, other.to_owned(), own.to_owned())]);
}

#[test]
fn another_vlan_has_its_own_servers() {
    let mut packets: Packets = (0..6).flat_map(|n| lease(&["10.0.0.1"], f64::from(n) * 60.0)).collect();
    let mut others = lease(&["10.1.0.1", "10.1.0.1"], 300.0);
    others.iter_mut().for_each(|(_, seen)| seen.flow.vlan = 7);
    packets.extend(others);
    assert!(judge(packets).is_empty());
}

#[test]
fn advertisements_beyond_what_is_allowed_are_a_flood() {
    let every = |pause_s: f64, count: u32, kind: u16, from: fn(u32) -> String| {
        judge((0..count).map(|n| advertisement(kind, &from(n), f64::from(n) * pause_s)).collect())
    };
    let found = every(0.5, 60, ROUTER, |_| "fe80::66".to_owned());
    assert_eq!(who(&found[..1]), [(AlertKind::NeighborFlood, "fe80::66".to_owned(), "ff02::1".to_owned())]);
    assert!(every(3.0, 60, ROUTER, |_| "fe80::1".to_owned()).is_empty(), "the most that is allowed");
    let found = every(0.02, 1_000, NEIGHBOR, |n| format!("fe80::{n:x}"));
    assert_eq!(who(&found[..1]), [(AlertKind::NeighborFlood, "*".to_owned(), "ff02::1".to_owned())]);
    assert!(every(0.5, 240, NEIGHBOR, |n| format!("fe80::{n:x}")).is_empty(), "a busy link");
    let questions = |pause_s: f64, count: u32| {
        let ask = |n: u32| {
            packet(
                proto::ICMPV6,
                [(&format!("fe80::{n:x}"), ASK_NEIGHBOR), ("ff02::1:ff00:1", 136)],
                f64::from(n) * pause_s,
            )
        };
        judge((1..count).map(ask).collect())
    };
    assert_eq!(who(&questions(0.005, 5_000)[..1])[0].0, AlertKind::NeighborFlood);
    assert!(questions(0.05, 1_000).is_empty(), "hosts that come up together");
}

/// Why there was no alert: a router that was heard beside another one once is half of one, and so is half a flood.
#[test]
fn who_came_near_is_stated() {
    let beacons = |from: &'static str, times: std::ops::Range<u32>| {
        times.step_by(300).map(move |at| advertisement(ROUTER, from, f64::from(at))).collect::<Packets>()
    };
    let took_over = [beacons("fe80::1", 0..3_000), vec![advertisement(ROUTER, "fe80::66", 2_702.0)]].concat();
    assert!(judge(took_over.clone()).is_empty());
    let nearest = near(took_over).pop().expect("a measure");
    assert_eq!(nearest, ("turns_beside_another".to_owned(), "fe80::66".to_owned(), 0.5));
    let second = [beacons("fe80::1", 0..6_000), beacons("fe80::66", 2_050..4_000)].concat();
    assert!(near(second).pop().is_some_and(|(_, host, share)| host == "fe80::66" && share >= 1.0), "reported");
    let advertise = |count: u32| (0..count).map(|n| advertisement(ROUTER, "fe80::1", f64::from(n) * 2.5)).collect();
    let nearest: (_, _, f64) = near(advertise(30)).pop().expect("a measure");
    assert_eq!((&*nearest.0, &*nearest.1), ("neighbor_discovery_of_one", "ff02::1"));
    assert!((nearest.2 - 0.6).abs() < 1e-9, "12 of 20 within 30 s: {nearest:?}");
    let neighbors = (0..300).map(|n| advertisement(NEIGHBOR, &format!("fe80::{n:x}"), f64::from(n) * 0.2)).collect();
    let nearest = near(neighbors).pop().expect("a measure");
    assert_eq!((&*nearest.0, &*nearest.1, nearest.2), ("neighbor_discovery", "ff02::1", 0.5), "150 of 300");
    assert!(near(beacons("fe80::1", 0..6_000)).is_empty(), "a router by itself");
}
