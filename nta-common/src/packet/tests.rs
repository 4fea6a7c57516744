//! Frames built byte by byte, one line each: what the parser must make of them.

extern crate std;

use std::vec::Vec;

use super::{Family, Packet, PacketReader, SliceReader, fragment, note, parse, proto};
use crate::{Counter, TunnelPorts};

/// Ethernet header with zero addresses.
pub(super) fn eth(ether_type: u16) -> Vec<u8> {
    let mut frame = std::vec![0; 12];
    frame.extend(ether_type.to_be_bytes());
    frame
}

fn tag(vlan: u16, next: u16) -> Vec<u8> {
    [vlan.to_be_bytes(), next.to_be_bytes()].concat()
}

pub(super) fn ipv4(proto: u8, options: &[u8], fragment: u16, payload: &[u8]) -> Vec<u8> {
    let header = 20 + options.len();
    let mut h = std::vec![0x40 | (header / 4) as u8, 0];
    h.extend(((header + payload.len()) as u16).to_be_bytes());
    h.extend([0, 7]);
    h.extend(fragment.to_be_bytes());
    h.extend([64, proto, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
    h.extend(options);
    h.extend(payload);
    h
}

pub(super) fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut h = std::vec![0x60, 0, 0, 0];
    h.extend((payload.len() as u16).to_be_bytes());
    h.extend([next, 64]);
    h.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    h.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    h.extend(payload);
    h
}

pub(super) fn tcp(options: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut h = std::vec![0x1f, 0x90, 0, 80, 0, 0, 0, 5, 0, 0, 0, 9, ((20 + options.len()) / 4 * 16) as u8, 0x18];
    h.extend([0x10, 0, 0, 0, 0, 0]);
    h.extend(options);
    h.extend(payload);
    h
}

pub(super) const UDP: [u8; 12] = [0x14, 0xe9, 0, 53, 0, 12, 0, 0, 1, 2, 3, 4];

fn run(frame: &[u8]) -> (Result<Family, Counter>, Packet) {
    let mut packet = Packet::default();
    let reader = SliceReader::new(frame, frame.len() as u32);
    (parse(&reader, &mut packet), packet)
}

/// A packet of an interface without a header of a link layer.
struct Bare<'a>(SliceReader<'a>, u16);

impl PacketReader for Bare<'_> {
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.0.read(offset)
    }

    fn wire_len(&self) -> u32 {
        self.0.wire_len()
    }

    fn readable(&self) -> usize {
        self.0.readable()
    }

    fn bare_type(&self) -> Option<u16> {
        Some(self.1)
    }
}

#[test]
fn a_packet_that_begins_with_its_ip_header_is_parsed_as_behind_ethernet() {
    let bare = |ether_type: u16, packet: &[u8]| {
        let mut parsed = Packet::default();
        let reader = Bare(SliceReader::new(packet, packet.len() as u32), ether_type);
        (parse(&reader, &mut parsed), parsed)
    };
    // 8.0.69.0, the sender, looks like the type of IPv4 and the first byte of its header where the short way asks for them.
    let mut lookalike = ipv4(proto::TCP, &[], 0, &tcp(&[], b"abcdefghijklmnopqrstuvwxyz"));
    lookalike[12..16].copy_from_slice(&[8, 0, 0x45, 0]);
    for (ether_type, packet) in [
        (0x0800, ipv4(proto::TCP, &[], 0, &tcp(&[], b"abc"))),
        (0x0800, ipv4(proto::UDP, &[], 0, &UDP)),
        (0x0800, lookalike),
        (0x86dd, ipv6(proto::UDP, &UDP)),
    ] {
        let (family, p) = bare(ether_type, &packet);
        let (framed, q) = run(&[eth(ether_type), packet.clone()].concat());
        assert_eq!(family, framed);
        let fields = |p: &Packet| (p.proto, p.src_port, p.dst_port, p.ip_len, p.payload_len, p.tcp_flags);
        assert_eq!(fields(&p), fields(&q), "{packet:?}");
        let addresses = if family == Ok(Family::V4) { (p.src4, p.dst4) == (q.src4, q.dst4) } else { p.src6 == q.src6 };
        assert!(addresses, "{packet:?}");
        assert_eq!(p.wire_len, packet.len() as u32, "nothing stands before it");
    }
    assert_eq!(bare(0x0800, &[]).0, Err(Counter::Ipv4Truncated));
    assert_eq!(bare(0x8847, &[0; 40]).0, Err(Counter::NonIp));
}

