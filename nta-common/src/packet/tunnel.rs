//! The inner packet of VXLAN (RFC 7348), Geneve (RFC 8926), GRE (RFC 2784, 2890) and IP in IP (RFC 2003, 2473, 4213).

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
    Some(Next { ether_type: u16::from_be_bytes([type_high, type_low]), offset })
}

#[inline(always)]
fn bounded<R: PacketReader>(reader: &R, offset: usize) -> Option<usize> {
    (offset < MAX_HEADER_BYTES).then(|| reader.forget(offset))
}
