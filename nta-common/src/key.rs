//! Flow keys.
//!
//! A flow is bidirectional: both directions of a conversation share one entry, so that a round trip can be measured
//! inside it and one look-up serves a packet. The key holds the two endpoints in numeric order (the order of the
//! Community ID specification); a packet's direction is 0 when it was sent by endpoint `a`, 1 when by `b`.

use crate::packet::Packet;

/// Key of the IPv4 flow map: two words, because hashing and comparing the key is the largest part of a look-up, and a key
/// that is written in smaller pieces than it is read in stalls the processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct FlowKey4 {
    /// Lower endpoint's address, higher endpoint's.
    addresses: u64,
    ports_proto: PortsProto,
}

/// Key of the IPv6 flow map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct FlowKey6 {
    a: [u64; 2],
    b: [u64; 2],
    ports_proto: PortsProto,
}

/// Both ports and the protocol in one word: port of `a` (16 bits), port of `b` (16), protocol (8), 24 zero bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
struct PortsProto(u64);

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
}

impl FlowKey4 {
    /// The key of an IPv4 packet and the packet's direction in it.
    #[inline(always)]
    pub fn of(p: &Packet) -> (Self, u32) {
        let from = (u64::from(p.src4) << 16) | u64::from(p.src_port);
        let to = (u64::from(p.dst4) << 16) | u64::from(p.dst_port);
        if from <= to { (Self::between(from, to, p.proto), 0) } else { (Self::between(to, from, p.proto), 1) }
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
        if in_order(p) {
            (Self { a: p.src6, b: p.dst6, ports_proto: PortsProto::new(p.src_port, p.dst_port, p.proto) }, 0)
        } else {
            (Self { a: p.dst6, b: p.src6, ports_proto: PortsProto::new(p.dst_port, p.src_port, p.proto) }, 1)
        }
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
fn in_order(p: &Packet) -> bool {
    let [s, d] = [p.src6, p.dst6];
    if s[0] != d[0] {
        return s[0] < d[0];
    }
    if s[1] != d[1] {
        return s[1] < d[1];
    }
    p.src_port <= p.dst_port
}

const _: () = assert!(size_of::<FlowKey4>() == 16 && size_of::<FlowKey6>() == 40);

// SAFETY: `repr(C)`, only integers and arrays of them, padding explicit (sizes asserted above), valid for any bytes.
#[cfg(feature = "user")]
unsafe impl aya::Pod for FlowKey4 {}
// SAFETY: as above.
#[cfg(feature = "user")]
unsafe impl aya::Pod for FlowKey6 {}
