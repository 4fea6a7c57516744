//! Sequence analysis: retransmissions, late segments, duplicate ACKs; what is none of them (keep-alives, gaps) is distinguished
//! apart, not counted.

use super::{ACK, TICK_SHIFT, TcpDirection, TcpFlow, after};
use crate::codegen::{fall_through, unlikely};
use crate::flow::bump;
use crate::packet::Packet;

/// Three duplicate ACKs make a fast retransmission (RFC 5681); Wireshark takes two and 20 ms.
const FAST_RETRANSMIT_WITHIN: u32 = 20_000_000 >> TICK_SHIFT;
/// Without a measured handshake, a segment that comes late by less than this was reordered, not sent again.
const REORDER_WITHIN: u32 = 3_000_000 >> TICK_SHIFT;
/// In `dup_ack_run`: the last segment was a keep-alive probe, whose answer looks like a duplicate ACK. The run is below.
const PROBED: u8 = 0x80;

/// Wireshark's order of questions about a segment whose direction is known already.
#[inline(always)]
pub(super) fn sequence(
    from: &mut TcpDirection,
    to: &TcpDirection,
    flow: &TcpFlow,
    p: &Packet,
    control: u8,
    span: u32,
    now: u32,
) {
    let repeats_last_byte = p.seq == from.next_seq.wrapping_sub(1);
    if unlikely(repeats_last_byte) {
        if span <= 1 && control == 0 {
            from.dup_ack_run = PROBED;
            return;
        }
        fall_through();
    }
    if span == 0 {
        let duplicate = unlikely(p.ack == from.last_ack)
            && control == 0
            && p.window != 0
            && p.window == u32::from(from.window)
            && p.seq == from.next_seq
            && p.tcp_flags & ACK != 0
            && to.dup_ack_run != PROBED;
        if duplicate {
            bump(&mut from.dup_acks);
            from.dup_ack_run = (from.dup_ack_run + 1) & !PROBED;
            fall_through();
            return;
        }
        from.dup_ack_run = 0;
        return;
    }
    from.dup_ack_run = 0;
    if unlikely(after(from.next_seq, p.seq)) {
        if span <= 1 || !repeats_last_byte {
            repeated(from, to, flow, p, span, now);
        }
        fall_through();
    }
}

/// A segment that does not advance the sequence: sent again, or late.
#[inline(always)]
fn repeated(from: &mut TcpDirection, to: &TcpDirection, flow: &TcpFlow, p: &Packet, span: u32, now: u32) {
    let end = p.seq.wrapping_add(span);
    let acknowledged = p.payload_len != 0 && to.flags & ACK != 0 && !after(end, to.last_ack);
    let asked_for = to.dup_ack_run & !PROBED >= 2
        && to.last_ack == p.seq
        && now.wrapping_sub(to.last_ack_at) < FAST_RETRANSMIT_WITHIN;
    if !acknowledged && !asked_for {
        let rtt_us = flow.handshake_responder_us.saturating_add(flow.handshake_originator_us);
        // In ticks: 1,000 / 1,024 is 1 - 1/64 - 1/128.
        let reordered_within = if rtt_us == 0 { REORDER_WITHIN } else { rtt_us - (rtt_us >> 6) - (rtt_us >> 7) };
        if now.wrapping_sub(from.next_seq_at) < reordered_within && end != from.next_seq {
            bump(&mut from.out_of_order);
            return;
        }
    }
    bump(&mut from.retransmissions);
}
