//! Tunnels that travel in UDP, most of them known by their port: VXLAN (RFC 7348), VXLAN-GPE (draft-ietf-nvo3-vxlan-gpe), Geneve
//! (RFC 8926), GTP-U (3GPP TS 29.281), GRE (RFC 8086), Teredo (RFC 4380), AYIYA (draft-massar-v6ops-ayiya), TZSP, L2TP (RFC 2661,
//! 3931).

use super::{Next, Packet, PacketReader, TRANSPARENT_ETHERNET, bare, bounded, eth, gre, ppp, session};
use crate::TunnelPorts;

const UDP_LEN: usize = 8;
const VXLAN_LEN: usize = 8;
const GENEVE_LEN: usize = 8;
const GRE_PORT: u16 = 4754;

const VXLAN_GPE_PORT: u16 = 4790;
/// Numbers of what follows VXLAN-GPE.
const GPE_IPV4: u8 = 1;
const GPE_IPV6: u8 = 2;
const GPE_ETHERNET: u8 = 3;

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
/// Who sent it: 2 bytes of type, lengths of identifier and authentication value, both, a nonce and a confirmation byte.
const TEREDO_AUTHENTICATION_LEN: usize = 4 + 8 + 1;
/// The first word of a Teredo address.
const TEREDO_PREFIX: [u8; 4] = [0x20, 0x01, 0, 0];
const IPV6_LEN: u32 = 40;

const AYIYA_PORT: u16 = 5072;
const AYIYA_LEN: usize = 8;
/// Operation "forward".
const AYIYA_FORWARD: u8 = 1;
const AYIYA_IPV4: u8 = 4;
const AYIYA_IPV6: u8 = 41;

const TZSP_PORT: u16 = 37_008;
const TZSP_LEN: usize = 4;
const TZSP_ETHERNET: u16 = 1;
const TZSP_PADDING: u8 = 0;
const TZSP_END: u8 = 1;
/// Tags that are stepped over: senders write a handful.
const TZSP_TAGS: usize = 8;

const L2TP_PORT: u16 = 1701;
/// Bits of its first byte, and the version in its second.
const L2TP_CONTROL: u8 = 0x80;
const L2TP_LENGTH: u8 = 0x40;
const L2TP_SEQUENCE: u8 = 0x08;
const L2TP_OFFSET: u8 = 0x02;
const L2TP_VERSION: u8 = 0x0f;

/// The inner packet of a datagram whose UDP header begins at `at`.
#[inline(always)]
pub(super) fn enter<R: PacketReader>(reader: &R, ports: &TunnelPorts, at: usize, packet: &Packet) -> Option<Next> {
    let (port, at) = (packet.dst_port, at + UDP_LEN);
    if ports.is_vxlan(port) {
        return Some(Next { ether_type: TRANSPARENT_ETHERNET, offset: at + VXLAN_LEN });
    }
    if ports.is_geneve(port) {
        let [first, _, type_high, type_low] = reader.read::<4>(at)?;
        let options = usize::from(first & 0x3f) * 4;
        let ether_type = u16::from_be_bytes([type_high, type_low]);
        return Some(Next { ether_type, offset: at + GENEVE_LEN + options });
    }
    match port {
        VXLAN_GPE_PORT => {
            let [next] = reader.read::<1>(at + 3)?;
            let ether_type = match next {
                GPE_IPV4 => eth::IPV4,
                GPE_IPV6 => eth::IPV6,
                GPE_ETHERNET => TRANSPARENT_ETHERNET,
                _ => return None,
            };
            Some(Next { ether_type, offset: at + VXLAN_LEN })
        }
        GTP_PORT => gtp(reader, at),
        GRE_PORT => gre::enter(reader, at),
        TZSP_PORT => tzsp(reader, at),
        _ if port == L2TP_PORT || packet.src_port == L2TP_PORT => l2tp(reader, at),
        _ if port == AYIYA_PORT || packet.src_port == AYIYA_PORT => ayiya(reader, at),
        _ if port == TEREDO_PORT || packet.src_port == TEREDO_PORT => teredo(reader, at),
        _ => teredo_between_peers(reader, at, packet.payload_len),
    }
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
    bare(reader, offset)
}

