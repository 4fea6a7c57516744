//! Programs that only the bench build exports: the yardsticks, and packets of a new flow at every run.

use aya_ebpf::bindings::xdp_action::XDP_PASS;
use aya_ebpf::macros::{classifier, map, xdp};
use aya_ebpf::maps::PerCpuArray;
use aya_ebpf::programs::{TcContext, XdpContext};

use crate::{TC_NEXT, entered_by_tc, entered_by_xdp};

/// Counts runs, to give every run another source address.
#[map]
static RUNS: PerCpuArray<u32> = PerCpuArray::with_max_entries(1, 0);

/// Where the IPv4 source address lies in a frame without tags.
const SOURCE_AT: usize = 14 + 12;

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
pub fn nta_xdp_new(ctx: XdpContext) -> u32 {
    renumber(ctx.data(), ctx.data_end());
    entered_by_xdp(&ctx);
    XDP_PASS
}

#[inline(always)]
fn renumber(data: usize, data_end: usize) {
    let Some(runs) = RUNS.get_ptr_mut(0) else { return };
    let source = data + SOURCE_AT;
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
pub fn nta_tc_new(ctx: TcContext) -> i32 {
    renumber(ctx.data(), ctx.data_end());
    entered_by_tc(&ctx);
    TC_NEXT
}