#[test]
fn tcp_over_ipv4_with_options_and_timestamps() {
    let options = [2, 4, 5, 180, 8, 10, 0, 0, 1, 0, 0, 0, 2, 0, 1, 0];
    let frame = [eth(0x0800), ipv4(proto::TCP, &[1, 1, 1, 0], 0, &tcp(&options, b"abc"))].concat();
    let (family, p) = run(&frame);
    assert_eq!(family, Ok(Family::V4));
    assert_eq!((p.src4, p.dst4, p.src_port, p.dst_port), (0xc000_0201, 0xc000_0202, 8080, 80));
    assert_eq!((p.seq, p.ack, p.tcp_flags, p.window, p.payload_len), (5, 9, 0x18, 0x1000, 3));
    assert_eq!((p.has_timestamps, p.ts_val, p.ts_ecr), (1, 0x100, 0x200));
    assert_eq!((p.ip_len, p.wire_len), (24 + 36 + 3, frame.len() as u32));
}

#[test]
fn usual_timestamp_layout_and_bad_option_lengths() {
    let usual = [1, 1, 8, 10, 0, 0, 0, 7, 0, 0, 0, 8];
    let (_, p) = run(&[eth(0x0800), ipv4(proto::TCP, &[], 0, &tcp(&usual, b""))].concat());
    assert_eq!((p.ts_val, p.ts_ecr), (7, 8));
    for bad in [[5, 0, 8, 10], [8, 10, 0, 0], [8, 9, 1, 1], [0, 0, 8, 10]] {
        let (family, p) = run(&[eth(0x0800), ipv4(proto::TCP, &[], 0, &tcp(&bad, b""))].concat());
        assert_eq!((family, p.has_timestamps), (Ok(Family::V4), 0), "{bad:?}");
    }
}

#[test]
fn up_to_three_vlan_tags() {
    let datagram = ipv4(proto::UDP, &[], 0, &UDP);
    let types = [0x88a8, 0x8100, 0x9100];
    for depth in 0..=4_u16 {
        let mut frame = eth(if depth == 0 { 0x0800 } else { types[0] });
        for n in 1..=depth {
            frame.extend(tag(100 * n, if n == depth { 0x0800 } else { types[usize::from(n) % 3] }));
        }
        frame.extend(&datagram);
        let (family, p) = run(&frame);
        if depth < 4 {
            assert_eq!((family, p.dst_port), (Ok(Family::V4), 53), "{depth} tags");
            assert_eq!(p.vlan, if depth == 0 { 0 } else { 100 });
        } else {
            assert_eq!(family, Err(Counter::VlanTooDeep));
        }
    }
}

#[test]
fn a_frame_in_a_frame_is_stepped_into() {
    let datagram = ipv4(proto::UDP, &[], 0, &UDP);
    let tagged = [tag(7, 0x0800), datagram.clone()].concat();
    for (name, frame, vlan) in [
        ("vn-tag", [eth(0x8926), std::vec![0; 4], 0x8100_u16.to_be_bytes().to_vec(), tagged.clone()].concat(), 0),
        ("fabricpath", [eth(0x8903), std::vec![0; 2], eth(0x0800), datagram].concat(), 0),
        ("backbone", [eth(0x8100), tag(9, 0x88e7), std::vec![0; 4], eth(0x8100), tagged].concat(), 9),
    ] {
        let (family, p) = run(&frame);
        assert_eq!((family, p.dst_port, p.vlan), (Ok(Family::V4), 53, vlan), "{name}");
        assert_eq!(run(&frame[..18]).0, Err(Counter::VlanTruncated), "{name}");
    }
}

