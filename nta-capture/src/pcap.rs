//! The pcap format: one file header, then records of one link type.
//!
//! Source: draft-ietf-opsawg-pcap; the variants are those that libpcap (`sf-pcap.c`) and Wireshark (`wiretap/libpcap.c`) read.

use pcap_parser::{PcapHeader, parse_pcap_header};

use super::about::{About, Interface};
use super::byte_order::ByteOrder;
use super::error::End;
use super::input::{Input, MAX_FRAME_BYTES, MAX_RECORD_BYTES};
use super::link_type::{Link, LinkType};
use super::record::Record;

/// Reads the records of a pcap file.
pub(super) struct Pcap {
    order: ByteOrder,
    /// Nanoseconds in one unit of a record's fraction of a second.
    fraction_ns: u64,
    header_len: usize,
    lengths: Lengths,
    link: Link,
    about: About,
}

/// Which of a record's two lengths comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lengths {
    CapturedFirst,
    /// Before version 2.3, and DG/UX (whose major version is 543).
    WireFirst,
    /// Version 2.3 has both orders: the captured length is the smaller.
    SmallerIsCaptured,
}

impl Pcap {
    pub(super) fn open(input: &mut Input) -> Result<Self, End> {
        let Some(bytes) = input.peek::<FILE_HEADER_BYTES>() else {
            return Err(input.end("the 24-byte file header"));
        };
        let magic = [bytes[0], bytes[1], bytes[2], bytes[3]];
        // pcap-parser 0.17 knows the modified format in little-endian order only; the header is otherwise the same
        let mut bytes = *bytes;
        if magic == MODIFIED_BIG {
            bytes[..4].copy_from_slice(&MICROSECONDS_BIG);
        }
        let Ok((_, header)) = parse_pcap_header(&bytes) else {
            return Err(input.corrupt("the file header is not one of pcap".to_owned()));
        };
        if header.version_major < MIN_VERSION_MAJOR {
            let (major, minor) = (header.version_major, header.version_minor);
            return Err(input.corrupt(format!("pcap version {major}.{minor} is not supported")));
        }
        input.consume(FILE_HEADER_BYTES);
        Ok(Self::from_header(&header, magic))
    }

    fn from_header(header: &PcapHeader, magic: [u8; 4]) -> Self {
        let order = if header.is_bigendian() { ByteOrder::Big } else { ByteOrder::Little };
        let modified = magic == MODIFIED_LITTLE || magic == MODIFIED_BIG;
        let header_len = if modified { MODIFIED_RECORD_HEADER_BYTES } else { RECORD_HEADER_BYTES };
        let field = u32::from_ne_bytes(header.network.0.to_ne_bytes());
        // AIX writes version 2.2 with the link types of RFC 1573 (ifType) and nanoseconds
        let aix = (header.version_major, header.version_minor) == (2, 2) && [6, 9, 15].contains(&field);
        let lengths = match (header.version_major, header.version_minor) {
            (2, 0..=2) | (543, _) => Lengths::WireFirst,
            (2, 3) => Lengths::SmallerIsCaptured,
            _ => Lengths::CapturedFirst,
        };
        let link_type = match (aix, field) {
            (true, 6) => LinkType::ETHERNET,
            (true, 9) => LinkType::TOKEN_RING,
            (true, _) => LinkType::FDDI,
            (false, field) => LinkType::from_pcap_header(field),
        };
        let fraction_ns = if aix || header.is_nanosecond_precision() { 1 } else { 1_000 };
        let about = About::of(Interface {
            name: None,
            link_type,
            snap_length: Some(header.snaplen).filter(|bytes| *bytes > 0),
            digits: Some(if fraction_ns == 1 { 9 } else { 6 }),
        });
        Self { order, fraction_ns, header_len, lengths, link: link_type.link(), about }
    }

    pub(super) const fn about(&self) -> &About {
        &self.about
    }

    /// The next record. Its header is decoded here and not by `pcap_parser::parse_pcap_frame`, which knows neither swapped lengths
    /// nor the modified format in big-endian order, and takes whatever length the file states. On the mixed capture pcap-parser's
    /// reader takes 30 ns a packet and this one 24, of which 15 are the read calls.
    #[inline]
    pub(super) fn next(&mut self, input: &mut Input) -> Result<Record, End> {
        let Some(header) = input.peek::<RECORD_HEADER_BYTES>() else {
            return Err(input.end("a record header"));
        };
        let seconds = self.order.u32_at(header, 0);
        let fraction = self.order.u32_at(header, 4);
        let (captured, wire_len) = self.lengths(self.order.u32_at(header, 8), self.order.u32_at(header, 12));
        let time_ns = u64::from(seconds) * 1_000_000_000 + u64::from(fraction) * self.fraction_ns;
        if captured > MAX_FRAME_BYTES || matches!(self.link, Link::Unsupported(_)) {
            self.pass_over(input, captured)?;
            return Ok(Record { time_ns, wire_len, link: self.link, start: 0, len: 0 });
        }
        let len = captured as usize;
        if !input.ensure(self.header_len + len) {
            return Err(input.end(&format!("a record of {} bytes", self.header_len + len)));
        }
        let start = input.consume(self.header_len + len) + self.header_len;
        Ok(Record { time_ns, wire_len, link: self.link, start, len })
    }

    #[inline]
    fn lengths(&self, first: u32, second: u32) -> (u32, u32) {
        match self.lengths {
            Lengths::CapturedFirst => (first, second),
            Lengths::WireFirst => (second, first),
            Lengths::SmallerIsCaptured => (first.min(second), first.max(second)),
        }
    }

    #[cold]
    fn pass_over(&self, input: &mut Input, captured: u32) -> Result<(), End> {
        let supported = !matches!(self.link, Link::Unsupported(_));
        if captured > MAX_RECORD_BYTES || supported {
            return Err(input.corrupt(format!("a record states a captured length of {captured} bytes")));
        }
        let at_byte = input.offset();
        let whole = self.header_len as u64 + u64::from(captured);
        if !input.skip(whole) {
            return Err(input.end_from(at_byte, &format!("a record of {whole} bytes")));
        }
        Ok(())
    }
}

pub(super) fn is_magic(magic: [u8; 4]) -> bool {
    MAGICS.contains(&magic)
}

/// Whether a file that ends within its magic number may have been one of these.
pub(super) fn begins_magic(bytes: &[u8]) -> bool {
    MAGICS.iter().any(|magic| magic.starts_with(bytes))
}

const MICROSECONDS_BIG: [u8; 4] = [0xa1, 0xb2, 0xc3, 0xd4];
/// Alexey Kuznetzov's libpcap: 8 more bytes in each record header, all of them about the interface.
const MODIFIED_LITTLE: [u8; 4] = [0x34, 0xcd, 0xb2, 0xa1];
const MODIFIED_BIG: [u8; 4] = [0xa1, 0xb2, 0xcd, 0x34];
const MAGICS: [[u8; 4]; 6] = [
    [0xd4, 0xc3, 0xb2, 0xa1],
    MICROSECONDS_BIG,
    [0x4d, 0x3c, 0xb2, 0xa1],
    [0xa1, 0xb2, 0x3c, 0x4d],
    MODIFIED_LITTLE,
    MODIFIED_BIG,
];
/// libpcap and Wireshark read version 2.0 and later.
const MIN_VERSION_MAJOR: u16 = 2;
const FILE_HEADER_BYTES: usize = 24;
const RECORD_HEADER_BYTES: usize = 16;
const MODIFIED_RECORD_HEADER_BYTES: usize = 24;
