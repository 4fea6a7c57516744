//! Several captures as one.

use std::fs;
use std::path::PathBuf;

use super::build::{MICROSECONDS, Order, enhanced, gzip, interface, pcap_header, record, section};
use crate::{End, Merged, Ordered};

const ORDER: Order = Order::Little;

/// A pcap of frames at these seconds, each as long as the number that follows.
fn pcap(frames: &[(u32, u32)]) -> Vec<u8> {
    let mut file = pcap_header(ORDER, MICROSECONDS, (2, 4), 1);
    for (second, len) in frames {
        file.extend(record(ORDER, [*second, 0, 14, *len], &[0; 14]));
    }
    file
}

/// A pcapng section with as many interfaces; frames are interface, second and length.
fn pcapng(interfaces: u32, frames: &[(u32, u32, u32)]) -> Vec<u8> {
    let mut file = section(ORDER, (1, 0));
    (0..interfaces).for_each(|_| file.extend(interface(ORDER, 1, 0, &[])));
    for (at, second, len) in frames {
        file.extend(enhanced(ORDER, *at, u64::from(*second) * 1_000_000, *len, &[0; 14]));
    }
    file
}

/// The lengths of all frames in their order; of each part: its file, frames, and how it ended.
fn merged(files: &[Vec<u8>]) -> (Vec<u32>, Vec<(usize, u64, End)>) {
    let folder = tempfile::tempdir().unwrap();
    let write = |(at, bytes): (usize, &Vec<u8>)| {
        let path = folder.path().join(at.to_string());
        fs::write(&path, bytes).unwrap();
        path
    };
    let paths: Vec<PathBuf> = files.iter().enumerate().map(write).collect();
    let mut all = Merged::open(&paths, None).unwrap();
    let size: u64 = files.iter().map(|file| file.len() as u64).sum();
    assert_eq!(all.total_bytes(), Some(size));
    let (mut lengths, mut parts, mut last) = (Vec::new(), Vec::new(), 0);
    while let Some(frame) = all.next_frame() {
        assert!(frame.time_ns >= last, "in order of time");
        last = frame.time_ns;
        lengths.push(frame.wire_len);
    }
    assert!(all.bytes_read() >= size, "all of each is read");
    let part = |file, capture: &Ordered| (file, capture.frames(), capture.reader().end().clone());
    parts.extend(all.take_ended().map(|ended| part(ended.file, &ended.capture)));
    parts.extend(all.open_parts().map(|(file, _, capture)| part(file, capture)));
    (lengths, parts)
}

#[test]
fn two_files_of_one_time_are_one_and_what_comes_first_decides_their_order() {
    let (lengths, parts) = merged(&[pcap(&[(1, 20), (3, 21), (3, 22), (9, 23)]), pcap(&[(2, 30), (3, 31), (4, 32)])]);
    assert_eq!(lengths, [20, 30, 21, 22, 31, 32, 23]);
    assert_eq!(parts, [(1, 3, End::Complete), (0, 4, End::Complete)]);
    let ring = [pcap(&[(30, 30), (31, 31)]), pcap(&[]), gzip(&pcap(&[(10, 10), (19, 19)])), pcap(&[(20, 20)])];
    let (lengths, parts) = merged(&ring);
    assert_eq!(lengths, [10, 19, 20, 30, 31]);
    assert_eq!(
        parts.iter().map(|(file, frames, _)| (*file, *frames)).collect::<Vec<_>>(),
        [(1, 0), (2, 2), (3, 1), (0, 2)]
    );
}

#[test]
fn sections_and_interfaces_of_one_file_are_merged_too() {
    let sections = [pcapng(1, &[(0, 1, 20), (0, 5, 21)]), pcapng(1, &[(0, 2, 30), (0, 6, 31)])].concat();
    let (lengths, parts) = merged(&[sections.clone(), pcap(&[(4, 40)])]);
    assert_eq!(lengths, [20, 30, 40, 21, 31]);
    assert_eq!(parts.iter().filter(|(file, ..)| *file == 0).map(|(_, frames, _)| frames).sum::<u64>(), 4);
    let (lengths, parts) = merged(&[gzip(&sections), pcap(&[(4, 40)])]);
    assert_eq!((lengths, parts.len()), (vec![20, 30, 40, 21, 31], 3), "compressed");
    let interfaces = pcapng(2, &[(0, 1, 20), (0, 5, 21), (0, 6, 22), (1, 2, 30), (1, 5, 31)]);
    assert_eq!(merged(&[interfaces]).0, [20, 30, 21, 31, 22]);
    // What is cut off says at which byte of the file.
    let cut = sections[..sections.len() - 5].to_vec();
    let (lengths, parts) = merged(std::slice::from_ref(&cut));
    assert_eq!(lengths, [20, 30, 21]);
    let ends: Vec<&End> = parts.iter().map(|(_, _, end)| end).filter(|end| **end != End::Complete).collect();
    let [End::CutOff { at_byte, .. }] = ends[..] else { panic!("{ends:?}") };
    assert!(*at_byte > cut.len() as u64 / 2, "{ends:?}");
}

#[test]
fn one_wrong_stamp_holds_up_no_other_capture() {
    let wrong = 2_871_763_200;
    let (lengths, _) = merged(&[pcap(&[(1, 20), (wrong, 21), (3, 22), (5, 23)]), pcap(&[(2, 30), (4, 31), (6, 32)])]);
    assert_eq!(lengths, [20, 21, 30, 22, 31, 23, 32]);
}

#[test]
fn more_captures_than_may_be_open_are_read_all_the_same() {
    let files: Vec<Vec<u8>> =
        (0..300).map(|second| pcap(&[(second + 1, second + 20), (second + 1, 19)])).rev().collect();
    let (lengths, parts) = merged(&files);
    assert_eq!(lengths.iter().filter(|len| **len > 19).copied().collect::<Vec<u32>>(), (20..320).collect::<Vec<u32>>());
    assert!(parts.len() == 300 && parts.iter().all(|(_, frames, end)| *frames == 2 && *end == End::Complete));
}
