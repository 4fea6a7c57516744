//! Flow keys.
//!
//! A flow is bidirectional: both directions of a conversation share one entry, so that a round trip can be measured
//! inside it and one look-up serves a packet. The key holds the two endpoints in numeric order (the order of the
//! Community ID specification); a packet's direction is 0 when it was sent by endpoint `a`, 1 when by `b`.

use crate::codegen::is_less;
use crate::packet::{Family, Packet, proto};
use crate::tcp;

/// Key of the IPv4 flow map: two words, because hashing and comparing the key is the largest part of a look-up, and a key
/// that is written in smaller pieces than it is read in stalls the processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct FlowKey4 {
    /// Lower endpoint's address, higher endpoint's.
    pub(crate) addresses: u64,
    pub(crate) ports_proto: PortsProto,
}

/// Key of the IPv6 flow map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct FlowKey6 {
    pub(crate) a: [u64; 2],
    pub(crate) b: [u64; 2],
    pub(crate) ports_proto: PortsProto,
}

/// Both ports and the protocol in one word: port of `a` (16 bits), port of `b` (16), protocol (8), 24 zero bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub(crate) struct PortsProto(pub(crate) u64);

impl PortsProto {
    #[inline(always)]
    fn new(a_port: u16, b_port: u16, proto: u8) -> Self {
        Self((u64::from(a_port) << 48) | (u64::from(b_port) << 32) | (u64::from(proto) << 24))
    }

    const fn ports(self) -> [u16; 2] {
        [(self.0 >> 48) as u16, (self.0 >> 32) as u16]
    }

    const fn proto(self) -> u8 {
        (self.0 >> 24) as u8
    }

    /// With marks in the bits that are 0 here.
    #[inline(always)]
    pub(crate) const fn marked(self, marks: u64) -> Self {
        Self(self.0 | marks & MARKS)
    }

    /// With these marks where it has none of them, and without them where it has.
    #[inline(always)]
    const fn toggled(self, marks: u64) -> Self {
        Self(self.0 ^ marks & MARKS)
    }

    /// Without them.
    pub(crate) const fn unmarked(self) -> Self {
        Self(self.0 & !MARKS)
    }

    const fn has(self, mark: u64) -> bool {
        self.0 & mark != 0
    }
}

/// Mark of the key of an entry that leads from the first name of a translated connection to the one of its answers.
const BACKWARD: u64 = 1;

/// The bits of a key that are 0.
const MARKS: u64 = (1 << 24) - 1;

impl FlowKey4 {
    /// The key of an IPv4 packet and the packet's direction in it.
    #[inline(always)]
    pub fn of(p: &Packet) -> (Self, u32) {
        Self::ordered((p.src4, p.src_port), (p.dst4, p.dst_port), p.proto)
    }

    /// The key of packets between these endpoints, and their direction in it.
    #[inline(always)]
    pub(crate) fn ordered(from: (u32, u16), to: (u32, u16), proto: u8) -> (Self, u32) {
        let from = (u64::from(from.0) << 16) | u64::from(from.1);
        let to = (u64::from(to.0) << 16) | u64::from(to.1);
        // Without a branch: which of the two is the lower one differs from packet to packet.
        let direction = is_less(to, from);
        let swap = (from ^ to) & direction.wrapping_neg();
        (Self::between(from ^ swap, to ^ swap, proto), direction as u32)
    }

    /// Endpoints of a packet in this direction: from, to.
    #[inline(always)]
    pub(crate) fn ends(&self, direction: u32) -> ((u32, u16), (u32, u16)) {
        let ([a, b], [a_port, b_port]) = (self.addresses(), self.ports());
        if direction == 0 { ((a, a_port), (b, b_port)) } else { ((b, b_port), (a, a_port)) }
    }

    #[inline(always)]
    pub(crate) fn with_ports(self, port: u16) -> Self {
        Self { ports_proto: PortsProto::new(port, port, self.proto()), ..self }
    }

    #[inline(always)]
    pub(crate) fn backward(&self) -> Self {
        Self { ports_proto: self.ports_proto.toggled(BACKWARD), ..*self }
    }

