//! The records of a capture, whichever of the two formats it has.

use super::about::About;
use super::error::End;
use super::format::{self, Container};
use super::input::Input;
use super::link_type::Link;
use super::pcap::{self, Pcap};
use super::pcapng::{self, PcapNg};

/// Where a record's captured bytes lie in the input's buffer, until the input reads on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) time_ns: u64,
    pub(super) wire_len: u32,
    pub(super) link: Link,
    pub(super) start: usize,
    pub(super) len: usize,
}

/// Reads one record after the other.
pub(super) enum Records {
    Pcap(Pcap),
    PcapNg(PcapNg),
}

impl Records {
    /// Reads the file header.
    pub(super) fn open(input: &mut Input) -> Result<Self, End> {
        match input.peek::<4>().copied() {
            Some(pcapng::SECTION_MAGIC) => PcapNg::open(input).map(Self::PcapNg),
            Some(magic) if pcap::is_magic(magic) => Pcap::open(input).map(Self::Pcap),
            _ => Err(format::not_a_capture(input)),
        }
    }

    /// Those of a file without any.
    pub(super) fn none() -> Self {
        Self::PcapNg(PcapNg::none())
    }

    /// Interfaces that packets may be of.
    #[inline]
    pub(super) fn interfaces(&self) -> usize {
        match self {
            Self::Pcap(_) => 1,
            Self::PcapNg(pcapng) => pcapng.interfaces(),
        }
    }

    pub(super) const fn about(&self) -> &About {
        match self {
            Self::Pcap(pcap) => pcap.about(),
            Self::PcapNg(pcapng) => pcapng.about(),
        }
    }

    pub(super) fn container(&self) -> Container {
        match self {
            Self::Pcap(_) => Container::Pcap,
            Self::PcapNg(_) => Container::PcapNg,
        }
    }

    /// The next packet, or how the capture ends.
    #[inline]
    pub(super) fn next(&mut self, input: &mut Input) -> Result<Record, End> {
        let record = match self {
            Self::Pcap(pcap) => pcap.next(input),
            Self::PcapNg(pcapng) => pcapng.next(input),
        }?;
        input.note_frame(record.len);
        Ok(record)
    }
}
