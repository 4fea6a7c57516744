//! TCP as seen by a bystander: sequence analysis and round-trip times from the packets of both directions.
//!
//! * Retransmissions, out-of-order segments, duplicate ACKs, zero windows: Wireshark's rules
//!   (`tcp_analyze_sequence_number` in packet-tcp.c, Wireshark 4), restated; sequence numbers compare as RFC 1982
//!   serial numbers, so wrap-around is harmless.
//! * Round trips: of the handshake (SYN to SYN-ACK, SYN-ACK to ACK), and of TCP timestamps (RFC 7323) with two pending
//!   values a direction, at most one new every [`SAMPLE_EVERY`], as ePPing does.
//!
//! Counters are exact with any number of CPUs (atomic additions); the state between packets (highest sequence number
//! and so on) belongs to whichever CPU came last, which is the order that the analysis assumes anyway.

use crate::flow::{Clock, bump};
use crate::packet::Packet;

/// FIN, SYN, RST, PSH, ACK, URG, ECE, CWR as in byte 13 of the header.
pub const FIN: u8 = 0x01;
/// Synchronize.
pub const SYN: u8 = 0x02;
/// Reset.
pub const RST: u8 = 0x04;
/// Acknowledgment field is valid.
pub const ACK: u8 = 0x10;

/// Buckets of the round-trip histogram: bucket `i` counts samples under `128 µs << i`, the last one all above.
pub const RTT_BUCKETS: usize = 16;

/// Upper edge of the first histogram bucket in microseconds.
const FIRST_EDGE_US: u32 = 128;
/// By how much the coarse clock may lag behind the exact one: two jiffies of the slowest kernel (`CONFIG_HZ=100`).
const COARSE_LAG: u32 = 20_000_000 >> TICK_SHIFT;
/// Unit of the 32-bit times kept per direction: 1,024 ns, so that a shift converts. Wraps after 73 minutes.
const TICK_SHIFT: u32 = 10;
/// A new timestamp value is kept for matching at most every 100 ms (ePPing and LibreQoS use the same pace).
const SAMPLE_EVERY: u32 = 100_000_000 >> TICK_SHIFT;
/// A pending timestamp value that was not echoed within 10 s is given up.
const SAMPLE_TIMEOUT: u64 = 10_000_000_000 >> TICK_SHIFT;
/// Three duplicate ACKs make a fast retransmission (RFC 5681); Wireshark takes two and 20 ms.
const FAST_RETRANSMIT_WITHIN: u32 = 20_000_000 >> TICK_SHIFT;
/// Without a measured handshake, a segment that comes late by less than this was reordered, not sent again.
const REORDER_WITHIN: u32 = 3_000_000 >> TICK_SHIFT;

/// TCP of one direction.
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
    /// Timestamp values that wait for their echo.
    pending: [PendingTimestamp; 2],
    /// Last window, unscaled.
    window: u16,
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
    /// Of these, segments whose bytes had all been acknowledged already.
    pub spurious_retransmissions: u32,
    /// Segments that arrived late but were not sent again.
    pub out_of_order: u32,
    /// Duplicate ACKs sent.
    pub dup_acks: u32,
    /// Segments that announced a window of 0.
    pub zero_windows: u32,
    /// Gaps: segments that began behind the next expected byte.
    pub gaps: u32,
    /// Keep-alive probes.
    pub keep_alives: u32,
    /// Round trips from this bystander to the far end of this direction and back.
    pub rtt: Rtt,
}

/// A timestamp value that waits for its echo.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
struct PendingTimestamp {
    value: u32,
    /// When it passed; 0 means the slot is free.
    at: u32,
}

/// Round-trip times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Rtt {
    /// Sum of all samples in microseconds, wraps.
    pub sum_us: u32,
    /// Number of samples.
    pub count: u32,
    /// Shortest sample in microseconds; 0 without one.
    pub min_us: u32,
    /// Longest sample in microseconds.
    pub max_us: u32,
}

/// TCP of both directions together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TcpFlow {
    /// Exact time of the last SYN; 0 without one.
    syn_ns: u64,
    /// Exact time of the last SYN-ACK.
    syn_ack_ns: u64,
    /// SYN to SYN-ACK in microseconds: the round trip to the responder.
    pub handshake_responder_us: u32,
    /// SYN-ACK to ACK in microseconds: the round trip to the originator.
    pub handshake_originator_us: u32,
    /// All round-trip samples of both directions by size, see [`RTT_BUCKETS`].
    pub rtt_histogram: [u32; RTT_BUCKETS],
}