#[inline(always)]
fn teredo<R: PacketReader>(reader: &R, at: usize) -> Option<Next> {
    let mut at = at;
    let [first, second, identifier, value] = reader.read::<4>(at)?;
    if [first, second] == [0, 1] {
        at = bounded(reader, at + TEREDO_AUTHENTICATION_LEN + usize::from(identifier) + usize::from(value))?;
    }
    let [first] = reader.read::<1>(at)?;
    Some(Next { ether_type: eth::IPV6, offset: at + if first == 0 { TEREDO_ORIGIN_LEN } else { 0 } })
}

/// Peers that know one another talk between ports of their own: a whole IPv6 packet, no more and no less, from or to a Teredo address.
#[inline(always)]
fn teredo_between_peers<R: PacketReader>(reader: &R, at: usize, payload_len: u32) -> Option<Next> {
    let [first, _, _, _, high, low] = reader.read::<6>(at)?;
    let whole = u32::from(u16::from_be_bytes([high, low])) + IPV6_LEN == payload_len;
    if first >> 4 != 6 || !whole {
        return None;
    }
    let is_teredo = reader.read::<4>(at + 8)? == TEREDO_PREFIX || reader.read::<4>(at + 24)? == TEREDO_PREFIX;
    is_teredo.then_some(Next { ether_type: eth::IPV6, offset: at })
}

/// Lengths of identity and signature are in the upper halves of the first two bytes: 2 to that power, and words.
#[inline(always)]
fn ayiya<R: PacketReader>(reader: &R, at: usize) -> Option<Next> {
    let [identity, signature, operation, next] = reader.read::<4>(at)?;
    let ether_type = match next {
        AYIYA_IPV4 => eth::IPV4,
        AYIYA_IPV6 => eth::IPV6,
        _ => return None,
    };
    if operation & 0x0f != AYIYA_FORWARD {
        return None;
    }
    let signature = usize::from(signature >> 4) * 4;
    Some(Next { ether_type, offset: at + AYIYA_LEN + (1 << (identity >> 4)) + signature })
}

/// What a sniffer sends of what it hears: tags with a type and a length, then an Ethernet frame.
#[inline(always)]
fn tzsp<R: PacketReader>(reader: &R, at: usize) -> Option<Next> {
    let [version, _, high, low] = reader.read::<TZSP_LEN>(at)?;
    if version != 1 || u16::from_be_bytes([high, low]) != TZSP_ETHERNET {
        return None;
    }
    let mut at = at + TZSP_LEN;
    for _ in 0..TZSP_TAGS {
        at = bounded(reader, at)?;
        let [tag, len] = reader.read::<2>(at)?;
        match tag {
            TZSP_END => return Some(Next { ether_type: TRANSPARENT_ETHERNET, offset: at + 1 }),
            TZSP_PADDING => at += 1,
            _ => at += 2 + usize::from(len),
        }
    }
    None
}

/// PPP of version 2, a frame of version 3.
#[inline(always)]
fn l2tp<R: PacketReader>(reader: &R, at: usize) -> Option<Next> {
    let [flags, version] = reader.read::<2>(at)?;
    if flags & L2TP_CONTROL != 0 {
        return None;
    }
    if version & L2TP_VERSION == 3 {
        return session(reader, at + 4);
    }
    if version & L2TP_VERSION != 2 {
        return None;
    }
    // Length, numbers of tunnel and session, sequence numbers, padding.
    let mut at = at + 2 + if flags & L2TP_LENGTH != 0 { 2 } else { 0 } + 4;
    if flags & L2TP_SEQUENCE != 0 {
        at += 4;
    }
    if flags & L2TP_OFFSET != 0 {
        let [high, low] = reader.read::<2>(reader.forget(at))?;
        at += 2 + usize::from(u16::from_be_bytes([high, low]));
    }
    ppp::enter(reader, at)
}
