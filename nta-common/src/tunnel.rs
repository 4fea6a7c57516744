//! Tunnels that are opened: which packets were around the one that is accounted, and which flow lies within which.
//!
//! The outer packets are counted as well, each in a flow of its own, but in nothing else: the ledger, windows and detectors
//! have the innermost packet alone.

use crate::key::PortsProto;
use crate::limits::MAX_TUNNELS;
use crate::{Family, FlowKey4, FlowKey6, Packet};

/// Takes what the parser finds around a packet.
pub trait Wrappers {
    /// A packet that carries another one, at this place from the outside in.
    fn opened(&mut self, level: usize, family: Family, outer: &Packet);
}

/// For those who want to know the innermost packet only.
impl Wrappers for () {
    #[inline(always)]
    fn opened(&mut self, _level: usize, _family: Family, _outer: &Packet) {}
}

/// The packets around the one at hand, from the outside in. They mean something while that is one of a tunnel.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Outers {
    pub(crate) packets: [Packet; MAX_TUNNELS],
    /// 1 for IPv6, else 0.
    pub(crate) is_v6: [u32; MAX_TUNNELS],
    /// How many there are.
    pub(crate) count: u64,
    /// Where a link is put together: the stack of a program has no room for it.
    pub(crate) inner: Inner,
    pub(crate) outer: Outer,
}

impl Wrappers for Outers {
    #[inline(always)]
    fn opened(&mut self, level: usize, family: Family, outer: &Packet) {
        let (Some(place), Some(is_v6)) = (self.packets.get_mut(level), self.is_v6.get_mut(level)) else { return };
        *place = *outer;
        *is_v6 = u32::from(matches!(family, Family::V6));
        self.count = level as u64 + 1;
    }
}

/// A key of either family: IPv4 addresses are in the second word, and a mark says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
struct AnyKey {
    a: [u64; 2],
    b: [u64; 2],
    /// With marks in the bits that a key leaves 0.
    ports_proto: PortsProto,
}

/// Marks of a key: of IPv4, and of packets from `b`.
const IS_V4: u64 = 1;
const FROM_B: u64 = 2;

impl AnyKey {
    #[inline(always)]
    fn v4(key: &FlowKey4, marks: u64) -> Self {
        let [a, b] = key.addresses();
        Self { a: [0, u64::from(a)], b: [0, u64::from(b)], ports_proto: key.ports_proto.marked(IS_V4 | marks) }
    }

    #[inline(always)]
    fn v6(key: &FlowKey6, marks: u64) -> Self {
        Self { a: key.a, b: key.b, ports_proto: key.ports_proto.marked(marks) }
    }

    /// Not 0 where they differ, but for these marks. Word by word: comparing arrays would call `memcmp`.
    #[inline(always)]
    const fn difference(&self, other: &Self, but_for: u64) -> u64 {
        let a = (self.a[0] ^ other.a[0]) | (self.a[1] ^ other.a[1]);
        let b = (self.b[0] ^ other.b[0]) | (self.b[1] ^ other.b[1]);
        a | b | (self.ports_proto.0 ^ other.ports_proto.0) & !but_for
    }

    const fn has(&self, mark: u64) -> bool {
        self.ports_proto.0 & mark != 0
    }

    const fn as_v4(&self) -> Option<FlowKey4> {
        if !self.has(IS_V4) {
            return None;
        }
        Some(FlowKey4 { addresses: self.a[1] << 32 | self.b[1], ports_proto: self.ports_proto.unmarked() })
    }

    const fn as_v6(&self) -> FlowKey6 {
        FlowKey6 { a: self.a, b: self.b, ports_proto: self.ports_proto.unmarked() }
    }
}

/// Key of the map of links: one direction of a flow whose packets come within another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Inner(AnyKey);

impl Inner {
    /// Of a packet.
    #[inline(always)]
    pub(crate) fn of(packet: &Packet, is_v6: bool) -> Self {
        let from = |direction: u32| if direction == 0 { 0 } else { FROM_B };
        if is_v6 {
            let (key, direction) = FlowKey6::of(packet);
            Self(AnyKey::v6(&key, from(direction)))
        } else {
            let (key, direction) = FlowKey4::of(packet);
            Self(AnyKey::v4(&key, from(direction)))
        }
    }

    /// Of a direction of an IPv4 flow.
    pub fn of_v4(key: &FlowKey4, direction: usize) -> Self {
        Self(AnyKey::v4(key, direction as u64 * FROM_B))
    }

    /// The same of an IPv6 one.
    pub fn of_v6(key: &FlowKey6, direction: usize) -> Self {
        Self(AnyKey::v6(key, direction as u64 * FROM_B))
    }

    /// Its flow, if that is of IPv4.
    pub const fn v4(&self) -> Option<FlowKey4> {
        self.0.as_v4()
    }

    /// The same where it is not.
    pub const fn v6(&self) -> FlowKey6 {
        self.0.as_v6()
    }

    /// The direction: 0 from `a`, 1 from `b`.
    pub const fn direction(&self) -> usize {
        self.0.has(FROM_B) as usize
    }
}

/// Value of the map of links: the flow around it, by its key and the time of its first packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Outer {
    key: AnyKey,
    /// Coarse time.
    pub first_ns: u64,
}

impl Outer {
    #[inline(always)]
    pub(crate) fn of_v4(key: &FlowKey4) -> Self {
        Self { key: AnyKey::v4(key, 0), first_ns: 0 }
    }

    #[inline(always)]
    pub(crate) fn of_v6(key: &FlowKey6) -> Self {
        Self { key: AnyKey::v6(key, 0), first_ns: 0 }
    }

    /// The flow, if that is of IPv4.
    pub const fn v4(&self) -> Option<FlowKey4> {
        self.key.as_v4()
    }

    /// The same where it is not.
    pub const fn v6(&self) -> FlowKey6 {
        self.key.as_v6()
    }

    /// Whether both are the same.
    #[inline(always)]
    pub const fn is(&self, other: &Self) -> bool {
        self.key.difference(&other.key, 0) | (self.first_ns ^ other.first_ns) == 0
    }

    /// Whether this is the flow of `inner`: two tunnels between the same ends are one.
    #[inline(always)]
    pub(crate) const fn is_flow_of(&self, inner: &Inner) -> bool {
        self.key.difference(&inner.0, FROM_B) == 0
    }
}

const _: () = assert!(size_of::<Inner>() == 40 && size_of::<Outer>() == 48);
const _: () = assert!(size_of::<Outers>() == MAX_TUNNELS * (96 + 4) + 8 + 40 + 48 && MAX_TUNNELS.is_multiple_of(2));

// SAFETY: `repr(C)`, only integers and arrays of them, no padding (sizes asserted above), valid for any bytes.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Inner {}
// SAFETY: as above.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Outer {}
