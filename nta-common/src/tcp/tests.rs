//! Endpoint states, letters and cuts, segment by segment.

extern crate std;

use std::vec;
use std::vec::Vec;

use super::*;
use crate::packet::proto;
use crate::{Clock, First, FlowStats};

struct At(u64);

impl Clock for At {
    fn coarse_ns(&self) -> u64 {
        self.0
    }

    fn exact_ns(&self) -> u64 {
        self.0
    }
}

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
        flow.add(&packet, 1, direction, now_ns, &At(now_ns));
    }
    flow
}

fn told(flow: &FlowStats) -> (Endpoint, Endpoint, Vec<(u32, u32)>) {
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
    assert_eq!(told(&flow), (Endpoint::Closed, Endpoint::Closed, letters));
    assert_eq!(flow.cut.count, 0);
}

#[test]
fn a_refused_attempt_from_the_same_port_is_a_connection_of_its_own() {
    let flow = flow(&[(0, 0, SYN, 7, 0), (0, 1, RST | ACK, 0, 0), (1, 0, SYN, 7, 0)]);
    assert_eq!(told(&flow), (Endpoint::SynSent, Endpoint::Inactive, vec![(letter::SYN, 0)]));
    let before = flow.before_cut(&FlowStats::default());
    let letters = vec![(letter::SYN, 0), (letter::RESET, 1)];
    assert_eq!(told(&before), (Endpoint::SynSent, Endpoint::Reset, letters));
    assert_eq!((before.first_ns, before.last_ns, flow.first_ns), (S, S, 2 * S));
    let rest = flow.dir[0].volume.since(&before.dir[0].volume);
    assert_eq!((rest.packets, rest.bytes), (1, 54));

    // Copied in the middle of the cut: everything is told of the connection before.
    let torn = FlowStats { cut: crate::flow::Cut::default(), ..flow };
    assert_eq!(torn.before_cut(&before).dir[0].volume, flow.dir[0].volume);
}

#[test]
fn an_attempt_is_over_after_five_seconds_but_a_retry_before_is_not_new() {
    assert_eq!(flow(&[(0, 0, SYN, 7, 0), (3, 0, SYN, 7, 0)]).cut.count, 0);
    assert_eq!(flow(&[(0, 0, SYN, 7, 0), (9, 0, ACK, 8, 0)]).cut.count, 1);
    assert_eq!(flow(&[(0, 0, SYN, 7, 0), (1, 0, SYN, 999, 0)]).cut.count, 1);
}

#[test]
fn a_connection_that_begins_with_a_fin_is_over_five_seconds_after_it() {
    let fin = [(0, 0, FIN | ACK, 7, 0), (0, 1, ACK, 9, 0)];
    assert_eq!(flow(&[fin[0], fin[1], (5, 1, FIN | ACK, 9, 0)]).cut.count, 0);
    let later = flow(&[fin[0], fin[1], (4, 1, ACK, 9, 0), (6, 1, FIN | ACK, 9, 0)]);
    assert_eq!(told(&later), (Endpoint::Inactive, Endpoint::Closed, vec![(letter::FIN, 1)]));
    assert_eq!((later.cut.count, later.originator), (1, 1));
}

#[test]
fn the_middle_of_a_connection_is_partial() {
    let flow = flow(&[(0, 0, ACK, 7, 5), (0, 1, ACK, 9, 0), (0, 0, ACK, 7, 5)]);
    let letters = vec![(letter::DATA, 0), (letter::ACK, 1), (letter::RETRANSMISSION, 0)];
    assert_eq!(told(&flow), (Endpoint::Partial, Endpoint::Partial, letters));
}
