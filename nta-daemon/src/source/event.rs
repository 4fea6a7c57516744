//! Makes an event of the bytes that the programs (or the user engine) emitted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nta_common::{EventHead, Kind};

use super::dns;
use crate::config::{CaptureConfig, EventsConfig};
use nta_core::domain::{ArpPacket, Mac, PacketEvent, RawPacket, Timestamp};

/// Ethernet and IPv4, with the lengths of their addresses (RFC 826).
const ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// How packets are sampled and reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventSettings {
    /// Every how many-th packet is accounted; 1 accounts each.
    pub sample: u32,
    /// Of how many packets the head of one is reported; 0: of none.
    pub raw_every: u32,
    /// Events of each [`Kind`] in a second, of one interface on one CPU.
    pub per_second: [u32; 3],
    /// Size of the ring buffer in bytes: a power of two.
    pub ring_bytes: u32,
}

impl Default for EventSettings {
    /// As configured by default.
    fn default() -> Self {
        Self::of(&CaptureConfig::default(), &EventsConfig::default())
    }
}

impl EventSettings {
    /// As configured.
    pub const fn of(capture: &CaptureConfig, events: &EventsConfig) -> Self {
        Self {
            sample: capture.sample,
            raw_every: events.raw_packets,
            per_second: [events.dns_per_second, events.arp_per_second, events.raw_per_second],
            ring_bytes: events.ring_mib << 20,
        }
    }
}

/// The event of these bytes; `None` for a kind that is not known. `offset_ns` turns its time into Unix time.
pub(super) fn decode(head: &EventHead, data: &[u8], offset_ns: u64) -> Option<PacketEvent> {
    let time = Timestamp::from_nanos(head.time_ns.wrapping_add(offset_ns));
    Some(match Kind::of(head.kind)? {
        Kind::Dns => {
            let (src, dst) = (address(head.family, head.src), address(head.family, head.dst));
            PacketEvent::Dns(dns::message(time, head, src, dst, data))
        }
        Kind::Arp => arp(time, head.vlan, data).map_or(PacketEvent::ArpMalformed(time), PacketEvent::Arp),
        Kind::Raw => PacketEvent::RawPacket(RawPacket { time, wire_len: head.wire_len, head: data.to_vec() }),
    })
}

fn address(family: u16, words: [u64; 2]) -> IpAddr {
    match family {
        4 => IpAddr::V4(Ipv4Addr::from_bits(words[0] as u32)),
        _ => IpAddr::V6(Ipv6Addr::from_bits((u128::from(words[0]) << 64) | u128::from(words[1]))),
    }
}

fn arp(time: Timestamp, vlan: u16, data: &[u8]) -> Option<ArpPacket> {
    let (frame_destination, data) = data.split_first_chunk()?;
    let (frame_source, data) = data.split_first_chunk()?;
    let (kind, data) = data.split_first_chunk::<6>()?;
    let (operation, data) = data.split_first_chunk()?;
    let (sender_mac, data) = data.split_first_chunk()?;
    let (sender_ip, data) = data.split_first_chunk::<4>()?;
    let (target_mac, data) = data.split_first_chunk()?;
    let target_ip = data.first_chunk::<4>()?;
    (*kind == ETHERNET_IPV4).then(|| ArpPacket {
        time,
        vlan,
        operation: u16::from_be_bytes(*operation),
        sender: (Mac(*sender_mac), Ipv4Addr::from(*sender_ip)),
        target: (Mac(*target_mac), Ipv4Addr::from(*target_ip)),
        frame_source: Mac(*frame_source),
        frame_destination: Mac(*frame_destination),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arp_is_read_field_by_field_and_anything_else_is_malformed() {
        let mut data = vec![0xff; 6];
        data.extend([2, 0, 0, 0, 0, 9, 0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1]);
        data.extend([2, 0, 0, 0, 0, 2, 10, 0, 0, 2]);
        let head = EventHead { time_ns: 5, kind: Kind::Arp as u32, vlan: 7, ..EventHead::default() };
        let Some(PacketEvent::Arp(packet)) = decode(&head, &data, 10) else { panic!("no ARP") };
        assert_eq!((packet.time.as_nanos(), packet.vlan, packet.operation), (15, 7, 2));
        assert_eq!(packet.sender, (Mac([2, 0, 0, 0, 0, 1]), Ipv4Addr::new(10, 0, 0, 1)));
        assert_eq!(packet.target, (Mac([2, 0, 0, 0, 0, 2]), Ipv4Addr::new(10, 0, 0, 2)));
        assert_eq!(packet.frame_source.to_string(), "02:00:00:00:00:09");
        assert_eq!(packet.frame_destination, Mac([0xff; 6]));
        for bad in [&data[..39], &[]] {
            assert!(matches!(decode(&head, bad, 0), Some(PacketEvent::ArpMalformed(_))));
        }
        data[13] = 6; // IEEE 802
        assert!(matches!(decode(&head, &data, 0), Some(PacketEvent::ArpMalformed(_))));
        assert_eq!(decode(&EventHead { kind: 9, ..head }, &data, 0), None);
    }
}
