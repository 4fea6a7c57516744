//! The one parser: from the first byte of an Ethernet frame to ports and TCP fields, one step per header.
//!
//! Each step reads its fixed header through [`PacketReader`], checks it, advances the offset and names the next
//! header. Nothing allocates, nothing panics, every loop has a named bound; the same lines pass the verifier of every
//! supported kernel and run on the bytes of a capture file.
//!
//! What cannot be parsed is counted by reason ([`Counter`]). From the IP header on a packet is always accounted: the
//! IP length decides what is counted, not whether everything behind it was understood.

mod copy;
mod eth;
mod fast_path;
mod icmp;
mod ipv4;
mod ipv6;
pub mod quote;
mod shim;
mod slice;
mod tcp;
mod tunnel;
mod udp;

pub use copy::{COPY_UNIT, copied};
pub use slice::SliceReader;

use core::hint::cold_path;
use core::mem::offset_of;

use crate::limits::{MAX_HEADER_BYTES, MAX_TUNNELS};
use crate::opening::{self, OPENING_BYTES};
use crate::tunnel::Wrappers;
use crate::{Counter, TunnelPorts, unlikely};

/// IP protocol numbers that the parser knows by name (IANA "Protocol Numbers").
pub mod proto {
    /// Internet Control Message Protocol (RFC 792).
    pub const ICMP: u8 = 1;
    /// Transmission Control Protocol (RFC 9293).
    pub const TCP: u8 = 6;
    /// User Datagram Protocol (RFC 768).
    pub const UDP: u8 = 17;
    /// ICMP for IPv6 (RFC 4443).
    pub const ICMPV6: u8 = 58;
    /// Stream Control Transmission Protocol (RFC 9260).
    pub const SCTP: u8 = 132;
    /// UDP-Lite (RFC 3828).
    pub const UDP_LITE: u8 = 136;
}

/// A bounds-checked view of a frame.
pub trait PacketReader {
    /// The `N` bytes at `offset`, or `None` when they are not all there.
    ///
    /// An implementation must refuse everything that reaches past [`MAX_HEADER_BYTES`].
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;

    /// The frame's length on the wire in bytes (a capture may hold less of it).
    fn wire_len(&self) -> u32;

    /// Payload bytes of each packet on the wire, when the frame is one that the stack merged from several (GRO) or has
    /// yet to split (GSO); else 0.
    #[inline(always)]
    fn segment_len(&self) -> u32 {
        0
    }

    /// The VLAN tag that was taken out of the frame before we saw it: its tag control information.
    #[inline(always)]
    fn vlan_tag(&self) -> Option<u16> {
        None
    }

    /// The VLAN id of that tag, 0 without one: what a frame without any other tag has.
    #[inline(always)]
    fn vlan_id(&self) -> u16 {
        0
    }

    /// Of a packet that begins with its IP header, as at interfaces of tunnels and of PPP: the Ethernet type that it would have.
    #[inline(always)]
    fn bare_type(&self) -> Option<u16> {
        None
    }

    /// By which ports tunnels are known, where the inner packet is to be accounted in place of the tunnel.
    #[inline(always)]
    fn tunnels(&self) -> Option<TunnelPorts> {
        None
    }

    /// The same offset, without what the kernel's verifier has concluded about it (all it knows afterwards is that it
    /// is below [`MAX_HEADER_BYTES`]; an offset that is not must be kept out by the caller). At the head of a loop whose
    /// steps have different lengths this makes every way round end in one state, where otherwise their number would
    /// double with every round.
    #[inline(always)]
    fn forget(&self, offset: usize) -> usize {
        offset
    }

    /// Called before a frame is taken header by header. An implementation may make more of it readable.
    #[inline(always)]
    fn prepare(&self) {}

    /// Bytes that can be read, counted from the frame's start.
    fn readable(&self) -> usize;

