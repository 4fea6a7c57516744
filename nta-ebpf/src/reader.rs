//! `PacketReader` over a packet in the kernel: the only place that reads packet memory.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::generated::{bpf_skb_load_bytes, bpf_xdp_get_buff_len};
use aya_ebpf::programs::{TcContext, XdpContext};
use nta_common::limits::MAX_HEADER_BYTES;
use nta_common::packet::{COPY_UNIT, copied, proto};
use nta_common::{Packet, PacketReader, ReplayMeta};

use crate::settings;

/// Smallest frame that a test run accepts; shorter captured frames are padded to it.
const MIN_FRAME: u32 = 14;

/// What is made readable of a packet whose headers are not in the linear part: more than any usual chain of headers.
const PULL_BYTES: u32 = 256;

/// EtherTypes.
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// Bytes of an 802.1Q tag.
const VLAN_TAG_LEN: u32 = 4;

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

    /// A packet from the network that may lie in several buffers.
    #[inline(always)]
    pub(crate) fn in_fragments(ctx: &XdpContext) -> Self {
        // SAFETY: the context is valid for the length of the call.
        let wire_len = unsafe { bpf_xdp_get_buff_len(ctx.ctx) } as u32;
        Self { data: ctx.data(), data_end: ctx.data_end(), wire_len }
    }

    /// A packet of a capture, and what travels in front of it.
    #[inline(always)]
    pub(crate) fn replayed(ctx: &XdpContext) -> Option<(Self, ReplayMeta)> {
        let (meta, data, data_end) = (ctx.metadata(), ctx.data(), ctx.data_end());
        if meta + ReplayMeta::SIZE > data {
            return None;
        }
        // SAFETY: the check above proves that the metadata area holds a `ReplayMeta`; its start is 4-byte aligned, so
        // it is read unaligned.
        let meta = unsafe { core::ptr::read_unaligned(meta as *const ReplayMeta) };
        Some((Self { data, data_end, wire_len: meta.wire_len }, meta))
    }
}

/// A captured frame that is shorter than an Ethernet header, and was padded for the test run: shows no byte.
pub(crate) struct ShortReader {
    wire_len: u32,
}

impl ShortReader {
    /// The reader for this frame, if it is such a one.
    #[inline(always)]
    pub(crate) fn of(meta: &ReplayMeta) -> Option<Self> {
        (meta.captured_len < MIN_FRAME).then_some(Self { wire_len: meta.wire_len })
    }
}

impl PacketReader for ShortReader {
    #[inline(always)]
    fn read<const N: usize>(&self, _offset: usize) -> Option<[u8; N]> {
        None
    }

    #[inline(always)]
    fn readable(&self) -> usize {
        0
    }

    #[inline(always)]
    fn wire_len(&self) -> u32 {
        self.wire_len
    }
}

impl PacketReader for XdpReader {
    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        direct(self.data, self.data_end, offset)
    }

    #[inline(always)]
    fn readable(&self) -> usize {
        self.data_end - self.data
    }

    #[inline(always)]
    fn forget(&self, offset: usize) -> usize {
        forget(offset)
    }

    #[inline(always)]
    fn opens_tunnels(&self) -> bool {
        settings::tunnels()
    }

    #[inline(always)]
    fn parsed(&self, packet: &mut Packet) {
        reload(packet);
    }

    #[inline(always)]
    fn wire_len(&self) -> u32 {
        self.wire_len
    }
}

/// A packet at a TC hook.
pub(crate) struct SkbReader {
    skb: *mut __sk_buff,
    skb_len: u32,
    data: usize,
    data_end: usize,
    wire_len: u32,
    segment_len: u32,
    /// The tag that the stack (or the NIC) took out of the frame.
    vlan_tag: Option<u16>,
}