    #[inline(always)]
    pub(crate) const fn is_backward(&self) -> bool {
        self.ports_proto.has(BACKWARD)
    }

    #[inline(always)]
    fn between(a: u64, b: u64, proto: u8) -> Self {
        Self { addresses: (a >> 16 << 32) | (b >> 16), ports_proto: PortsProto::new(a as u16, b as u16, proto) }
    }

    /// Addresses of the lower and the higher endpoint.
    pub const fn addresses(&self) -> [u32; 2] {
        [(self.addresses >> 32) as u32, self.addresses as u32]
    }

    /// Their ports.
    pub const fn ports(&self) -> [u16; 2] {
        self.ports_proto.ports()
    }

    /// IP protocol number.
    pub const fn proto(&self) -> u8 {
        self.ports_proto.proto()
    }
}

impl FlowKey6 {
    /// The key of an IPv6 packet and the packet's direction in it.
    #[inline(always)]
    pub fn of(p: &Packet) -> (Self, u32) {
        Self::ordered((p.src6, p.src_port), (p.dst6, p.dst_port), p.proto)
    }

    /// The key of packets between these endpoints, and their direction in it.
    #[inline(always)]
    pub(crate) fn ordered(from: ([u64; 2], u16), to: ([u64; 2], u16), proto: u8) -> (Self, u32) {
        let key = |(a, a_port), (b, b_port)| Self { a, b, ports_proto: PortsProto::new(a_port, b_port, proto) };
        if in_order(from, to) { (key(from, to), 0) } else { (key(to, from), 1) }
    }

    /// Endpoints of a packet in this direction: from, to.
    #[inline(always)]
    pub(crate) fn ends(&self, direction: u32) -> (([u64; 2], u16), ([u64; 2], u16)) {
        let [a_port, b_port] = self.ports();
        if direction == 0 { ((self.a, a_port), (self.b, b_port)) } else { ((self.b, b_port), (self.a, a_port)) }
    }

    #[inline(always)]
    pub(crate) fn with_ports(self, port: u16) -> Self {
        Self { ports_proto: PortsProto::new(port, port, self.proto()), ..self }
    }

    #[inline(always)]
    pub(crate) fn backward(&self) -> Self {
        Self { ports_proto: self.ports_proto.toggled(BACKWARD), ..*self }
    }

    #[inline(always)]
    pub(crate) const fn is_backward(&self) -> bool {
        self.ports_proto.has(BACKWARD)
    }

    /// Addresses of the lower and the higher endpoint.
    pub const fn addresses(&self) -> [u128; 2] {
        [join(self.a), join(self.b)]
    }

    /// Their ports.
    pub const fn ports(&self) -> [u16; 2] {
        self.ports_proto.ports()
    }

    /// IP protocol number.
    pub const fn proto(&self) -> u8 {
        self.ports_proto.proto()
    }
}

const fn join(words: [u64; 2]) -> u128 {
    ((words[0] as u128) << 64) | words[1] as u128
}

/// Whether the IPv6 source endpoint is the lower one. Word by word: comparing arrays would call `memcmp`.
#[inline(always)]
fn in_order((s, s_port): ([u64; 2], u16), (d, d_port): ([u64; 2], u16)) -> bool {
    if s[0] != d[0] {
        return s[0] < d[0];
    }
    if s[1] != d[1] {
        return s[1] < d[1];
    }
    s_port <= d_port
}

/// Key of the overflow aggregate: where a packet went whose flow found no room, and whether it was a bare SYN. Sources are
/// left out, so a flood with made-up ones is still measured exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct OverflowKey {
    /// Destination; IPv4 as an IPv4-mapped address (RFC 4291).
    destination: [u64; 2],
    /// Destination port (16 bits), protocol (8), 1 for SYN without ACK (8), 32 zero bits.
    port_proto_syn: u64,
}