#[test]
fn padding_of_an_empty_ipv6_packet_is_not_counted() {
    let mut frame = [eth(0x86dd), ipv6(59, &[])].concat();
    for (len, ip_len) in [(60, 40), (64, 40), (65, 51)] {
        frame.resize(len, 0);
        assert_eq!(run(&frame).1.ip_len, ip_len, "{len}");
    }
}

#[test]
fn ipv6_extension_headers_are_walked() {
    let mut chain = std::vec![60, 0, 1, 4, 0, 0, 0, 0]; // hop by hop, then destination options
    chain.extend([51, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]); // 16 bytes, then authentication
    chain.extend([17, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]); // 24 bytes, then UDP
    chain.extend(UDP);
    let (family, p) = run(&[eth(0x86dd), ipv6(0, &chain)].concat());
    assert_eq!(family, Ok(Family::V6));
    assert_eq!((p.proto, p.src_port, p.dst_port, p.payload_len, p.notes), (proto::UDP, 5353, 53, 4, 0));
    assert_eq!((p.src6, p.dst6), ([0x2001_0db8_0000_0000, 1], [0x2001_0db8_0000_0000, 2]));

    let endless: Vec<u8> = [60_u8, 0, 1, 4, 0, 0, 0, 0].repeat(9);
    let (family, p) = run(&[eth(0x86dd), ipv6(0, &endless)].concat());
    assert_eq!((family, p.notes, p.proto, p.ip_len), (Ok(Family::V6), note::CHAIN_CUT, 60, 40 + 72));
}

#[test]
fn fragments_keep_ports_only_in_the_first() {
    for (field, place, port) in [
        (0x2000, fragment::FIRST, 53),
        (0x2003, fragment::LATER, 0),
        (0x0003, fragment::LATER, 0),
        (0x4000, fragment::NONE, 53),
    ] {
        let (family, p) = run(&[eth(0x0800), ipv4(proto::UDP, &[], field, &UDP)].concat());
        assert_eq!((family, p.fragment, p.dst_port), (Ok(Family::V4), place, port), "{field:#x}");
    }
    for (field, place, port) in [(1_u16, fragment::FIRST, 53), (0x0100, fragment::LATER, 0), (0, fragment::NONE, 53)] {
        let mut chain = std::vec![17, 0];
        chain.extend(field.to_be_bytes());
        chain.extend([0, 0, 0, 7]);
        chain.extend(UDP);
        let (family, p) = run(&[eth(0x86dd), ipv6(44, &chain)].concat());
        assert_eq!((family, p.fragment, p.dst_port), (Ok(Family::V6), place, port), "{field:#x}");
    }
}

#[test]
fn icmp_queries_and_answers_are_counterparts() {
    for (ether, header, kind, code, ports) in [
        (0x0800, proto::ICMP, 8, 0, (8, 0)),
        (0x0800, proto::ICMP, 0, 0, (0, 8)),
        (0x0800, proto::ICMP, 3, 1, (3, 1)),
        (0x86dd, proto::ICMPV6, 128, 0, (128, 129)),
        (0x86dd, proto::ICMPV6, 1, 4, (1, 4)),
    ] {
        let body = [kind, code, 0, 0, 0, 0, 0, 0];
        let ip = if ether == 0x0800 { ipv4(header, &[], 0, &body) } else { ipv6(header, &body) };
        let (_, p) = run(&[eth(ether), ip].concat());
        assert_eq!((p.src_port, p.dst_port), ports);
    }
}

#[test]
fn what_is_no_ip_is_counted_by_reason() {
    let short_v4 = [eth(0x0800), std::vec![0x45; 19]].concat();
    let bad_version = [eth(0x0800), std::vec![0x65; 20]].concat();
    let bad_length = [eth(0x0800), std::vec![0x4f, 0, 0, 30, 0, 0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]].concat();
    for (frame, reason) in [
        (std::vec![0; 13], Counter::EthTruncated),
        (eth(0x0806), Counter::Arp),
        (eth(0x88cc), Counter::NonIp),
        ([eth(0x8100), std::vec![0, 1, 8]].concat(), Counter::VlanTruncated),
        (short_v4, Counter::Ipv4Truncated),
        (bad_version, Counter::Ipv4Malformed),
        (bad_length, Counter::Ipv4Malformed),
        ([eth(0x86dd), std::vec![0x60; 39]].concat(), Counter::Ipv6Truncated),
        ([eth(0x86dd), std::vec![0x40; 40]].concat(), Counter::Ipv6Malformed),
    ] {
        assert_eq!(run(&frame).0, Err(reason), "{frame:?}");
    }
}

