//! `PacketReader` over a packet in the kernel: the only place that reads packet memory.

use core::cell::Cell;
use core::hint::cold_path;
use core::ptr::read_volatile;

use aya_ebpf::helpers::generated::{bpf_skb_load_bytes, bpf_xdp_get_buff_len};
use aya_ebpf::programs::{TcContext, XdpContext};
use nta_common::limits::MAX_HEADER_BYTES;
use nta_common::opening::{self, OPENING_BYTES, first_of};
use nta_common::packet::{COPY_UNIT, copied, proto};
use nta_common::{Packet, PacketReader, ReplayMeta, TunnelPorts};

use crate::settings;

/// Smallest frame that a test run accepts; shorter captured frames are padded to it.
const MIN_FRAME: u32 = 14;

/// What is made readable of a packet whose headers are not in the linear part: more than any usual chain of headers.
const PULL_BYTES: usize = 256;

/// EtherTypes.
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// Bytes of an 802.1Q tag, and the part of it that is the VLAN's id.
const VLAN_TAG_LEN: u32 = 4;
const VLAN_ID_MASK: u16 = 0x0fff;

/// A frame at the XDP hook.
pub(crate) struct XdpReader<'a> {
    ctx: &'a XdpContext,
    linear: Cell<(usize, usize)>,
    wire_len: u32,
}

impl<'a> XdpReader<'a> {
    /// A packet from the network.
    #[inline(always)]
    pub(crate) fn live(ctx: &'a XdpContext) -> Self {
        let (data, data_end) = (ctx.data(), ctx.data_end());
        Self { ctx, linear: Cell::new((data, data_end)), wire_len: (data_end - data) as u32 }
    }

    /// A packet from the network that may lie in several buffers.
    #[inline(always)]
    pub(crate) fn in_fragments(ctx: &'a XdpContext) -> Self {
        // SAFETY: the context is valid for the length of the call.
        let wire_len = unsafe { bpf_xdp_get_buff_len(ctx.ctx) } as u32;
        Self { ctx, linear: Cell::new((ctx.data(), ctx.data_end())), wire_len }
    }

    /// A packet of a capture, and what travels in front of it.
    #[inline(always)]
    pub(crate) fn replayed(ctx: &'a XdpContext) -> Option<(Self, ReplayMeta)> {
        let (meta, data, data_end) = (ctx.metadata(), ctx.data(), ctx.data_end());
        if meta + ReplayMeta::SIZE > data {
            return None;
        }
        // SAFETY: the check above proves that the metadata area holds a `ReplayMeta`; its start is 4-byte aligned, so
        // it is read unaligned.
        let meta = unsafe { core::ptr::read_unaligned(meta as *const ReplayMeta) };
        Some((Self { ctx, linear: Cell::new((data, data_end)), wire_len: meta.wire_len }, meta))
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

impl PacketReader for XdpReader<'_> {
    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        direct(self.linear.get(), offset)
    }

    /// The bounds once more: the verifier forgets what it has learned of the packet's length by the first ones, so that
    /// the short way through the parser does not make the long one behind it several.
    #[inline(always)]
    fn prepare(&self) {
        // SAFETY: the context is valid for the length of the call. Volatile, because the compiler would take the first.
        let (data, data_end) = unsafe {
            let ctx = self.ctx.ctx;
            (read_volatile(&raw const (*ctx).data), read_volatile(&raw const (*ctx).data_end))
        };
        self.linear.set((data as usize, data_end as usize));
    }

    #[inline(always)]
    fn readable(&self) -> usize {
        let (data, data_end) = self.linear.get();
        data_end - data
    }

    /// The bounds are read once more, so that nothing keeps them at hand for it on the usual path.
    #[inline(always)]
    fn opening(&self, offset: usize, len: u32) -> Option<(u32, [u8; OPENING_BYTES])> {
        self.prepare();
        opening::read(self, offset, len)
    }

    #[inline(always)]
    fn forget(&self, offset: usize) -> usize {
        forget(offset)
    }

