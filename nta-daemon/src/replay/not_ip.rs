//! Frames that hold no IP packet, by what they are: the ledger knows ARP and all others.

use std::collections::BTreeMap;

use nta_capture::ETHERTYPE_NOT_IP;
use nta_common::{Counter, Packet, SliceReader, TunnelPorts, parse};

/// Kinds that are told apart; frames of further ones are `other`.
const MOST_KINDS: usize = 100;

/// Frames of a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frames {
    /// How many.
    pub packets: u64,
    /// Their length on the wire.
    pub bytes: u64,
}

/// Counts them.
#[derive(Clone, Debug, Default)]
pub(super) struct NotIp {
    kinds: BTreeMap<String, Frames>,
    tunnels: Option<TunnelPorts>,
}

impl NotIp {
    /// None yet; `tunnels` are opened.
    pub(super) fn new(tunnels: Option<TunnelPorts>) -> Self {
        Self { kinds: BTreeMap::new(), tunnels }
    }

    /// Looks at a frame; one of IP costs a comparison.
    #[inline]
    pub(super) fn look(&mut self, wire_len: u32, data: &[u8]) {
        if !matches!(data.get(12..14), Some([0x08, 0x00] | [0x86, 0xdd])) {
            self.closer(wire_len, data);
        }
    }

    /// How many there were, by kind.
    pub(super) fn kinds(self) -> BTreeMap<String, Frames> {
        self.kinds
    }

    #[cold]
    fn closer(&mut self, wire_len: u32, data: &[u8]) {
        let reader = SliceReader::new(data, wire_len).with_tunnels(self.tunnels);
        let mut name = match parse(&reader, &mut Packet::default()) {
            Err(Counter::NonIp) => kind(data),
            Err(Counter::Arp) => "ARP".to_owned(),
            Ok(_) | Err(_) => return,
        };
        if self.kinds.len() >= MOST_KINDS && !self.kinds.contains_key(&name) {
            name = "other".to_owned();
        }
        let frames = self.kinds.entry(name).or_default();
        frames.packets += 1;
        frames.bytes += u64::from(wire_len);
    }
}

/// What a frame without an IP packet is, behind its VLAN tags.
fn kind(data: &[u8]) -> String {
    let (mut rest, mut ether_type) = (data.get(14..).unwrap_or_default(), type_at(data, 12));
    while let (Some(0x8100 | 0x88a8 | 0x9100), Some(inner)) = (ether_type, type_at(rest, 2)) {
        (rest, ether_type) = (rest.get(4..).unwrap_or_default(), Some(inner));
    }
    match ether_type {
        None => "cut off".to_owned(),
        Some(ETHERTYPE_NOT_IP) => "no IP by its link header".to_owned(),
        Some(0..=1500) => llc(rest).to_owned(),
        Some(other) => match ETHER_TYPES.binary_search_by_key(&other, |(number, _)| *number) {
            Ok(at) => ETHER_TYPES[at].1.to_owned(),
            Err(_) => format!("ethertype {other:#06x}"),
        },
    }
}

fn type_at(data: &[u8], at: usize) -> Option<u16> {
    data.get(at..at + 2).and_then(<[u8]>::first_chunk).map(|bytes| u16::from_be_bytes(*bytes))
}

/// IEEE 802.2 service access points, and what SNAP says behind them.
fn llc(data: &[u8]) -> &'static str {
    match data {
        [0xaa, 0xaa, 3, 0, 0, 0x0c, 0x20, 0x00, ..] => "CDP",
        [0xaa, 0xaa, 3, 0, 0, 0x0c, 0x20, 0x03, ..] => "VTP",
        [0xaa, 0xaa, 3, 0, 0, 0x0c, 0x20, 0x04, ..] => "DTP",
        [0xaa, 0xaa, 3, 0, 0, 0x0c, 0x01, 0x0b, ..] => "PVST+",
        [0xaa, 0xaa, 3, 0, 0, 0x0c, 0x01, 0x11, ..] => "UDLD",
        [0xaa, 0xaa, 3, ..] => "SNAP",
        [0x42, 0x42, ..] => "STP",
        [0xfe, 0xfe, 3, 0x83, ..] => "IS-IS",
        [0xfe, 0xfe, ..] => "OSI",
        [0xe0, 0xe0, ..] | [0xff, 0xff, ..] => "IPX",
        [0xf0, 0xf0 | 0xf1, ..] => "NetBIOS",
        _ => "LLC",
    }
}

