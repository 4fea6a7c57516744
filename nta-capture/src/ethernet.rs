//! Link headers other than Ethernet's, replaced by an Ethernet header.
//!
//! Both replay engines and the parser in `nta-common` see Ethernet only. Layouts: <https://www.tcpdump.org/linktypes.html>.

use super::input::HEADROOM;
use super::link_type::Link;
use super::wireless;

/// Writes an Ethernet header in place of the link header and returns the frame. `packet` holds [`HEADROOM`] bytes to write into
/// before the captured ones, so that a link header shorter than Ethernet's does no copying either.
pub(super) fn rewrite(link: Link, packet: &mut [u8]) -> &[u8] {
    let captured = &packet[HEADROOM..];
    let header = parse(link, captured).unwrap_or(Header::not_ip(captured.len()));
    let frame = &mut packet[header.len..];
    frame[..6].fill(0);
    frame[6..12].copy_from_slice(&header.source);
    frame[12..14].copy_from_slice(&header.ethertype.to_be_bytes());
    frame
}

/// What a link header says, and how long it is.
struct Header {
    len: usize,
    ethertype: u16,
    source: [u8; 6],
}

impl Header {
    fn new(len: usize, ethertype: u16) -> Self {
        Self { len, ethertype, source: [0; 6] }
    }

    fn not_ip(len: usize) -> Self {
        Self::new(len, ETHERTYPE_NOT_IP)
    }
}

/// `None` when the captured bytes end within the link header.
fn parse(link: Link, packet: &[u8]) -> Option<Header> {
    match link {
        Link::Ipv4 => Some(Header::new(0, ETHERTYPE_IPV4)),
        Link::Ipv6 => Some(Header::new(0, ETHERTYPE_IPV6)),
        Link::RawIp => Some(Header::new(0, ip_version(*packet.first()?))),
        Link::Null => null(packet),
        Link::CookedV1 => cooked_v1(packet),
        Link::CookedV2 => cooked_v2(packet),
        Link::Ppp => ppp(packet),
        Link::CiscoHdlc => cisco_hdlc(packet),
        Link::Fddi => llc(packet, FDDI_LEN, *packet.get(FDDI_SOURCE..)?.first_chunk()?),
        Link::Wireless => wireless(packet, 0),
        Link::Radiotap => wireless(packet, wireless::radiotap_len(packet)?),
        Link::Ethernet | Link::Unsupported(_) => Some(Header::not_ip(packet.len())),
    }
}

fn ip_version(first: u8) -> u16 {
    match first >> 4 {
        4 => ETHERTYPE_IPV4,
        6 => ETHERTYPE_IPV6,
        _ => ETHERTYPE_NOT_IP,
    }
}

/// LINKTYPE_NULL and LINKTYPE_LOOP: an address family of the capturing system, in its byte order (LOOP: in network order). A
/// family is below 2^16, which shows the order.
fn null(packet: &[u8]) -> Option<Header> {
    let field = u32::from_le_bytes(*packet.first_chunk()?);
    let family = if field > 0xffff { field.swap_bytes() } else { field };
    let ethertype = match family {
        2 => ETHERTYPE_IPV4,
        // Linux · Windows · NetBSD, OpenBSD, Npcap · FreeBSD · macOS
        10 | 23 | 24 | 28 | 30 => ETHERTYPE_IPV6,
        _ => ETHERTYPE_NOT_IP,
    };
    Some(Header::new(4, ethertype))
}

/// LINKTYPE_LINUX_SLL: type, device type, address length, address, protocol.
fn cooked_v1(packet: &[u8]) -> Option<Header> {
    let header: &[u8; 16] = packet.first_chunk()?;
    let protocol = u16::from_be_bytes([header[14], header[15]]);
    let address_len = u16::from_be_bytes([header[4], header[5]]);
    let source = source(address_len, [header[6], header[7], header[8], header[9], header[10], header[11]]);
    Some(Header { len: 16, ethertype: ethertype(protocol), source })
}

/// LINKTYPE_LINUX_SLL2: protocol, reserved, interface index, device type, type, address length, address.
fn cooked_v2(packet: &[u8]) -> Option<Header> {
    let header: &[u8; 20] = packet.first_chunk()?;
    let protocol = u16::from_be_bytes([header[0], header[1]]);
    let address_len = u16::from(header[11]);
    let source = source(address_len, [header[12], header[13], header[14], header[15], header[16], header[17]]);
    Some(Header { len: 20, ethertype: ethertype(protocol), source })
}

