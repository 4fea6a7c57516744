//! Ethernet II (IEEE 802.3) and VLAN tags (IEEE 802.1Q, 802.1ad).
//!
//! Offsets: destination 0..6, source 6..12, type 12..14; a tag is 4 bytes: control information 0..2, next type 2..4.

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
        if !is_vlan(ether_type) {
            return shim::skip(reader, Next { ether_type, offset });
        }
        let Some([tci_high, tci_low, type_high, type_low]) = reader.read::<TAG_LEN>(offset) else {
            return Err(Counter::VlanTruncated);
        };
        if depth == 0 {
            packet.vlan = u16::from_be_bytes([tci_high, tci_low]) & VLAN_ID_MASK;
        }
        ether_type = u16::from_be_bytes([type_high, type_low]);
        offset += TAG_LEN;
    }
    if is_vlan(ether_type) { Err(Counter::VlanTooDeep) } else { shim::skip(reader, Next { ether_type, offset }) }
}

#[inline(always)]
fn is_vlan(ether_type: u16) -> bool {
    ether_type == VLAN || ether_type == VLAN_SERVICE || ether_type == VLAN_QINQ
}
