//! TCP as seen by a bystander: sequence analysis and round-trip times from the packets of both directions.
//!
//! * Retransmissions, out-of-order segments, duplicate ACKs, zero windows: Wireshark's rules
//!   (`tcp_analyze_sequence_number` in packet-tcp.c, Wireshark 4), restated; sequence numbers compare as RFC 1982
//!   serial numbers, so wrap-around is harmless.
//! * Round trips: of the handshake (SYN to SYN-ACK, SYN-ACK to ACK), and of TCP timestamps (RFC 7323) with two pending
//!   values a direction, at most one new every 100 ms, as ePPing does.
//! * The life of the connection in Zeek's words: endpoint states and `history`.
//!
//! Counters are exact with any number of CPUs (atomic additions); the state between packets (highest sequence number
//! and so on) belongs to whichever CPU came last, which is the order that the analysis assumes anyway.

mod cut;
mod rtt;
mod sequence;
mod state;

use crate::codegen::{fall_through, unlikely};
use crate::flow::{Clock, bump};
use crate::packet::Packet;

pub use cut::SideCut;
pub(crate) use cut::{Ages, begins_new};
use rtt::PendingTimestamp;
pub use rtt::{RTT_BUCKETS, RttHistogram, by_direction};
pub use state::{Endpoint, Marks, letter};

/// FIN, SYN, RST, PSH, ACK, URG, ECE, CWR as in byte 13 of the header.
pub const FIN: u8 = 0x01;
/// Synchronize.
pub const SYN: u8 = 0x02;
/// Reset.
pub const RST: u8 = 0x04;
/// Acknowledgment field is valid.
pub const ACK: u8 = 0x10;

/// Unit of the 32-bit times kept per direction: 1,024 ns, so that a shift converts. Wraps after 73 minutes.
const TICK_SHIFT: u32 = 10;

/// TCP of one direction; what every segment writes comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TcpDirection {
    /// Sequence number behind the highest byte seen.
    pub next_seq: u32,
    /// When `next_seq` last moved.
    next_seq_at: u32,
    /// Last acknowledgment number sent.
    last_ack: u32,
    /// When it was sent.
    last_ack_at: u32,
    /// What Zeek would have recorded: letters and state.
    pub marks: Marks,
    /// Last window, unscaled.
    window: u16,
    /// Identification of the last segment's datagram.
    datagram_id: u16,
    /// How often `next_seq` passed 0.
    pub wraps: u16,
    /// Duplicate ACKs in a row.
    dup_ack_run: u8,
    /// All flags ever set.
    pub flags: u8,
    /// Sequence number of the first segment.
    pub first_seq: u32,
    /// SYN without ACK, SYN retries included.
    pub syn: u32,
    /// SYN-ACK, retries included.
    pub syn_ack: u32,
    /// SYN or SYN-ACK sent again.
    pub syn_retry: u32,
    /// FIN.
    pub fin: u32,
    /// RST.
    pub rst: u32,
    /// Segments sent again (generic, fast and spurious ones together).
    pub retransmissions: u32,
    /// Segments that arrived late but were not sent again.
    pub out_of_order: u32,
    /// Duplicate ACKs sent.
    pub dup_acks: u32,
    /// Segments that announced a window of 0.
    pub zero_windows: u32,
    /// Round trips from this bystander to the far end of this direction and back: the sum of all samples in microseconds,
    /// wraps. How many there are says [`FlowStats::rtt_histogram`](crate::FlowStats::rtt_histogram).
    pub rtt_sum_us: u32,
    /// Segments with payload that brought no byte beyond the highest seen.
    pub resent: u32,
    /// Segments that passed twice: the same datagram within a moment, as mirror ports deliver it. They count as nothing else.
    pub duplicates: u32,
}

/// The two copies of a datagram that a mirror port delivers follow one another within this; the coarse clock may lag by as
/// much.
const MOMENT: u32 = 20_000_000 >> TICK_SHIFT;
/// Of datagrams without a number: sooner than a stack sends the end of its stream again (Linux: a probe after 10 ms at least).
const UNNUMBERED_MOMENT: u32 = 5_000_000 >> TICK_SHIFT;

