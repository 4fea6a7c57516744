//! Where the sections of a pcapng file begin. Each has a time of its own: files that were put together hold the same time
//! twice.

use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::Path;

use super::byte_order::ByteOrder;
use super::pcapng::SECTION_MAGIC;

/// How far a file is searched. What lies behind is read in the order of the file.
const SEARCHED_BYTES: u64 = 64 << 20;
/// Sections that are read at the same time; the last one goes on to the end.
const MOST_SECTIONS: usize = 64;
/// Much is passed over, little is read.
const BUFFER_BYTES: usize = 256 << 10;

/// A part of a file; the default one is all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) start: u64,
    pub(super) len: u64,
}

/// The sections of a pcapng file that is not compressed; whatever is damaged belongs to the last one.
pub(super) fn sections(path: &Path) -> Vec<Section> {
    let Ok(file) = File::open(path) else { return Vec::new() };
    let Ok(size) = file.metadata().map(|metadata| metadata.len()) else { return Vec::new() };
    let starts = starts(file);
    let ends = starts.iter().skip(1).copied().chain([size]);
    starts.iter().zip(ends).map(|(start, end)| Section { start: *start, len: end.saturating_sub(*start) }).collect()
}

fn starts(file: File) -> Vec<u64> {
    let mut file = BufReader::with_capacity(BUFFER_BYTES, file);
    let (mut starts, mut at, mut order) = (Vec::new(), 0, ByteOrder::Little);
    let mut head = [0; 12];
    while at < SEARCHED_BYTES && starts.len() < MOST_SECTIONS && file.read_exact(&mut head).is_ok() {
        if head[..4] == SECTION_MAGIC {
            order = match head[8..] {
                [0x1a, 0x2b, 0x3c, 0x4d] => ByteOrder::Big,
                [0x4d, 0x3c, 0x2b, 0x1a] => ByteOrder::Little,
                _ => break,
            };
            starts.push(at);
        }
        let length = order.u32_at(&head, 4);
        if length < head.len() as u32 || file.seek_relative(i64::from(length) - head.len() as i64).is_err() {
            break;
        }
        at += u64::from(length);
    }
    starts
}