/// Accounts one TCP segment sent by `from`.
#[inline(always)]
pub(crate) fn track<C: Clock>(
    from: &mut TcpDirection,
    to: &mut TcpDirection,
    flow: &mut TcpFlow,
    p: &Packet,
    now_ns: u64,
    clock: &C,
) {
    let now = (now_ns >> TICK_SHIFT) as u32;
    let control = p.tcp_flags & (SYN | FIN | RST);
    let first = from.flags == 0;
    from.flags |= p.tcp_flags;
    if control != 0 {
        handshake_and_close(from, to, flow, p, clock);
    }
    let span = p.payload_len + u32::from(control & SYN != 0) + u32::from(control & FIN != 0);
    let end = p.seq.wrapping_add(span);
    if first {
        from.first_seq = p.seq;
        from.next_seq = end;
        from.next_seq_at = now;
    } else {
        sequence(from, to, flow, p, span, now);
        if after(end, from.next_seq) {
            from.next_seq = end;
            from.next_seq_at = now;
        }
    }
    if p.window == 0 && control == 0 {
        bump(&mut from.zero_windows);
    }
    from.window = p.window as u16;
    if p.tcp_flags & ACK != 0 {
        if flow.syn_ack_ns != 0 && control == 0 {
            handshake_done(from, to, flow, p, clock);
        }
        from.last_ack = p.ack;
        from.last_ack_at = now;
    }
    if p.has_timestamps != 0 {
        timestamps(from, to, flow, p, now, clock);
    }
}

/// Wireshark's order of questions about a segment whose direction is known already.
#[inline(always)]
fn sequence(from: &mut TcpDirection, to: &TcpDirection, flow: &TcpFlow, p: &Packet, span: u32, now: u32) {
    let control = p.tcp_flags & (SYN | FIN | RST);
    let repeats_last_byte = p.seq == from.next_seq.wrapping_sub(1);
    if span <= 1 && repeats_last_byte && control == 0 {
        bump(&mut from.keep_alives);
        return;
    }
    if span == 0 {
        let duplicate = control == 0
            && p.window != 0
            && p.window == u32::from(from.window)
            && p.seq == from.next_seq
            && p.ack == from.last_ack
            && p.tcp_flags & ACK != 0;
        if duplicate {
            bump(&mut from.dup_acks);
            from.dup_ack_run = from.dup_ack_run.saturating_add(1);
        } else {
            from.dup_ack_run = 0;
        }
        return;
    }
    from.dup_ack_run = 0;
    if !after(from.next_seq, p.seq) {
        if p.seq != from.next_seq && control & RST == 0 {
            bump(&mut from.gaps);
        }
        return;
    }
    if span > 1 && repeats_last_byte {
        return;
    }
    repeated(from, to, flow, p, span, now);
}

/// A segment that does not advance the sequence: sent again, or late.
#[inline(always)]
fn repeated(from: &mut TcpDirection, to: &TcpDirection, flow: &TcpFlow, p: &Packet, span: u32, now: u32) {
    let end = p.seq.wrapping_add(span);
    let acknowledged = to.flags & ACK != 0 && !after(end, to.last_ack);
    let asked_for =
        to.dup_ack_run >= 2 && to.last_ack == p.seq && now.wrapping_sub(to.last_ack_at) < FAST_RETRANSMIT_WITHIN;
    if acknowledged {
        bump(&mut from.spurious_retransmissions);
    } else if !asked_for {
        let rtt_us = flow.handshake_responder_us + flow.handshake_originator_us;
        let reordered_within = if rtt_us == 0 { REORDER_WITHIN } else { rtt_us };
        if now.wrapping_sub(from.next_seq_at) < reordered_within && end != from.next_seq {
            bump(&mut from.out_of_order);
            return;
        }
    }
    bump(&mut from.retransmissions);
}