    /// Copies the bytes from `offset` on into `to`, at most [`copied`] of `N`, and returns how many. Fewer than
    /// [`COPY_UNIT`] are not copied at all.
    #[inline(always)]
    fn copy<const N: usize>(&self, offset: usize, limit: u32, to: &mut [u8; N]) -> u32 {
        copy::in_units(self, offset, limit, to)
    }

    /// The first bytes of a payload at `offset` with `len` bytes, as many as are kept and can be read, and how many these are;
    /// `None` when that is none. Called off the usual path, when the packet is counted.
    #[inline(always)]
    fn opening(&self, offset: usize, len: u32) -> Option<(u32, [u8; OPENING_BYTES])> {
        opening::read(self, offset, len)
    }

    /// Called when a packet is parsed: whatever is read of it from here on must come from memory again. In the kernel
    /// that makes one path of the hundreds on which the parser can end.
    #[inline(always)]
    fn parsed(&self, _packet: &mut Packet) {}
}

/// Which address family a parsed packet belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4: addresses in `src4` and `dst4`.
    V4,
    /// IPv6: addresses in `src6` and `dst6`.
    V6,
}

/// Where a packet stands in a fragmented datagram: the values of [`Packet::fragment`].
pub mod fragment {
    /// Not fragmented.
    pub const NONE: u8 = 0;
    /// The first fragment: carries the transport header.
    pub const FIRST: u8 = 1;
    /// A later one: carries no ports.
    pub const LATER: u8 = 2;
}

/// Bits of [`Packet::notes`].
pub mod note {
    /// The inner packet of a tunnel.
    pub const TUNNEL: u8 = 1;
    /// The IPv6 extension chain was cut off or too long.
    pub const CHAIN_CUT: u8 = 2;
    /// An ICMP error: it quotes another packet.
    pub const ERROR: u8 = 4;
    /// A neighbour solicitation or advertisement (RFC 4861), which begins at `payload_at`.
    pub const NEIGHBOR: u8 = 8;
}

/// What the parser found. [`Packet::reset`] comes first; then what a packet does not have is 0, except that the TCP
/// fields behind `payload_len` mean something only for TCP with a whole header.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Packet {
    /// IPv6 source address, most significant word first.
    pub src6: [u64; 2],
    /// IPv6 destination address.
    pub dst6: [u64; 2],
    // `reset` clears 16 bytes: from here up to and with `payload_len`.
    /// Source port; ICMP type for ICMP and ICMPv6.
    pub src_port: u16,
    /// Destination port; for ICMP the type of the counterpart, else the code.
    pub dst_port: u16,
    /// VLAN id of the outermost tag, 0 without a tag.
    pub vlan: u16,
    /// IP protocol number of the transport header.
    pub proto: u8,
    /// TCP flags as in the header's byte 13 (CWR ECE URG ACK PSH RST SYN FIN).
    pub tcp_flags: u8,
    /// Place in a fragmented datagram, see [`fragment`].
    pub fragment: u8,
    /// 1 when the transport header was cut off or malformed.
    pub l4_truncated: u8,
    /// What else is to be noted of the packet, see [`note`].
    pub notes: u8,
    /// 1 when this is a DNS message over UDP, by its ports.
    pub dns: u8,
    /// Bytes behind the transport header, by the IP length.
    pub payload_len: u32,
    /// Frame bytes on the wire.
    pub wire_len: u32,
    /// Bytes of the IP packet, by its header.
    pub ip_len: u32,
    /// TCP sequence number; of ICMP what an echo has as its identifier.
    pub seq: u32,
    /// TCP acknowledgment number.
    pub ack: u32,
    /// TCP timestamp value (RFC 7323).
    pub ts_val: u32,
    /// TCP timestamp echo reply.
    pub ts_ecr: u32,
    /// IPv4 source address as a number (`192.0.2.1` is `0xc0000201`).
    pub src4: u32,
    /// IPv4 destination address.
    pub dst4: u32,
    /// TCP window as in the header (unscaled).
    pub window: u32,
    /// Identification of the datagram in IPv4's header or in IPv6's fragment header, else 0.
    pub datagram_id: u32,
    /// 1 when a TCP timestamp option was found.
    pub has_timestamps: u32,
    /// Where in the frame the payload of TCP and UDP begins, if their header is whole, an ARP packet, a message of neighbour discovery, or
    /// what an ICMP error quotes; else without meaning.
    pub payload_at: u32,
}

