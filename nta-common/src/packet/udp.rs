//! UDP (RFC 768), UDP-Lite (RFC 3828) and the common header of SCTP (RFC 9260): ports in the first four bytes.

use super::{Packet, PacketReader};

pub(super) const UDP_LEN: u32 = 8;
pub(super) const SCTP_LEN: u32 = 12;

#[inline(always)]
pub(super) fn parse<R: PacketReader>(
    reader: &R,
    offset: usize,
    l4_len: u32,
    packet: &mut Packet,
    header_len: u32,
) -> Option<()> {
    let h = reader.read::<4>(offset)?;
    packet.src_port = u16::from_be_bytes([h[0], h[1]]);
    packet.dst_port = u16::from_be_bytes([h[2], h[3]]);
    packet.payload_len = l4_len.checked_sub(header_len)?;
    packet.payload_at = offset as u32 + header_len;
    Some(())
}

/// DNS (RFC 1035) and multicast DNS (RFC 6762).
const DNS_PORTS: [u16; 2] = [53, 5353];

/// Marks a DNS message, by its ports.
#[inline(always)]
pub(super) fn dns(packet: &mut Packet) {
    let is_dns = |port: u16| port == DNS_PORTS[0] || port == DNS_PORTS[1];
    if is_dns(packet.src_port) || is_dns(packet.dst_port) {
        packet.dns = 1;
    }
}
