//! IPv4 (RFC 791) with options, and its fragments.
//!
//! Offsets: version and header length 0, total length 2..4, flags and fragment offset 6..8, protocol 9, source 12..16,
//! destination 16..20.

use super::{L4, Packet, PacketReader, fragment};
use crate::Counter;

pub(super) const HEADER_LEN: usize = 20;
const MORE_FRAGMENTS: u16 = 0x2000;
pub(super) const FRAGMENT_OFFSET: u16 = 0x1fff;

#[inline(always)]
pub(super) fn parse<R: PacketReader>(reader: &R, offset: usize, packet: &mut Packet) -> Result<L4, Counter> {
    let Some(h) = reader.read::<HEADER_LEN>(offset) else {
        return Err(Counter::Ipv4Truncated);
    };
    let header_len = usize::from(h[0] & 0x0f) * 4;
    let mut total_len = u32::from(u16::from_be_bytes([h[2], h[3]]));
    if total_len == 0 {
        // Segmentation offload leaves the field 0 in frames captured on the sending host: the frame's length counts.
        total_len = packet.wire_len.saturating_sub(offset as u32);
    }
    if h[0] >> 4 != 4 || header_len < HEADER_LEN || total_len < header_len as u32 {
        return Err(Counter::Ipv4Malformed);
    }
    packet.src4 = u32::from_be_bytes([h[12], h[13], h[14], h[15]]);
    packet.dst4 = u32::from_be_bytes([h[16], h[17], h[18], h[19]]);
    packet.proto = h[9];
    packet.ip_len = total_len;
    let field = u16::from_be_bytes([h[6], h[7]]);
    packet.datagram_id = u32::from(u16::from_be_bytes([h[4], h[5]]));
    if field & FRAGMENT_OFFSET != 0 {
        packet.fragment = fragment::LATER;
    } else if field & MORE_FRAGMENTS != 0 {
        packet.fragment = fragment::FIRST;
    }
    Ok(L4 { offset: offset + header_len, len: total_len - header_len as u32 })
}
