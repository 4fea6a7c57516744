//! The one buffer that records are read from.
//!
//! It holds what was read and not yet consumed, starts at [`BUFFER_BYTES`], or less for a small file, and grows only as far as bytes really arrive, never
//! beyond [`MAX_FRAME_BYTES`] plus a record header: callers check a stated length against the limits before they ask for it.

use std::io::{self, Read};

use super::error::End;
use super::format::Compression;
use super::stream::Stream;

pub(super) struct Input {
    stream: Stream,
    buffer: Vec<u8>,
    /// The unread bytes are `buffer[start..end]`; `start` is never below [`HEADROOM`].
    start: usize,
    end: usize,
    /// Where `start` is in the decompressed file.
    offset: u64,
    stopped: Option<Stop>,
    /// Bytes that are unpacked at most.
    most_unpacked: u64,
    /// Bytes of the frames so far.
    in_frames: u64,
}

/// Why no more bytes come.
enum Stop {
    EndOfFile,
    CutOff(String),
    Corrupt(String),
}

impl Input {
    /// Of a file of so many bytes, where that is known: hundreds of small ones may be open at a time.
    pub(super) fn new(stream: Stream, file_bytes: Option<u64>) -> Self {
        let plain_bytes = file_bytes.filter(|_| stream.compression() == Compression::None);
        let room = plain_bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(BUFFER_BYTES);
        Self::with_room(stream, room.clamp(SMALLEST_BUFFER_BYTES, BUFFER_BYTES))
    }

    /// No bytes at all.
    pub(super) fn empty() -> Self {
        Self::with_room(Stream::empty(), 0)
    }

    fn with_room(stream: Stream, room: usize) -> Self {
        Self {
            stream,
            buffer: vec![0; HEADROOM + room],
            start: HEADROOM,
            end: HEADROOM,
            offset: 0,
            stopped: None,
            most_unpacked: u64::MAX,
            in_frames: 0,
        }
    }

    /// A frame has so many bytes.
    #[inline]
    pub(super) const fn note_frame(&mut self, bytes: usize) {
        self.in_frames += bytes as u64;
    }

    /// A compressed file is read no further than this, and not so far where it grows beyond measure and holds next to no frames.
    pub(super) const fn unpack_at_most(&mut self, bytes: u64) {
        self.most_unpacked = bytes;
    }

    /// What was read so far lies this far into the file: it began within it.
    pub(super) fn begin_at(&mut self, start: u64) {
        self.offset += start;
    }

    /// Bytes of the decompressed file before the next unread one.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes taken from the file, before decompression.
    pub(super) fn bytes_read(&self) -> u64 {
        self.stream.bytes_read()
    }

