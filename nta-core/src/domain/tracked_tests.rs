//! How entries of the flow maps become differences, and what a translation that changes does to that.

use nta_common::packet::Packet;
use nta_common::tcp::{ACK, RST, SYN};
use nta_common::{CaptureClock, First, FlowKey4};

use super::*;

/// Counts a segment between 192.0.2.1:40000, or its peer, and 198.51.100.2:443.
fn segment(entry: &mut FlowStats, second: u64, answer: bool, flags: u8, seq: u32) -> FlowKey {
    let mut packet = Packet {
        proto: proto::TCP,
        tcp_flags: flags,
        src4: 0xc000_0201,
        dst4: 0xc633_6402,
        src_port: 40000,
        dst_port: 443,
        seq,
        ip_len: 40,
        wire_len: 54,
        ..Packet::default()
    };
    if answer {
        (packet.src4, packet.dst4) = (packet.dst4, packet.src4);
        (packet.src_port, packet.dst_port) = (packet.dst_port, packet.src_port);
    }
    let (key, direction) = FlowKey4::of(&packet);
    let now_ns = second * 1_000_000_000;
    if *entry == FlowStats::default() {
        entry.begin(&First { packet: &packet, direction, now_ns });
    }
    entry.add(&packet, 1, direction, now_ns, &CaptureClock(now_ns));
    FlowKey::V4(key)
}

/// Of each update: packets, SYNs, resets of both directions since the last reading, and why the flow ended.
fn reported(flow: &mut Tracked, key: &FlowKey, entry: &FlowStats) -> Vec<(u64, u32, u32, Option<EndReason>)> {
    let mut all = Vec::new();
    flow.take(key, entry, &Origin::default(), None, &mut |update| {
        let delta = update.delta.copied().unwrap_or_default();
        let [a, b] = delta.tcp;
        assert_eq!(update.flow.tcp_totals().map(|tcp| tcp.syn), [a.syn, b.syn], "of this connection alone");
        all.push((delta.packets(), a.syn + b.syn, a.rst + b.rst, update.ended));
    });
    all
}

#[test]
fn the_syn_of_a_connection_on_used_ports_is_its_own() {
    let refused = |entry: &mut FlowStats| {
        segment(entry, 1, false, SYN, 7);
        segment(entry, 1, true, RST | ACK, 0)
    };
    // Read in between.
    let mut entry = FlowStats::default();
    let key = refused(&mut entry);
    let mut flow = Tracked::new(&key, &entry, &Origin::default());
    assert_eq!(reported(&mut flow, &key, &entry), [(2, 1, 1, None)]);
    let first = flow.id;
    segment(&mut entry, 2, false, SYN, 900);
    let mut ends = Vec::new();
    flow.take(&key, &entry, &Origin::default(), None, &mut |update| {
        let syns = update.delta.map(|delta| delta.tcp.iter().map(|tcp| tcp.syn).sum::<u32>());
        ends.push((update.flow.id == first, syns, update.ended));
    });
    assert_eq!(ends, [(true, None, Some(EndReason::Closed)), (false, Some(1), None)]);

    // Both in one reading.
    let mut entry = FlowStats::default();
    refused(&mut entry);
    segment(&mut entry, 2, false, SYN, 900);
    let mut flow = Tracked::new(&key, &entry, &Origin::default());
    assert_eq!(reported(&mut flow, &key, &entry), [(2, 1, 1, Some(EndReason::Closed)), (1, 1, 0, None)]);
}