impl TcpDirection {
    /// Whether the segment is the last one of this direction once more: the same datagram within a moment, that brings nothing
    /// new. Many stacks number datagrams of one packet with 0 (RFC 6864), packet generators all with 1, and IPv6 has no number:
    /// of these an acknowledgment alone may be a duplicate ACK as well.
    #[inline(always)]
    pub(crate) fn has_passed(&self, p: &Packet, now_ns: u64) -> bool {
        if !unlikely(p.datagram_id == u32::from(self.datagram_id)) {
            return false;
        }
        let span = p.payload_len + u32::from(p.tcp_flags & SYN != 0) + u32::from(p.tcp_flags & FIN != 0);
        let (end, now) = (p.seq.wrapping_add(span), (now_ns >> TICK_SHIFT) as u32);
        let (moved, sent) = (now.wrapping_sub(self.next_seq_at), now.wrapping_sub(self.last_ack_at));
        let passed = if p.datagram_id <= 1 {
            // A SYN-ACK behind a SYN of its number is none: the handshake is split.
            let has_all = p.tcp_flags & !self.flags == 0;
            span != 0 && end == self.next_seq && has_all && moved < UNNUMBERED_MOMENT
        } else {
            let says_the_same = p.tcp_flags & ACK == 0 || p.ack == self.last_ack;
            says_the_same && !after(end, self.next_seq) && (moved < MOMENT || sent < MOMENT)
        };
        fall_through();
        passed
    }

    /// Whether a segment is news of this direction.
    #[inline(always)]
    pub(crate) fn is_news(&self, p: &Packet) -> bool {
        self.marks.is_news(p, p.tcp_flags & (SYN | FIN | RST))
    }

    /// Last acknowledgment number sent, 0 before the first.
    pub const fn last_ack(&self) -> u32 {
        self.last_ack
    }
}

/// TCP of both directions together; what every segment reads comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TcpFlow {
    /// Timestamp values of each direction that wait for their echo.
    pending: [[PendingTimestamp; 2]; 2],
    /// SYN to SYN-ACK in microseconds: the round trip to the responder.
    pub handshake_responder_us: u32,
    /// SYN-ACK to ACK in microseconds: the round trip to the originator.
    pub handshake_originator_us: u32,
    /// Exact time of the last SYN; 0 without one.
    syn_ns: u64,
    /// Exact time of the last SYN-ACK.
    syn_ack_ns: u64,
    /// Letters of Zeek's `history`, see [`TcpFlow::letters`].
    history: Letters,
}

/// Letters of Zeek's `history` in the order of their events.
pub(crate) type Letters = [u64; 2];

/// By whom and when a segment was sent.
#[derive(Clone, Copy)]
pub(crate) struct Sent {
    /// Coarse time.
    pub(crate) now_ns: u64,
    /// Direction of the segment.
    pub(crate) direction: u32,
    /// Whether the flow's originator sent it.
    pub(crate) by_originator: bool,
    /// Whether it is news of its direction; every SYN, FIN and RST is.
    pub(crate) news: bool,
}

/// Accounts one TCP segment sent by `from`.
#[inline(always)]
pub(crate) fn track<C: Clock>(
    from: &mut TcpDirection,
    to: &mut TcpDirection,
    flow: &mut TcpFlow,
    rtt_histogram: &mut RttHistogram,
    p: &Packet,
    sent: Sent,
    clock: &C,
) {
    let now_ns = sent.now_ns;
    let now = (now_ns >> TICK_SHIFT) as u32;
    let control = if sent.news { p.tcp_flags & (SYN | FIN | RST) } else { 0 };
    let first = from.flags == 0;
    let is_late_syn = control & SYN != 0 && cut::is_late_syn(from, p);
    from.flags |= p.tcp_flags;
    if unlikely(control != 0) {
        handshake_and_close(from, to, flow, rtt_histogram, p, sent.direction, clock);
        if control & SYN != 0 && !first && p.seq != from.first_seq {
            from.first_seq = p.seq;
            if !is_late_syn {
                // The ports are used again, or the connection begins only now.
                from.next_seq = p.seq;
                from.wraps = 0;
            }
        }
    }
    if sent.news {
        state::news(from, to, flow, p, sent.direction, sent.by_originator);
    }
    let span = p.payload_len + u32::from(control & SYN != 0) + u32::from(control & FIN != 0);
    let end = p.seq.wrapping_add(span);
    if unlikely(first) {
        from.first_seq = p.seq;
        from.next_seq = end;
        from.next_seq_at = now;
    } else if unlikely(is_late_syn) {
        bump(&mut from.out_of_order);
    } else {
        sequence::sequence(from, to, flow, p, control, span, now);
        if after(end, from.next_seq) {
            // What a RST claims is not part of the stream.
            if control & RST == 0 {
                from.wraps += u16::from(end < from.next_seq);
                from.next_seq = end;
                from.next_seq_at = now;
            }
        } else if unlikely(p.payload_len != 0) {
            bump(&mut from.resent);
            if state::gets_letter(from.resent) {
                flow.record_letter(letter::RETRANSMISSION, sent.direction);
            }
        }
    }
    if unlikely(p.window == 0 && control == 0) {
        bump(&mut from.zero_windows);
        let listens = !matches!(to.marks.state(), Endpoint::Closed) && !matches!(from.marks.state(), Endpoint::Reset);
        if listens && state::gets_letter(from.zero_windows) {
            flow.record_letter(letter::ZERO_WINDOW, sent.direction);
        }
    }
    from.window = p.window as u16;
    from.datagram_id = p.datagram_id as u16;
    if p.tcp_flags & ACK != 0 {
        if unlikely(flow.handshake_originator_us == 0) {
            if flow.syn_ack_ns != 0 && control == 0 {
                rtt::handshake_done(from, to, flow, rtt_histogram, p, sent.direction, clock);
            }
            fall_through();
        }
        from.last_ack = p.ack;
        from.last_ack_at = now;
    }
    if p.has_timestamps != 0 {
        let pending = &mut flow.pending;
        rtt::timestamps(&mut to.rtt_sum_us, pending, rtt_histogram, p, sent.direction, now, clock);
    }
}

