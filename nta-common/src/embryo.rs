//! Flows of which one packet was seen, in a tenth of the memory that a whole entry takes.
//!
//! What scans, floods and made-up sources send is mostly the first packet of a flow that never has a second. Such a packet is
//! kept as what it says, and becomes the whole entry that it would have made ([`Embryo::grow`]) with the second one, so that nobody can
//! tell the two ways apart.

use crate::account::First;
use crate::codegen;
use crate::flow::{Clock, FlowStats};
use crate::opening::Opening;
use crate::packet::{PacketReader, fragment, proto};
use crate::tcp;

/// The first packet of a flow. It is written once and never changed, so that whoever reads it sees all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Embryo {
    /// Coarse time.
    first_ns: u64,
    /// Of a SYN its exact time, else how the payload begins.
    exact_or_opening: u64,
    wire_len: u32,
    ip_len: u32,
    /// How many packets the frame stood for.
    packets: u32,
    payload_len: u32,
    seq: u32,
    ack: u32,
    window: u16,
    datagram_id: u16,
    vlan: u16,
    tcp_flags: u8,
    bits: u8,
}

/// Bits of [`Embryo::bits`]; above them the number of payload bytes that are kept.
const DIRECTION: u8 = 1;
const HAS_TCP: u8 = 1 << 1;
const IS_CLAIM: u8 = 1 << 2;
const OPENING_SHIFT: u8 = 4;

impl Embryo {
    /// Keeps the first packet of a flow, which goes in this direction and stands for so many; `false` where it says more than there
    /// is room for: a SYN with payload, payload with timestamps or without any flag, a long datagram number. What was kept before is gone either way.
    #[inline(always)]
    pub fn keep<R: PacketReader, C: Clock>(&mut self, reader: &R, first: &First<'_>, packets: u32, clock: &C) -> bool {
        let p = first.packet;
        let is_tcp = p.has_tcp();
        let is_datagram = p.proto == proto::UDP && p.fragment != fragment::LATER && p.l4_truncated == 0;
        let payload_len = if is_tcp || is_datagram { p.payload_len } else { 0 };
        let has_syn = p.tcp_flags & tcp::SYN != 0;
        let says_more = payload_len != 0 && (has_syn || p.has_timestamps != 0 || p.tcp_flags == 0)
            || p.datagram_id > u32::from(u16::MAX);
        if is_tcp && says_more {
            return false;
        }
        let mut bits = first.direction as u8 & DIRECTION;
        if is_tcp {
            bits |= HAS_TCP;
        }
        self.exact_or_opening = 0;
        if is_tcp && has_syn && p.tcp_flags & tcp::ACK == 0 {
            self.exact_or_opening = clock.exact_ns();
        } else if payload_len != 0
            && let Some((len, bytes)) = reader.opening(p.payload_at as usize, payload_len)
        {
            self.exact_or_opening = u64::from_ne_bytes(bytes);
            bits |= (len as u8) << OPENING_SHIFT;
        }
        self.first_ns = first.now_ns;
        self.wire_len = p.wire_len;
        self.ip_len = p.ip_len;
        self.packets = packets;
        self.payload_len = payload_len;
        self.seq = p.seq;
        self.ack = p.ack;
        self.window = p.window as u16;
        self.datagram_id = p.datagram_id as u16;
        self.vlan = p.vlan;
        self.tcp_flags = p.tcp_flags;
        self.bits = bits;
        true
    }

    /// Nothing but that somebody makes a whole entry of this flow: who comes next finds it there.
    #[inline(always)]
    pub const fn claim(&mut self, now_ns: u64) {
        self.first_ns = now_ns;
        self.bits = IS_CLAIM;
    }

    /// Whether no packet is counted here.
    #[inline(always)]
    pub const fn is_claim(&self) -> bool {
        self.bits & IS_CLAIM != 0
    }

    /// Coarse time of the packet.
    pub const fn first_ns(&self) -> u64 {
        self.first_ns
    }

    /// Makes the entry that this packet of a flow of this protocol would have made: `flow` is empty before.
    #[inline(always)]
    pub fn grow(&self, proto: u8, flow: &mut FlowStats) {
        let direction = u32::from(self.bits & DIRECTION);
        let answers = proto == proto::TCP && self.tcp_flags & (tcp::SYN | tcp::ACK) == tcp::SYN | tcp::ACK;
        flow.first_ns = self.first_ns;
        flow.last_ns = self.first_ns;
        flow.originator = (if answers { direction ^ 1 } else { direction }) as u8;
        flow.vlan = self.vlan;
        let (from, to) = codegen::pair(&mut flow.dir, direction);
        from.volume.add(self.packets, self.wire_len, self.ip_len);
        if self.bits & HAS_TCP != 0 {
            let first = tcp::FirstSegment {
                now_ns: self.first_ns,
                exact_ns: self.exact_or_opening,
                flags: self.tcp_flags,
                seq: self.seq,
                ack: self.ack,
                window: self.window,
                datagram_id: self.datagram_id,
                payload_len: self.payload_len,
                direction,
                by_originator: !answers,
            };
            tcp::begin(&mut from.tcp, &mut to.tcp, &mut flow.tcp, &first);
        } else if self.payload_len != 0 {
            from.tcp.marks.set_data();
        }
        let len = u16::from(self.bits >> OPENING_SHIFT);
        if len != 0 {
            // Of a datagram it is the beginning; of a stream whose SYN was not seen it is not known to be.
            let (seq, from_start) = if self.bits & HAS_TCP == 0 { (0, 1) } else { (self.seq, 0) };
            let bytes = self.exact_or_opening.to_ne_bytes();
            flow.openings[direction as usize & 1] = Opening::kept(len, bytes, seq, from_start);
        }
    }

    /// The same by itself.
    pub fn grown(&self, proto: u8) -> FlowStats {
        let mut flow = FlowStats::default();
        self.grow(proto, &mut flow);
        flow
    }
}

// A tenth of an entry, and with an IPv6 key and what the kernel adds less than a quarter of one.
const _: () = assert!(size_of::<Embryo>() == 48);

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, integers without padding, for which every bit pattern is valid.
unsafe impl aya::Pod for Embryo {}

#[cfg(test)]
#[path = "embryo_tests.rs"]
mod tests;