    #[inline(always)]
    fn tunnels(&self) -> Option<TunnelPorts> {
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
pub(crate) struct SkbReader<'a> {
    ctx: &'a TcContext,
    skb_len: u32,
    linear: Cell<(usize, usize)>,
    wire_len: u32,
    segment_len: u32,
    /// 1 when the stack (or the NIC) took a tag out of the frame, else 0.
    tagged: u32,
    /// The tag, if there is one.
    tag: u32,
    is_bare: bool,
}

impl<'a> SkbReader<'a> {
    /// A packet from the network, at the interface of this slot.
    #[inline(always)]
    pub(crate) fn new(ctx: &'a TcContext, slot: u32) -> Self {
        let skb_len = ctx.len();
        // SAFETY: the context is valid for the length of the call.
        let (segment_len, tagged, tag) =
            unsafe { ((*ctx.skb.skb).gso_size, (*ctx.skb.skb).vlan_present, (*ctx.skb.skb).vlan_tci) };
        // On the wire the tag was part of the frame.
        let wire_len = skb_len + tagged * VLAN_TAG_LEN;
        let linear = Cell::new((ctx.data(), ctx.data_end()));
        Self { ctx, skb_len, linear, wire_len, segment_len, tagged, tag, is_bare: settings::is_bare(slot) }
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
        IPV4 if at(23) == proto::UDP && settings::tunnels().is_none() => 42,
        IPV6 if at(20) == proto::TCP && data + 74 <= data_end => 54 + words(66),
        _ => return false,
    };
    data + headers <= data_end
}

impl PacketReader for SkbReader<'_> {
    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        direct(self.linear.get(), offset)
    }

    /// Headers may lie outside the linear part that a program can read; then they are pulled into it, which moves
    /// bytes inside the socket buffer and changes nothing that anyone else sees. Large segments hold nothing else in that
    /// part, and pulling payload after them costs a copy of the whole head: they are left as they are.
    ///
    /// The bounds are read once more in any case, as [`XdpReader`] does.
    #[inline(always)]
    fn prepare(&self) {
        let linear = self.linear.get();
        let linear_len = linear.1 - linear.0;
        let skb = self.ctx.skb.skb;
        // SAFETY: the context is valid for the length of the call. Volatile, because the compiler would take the first.
        let skb_len = unsafe { read_volatile(&raw const (*skb).len) };
        if linear_len < skb_len as usize && linear_len < PULL_BYTES && (self.is_bare || !holds_headers(linear)) {
            // A failure (no memory) leaves the packet as it was: what is not readable counts as truncated.
            let _ = self.ctx.pull_data(skb_len.min(PULL_BYTES as u32));
        }
        // SAFETY: as above.
        let (data, data_end) =
            unsafe { (read_volatile(&raw const (*skb).data), read_volatile(&raw const (*skb).data_end)) };
        self.linear.set((data as usize, data_end as usize));
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
        let done = unsafe {
            bpf_skb_load_bytes(self.ctx.skb.skb.cast(), forget(offset) as u32, to.as_mut_ptr().cast(), len as u32)
        };
        if done == 0 { len as u32 } else { 0 }
    }

    /// A payload may lie outside the linear part.
    #[inline(always)]
    fn opening(&self, offset: usize, len: u32) -> Option<(u32, [u8; OPENING_BYTES])> {
        let len = if len < OPENING_BYTES as u32 { len } else { OPENING_BYTES as u32 };
        let at = offset as u32 + len - OPENING_BYTES as u32;
        let mut ending = [0; OPENING_BYTES];
        // SAFETY: the helper writes as many bytes as there is room for, and refuses what is not in the packet.
        let done = unsafe {
            bpf_skb_load_bytes(self.ctx.skb.skb.cast(), at, ending.as_mut_ptr().cast(), OPENING_BYTES as u32)
        };
        (done == 0).then(|| (len, first_of(ending, len)))
    }

    #[inline(always)]
    fn forget(&self, offset: usize) -> usize {
        forget(offset)
    }

    #[inline(always)]
    fn tunnels(&self) -> Option<TunnelPorts> {
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
    fn bare_type(&self) -> Option<u16> {
        // SAFETY: the context is valid for the length of the call. Volatile, so that the verifier knows no more of it than of a type
        // that stands in a frame.
        self.is_bare.then(|| u16::from_be(unsafe { read_volatile(&raw const (*self.ctx.skb.skb).protocol) } as u16))
    }

    #[inline(always)]
    fn vlan_tag(&self) -> Option<u16> {
        let skb = self.ctx.skb.skb;
        // SAFETY: the context is valid for the length of the call. Volatile, for the reason of `prepare`.
        let (tagged, tag) =
            unsafe { (read_volatile(&raw const (*skb).vlan_present), read_volatile(&raw const (*skb).vlan_tci)) };
        (tagged != 0).then_some(tag as u16)
    }

    #[inline(always)]
    fn vlan_id(&self) -> u16 {
        (self.tagged * self.tag) as u16 & VLAN_ID_MASK
    }
}

/// Direct packet access, in the form that every supported verifier accepts: bound the offset, mask it (the bound alone
/// gets lost when the compiler copies the register), then compare the end with the packet's.
#[inline(always)]
fn direct<const N: usize>((data, data_end): (usize, usize), offset: usize) -> Option<[u8; N]> {
    if offset > MAX_HEADER_BYTES - N {
        cold_path();
        return None;
    }
    let start = same_register(data + (offset & (MAX_HEADER_BYTES - 1)));
    if start + N > data_end {
        cold_path();
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
    let any = unsafe { read_volatile(&raw const ANY) };
    (offset + any) & (MAX_HEADER_BYTES - 1)
}
