//! The eBPF programs: what is attached to an interface and what happens to a packet there.
//!
//! Three entry points over one parser and one accounting (`nta-common`): XDP and TC at ingress, TC at egress. Each
//! passes every packet on, whatever happened to it here.

#![no_std]
#![no_main]
// For one line of assembly in `reader`; the BPF target needs an unstable toolchain anyway.
#![feature(asm_experimental_arch)]

#[macro_use]
mod diagnose;

mod account;
#[cfg(feature = "bench")]
mod bench;
mod clock;
mod conntrack;
mod events;
mod flows;
mod maps;
mod reader;
mod settings;

use aya_ebpf::bindings::xdp_action::XDP_PASS;
use aya_ebpf::macros::{classifier, xdp};
use aya_ebpf::programs::{TcContext, XdpContext};
use nta_common::{CaptureClock, Counter, fall_through, unlikely};

use crate::clock::KernelClock;
use crate::reader::{ShortReader, SkbReader, XdpReader};

/// `TCX_NEXT` and `TC_ACT_UNSPEC`: go on with the next program, with the packet as it is.
const TC_NEXT: i32 = -1;

/// Ingress of a device by XDP; also what the kernel engine of a replay injects packets into.
#[xdp]
#[inline(always)] // into the entry point that the macro makes: a call of its own costs
pub fn nta_xdp(ctx: XdpContext) -> u32 {
    if settings::replay() {
        replayed(&ctx)
    } else {
        entered_by_xdp(&ctx)
    }
    XDP_PASS
}

/// The same live, for interfaces whose frames may not fit one buffer: a kernel (5.18 and later) hands this program such
/// frames in fragments, of which the first holds the headers.
#[xdp(frags)]
#[inline(always)]
pub fn nta_xdp_frags(ctx: XdpContext) -> u32 {
    // SAFETY: the context is valid for the length of the call.
    let slot = settings::own_slot(|| unsafe { (*ctx.ctx).ingress_ifindex });
    let counted = account::packet(&XdpReader::in_fragments(&ctx), &KernelClock, slot);
    diagnose!(&ctx, counted, slot);
    XDP_PASS
}

#[inline(always)]
fn replayed(ctx: &XdpContext) {
    let Some((reader, meta)) = XdpReader::replayed(ctx) else { return };
    let clock = CaptureClock(meta.time_ns);
    let counted = match ShortReader::of(&meta) {
        Some(short) => account::packet(&short, &clock, 0),
        None => account::packet(&reader, &clock, 0),
    };
    diagnose!(ctx, counted, 0_u32);
}

#[inline(always)]
fn entered_by_xdp(ctx: &XdpContext) {
    // SAFETY: the context is valid for the length of the call.
    let slot = settings::own_slot(|| unsafe { (*ctx.ctx).ingress_ifindex });
    let counted = account::packet(&XdpReader::live(ctx), &KernelClock, slot);
    diagnose!(ctx, counted, slot);
}

/// Ingress of a device by TCX or clsact.
#[classifier]
#[inline(always)]
pub fn nta_tc_ingress(ctx: TcContext) -> i32 {
    entered_by_tc(&ctx);
    TC_NEXT
}

#[inline(always)]
fn entered_by_tc(ctx: &TcContext) {
    // SAFETY: the context is valid for the length of the call.
    let slot = settings::own_slot(|| unsafe { (*ctx.skb.skb).ifindex });
    if settings::mark() != 0 && !settings::is_tunnel_end(slot) && is_marked(ctx) {
        note_counted(ctx, slot);
        return;
    }
    let counted = account::packet(&SkbReader::new(ctx, slot), &KernelClock, slot);
    if settings::mark() != 0 {
        set_mark(ctx, settings::mark());
    }
    diagnose!(ctx, counted, slot);
}

/// Whether an interface above or below this one, or the one where it came in, has counted the packet.
#[inline(always)]
fn is_marked(ctx: &TcContext) -> bool {
    // SAFETY: the context is valid for the length of the call.
    unsafe { (*ctx.skb.skb).tc_index == settings::mark() }
}

#[inline(always)]
fn set_mark(ctx: &TcContext, mark: u32) {
    // SAFETY: as above. Volatile, because nobody here reads it again.
    unsafe { core::ptr::write_volatile(&raw mut (*ctx.skb.skb).tc_index, mark) };
}

#[inline(always)]
fn note_counted(ctx: &TcContext, slot: u32) {
    // SAFETY: as above.
    let packets = unsafe { (*ctx.skb.skb).gso_segs };
    account::note(slot, Counter::AlreadyCounted, if packets > 1 { packets } else { 1 });
}

/// Egress of a device by TCX or clsact: counts what did not come in by a watched interface, so that a forwarded packet
/// is counted once.
#[classifier]
#[inline(always)]
pub fn nta_tc_egress(ctx: TcContext) -> i32 {
    // SAFETY: the context is valid for the length of the call.
    let entered_by = unsafe { (*ctx.skb.skb).ingress_ifindex };
    // SAFETY: as above.
    let slot = settings::own_slot(|| unsafe { (*ctx.skb.skb).ifindex });
    let is_counted = if settings::mark() == 0 {
        unlikely(entered_by != 0) && settings::is_watched(entered_by)
    } else {
        is_marked(&ctx)
    };
    if is_counted {
        note_counted(&ctx, slot);
        conntrack::learn(&ctx, slot);
        leave(&ctx, slot);
        return TC_NEXT;
    }
    fall_through();
    let counted = account::packet(&SkbReader::new(&ctx, slot), &KernelClock, slot);
    leave(&ctx, slot);
    diagnose!(&ctx, counted, slot);
    TC_NEXT
}

/// The packet is counted wherever it passes next, unless a tunnel makes another one of it.
#[inline(always)]
fn leave(ctx: &TcContext, slot: u32) {
    if settings::mark() != 0 {
        set_mark(ctx, if settings::is_tunnel_end(slot) { 0 } else { settings::mark() });
    }
}

/// Writes the jiffies counter and the exact clock side by side, so that the daemon knows how they relate. Only ever
/// run by `BPF_PROG_TEST_RUN`.
#[xdp]
pub fn nta_clock(_ctx: XdpContext) -> u32 {
    if let Some(clocks) = maps::CLOCKS.get_ptr_mut(0) {
        // SAFETY: an array entry is valid while the program runs, and only the daemon's single thread runs this one.
        unsafe { *clocks = clock::both() };
    }
    XDP_PASS
}

/// Tells the daemon what the kernel holds of the connections that it asks about. Only ever run by `BPF_PROG_TEST_RUN`.
#[xdp]
pub fn nta_connections(_ctx: XdpContext) -> u32 {
    conntrack::answer();
    XDP_PASS
}

/// Never reached: it loops, so the verifier refuses a program from which a panic could be reached.
#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