#[test]
fn a_run_goes_on_from_what_another_reported_wherever_that_was_killed() {
    // Two connections on the same ports, a packet at a time; the first run is killed before one of them.
    let steps = [(false, SYN), (true, RST | ACK), (false, SYN), (true, SYN | ACK), (false, ACK), (true, ACK)];
    for kill in 1..steps.len() - 1 {
        for late in [0, 1] {
            let mut entry = FlowStats::default();
            let (mut packets, mut syns) = (0, 0);
            let mut before: Option<(FlowKey, Tracked, FlowRecord)> = None;
            for (second, (answer, flags)) in steps.into_iter().enumerate() {
                let key = segment(&mut entry, second as u64 + 1, answer, flags, 7 + 900 * (second as u32 / 2));
                // Killed, and packets come while nobody reads.
                if second >= kill && second < kill + late {
                    continue;
                }
                let mut flow = match before.take() {
                    None => Tracked::new(&key, &entry, &Origin::default()),
                    Some((_, _, reported)) if second == kill + late => {
                        Tracked::resumed(&key, &entry, &Origin::default(), &reported, 0)
                    }
                    Some((_, flow, _)) => flow,
                };
                let mut record = None;
                flow.take(&key, &entry, &Origin::default(), None, &mut |update| {
                    let delta = update.delta.copied().unwrap_or_default();
                    packets += delta.packets();
                    syns += delta.tcp[0].syn + delta.tcp[1].syn;
                    record = Some(FlowRecord::of(&update));
                });
                let record = record.expect("every packet changes the flow");
                before = Some((key, flow, record));
            }
            assert_eq!((packets, syns), (steps.len() as u64, 2), "killed before packet {kill}, {late} later");
        }
    }
}

/// A datagram between a client and a gateway's port, or its answer.
fn datagram(entry: &mut FlowStats, second: u64, answer: bool) -> FlowKey {
    let mut packet = Packet {
        proto: proto::UDP,
        src4: 0xcb00_7102,
        dst4: 0xcb00_7101,
        src_port: 4500,
        dst_port: 8080,
        ip_len: 40,
        wire_len: 54,
        ..Packet::default()
    };
    if answer {
        (packet.src4, packet.dst4) = (packet.dst4, packet.src4);
        (packet.src_port, packet.dst_port) = (packet.dst_port, packet.src_port);
    }
    let (key, direction) = FlowKey4::of(&packet);
    let now_ns = second * 1_000_000_000;
    if *entry == FlowStats::default() {
        entry.begin(&First { packet: &packet, direction, now_ns });
    }
    entry.add(&packet, 1, direction, now_ns, &CaptureClock(now_ns));
    FlowKey::V4(key)
}

/// Of each update: whether it is the flow of before, to which host the port leads, packets since the last reading, whether it ended.
fn named(flow: &mut Tracked, names: Names, key: &FlowKey, entry: &FlowStats) -> Vec<(bool, Option<u8>, u64, bool)> {
    let (mut all, origin, before) = (Vec::new(), Origin::default(), flow.id);
    let mut emit = |update: FlowUpdate<'_>| {
        let host = |(address, _): (IpAddr, u16)| match address {
            IpAddr::V4(address) if address.octets()[0] == 10 => Some(address.octets()[3]),
            _ => None,
        };
        let packets = update.delta.map_or(0, FlowDelta::packets);
        let host = update.flow.endpoints(key).into_iter().find_map(host);
        all.push((update.flow.id == before, host, packets, update.ended.is_some()));
    };
    flow.name(names, (key, entry), &origin, &mut emit);
    flow.take(key, entry, &origin, None, &mut emit);
    all
}

fn leads_to(host: u8, key: &FlowKey, learned: u64) -> Names {
    let mut ends = key.endpoints();
    let at = usize::from(ends[1].1 == 8080);
    ends[at] = (IpAddr::from([10, 9, 1, host]), 9999);
    let mut outside = [None; 2];
    outside[at] = Some(SocketAddr::from(key.endpoints()[at]));
    Names::Translated(Translation { ends, outside, learned })
}

