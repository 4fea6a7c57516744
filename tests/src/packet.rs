//! Packets built by hand, header by header. Checksums are 0: nothing here verifies them.

/// IPv4 sender of every packet built here.
pub const SRC4: &str = "192.0.2.1";
/// IPv4 receiver.
pub const DST4: &str = "198.51.100.2";
/// IPv6 sender.
pub const SRC6: &str = "2001:db8::1";
/// IPv6 receiver.
pub const DST6: &str = "2001:db8::2";

/// An Ethernet frame.
pub fn ethernet(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1], &ether_type.to_be_bytes()[..], payload].concat()
}

/// A VLAN tag and what is behind it; the type of the tag itself stands before it.
pub fn vlan(id: u16, ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&id.to_be_bytes(), &ether_type.to_be_bytes()[..], payload].concat()
}

/// An IPv4 packet; `fragment` are flags and offset as in the header, `options` a multiple of 4 bytes.
pub fn ipv4(protocol: u8, options: &[u8], fragment: u16, payload: &[u8]) -> Vec<u8> {
    let header_len = 20 + options.len();
    let mut packet = vec![0x40 | (header_len / 4) as u8, 0];
    packet.extend(((header_len + payload.len()) as u16).to_be_bytes());
    packet.extend([0, 7]);
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0, 192, 0, 2, 1, 198, 51, 100, 2]);
    [&packet, options, payload].concat()
}

/// An IPv6 packet; extension headers are part of the payload.
pub fn ipv6(next_header: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([next_header, 64]);
    for last in [1, 2] {
        packet.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    [&packet, payload].concat()
}

/// An IPv6 extension header of 8 × (`units` + 1) bytes.
pub fn extension(next_header: u8, units: u8, payload: &[u8]) -> Vec<u8> {
    [&[next_header, units], &vec![0; usize::from(units) * 8 + 6][..], payload].concat()
}

/// An IPv6 fragment header; `field` is offset and the more-fragments bit as in the header.
pub fn fragment_header(next_header: u8, field: u16, payload: &[u8]) -> Vec<u8> {
    [&[next_header, 0], &field.to_be_bytes()[..], &[0, 0, 0, 9], payload].concat()
}

/// TCP from port 40000 to 443; `flags` as in the header's byte 13, `options` a multiple of 4 bytes.
pub fn tcp(flags: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let header_words = (5 + options.len() / 4) as u8;
    let mut segment = [40_000_u16.to_be_bytes(), 443_u16.to_be_bytes()].concat();
    segment.extend([0, 0, 0, 1, 0, 0, 0, 0, header_words << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
    [&segment, options, payload].concat()
}

/// UDP from port 40000 to 53.
pub fn udp(payload: &[u8]) -> Vec<u8> {
    let ports = [40_000_u16.to_be_bytes(), 53_u16.to_be_bytes()].concat();
    [&ports, &((payload.len() + 8) as u16).to_be_bytes()[..], &[0, 0], payload].concat()
}

/// SCTP from port 40000 to 9899: the common header and a chunk of any kind.
pub fn sctp(chunk: &[u8]) -> Vec<u8> {
    let ports = [40_000_u16.to_be_bytes(), 9899_u16.to_be_bytes()].concat();
    [&ports, &[0; 8][..], chunk].concat()
}

/// ICMP or ICMPv6.
pub fn icmp(kind: u8, code: u8, payload: &[u8]) -> Vec<u8> {
    [&[kind, code, 0, 0, 0, 1, 0, 1], payload].concat()
}
