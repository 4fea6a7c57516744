//! The pcapng format: sections, interfaces, every kind of packet block.

use super::build::{ORDERS, Order, block, enhanced, interface, obsolete, section, simple};
use super::{End, OneByOne, frame, frames, read, reader, whole};
use crate::{CaptureReader, Container};

const LITTLE: Order = Order::Little;
const ABAB: [u8; 14] = [0xab; 14];

#[test]
fn every_packet_block_in_both_orders() {
    for order in ORDERS {
        let file = [
            section(order, (1, 0)),
            block(order, 0x0bad, &[1; 9]),
            interface(order, 1, 0, &[]),
            enhanced(order, 0, 5_000_007, 60, &ABAB),
            obsolete(order, 0, 6_000_007, 61, &[0xcd; 15]),
            simple(order, 16, &[0xef; 16]),
            block(order, 5, &[0; 12]),
            enhanced(order, 0, 0, 9, &[]),
        ]
        .concat();
        let expected = [
            frame(5_000_007_000, 60, &ABAB),
            frame(6_000_007_000, 61, &[0xcd; 15]),
            frame(6_000_007_000, 16, &[0xef; 16]),
            frame(0, 9, &[]),
        ];
        assert_eq!(whole(&file), expected, "{order:?}");
        assert_eq!(reader(&file).unwrap().format().container, Container::PcapNg);
    }
}

#[test]
fn clock_of_each_interface() {
    for order in ORDERS {
        let file = [
            section(order, (1, 2)),
            interface(order, 1, 0, &[(9, &[9]), (0, &[])]),
            interface(order, 1, 0, &[(2, b"eth1"), (9, &[0x81])]),
            interface(order, 1, 0, &[(9, &[3]), (14, &order.i64(10))]),
            // after the end of the options nothing counts
            interface(order, 1, 0, &[(0, &[]), (9, &[3])]),
            [0, 1, 2, 3].map(|index| enhanced(order, index, 3, 14, &ABAB)).concat(),
        ]
        .concat();
        let times: Vec<u64> = whole(&file).iter().map(|frame| frame.time_ns).collect();
        assert_eq!(times, [3, 1_500_000_000, 10_003_000_000, 3_000], "{order:?}");
    }
}

#[test]
fn each_interface_has_its_link_type() {
    let file = [
        section(LITTLE, (1, 0)),
        interface(LITTLE, 119, 0, &[]),
        interface(LITTLE, 228, 0, &[]),
        interface(LITTLE, 1, 0, &[]),
        [0, 1, 2, 0].map(|index| enhanced(LITTLE, index, 0, 14, &ABAB)).concat(),
    ]
    .concat();
    let mut capture = reader(&file).unwrap();
    let lengths: Vec<usize> = frames(&mut capture).iter().map(|frame| frame.data.len()).collect();
    assert_eq!(lengths, [28, 14]);
    assert_eq!(capture.skipped().iter().map(|(link, count)| (link.number(), *count)).collect::<Vec<_>>(), [(119, 2)]);
    assert_eq!(capture.unsupported(), None);
}

#[test]
fn a_section_changes_order_and_forgets_interfaces() {
    let first = [section(LITTLE, (1, 0)), interface(LITTLE, 1, 0, &[]), enhanced(LITTLE, 0, 1, 14, &ABAB)].concat();
    let big = Order::Big;
    let second = [section(big, (1, 0)), interface(big, 228, 0, &[]), enhanced(big, 0, 2, 1, &[0x45])].concat();
    let frames = whole(&[&first[..], &second].concat());
    assert_eq!(frames[0], frame(1_000, 14, &ABAB));
    assert_eq!((frames[1].time_ns, frames[1].data.len()), (2_000, 15));

    let (frames, end) = read(&[first, section(big, (1, 0)), enhanced(big, 0, 2, 14, &ABAB)].concat());
    assert_eq!(frames.len(), 1);
    let detail = "a packet of interface 0, which no block describes".to_owned();
    assert_eq!(end, End::Corrupt { at_byte: 124, detail });
}

#[test]
fn simple_packets_are_cut_by_the_first_interface() {
    let file = [
        section(LITTLE, (1, 0)),
        interface(LITTLE, 1, 15, &[]),
        interface(LITTLE, 1, 3, &[]),
        simple(LITTLE, 1_500, &[0xab; 15]),
        simple(LITTLE, 14, &ABAB),
    ]
    .concat();
    assert_eq!(whole(&file), [frame(0, 1_500, &[0xab; 15]), frame(0, 14, &ABAB)]);
}