/// Counts SYN, FIN and RST, and takes the times of the handshake.
#[inline(always)]
fn handshake_and_close<C: Clock>(
    from: &mut TcpDirection,
    to: &mut TcpDirection,
    flow: &mut TcpFlow,
    p: &Packet,
    clock: &C,
) {
    if p.tcp_flags & SYN != 0 {
        let counter = if p.tcp_flags & ACK == 0 {
            flow.syn_ns = clock.exact_ns();
            &mut from.syn
        } else {
            if flow.syn_ns != 0 && flow.syn_ack_ns == 0 && p.ack == to.next_seq {
                flow.syn_ack_ns = clock.exact_ns();
                flow.handshake_responder_us = micros(flow.syn_ack_ns.saturating_sub(flow.syn_ns));
                let rtt_us = flow.handshake_responder_us;
                to.rtt.sample(rtt_us, &mut flow.rtt_histogram);
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

/// The ACK that completes the handshake: round trip to the originator.
#[inline(always)]
fn handshake_done<C: Clock>(from: &TcpDirection, to: &mut TcpDirection, flow: &mut TcpFlow, p: &Packet, clock: &C) {
    if flow.handshake_originator_us != 0 || from.syn == 0 || p.ack != to.first_seq.wrapping_add(1) {
        return;
    }
    let rtt_us = micros(clock.exact_ns().saturating_sub(flow.syn_ack_ns));
    flow.handshake_originator_us = rtt_us;
    to.rtt.sample(rtt_us, &mut flow.rtt_histogram);
}

/// Matches the echo against the other direction's pending values, and keeps this segment's value if it is its turn.
///
/// Values of pure ACKs are not kept: the other side has no reason to answer them at once.
#[inline(always)]
fn timestamps<C: Clock>(
    from: &mut TcpDirection,
    to: &mut TcpDirection,
    flow: &mut TcpFlow,
    p: &Packet,
    now: u32,
    clock: &C,
) {
    let [older, newer] = to.pending;
    let matched = (newer.at != 0 && newer.value == p.ts_ecr) || (older.at != 0 && older.value == p.ts_ecr);
    if matched && p.tcp_flags & ACK != 0 {
        let sent = if newer.at != 0 && newer.value == p.ts_ecr { newer.at } else { older.at };
        let ticks = ((clock.exact_ns() >> TICK_SHIFT) as u32).wrapping_sub(sent);
        // What was sent before the matched value will not be echoed any more.
        to.pending[0] = PendingTimestamp::default();
        if sent == newer.at {
            to.pending[1] = PendingTimestamp::default();
        }
        if u64::from(ticks) < SAMPLE_TIMEOUT {
            to.rtt.sample(micros(u64::from(ticks) << TICK_SHIFT), &mut flow.rtt_histogram);
        }
    }
    if p.payload_len == 0 {
        return;
    }
    let last = from.pending[1];
    if last.at != 0 && (since(last.at, now) < SAMPLE_EVERY || last.value == p.ts_val) {
        return;
    }
    // 0 marks a free slot; a time that happens to be 0 is told one tick late.
    let at = ((clock.exact_ns() >> TICK_SHIFT) as u32).max(1);
    from.pending = [last, PendingTimestamp { value: p.ts_val, at }];
}

impl Rtt {
    /// Takes a sample in microseconds.
    #[inline(always)]
    fn sample(&mut self, us: u32, histogram: &mut [u32; RTT_BUCKETS]) {
        self.sum_us = self.sum_us.wrapping_add(us);
        if self.count == 0 || us < self.min_us {
            self.min_us = us;
        }
        if us > self.max_us {
            self.max_us = us;
        }
        bump(&mut self.count);
        bump(&mut histogram[bucket(us)]);
    }
}

/// The histogram bucket of a sample: how many edges it has reached. Counted, because BPF has no instruction for leading
/// zeros, and because the verifier can see that a sum of 15 answers stays below 16.
#[inline(always)]
const fn bucket(us: u32) -> usize {
    let mut bucket = 0;
    let mut edge = 0;
    while edge < RTT_BUCKETS - 1 {
        bucket += (us >= FIRST_EDGE_US << edge) as usize;
        edge += 1;
    }
    bucket
}

/// Nanoseconds to microseconds, at least 1 so that a measured time is told from none, at most `u32::MAX`.
#[inline(always)]
fn micros(ns: u64) -> u32 {
    let us = ns / 1000;
    if us == 0 {
        1
    } else if us > u64::from(u32::MAX) {
        u32::MAX
    } else {
        us as u32
    }
}

/// Ticks from an exact time to a coarse one, which may lag by a timer tick and so seem earlier.
#[inline(always)]
const fn since(exact: u32, coarse: u32) -> u32 {
    let ticks = coarse.wrapping_sub(exact);
    if ticks > u32::MAX - COARSE_LAG { 0 } else { ticks }
}

/// Whether serial number `a` comes after `b` (RFC 1982).
#[inline(always)]
const fn after(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) > 0
}

const _: () = assert!(size_of::<TcpDirection>() == 104 && size_of::<TcpFlow>() == 24 + 4 * RTT_BUCKETS);
