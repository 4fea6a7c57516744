//! ICMP (RFC 792) and ICMPv6 (RFC 4443): type and code stand in for the ports.
//!
//! As in Zeek and the Community ID specification, a query and its answer form one flow: the source "port" is the type,
//! the destination "port" the type of the counterpart where one exists, else the code.

use super::{Packet, PacketReader, note};

const HEADER_LEN: u32 = 8;

#[inline(always)]
pub(super) fn parse<R: PacketReader>(
    reader: &R,
    offset: usize,
    l4_len: u32,
    packet: &mut Packet,
    counterpart: impl Fn(u8) -> Option<u8>,
    is_error: impl Fn(u8) -> bool,
) -> Option<()> {
    let [kind, code] = reader.read::<2>(offset)?;
    packet.src_port = u16::from(kind);
    packet.dst_port = u16::from(counterpart(kind).unwrap_or(code));
    packet.set_echo_id(reader.read::<2>(offset + 4).map_or(0, u16::from_be_bytes));
    packet.payload_len = l4_len.checked_sub(HEADER_LEN)?;
    if is_error(kind) {
        packet.notes |= note::ERROR;
        packet.payload_at = offset as u32 + HEADER_LEN;
    }
    Some(())
}

/// Destination unreachable, source quench, redirect, time exceeded, parameter problem.
#[inline(always)]
pub(super) const fn is_error_v4(kind: u8) -> bool {
    matches!(kind, 3 | 4 | 5 | 11 | 12)
}

/// Types below 128 (RFC 4443 section 2.1).
#[inline(always)]
pub(super) const fn is_error_v6(kind: u8) -> bool {
    kind < 128
}

/// Notes who speaks of whose link-layer address: neighbour solicitation and advertisement.
#[inline(always)]
pub(super) fn neighbor(offset: usize, packet: &mut Packet) {
    if matches!(packet.src_port, 135 | 136) {
        packet.notes |= note::NEIGHBOR;
        packet.payload_at = offset as u32;
    }
}

/// Pairs of ICMP types that ask and answer: echo, router, timestamp, information, address mask.
#[inline(always)]
pub(super) fn counterpart_v4(kind: u8) -> Option<u8> {
    Some(match kind {
        8 => 0,
        0 => 8,
        13 => 14,
        14 => 13,
        15 => 16,
        16 => 15,
        10 => 9,
        9 => 10,
        17 => 18,
        18 => 17,
        _ => return None,
    })
}

/// Pairs of ICMPv6 types: echo, router, neighbor, multicast listener, node information, home agent discovery.
#[inline(always)]
pub(super) fn counterpart_v6(kind: u8) -> Option<u8> {
    Some(match kind {
        128 => 129,
        129 => 128,
        133 => 134,
        134 => 133,
        135 => 136,
        136 => 135,
        130 => 131,
        131 => 130,
        139 => 140,
        140 => 139,
        144 => 145,
        145 => 144,
        _ => return None,
    })
}
