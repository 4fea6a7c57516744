//! PPP (RFC 1661) in PPTP, L2TP and PPPoE: which packet a frame carries.

use super::{Next, PacketReader, bounded, eth};

const IPV4: u16 = 0x0021;
const IPV6: u16 = 0x0057;
/// Address and control of PPP in HDLC framing, which both ends may agree to leave out.
const ADDRESS_CONTROL: [u8; 2] = [0xff, 0x03];

/// The Ethernet type of what a protocol number stands for; 0 for anything but IP.
#[inline(always)]
pub(in crate::packet) fn ether_type(protocol: u16) -> u16 {
    match protocol {
        IPV4 => eth::IPV4,
        IPV6 => eth::IPV6,
        _ => 0,
    }
}

/// What a frame carries. A protocol number whose first byte is odd is one byte long (RFC 1661, 6.5).
#[inline(always)]
pub(super) fn enter<R: PacketReader>(reader: &R, at: usize) -> Option<Next> {
    let mut at = bounded(reader, at)?;
    if reader.read::<2>(at)? == ADDRESS_CONTROL {
        at = reader.forget(at + 2);
    }
    let [first, second] = reader.read::<2>(at)?;
    let (protocol, len) = if first & 1 != 0 { (u16::from(first), 1) } else { (u16::from_be_bytes([first, second]), 2) };
    let ether_type = ether_type(protocol);
    (ether_type != 0).then_some(Next { ether_type, offset: at + len })
}
