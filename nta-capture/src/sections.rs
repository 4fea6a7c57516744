//! Where the sections of a pcapng file begin. Each has a time of its own: files that were put together hold the same time
//! twice.

use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek};
use std::path::Path;

use super::byte_order::ByteOrder;
use super::pcapng::SECTION_MAGIC;
use super::stream::Stream;

/// How far a file is searched. What lies behind is read in the order of the file.
const SEARCHED_BYTES: u64 = 64 << 20;
/// Bytes of compressed files with several sections that are held in memory, and bytes of one such file; the sections of more
/// are read in the order of the file.
pub(super) const MOST_IN_MEMORY: u64 = 64 << 20;
const MOST_OF_A_FILE: u64 = 16 << 20;
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
pub(super) fn of_file(path: &Path) -> Vec<Section> {
    let Ok(file) = File::open(path) else { return Vec::new() };
    let Ok(size) = file.metadata().map(|metadata| metadata.len()) else { return Vec::new() };
    sections(BufReader::with_capacity(BUFFER_BYTES, file), size)
}

/// The bytes of a compressed pcapng file with several sections, if there are at most so many, and where the sections lie.
pub(super) fn of_compressed(path: &Path, most_bytes: u64) -> Option<(Vec<u8>, Vec<Section>)> {
    let most_bytes = most_bytes.min(MOST_OF_A_FILE);
    let mut bytes = Vec::new();
    let stream = Stream::new(Box::new(File::open(path).ok()?)).ok()?;
    stream.take(most_bytes + 1).read_to_end(&mut bytes).ok()?;
    let size = bytes.len() as u64;
    let sections = if size > most_bytes { Vec::new() } else { sections(Cursor::new(&bytes), size) };
    (sections.len() > 1).then_some((bytes, sections))
}

fn sections(file: impl Read + Seek, size: u64) -> Vec<Section> {
    let starts = starts(file);
    let ends = starts.iter().skip(1).copied().chain([size]);
    starts.iter().zip(ends).map(|(start, end)| Section { start: *start, len: end.saturating_sub(*start) }).collect()
}

fn starts(mut file: impl Read + Seek) -> Vec<u64> {
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
