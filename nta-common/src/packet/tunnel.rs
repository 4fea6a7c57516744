//! The inner packet of VXLAN (RFC 7348), Geneve (RFC 8926), GRE (RFC 2784, 2890), ERSPAN (draft-foschiano-erspan), IP in IP
//! (RFC 2003, 2473, 4213), GTP-U (3GPP TS 29.281) and Teredo (RFC 4380).

use super::{L4, Next, Packet, PacketReader, eth, fragment, proto};
use crate::limits::MAX_HEADER_BYTES;

const IPV4_IN_IP: u8 = 4;
const IPV6_IN_IP: u8 = 41;
const GRE: u8 = 47;

const UDP_LEN: usize = 8;
/// IANA ports; VXLAN's old Linux default 8472 is as common as the registered one.
const VXLAN_PORTS: [u16; 2] = [4789, 8472];
const GENEVE_PORT: u16 = 6081;
const VXLAN_LEN: usize = 8;
const GENEVE_LEN: usize = 8;
const TRANSPARENT_ETHERNET: u16 = 0x6558;
/// ERSPAN of type I, without a header and a sequence number, and of type II, with both.
const ERSPAN: u16 = 0x88be;
const ERSPAN_LEN: usize = 8;
const ERSPAN_3: u16 = 0x22eb;
const ERSPAN_3_LEN: usize = 12;
/// Whether a platform's 8 bytes follow: the lowest bit of the header.
const ERSPAN_3_MORE: u8 = 1;

const GTP_PORT: u16 = 2152;
const GTP_LEN: usize = 8;
/// Version 1 of GTP, not of GTP'. Its lowest bits say that 4 more bytes follow, one of them that extensions do.
const GTP_VERSION: u8 = 0x30;
const GTP_VERSION_MASK: u8 = 0xf0;
const GTP_MORE: u8 = 0x07;
const GTP_EXTENDED: u8 = 0x04;
const GTP_PACKET: u8 = 0xff;
/// Extension headers that are stepped over.
const GTP_EXTENSIONS: usize = 2;

const TEREDO_PORT: u16 = 3544;
/// Where the packet came from: 2 bytes of zero, port and address.
const TEREDO_ORIGIN_LEN: usize = 8;

const GRE_LEN: usize = 4;
/// GRE with checksum, routing, key, sequence number; and its version, which is 0 (1 is PPTP's).
const GRE_CHECKSUM: u8 = 0x80;
const GRE_ROUTING: u8 = 0x40;
const GRE_KEY: u8 = 0x20;
const GRE_SEQUENCE: u8 = 0x10;
const GRE_VERSION: u8 = 0x07;

/// Where the inner packet's IP header begins, if this is a tunnel that carries one.
#[inline(always)]
pub(super) fn enter<R: PacketReader>(reader: &R, l4: L4, packet: &mut Packet) -> Option<Next> {
    if packet.fragment == fragment::LATER || l4.offset >= MAX_HEADER_BYTES {
        return None;
    }
    let at = reader.forget(l4.offset);
    let next = match packet.proto {
        IPV4_IN_IP => Next { ether_type: eth::IPV4, offset: at },
        IPV6_IN_IP => Next { ether_type: eth::IPV6, offset: at },
        GRE => gre(reader, at)?,
        proto::UDP if VXLAN_PORTS[0] == packet.dst_port || VXLAN_PORTS[1] == packet.dst_port => {
            Next { ether_type: TRANSPARENT_ETHERNET, offset: at + UDP_LEN + VXLAN_LEN }
        }
        proto::UDP if packet.dst_port == GENEVE_PORT => {
            let [first, _, type_high, type_low] = reader.read::<4>(at + UDP_LEN)?;
            let options = usize::from(first & 0x3f) * 4;
            let ether_type = u16::from_be_bytes([type_high, type_low]);
            Next { ether_type, offset: at + UDP_LEN + GENEVE_LEN + options }
        }
        proto::UDP if packet.dst_port == GTP_PORT => gtp(reader, at + UDP_LEN)?,
        proto::UDP if packet.dst_port == TEREDO_PORT || packet.src_port == TEREDO_PORT => {
            let [first, _] = reader.read::<2>(at + UDP_LEN)?;
            Next { ether_type: eth::IPV6, offset: at + UDP_LEN + if first == 0 { TEREDO_ORIGIN_LEN } else { 0 } }
        }
        _ => return None,
    };
    let next = if next.ether_type == TRANSPARENT_ETHERNET {
        eth::parse(reader, bounded(reader, next.offset)?, packet).ok()?
    } else {
        next
    };
    // Only what can be accounted replaces the tunnel.
    let version = match next.ether_type {
        eth::IPV4 => 4,
        eth::IPV6 => 6,
        _ => return None,
    };
    let offset = bounded(reader, next.offset)?;
    let [first] = reader.read::<1>(offset)?;
    (first >> 4 == version).then_some(Next { ether_type: next.ether_type, offset })
}

#[inline(always)]
fn gre<R: PacketReader>(reader: &R, at: usize) -> Option<Next> {
    let [flags, version, type_high, type_low] = reader.read::<GRE_LEN>(at)?;
    if version & GRE_VERSION != 0 || flags & GRE_ROUTING != 0 {
        return None;
    }
    let optional = |flag: u8| if flags & flag != 0 { 4 } else { 0 };
    let offset = at + GRE_LEN + optional(GRE_CHECKSUM) + optional(GRE_KEY) + optional(GRE_SEQUENCE);
    let ether_type = u16::from_be_bytes([type_high, type_low]);
    let header = match ether_type {
        ERSPAN if flags & GRE_SEQUENCE == 0 => 0,
        ERSPAN => ERSPAN_LEN,
        ERSPAN_3 => {
            let [last] = reader.read::<1>(bounded(reader, offset)? + ERSPAN_3_LEN - 1)?;
            ERSPAN_3_LEN + if last & ERSPAN_3_MORE != 0 { 8 } else { 0 }
        }
        _ => return Some(Next { ether_type, offset }),
    };
    Some(Next { ether_type: TRANSPARENT_ETHERNET, offset: offset + header })
}

/// The user's packet of GTP-U: of which family it is, its first bits say.
#[inline(always)]
fn gtp<R: PacketReader>(reader: &R, at: usize) -> Option<Next> {
    let [flags, kind] = reader.read::<2>(at)?;
    if flags & GTP_VERSION_MASK != GTP_VERSION || kind != GTP_PACKET {
        return None;
    }
    let mut offset = at + GTP_LEN;
    if flags & GTP_MORE != 0 {
        // Sequence number and N-PDU number, then what follows; each extension says how many words it has, and what follows.
        offset += 4;
        for _ in 0..GTP_EXTENSIONS {
            offset = bounded(reader, offset)?;
            let [next, words] = reader.read::<2>(offset - 1)?;
            if flags & GTP_EXTENDED == 0 || next == 0 {
                break;
            }
            offset += usize::from(words) * 4;
        }
    }
    offset = bounded(reader, offset)?;
    let [first] = reader.read::<1>(offset)?;
    let ether_type = if first >> 4 == 6 { eth::IPV6 } else { eth::IPV4 };
    Some(Next { ether_type, offset })
}

#[inline(always)]
fn bounded<R: PacketReader>(reader: &R, offset: usize) -> Option<usize> {
    (offset < MAX_HEADER_BYTES).then(|| reader.forget(offset))
}
