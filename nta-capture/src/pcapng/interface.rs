//! What a pcapng file says about an interface.

use pcap_parser::pcapng::{InterfaceDescriptionBlock, OptionCode};

use super::clock::Clock;
use crate::about;
use crate::byte_order::ByteOrder;
use crate::link_type::{Link, LinkType};

pub(super) struct Interface {
    pub(super) link: Link,
    pub(super) clock: Clock,
    /// The most bytes of a packet that were captured; 0 for no limit.
    snaplen: u32,
    /// Packets that it dropped, by the last statistics.
    pub(super) dropped: u64,
}

impl Interface {
    pub(super) fn new(block: &InterfaceDescriptionBlock<'_>, order: ByteOrder) -> Self {
        let link_type = LinkType::from_interface(block.linktype.0);
        Self { link: link_type.link(), clock: clock(block, order), snaplen: block.snaplen, dropped: 0 }
    }

    /// How many bytes of a Simple Packet Block's packet were captured.
    pub(super) fn captured(&self, wire_len: u32) -> u32 {
        if self.snaplen == 0 { wire_len } else { wire_len.min(self.snaplen) }
    }
}

/// What is said of an interface to whoever reads about the capture.
pub(super) fn described(block: &InterfaceDescriptionBlock<'_>) -> about::Interface {
    let option = |code| {
        let options = block.options.iter().take_while(|option| option.code != OptionCode::EndOfOpt);
        options.filter(|option| option.code == code).find_map(|option| option.as_bytes().ok())
    };
    let resolution =
        option(OptionCode::IfTsresol).and_then(|value| value.first().copied()).unwrap_or(DEFAULT_RESOLUTION);
    about::Interface {
        name: option(OptionCode::IfName).and_then(about::text),
        link_type: LinkType::from_interface(block.linktype.0),
        snap_length: Some(block.snaplen).filter(|bytes| *bytes > 0),
        digits: (resolution & 0x80 == 0).then_some(resolution),
    }
}

/// The options are read here: pcap-parser 0.17 takes if_tsoffset as little-endian in every file.
fn clock(block: &InterfaceDescriptionBlock<'_>, order: ByteOrder) -> Clock {
    let mut resolution = DEFAULT_RESOLUTION;
    let mut offset_s = 0;
    for option in &block.options {
        let Ok(value) = option.as_bytes() else { continue };
        match option.code {
            OptionCode::EndOfOpt => break,
            OptionCode::IfTsresol => resolution = value.first().copied().unwrap_or(DEFAULT_RESOLUTION),
            OptionCode::IfTsoffset => {
                if let Some(bytes) = value.first_chunk() {
                    offset_s = match order {
                        ByteOrder::Little => i64::from_le_bytes(*bytes),
                        ByteOrder::Big => i64::from_be_bytes(*bytes),
                    };
                }
            }
            _ => {}
        }
    }
    Clock::new(resolution, offset_s)
}

/// Microseconds, section 4.2: if_tsresol.
const DEFAULT_RESOLUTION: u8 = 6;
