//! Captures cut at every byte, changed at every byte, and streams that fail.

use std::io::{self, Read};

use super::build::{
    MICROSECONDS, ORDERS, Order, block, enhanced, gzip, interface, obsolete, pcap, pcap_header, record, section,
    simple, zstd,
};
use super::{CaptureError, End, OneByOne, Owned, frames, read, reader, whole};
use crate::{CaptureReader, Compression};

fn small_pcap() -> Vec<u8> {
    pcap(1, &[&[0xab; 14], &[], &[0xcd; 60]])
}

fn small_pcapng() -> Vec<u8> {
    let order = Order::Big;
    [
        section(order, (1, 0)),
        interface(order, 1, 0, &[(9, &[9])]),
        enhanced(order, 0, 5, 60, &[0xab; 14]),
        block(order, 5, &[0; 12]),
        obsolete(order, 0, 6, 60, &[0xcd; 15]),
        simple(order, 16, &[0xef; 16]),
    ]
    .concat()
}

/// Every shorter file must open with an error or yield a prefix of the frames.
fn check_cuts(file: &[u8], boundaries: &[usize]) {
    let all = whole(file);
    for len in 0..file.len() {
        let opened = reader(&file[..len]);
        let Ok(mut capture) = opened else { continue };
        let got = frames(&mut capture);
        assert!(all.starts_with(&got), "cut at {len}");
        match capture.end() {
            End::Complete => assert!(boundaries.contains(&len), "cut at {len} is called complete"),
            End::CutOff { at_byte, detail } => assert!(!detail.is_empty() && *at_byte <= 1 << 16),
            other => panic!("cut at {len} is called {other:?}"),
        }
    }
}

#[test]
fn cut_at_every_byte() {
    check_cuts(&small_pcap(), &[24, 54, 70]);
    check_cuts(&small_pcapng(), &[28, 56, 104, 128, 176]);
    for file in [small_pcap(), small_pcapng()] {
        check_cuts(&gzip(&file), &[]);
        check_cuts(&zstd(&file), &[]);
    }
}

#[test]
fn cut_says_where() {
    let file = small_pcap();
    let (_, end) = read(&file[..60]);
    assert_eq!(end, End::CutOff { at_byte: 54, detail: "the file ends 6 bytes into a record header".to_owned() });
    let (_, end) = read(&file[..100]);
    assert_eq!(end, End::CutOff { at_byte: 70, detail: "the file ends 30 bytes into a record of 76 bytes".to_owned() });
    let skipped = pcap(127, &[&[0; 14]]);
    let (_, end) = read(&skipped[..50]);
    assert_eq!(end, End::CutOff { at_byte: 24, detail: "the file ends 26 bytes into a record of 30 bytes".to_owned() });
    // enough frames to reach the cut through the decompressor's own buffers
    let packets = vec![&[0xab_u8; 1_000][..]; 2_000];
    let compressed = gzip(&pcap(1, &packets));
    let (frames, end) = read(&compressed[..compressed.len() / 2]);
    assert!(!frames.is_empty());
    assert!(matches!(end, End::CutOff { detail, .. } if detail == "the gzip stream ends early"));
}

#[test]
fn any_changed_byte_is_survived() {
    for file in [small_pcap(), small_pcapng(), gzip(&small_pcap()), zstd(&small_pcapng())] {
        for at in 0..file.len() {
            for value in [0x00, 0x01, 0x7f, 0x80, 0xff] {
                let mut changed = file.clone();
                changed[at] = value;
                if let Ok(mut capture) = reader(&changed) {
                    let mut count = 0;
                    while capture.next_frame().is_some() {
                        count += 1;
                    }
                    assert!(count <= 20, "byte {at} = {value:#x}");
                }
            }
        }
    }
}

/// A length that the file does not have is not allocated.
#[test]
fn stated_length_is_not_allocated() {
    let mut file = pcap(1, &[]);
    file.extend([2_u32, 0, 15 << 20, 15 << 20].map(u32::to_le_bytes).concat());
    let mut capture = reader(&file).unwrap();
    assert_eq!(frames(&mut capture), []);
    assert!(matches!(capture.end(), End::CutOff { .. }));
    assert!(capture.input.capacity() < 2 << 20);
}

#[test]
fn byte_by_byte() {
    for file in [small_pcap(), small_pcapng(), gzip(&small_pcap()), zstd(&small_pcapng())] {
        let slow = Box::new(OneByOne(io::Cursor::new(file.clone())));
        let mut capture = CaptureReader::from_read("test".to_owned(), slow).unwrap();
        assert_eq!(frames(&mut capture), whole(&file));
        assert_eq!(capture.bytes_read(), file.len() as u64);
    }
}

