//! Where one connection ends and the next of the same ports begins: what Zeek's `IsReuse` and its timers decide.
//!
//! Both stay in one flow entry, whose counters go on, so that nothing is lost or counted twice however many CPUs count;
//! what the entry held at the cut is kept until the daemon reads it. Of several cuts between two readings the last one
//! counts: the connections before it count as one.

use super::{ACK, Endpoint, Letters, Marks, SYN, TcpDirection, TcpFlow};
use crate::packet::Packet;

/// Zeek's `tcp_close_delay` and `tcp_attempt_delay`.
const DELAY_NS: u64 = 5_000_000_000;

/// What is kept of one direction's TCP at a cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SideCut {
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
pub(crate) fn begins_new(from: &TcpDirection, to: &TcpDirection, p: &Packet, by_originator: bool, ages: Ages) -> bool {
    use Endpoint::{Closed, Inactive, Reset, SynAckSent, SynSent};
    let (own, peer) = (from.marks.state(), to.marks.state());
    let closed = matches!(own, Closed | Reset) || matches!(peer, Closed | Reset);
    if p.tcp_flags & (SYN | ACK) == SYN {
        let originator = if by_originator { from } else { to };
        let other_number = !matches!(originator.marks.state(), Inactive) && p.seq != originator.first_seq;
        return (closed || other_number) && !(belongs(from, to, p) && ages.last_ns < DELAY_NS);
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

/// Whether a SYN without ACK is the one that the present connection began with, by its number: it was overtaken in another
/// queue, or delivered again. After a reset the same number is another attempt.
#[inline(always)]
fn belongs(from: &TcpDirection, to: &TcpDirection, p: &Packet) -> bool {
    let reset = matches!(from.marks.state(), Endpoint::Reset) || matches!(to.marks.state(), Endpoint::Reset);
    is_late_syn(from, p) || (from.flags & SYN != 0 && p.seq == from.first_seq && !reset)
}

/// Whether a segment is the SYN of a direction of which later segments were seen already: the first of them comes right behind
/// it, as in Zeek, which sets the start of such a stream one before its first segment (`init_endpoint` in `TCP.cc`). That is so
/// where the SYN carries data (RFC 7413) as well: a handshake's ACK, or data that is sent again because the SYN's was refused; else
/// the first one follows the SYN's data.
#[inline(always)]
pub(super) const fn is_late_syn(from: &TcpDirection, p: &Packet) -> bool {
    let ahead = from.first_seq.wrapping_sub(p.seq);
    let follows = ahead == 1 || ahead == p.payload_len.wrapping_add(1);
    p.tcp_flags & !from.flags & SYN != 0 && from.flags != 0 && follows
}

impl TcpFlow {
    /// Makes the state of both directions that of a new connection; returns the letters of the one before.
    #[inline(always)]
    pub(crate) fn cut(&mut self) -> Letters {
        let history = self.history;
        self.history = Letters::default();
        self.syn_ns = 0;
        self.syn_ack_ns = 0;
        self.handshake_responder_us = 0;
        self.handshake_originator_us = 0;
        history
    }

    /// Puts back into a reading what was kept.
    pub(crate) const fn restore(&mut self, history: Letters) {
        self.history = history;
    }
}

impl SideCut {
    /// Keeps what the daemon needs, and makes the state that of a new connection. Counters go on.
    #[inline(always)]
    pub(crate) fn take(&mut self, side: &mut TcpDirection) {
        self.first_seq = side.first_seq;
        self.next_seq = side.next_seq;
        self.marks = side.marks;
        self.wraps = side.wraps.into();
        side.marks = Marks::default();
        side.wraps = 0;
        side.resent = 0;
        side.flags = 0;
        side.dup_ack_run = 0;
    }

    /// Puts back into a reading what was kept.
    pub(crate) const fn restore(&self, side: &mut TcpDirection) {
        if side.flags & ACK != 0 {
            // The new connection's, which acknowledges nothing of this one.
            side.last_ack = 0;
        }
        side.first_seq = self.first_seq;
        side.next_seq = self.next_seq;
        side.marks = self.marks;
        side.wraps = self.wraps as u16;
    }
}
