//! Events: what is reported of single packets beside the counting, DNS messages, ARP, neighbour discovery and headers of every Nth packet; and
//! sampling. The decision and the layout are shared by the kernel programs and the user engine of a replay.
//!
//! An event is a head and the first bytes of its packet. Each kind has a rate limit of its own, by the packets' coarse
//! time. What is not emitted is counted by kind and reason; the counting of packets does not depend on any of it.

use core::hint::cold_path;

use crate::packet::COPY_UNIT;
use crate::{Counter, Family, LedgerSlot, Packet, PacketReader};

/// Bytes of a DNS message that are emitted: a whole one without EDNS (RFC 1035 section 2.3.4).
pub const DNS_BYTES: usize = 512;
/// Bytes of a frame that a [`Kind::Raw`] event holds.
pub const RAW_BYTES: usize = 128;
/// Bytes of Ethernet addresses that stand before the ARP packet in its event.
pub const ETHERNET_ADDRESSES: usize = 12;
/// Bytes of an ARP packet for IPv4 over Ethernet (RFC 826).
pub const ARP_BYTES: usize = 28;

/// Interval of the rate limits in nanoseconds.
const SECOND_NS: u64 = 1_000_000_000;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// A DNS message over UDP: its first [`DNS_BYTES`].
    Dns = 0,
    /// An ARP packet: the frame's addresses, then the packet; no bytes when it is cut off.
    Arp,
    /// The head of a frame: its first [`RAW_BYTES`].
    Raw,
    /// A neighbour solicitation or advertisement (RFC 4861): the frame's first [`RAW_BYTES`], which hold its first options.
    Nd,
}

impl Kind {
    /// All kinds in order.
    pub const ALL: [Self; 4] = [Self::Dns, Self::Arp, Self::Raw, Self::Nd];

    /// The kind of this number.
    pub fn of(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u32 == number)
    }

    /// The name under which API and metrics report it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Arp => "arp",
            Self::Raw => "raw",
            Self::Nd => "nd",
        }
    }

    /// The counters of this kind: emitted, over the rate limit, no room in the ring.
    pub const fn counters(self) -> [Counter; 3] {
        match self {
            Self::Dns => [Counter::EventDns, Counter::EventDnsLimited, Counter::EventDnsNoRoom],
            Self::Arp => [Counter::EventArp, Counter::EventArpLimited, Counter::EventArpNoRoom],
            Self::Raw => [Counter::EventRaw, Counter::EventRawLimited, Counter::EventRawNoRoom],
            Self::Nd => [Counter::EventNd, Counter::EventNdLimited, Counter::EventNdNoRoom],
        }
    }
}

/// What stands before the bytes of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct EventHead {
    /// Coarse time of the packet.
    pub time_ns: u64,
    /// Source address of DNS, most significant word first; IPv4 in the first word alone.
    pub src: [u64; 2],
    /// Destination address of DNS.
    pub dst: [u64; 2],
    /// [`Kind`] by number.
    pub kind: u32,
    /// Length of the frame on the wire in bytes.
    pub wire_len: u32,
    /// Bytes that the event holds.
    pub data_len: u32,
    /// Length of the DNS message by its headers; of neighbour discovery where in the frame the ICMPv6 header begins.
    pub message_len: u32,
    /// Source port of DNS.
    pub src_port: u16,
    /// Destination port of DNS.
    pub dst_port: u16,
    /// VLAN id of the outermost tag, 0 without one.
    pub vlan: u16,
    /// 4 or 6 for DNS, else 0.
    pub family: u16,
}

/// An event with room for `N` bytes, of which the last [`COPY_UNIT`] are slack.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct EventBuffer<const N: usize> {
    /// What it is about.
    pub head: EventHead,
    /// The bytes; what is behind `head.data_len` means nothing.
    pub data: [u8; N],
}

/// Where events go, and how many of them.
pub trait Events {
    /// Every how many-th packet is accounted; 1 and 0 mean each.
    fn sample(&self) -> u32;

    /// Of how many packets the head of one is emitted; 0 emits none.
    fn raw_every(&self) -> u32;

    /// Events of this kind that are emitted in a second, of one interface on one CPU; 0 emits none.
    fn per_second(&self, kind: Kind) -> u32;

    /// Has an event filled and hands it over; answers whether there was room.
    fn put<const N: usize>(&mut self, fill: impl FnOnce(&mut EventBuffer<N>)) -> bool;
}

/// Turns and rate limits of one interface on one CPU.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct EventState {
    /// When the running second of each kind began.
    since_ns: [u64; 4],
    /// Events emitted in it.
    emitted: [u32; 4],
    /// Packets since the last one that was accounted.
    unsampled: u32,
    /// Packets since the last one whose head was emitted.
    skipped: u32,
}

impl EventState {
    /// Whether sampling leaves this packet out.
    #[inline(always)]
    pub(crate) fn leaves_out<E: Events>(&mut self, events: &E) -> bool {
        let every = events.sample();
        every > 1 && !turn(&mut self.unsampled, every)
    }

    /// Whether another event of this kind may be emitted in the second that `now_ns` lies in. A step back in time begins
    /// a new one.
    #[inline(always)]
    fn allows(&mut self, kind: Kind, per_second: u32, now_ns: u64) -> bool {
        let (since_ns, emitted) = (&mut self.since_ns[kind as usize], &mut self.emitted[kind as usize]);
        if now_ns.wrapping_sub(*since_ns) >= SECOND_NS {
            *since_ns = now_ns;
            *emitted = 0;
        }
        let allowed = *emitted < per_second;
        *emitted += u32::from(allowed);
        allowed
    }
}

