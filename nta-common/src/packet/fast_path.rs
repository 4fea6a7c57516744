//! The short way through the parser: Ethernet without tags, IPv4 without options and in one piece, TCP with no option or
//! with timestamps as nearly every stack lays them out; or UDP.
//!
//! One bounds check covers all headers, one comparison the type, the version and the header length. What is not exactly
//! of this form is left to the steps that take any packet, which would find the same (a test compares them).

use core::hint::cold_path;

use super::{Packet, PacketReader, eth, proto, tcp, udp};
use crate::codegen::{self, fall_through, unlikely};

const IPV4_AT: usize = 14;
const TRANSPORT_AT: usize = 34;
/// Ethernet, IPv4 and TCP without options. A UDP datagram in a shorter frame goes the long way.
const HEADERS_LEN: usize = 54;

/// Ethernet type, IPv4's version and header length, of the 4 bytes from the type on.
const USUAL_TYPE: [u8; 4] = [(eth::IPV4 >> 8) as u8, eth::IPV4 as u8, 0x45, 0];
const USUAL_TYPE_MASK: [u8; 4] = [0xff, 0xff, 0xff, 0];
/// More fragments, fragment offset.
const FRAGMENTED: [u8; 2] = [0x3f, 0xff];

/// Bytes of a TCP header without options, and of one with timestamps.
const BARE_LEN: u32 = 20;
const WITH_TIMESTAMPS_LEN: u32 = 32;

/// Parses the packet if it is of the usual form; else what it wrote is to be written again.
#[inline(always)]
pub(super) fn parse<R: PacketReader>(reader: &R, packet: &mut Packet) -> Option<()> {
    let Some(h) = reader.read::<HEADERS_LEN>(0) else {
        cold_path();
        return None;
    };
    let kind = u32::from_ne_bytes(field(&h, 12)) & u32::from_ne_bytes(USUAL_TYPE_MASK);
    let fragmented = u16::from_ne_bytes(field(&h, 20)) & u16::from_ne_bytes(FRAGMENTED);
    if kind != u32::from_ne_bytes(USUAL_TYPE) || fragmented != 0 {
        cold_path();
        return None;
    }
    // Not rare, but one of the two has to lie aside.
    if unlikely(h[23] != proto::TCP) {
        if codegen::opaque(h[23].into()) != proto::UDP.into() || reader.tunnels().is_some() {
            return None;
        }
        fill(reader, packet, &h, udp::UDP_LEN)?;
        udp::dns(packet);
        fall_through();
        return Some(());
    }
    let header_len = u32::from(h[46] >> 4) * 4;
    fill(reader, packet, &h, header_len)?;
    packet.has_timestamps = 0;
    if header_len != BARE_LEN {
        if unlikely(header_len != WITH_TIMESTAMPS_LEN) {
            return None;
        }
        let Some([value, echo]) = tcp::fast_path_timestamps(reader, HEADERS_LEN) else {
            cold_path();
            return None;
        };
        packet.has_timestamps = 1;
        packet.ts_val = value;
        packet.ts_ecr = echo;
    }
    packet.seq = u32::from_be_bytes(field(&h, 38));
    packet.ack = u32::from_be_bytes(field(&h, 42));
    packet.tcp_flags = h[47];
    packet.window = u32::from(u16::from_be_bytes(field(&h, 48)));
    Some(())
}