impl SkbReader {
    /// Headers may lie outside the linear part that a program can read; then they are pulled into it, which moves
    /// bytes inside the socket buffer and changes nothing that anyone else sees. Large segments hold nothing else in that
    /// part, and pulling payload after them costs a copy of the whole head: they are left as they are.
    #[inline(always)]
    pub(crate) fn new(ctx: &TcContext) -> Self {
        let skb_len = ctx.len();
        let want = if skb_len < PULL_BYTES { skb_len } else { PULL_BYTES };
        let linear = (ctx.data(), ctx.data_end());
        if linear.0 + want as usize > linear.1 && !holds_headers(linear) {
            // A failure (no memory) leaves the packet as it was: what is not readable counts as truncated.
            let _ = ctx.pull_data(want);
        }
        // SAFETY: the context is valid for the length of the call.
        let (segment_len, tagged, tag) =
            unsafe { ((*ctx.skb.skb).gso_size, (*ctx.skb.skb).vlan_present, (*ctx.skb.skb).vlan_tci) };
        let vlan_tag = (tagged != 0).then_some(tag as u16);
        // On the wire the tag was part of the frame.
        let wire_len = if tagged != 0 { skb_len + VLAN_TAG_LEN } else { skb_len };
        let (skb, data, data_end) = (ctx.skb.skb, ctx.data(), ctx.data_end());
        Self { skb, skb_len, data, data_end, wire_len, segment_len, vlan_tag }
    }
}

/// Whether the linear part holds every header of a frame without tags, options and tunnels.
#[inline(always)]
fn holds_headers((data, data_end): (usize, usize)) -> bool {
    /// An IPv4 header without options begins like this.
    const WITHOUT_OPTIONS: u8 = 0x45;
    if data + 54 > data_end {
        return false;
    }
    // SAFETY: each use follows a comparison of a later byte's place with the packet's end.
    let at = |offset: usize| unsafe { *((data + offset) as *const u8) };
    let words = |offset: usize| usize::from(at(offset) >> 4) * 4;
    let headers = match u16::from_be_bytes([at(12), at(13)]) {
        IPV4 if at(14) != WITHOUT_OPTIONS => return false,
        IPV4 if at(23) == proto::TCP => 34 + words(46),
        IPV4 if at(23) == proto::UDP && !settings::tunnels() => 42,
        IPV6 if at(20) == proto::TCP && data + 74 <= data_end => 54 + words(66),
        _ => return false,
    };
    data + headers <= data_end
}

impl PacketReader for SkbReader {
    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        direct(self.data, self.data_end, offset)
    }

    #[inline(always)]
    fn readable(&self) -> usize {
        self.skb_len as usize
    }

    /// A payload may lie outside the linear part.
    #[inline(always)]
    fn copy<const N: usize>(&self, offset: usize, limit: u32, to: &mut [u8; N]) -> u32 {
        let len = copied::<N>(self.readable(), offset, limit);
        if len < COPY_UNIT {
            return 0;
        }
        // The verifier wants to see a length of at least 1 and at most N; it loses a bound when registers are copied.
        let len = forget(len - COPY_UNIT);
        if len > N - COPY_UNIT {
            return 0;
        }
        let len = same_register(len) + COPY_UNIT;
        // SAFETY: the helper writes `len` bytes at most `N` into `to`, and refuses what is not in the packet.
        let done =
            unsafe { bpf_skb_load_bytes(self.skb.cast(), forget(offset) as u32, to.as_mut_ptr().cast(), len as u32) };
        if done == 0 { len as u32 } else { 0 }
    }

    #[inline(always)]
    fn forget(&self, offset: usize) -> usize {
        forget(offset)
    }

    #[inline(always)]
    fn opens_tunnels(&self) -> bool {
        settings::tunnels()
    }

    #[inline(always)]
    fn parsed(&self, packet: &mut Packet) {
        reload(packet);
    }

    #[inline(always)]
    fn wire_len(&self) -> u32 {
        self.wire_len
    }

    #[inline(always)]
    fn segment_len(&self) -> u32 {
        self.segment_len
    }

    #[inline(always)]
    fn vlan_tag(&self) -> Option<u16> {
        self.vlan_tag
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

/// See [`PacketReader::parsed`].
#[inline(always)]
fn reload(packet: &mut Packet) {
    // SAFETY: a register moved to itself. It claims to touch memory, so that the compiler keeps no field in a register.
    unsafe { core::arch::asm!("{0} = {0}", in(reg) packet, options(nostack, preserves_flags)) };
}

/// Zero, in memory that could be written: the verifier takes what it reads there for any number.
#[unsafe(no_mangle)]
static mut ANY: usize = 0;

/// See [`PacketReader::forget`].
#[inline(always)]
fn forget(offset: usize) -> usize {
    // SAFETY: an initialised static that nobody writes; volatile, so that the compiler does not know its value either.
    let any = unsafe { core::ptr::read_volatile(&raw const ANY) };
    (offset + any) & (MAX_HEADER_BYTES - 1)
}
