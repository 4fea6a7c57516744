//! Capture files: pcap and pcapng, plain, gzip or zstd, from a file or a stream, as Ethernet frames.
//!
//! ```text
//! file or stdin ─ stream (gunzip, unzstd) ─ input (one buffer) ─ pcap | pcapng (records) ─ ethernet (link headers) ─ Frame
//! ```
//! Every frame is a slice of the one buffer: no allocation and no copy per packet. Memory is bounded whatever a file claims:
//! the limits are in `input`. [`CaptureReader`] gives frames as the file has them; [`Merged`] gives those of several files,
//! sections and interfaces by time, with the time stamps of wrong clocks mended ([`Stamps`]).

mod about;
mod byte_order;
mod error;
mod ethernet;
mod filter;
mod format;
mod input;
mod link_type;
mod merged;
mod ordered;
mod pcap;
mod pcapng;
mod record;
mod sections;
mod steady;
mod stream;
mod wireless;
mod write;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

pub use about::{About, Interface};
pub use error::{CaptureError, End};
pub use ethernet::ETHERTYPE_NOT_IP;
pub use filter::FrameFilter;
pub use format::{Compression, Container, Format};
pub use link_type::LinkType;
pub use merged::{Merged, Part};
pub use ordered::{Clock, Ordered};
pub use steady::Stamps;
pub use write::{PcapWriter, packet_bytes};

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
    CaptureReader::from_sized(name, Box::new(file), total)
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
    /// Whether the filter takes it, see [`CaptureReader::with_filter`]; all are wanted where there is none.
    pub is_wanted: bool,
    /// Its number in the capture from 1, those of unsupported link types counted too: what Wireshark calls it. Of a capture whose
    /// sections are merged by time it counts within its section.
    pub number: u64,
}

/// Reads the frames of one capture, front to back.
pub struct CaptureReader {
    name: String,
    total_bytes: Option<u64>,
    format: Format,
    input: Input,
    records: Records,
    frames: u64,
    skipped: BTreeMap<LinkType, u64>,
    /// All of them.
    passed_over: u64,
    lengths_clamped: u64,
    finished: bool,
    end: End,
    filter: Option<Arc<dyn FrameFilter>>,
}

impl CaptureReader {
    /// Reads a capture from any byte stream; `name` stands for it in messages.
    pub fn from_read(name: String, read: Box<dyn Read + Send>) -> Result<Self, CaptureError> {
        Self::from_sized(name, read, None)
    }

    /// The same of a stream of so many bytes, if that is known.
    fn from_sized(name: String, read: Box<dyn Read + Send>, total_bytes: Option<u64>) -> Result<Self, CaptureError> {
        let name = printable(name);
        let stream = match Stream::new(read) {
            Ok(stream) => stream,
            Err(source) => return Err(CaptureError::Io { path: name, source }),
        };
        let compression = stream.compression();
        let mut input = Input::new(stream, total_bytes);
        match Records::open(&mut input) {
            Ok(records) => {
                let format = Format { container: records.container(), compression };
                let skipped = BTreeMap::new();
                let end = End::Complete;
                Ok(Self {
                    name,
                    total_bytes,
                    format,
                    input,
                    records,
                    frames: 0,
                    skipped,
                    passed_over: 0,
                    lengths_clamped: 0,
                    finished: false,
                    end,
                    filter: None,
                })
            }
            Err(end) => Err(CaptureError::from_end(&name, end)),
        }
    }

    /// Has this filter say which frames are wanted. The others are handed out too: they belong to the capture's time.
    #[must_use]
    pub fn with_filter(self, filter: Option<Arc<dyn FrameFilter>>) -> Self {
        Self { filter, ..self }
    }

    /// Unpacks no more than so many bytes of a compressed capture: at more it ends as one that is cut off, and says why.
    #[must_use]
    pub const fn with_most_unpacked(mut self, bytes: u64) -> Self {
        self.input.unpack_at_most(bytes);
        self
    }

