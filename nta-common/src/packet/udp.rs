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
    Some(())
}