/// Words before the fields that `reset` clears.
const CLEARED_AT: usize = offset_of!(Packet, src_port) / 8;

impl Packet {
    /// Forgets the last packet: what a parse may leave unwritten becomes 0.
    #[inline(always)]
    pub fn reset(&mut self, wire_len: u32) {
        self.clear();
        self.wire_len = wire_len;
    }

    #[inline(always)]
    fn clear(&mut self) {
        let words: *mut u64 = core::ptr::from_mut(self).cast();
        // SAFETY: the structure is `repr(C)` and aligned to 8, and these 16 bytes are integers, for which 0 is valid.
        // Volatile, because the compiler would make a call of `memset` of it, which on BPF writes byte by byte.
        unsafe {
            words.add(CLEARED_AT).write_volatile(0);
            words.add(CLEARED_AT + 1).write_volatile(0);
        }
    }

    /// Identifier of an ICMP echo.
    #[inline(always)]
    pub(crate) const fn echo_id(&self) -> u16 {
        self.seq as u16
    }

    #[inline(always)]
    pub(crate) const fn set_echo_id(&mut self, id: u16) {
        self.seq = id as u32;
    }

    /// Whether there is anything unusual about the packet: a fragment, cut headers, a tunnel, DNS, an ICMP error. One word read for
    /// all.
    #[inline(always)]
    pub(crate) const fn is_odd(&self) -> bool {
        u32::from_ne_bytes([self.fragment, self.l4_truncated, self.notes, self.dns]) != 0
    }

    /// Whether it carries a whole TCP header.
    #[inline(always)]
    pub(crate) const fn has_tcp(&self) -> bool {
        let [truncated, later] = [1, fragment::LATER];
        let odd = u32::from_ne_bytes([self.fragment, self.l4_truncated, self.notes, self.dns]);
        self.proto == proto::TCP && odd & u32::from_ne_bytes([later, truncated, 0, 0]) == 0
    }

    /// How many packets a frame stands for, each with `segment_len` bytes of payload.
    #[inline(always)]
    pub(crate) fn segments(&self, segment_len: u32) -> u32 {
        if !unlikely(segment_len != 0) || self.payload_len <= segment_len || self.l4_truncated != 0 {
            return 1;
        }
        self.payload_len.div_ceil(segment_len)
    }

    /// Turns the lengths of a frame that stands for so many packets, with this payload in all, into those of all of them, each
    /// with its own headers.
    #[inline(always)]
    pub(crate) fn split(&mut self, packets: u32, payload_len: u32) {
        let more = packets - 1;
        self.wire_len += more * self.wire_len.saturating_sub(payload_len);
        self.ip_len += more * self.ip_len.saturating_sub(payload_len);
    }
}

/// Parses a frame that starts with an Ethernet header into `packet`.
///
/// It writes into a caller's packet because a value of this size, returned through a `Result`, would not fit the
/// 512-byte stack of a BPF program. `Err` names the counter of a frame that holds no parseable IP packet.
#[inline(always)]
pub fn parse<R: PacketReader>(reader: &R, packet: &mut Packet) -> Result<Family, Counter> {
    parse_with(reader, packet, &mut ())
}

/// The same, and what is around the packet goes to `wrappers`.
#[inline(always)]
pub fn parse_with<R: PacketReader, W: Wrappers>(
    reader: &R,
    packet: &mut Packet,
    wrappers: &mut W,
) -> Result<Family, Counter> {
    if reader.bare_type().is_none() && fast_path::parse(reader, packet).is_some() {
        return Ok(Family::V4);
    }
    cold_path();
    reader.prepare();
    general(reader, packet, wrappers)
}

