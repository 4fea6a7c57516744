//! What a packet of ARP or of neighbour discovery says, in the same terms: who claims which address, who asks for whom.

use std::net::{IpAddr, Ipv6Addr};

use crate::domain::{ArpPacket, Mac, NeighborMessage, PacketEvent, Timestamp};

const REQUEST: u16 = 1;
const REPLY: u16 = 2;
const ALL_STATIONS: Mac = Mac([0xff; 6]);

/// A question or a reply.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spoken {
    pub(super) time: Timestamp,
    pub(super) vlan: u16,
    pub(super) is_reply: bool,
    /// Whether it says where the sender's address is.
    pub(super) claims: bool,
    /// Whom the address is claimed for, and the address.
    pub(super) sender: (Mac, IpAddr),
    /// About or to whom; of an announcement the sender's address.
    pub(super) target: (Mac, IpAddr),
    pub(super) frame_source: Mac,
    pub(super) frame_destination: Mac,
    /// It is sent to all, or to the group in which the target is.
    pub(super) is_to_all: bool,
}

impl Spoken {
    /// What an event says, if it is of either kind.
    pub(super) fn of(event: &PacketEvent) -> Option<Self> {
        match event {
            PacketEvent::Arp(packet) => Self::by_arp(packet),
            PacketEvent::Nd(message) => Some(Self::by_discovery(message)),
            _ => None,
        }
    }

    fn by_arp(packet: &ArpPacket) -> Option<Self> {
        let (sender, target) = (packet.sender, packet.target);
        matches!(packet.operation, REQUEST | REPLY).then(|| Self {
            time: packet.time,
            vlan: packet.vlan,
            is_reply: packet.operation == REPLY,
            claims: true,
            sender: (sender.0, sender.1.into()),
            target: (target.0, target.1.into()),
            frame_source: packet.frame_source,
            frame_destination: packet.frame_destination,
            is_to_all: packet.frame_destination == ALL_STATIONS,
        })
    }

    /// A solicitation claims its source, an advertisement its target, where they say at which station that is. An advertisement that
    /// does not override changes nobody's table: a proxy's, one for an anycast address.
    fn by_discovery(message: &NeighborMessage) -> Self {
        let is_reply = message.is_advertisement;
        let is_to_all = message.destination.is_multicast();
        let (address, other) = match (is_reply, is_to_all) {
            (false, _) => (message.source, message.target),
            (true, false) => (message.target, message.destination),
            // It announces, or answers one that looks whether the address is free.
            (true, true) => (message.target, message.target),
        };
        let address_of = |address: Ipv6Addr| IpAddr::V6(address);
        let reached = if is_reply && !is_to_all { message.frame_destination } else { Mac::default() };
        Self {
            time: message.time,
            vlan: message.vlan,
            is_reply,
            claims: message.link_layer.is_some() && (!is_reply || message.is_override),
            sender: (message.link_layer.unwrap_or(message.frame_source), address_of(address)),
            target: (reached, address_of(other)),
            frame_source: message.frame_source,
            frame_destination: message.frame_destination,
            is_to_all,
        }
    }

    /// Who asks.
    pub(super) const fn asker(&self) -> Mac {
        self.sender.0
    }
}