/// IANA "IEEE 802 Numbers", in their order.
const ETHER_TYPES: &[(u16, &str)] = &[
    (0x0842, "Wake-on-LAN"),
    (0x22ea, "SRP"),
    (0x22f0, "AVTP"),
    (0x22f3, "TRILL"),
    (0x6002, "DEC MOP"),
    (0x8035, "RARP"),
    (0x809b, "AppleTalk"),
    (0x80f3, "AARP"),
    (0x8137, "IPX"),
    (0x8808, "Ethernet flow control"),
    (0x8809, "LACP"),
    (0x8847, "MPLS"),
    (0x8848, "MPLS multicast"),
    (0x8863, "PPPoE discovery"),
    (0x8864, "PPPoE session"),
    (0x886f, "Microsoft NLB"),
    (0x8870, "jumbo frame"),
    (0x887b, "HomePlug"),
    (0x888e, "EAPOL"),
    (0x8892, "PROFINET"),
    (0x889a, "HyperSCSI"),
    (0x88a2, "ATA over Ethernet"),
    (0x88a4, "EtherCAT"),
    (0x88ab, "Powerlink"),
    (0x88b5, "local experiment"),
    (0x88b8, "GOOSE"),
    (0x88ba, "sampled values"),
    (0x88c7, "802.11 preauthentication"),
    (0x88cc, "LLDP"),
    (0x88cd, "SERCOS"),
    (0x88e1, "HomePlug"),
    (0x88e5, "MACsec"),
    (0x88e7, "provider backbone"),
    (0x88f5, "MVRP"),
    (0x88f6, "MMRP"),
    (0x88f7, "PTP"),
    (0x88fb, "PRP"),
    (0x8902, "CFM"),
    (0x8906, "FCoE"),
    (0x8914, "FIP"),
    (0x8915, "RoCE"),
    (0x891d, "TTEthernet"),
    (0x892f, "HSR"),
    (0x893f, "802.1BR"),
    (0x894f, "NSH"),
    (0x9000, "loopback test"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(ether_type: &[u8], payload: &[u8]) -> Vec<u8> {
        [&[0; 12], ether_type, payload, &[0; 46]].concat()
    }

    #[test]
    fn frames_are_named_behind_their_tags() {
        assert!(ETHER_TYPES.is_sorted_by(|(one, _), (other, _)| one < other));
        let mut seen = NotIp::new(None);
        let frames = [
            frame(&[0x88, 0xcc], &[]),
            frame(&[0x81, 0x00, 0, 7, 0x88, 0xcc], &[]),
            frame(&[0x88, 0xa8, 0, 7, 0x81, 0, 0, 7, 0x88, 0x8e], &[]),
            frame(&[0, 38], &[0x42, 0x42, 3]),
            frame(&[0x12, 0x34], &[]),
            frame(&[0x08, 0x06], &[]),
            // These are in the ledger under names of their own.
            frame(&[0x08, 0x00], &[0x45]),
            vec![0; 13],
        ];
        frames.iter().for_each(|frame| seen.look(60, frame));
        let expected = [("ARP", 1), ("EAPOL", 1), ("LLDP", 2), ("STP", 1), ("ethertype 0x1234", 1)];
        assert_eq!(
            seen.kinds(),
            expected.map(|(name, packets)| (name.to_owned(), Frames { packets, bytes: packets * 60 })).into()
        );
    }

    #[test]
    fn kinds_beyond_the_limit_are_one() {
        let mut seen = NotIp::new(None);
        for number in 0..200_u16 {
            seen.look(60, &frame(&(0xa000 + number).to_be_bytes(), &[]));
        }
        assert_eq!((seen.kinds.len(), seen.kinds["other"].packets), (MOST_KINDS + 1, 100));
    }
}
