//! What is kept of the first payload of a direction, and from where.

extern crate std;

use std::vec::Vec;

use super::{Opening, first_of, read};
use crate::tcp::{ACK, SYN};
use crate::{CaptureClock, FlowStats, Packet, SliceReader};

const AT: usize = 54;

/// A frame of 54 bytes of headers and this payload.
fn frame(payload: &[u8]) -> Vec<u8> {
    [&[0xee; AT], payload].concat()
}

fn segment(flow: &mut FlowStats, direction: u32, flags: u8, seq: u32, payload: &[u8], captured: usize) {
    let frame = frame(payload);
    let packet = Packet {
        proto: 6,
        tcp_flags: flags,
        seq,
        payload_len: payload.len() as u32,
        payload_at: AT as u32,
        window: 9,
        ..Packet::default()
    };
    let reader = SliceReader::new(&frame[..captured.min(frame.len())], frame.len() as u32);
    flow.add_from(&reader, &packet, 1, direction, 1_000_000, &CaptureClock(1_000_000));
}

fn opened(flow: &FlowStats, direction: usize) -> (&[u8], bool) {
    (flow.openings[direction].bytes(), flow.openings[direction].from_start == 1)
}

#[test]
fn payloads_of_any_length_are_read_at_once() {
    let payload = b"SSH-2.0-OpenSSH";
    for len in 1..payload.len() {
        let frame = [&frame(&payload[..len])[..], b"padding"].concat();
        let reader = SliceReader::new(&frame, frame.len() as u32);
        let (kept, bytes) = read(&reader, AT, len as u32).expect("readable");
        assert_eq!(&bytes[..kept as usize], &payload[..len.min(8)], "{len}");
        assert!(bytes[kept as usize..].iter().all(|byte| *byte == 0), "{len}: {bytes:?}");
    }
    let short = frame(b"abc");
    let reader = SliceReader::new(&short, 100);
    assert_eq!(read(&reader, AT, 40), Some((3, *b"abc\0\0\0\0\0")), "what the capture holds");
    assert_eq!(read(&reader, AT + 3, 40), None);
    assert_eq!(read(&reader, 2000, 40), None);
    assert_eq!(first_of([1, 2, 3, 4, 5, 6, 7, 8], 8), [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn a_stream_is_known_by_its_first_segment_alone() {
    let mut flow = FlowStats::default();
    segment(&mut flow, 0, SYN, 100, b"", 999);
    segment(&mut flow, 1, SYN | ACK, 500, b"", 999);
    segment(&mut flow, 0, ACK, 101, b"", 999);
    assert_eq!(opened(&flow, 0), (&b""[..], false));
    segment(&mut flow, 1, ACK, 501, b"220 mail", 999);
    segment(&mut flow, 0, ACK, 101, b"EHLO here\r\n", 999);
    segment(&mut flow, 0, ACK, 112, b"MAIL FROM", 999);
    assert_eq!(opened(&flow, 0), (&b"EHLO her"[..], true));
    assert_eq!(opened(&flow, 1), (&b"220 mail"[..], true));
}

#[test]
fn a_stream_from_its_middle_says_so_until_its_syn_comes() {
    let mut flow = FlowStats::default();
    segment(&mut flow, 0, ACK, 101, b"GET / HTTP", 999);
    assert_eq!(opened(&flow, 0), (&b"GET / HT"[..], false));
    segment(&mut flow, 0, SYN, 100, b"", 999);
    assert_eq!(opened(&flow, 0), (&b"GET / HT"[..], true));

    let mut second_first = FlowStats::default();
    segment(&mut second_first, 0, SYN, 100, b"", 999);
    segment(&mut second_first, 0, ACK, 201, b"second", 999);
    assert_eq!(opened(&second_first, 0), (&b"second"[..], false));
}

#[test]
fn data_on_the_syn_is_the_start() {
    let mut flow = FlowStats::default();
    segment(&mut flow, 0, SYN, 100, b"GET /fast", 999);
    assert_eq!(opened(&flow, 0), (&b"GET /fas"[..], true));
}

#[test]
fn the_next_connection_of_the_same_ports_has_bytes_of_its_own() {
    let mut flow = FlowStats::default();
    segment(&mut flow, 0, SYN, 100, b"", 999);
    segment(&mut flow, 0, ACK, 101, b"first", 999);
    segment(&mut flow, 0, 4, 106, b"", 999);
    segment(&mut flow, 0, SYN, 9000, b"", 999);
    assert_eq!(flow.cuts, 1);
    assert_eq!(opened(&flow, 0), (&b""[..], false));
    segment(&mut flow, 0, ACK, 9001, b"second", 999);
    assert_eq!(opened(&flow, 0), (&b"second"[..], true));
    assert_eq!(opened(&flow.before_cut(&Default::default()), 0), (&b"first"[..], true));
}

#[test]
fn a_datagram_in_pieces_opens_with_its_first_one() {
    let mut flow = FlowStats::default();
    let mut datagram = |direction, fragment, payload: &[u8]| {
        let frame = frame(payload);
        let packet = Packet {
            proto: 17,
            fragment,
            payload_len: payload.len() as u32,
            payload_at: AT as u32,
            ..Packet::default()
        };
        let reader = SliceReader::new(&frame, frame.len() as u32);
        flow.add_from(&reader, &packet, 1, direction, 1, &CaptureClock(1));
    };
    datagram(0, 2, b"later one");
    datagram(0, 0, b"");
    datagram(0, 1, b"first one");
    datagram(0, 0, b"another");
    datagram(1, 0, b"ok");
    assert_eq!(opened(&flow, 0), (&b"first on"[..], true));
    assert_eq!(opened(&flow, 1), (&b"ok"[..], true));
    assert_eq!(Opening::of(b"first one", true), flow.openings[0]);
}
