//! Ethernet II (IEEE 802.3), VLAN tags (IEEE 802.1Q, 802.1ad), and what wraps a frame into another one.
//!
//! Offsets: destination 0..6, source 6..12, type 12..14; a tag is 4 bytes: control information 0..2, next type 2..4. A
//! VN-Tag (Cisco's, before IEEE 802.1BR) has 4 bytes before the next type; FabricPath has 2 bytes and then a frame, a
//! backbone bridge (IEEE 802.1ah) 4 bytes and then a frame.

use super::{Next, Packet, PacketReader, shim};
use crate::Counter;
use crate::limits::MAX_VLAN_TAGS;

pub(super) const IPV4: u16 = 0x0800;
pub(super) const ARP: u16 = 0x0806;
pub(super) const IPV6: u16 = 0x86dd;
const VLAN: u16 = 0x8100;
const VLAN_SERVICE: u16 = 0x88a8;
/// The pre-standard Q-in-Q type that many switches still send.
const VLAN_QINQ: u16 = 0x9100;

const VN_TAG: u16 = 0x8926;
/// Cisco's; not registered for anything else.
const FABRIC_PATH: u16 = 0x8903;
const BACKBONE: u16 = 0x88e7;

const TYPE_AT: usize = 12;
const HEADER_LEN: usize = 14;
const TAG_LEN: usize = 4;
pub(super) const VLAN_ID_MASK: u16 = 0x0fff;

/// The header behind all VLAN tags and shims of the Ethernet frame that begins at `start`.
#[inline(always)]
pub(super) fn parse<R: PacketReader>(reader: &R, start: usize, packet: &mut Packet) -> Result<Next, Counter> {
    let Some(ether_type) = reader.read::<2>(start + TYPE_AT) else {
        return Err(Counter::EthTruncated);
    };
    let mut ether_type = u16::from_be_bytes(ether_type);
    let mut offset = start + HEADER_LEN;
    for depth in 0..MAX_VLAN_TAGS {
        let len = tag_len(ether_type);
        if len == 0 {
            return shim::skip(reader, Next { ether_type, offset });
        }
        if depth == 0 && len == TAG_LEN {
            let Some(tag) = reader.read::<2>(offset) else { return Err(Counter::VlanTruncated) };
            packet.vlan = u16::from_be_bytes(tag) & VLAN_ID_MASK;
        }
        offset = reader.forget(offset + len);
        let Some(inner) = reader.read::<2>(offset - 2) else { return Err(Counter::VlanTruncated) };
        ether_type = u16::from_be_bytes(inner);
    }
    if tag_len(ether_type) == 0 { shim::skip(reader, Next { ether_type, offset }) } else { Err(Counter::VlanTooDeep) }
}

/// Bytes from a tag, or a header that wraps a frame, to the end of the type behind it; 0 for anything else.
#[inline(always)]
fn tag_len(ether_type: u16) -> usize {
    match ether_type {
        VLAN | VLAN_SERVICE | VLAN_QINQ => TAG_LEN,
        VN_TAG => 4 + 2,
        FABRIC_PATH => 2 + HEADER_LEN,
        BACKBONE => 4 + HEADER_LEN,
        _ => 0,
    }
}
