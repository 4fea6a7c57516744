//! The pcap format and its variants.

use super::build::{MICROSECONDS, MODIFIED, NANOSECONDS, ORDERS, Order, pcap, pcap_header, record};
use super::{End, frame, frames, read, reader, whole};
use crate::Container;

#[test]
fn both_byte_orders_and_resolutions() {
    for order in ORDERS {
        for (magic, time_ns) in [(MICROSECONDS, 5_000_007_000), (NANOSECONDS, 5_000_000_007)] {
            let mut file = pcap_header(order, magic, (2, 4), 1);
            file.extend(record(order, [5, 7, 14, 1_500], &[0xab; 14]));
            file.extend(record(order, [5, 7, 0, 60], &[]));
            let expected = [frame(time_ns, 1_500, &[0xab; 14]), frame(time_ns, 60, &[])];
            assert_eq!(whole(&file), expected, "{order:?} {magic:x}");
            assert_eq!(reader(&file).unwrap().format().container, Container::Pcap);
        }
    }
}

#[test]
fn modified_format() {
    for order in ORDERS {
        let mut file = pcap_header(order, MODIFIED, (2, 4), 1);
        for data in [[0xab; 14], [0xcd; 14]] {
            file.extend(record(order, [5, 7, 14, 60], &[0; 8]));
            file.extend(data);
        }
        let expected = [frame(5_000_007_000, 60, &[0xab; 14]), frame(5_000_007_000, 60, &[0xcd; 14])];
        assert_eq!(whole(&file), expected, "{order:?}");
    }
}

#[test]
fn lengths_in_the_other_order() {
    for (version, fields) in [
        ((2, 0), [5, 7, 60, 14]),
        ((2, 2), [5, 7, 60, 14]),
        ((543, 0), [5, 7, 60, 14]),
        ((2, 3), [5, 7, 60, 14]),
        ((2, 3), [5, 7, 14, 60]),
        ((2, 4), [5, 7, 14, 60]),
        ((2, 5), [5, 7, 14, 60]),
    ] {
        let mut file = pcap_header(Order::Big, MICROSECONDS, version, 1);
        file.extend(record(Order::Big, fields, &[0xab; 14]));
        assert_eq!(whole(&file), [frame(5_000_007_000, 60, &[0xab; 14])], "{version:?}");
    }
}

#[test]
fn aix() {
    let mut file = pcap_header(Order::Big, MICROSECONDS, (2, 2), 6);
    file.extend(record(Order::Big, [5, 7, 60, 14], &[0xab; 14]));
    assert_eq!(whole(&file), [frame(5_000_000_007, 60, &[0xab; 14])]);
}

#[test]
fn old_version_is_no_capture() {
    let error = reader(&pcap_header(Order::Little, MICROSECONDS, (1, 4), 1)).err().unwrap();
    assert_eq!(error.to_string(), "test: not a capture file: pcap version 1.4 is not supported");
}

#[test]
fn fraction_beyond_a_second() {
    let mut file = pcap_header(Order::Little, MICROSECONDS, (2, 4), 1);
    file.extend(record(Order::Little, [u32::MAX, u32::MAX, 0, 0], &[]));
    assert_eq!(whole(&file)[0].time_ns, 4_294_967_295_000_000_000 + 4_294_967_295_000);
}

#[test]
fn frame_check_sequence_bits_are_no_link_type() {
    assert_eq!(whole(&pcap(0x2400_0001, &[&[0xab; 14]])), [frame(1_000_000_000, 14, &[0xab; 14])]);
}

#[test]
fn frame_longer_than_the_buffer() {
    let long = vec![0xab; 3 << 20];
    let frames = whole(&pcap(1, &[&[1; 14], &long, &[2; 14]]));
    assert_eq!(frames.iter().map(|frame| frame.data.len()).collect::<Vec<_>>(), [14, 3 << 20, 14]);
    assert_eq!(frames[2].data, [2; 14]);
}

#[test]
fn absurd_length_is_corrupt() {
    for captured in [u32::MAX, 1 << 31, (16 << 20) + 1] {
        let mut file = pcap(1, &[&[0xab; 14]]);
        file.extend(record(Order::Little, [2, 0, captured, captured], &[0; 64]));
        let (frames, end) = read(&file);
        assert_eq!(frames.len(), 1);
        let detail = format!("a record states a captured length of {captured} bytes");
        assert_eq!(end, End::Corrupt { at_byte: 54, detail });
    }
}

#[test]
fn unsupported_link_type_is_counted() {
    let file = pcap(119, &[&[0; 20], &[], &[0; 3]]);
    let mut capture = reader(&file).unwrap();
    assert_eq!(capture.unsupported(), None);
    assert_eq!(frames(&mut capture), []);
    assert_eq!(capture.end(), &End::Complete);
    assert_eq!(capture.skipped().values().sum::<u64>(), 3);
    assert_eq!(
        capture.unsupported().unwrap(),
        "test: no frame can be analysed: 3 of link type 119 (IEEE802_11_PRISM); supported are Ethernet, raw IP, \
         Linux cooked, BSD loopback, PPP, Cisco HDLC, FDDI and 802.11"
    );
}

#[test]
fn unsupported_record_is_passed_over_unbuffered() {
    let long = vec![0; 20 << 20];
    let mut capture = reader(&pcap(249, &[&long, &[0; 3]])).unwrap();
    assert_eq!(frames(&mut capture), []);
    assert_eq!(capture.skipped().values().sum::<u64>(), 2);
    assert!(capture.input.capacity() < 2 << 20);
}

#[test]
fn other_link_headers_become_ethernet() {
    let frames = whole(&pcap(101, &[&[0x45, 1, 2, 3], &[0x60, 1], &[]]));
    let header = |ethertype: [u8; 2]| [&[0; 12], &ethertype[..]].concat();
    assert_eq!(frames[0], frame(1_000_000_000, 4, &[&header([0x08, 0x00]), &[0x45, 1, 2, 3][..]].concat()));
    assert_eq!(frames[1], frame(2_000_000_000, 2, &[&header([0x86, 0xdd]), &[0x60, 1][..]].concat()));
    assert_eq!(frames[2], frame(3_000_000_000, 0, &header([0x88, 0xb5])));
}
