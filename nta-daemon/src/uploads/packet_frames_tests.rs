//! Frames of records as the parser of captures reads them.

use super::*;
use nta_common::packet::Packet;
use nta_common::{Family, SliceReader, parse};

fn record(protocol: u8, [source, destination]: [&str; 2], ports: [u16; 2], length: u32) -> PacketRecord {
    PacketRecord {
        time_ns: 1,
        source: source.parse().expect("an address"),
        destination: destination.parse().expect("an address"),
        protocol,
        source_port: Some(ports[0]),
        destination_port: Some(ports[1]),
        length,
        tcp_flags: None,
        payload_length: None,
    }
}

fn read(frame: &[u8], record: &PacketRecord) -> (Family, Packet) {
    let mut packet = Packet::default();
    let family = parse(&SliceReader::new(frame, record.length), &mut packet).expect("an IP packet");
    (family, packet)
}

const ENDS: [&str; 2] = ["192.0.2.1", "198.51.100.7"];
const BACK: [&str; 2] = ["198.51.100.7", "192.0.2.1"];
const ENDS6: [&str; 2] = ["2001:db8::1", "2001:db8::7"];

fn tcp(ends: [&str; 2], ports: [u16; 2], flags: u8, length: u32) -> PacketRecord {
    PacketRecord { tcp_flags: Some(flags), ..record(proto::TCP, ends, ports, length) }
}

#[test]
fn a_frame_says_what_its_record_says() {
    let mut frames = Frames::default();
    for (protocol, ends, length, payload) in
        [(proto::UDP, ENDS, 142, 100), (proto::UDP, ENDS6, 162, 100), (proto::SCTP, ENDS, 60, 14), (47, ENDS, 100, 66)]
    {
        let record = record(protocol, ends, [5000, 6000], length);
        let (family, packet) = read(&frames.make(&record).expect("a frame"), &record);
        assert_eq!(family == Family::V6, ends == ENDS6);
        assert_eq!((packet.proto, packet.wire_len, packet.ip_len), (protocol, length, length - 14));
        let ports = if protocol == 47 { (0, 0) } else { (5000, 6000) };
        assert_eq!((packet.src_port, packet.dst_port, packet.payload_len), (ports.0, ports.1, payload), "{protocol}");
    }
    let ping = record(proto::ICMP, ENDS, [8, 0], 98);
    let (_, packet) = read(&frames.make(&ping).expect("a frame"), &ping);
    assert_eq!((packet.src_port, packet.l4_truncated), (8, 0));
    // Nothing is known of what is behind the IP header.
    let bare = PacketRecord { source_port: None, ..record(proto::TCP, ENDS, [0, 0], 1500) };
    let (_, packet) = read(&frames.make(&bare).expect("a frame"), &bare);
    assert_eq!((packet.l4_truncated, packet.src_port, packet.ip_len), (1, 0, 1486));
    // Ports and no flags.
    let cut = record(proto::TCP, ENDS6, [5000, 443], 1500);
    let (_, packet) = read(&frames.make(&cut).expect("a frame"), &cut);
    assert_eq!((packet.l4_truncated, packet.src_port, packet.dst_port), (1, 5000, 443));
}

#[test]
fn segments_follow_one_another_and_a_syn_that_comes_again_is_the_same() {
    let mut frames = Frames::default();
    let mut sent = |ends, ports, flags, length| {
        let record = tcp(ends, ports, flags, length);
        let (_, packet) = read(&frames.make(&record).expect("a frame"), &record);
        packet
    };
    let (there, back) = ([40_000, 80], [80, 40_000]);
    let syn = sent(ENDS, there, SYN, 74);
    let again = sent(ENDS, there, SYN, 74);
    assert_eq!((syn.seq, syn.payload_len), (again.seq, 0));
    let answer = sent(BACK, back, SYN | ACK, 74);
    assert_eq!(answer.ack, syn.seq + 1);
    let done = sent(ENDS, there, ACK, 60);
    assert_eq!((done.seq, done.ack, done.payload_len), (syn.seq + 1, answer.seq + 1, 0));
    let request = sent(ENDS, there, ACK, 154);
    assert_eq!((request.seq, request.payload_len), (done.seq, 100));
    assert_eq!(sent(ENDS, there, FIN | ACK, 60).seq, request.seq + 100);
    assert_eq!(sent(BACK, back, ACK, 60).ack, request.seq + 101);
    // The same ports again are another connection, behind all that was.
    let next = sent(ENDS, there, SYN, 74);
    assert!(next.seq > request.seq + 100, "{next:?}");
}