/// Fills in what TCP and UDP have in common.
#[inline(always)]
fn fill<R: PacketReader>(reader: &R, packet: &mut Packet, h: &[u8; HEADERS_LEN], header_len: u32) -> Option<()> {
    let ip_len = u32::from(u16::from_be_bytes(field(h, 16)));
    let headers_len = (TRANSPORT_AT - IPV4_AT) as u32 + header_len;
    if ip_len < headers_len {
        cold_path();
        return None;
    }
    packet.clear();
    packet.vlan = reader.vlan_id();
    packet.proto = h[23];
    packet.wire_len = reader.wire_len();
    packet.ip_len = ip_len;
    packet.payload_len = ip_len - headers_len;
    packet.payload_at = IPV4_AT as u32 + headers_len;
    packet.datagram_id = u32::from(u16::from_be_bytes(field(h, 18)));
    packet.src4 = u32::from_be_bytes(field(h, 26));
    packet.dst4 = u32::from_be_bytes(field(h, 30));
    packet.src_port = u16::from_be_bytes(field(h, 34));
    packet.dst_port = u16::from_be_bytes(field(h, 36));
    Some(())
}

/// The bytes of a field: taken together, so that one load reads them.
#[inline(always)]
fn field<const N: usize>(headers: &[u8; HEADERS_LEN], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&headers[at..at + N]);
    field
}

#[cfg(test)]
mod tests {
    use super::parse;
    use crate::TunnelPorts;
    use crate::packet::tests::{UDP, eth, ipv4, tcp};
    use crate::packet::{self, Packet, SliceReader, fragment, general, proto};

    /// All that a parse promises: the fields of a fragment and of timestamps mean something only where there are such.
    fn fields(p: &Packet) -> impl PartialEq + core::fmt::Debug {
        let timestamps = if p.has_timestamps != 0 { [p.ts_val, p.ts_ecr] } else { [0; 2] };
        let tcp = p.has_tcp().then_some((p.seq, p.ack, p.tcp_flags, p.window, p.has_timestamps, timestamps));
        let id = p.datagram_id;
        let has_payload = p.has_tcp() || p.proto == proto::UDP && p.l4_truncated == 0 && p.fragment != fragment::LATER;
        let payload_at = if has_payload { p.payload_at } else { 0 };
        let odd = (p.fragment, id, p.l4_truncated, p.notes, p.dns, payload_at);
        (tcp, odd, (p.proto, p.vlan, p.src_port, p.dst_port, p.src4, p.dst4), (p.payload_len, p.wire_len, p.ip_len))
    }

    #[test]
    fn the_short_way_finds_what_the_long_way_finds() {
        let usual = [1, 1, 8, 10, 0, 0, 0, 7, 0, 0, 0, 8];
        let frames = [
            [eth(0x0800), ipv4(proto::TCP, &[], 0x4000, &tcp(&[], b"abcdefgh"))].concat(),
            [eth(0x0800), ipv4(proto::TCP, &[], 0, &tcp(&usual, b"abcdefgh"))].concat(),
            [eth(0x0800), ipv4(proto::UDP, &[], 0, &[&UDP[..], &[0; 20]].concat())].concat(),
            [eth(0x0800), ipv4(proto::UDP, &[], 0, &[&[0, 53][..], &UDP[2..], &[0; 20]].concat())].concat(),
        ];
        let (mut state, mut short) = (0x9e37_79b9_u32, 0);
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as usize
        };
        for round in 0..60_000 {
            let mut frame = frames[round % frames.len()].clone();
            for _ in 0..next() % 3 {
                let at = 12 + next() % (frame.len() - 12);
                frame[at] = (next() >> 16) as u8;
            }
            frame.truncate(if next() % 4 == 0 { 30 + next() % 50 } else { 100 });
            let reader =
                SliceReader::new(&frame, frame.len() as u32).with_tunnels((next() % 2 == 0).then(TunnelPorts::default));
            let (mut left, mut right) = (Packet { has_timestamps: 9, ..Packet::default() }, Packet::default());
            short += u32::from(parse(&reader, &mut left).is_some());
            let families = (packet::parse(&reader, &mut left), general(&reader, &mut right, &mut ()));
            assert_eq!(families.0, families.1, "{frame:?}");
            assert!(families.0.is_err() || fields(&left) == fields(&right), "{frame:?}\n{left:?}\n{right:?}");
        }
        assert!(short > 20_000, "too few took the short way: {short}");
    }
}
