//! Where one connection ends and the next of the same ports begins: what Zeek's `IsReuse` and its timers decide.
//!
//! Both stay in one flow entry, whose counters go on, so that nothing is lost or counted twice however many CPUs count;
//! what the entry held at the cut is kept until the daemon reads it. Of several cuts between two readings the last one
//! counts: the connections before it are told as one.

use super::{ACK, Endpoint, Marks, SYN, TcpDirection, TcpFlow};
use crate::packet::Packet;

/// Zeek's `tcp_close_delay` and `tcp_attempt_delay`.
const DELAY_NS: u64 = 5_000_000_000;

/// What is kept of TCP at a cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TcpCut {
    history: [u64; 2],
    sides: [SideCut; 2],
}

/// One direction of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
struct SideCut {
    first_seq: u32,
    next_seq: u32,
    marks: Marks,
    wraps: u32,
}

/// How long ago, by the coarse clock.
#[derive(Clone, Copy)]
pub(crate) struct Ages {
    /// Since the first packet.
    pub(crate) first_ns: u64,
    /// Since the last packet.
    pub(crate) last_ns: u64,
}

/// Whether a segment that is news begins a new connection.
#[inline(always)]
pub(crate) fn begins_anew(from: &TcpDirection, to: &TcpDirection, p: &Packet, by_originator: bool, ages: Ages) -> bool {
    use Endpoint::{Closed, Inactive, Reset, SynAckSent, SynSent};
    let (own, peer) = (from.marks.state(), to.marks.state());
    let closed = matches!(own, Closed | Reset) || matches!(peer, Closed | Reset);
    if p.tcp_flags & (SYN | ACK) == SYN {
        let originator = if by_originator { from } else { to };
        let other_number = !matches!(originator.marks.state(), Inactive) && p.seq != originator.first_seq;
        return closed || other_number;
    }
    if closed {
        // A FIN before anything else: Zeek waits for nothing more (`ConnectionClosed`, peer inactive).
        let first = if by_originator { from.marks } else { to.marks };
        if matches!(first.state(), Closed) && matches!(first.before(), Inactive) {
            return ages.first_ns > DELAY_NS;
        }
        let one_lives = !matches!(own, Closed | Reset | Inactive) || !matches!(peer, Closed | Reset | Inactive);
        let over = matches!(own, Reset) || matches!(peer, Reset) || !one_lives;
        return over && ages.last_ns > DELAY_NS;
    }
    matches!(own, SynSent | SynAckSent) && matches!(peer, Inactive) && ages.first_ns > DELAY_NS
}

impl TcpCut {
    /// Keeps what the daemon needs, and makes the state that of a new connection. Counters go on.
    #[inline(always)]
    pub(crate) fn take(&mut self, a: &mut TcpDirection, b: &mut TcpDirection, flow: &mut TcpFlow) {
        self.history = flow.history;
        flow.history = [0; 2];
        flow.syn_ns = 0;
        flow.syn_ack_ns = 0;
        flow.handshake_responder_us = 0;
        flow.handshake_originator_us = 0;
        let [cut_a, cut_b] = &mut self.sides;
        cut_a.take(a);
        cut_b.take(b);
    }

    /// Puts what was kept back into a reading.
    pub(crate) fn restore(&self, a: &mut TcpDirection, b: &mut TcpDirection, flow: &mut TcpFlow) {
        flow.history = self.history;
        for (side, cut) in [(a, &self.sides[0]), (b, &self.sides[1])] {
            side.first_seq = cut.first_seq;
            side.next_seq = cut.next_seq;
            side.marks = cut.marks;
            side.wraps = cut.wraps;
        }
    }
}

impl SideCut {
    #[inline(always)]
    fn take(&mut self, side: &mut TcpDirection) {
        self.first_seq = side.first_seq;
        self.next_seq = side.next_seq;
        self.marks = side.marks;
        self.wraps = side.wraps;
        side.marks = Marks::default();
        side.wraps = 0;
        side.resent = 0;
        side.flags = 0;
        side.dup_ack_run = 0;
    }
}