/// LINKTYPE_PPP and LINKTYPE_PPP_HDLC: RFC 1662, with or without address and control, the protocol in two bytes or, its first bit
/// being odd, in one (RFC 1661 section 6.5). Its address byte identifies Cisco's framing.
fn ppp(packet: &[u8]) -> Option<Header> {
    let before = match packet {
        [0xff, 0x03, ..] => 2,
        [0x0f | 0x8f, 0x00, ..] => return cisco_hdlc(packet),
        _ => 0,
    };
    let first = *packet.get(before)?;
    let (protocol, len) = if first & 1 == 1 {
        (u16::from(first), before + 1)
    } else {
        (u16::from_be_bytes([first, *packet.get(before + 1)?]), before + 2)
    };
    let ethertype = match protocol {
        0x0021 => ETHERTYPE_IPV4,
        0x0057 => ETHERTYPE_IPV6,
        0x0281 => ETHERTYPE_MPLS,
        0x0283 => ETHERTYPE_MPLS_MULTICAST,
        _ => ETHERTYPE_NOT_IP,
    };
    Some(Header::new(len, ethertype))
}

/// LINKTYPE_C_HDLC: address, control, ethertype.
fn cisco_hdlc(packet: &[u8]) -> Option<Header> {
    let header: &[u8; 4] = packet.first_chunk()?;
    Some(Header::new(4, ethertype(u16::from_be_bytes([header[2], header[3]]))))
}

fn wireless(packet: &[u8], at: usize) -> Option<Header> {
    let (len, source) = wireless::header(packet.get(at..)?)?;
    llc(packet, at + len, source)
}

/// What lies behind an LLC header at `at`, if that is SNAP's and names an ethertype (RFC 1042, for FDDI RFC 1390).
fn llc(packet: &[u8], at: usize, source: [u8; 6]) -> Option<Header> {
    let [snap @ .., type_high, type_low] = packet.get(at..)?.first_chunk::<SNAP_LEN>()?;
    let (len, ethertype) = if *snap == SNAP {
        (at + SNAP_LEN, ethertype(u16::from_be_bytes([*type_high, *type_low])))
    } else {
        (at, ETHERTYPE_NOT_IP)
    };
    Some(Header { len, ethertype, source })
}

/// Below 0x0600 it is a length or a Linux protocol number (802.2, 802.3, CAN), not an ethertype.
fn ethertype(protocol: u16) -> u16 {
    if protocol < MIN_ETHERTYPE { ETHERTYPE_NOT_IP } else { protocol }
}

fn source(address_len: u16, address: [u8; 6]) -> [u8; 6] {
    if address_len == 6 { address } else { [0; 6] }
}

/// What stands for a protocol that has no ethertype: IEEE 802 Local Experimental Ethertype 1, which no real frame should carry, so
/// that such a frame counts as non-IP.
pub const ETHERTYPE_NOT_IP: u16 = 0x88b5;
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_MPLS: u16 = 0x8847;
const ETHERTYPE_MPLS_MULTICAST: u16 = 0x8848;
/// Frame control, destination, source (ANSI X3.139).
const FDDI_LEN: usize = 13;
const FDDI_SOURCE: usize = 7;
const SNAP_LEN: usize = 8;
/// LLC's two service access points and its control byte, and the organization whose protocol numbers are ethertypes.
const SNAP: [u8; 6] = [0xaa, 0xaa, 0x03, 0, 0, 0];
/// IEEE 802.3 section 3.2.6: smaller values are lengths.
const MIN_ETHERTYPE: u16 = 0x0600;

#[cfg(test)]
mod tests {
    use super::*;

    /// The Ethernet header (source address and ethertype) and the payload that a captured packet turns into.
    fn check(link: Link, captured: &[u8], source: [u8; 6], ethertype: u16, payload: &[u8]) {
        let mut packet = [&[0xee; HEADROOM], captured].concat();
        let frame = rewrite(link, &mut packet);
        let header = [&[0; 6][..], &source, &ethertype.to_be_bytes()].concat();
        assert_eq!(frame, [&header, payload].concat(), "{link:?} {captured:02x?}");
    }

    const ZERO: [u8; 6] = [0; 6];

    #[test]
    fn raw_ip() {
        check(Link::RawIp, &[0x45, 1, 2], ZERO, 0x0800, &[0x45, 1, 2]);
        check(Link::RawIp, &[0x60, 1, 2], ZERO, 0x86dd, &[0x60, 1, 2]);
        check(Link::RawIp, &[0x10], ZERO, ETHERTYPE_NOT_IP, &[0x10]);
        check(Link::RawIp, &[], ZERO, ETHERTYPE_NOT_IP, &[]);
        check(Link::Ipv4, &[], ZERO, 0x0800, &[]);
        check(Link::Ipv6, &[0x60], ZERO, 0x86dd, &[0x60]);
    }

    #[test]
    fn null_families_in_both_orders() {
        for family in [10, 23, 24, 28, 30] {
            check(Link::Null, &[family, 0, 0, 0, 0x60], ZERO, 0x86dd, &[0x60]);
            check(Link::Null, &[0, 0, 0, family, 0x60], ZERO, 0x86dd, &[0x60]);
        }
        check(Link::Null, &[2, 0, 0, 0, 0x45], ZERO, 0x0800, &[0x45]);
        check(Link::Null, &[0, 0, 0, 2, 0x45], ZERO, 0x0800, &[0x45]);
        check(Link::Null, &[7, 0, 0, 0, 0x45], ZERO, ETHERTYPE_NOT_IP, &[0x45]);
        check(Link::Null, &[2, 0, 0], ZERO, ETHERTYPE_NOT_IP, &[]);
    }