#[test]
fn compressed_streams() {
    let file = small_pcap();
    let expected: Vec<Owned> = whole(&file);
    let (front, back) = file.split_at(40);
    let members = [gzip(front), gzip(back)].concat();
    assert_eq!(whole(&members), expected);
    assert_eq!(reader(&members).unwrap().format().compression, Compression::Gzip);
    let skippable = [&[0x51, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9], &zstd(front)[..], &zstd(back)].concat();
    assert_eq!(whole(&skippable), expected);
    assert_eq!(reader(&skippable).unwrap().format().to_string(), "pcap, zstd");

    let (frames, end) = read(&[&gzip(&file)[..], b"garbage at the end"].concat());
    assert_eq!(frames, expected);
    assert!(matches!(end, End::Corrupt { at_byte: 146, .. }), "{end:?}");
    let mut wrong_sum = gzip(&file);
    let at = wrong_sum.len() - 8;
    wrong_sum[at] ^= 1;
    let (frames, end) = read(&wrong_sum);
    assert_eq!(frames, expected);
    assert!(matches!(end, End::Corrupt { .. }), "{end:?}");
}

#[test]
fn failing_read_ends_the_capture() {
    struct Fails(io::Cursor<Vec<u8>>);
    impl Read for Fails {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(io::Error::other("the disk is gone")),
                count => Ok(count),
            }
        }
    }
    let file = small_pcap();
    let mut capture =
        CaptureReader::from_read("test".to_owned(), Box::new(Fails(io::Cursor::new(file.clone())))).unwrap();
    assert_eq!(frames(&mut capture), whole(&file));
    let detail = "reading failed: the disk is gone".to_owned();
    assert_eq!(capture.end(), &End::CutOff { at_byte: 146, detail });

    let error = CaptureReader::from_read("test".to_owned(), Box::new(Fails(io::Cursor::new(Vec::new())))).err();
    assert!(matches!(error, Some(CaptureError::Io { .. })));
}

#[test]
fn header_cut_off() {
    let text = |bytes: &[u8]| reader(bytes).err().unwrap().to_string();
    let file = small_pcap();
    assert_eq!(
        text(&file[..23]),
        "test: cut off in the file header: the file ends 23 bytes into the 24-byte file header"
    );
    assert_eq!(text(&file[..2]), "test: cut off in the file header: the file ends 2 bytes into the magic number");
    for order in ORDERS {
        let file = section(order, (1, 0));
        let expected = "test: cut off in the file header: the file ends 27 bytes into a block of 28 bytes";
        assert_eq!(text(&file[..27]), expected);
    }
    let compressed = gzip(&file);
    assert_eq!(text(&compressed[..12]), "test: cut off in the file header: the gzip stream ends early");
}

#[test]
fn no_more_is_unpacked_than_is_allowed() {
    let frame = [0; 1500];
    let bomb = pcap(1, &vec![&frame[..]; 10_000]);
    for packed in [gzip(&bomb), zstd(&bomb)] {
        let mut capture = reader(&packed).unwrap().with_most_unpacked(1 << 20);
        let many = frames(&mut capture).len();
        assert!((100..3000).contains(&many), "{many} frames");
        let End::CutOff { detail, .. } = capture.end() else { panic!("{:?}", capture.end()) };
        assert_eq!(detail, "unpacked it is more than the 1048576 bytes that are read of it");
        let mut capture = reader(&packed).unwrap().with_most_unpacked(bomb.len() as u64);
        assert_eq!(frames(&mut capture).len(), 10_000);
    }
    let mut plain = reader(&bomb).unwrap().with_most_unpacked(1 << 20);
    assert_eq!(frames(&mut plain).len(), 10_000, "a file that is not packed is as large as it is");
}

#[test]
fn what_grows_beyond_measure_and_holds_no_frames_is_not_read_to_its_end() {
    const PART: usize = 16 << 20;
    let zeros = vec![0; PART];
    // Blocks of a kind that nobody knows, records without a byte, frames of a link type that is not read.
    let unknown = [section(Order::Little, (1, 0)), block(Order::Little, 0xbad, &zeros[..PART - 12])];
    let kinds: [(Vec<u8>, Vec<u8>); 3] = [
        (unknown[0].clone(), unknown[1].clone()),
        (pcap_header(Order::Little, MICROSECONDS, (2, 4), 1), zeros.clone()),
        (
            pcap_header(Order::Little, MICROSECONDS, (2, 4), 250),
            record(Order::Little, [1, 0, PART as u32 - 16, 1], &zeros[16..]),
        ),
    ];
    for (head, part) in kinds {
        for pack in [gzip, zstd] {
            let (head, part) = (pack(&head), pack(&part));
            let bomb = [head, part.repeat(32)].concat();
            let mut capture = reader(&bomb).unwrap().with_most_unpacked(1 << 40);
            while capture.next_frame().is_some() {}
            let End::CutOff { at_byte, detail } = capture.end() else { panic!("{:?}", capture.end()) };
            assert!(detail.contains("times as large as it is packed"), "{detail}");
            assert!((48 << 20..96 << 20).contains(at_byte), "{at_byte}");
        }
    }
    // Many frames that are alike are a capture all the same.
    let same = pcap(1, &vec![&zeros[..60_000]; 2000]);
    let mut capture = reader(&zstd(&same)).unwrap().with_most_unpacked(1 << 40);
    assert_eq!((frames(&mut capture).len(), capture.end()), (2000, &End::Complete));
}