/// Its header is shorter than an Ethernet header, and here it begins the buffer.
#[test]
fn simple_packet_of_raw_ip_byte_by_byte() {
    let packets = [0x45, 0x60].map(|first| simple(LITTLE, 4, &[first, 1, 2, 3])).concat();
    let file = [section(LITTLE, (1, 0)), interface(LITTLE, 101, 0, &[]), packets].concat();
    let read = Box::new(OneByOne(std::io::Cursor::new(file)));
    let frames = frames(&mut CaptureReader::from_read("test".to_owned(), read).unwrap());
    assert_eq!(frames[0].data, [&[0; 12][..], &[0x08, 0x00, 0x45, 1, 2, 3]].concat());
    assert_eq!(frames[1].data, [&[0; 12][..], &[0x86, 0xdd, 0x60, 1, 2, 3]].concat());
}

#[test]
fn what_is_corrupt() {
    let start = [section(LITTLE, (1, 0)), interface(LITTLE, 1, 0, &[]), enhanced(LITTLE, 0, 1, 14, &ABAB)].concat();
    let absurd = |length: u32| [LITTLE.u32(6), LITTLE.u32(length)].concat();
    let mut longer_than_block = enhanced(LITTLE, 0, 1, 14, &ABAB);
    longer_than_block[20] = 17;
    let mut trailer = block(LITTLE, 0x0bad, &[]);
    trailer[8] = 16;
    for (bad, detail) in [
        (enhanced(LITTLE, 1, 1, 14, &ABAB), "a packet of interface 1, which no block describes"),
        (obsolete(LITTLE, 9, 1, 14, &ABAB), "a packet of interface 9, which no block describes"),
        (simple(LITTLE, 15, &[0; 8]), "15 bytes of packet in a block of 24 bytes"),
        (longer_than_block, "17 bytes of packet in a block of 48 bytes"),
        (trailer, "a block states a length of 12 bytes at its start and 16 at its end"),
        (block(LITTLE, 6, &[0; 16]), "a packet block states a length of 28 bytes"),
        (absurd(0), "a block of type 0x6 states a length of 0 bytes"),
        (absurd(u32::MAX), "a block of type 0x6 states a length of 4294967295 bytes"),
        (section(LITTLE, (2, 0)), "pcapng version 2.0 is not supported"),
        (vec![0; 12], "a block of type 0x0 states a length of 0 bytes"),
    ] {
        // what follows must not be read
        let (frames, end) = read(&[&start[..], &bad, &[0; 40], &start].concat());
        assert_eq!(frames.len(), 1, "{detail}");
        assert_eq!(end, End::Corrupt { at_byte: 96, detail: detail.to_owned() });
    }
}

#[test]
fn large_block_of_no_packet_is_passed_over_unbuffered() {
    let file = [
        section(LITTLE, (1, 0)),
        block(LITTLE, 0x0bad, &vec![0; 20 << 20]),
        interface(LITTLE, 1, 0, &[]),
        enhanced(LITTLE, 0, 1, 14, &ABAB),
    ]
    .concat();
    let mut capture = reader(&file).unwrap();
    assert_eq!(frames(&mut capture).len(), 1);
    assert!(capture.input.capacity() < 2 << 20);
}

#[test]
fn frames_have_the_numbers_of_the_file_whatever_is_passed_over_or_put_in_order() {
    let order = LITTLE;
    let file = [
        section(order, (1, 0)),
        interface(order, 1, 0, &[]),
        interface(order, 147, 0, &[]),
        interface(order, 1, 0, &[]),
        enhanced(order, 0, 3_000_000, 60, &[1; 14]),
        enhanced(order, 1, 1_000_000, 60, &[2; 14]),
        enhanced(order, 2, 2_000_000, 60, &[3; 14]),
        enhanced(order, 0, 4_000_000, 60, &[4; 14]),
    ]
    .concat();
    let numbers = |mut next: Box<dyn FnMut() -> Option<(u64, u8)>>| {
        let mut all = Vec::new();
        while let Some(one) = next() {
            all.push(one);
        }
        all
    };
    let mut capture = reader(&file).unwrap();
    let as_they_come = numbers(Box::new(move || capture.next_frame().map(|frame| (frame.number, frame.data[0]))));
    assert_eq!(as_they_come, [(1, 1), (3, 3), (4, 4)], "the second one is of a link type that nothing here reads");
    let mut merged = crate::Merged::of_stream(reader(&file).unwrap());
    let by_time = numbers(Box::new(move || merged.next_frame().map(|frame| (frame.number, frame.data[0]))));
    assert_eq!(by_time, [(3, 3), (1, 1), (4, 4)]);
}
