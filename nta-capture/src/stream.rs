//! The bytes of a capture, decompressed on the way.

use std::io::{self, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use zstd::stream::read::Decoder;

use super::format::Compression;

/// A plain, gzip or zstd stream; its first bytes say which.
pub(super) enum Stream {
    Plain(Source),
    Gzip(Box<MultiGzDecoder<BufReader<Source>>>),
    Zstd(Box<Decoder<'static, BufReader<Source>>>),
}

impl Stream {
    pub(super) fn new(read: Box<dyn Read + Send>) -> io::Result<Self> {
        let source = Source::new(read)?;
        match source.head() {
            // RFC 1952 section 2.3.1: ID1, ID2, CM = deflate
            [0x1f, 0x8b, 0x08, ..] => {
                let compressed = BufReader::with_capacity(COMPRESSED_BUFFER_BYTES, source);
                Ok(Self::Gzip(Box::new(MultiGzDecoder::new(compressed))))
            }
            // RFC 8878 sections 3.1.1 and 3.1.2: a frame, or a skippable frame before it
            [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => {
                let compressed = BufReader::with_capacity(COMPRESSED_BUFFER_BYTES, source);
                let mut decoder = Decoder::with_buffer(compressed)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Ok(Self::Zstd(Box::new(decoder)))
            }
            _ => Ok(Self::Plain(source)),
        }
    }

    /// No bytes at all.
    pub(super) fn empty() -> Self {
        let read = Box::new(io::empty());
        Self::Plain(Source { read, head: [0; HEAD_BYTES], head_len: 0, head_taken: 0, bytes_read: 0 })
    }

    pub(super) fn compression(&self) -> Compression {
        match self {
            Self::Plain(_) => Compression::None,
            Self::Gzip(_) => Compression::Gzip,
            Self::Zstd(_) => Compression::Zstd,
        }
    }

    /// Bytes taken from the file so far, before decompression.
    pub(super) fn bytes_read(&self) -> u64 {
        match self {
            Self::Plain(source) => source.bytes_read,
            Self::Gzip(decoder) => decoder.get_ref().get_ref().bytes_read,
            Self::Zstd(decoder) => decoder.get_ref().get_ref().bytes_read,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(source) => source.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Zstd(decoder) => decoder.read(buffer),
        }
    }
}

/// The file itself: its first bytes are looked at before anyone reads them, and what is read is counted.
pub(super) struct Source {
    read: Box<dyn Read + Send>,
    head: [u8; HEAD_BYTES],
    head_len: usize,
    head_taken: usize,
    bytes_read: u64,
}

impl Source {
    fn new(read: Box<dyn Read + Send>) -> io::Result<Self> {
        let mut source = Self { read, head: [0; HEAD_BYTES], head_len: 0, head_taken: 0, bytes_read: 0 };
        while source.head_len < HEAD_BYTES {
            match source.read.read(&mut source.head[source.head_len..]) {
                Ok(0) => break,
                Ok(count) => source.head_len += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(source)
    }

    fn head(&self) -> &[u8] {
        &self.head[..self.head_len]
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let head = &self.head[self.head_taken..self.head_len];
        let count = if head.is_empty() {
            self.read.read(buffer)?
        } else {
            let count = head.len().min(buffer.len());
            buffer[..count].copy_from_slice(&head[..count]);
            self.head_taken += count;
            count
        };
        self.bytes_read += count as u64;
        Ok(count)
    }
}

/// Enough of a file to recognise its compression.
const HEAD_BYTES: usize = 4;
/// How much compressed data is read at once.
const COMPRESSED_BUFFER_BYTES: usize = 128 << 10;
/// The largest window a zstd frame may ask for, 128 MiB: what `zstd -d` accepts without `--long`.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