#[test]
fn a_file_that_is_taken_up_goes_on_as_if_it_had_not_ended() {
    let records: Vec<_> = (0..4000_u16)
        .map(|n| {
            let (ends, ports) = match n % 4 {
                0 => (ENDS, [1000 + n % 97, 80]),
                1 => (BACK, [80, 1000 + n % 97]),
                2 => (ENDS6, [2000 + n % 89, 443]),
                _ => (ENDS, [53, 53]),
            };
            let length = 90 + u32::from(n) % 1200;
            match n % 4 {
                3 => record(proto::UDP, ends, ports, length),
                _ => tcp(ends, ports, [SYN, SYN | ACK, ACK, FIN | ACK][usize::from(n / 4 % 4)], length),
            }
        })
        .collect();
    let mut whole = Frames::default();
    let whole = whole.encode(7, &records, true).expect("frames");
    let (first, rest) = records.split_at(1777);
    let mut file = Frames::default().encode(7, first, true).expect("frames");
    let mut frames = Frames::default();
    frames.recall(file.as_slice()).expect("recalled");
    file.extend(frames.encode(7, rest, false).expect("frames"));
    assert!(file == whole);
}

#[test]
fn what_cannot_be_names_its_field() {
    let cases = [
        (tcp(ENDS, [1, 2], ACK, 53), "length", "54 to 65549"),
        (tcp(ENDS, [1, 2], ACK, 70_000), "length", "34 to 65549"),
        (record(proto::UDP, ENDS6, [1, 2], 61), "length", "62 to 65549"),
        (record(proto::UDP, ["192.0.2.1", "2001:db8::1"], [1, 2], 100), "destination", "family"),
        (record(proto::ICMP, ENDS, [256, 0], 100), "source_port", "255"),
        (PacketRecord { payload_length: Some(100), ..tcp(ENDS, [1, 2], ACK, 100) }, "payload_length", "at most 46"),
        (PacketRecord { payload_length: Some(0), ..tcp(ENDS, [1, 2], ACK, 1000) }, "payload_length", "966 bytes"),
    ];
    for (record, field, said) in cases {
        let wrong = Frames::default().encode(7, &[tcp(ENDS, [1, 2], ACK, 60), record], true).expect_err("refused");
        assert_eq!((wrong.index, wrong.field), (1, field));
        assert!(wrong.detail.contains(said), "{}", wrong.detail);
    }
}

#[test]
fn what_is_forgotten_begins_behind_all_that_was() {
    let mut frames = Frames::default();
    let first = tcp(ENDS, [1, 80], ACK, 1054);
    frames.make(&first).expect("a frame");
    for n in 0..MOST_DIRECTIONS * 2 + 2 {
        let [high, low] = (n as u16).to_be_bytes();
        let source = format!("10.{}.{high}.{low}", n >> 16);
        frames.make(&tcp([&source, ENDS[1]], [9, 80], ACK, 64)).expect("a frame");
    }
    assert!(frames.young.len() + frames.old.len() <= 2 * MOST_DIRECTIONS);
    let (_, again) = read(&frames.make(&first).expect("a frame"), &first);
    // 1,000 bytes of its own, and ten of each other packet.
    assert_eq!(again.seq as usize, 1000 + 10 * (MOST_DIRECTIONS * 2 + 2));
}