#[test]
fn a_cut_transport_header_still_counts_from_the_ip_header() {
    let whole = [eth(0x0800), ipv4(proto::TCP, &[], 0, &tcp(&[], b"0123456789"))].concat();
    let cut = &whole[..14 + 20 + 10];
    let mut p = Packet::default();
    assert_eq!(parse(&SliceReader::new(cut, whole.len() as u32), &mut p), Ok(Family::V4));
    assert_eq!((p.l4_truncated, p.ip_len, p.src_port, p.dst_port, p.wire_len), (1, 50, 8080, 80, 64));
}

#[test]
fn no_bytes_can_make_it_panic_or_read_past_the_limit() {
    let mut frame = [eth(0x86dd), ipv6(0, &[60, 255, 0, 0].repeat(400))].concat();
    assert!(SliceReader::new(&frame, 0).read::<2>(crate::limits::MAX_HEADER_BYTES - 1).is_none());
    let mut state = 0x9e37_79b9_u32;
    for round in 0..20_000 {
        for _ in 0..4 {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            let at = state as usize % 80;
            frame[at] = (state >> 16) as u8;
        }
        let _ = run(&frame[..round % frame.len()]);
    }
}

#[test]
fn a_merged_frame_stands_for_packets_with_headers_of_their_own() {
    let payload = std::vec![7; 2_500];
    let frame = [eth(0x0800), ipv4(proto::TCP, &[], 0, &tcp(&[], &payload))].concat();
    let parsed = run(&frame).1;
    let split = |segment_len| {
        let mut p = parsed;
        let packets = p.segments(segment_len);
        p.split(packets, p.payload_len);
        (packets, p.wire_len, p.ip_len)
    };
    assert_eq!(split(0), (1, 2_554, 2_540));
    assert_eq!(split(2_500), (1, 2_554, 2_540));
    assert_eq!(split(1_000), (3, 2_554 + 2 * 54, 2_540 + 2 * 40));
    assert_eq!(split(500), (5, 2_554 + 4 * 54, 2_540 + 4 * 40));
}

#[test]
fn mpls_labels_and_pppoe_are_stepped_over() {
    let datagram = ipv4(proto::UDP, &[], 0, &UDP);
    let labels = [0, 1, 0x10, 64, 0, 1, 0x11, 64];
    let (family, p) = run(&[eth(0x8847), labels.to_vec(), datagram.clone()].concat());
    assert_eq!((family, p.dst_port), (Ok(Family::V4), 53));
    let (family, _) = run(&[eth(0x8847), [0, 1, 0x10, 64].repeat(7), datagram.clone()].concat());
    assert_eq!(family, Err(Counter::ShimMalformed));
    let (family, _) = run(&[eth(0x8847), std::vec![0, 1, 0x11, 64, 0, 0]].concat());
    assert_eq!(family, Err(Counter::NonIp), "neither a packet nor a frame");
    // An Ethernet pseudowire, with and without a control word; an address may begin with anything.
    for before in [&[0, 0, 0, 9][..], &[]] {
        for inner in [datagram.clone(), ipv6(proto::UDP, &UDP)] {
            let is_v6 = inner[0] >> 4 == 6;
            let frame = [eth(if is_v6 { 0x86dd } else { 0x0800 }), inner].concat();
            let (family, p) = run(&[eth(0x8847), std::vec![0, 1, 0x11, 64], before.to_vec(), frame].concat());
            assert_eq!((family, p.dst_port), (Ok(if is_v6 { Family::V6 } else { Family::V4 }), 53), "{before:?}");
        }
    }
    let arp = [eth(0x0806), std::vec![0; 28]].concat();
    let (family, _) = run(&[eth(0x8847), std::vec![0, 1, 0x11, 64, 0, 0, 0, 9], arp].concat());
    assert_eq!(family, Err(Counter::NonIp), "ARP of a customer");

    let pppoe = [0x11, 0, 0, 1, 0, 34];
    let (family, p) = run(&[eth(0x8864), pppoe.to_vec(), std::vec![0, 0x21], datagram].concat());
    assert_eq!((family, p.dst_port), (Ok(Family::V4), 53));
    let (family, p) = run(&[eth(0x8864), pppoe.to_vec(), std::vec![0, 0x57], ipv6(proto::UDP, &UDP)].concat());
    assert_eq!((family, p.dst_port), (Ok(Family::V6), 53));
    let (family, _) = run(&[eth(0x8864), pppoe.to_vec(), std::vec![0xc0, 0x21, 1, 1]].concat());
    assert_eq!(family, Err(Counter::NonIp), "a PPP control packet");
}