/// Any frame, header by header.
#[inline(always)]
fn general<R: PacketReader, W: Wrappers>(reader: &R, packet: &mut Packet, wrappers: &mut W) -> Result<Family, Counter> {
    packet.reset(reader.wire_len());
    let mut at = match reader.bare_type() {
        Some(ether_type) => Next { ether_type, offset: 0 },
        None => eth::parse(reader, 0, packet)?,
    };
    if let Some(tag) = reader.vlan_tag() {
        packet.vlan = tag & eth::VLAN_ID_MASK;
    }
    for depth in 0..=MAX_TUNNELS {
        let offset = reader.forget(at.offset);
        let (family, l4) = match at.ether_type {
            eth::IPV4 => (Family::V4, ipv4::parse(reader, offset, packet)?),
            eth::IPV6 => (Family::V6, ipv6::parse(reader, offset, packet)?),
            eth::ARP => {
                packet.payload_at = offset as u32;
                return Err(Counter::Arp);
            }
            _ => return Err(Counter::NonIp),
        };
        transport(reader, l4.offset, l4.len, packet);
        let Some(ports) = reader.tunnels().filter(|_| depth < MAX_TUNNELS) else { return Ok(family) };
        let outermost = packet.vlan;
        // A tunnel whose inside is not understood is accounted as what it is.
        let Some(inner) = tunnel::enter(reader, &ports, l4, packet) else {
            packet.vlan = outermost;
            return Ok(family);
        };
        // That of the frame inside, if it has one.
        let vlan = core::mem::replace(&mut packet.vlan, outermost);
        wrappers.opened(depth, family, packet);
        packet.reset(packet.wire_len);
        packet.vlan = vlan;
        packet.notes = note::TUNNEL;
        at = inner;
    }
    Err(Counter::NonIp) // not reached: the loop returns in its last round
}

/// A header to come: its type, as in an Ethernet header, and where it begins.
#[derive(Clone, Copy)]
struct Next {
    ether_type: u16,
    offset: usize,
}

/// Where the IP header says the transport header is.
#[derive(Clone, Copy)]
struct L4 {
    offset: usize,
    /// Bytes from there to the end of the IP packet.
    len: u32,
}

/// Parses the transport header of `packet.proto` at `offset`; `l4_len` is what the IP header says is there.
#[inline(always)]
fn transport<R: PacketReader>(reader: &R, offset: usize, l4_len: u32, packet: &mut Packet) {
    if packet.fragment == fragment::LATER {
        packet.payload_len = l4_len;
        return;
    }
    if offset >= MAX_HEADER_BYTES {
        packet.l4_truncated = 1;
        return;
    }
    let offset = reader.forget(offset);
    let parsed = match packet.proto {
        proto::TCP => tcp::parse(reader, offset, l4_len, packet),
        proto::UDP => udp::parse(reader, offset, l4_len, packet, udp::UDP_LEN).map(|()| udp::dns(packet)),
        proto::UDP_LITE => udp::parse(reader, offset, l4_len, packet, udp::UDP_LEN),
        proto::SCTP => udp::parse(reader, offset, l4_len, packet, udp::SCTP_LEN),
        proto::ICMP => icmp::parse(reader, offset, l4_len, packet, icmp::counterpart_v4, icmp::is_error_v4),
        proto::ICMPV6 => icmp::parse(reader, offset, l4_len, packet, icmp::counterpart_v6, icmp::is_error_v6)
            .map(|()| icmp::neighbor(offset, packet)),
        _ => {
            packet.payload_len = l4_len;
            Some(())
        }
    };
    if parsed.is_none() {
        packet.l4_truncated = 1;
    }
}

/// ICMP's code, by what a flow has for ports: the type, and the type of the counterpart or the code. Types with a counterpart have no code
/// but 0.
pub fn icmp_code(protocol: u8, source_port: u16, destination_port: u16) -> u8 {
    let counterpart = if protocol == proto::ICMP { icmp::counterpart_v4 } else { icmp::counterpart_v6 };
    if counterpart(source_port as u8).is_some() { 0 } else { destination_port as u8 }
}

#[cfg(test)]
mod tests;