/// Counts one up; true, and back to 0, at every `every`-th call.
#[inline(always)]
fn turn(count: &mut u32, every: u32) -> bool {
    *count += 1;
    let is_turn = *count >= every;
    if is_turn {
        *count = 0;
    }
    is_turn
}

/// Emits the head of every Nth frame.
#[inline(always)]
pub(crate) fn raw<R: PacketReader, E: Events>(
    reader: &R,
    events: &mut E,
    state: &mut EventState,
    ledger: &mut LedgerSlot,
    now_ns: impl FnOnce() -> u64,
) {
    let every = events.raw_every();
    if every == 0 || !turn(&mut state.skipped, every) {
        return;
    }
    cold_path();
    let now_ns = now_ns();
    emit::<E, { RAW_BYTES + COPY_UNIT }>(Kind::Raw, events, state, ledger, now_ns, |event| {
        event.head = EventHead { time_ns: now_ns, kind: Kind::Raw as u32, ..EventHead::default() };
        event.head.wire_len = reader.wire_len();
        event.head.data_len = reader.copy(0, RAW_BYTES as u32, &mut event.data);
    });
}

/// Emits an ARP packet, which begins at `payload_at`.
#[inline(always)]
pub(crate) fn arp<R: PacketReader, E: Events>(
    reader: &R,
    packet: &Packet,
    events: &mut E,
    state: &mut EventState,
    ledger: &mut LedgerSlot,
    now_ns: u64,
) {
    emit::<E, { ETHERNET_ADDRESSES + ARP_BYTES }>(Kind::Arp, events, state, ledger, now_ns, |event| {
        event.head = EventHead { time_ns: now_ns, kind: Kind::Arp as u32, ..EventHead::default() };
        event.head.wire_len = packet.wire_len;
        event.head.vlan = packet.vlan;
        let at = reader.forget(packet.payload_at as usize);
        if let (Some(addresses), Some(arp)) = (reader.read::<ETHERNET_ADDRESSES>(0), reader.read::<ARP_BYTES>(at)) {
            event.data[..ETHERNET_ADDRESSES].copy_from_slice(&addresses);
            event.data[ETHERNET_ADDRESSES..].copy_from_slice(&arp);
            event.head.data_len = (ETHERNET_ADDRESSES + ARP_BYTES) as u32;
        }
    });
}

/// Emits a message of neighbour discovery, whose ICMPv6 header begins at `payload_at`.
#[inline(always)]
pub(crate) fn neighbor<R: PacketReader, E: Events>(
    reader: &R,
    packet: &Packet,
    events: &mut E,
    state: &mut EventState,
    ledger: &mut LedgerSlot,
    now_ns: u64,
) {
    emit::<E, { RAW_BYTES + COPY_UNIT }>(Kind::Nd, events, state, ledger, now_ns, |event| {
        event.head = EventHead { time_ns: now_ns, kind: Kind::Nd as u32, ..EventHead::default() };
        event.head.wire_len = packet.wire_len;
        event.head.message_len = packet.payload_at;
        event.head.vlan = packet.vlan;
        event.head.data_len = reader.copy(0, RAW_BYTES as u32, &mut event.data);
    });
}

/// Emits a DNS message, which begins at `payload_at`.
#[inline(always)]
pub(crate) fn dns<R: PacketReader, E: Events>(
    reader: &R,
    packet: &Packet,
    family: Family,
    events: &mut E,
    state: &mut EventState,
    ledger: &mut LedgerSlot,
    now_ns: u64,
) {
    emit::<E, { DNS_BYTES + COPY_UNIT }>(Kind::Dns, events, state, ledger, now_ns, |event| {
        let (src, dst, family) = match family {
            Family::V4 => ([u64::from(packet.src4), 0], [u64::from(packet.dst4), 0], 4),
            Family::V6 => (packet.src6, packet.dst6, 6),
        };
        event.head = EventHead {
            time_ns: now_ns,
            src,
            dst,
            kind: Kind::Dns as u32,
            wire_len: packet.wire_len,
            data_len: 0,
            message_len: packet.payload_len,
            src_port: packet.src_port,
            dst_port: packet.dst_port,
            vlan: packet.vlan,
            family,
        };
        event.head.data_len = reader.copy(packet.payload_at as usize, packet.payload_len, &mut event.data);
    });
}

/// Emits an event if limit and room allow, and counts what became of it.
#[inline(always)]
fn emit<E: Events, const N: usize>(
    kind: Kind,
    events: &mut E,
    state: &mut EventState,
    ledger: &mut LedgerSlot,
    now_ns: u64,
    fill: impl FnOnce(&mut EventBuffer<N>),
) {
    let per_second = events.per_second(kind);
    if per_second == 0 {
        return;
    }
    let [emitted, limited, no_room] = kind.counters();
    if !state.allows(kind, per_second, now_ns) {
        ledger.bump(limited);
    } else if events.put(fill) {
        ledger.bump(emitted);
    } else {
        ledger.bump(no_room);
    }
}

const _: () = assert!(size_of::<EventHead>() == 64 && size_of::<EventState>() == 56);

// SAFETY: `repr(C)`, only integers, no padding (asserted above), valid for any bytes.
#[cfg(feature = "user")]
unsafe impl aya::Pod for EventHead {}

#[cfg(test)]
mod tests;