#[test]
fn llc_and_snap_are_stepped_over_behind_a_length_and_behind_tags() {
    let snap = |kind: u16| [&[0xaa, 0xaa, 3, 0, 0, 0][..], &kind.to_be_bytes()].concat();
    let datagram = ipv4(proto::UDP, &[], 0, &UDP);
    let len = 8 + datagram.len() as u16;
    let padding = std::vec![0; 6];
    let frame = [eth(len), snap(0x0800), datagram, padding].concat();
    let (family, p) = run(&frame);
    assert_eq!((family, p.dst_port, p.payload_len), (Ok(Family::V4), 53, 4));
    let (family, p) = run(&[eth(0x8100), tag(7, len), snap(0x86dd), ipv6(proto::UDP, &UDP)].concat());
    assert_eq!((family, p.dst_port, p.vlan), (Ok(Family::V6), 53, 7));
    let (family, _) = run(&[eth(28 + 8), snap(0x0806), std::vec![0; 28]].concat());
    assert_eq!(family, Err(Counter::Arp));
    // Spanning tree, Cisco's discovery, and a header that is cut off.
    let spanning_tree = [eth(38), std::vec![0x42, 0x42, 3], std::vec![0; 35]].concat();
    let discovery = [eth(100), std::vec![0xaa, 0xaa, 3, 0, 0, 0x0c, 0x20, 0], std::vec![0; 92]].concat();
    for frame in [spanning_tree, discovery, [eth(8), std::vec![0xaa, 0xaa, 3]].concat()] {
        assert_eq!(run(&frame).0, Err(Counter::NonIp));
    }
}

