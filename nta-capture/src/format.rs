//! What kind of file a capture is, and what to say of a file that is none.

use std::fmt;

use super::error::End;
use super::input::Input;
use super::{pcap, pcapng};

/// File format and compression, for reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    pub container: Container,
    pub compression: Compression,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// draft-ietf-opsawg-pcap: one link type, one clock resolution.
    Pcap,
    /// draft-ietf-opsawg-pcapng: sections, interfaces, options.
    PcapNg,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.compression {
            Compression::None => write!(f, "{}", self.container),
            compression => write!(f, "{}, {compression}", self.container),
        }
    }
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pcap => "pcap",
            Self::PcapNg => "pcapng",
        })
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "uncompressed",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

/// How a file with neither magic number ended before it began.
pub(super) fn not_a_capture(input: &mut Input) -> End {
    input.ensure(LONGEST_OTHER_MAGIC);
    let bytes = input.available();
    let within_magic = pcap::begins_magic(bytes) || pcapng::SECTION_MAGIC.starts_with(bytes);
    match input.end("the magic number") {
        // bytes that fit neither magic number, whatever comes after them
        End::CutOff { .. } if !within_magic => input.corrupt(what_else(bytes)),
        end => end,
    }
}

fn what_else(bytes: &[u8]) -> String {
    if let Some((_, what)) = OTHER_FORMATS.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return format!("it is {what}");
    }
    let start: Vec<String> = bytes.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("starts with {}, expected pcap or pcapng magic", start.join(" "))
}

/// Of [`OTHER_FORMATS`].
const LONGEST_OTHER_MAGIC: usize = 8;
/// What people hand to a capture reader by mistake, by its first bytes.
const OTHER_FORMATS: &[(&[u8], &str)] = &[
    (b"\xfd7zXZ", "xz-compressed: decompress it first (unxz)"),
    (b"\x04\x22\x4d\x18", "lz4-compressed: decompress it first (unlz4)"),
    (b"BZh", "bzip2-compressed: decompress it first (bunzip2)"),
    (b"PK\x03\x04", "a zip archive: unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive: unpack it first"),
    (b"snoop\0\0\0", "a snoop capture: convert it first (editcap -F pcap)"),
];
