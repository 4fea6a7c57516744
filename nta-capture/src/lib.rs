//! Capture files: pcap and pcapng, plain, gzip or zstd, from a file or a stream, as Ethernet frames.
//!
//! ```text
//! file or stdin ─ stream (gunzip, unzstd) ─ input (one buffer) ─ pcap | pcapng (records) ─ ethernet (link headers) ─ Frame
//! ```
//! Every frame is a slice of the one buffer: no allocation and no copy per packet. Memory is bounded whatever a file claims:
//! the limits are in `input`.

mod byte_order;
mod error;
mod ethernet;
mod format;
mod input;
mod link_type;
mod pcap;
mod pcapng;
mod record;
mod stream;
mod wireless;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

pub use error::{CaptureError, End};
pub use ethernet::ETHERTYPE_NOT_IP;
pub use format::{Compression, Container, Format};
pub use link_type::LinkType;

use input::Input;
use link_type::Link;
use record::{Record, Records};
use stream::Stream;

/// No frame is longer; a record that claims more is damaged, and counts as this long. Flow counters hold differences of
/// up to 2 GiB between frame and IP packet.
const MAX_WIRE_LEN: u32 = 1 << 30;

/// Opens a capture: the path of a file, or `-` for standard input.
///
/// Compression is recognised by the first bytes, never by the name.
pub fn open(path: &Path) -> Result<CaptureReader, CaptureError> {
    if path == Path::new("-") {
        return CaptureReader::from_read("standard input".to_owned(), Box::new(io::stdin()));
    }
    let name = printable(path.to_string_lossy().into_owned());
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(CaptureError::NotFound { path: name }),
        Err(source) => return Err(CaptureError::Io { path: name, source }),
    };
    let total = file.metadata().ok().filter(std::fs::Metadata::is_file).map(|metadata| metadata.len());
    let mut reader = CaptureReader::from_read(name, Box::new(file))?;
    reader.total_bytes = total;
    Ok(reader)
}

/// One captured frame in Ethernet form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// When it was captured, in nanoseconds since the Unix epoch, saturating. A pcapng Simple Packet Block has no time of its
    /// own and takes that of the frame before it.
    pub time_ns: u64,
    /// Its length on the wire as the capture states it, with the link header it had there.
    pub wire_len: u32,
    /// The captured bytes. Ethernet as captured; any other link header is replaced by an Ethernet header.
    pub data: &'a [u8],
}

/// Reads the frames of one capture, front to back.
pub struct CaptureReader {
    name: String,
    total_bytes: Option<u64>,
    format: Format,
    input: Input,
    records: Records,
    frames: u64,
    /// The first frame, if it was looked at, and whether it is yet to be returned.
    peeked: Option<(u64, u32, Vec<u8>)>,
    is_peeked: bool,
    skipped: BTreeMap<LinkType, u64>,
    finished: bool,
    end: End,
}

impl CaptureReader {
    /// Reads a capture from any byte stream; `name` stands for it in messages.
    pub fn from_read(name: String, read: Box<dyn Read + Send>) -> Result<Self, CaptureError> {
        let name = printable(name);
        let stream = match Stream::new(read) {
            Ok(stream) => stream,
            Err(source) => return Err(CaptureError::Io { path: name, source }),
        };
        let compression = stream.compression();
        let mut input = Input::new(stream);
        match Records::open(&mut input) {
            Ok(records) => {
                let format = Format { container: records.container(), compression };
                let skipped = BTreeMap::new();
                let end = End::Complete;
                Ok(Self {
                    name,
                    total_bytes: None,
                    format,
                    input,
                    records,
                    frames: 0,
                    peeked: None,
                    is_peeked: false,
                    skipped,
                    finished: false,
                    end,
                })
            }
            Err(end) => Err(CaptureError::from_end(&name, end)),
        }
    }

    /// The file's path, or what else the capture was called when it was opened.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file format and the compression around it.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The next frame; `None` at the end, for which see [`CaptureReader::end`].
    ///
    /// Frames of an unsupported link type are counted in [`CaptureReader::skipped`] and passed over.
    #[inline]
    pub fn next_frame(&mut self) -> Option<Frame<'_>> {
        if self.is_peeked {
            return self.take_peeked();
        }
        let record = self.next_supported()?;
        self.frames += 1;
        let data = match record.link {
            Link::Ethernet => self.input.at(record.start, record.len),
            link => ethernet::rewrite(link, self.input.at_with_headroom(record.start, record.len)),
        };
        Some(Frame { time_ns: record.time_ns, wire_len: record.wire_len.min(MAX_WIRE_LEN), data })
    }

    /// The next frame, which [`CaptureReader::next_frame`] returns once more. It is copied: meant for the first one of a capture.
    pub fn peek(&mut self) -> Option<Frame<'_>> {
        if !self.is_peeked {
            let Frame { time_ns, wire_len, data } = self.next_frame()?;
            let copy = (time_ns, wire_len, data.to_vec());
            self.peeked = Some(copy);
            self.frames -= 1;
            self.is_peeked = true;
        }
        let (time_ns, wire_len, data) = self.peeked.as_ref()?;
        Some(Frame { time_ns: *time_ns, wire_len: *wire_len, data })
    }

    #[cold]
    fn take_peeked(&mut self) -> Option<Frame<'_>> {
        self.is_peeked = false;
        self.frames += 1;
        let (time_ns, wire_len, data) = self.peeked.as_ref()?;
        Some(Frame { time_ns: *time_ns, wire_len: *wire_len, data })
    }

    /// How the capture ended. It says something once [`CaptureReader::next_frame`] returned `None`.
    pub fn end(&self) -> &End {
        &self.end
    }

    /// Frames returned so far.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Frames passed over so far because nothing here reads their link type, by link type.
    pub fn skipped(&self) -> &BTreeMap<LinkType, u64> {
        &self.skipped
    }

    /// Bytes of the file read so far (of a compressed one: compressed bytes). Runs ahead of the frames by up to one buffer.
    pub fn bytes_read(&self) -> u64 {
        self.input.bytes_read()
    }

    /// The size of the file, where it is known beforehand: not for a pipe.
    pub fn total_bytes(&self) -> Option<u64> {
        self.total_bytes
    }

    /// The message to the user about a capture in which every frame was of an unsupported link type.
    pub fn unsupported(&self) -> Option<String> {
        if self.frames > 0 || self.skipped.is_empty() {
            return None;
        }
        let kinds: Vec<String> = self.skipped.iter().map(|(link, count)| format!("{count} of {link}")).collect();
        Some(format!(
            "{}: no frame can be analysed: {}; supported are {}",
            self.name,
            kinds.join(", "),
            link_type::SUPPORTED
        ))
    }

    #[inline]
    fn next_supported(&mut self) -> Option<Record> {
        while !self.finished {
            match self.records.next(&mut self.input) {
                Ok(Record { link: Link::Unsupported(link_type), .. }) => self.skip(link_type),
                Ok(record) => return Some(record),
                Err(end) => self.finish(end),
            }
        }
        None
    }

    #[cold]
    fn skip(&mut self, link_type: LinkType) {
        *self.skipped.entry(link_type).or_default() += 1;
    }

    #[cold]
    fn finish(&mut self, end: End) {
        self.finished = true;
        self.end = end;
    }
}

/// A name that stays on one line, whatever a file is called.
fn printable(name: String) -> String {
    if name.contains(char::is_control) { name.replace(char::is_control, "\u{fffd}") } else { name }
}

#[cfg(test)]
mod tests;
