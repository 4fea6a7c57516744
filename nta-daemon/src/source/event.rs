//! Makes an event of the bytes that the programs (or the user engine) emitted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nta_common::{EventHead, Kind};

use super::dns;
use nta_core::domain::{ArpPacket, Mac, NeighborMessage, PacketEvent, RawPacket, Timestamp};

/// Ethernet and IPv4, with the lengths of their addresses (RFC 826).
const ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];
const ETHERNET_HEADER: usize = 14;
const IPV6_HEADER: usize = 40;
const ICMPV6: u8 = 58;
/// Neighbour advertisement, its flag that it replaces what is known, and the options with a link-layer address (RFC 4861 section 4).
const ADVERTISEMENT: u8 = 136;
const OVERRIDE: u8 = 0x20;
const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;

/// The event of these bytes; `None` for a kind that is not known. `offset_ns` turns its time into Unix time.
pub(super) fn decode(head: &EventHead, data: &[u8], offset_ns: u64) -> Option<PacketEvent> {
    let time = Timestamp::from_nanos(head.time_ns.wrapping_add(offset_ns));
    Some(match Kind::of(head.kind)? {
        Kind::Dns => {
            let (src, dst) = (address(head.family, head.src), address(head.family, head.dst));
            PacketEvent::Dns(dns::message(time, head, src, dst, data))
        }
        Kind::Arp => arp(time, head.vlan, data).map_or(PacketEvent::ArpMalformed(time), PacketEvent::Arp),
        Kind::Nd => neighbor(time, head, data).map_or(PacketEvent::NdMalformed(time), PacketEvent::Nd),
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

/// A message of neighbour discovery that a host would heed (RFC 4861 sections 7.1.1 and 7.1.2), but for its checksum. Of options those
/// that the event holds are read.
fn neighbor(time: Timestamp, head: &EventHead, data: &[u8]) -> Option<NeighborMessage> {
    let at = head.message_len as usize;
    let address = |from: usize| Some(Ipv6Addr::from(*data.get(from..)?.first_chunk::<16>()?));
    let mac = |from: usize| Some(Mac(*data.get(from..)?.first_chunk::<6>()?));
    // Whoever is not on the link has a smaller hop limit; extension headers have no place here.
    let ip = at.checked_sub(IPV6_HEADER)?;
    let [hop_limit, next_header] = [*data.get(ip + 7)?, *data.get(ip + 6)?];
    let &[kind, code, _, _, flags, _, _, _] = data.get(at..)?.first_chunk::<8>()?;
    if ip < ETHERNET_HEADER || data[ip] >> 4 != 6 || next_header != ICMPV6 || hop_limit != 255 || code != 0 {
        return None;
    }
    let is_advertisement = kind == ADVERTISEMENT;
    let [source, destination, target] = [address(ip + 8)?, address(ip + 24)?, address(at + 8)?];
    if target.is_multicast() || source.is_multicast() || is_advertisement && source.is_unspecified() {
        return None;
    }
    let option = if is_advertisement { TARGET_LINK_LAYER } else { SOURCE_LINK_LAYER };
    let mut link_layer = None;
    let mut rest = data.get(at + 24..)?;
    while let [kind, words, ..] = *rest {
        let length = usize::from(words) * 8;
        if length == 0 {
            return None;
        }
        if kind == option && words == 1 {
            link_layer = rest.get(2..).and_then(<[u8]>::first_chunk).copied().map(Mac);
            break;
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    Some(NeighborMessage {
        time,
        vlan: head.vlan,
        is_advertisement,
        is_override: is_advertisement && flags & OVERRIDE != 0,
        source,
        destination,
        target,
        link_layer,
        frame_source: mac(6)?,
        frame_destination: mac(0)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An advertisement that 2001:db8::1 is at this station, behind some tags, with these options.
    fn advertisement(tags: usize, hop_limit: u8, options: &[u8]) -> (EventHead, Vec<u8>) {
        let [router, host]: [Ipv6Addr; 2] =
            ["2001:db8::1", "2001:db8::7"].map(|text| text.parse().expect("an address"));
        let length = 24 + options.len() as u8;
        let data = [
            &[2, 0, 0, 0, 0, 7, 2, 0, 0, 0, 0, 0x66][..],
            &[0x81, 0, 0, 9].repeat(tags),
            &[0x86, 0xdd, 0x60, 0, 0, 0, 0, length, ICMPV6, hop_limit],
            &router.octets(),
            &host.octets(),
            &[ADVERTISEMENT, 0, 0, 0, 0x60, 0, 0, 0],
            &router.octets(),
            options,
        ]
        .concat();
        let message_len = (ETHERNET_HEADER + 4 * tags + IPV6_HEADER) as u32;
        (EventHead { kind: Kind::Nd as u32, message_len, vlan: 9, ..EventHead::default() }, data)
    }

    #[test]
    fn neighbour_discovery_is_read_field_by_field_and_what_no_host_heeds_is_malformed() {
        // Behind a nonce (RFC 3971), as duplicate address detection sends one.
        let options = [14, 1, 1, 2, 3, 4, 5, 6, 2, 1, 2, 0, 0, 0, 0, 0x66];
        for tags in 0..=2 {
            let (head, data) = advertisement(tags, 255, &options);
            let Some(PacketEvent::Nd(message)) = decode(&head, &data, 10) else { panic!("{tags} tags") };
            assert_eq!((message.time, message.vlan), (Timestamp::from_nanos(10), 9));
            assert!(message.is_advertisement && message.is_override, "{message:?}");
            assert_eq!(
                (message.source.to_string(), message.destination.to_string()),
                ("2001:db8::1".to_owned(), "2001:db8::7".to_owned())
            );
            assert_eq!((message.target, message.link_layer), (message.source, Some(Mac([2, 0, 0, 0, 0, 0x66]))));
            assert_eq!(
                (message.frame_source, message.frame_destination),
                (Mac([2, 0, 0, 0, 0, 0x66]), Mac([2, 0, 0, 0, 0, 7]))
            );
        }
        let is_malformed =
            |head: &EventHead, data: &[u8]| matches!(decode(head, data, 0), Some(PacketEvent::NdMalformed(_)));
        let (head, data) = advertisement(0, 254, &options);
        assert!(is_malformed(&head, &data), "from behind a router");
        let (head, data) = advertisement(0, 255, &[2, 0, 0, 0, 0, 0, 0, 0]);
        assert!(is_malformed(&head, &data), "an option without a length");
        let (head, data) = advertisement(0, 255, &options);
        for length in 0..ETHERNET_HEADER + IPV6_HEADER + 24 {
            assert!(is_malformed(&head, &data[..length]), "cut to {length}");
        }
        let Some(PacketEvent::Nd(cut)) = decode(&head, &data[..data.len() - 1], 0) else {
            panic!("an option that is cut")
        };
        assert_eq!(cut.link_layer, None);
        for message_len in [0, 40, 53, 127, u32::MAX] {
            assert!(is_malformed(&EventHead { message_len, ..head }, &data), "{message_len}");
        }
    }

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
