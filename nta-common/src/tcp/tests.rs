//! Endpoint states, letters and cuts, segment by segment.

extern crate std;

use std::vec;
use std::vec::Vec;

use super::*;
use crate::packet::proto;
use crate::{CaptureClock, First, FlowStats};

const S: u64 = 1_000_000_000;

/// A flow after these segments: seconds, direction, flags, sequence number, payload.
fn flow(segments: &[(u64, u32, u8, u32, u32)]) -> FlowStats {
    let mut flow = FlowStats::default();
    for (i, &(second, direction, tcp_flags, seq, payload_len)) in segments.iter().enumerate() {
        let now_ns = (second + 1) * S;
        let (ip_len, wire_len) = (40 + payload_len, 54 + payload_len);
        let packet =
            Packet { proto: proto::TCP, tcp_flags, seq, payload_len, ip_len, wire_len, window: 9, ..Packet::default() };
        if i == 0 {
            flow.begin(&First { packet: &packet, direction, now_ns });
        }
        flow.add(&packet, 1, direction, now_ns, &CaptureClock(now_ns));
    }
    flow
}

fn recorded(flow: &FlowStats) -> (Endpoint, Endpoint, Vec<(u32, u32)>) {
    (flow.dir[0].tcp.marks.state(), flow.dir[1].tcp.marks.state(), flow.tcp.letters().collect())
}

#[test]
fn a_whole_connection_closes_at_both_ends() {
    let flow = flow(&[
        (0, 0, SYN, 100, 0),
        (0, 1, SYN | ACK, 500, 0),
        (0, 0, ACK, 101, 0),
        (0, 0, ACK, 101, 10),
        (0, 1, ACK, 501, 0),
        (0, 0, FIN | ACK, 111, 0),
        (0, 1, FIN | ACK, 501, 0),
        (0, 0, ACK, 112, 0),
    ]);
    use letter::{ACK as A, DATA as D, FIN as F, HANDSHAKE as H, SYN as S};
    let letters = vec![(S, 0), (H, 1), (A, 0), (D, 0), (A, 1), (F, 0), (F, 1)];
    assert_eq!(recorded(&flow), (Endpoint::Closed, Endpoint::Closed, letters));
    assert_eq!(flow.cuts, 0);
}

#[test]
fn a_refused_attempt_from_the_same_port_is_a_connection_of_its_own() {
    let flow = flow(&[(0, 0, SYN, 7, 0), (0, 1, RST | ACK, 0, 0), (1, 0, SYN, 7, 0)]);
    assert_eq!(recorded(&flow), (Endpoint::SynSent, Endpoint::Inactive, vec![(letter::SYN, 0)]));
    let before = flow.before_cut(&Default::default());
    let letters = vec![(letter::SYN, 0), (letter::RESET, 1)];
    assert_eq!(recorded(&before), (Endpoint::SynSent, Endpoint::Reset, letters));
    assert_eq!((before.first_ns, before.last_ns, flow.first_ns), (S, S, 2 * S));
    let rest = flow.dir[0].volume.since(&before.dir[0].volume);
    assert_eq!((rest.packets, rest.bytes), (1, 54));

    // Copied in the middle of the cut: everything belongs to the connection before.
    let mut torn = flow;
    torn.dir[0].volume_before = Default::default();
    assert_eq!(torn.before_cut(&before.dir.map(|side| side.volume)).dir[0].volume, flow.dir[0].volume);
}

#[test]
fn an_attempt_is_over_after_five_seconds_but_a_retry_before_is_not_new() {
    assert_eq!(flow(&[(0, 0, SYN, 7, 0), (3, 0, SYN, 7, 0)]).cuts, 0);
    assert_eq!(flow(&[(0, 0, SYN, 7, 0), (9, 0, ACK, 8, 0)]).cuts, 1);
    assert_eq!(flow(&[(0, 0, SYN, 7, 0), (1, 0, SYN, 999, 0)]).cuts, 1);
}

#[test]
fn a_connection_that_begins_with_a_fin_is_over_five_seconds_after_it() {
    let fin = [(0, 0, FIN | ACK, 7, 0), (0, 1, ACK, 9, 0)];
    assert_eq!(flow(&[fin[0], fin[1], (5, 1, FIN | ACK, 9, 0)]).cuts, 0);
    let later = flow(&[fin[0], fin[1], (4, 1, ACK, 9, 0), (6, 1, FIN | ACK, 9, 0)]);
    assert_eq!(recorded(&later), (Endpoint::Inactive, Endpoint::Closed, vec![(letter::FIN, 1)]));
    assert_eq!((later.cuts, later.originator), (1, 1));
}

#[test]
fn the_middle_of_a_connection_is_partial() {
    let flow = flow(&[(0, 0, ACK, 7, 5), (0, 1, ACK, 9, 0), (1, 0, ACK, 7, 5)]);
    let letters = vec![(letter::DATA, 0), (letter::ACK, 1), (letter::RETRANSMISSION, 0)];
    assert_eq!(recorded(&flow), (Endpoint::Partial, Endpoint::Partial, letters));
}

#[test]
fn the_answer_to_a_keep_alive_is_no_duplicate_ack() {
    let probe = [(0, 0, ACK, 100, 10), (0, 1, ACK, 500, 0), (9, 0, ACK, 109, 1), (9, 1, ACK, 500, 0)];
    let probed = flow(&probe);
    assert_eq!(probed.dir[1].tcp.dup_acks, 0);
    let on = [&probe[..], &[(10, 0, ACK, 110, 5), (10, 1, ACK, 500, 0)]].concat();
    assert_eq!(flow(&on).dir[1].tcp.dup_acks, 1);
}