#[test]
fn a_port_forward_that_moves_begins_another_flow_and_the_one_before_keeps_its_name() {
    let mut entry = FlowStats::default();
    let key = datagram(&mut entry, 1, false);
    let mut flow = Tracked::new(&key, &entry, &Origin::default());
    assert_eq!(named(&mut flow, leads_to(2, &key, 1), &key, &entry), [(true, Some(2), 1, false)]);
    datagram(&mut entry, 2, true);
    // The same connection timed out and began again: learned once more, with the same names.
    assert_eq!(named(&mut flow, leads_to(2, &key, 5), &key, &entry), [(true, Some(2), 1, false)]);
    datagram(&mut entry, 3, false);
    let moved = named(&mut flow, leads_to(3, &key, 9), &key, &entry);
    assert_eq!(moved, [(true, Some(2), 0, true), (false, Some(3), 1, false)]);
    assert_eq!(flow.totals.iter().map(|sent| sent.packets).sum::<u64>(), 1);
    // The rule is removed; nothing comes for a while.
    assert_eq!(named(&mut flow, Names::Over, &key, &entry), []);
    assert_eq!(named(&mut flow, Names::Unsaid, &key, &entry), []);
    datagram(&mut entry, 4, false);
    datagram(&mut entry, 4, true);
    let removed = named(&mut flow, Names::Unsaid, &key, &entry);
    assert_eq!(removed, [(true, Some(3), 0, true), (false, None, 2, false)]);
    // It is there again; the gateway has answered meanwhile.
    datagram(&mut entry, 5, false);
    let back = named(&mut flow, leads_to(2, &key, 20), &key, &entry);
    assert_eq!(back, [(true, None, 0, true), (false, Some(2), 1, false)]);
}

#[test]
fn names_that_are_learned_late_are_those_of_the_whole_flow() {
    let mut entry = FlowStats::default();
    let key = datagram(&mut entry, 1, false);
    let mut flow = Tracked::new(&key, &entry, &Origin::default());
    assert_eq!(named(&mut flow, Names::Unsaid, &key, &entry), [(true, None, 1, false)]);
    datagram(&mut entry, 2, false);
    assert_eq!(named(&mut flow, leads_to(2, &key, 1), &key, &entry), [(true, Some(2), 1, false)]);
    assert_eq!(flow.totals.iter().map(|sent| sent.packets).sum::<u64>(), 2);
}

#[test]
fn a_translated_connection_that_is_over_and_goes_on_under_the_same_names_is_one_flow() {
    let mut entry = FlowStats::default();
    let key = datagram(&mut entry, 1, false);
    let mut flow = Tracked::new(&key, &entry, &Origin::default());
    named(&mut flow, leads_to(2, &key, 1), &key, &entry);
    assert_eq!(named(&mut flow, Names::Over, &key, &entry), []);
    datagram(&mut entry, 40, false);
    assert_eq!(named(&mut flow, leads_to(2, &key, 9), &key, &entry), [(true, Some(2), 1, false)]);
    datagram(&mut entry, 41, false);
    assert_eq!(named(&mut flow, Names::Unsaid, &key, &entry), [(true, Some(2), 1, false)]);
}

#[test]
fn a_connection_that_is_older_than_its_flow_was_begun_by_whom_the_kernel_says() {
    let beginner = |key: &FlowKey, entry: &FlowStats, end: Option<usize>| {
        let mut flow = Tracked::new(key, entry, &Origin::default());
        if let Some(end) = end {
            flow.began_by(end);
        }
        let mut found = Vec::new();
        flow.take(key, entry, &Origin::default(), None, &mut |update| found.push(update.outcome().0));
        found
    };
    let mut entry = FlowStats::default();
    let key = datagram(&mut entry, 1, true);
    let answering = entry.originator as usize;
    assert_eq!(beginner(&key, &entry, None), [answering], "the sender of the first packet");
    assert_eq!(beginner(&key, &entry, Some(1 - answering)), [1 - answering]);
    // Who sends a SYN begins a connection of his own.
    let mut entry = FlowStats::default();
    let key = segment(&mut entry, 1, false, SYN, 7);
    let opening = entry.originator as usize;
    assert_eq!(beginner(&key, &entry, Some(1 - opening)), [opening]);
}