    /// Whether the filter can look at frames of the link types that are known so far.
    ///
    /// # Errors
    /// Why not.
    pub fn check_filter(&self) -> Result<(), CaptureError> {
        let Some(filter) = &self.filter else { return Ok(()) };
        for interface in &self.about().interfaces {
            if let Some(link_type) = interface.link_type.canonical() {
                let refused = |reason| CaptureError::Filter { path: self.name.clone(), reason };
                filter.check(link_type).map_err(refused)?;
            }
        }
        Ok(())
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
        let record = self.next_record()?;
        Some(self.frame(record))
    }

    /// Where the next frame lies, until the next call.
    #[inline]
    fn next_record(&mut self) -> Option<Record> {
        let record = self.next_supported()?;
        self.frames += 1;
        Some(record)
    }

    /// The frame of a record, once: its link header is replaced in place.
    #[inline]
    fn frame(&mut self, record: Record) -> Frame<'_> {
        let wire_len = record.wire_len.min(MAX_WIRE_LEN);
        self.lengths_clamped += u64::from(record.wire_len > MAX_WIRE_LEN);
        let is_wanted = self.filter.as_ref().is_none_or(|filter| {
            let data = self.input.at(record.start, record.len);
            filter.takes(record.link.link_type(data), wire_len, data)
        });
        let data = match record.link {
            Link::Ethernet => self.input.at(record.start, record.len),
            link => ethernet::rewrite(link, self.input.at_with_headroom(record.start, record.len)),
        };
        Frame { time_ns: record.time_ns, wire_len, data, is_wanted, number: self.frames + self.passed_over }
    }

    /// Whether frames of several interfaces come now, each in its own order.
    #[inline]
    fn has_several_interfaces(&self) -> bool {
        self.records.interfaces() > 1
    }

    /// Whether no frame of another interface can come.
    const fn has_one_interface(&self) -> bool {
        matches!(self.format.container, Container::Pcap)
    }

    /// It is a part of a file: what lies before is counted in what is said of its end.
    fn at_byte(mut self, start: u64, len: u64) -> Self {
        self.input.begin_at(start);
        self.total_bytes = Some(len);
        self
    }

    /// It was compressed in the file.
    const fn compressed(mut self, compression: Compression) -> Self {
        self.format.compression = compression;
        self
    }

    /// A capture that ended so before its first frame.
    fn gone(name: &str, end: End) -> Self {
        let format = Format { container: Container::Pcap, compression: Compression::None };
        let (input, records) = (Input::empty(), Records::none());
        let skipped = BTreeMap::new();
        Self {
            name: name.to_owned(),
            total_bytes: Some(0),
            format,
            input,
            records,
            frames: 0,
            skipped,
            passed_over: 0,
            lengths_clamped: 0,
            finished: true,
            end,
            filter: None,
        }
    }

    /// Gives back file and buffer of a capture that was read to its end; what is known of it stays.
    fn release(&mut self) {
        self.input = Input::empty();
    }

    /// What its headers say, as far as it was read.
    pub fn about(&self) -> &About {
        self.records.about()
    }

    /// How the capture ended. It says something once [`CaptureReader::next_frame`] returned `None`.
    pub fn end(&self) -> &End {
        &self.end
    }

    /// Frames returned so far.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Frames whose record states a length on the wire that no frame has; they count as one of 1 GiB.
    pub const fn lengths_clamped(&self) -> u64 {
        self.lengths_clamped
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
        unsupported(&self.name, self.frames, &self.skipped)
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
        self.passed_over += 1;
    }

    #[cold]
    fn finish(&mut self, end: End) {
        self.finished = true;
        self.end = end;
    }
}

/// The message to the user about a capture with so many frames, and so many that were passed over by their link types; `None` if
/// there is something to analyse, or nothing at all.
pub fn unsupported(name: &str, frames: u64, skipped: &BTreeMap<LinkType, u64>) -> Option<String> {
    if frames > 0 || skipped.is_empty() {
        return None;
    }
    let kinds: Vec<String> = skipped.iter().map(|(link, count)| format!("{count} of {link}")).collect();
    let (kinds, supported) = (kinds.join(", "), link_type::SUPPORTED);
    Some(format!("{name}: no frame can be analysed: {kinds}; supported are {supported}"))
}

/// A name that stays on one line, whatever a file is called.
fn printable(name: String) -> String {
    if name.contains(char::is_control) { name.replace(char::is_control, "\u{fffd}") } else { name }
}

#[cfg(test)]
mod tests;