#[test]
fn late_within_a_round_trip_is_out_of_order_and_after_it_sent_again() {
    // Acknowledgment numbers are 0 here, so both initial numbers are the one before it.
    let handshake = [(0, 0, SYN, u32::MAX, 0), (100, 1, SYN | ACK, u32::MAX, 0), (100, 0, ACK, 0, 0)];
    let late = |second| {
        let side = flow(&[&handshake[..], &[(100, 0, ACK, 0, 10), (second, 0, ACK, 3, 5)]].concat()).dir[0].tcp;
        (side.out_of_order, side.retransmissions)
    };
    assert_eq!((late(199), late(201)), ((1, 0), (0, 1)));
}

#[test]
fn a_syn_behind_its_answer_is_not_counted_as_bytes_sent_again() {
    let side = flow(&[(0, 0, SYN, 7, 0), (0, 1, ACK, 9, 0), (0, 0, ACK, 8, 5), (0, 0, SYN, 7, 0)]).dir[0].tcp;
    assert_eq!((side.out_of_order, side.retransmissions), (1, 0));
}

#[test]
fn a_syn_that_comes_last_opens_no_connection() {
    let whole = [
        (0, 1, SYN | ACK, 500, 0),
        (0, 0, ACK, 101, 0),
        (0, 0, ACK, 101, 10),
        (0, 1, ACK, 501, 7),
        (0, 0, FIN | ACK, 111, 0),
        (0, 1, FIN | ACK, 508, 0),
        (0, 0, ACK, 112, 0),
    ];
    let cuts = |second, seq| flow(&[&whole[..], &[(second, 0, SYN, seq, 0)]].concat()).cuts;
    assert_eq!((cuts(0, 100), cuts(4, 100)), (0, 0), "its own number, soon");
    assert_eq!((cuts(0, 112), cuts(0, 900_000), cuts(6, 100)), (1, 1, 1), "another number, or later");
    let late = flow(&[&whole[..], &[(0, 0, SYN, 100, 0)]].concat());
    let side = late.dir[0].tcp;
    assert_eq!((side.syn, side.syn_retry, side.retransmissions, side.out_of_order), (1, 0, 0, 1));
    assert_eq!(late.originator, 0);
    // 10 bytes and the FIN between the SYN and what comes next.
    assert_eq!((side.first_seq, side.next_seq), (100, 112));
    // A SYN delivered twice, far behind the connection's end.
    let twice = flow(&[&[(0, 0, SYN, 100, 0)], &whole[..], &[(0, 0, SYN, 100, 0)]].concat());
    assert_eq!(twice.cuts, 0);
}

#[test]
fn a_segment_that_a_mirror_delivers_twice_counts_as_nothing_else() {
    let pass = |copies: [(u64, u32); 2]| {
        let mut flow = FlowStats::default();
        let segments =
            [(0, SYN, 100, 0), (1, SYN | ACK, 500, 0), (0, ACK, 101, 0), (0, ACK, 101, 10), (1, ACK, 501, 0)];
        for (i, &(direction, tcp_flags, seq, payload_len)) in segments.iter().enumerate() {
            for (after_ns, id) in copies {
                let now_ns = S * (i as u64 + 1) + after_ns;
                let datagram_id = if id == 0 { 0 } else { id + 10 * i as u32 };
                let ack = [0, 101, 501, 501, 111][i];
                let sent =
                    Packet { proto: proto::TCP, tcp_flags, seq, ack, payload_len, window: 9, ..Packet::default() };
                let packet = Packet { datagram_id, ..sent };
                flow.add(&packet, 1, direction, now_ns, &CaptureClock(now_ns));
            }
        }
        flow.dir.map(|side| (side.tcp.duplicates, side.tcp.syn_retry + side.tcp.retransmissions + side.tcp.dup_acks))
    };
    assert_eq!(pass([(0, 7), (50_000, 7)]), [(3, 0), (2, 0)]);
    // Without numbers, 0 or 1, an ACK may be a duplicate ACK.
    assert_eq!(pass([(0, 0), (50_000, 0)]), [(2, 1), (1, 1)]);
    // Sent again by the stack: another datagram. Much later: not the mirror.
    for copies in [[(0, 7), (50_000, 8)], [(0, 7), (300_000_000, 7)], [(0, 0), (12_000_000, 0)]] {
        let [(a, again), (b, _)] = pass(copies);
        assert_eq!((a, b), (0, 0), "{copies:?}");
        assert!(again > 0, "{copies:?}");
    }
}

#[test]
fn round_trips_are_taken_every_100_ms_and_never_from_a_value_that_was_sent_again() {
    let mut flow = FlowStats::default();
    let mut pass = |at_us: u64, direction, payload_len, ts_val, ts_ecr| {
        let sent = Packet { proto: proto::TCP, tcp_flags: ACK, payload_len, window: 9, ..Packet::default() };
        let packet = Packet { has_timestamps: 1, ts_val, ts_ecr, ..sent };
        let now_ns = S + at_us * 1_000;
        flow.add(&packet, 1, direction, now_ns, &CaptureClock(now_ns));
    };
    // A segment every 2 ms, acknowledged 1 ms later; the sender's timestamp clock ticks every 4 ms.
    for i in 0..500 {
        let (at_us, value) = (i * 2_000, 1 + i as u32 / 2);
        pass(at_us, 0, 100, value, 0);
        pass(at_us + 1_000, 1, 0, 7, value);
    }
    let samples = flow.rtt_histogram.map(by_direction);
    assert_eq!([0, 1].map(|side| samples.iter().map(|of: &[u16; 2]| of[side]).sum::<u16>()), [10, 0]);
    let sum_us = flow.dir[0].tcp.rtt_sum_us;
    assert!((9_900..10_100).contains(&sum_us), "{sum_us}");
}
