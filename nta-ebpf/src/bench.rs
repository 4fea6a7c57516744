//! Programs that only the bench build exports: the yardsticks, packets of a new flow at every run, and segments that
//! each bring the next bytes of one connection.

use aya_ebpf::bindings::xdp_action::XDP_PASS;
use aya_ebpf::macros::{classifier, map, xdp};
use aya_ebpf::maps::{HashMap, PerCpuArray};
use aya_ebpf::programs::{TcContext, XdpContext};
use nta_common::{FlowKey4, Packet};

use crate::{TC_NEXT, entered_by_tc, entered_by_xdp};

/// Counts runs, to give every run another source address.
#[map]
static RUNS: PerCpuArray<u32> = PerCpuArray::with_max_entries(1, 0);

/// Where the source address lies in a frame without tags: IPv4, and the last words of an IPv6 one.
const SOURCE_AT: usize = 14 + 12;
const SOURCE6_AT: usize = 14 + 8 + 12;

/// Where the datagram's identification lies in an IPv4 frame without tags.
const DATAGRAM_AT: usize = 14 + 4;

/// Where the TCP sequence number lies in an IPv4 frame without tags and options.
const SEQUENCE_AT: usize = 14 + 20 + 4;

/// Payload of the bench's data segment.
const SEGMENT: u32 = 1_000;

/// What a yardstick adds to.
#[map]
static YARDSTICK: HashMap<FlowKey4, [u64; 2]> = HashMap::with_max_entries(64, 0);

/// One look-up with a flow's key and two atomic additions: what no program that counts flows can be cheaper than on this machine,
/// by which figures of different machines compare. The entry is that of any source port.
#[xdp]
pub fn nta_xdp_yardstick(ctx: XdpContext) -> u32 {
    let (data, data_end) = (ctx.data(), ctx.data_end());
    if data + SEQUENCE_AT > data_end {
        return XDP_PASS;
    }
    // SAFETY: bytes of the packet that were just checked to be there.
    let word = |at: usize| u32::from_be(unsafe { core::ptr::read_unaligned((data + at) as *const u32) });
    let packet = Packet {
        src4: word(SOURCE_AT),
        dst4: word(SOURCE_AT + 4),
        src_port: (word(SEQUENCE_AT - 4) >> 16) as u16,
        dst_port: word(SEQUENCE_AT - 4) as u16,
        proto: 6,
        ..Packet::default()
    };
    let (key, _) = FlowKey4::of(&packet);
    let Some(counts) = YARDSTICK.get_ptr_mut(&key) else {
        let _ = YARDSTICK.insert(&key, [0; 2], 0);
        return XDP_PASS;
    };
    // SAFETY: an entry of a map, to which every CPU adds atomically.
    unsafe {
        let [packets, bytes] = [counts.cast::<u64>(), counts.cast::<u64>().add(1)];
        core::arch::asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) packets, in(reg) 1_u64);
        core::arch::asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) bytes, in(reg) (data_end - data) as u64);
    }
    XDP_PASS
}

/// What a packet costs before any of our work.
#[xdp]
pub fn nta_xdp_empty(_ctx: XdpContext) -> u32 {
    XDP_PASS
}

/// The same for TC.
#[classifier]
pub fn nta_tc_empty(_ctx: TcContext) -> i32 {
    TC_NEXT
}

/// An IPv4 packet of a new flow at every run.
#[xdp]
#[inline(always)]
pub fn nta_xdp_new(ctx: XdpContext) -> u32 {
    renumber(ctx.data(), ctx.data_end(), SOURCE_AT);
    entered_by_xdp(&ctx);
    XDP_PASS
}

/// The same of IPv6.
#[xdp]
#[inline(always)]
pub fn nta_xdp_new6(ctx: XdpContext) -> u32 {
    renumber(ctx.data(), ctx.data_end(), SOURCE6_AT);
    entered_by_xdp(&ctx);
    XDP_PASS
}

#[inline(always)]
fn renumber(data: usize, data_end: usize, at: usize) {
    let Some(runs) = RUNS.get_ptr_mut(0) else { return };
    let source = data + at;
    if source + 4 > data_end {
        return;
    }
    // SAFETY: this CPU's copy of an array entry, and four bytes of the packet that were just checked to be there.
    unsafe {
        *runs += 1;
        *(source as *mut u32) = *runs;
    }
}

/// The same at TC.
#[classifier]
#[inline(always)]
pub fn nta_tc_new(ctx: TcContext) -> i32 {
    renumber(ctx.data(), ctx.data_end(), SOURCE_AT);
    entered_by_tc(&ctx);
    TC_NEXT
}

/// The same of IPv6.
#[classifier]
#[inline(always)]
pub fn nta_tc_new6(ctx: TcContext) -> i32 {
    renumber(ctx.data(), ctx.data_end(), SOURCE6_AT);
    entered_by_tc(&ctx);
    TC_NEXT
}

/// The next data segment of one connection over IPv4 at every run, in a datagram of its own.
#[xdp]
#[inline(always)]
pub fn nta_xdp_data(ctx: XdpContext) -> u32 {
    advance(ctx.data(), ctx.data_end());
    entered_by_xdp(&ctx);
    XDP_PASS
}

#[inline(always)]
fn advance(data: usize, data_end: usize) {
    let Some(runs) = RUNS.get_ptr_mut(0) else { return };
    let (datagram, sequence) = (data + DATAGRAM_AT, data + SEQUENCE_AT);
    if sequence + 4 > data_end {
        return;
    }
    // SAFETY: as in `renumber`.
    unsafe {
        *runs += SEGMENT;
        *(datagram as *mut u16) = (*runs / 8) as u16;
        core::ptr::write_unaligned(sequence as *mut u32, (*runs).to_be());
    }
}

/// The same at TC.
#[classifier]
#[inline(always)]
pub fn nta_tc_data(ctx: TcContext) -> i32 {
    advance(ctx.data(), ctx.data_end());
    entered_by_tc(&ctx);
    TC_NEXT
}