/// The first segment of a flow, as far as its state takes note of it: without timestamps if it has payload.
#[derive(Clone, Copy)]
pub(crate) struct FirstSegment {
    /// Coarse time.
    pub(crate) now_ns: u64,
    /// Exact time, of a SYN.
    pub(crate) exact_ns: u64,
    pub(crate) flags: u8,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) window: u16,
    pub(crate) datagram_id: u16,
    pub(crate) payload_len: u32,
    pub(crate) direction: u32,
    /// Whether the flow's originator sent it.
    pub(crate) by_originator: bool,
}

/// What [`track`] makes of the first segment of a flow, whose state is empty: shorter, because nothing that was before has to be
/// compared.
#[inline(always)]
pub(crate) fn begin(from: &mut TcpDirection, to: &mut TcpDirection, flow: &mut TcpFlow, first: &FirstSegment) {
    let (flags, has_payload) = (first.flags, first.payload_len != 0);
    let control = flags & (SYN | FIN | RST);
    let now = (first.now_ns >> TICK_SHIFT) as u32;
    from.flags = flags;
    if flags & (SYN | ACK) == SYN {
        flow.syn_ns = first.exact_ns;
    }
    from.syn = u32::from(flags & (SYN | ACK) == SYN);
    from.syn_ack = u32::from(flags & (SYN | ACK) == SYN | ACK);
    from.fin = u32::from(flags & FIN != 0);
    from.rst = u32::from(flags & RST != 0);
    state::record(from, flow, flags, has_payload, first.direction);
    state::inactive(&mut from.marks, &mut to.marks, flags, has_payload, first.by_originator);
    from.first_seq = first.seq;
    let span = first.payload_len + u32::from(control & SYN != 0) + u32::from(control & FIN != 0);
    from.next_seq = first.seq.wrapping_add(span);
    from.next_seq_at = now;
    if first.window == 0 && control == 0 {
        from.zero_windows = 1;
        flow.record_letter(letter::ZERO_WINDOW, first.direction);
    }
    from.window = first.window;
    from.datagram_id = first.datagram_id;
    if flags & ACK != 0 {
        from.last_ack = first.ack;
        from.last_ack_at = now;
    }
}

/// Counts SYN, FIN and RST, and takes the times of the handshake.
#[inline(always)]
fn handshake_and_close<C: Clock>(
    from: &mut TcpDirection,
    to: &mut TcpDirection,
    flow: &mut TcpFlow,
    rtt_histogram: &mut RttHistogram,
    p: &Packet,
    direction: u32,
    clock: &C,
) {
    if p.tcp_flags & SYN != 0 {
        let counter = if p.tcp_flags & ACK == 0 {
            flow.syn_ns = clock.exact_ns();
            &mut from.syn
        } else {
            if flow.syn_ns != 0 && flow.syn_ack_ns == 0 && p.ack == to.next_seq {
                flow.syn_ack_ns = clock.exact_ns();
                flow.handshake_responder_us = rtt::micros(flow.syn_ack_ns.saturating_sub(flow.syn_ns));
                let rtt_us = flow.handshake_responder_us;
                rtt::sample(&mut to.rtt_sum_us, rtt_histogram, direction ^ 1, rtt_us);
            }
            &mut from.syn_ack
        };
        let again = *counter != 0 && p.seq == from.first_seq;
        bump(counter);
        if again {
            bump(&mut from.syn_retry);
        }
    }
    if p.tcp_flags & FIN != 0 {
        bump(&mut from.fin);
    }
    if p.tcp_flags & RST != 0 {
        bump(&mut from.rst);
    }
}

/// Whether serial number `a` comes after `b` (RFC 1982).
#[inline(always)]
const fn after(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) > 0
}

const _: () = assert!(size_of::<TcpDirection>() == 80 && size_of::<TcpFlow>() == 72);

#[cfg(test)]
mod tests;