    /// What has been read and not yet consumed.
    pub(super) fn available(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// The next `N` bytes, not consumed; `None` when the file has fewer.
    #[inline]
    pub(super) fn peek<const N: usize>(&mut self) -> Option<&[u8; N]> {
        if !self.ensure(N) {
            return None;
        }
        self.buffer[self.start..self.end].first_chunk()
    }

    /// Reads until `count` bytes are available; false when the file has fewer.
    #[inline]
    pub(super) fn ensure(&mut self, count: usize) -> bool {
        self.end - self.start >= count || self.refill(count)
    }

    /// Consumes `count` available bytes and returns where in the buffer they lie, for [`Input::at`].
    #[inline]
    pub(super) fn consume(&mut self, count: usize) -> usize {
        debug_assert!(count <= self.end - self.start, "consumed more than was ensured");
        let at = self.start;
        self.start += count;
        self.offset += count as u64;
        at
    }

    /// Consumes `count` bytes that nobody wants to see; false when the file has fewer.
    pub(super) fn skip(&mut self, mut count: u64) -> bool {
        loop {
            let step = usize::try_from(count).unwrap_or(usize::MAX).min(self.end - self.start);
            self.consume(step);
            count -= step as u64;
            if count == 0 {
                return true;
            }
            if !self.ensure(1) {
                return false;
            }
        }
    }

    /// Consumed bytes, still in place until the next read.
    #[inline]
    pub(super) fn at(&self, start: usize, len: usize) -> &[u8] {
        &self.buffer[start..start + len]
    }

    /// The same with the [`HEADROOM`] bytes in front of them, to write a link header into: they belong to the record header,
    /// which was read, or to the buffer's own head.
    pub(super) fn at_with_headroom(&mut self, start: usize, len: usize) -> &mut [u8] {
        &mut self.buffer[start - HEADROOM..start + len]
    }

    /// How the file ends, when it has fewer bytes than the caller needs for `what` at the next unread byte.
    #[cold]
    pub(super) fn end(&self, what: &str) -> End {
        self.end_from(self.offset, what)
    }

    /// The same, of a record that began at `at_byte`.
    #[cold]
    pub(super) fn end_from(&self, at_byte: u64, what: &str) -> End {
        let have = self.offset - at_byte + (self.end - self.start) as u64;
        match &self.stopped {
            Some(Stop::Corrupt(detail)) => End::Corrupt { at_byte, detail: detail.clone() },
            Some(Stop::CutOff(detail)) => End::CutOff { at_byte, detail: detail.clone() },
            _ if have == 0 => End::Complete,
            _ => End::CutOff { at_byte, detail: format!("the file ends {have} bytes into {what}") },
        }
    }

    /// A record at the next unread byte that is none.
    #[cold]
    pub(super) fn corrupt(&self, detail: String) -> End {
        End::Corrupt { at_byte: self.offset, detail }
    }

    /// How much memory the buffer takes.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    #[cold]
    fn refill(&mut self, count: usize) -> bool {
        self.buffer.copy_within(self.start..self.end, HEADROOM);
        self.end = HEADROOM + self.end - self.start;
        self.start = HEADROOM;
        while self.end - self.start < count && self.stopped.is_none() {
            if self.end == self.buffer.len() {
                let doubled = self.buffer.len() * 2;
                self.buffer.resize(doubled.min(HEADROOM + count), 0);
            }
            match self.stream.read(&mut self.buffer[self.end..]) {
                Ok(0) => self.stopped = Some(Stop::EndOfFile),
                Ok(read) => {
                    self.end += read;
                    self.hold_to_the_bound();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.stopped = Some(self.stop(&error)),
            }
        }
        self.end - self.start >= count
    }

    /// Reads no further than may be unpacked.
    fn hold_to_the_bound(&mut self) {
        let (unpacked, most) = (self.offset + (self.end - self.start) as u64, self.most_unpacked);
        if most == u64::MAX || self.stream.compression() == Compression::None {
            return;
        }
        let ratio = unpacked / self.stream.bytes_read().max(1);
        if unpacked > most {
            self.stopped = Some(Stop::CutOff(format!("unpacked it is more than the {most} bytes that are read of it")));
        } else if unpacked > FREE_BYTES && ratio > MOST_RATIO && self.in_frames < unpacked / 2 {
            let frames = self.in_frames;
            self.stopped = Some(Stop::CutOff(format!(
                "unpacked it is {ratio} times as large as it is packed, and of the first {unpacked} bytes {frames} are in frames"
            )));
        }
    }

    fn stop(&self, error: &io::Error) -> Stop {
        let compression = self.stream.compression();
        if error.raw_os_error().is_some() || compression == Compression::None {
            Stop::CutOff(format!("reading failed: {error}"))
        } else if error.kind() == io::ErrorKind::UnexpectedEof {
            Stop::CutOff(format!("the {compression} stream ends early"))
        } else {
            Stop::Corrupt(format!("damaged {compression} stream: {error}"))
        }
    }
}

/// Room before the first byte of the buffer for the Ethernet header that replaces a shorter link header.
pub(super) const HEADROOM: usize = 14;
/// So many times its size a compressed capture may become where most of it is no frames, once it is larger than [`FREE_BYTES`]: headers
/// of records and other blocks shrink to a tenth, what was made to keep its reader busy to a two-hundredth or less.
const MOST_RATIO: u64 = 50;
const FREE_BYTES: u64 = 64 << 20;
/// How much is read at once.
const BUFFER_BYTES: usize = 1 << 20;
/// The same of a small file, which may be growing.
const SMALLEST_BUFFER_BYTES: usize = 16 << 10;
/// The longest frame that is held in memory, 16 MiB. libpcap and Wireshark refuse frames over 256 KiB for every link type that
/// is supported here, and pcapng blocks over 16 MiB.
pub(super) const MAX_FRAME_BYTES: u32 = 16 << 20;
/// The longest record that is believed to be one, 256 MiB, though it be passed over: a longer one is damage. Wireshark allows as
/// much for D-Bus and less for all others.
pub(super) const MAX_RECORD_BYTES: u32 = 256 << 20;
