//! Round trips: of the handshake and of TCP timestamps.

use super::{ACK, TICK_SHIFT, TcpDirection, TcpFlow};
use crate::codegen::{self, fall_through, unlikely};
use crate::flow::{Clock, add32};
use crate::packet::Packet;

/// Buckets of the round-trip histogram: bucket `i` counts samples under `128 µs << i`, the last one all above.
pub const RTT_BUCKETS: usize = 16;
/// Samples of a flow by size, of both directions: those of direction 0 in the lower half of each word, those of direction 1
/// in the upper one, so that one atomic addition counts one. Both wrap, the lower half into the upper one: only the
/// difference of two readings says something, see [`by_direction`].
pub type RttHistogram = [u32; RTT_BUCKETS];

/// Upper edge of the first histogram bucket in microseconds.
const FIRST_EDGE_US: u32 = 128;
/// By how much the coarse clock may lag behind the exact one: two jiffies of the slowest kernel (`CONFIG_HZ=100`).
const COARSE_LAG: u32 = 20_000_000 >> TICK_SHIFT;
/// A new timestamp value is kept for matching at most every 100 ms (ePPing and LibreQoS use the same pace).
const SAMPLE_EVERY: u32 = 100_000_000 >> TICK_SHIFT;
/// Time of a direction's free older slot, when the newer value was echoed, and only says when the next one may be kept.
const NEWER_ECHOED: u32 = 1;
/// A pending timestamp value that was not echoed within 10 s is given up.
const SAMPLE_TIMEOUT: u64 = 10_000_000_000 >> TICK_SHIFT;

/// A timestamp value that waits for its echo.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(super) struct PendingTimestamp {
    value: u32,
    /// When it passed; 0 means the slot is free, as does [`NEWER_ECHOED`].
    at: u32,
}

/// The ACK that completes the handshake: round trip to the originator.
#[inline(always)]
pub(super) fn handshake_done<C: Clock>(
    from: &TcpDirection,
    to: &mut TcpDirection,
    flow: &mut TcpFlow,
    rtt_histogram: &mut RttHistogram,
    p: &Packet,
    direction: u32,
    clock: &C,
) {
    if from.syn == 0 || p.ack != to.first_seq.wrapping_add(1) {
        return;
    }
    let rtt_us = micros(clock.exact_ns().saturating_sub(flow.syn_ack_ns));
    flow.handshake_originator_us = rtt_us;
    sample(&mut to.rtt_sum_us, rtt_histogram, direction ^ 1, rtt_us);
}

/// Matches the echo against the other direction's pending values, and keeps this segment's value if it is its turn. `sum_us` is
/// the other direction's.
///
/// Values of pure ACKs are not kept: the other side has no reason to answer them at once.
#[inline(always)]
pub(super) fn timestamps<C: Clock>(
    sum_us: &mut u32,
    pending: &mut [[PendingTimestamp; 2]; 2],
    rtt_histogram: &mut RttHistogram,
    p: &Packet,
    direction: u32,
    now: u32,
    clock: &C,
) {
    let (own, awaited) = codegen::pair(pending, direction);
    let [older, newer] = *awaited;
    if unlikely(older.at != NEWER_ECHOED) {
        let echoes_newer = newer.at != 0 && newer.value == p.ts_ecr;
        let echoes_older = older.at != 0 && older.value == p.ts_ecr;
        if (echoes_newer || echoes_older) && p.tcp_flags & ACK != 0 {
            let sent = if echoes_newer { newer.at } else { older.at };
            let ticks = ((clock.exact_ns() >> TICK_SHIFT) as u32).wrapping_sub(sent);
            // What was sent before the matched value will not be echoed any more.
            awaited[0] = PendingTimestamp { value: 0, at: if echoes_newer { NEWER_ECHOED } else { 0 } };
            if u64::from(ticks) < SAMPLE_TIMEOUT {
                sample(sum_us, rtt_histogram, direction ^ 1, micros(u64::from(ticks) << TICK_SHIFT));
            }
        }
        fall_through();
    }
    let [older, last] = *own;
    if p.payload_len == 0 || !unlikely(!is_within(SAMPLE_EVERY, last.at, now) || last.at == 0) {
        return;
    }
    if last.at != 0 && last.value == p.ts_val {
        return;
    }
    // 0 and 1 mark free slots; a time that happens to be one of them is late by as many ticks.
    let at = ((clock.exact_ns() >> TICK_SHIFT) as u32).max(NEWER_ECHOED + 1);
    let older = if older.at == NEWER_ECHOED { PendingTimestamp::default() } else { last };
    *own = [older, PendingTimestamp { value: p.ts_val, at }];
}

/// Takes a sample in microseconds of a round trip to the far end of `direction`.
#[inline(always)]
pub(super) fn sample(sum_us: &mut u32, histogram: &mut RttHistogram, direction: u32, us: u32) {
    *sum_us = sum_us.wrapping_add(us);
    add32(&mut histogram[bucket(us)], 1 << ((direction & 1) * HALF));
}

/// Samples of direction 0 and of direction 1 by which a word of the histogram rose; exact up to 65,535 each.
pub const fn by_direction(rise: u32) -> [u16; 2] {
    [rise as u16, (rise >> HALF) as u16]
}

/// Bits of a half of a word.
const HALF: u32 = 16;

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

/// Nanoseconds to microseconds, at least 1 so that a measured time differs from none, at most `u32::MAX`.
#[inline(always)]
pub(super) fn micros(ns: u64) -> u32 {
    let us = ns / 1000;
    if us == 0 {
        1
    } else if us > u64::from(u32::MAX) {
        u32::MAX
    } else {
        us as u32
    }
}

/// Whether a coarse time is at most so many ticks behind an exact one; it may lag by a timer tick and so seem earlier.
#[inline(always)]
const fn is_within(ticks: u32, exact: u32, coarse: u32) -> bool {
    coarse.wrapping_sub(exact).wrapping_add(COARSE_LAG) < ticks + COARSE_LAG
}
