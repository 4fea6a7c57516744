//! IPv6 (RFC 8200) with its extension headers.
//!
//! Offsets: version 0, payload length 4..6, next header 6, source 8..24, destination 24..40. An extension header names
//! the next one in byte 0 and its own length in byte 1, in units of 8 bytes beyond the first 8 (the authentication
//! header: of 4 bytes beyond the first 8, RFC 4302).

use super::{L4, Packet, PacketReader, fragment, note};
use crate::Counter;
use crate::limits::{MAX_HEADER_BYTES, MAX_IPV6_EXTENSIONS};

pub(super) const HEADER_LEN: usize = 40;

/// What a frame is padded to (IEEE 802.3 section 3.2.8), with a VLAN tag: one no longer carries no jumbogram, but nothing.
const PADDED_LEN: u32 = 64;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;
const MOBILITY: u8 = 135;
const HOST_IDENTITY: u8 = 139;
const SHIM6: u8 = 140;

const FRAGMENT_OFFSET: u16 = 0xfff8;
const MORE_FRAGMENTS: u16 = 0x0001;

#[inline(always)]
pub(super) fn parse<R: PacketReader>(reader: &R, offset: usize, packet: &mut Packet) -> Result<L4, Counter> {
    let Some(h) = reader.read::<HEADER_LEN>(offset) else {
        return Err(Counter::Ipv6Truncated);
    };
    if h[0] >> 4 != 6 {
        return Err(Counter::Ipv6Malformed);
    }
    let mut remaining = u32::from(u16::from_be_bytes([h[4], h[5]]));
    if remaining == 0 && packet.wire_len > PADDED_LEN {
        // A jumbogram (RFC 2675) or segmentation offload: the frame's length counts.
        remaining = packet.wire_len.saturating_sub((offset + HEADER_LEN) as u32);
    }
    packet.ip_len = remaining + HEADER_LEN as u32;
    packet.src6 = [
        word([h[8], h[9], h[10], h[11], h[12], h[13], h[14], h[15]]),
        word([h[16], h[17], h[18], h[19], h[20], h[21], h[22], h[23]]),
    ];
    packet.dst6 = [
        word([h[24], h[25], h[26], h[27], h[28], h[29], h[30], h[31]]),
        word([h[32], h[33], h[34], h[35], h[36], h[37], h[38], h[39]]),
    ];
    packet.datagram_id = 0;
    let mut next = h[6];
    let mut at = offset + HEADER_LEN;
    for _ in 0..MAX_IPV6_EXTENSIONS {
        if packet.fragment == fragment::LATER || !is_extension(next) {
            break;
        }
        if at >= MAX_HEADER_BYTES {
            packet.notes |= note::CHAIN_CUT;
            break;
        }
        at = reader.forget(at);
        let Some(e) = reader.read::<4>(at) else {
            packet.notes |= note::CHAIN_CUT;
            break;
        };
        let len = match next {
            FRAGMENT => {
                let field = u16::from_be_bytes([e[2], e[3]]);
                if field & FRAGMENT_OFFSET != 0 {
                    packet.fragment = fragment::LATER;
                } else if field & MORE_FRAGMENTS != 0 {
                    packet.fragment = fragment::FIRST;
                }
                if let Some(id) = reader.read::<4>(at + 4) {
                    packet.datagram_id = u32::from_be_bytes(id);
                }
                8
            }
            AUTHENTICATION => (usize::from(e[1]) + 2) * 4,
            _ => (usize::from(e[1]) + 1) * 8,
        };
        next = e[0];
        at += len;
        remaining = remaining.saturating_sub(len as u32);
    }
    packet.proto = next;
    if is_extension(next) && packet.fragment != fragment::LATER {
        packet.notes |= note::CHAIN_CUT;
    }
    Ok(L4 { offset: at, len: remaining })
}

#[inline(always)]
fn is_extension(next: u8) -> bool {
    matches!(
        next,
        HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION_OPTIONS | MOBILITY | HOST_IDENTITY | SHIM6
    )
}

#[inline(always)]
const fn word(bytes: [u8; 8]) -> u64 {
    u64::from_be_bytes(bytes)
}