    #[test]
    fn cooked() {
        let mac = [2, 3, 4, 5, 6, 7];
        let v1 = [0, 0, 0, 1, 0, 6, 2, 3, 4, 5, 6, 7, 0, 0, 0x08, 0x00, 0x45];
        check(Link::CookedV1, &v1, mac, 0x0800, &[0x45]);
        let no_address = [0, 0, 3, 4, 0, 0, 2, 3, 4, 5, 6, 7, 0, 0, 0x86, 0xdd, 0x60];
        check(Link::CookedV1, &no_address, ZERO, 0x86dd, &[0x60]);
        let llc = [0, 0, 0, 1, 0, 6, 2, 3, 4, 5, 6, 7, 0, 0, 0x00, 0x04, 0x42];
        check(Link::CookedV1, &llc, mac, ETHERTYPE_NOT_IP, &[0x42]);
        check(Link::CookedV1, &v1[..15], ZERO, ETHERTYPE_NOT_IP, &[]);
        let v2 = [0x08, 0x06, 0, 0, 0, 0, 0, 2, 0, 1, 0, 6, 2, 3, 4, 5, 6, 7, 0, 0, 0xaa];
        check(Link::CookedV2, &v2, mac, 0x0806, &[0xaa]);
        check(Link::CookedV2, &v2[..19], ZERO, ETHERTYPE_NOT_IP, &[]);
    }

    #[test]
    fn ppp_and_cisco() {
        check(Link::Ppp, &[0xff, 0x03, 0x00, 0x21, 0x45], ZERO, 0x0800, &[0x45]);
        check(Link::Ppp, &[0x00, 0x57, 0x60], ZERO, 0x86dd, &[0x60]);
        check(Link::Ppp, &[0x21, 0x45], ZERO, 0x0800, &[0x45]);
        check(Link::Ppp, &[0xff, 0x03, 0x21, 0x45], ZERO, 0x0800, &[0x45]);
        check(Link::Ppp, &[0xff, 0x03, 0xc0, 0x21, 1], ZERO, ETHERTYPE_NOT_IP, &[1]);
        check(Link::Ppp, &[0xff, 0x03, 0xc0], ZERO, ETHERTYPE_NOT_IP, &[]);
        check(Link::Ppp, &[0x0f, 0x00, 0x08, 0x00, 0x45], ZERO, 0x0800, &[0x45]);
        check(Link::CiscoHdlc, &[0x0f, 0x00, 0x86, 0xdd, 0x60], ZERO, 0x86dd, &[0x60]);
        check(Link::CiscoHdlc, &[0x0f, 0x00, 0x86], ZERO, ETHERTYPE_NOT_IP, &[]);
    }
    #[test]
    fn fddi() {
        let snap = [0x50, 9, 9, 9, 9, 9, 9, 2, 3, 4, 5, 6, 7, 0xaa, 0xaa, 3, 0, 0, 0, 0x08, 0x00, 0x45];
        check(Link::Fddi, &snap, [2, 3, 4, 5, 6, 7], 0x0800, &[0x45]);
        let netbios = [&snap[..13], &[0xf0, 0xf0, 3, 0, 0, 0, 0, 0, 0]].concat();
        check(Link::Fddi, &netbios, [2, 3, 4, 5, 6, 7], ETHERTYPE_NOT_IP, &netbios[13..]);
        check(Link::Fddi, &snap[..20], ZERO, ETHERTYPE_NOT_IP, &[]);
    }
    #[test]
    fn wireless() {
        let body = [0xaa, 0xaa, 3, 0, 0, 0, 0x86, 0xdd, 0x60];
        let frame = |kind, flags, rest: usize| {
            [&[kind, flags, 0, 0][..], &[1; 6], &[2; 6], &[3; 6], &vec![0; rest + 2], &body].concat()
        };
        check(Link::Wireless, &frame(0x08, 0x01, 0), [2; 6], 0x86dd, &[0x60]);
        check(Link::Wireless, &frame(0x88, 0x02, 2), [3; 6], 0x86dd, &[0x60]);
        check(Link::Wireless, &frame(0x88, 0x83, 12), [0; 6], 0x86dd, &[0x60]);
        for (kind, flags) in [(0x80, 0), (0x48, 1), (0x08, 0x41)] {
            let frame = frame(kind, flags, 0);
            check(Link::Wireless, &frame, ZERO, ETHERTYPE_NOT_IP, &[]);
        }
        let tapped = [&[0, 0, 9, 0, 0, 0, 0, 0, 7][..], &frame(0x08, 0x02, 0)].concat();
        check(Link::Radiotap, &tapped, [3; 6], 0x86dd, &[0x60]);
        check(Link::Radiotap, &tapped[..40], ZERO, ETHERTYPE_NOT_IP, &[]);
    }
}