impl OverflowKey {
    /// The key of a packet.
    #[inline(always)]
    pub fn of(p: &Packet, family: Family) -> Self {
        let destination = match family {
            Family::V4 => [0, IPV4_MAPPED | u64::from(p.dst4)],
            Family::V6 => p.dst6,
        };
        let syn = p.proto == proto::TCP && p.tcp_flags & (tcp::SYN | tcp::ACK) == tcp::SYN;
        let port_proto_syn =
            (u64::from(p.dst_port) << 48) | (u64::from(p.proto) << 40) | (u64::from(u8::from(syn)) << 32);
        Self { destination, port_proto_syn }
    }

    /// Destination address, IPv4 as an IPv4-mapped one.
    pub const fn destination(&self) -> u128 {
        join(self.destination)
    }

    /// Destination port.
    pub const fn port(&self) -> u16 {
        (self.port_proto_syn >> 48) as u16
    }

    /// IP protocol number.
    pub const fn proto(&self) -> u8 {
        (self.port_proto_syn >> 40) as u8
    }

    /// Whether these are SYNs without ACK.
    pub const fn is_syn(&self) -> bool {
        (self.port_proto_syn >> 32) as u8 != 0
    }
}

/// The upper half of `::ffff:0:0/96`.
const IPV4_MAPPED: u64 = 0xffff << 32;

/// Key of the fragment map: one datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct FragmentKey {
    source: [u64; 2],
    destination: [u64; 2],
    /// Identification (32 bits), protocol (8), 24 zero bits.
    id_proto: u64,
}

impl FragmentKey {
    /// The key of a fragment.
    #[inline(always)]
    pub fn of(p: &Packet, family: Family) -> Self {
        let (source, destination) = match family {
            Family::V4 => ([0, IPV4_MAPPED | u64::from(p.src4)], [0, IPV4_MAPPED | u64::from(p.dst4)]),
            Family::V6 => (p.src6, p.dst6),
        };
        // The protocol of a later IPv6 fragment is that of its first header, which need not be the transport's.
        let proto = if matches!(family, Family::V4) { p.proto } else { 0 };
        Self { source, destination, id_proto: (u64::from(p.datagram_id) << 32) | (u64::from(proto) << 24) }
    }
}

/// What the first fragment says of the later ones: source port (16 bits), destination port (16), protocol (8), and when
/// it passed, in units of 2^30 ns (24 bits).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct FragmentPorts(u64);

impl FragmentPorts {
    /// The ports of a first fragment.
    #[inline(always)]
    pub fn of(p: &Packet, now_ns: u64) -> Self {
        let ports = (u64::from(p.src_port) << 48) | (u64::from(p.dst_port) << 32) | (u64::from(p.proto) << 24);
        Self(ports | (now_ns >> 30 & 0xff_ffff))
    }

    /// Gives them to a later fragment; `false` when that comes too late to belong to the same datagram.
    #[inline(always)]
    pub fn apply(self, p: &mut Packet, now_ns: u64) -> bool {
        let age = (now_ns >> 30).wrapping_sub(self.0) & 0xff_ffff;
        if age > REASSEMBLY_TIMEOUT {
            return false;
        }
        p.src_port = (self.0 >> 48) as u16;
        p.dst_port = (self.0 >> 32) as u16;
        p.proto = (self.0 >> 24) as u8;
        true
    }
}

/// 60 s (RFC 8200) in units of 2^30 ns.
const REASSEMBLY_TIMEOUT: u64 = 56;

const _: () = assert!(size_of::<OverflowKey>() == 24 && size_of::<FragmentKey>() == 40);
const _: () = assert!(size_of::<FlowKey4>() == 16 && size_of::<FlowKey6>() == 40);

// SAFETY: `repr(C)`, only integers and arrays of them, padding explicit (sizes asserted above), valid for any bytes.
#[cfg(feature = "user")]
unsafe impl aya::Pod for FlowKey4 {}
// SAFETY: as above.
#[cfg(feature = "user")]
unsafe impl aya::Pod for FlowKey6 {}
// SAFETY: as above.
#[cfg(feature = "user")]
unsafe impl aya::Pod for OverflowKey {}
