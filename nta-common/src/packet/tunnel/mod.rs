//! The inner packet of a tunnel: of IP in IP (RFC 2003, 2473, 4213), GRE and what is built on it (`gre.rs`), L2TPv3 over IP
//! (RFC 3931), and of what travels in UDP (`over_udp.rs`).

mod gre;
mod over_udp;
mod ppp;

pub(super) use ppp::ether_type as ppp_ether_type;

use super::{L4, Next, Packet, PacketReader, eth, fragment, proto, shim};
use crate::TunnelPorts;
use crate::limits::MAX_HEADER_BYTES;

const IPV4_IN_IP: u8 = 4;
const IPV6_IN_IP: u8 = 41;
const GRE: u8 = 47;
const L2TP: u8 = 115;

/// An Ethernet frame follows (also IANA's "Transparent Ethernet Bridging").
const TRANSPARENT_ETHERNET: u16 = 0x6558;

/// What a tunnel carries: a packet, an Ethernet frame, labels of MPLS.
const IPV4_PACKET: usize = 0;
const IPV6_PACKET: usize = 1;
const FRAME: usize = 2;
const LABELS: usize = 3;

/// Bytes of L2TPv3's session id, and of a cookie and the sublayer that may follow it: which of them do, is agreed upon when the
/// session is set up and not seen in the packet.
const L2TP_SESSION_LEN: usize = 4;
const L2TP_OPTIONAL: [usize; 4] = [4, 0, 8, 12];
const ETHER_TYPE_AT: usize = 12;
const IPV4_HEADER_LEN: usize = 20;
const IPV6_HEADER_LEN: usize = 40;

/// Where the inner packet's IP header begins, if this is a tunnel that carries one.
#[inline(always)]
pub(super) fn enter<R: PacketReader>(reader: &R, ports: &TunnelPorts, l4: L4, packet: &mut Packet) -> Option<Next> {
    if packet.fragment == fragment::LATER || l4.offset >= MAX_HEADER_BYTES {
        return None;
    }
    let at = reader.forget(l4.offset);
    let next = match packet.proto {
        IPV4_IN_IP => Next { ether_type: eth::IPV4, offset: at },
        IPV6_IN_IP => Next { ether_type: eth::IPV6, offset: at },
        GRE => gre::enter(reader, at)?,
        L2TP => session(reader, at)?,
        proto::UDP => over_udp::enter(reader, ports, at, packet)?,
        _ => return None,
    };
    // A small number in place of the type, so that the verifier can forget which of the many ways led here.
    let content = match next.ether_type {
        eth::IPV4 => IPV4_PACKET,
        eth::IPV6 => IPV6_PACKET,
        TRANSPARENT_ETHERNET => FRAME,
        shim::MPLS => LABELS,
        _ => return None,
    };
    let content = reader.forget(content);
    let start = bounded(reader, next.offset)?;
    // Only what can be accounted replaces the tunnel.
    let next = match content {
        IPV4_PACKET => Next { ether_type: eth::IPV4, offset: start },
        IPV6_PACKET => Next { ether_type: eth::IPV6, offset: start },
        FRAME => eth::parse(reader, start, packet).ok()?,
        _ => shim::skip(reader, Next { ether_type: shim::MPLS, offset: start }).ok()?,
    };
    let packet = bare(reader, next.offset)?;
    (packet.ether_type == next.ether_type).then_some(packet)
}

/// The Ethernet frame of an L2TPv3 session, wherever it has a packet where it should be.
#[inline(always)]
fn session<R: PacketReader>(reader: &R, at: usize) -> Option<Next> {
    // Session 0 is control.
    if reader.read::<L2TP_SESSION_LEN>(at)? == [0; L2TP_SESSION_LEN] {
        return None;
    }
    for optional in L2TP_OPTIONAL {
        let frame = reader.forget(at + L2TP_SESSION_LEN + optional);
        let Some([high, low, first]) = reader.read::<3>(frame + ETHER_TYPE_AT) else { break };
        let next = Next { ether_type: u16::from_be_bytes([high, low]), offset: frame + ETHER_TYPE_AT + 2 };
        if matches!((next.ether_type, first >> 4), (eth::IPV4, 4) | (eth::IPV6, 6)) {
            return Some(next);
        }
    }
    None
}

/// The packet that begins here, of the family that its first bits say. One whose header is cut off or contradicts itself is none:
/// the tunnel is accounted as what it is.
#[inline(always)]
fn bare<R: PacketReader>(reader: &R, offset: usize) -> Option<Next> {
    let offset = bounded(reader, offset)?;
    let [first] = reader.read::<1>(offset)?;
    if first >> 4 == 6 {
        reader.read::<1>(offset + IPV6_HEADER_LEN - 1)?;
        return Some(Next { ether_type: eth::IPV6, offset });
    }
    let [_, _, high, low] = reader.read::<4>(offset)?;
    reader.read::<1>(offset + IPV4_HEADER_LEN - 1)?;
    let (header_len, total_len) = (usize::from(first & 0x0f) * 4, usize::from(u16::from_be_bytes([high, low])));
    // 0 stands for the frame's length, as where the packet is parsed.
    let is_whole = first >> 4 == 4 && header_len >= IPV4_HEADER_LEN && (total_len == 0 || total_len >= header_len);
    is_whole.then_some(Next { ether_type: eth::IPV4, offset })
}

#[inline(always)]
fn bounded<R: PacketReader>(reader: &R, offset: usize) -> Option<usize> {
    (offset < MAX_HEADER_BYTES).then(|| reader.forget(offset))
}