#[test]
fn tunnels_are_opened_only_when_asked_to() {
    let inner4 = ipv4(proto::UDP, &[], 0, &UDP);
    let inner6 = ipv6(proto::UDP, &UDP);
    let outer_udp = |port: u16, payload: &[u8]| {
        let mut datagram = std::vec![0x30, 0x39];
        datagram.extend(port.to_be_bytes());
        datagram.extend((8 + payload.len() as u16).to_be_bytes());
        datagram.extend([0, 0]);
        datagram.extend(payload);
        datagram
    };
    let frame4 = [eth(0x0800), inner4.clone()].concat();
    let vxlan = [std::vec![8, 0, 0, 0, 0, 0, 7, 0], frame4.clone()].concat();
    let geneve = [std::vec![1, 0, 0x65, 0x58, 0, 0, 7, 0, 1, 2, 3, 4], frame4.clone()].concat();
    let erspan_1 = [std::vec![0, 0, 0x88, 0xbe], frame4.clone()].concat();
    let erspan_2 = [std::vec![0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 1, 0, 2, 0, 0, 0, 3], frame4.clone()].concat();
    let erspan_3 = |more: u8| {
        let header = std::vec![0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 1, 0, 2, 0, 0, 0, 3, 0, 0, 0, more];
        [header, std::vec![7; usize::from(more) * 8], frame4.clone()].concat()
    };
    let gtp = [std::vec![0x30, 0xff, 0, 40, 0, 0, 0, 9], inner4.clone()].concat();
    let gtp_more = [std::vec![0x34, 0xff, 0, 48, 0, 0, 0, 9, 0, 0, 0, 0x85, 1, 0x10, 9, 0], inner6.clone()].concat();
    let origin = [std::vec![0, 0, 1, 2, 3, 4, 5, 6], inner6.clone()].concat();
    let peers = |prefix: u8| {
        let mut packet = inner6.clone();
        packet[8..12].copy_from_slice(&[0x20, prefix, 0, 0]);
        packet
    };
    let authentication = [&[0, 1, 1, 2][..], &[7; 1 + 2 + 9], &[0, 0, 1, 2, 3, 4, 5, 6], &inner6].concat();
    let ayiya = [&[0x44, 0x52, 0x11, 41][..], &[7; 4 + 16 + 20], &inner6].concat();
    let tzsp = [&[1, 0, 0, 1][..], &[0, 10, 1, 200, 1], &frame4].concat();
    let l2tp = |flags: u8, more: &[u8], ppp: &[u8], inner: &[u8]| {
        let length: &[u8] = if flags & 0x40 != 0 { &[0, 99] } else { &[] };
        [&[flags, 2], length, &[0, 1, 0, 2], more, ppp, inner].concat()
    };
    let session = |optional: usize| [&[0, 0, 0, 9][..], &std::vec![0; optional], &frame4].concat();
    let pptp = [&[0x30, 0x81, 0x88, 0x0b, 0, 40, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2][..], &[0x21], &inner4].concat();
    let gre_udp = [&[0, 0, 0x08, 0][..], &inner4].concat();
    let wccp = [&[0, 0, 0x88, 0x3e, 0, 0, 0, 0][..], &inner4].concat();
    let mpls = [&[0, 0, 0x88, 0x47, 0, 1, 0x11, 64][..], &inner4].concat();
    let gpe = |next: u8, inner: &[u8]| [&[0x0c, 0, 0, next, 0, 0, 7, 0][..], inner].concat();
    let udp = |port: u16, payload: &[u8]| ipv4(proto::UDP, &[], 0, &outer_udp(port, payload));
    let gre_key = [std::vec![0x20, 0, 0x86, 0xdd, 0, 0, 0, 9], inner6.clone()].concat();
    for (name, outer, (family, outer_port)) in [
        ("vxlan", ipv4(proto::UDP, &[], 0, &outer_udp(4789, &vxlan)), (Family::V4, 4789)),
        ("geneve", ipv4(proto::UDP, &[], 0, &outer_udp(6081, &geneve)), (Family::V4, 6081)),
        ("erspan i", ipv4(47, &[], 0, &erspan_1), (Family::V4, 0)),
        ("erspan ii", ipv4(47, &[], 0, &erspan_2), (Family::V4, 0)),
        ("erspan iii", ipv4(47, &[], 0, &erspan_3(0)), (Family::V4, 0)),
        ("erspan iii, platform", ipv4(47, &[], 0, &erspan_3(1)), (Family::V4, 0)),
        ("gtp-u", ipv4(proto::UDP, &[], 0, &outer_udp(2152, &gtp)), (Family::V4, 2152)),
        ("gtp-u, extension", ipv4(proto::UDP, &[], 0, &outer_udp(2152, &gtp_more)), (Family::V6, 2152)),
        ("teredo", ipv4(proto::UDP, &[], 0, &outer_udp(3544, &inner6)), (Family::V6, 3544)),
        ("teredo, origin", ipv4(proto::UDP, &[], 0, &outer_udp(3544, &origin)), (Family::V6, 3544)),
        ("teredo, authentication", udp(3544, &authentication), (Family::V6, 3544)),
        ("teredo, peers", udp(40_000, &peers(1)), (Family::V6, 40_000)),
        ("ayiya", udp(5072, &ayiya), (Family::V6, 5072)),
        ("tzsp", udp(37_008, &tzsp), (Family::V4, 37_008)),
        ("l2tp", udp(1701, &l2tp(0x40, &[], &[0xff, 3, 0, 0x21], &inner4)), (Family::V4, 1701)),
        ("l2tp, all", udp(1701, &l2tp(0x4a, &[0, 1, 0, 1, 0, 2, 9, 9], &[0x57], &inner6)), (Family::V6, 1701)),
        ("l2tp v3 in udp", udp(1701, &[&[0, 3, 0, 0][..], &session(4)].concat()), (Family::V4, 1701)),
        ("l2tp v3", ipv4(115, &[], 0, &session(0)), (Family::V4, 0)),
        ("l2tp v3, cookie", ipv4(115, &[], 0, &session(12)), (Family::V4, 0)),
        ("pptp", ipv4(47, &[], 0, &pptp), (Family::V4, 0)),
        ("gre in udp", udp(4754, &gre_udp), (Family::V4, 4754)),
        ("wccp", ipv4(47, &[], 0, &wccp), (Family::V4, 0)),
        ("mpls in gre", ipv4(47, &[], 0, &mpls), (Family::V4, 0)),
        ("vxlan-gpe", udp(4790, &gpe(1, &inner4)), (Family::V4, 4790)),
        ("vxlan-gpe, frame", udp(4790, &gpe(3, &frame4)), (Family::V4, 4790)),
        ("gre", ipv4(47, &[], 0, &gre_key), (Family::V6, 0)),
        ("ipip", ipv4(4, &[], 0, &inner4), (Family::V4, 0)),
        ("6in4", ipv4(41, &[], 0, &inner6), (Family::V6, 0)),
    ] {
        let frame = [eth(0x0800), outer].concat();
        let reader = SliceReader::new(&frame, frame.len() as u32);
        let mut p = Packet::default();
        assert_eq!(parse(&reader, &mut p), Ok(Family::V4), "{name} closed");
        assert_eq!((p.notes, p.dst_port), (0, outer_port), "{name} closed");
        assert_eq!(parse(&reader.with_tunnels(Some(TunnelPorts::default())), &mut p), Ok(family), "{name} opened");
        assert_eq!((p.notes, p.proto, p.dst_port, p.payload_len), (1, proto::UDP, 53, 4), "{name} opened");
        assert_eq!(p.wire_len, frame.len() as u32, "{name}: the whole frame is counted");
    }
    let empty = [eth(0x0800), ipv4(4, &[], 0, &[0x65; 30])].concat();
    let mut p = Packet::default();
    let reader = SliceReader::new(&empty, empty.len() as u32).with_tunnels(Some(TunnelPorts::default()));
    assert_eq!((parse(&reader, &mut p), p.proto, p.notes), (Ok(Family::V4), 4, 0), "no packet inside");
    // What looks like a packet by chance, from no Teredo address, stays what it is.
    for (frame, port) in [(udp(40_000, &peers(2)), 40_000), (udp(40_000, &peers(1)[..44]), 40_000)] {
        let frame = [eth(0x0800), frame].concat();
        let reader = SliceReader::new(&frame, frame.len() as u32).with_tunnels(Some(TunnelPorts::default()));
        assert_eq!((parse(&reader, &mut p), p.dst_port, p.notes), (Ok(Family::V4), port, 0));
    }
    // Two tunnels are opened, a third one is what is accounted; ports are as configured.
    let nested = |depth: usize| (0..depth).fold(inner4.clone(), |inner, _| ipv4(4, &[], 0, &inner));
    let ports = TunnelPorts { vxlan: [5000; 4], ..TunnelPorts::default() };
    for (frame, proto, port) in [
        (nested(2), proto::UDP, 53),
        (nested(3), 4, 0),
        (udp(5000, &vxlan), proto::UDP, 53),
        (udp(4789, &vxlan), proto::UDP, 4789),
    ] {
        let frame = [eth(0x0800), frame].concat();
        let reader = SliceReader::new(&frame, frame.len() as u32).with_tunnels(Some(ports));
        assert_eq!((parse(&reader, &mut p), p.proto, p.dst_port), (Ok(Family::V4), proto, port));
    }
}
