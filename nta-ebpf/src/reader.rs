//! `PacketReader` over a packet in the kernel: the only place that reads packet memory.

use aya_ebpf::programs::{TcContext, XdpContext};
use nta_common::limits::MAX_HEADER_BYTES;
use nta_common::{PacketReader, ReplayMeta};

/// Smallest frame that a test run accepts; shorter captured frames are padded to it.
const MIN_FRAME: u32 = 14;

/// What is made readable of a packet whose headers are not in the linear part: more than any usual chain of headers.
const PULL_BYTES: u32 = 256;

/// A frame at the XDP hook.
pub(crate) struct XdpReader {
    data: usize,
    data_end: usize,
    wire_len: u32,
}

impl XdpReader {
    /// A packet from the network.
    #[inline(always)]
    pub(crate) fn live(ctx: &XdpContext) -> Self {
        let (data, data_end) = (ctx.data(), ctx.data_end());
        Self { data, data_end, wire_len: (data_end - data) as u32 }
    }

    /// A packet of a capture, with the length and the time that travel in front of it.
    #[inline(always)]
    pub(crate) fn replayed(ctx: &XdpContext) -> Option<(Self, u64)> {
        let (meta, data, data_end) = (ctx.metadata(), ctx.data(), ctx.data_end());
        if meta + ReplayMeta::SIZE > data {
            return None;
        }
        // SAFETY: the check above proves that the metadata area holds a `ReplayMeta`; its start is 4-byte aligned, so
        // it is read unaligned.
        let meta = unsafe { core::ptr::read_unaligned(meta as *const ReplayMeta) };
        // A padded frame shows no byte at all, which reads as "shorter than an Ethernet header", as it was.
        let data_end = if meta.captured_len < MIN_FRAME { data } else { data_end };
        Some((Self { data, data_end, wire_len: meta.wire_len }, meta.time_ns))
    }
}

impl PacketReader for XdpReader {
    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        direct(self.data, self.data_end, offset)
    }

    #[inline(always)]
    fn wire_len(&self) -> u32 {
        self.wire_len
    }
}

/// A packet at a TC hook.
pub(crate) struct SkbReader {
    data: usize,
    data_end: usize,
    wire_len: u32,
}

impl SkbReader {
    /// Headers may lie outside the linear part that a program can read; then they are pulled into it, which moves
    /// bytes inside the socket buffer and changes nothing that anyone else sees.
    #[inline(always)]
    pub(crate) fn new(ctx: &TcContext) -> Self {
        let wire_len = ctx.len();
        let want = if wire_len < PULL_BYTES { wire_len } else { PULL_BYTES };
        if ctx.data() + want as usize > ctx.data_end() {
            // A failure (no memory) leaves the packet as it was: what is not readable counts as truncated.
            let _ = ctx.pull_data(want);
        }
        Self { data: ctx.data(), data_end: ctx.data_end(), wire_len }
    }
}

impl PacketReader for SkbReader {
    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        direct(self.data, self.data_end, offset)
    }

    #[inline(always)]
    fn wire_len(&self) -> u32 {
        self.wire_len
    }
}

/// Direct packet access, in the form that every supported verifier accepts: bound the offset, mask it (the bound alone
/// gets lost when the compiler copies the register), then compare the end with the packet's.
#[inline(always)]
fn direct<const N: usize>(data: usize, data_end: usize, offset: usize) -> Option<[u8; N]> {
    if offset > MAX_HEADER_BYTES - N {
        return None;
    }
    let start = same_register(data + (offset & (MAX_HEADER_BYTES - 1)));
    if start + N > data_end {
        return None;
    }
    // SAFETY: `N` bytes from `start` lie inside the packet, as just checked.
    Some(unsafe { core::ptr::read_unaligned(start as *const [u8; N]) })
}

/// Hides how a pointer came about, so that the compiler compares and reads through one register: the verifier learns a
/// packet bound per register, and a pointer computed a second time has none.
#[inline(always)]
fn same_register(mut pointer: usize) -> usize {
    // SAFETY: a register moved to itself. Not empty: two lines of source at one instruction make an invalid `.BTF.ext`.
    unsafe { core::arch::asm!("{0} = {0}", inout(reg) pointer, options(pure, nomem, nostack, preserves_flags)) };
    pointer
}
