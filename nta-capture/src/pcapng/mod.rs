//! The pcapng format: sections of blocks, in which interfaces are described before packets name them.
//!
//! Source: draft-ietf-opsawg-pcapng. Blocks are walked here and not by pcap-parser's reader, which knows no obsolete Packet Block
//! and would hold every block in memory; it parses the blocks that carry options.

mod clock;
mod interface;

use pcap_parser::pcapng::{
    OptionCode, parse_interfacedescriptionblock_be, parse_interfacedescriptionblock_le, parse_sectionheaderblock,
};

use super::about::{self, About};
use super::byte_order::ByteOrder;
use super::error::End;
use super::input::{Input, MAX_FRAME_BYTES, MAX_RECORD_BYTES};
use super::link_type::Link;
use super::record::Record;
use interface::Interface;

/// Reads the packets of a pcapng file.
pub(super) struct PcapNg {
    order: ByteOrder,
    /// Of the current section; packets name them by index.
    interfaces: Vec<Interface>,
    last_time_ns: u64,
    about: About,
}

impl PcapNg {
    pub(super) fn open(input: &mut Input) -> Result<Self, End> {
        let mut pcapng = Self::none();
        pcapng.section(input)?;
        Ok(pcapng)
    }

    pub(super) fn none() -> Self {
        Self { order: ByteOrder::Little, interfaces: Vec::new(), last_time_ns: 0, about: About::default() }
    }

    pub(super) const fn about(&self) -> &About {
        &self.about
    }

    /// Interfaces that were described in this section so far.
    #[inline]
    pub(super) const fn interfaces(&self) -> usize {
        self.interfaces.len()
    }

    /// The next packet; the blocks before it are taken in or passed over.
    pub(super) fn next(&mut self, input: &mut Input) -> Result<Record, End> {
        loop {
            let Some(head) = input.peek::<MIN_BLOCK_BYTES>() else {
                return Err(input.end("a block header"));
            };
            if head[..4] == SECTION_MAGIC {
                self.section(input)?;
                continue;
            }
            let (kind, length) = (self.order.u32_at(head, 0), self.order.u32_at(head, 4));
            if length < MIN_BLOCK_BYTES as u32 || length > MAX_RECORD_BYTES {
                return Err(input.corrupt(format!("a block of type {kind:#x} states a length of {length} bytes")));
            }
            match kind {
                INTERFACE_DESCRIPTION => self.interface(input, length)?,
                ENHANCED_PACKET | OBSOLETE_PACKET => return self.packet(input, kind, length),
                SIMPLE_PACKET => return self.simple_packet(input, length),
                INTERFACE_STATISTICS if length <= MAX_DESCRIPTION_BYTES => self.statistics(input, length)?,
                _ => self.pass_over(input, length)?,
            }
        }
    }

    /// Section Header Block, section 4.1: sets the byte order and forgets the interfaces.
    fn section(&mut self, input: &mut Input) -> Result<(), End> {
        let Some(head) = input.peek::<MIN_BLOCK_BYTES>() else {
            return Err(input.end("a section header"));
        };
        self.order = match [head[8], head[9], head[10], head[11]] {
            [0x1a, 0x2b, 0x3c, 0x4d] => ByteOrder::Big,
            [0x4d, 0x3c, 0x2b, 0x1a] => ByteOrder::Little,
            _ => return Err(input.corrupt("a section header without its byte-order magic".to_owned())),
        };
        let length = self.order.u32_at(head, 4);
        self.hold_description(input, length)?;
        let Ok((_, header)) = parse_sectionheaderblock(input.available()) else {
            return Err(input.corrupt("a section header that cannot be parsed".to_owned()));
        };
        let (major, minor) = (header.major_version, header.minor_version);
        // 1.2 was written by some tools for what is version 1.0 (section 4.1); Wireshark and libpcap read the same two
        if major != 1 || (minor != 0 && minor != 2) {
            return Err(input.corrupt(format!("pcapng version {major}.{minor} is not supported")));
        }
        let mut of_section = About::default();
        for option in &header.options {
            let text = option.as_bytes().ok().and_then(about::text);
            match option.code {
                OptionCode::EndOfOpt => break,
                OptionCode::Comment => of_section.comment = of_section.comment.or(text),
                OptionCode::ShbHardware => of_section.hardware = text,
                OptionCode::ShbOs => of_section.system = text,
                OptionCode::ShbUserAppl => of_section.application = text,
                _ => {}
            }
        }
        self.about.merge(&of_section);
        self.interfaces.clear();
        input.consume(length as usize);
        Ok(())
    }

    /// Interface Description Block, section 4.2.
    fn interface(&mut self, input: &mut Input, length: u32) -> Result<(), End> {
        self.hold_description(input, length)?;
        if self.interfaces.len() == MAX_INTERFACES {
            return Err(input.corrupt(format!("more than {MAX_INTERFACES} interfaces in a section")));
        }
        let parsed = match self.order {
            ByteOrder::Little => parse_interfacedescriptionblock_le(input.available()),
            ByteOrder::Big => parse_interfacedescriptionblock_be(input.available()),
        };
        let Ok((_, block)) = parsed else {
            return Err(input.corrupt("an interface description that cannot be parsed".to_owned()));
        };
        let interface = Interface::new(&block, self.order);
        self.about.add_interface(interface::described(&block));
        self.interfaces.push(interface);
        input.consume(length as usize);
        Ok(())
    }

    /// Interface Statistics Block, section 4.6: packets that were dropped for want of room, since the capture began. Whatever cannot be
    /// read of it is passed over: no packet depends on it.
    fn statistics(&mut self, input: &mut Input, length: u32) -> Result<(), End> {
        self.hold_description(input, length)?;
        let block = &input.available()[..length as usize];
        let index = block.get(8..).and_then(<[u8]>::first_chunk).map_or(u32::MAX, |index| self.order.u32(*index));
        let mut options =
            block.get(STATISTICS_HEADER_BYTES..length as usize - TRAILER_BYTES as usize).unwrap_or_default();
        while let [a, b, c, d, rest @ ..] = options {
            let (code, len) = (self.order.u16([*a, *b]), usize::from(self.order.u16([*c, *d])));
            if code == 0 {
                break;
            }
            if let (STATISTICS_DROPPED, Some(value)) = (code, rest.first_chunk::<8>()) {
                let [first, second] = [self.order.u32_at(value, 0), self.order.u32_at(value, 4)].map(u64::from);
                let packets = match self.order {
                    ByteOrder::Big => first << 32 | second,
                    ByteOrder::Little => second << 32 | first,
                };
                if let Some(interface) = self.interfaces.get_mut(index as usize) {
                    self.about.add_dropped(packets.saturating_sub(interface.dropped));
                    interface.dropped = packets;
                }
            }
            options = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        }
        input.consume(length as usize);
        Ok(())
    }

    /// Enhanced Packet Block, section 4.3, and the obsolete Packet Block, appendix A: the same but for the interface's width.
    fn packet(&mut self, input: &mut Input, kind: u32, length: u32) -> Result<Record, End> {
        if length < PACKET_HEADER_BYTES as u32 + TRAILER_BYTES {
            return Err(input.corrupt(format!("a packet block states a length of {length} bytes")));
        }
        let Some(header) = input.peek::<PACKET_HEADER_BYTES>() else {
            return Err(input.end("a packet block"));
        };
        let order = self.order;
        let index = match kind {
            OBSOLETE_PACKET => u32::from(order.u16([header[8], header[9]])),
            _ => order.u32_at(header, 8),
        };
        let ticks = u64::from(order.u32_at(header, 12)) << 32 | u64::from(order.u32_at(header, 16));
        let (captured, wire_len) = (order.u32_at(header, 20), order.u32_at(header, 24));
        if captured > length - PACKET_HEADER_BYTES as u32 - TRAILER_BYTES {
            return Err(input.corrupt(format!("{captured} bytes of packet in a block of {length} bytes")));
        }
        let Some(interface) = self.interfaces.get(index as usize) else {
            return Err(input.corrupt(format!("a packet of interface {index}, which no block describes")));
        };
        let link = interface.link;
        let time_ns = interface.clock.time_ns(ticks);
        self.last_time_ns = time_ns;
        let block = self.take_packet(input, link, length)?;
        Ok(Record { time_ns, wire_len, link, start: block + PACKET_HEADER_BYTES, len: captured as usize })
    }

    /// Simple Packet Block, section 4.4: of the first interface, without time and captured length.
    fn simple_packet(&mut self, input: &mut Input, length: u32) -> Result<Record, End> {
        let Some(header) = input.peek::<MIN_BLOCK_BYTES>() else {
            return Err(input.end("a packet block"));
        };
        let wire_len = self.order.u32_at(header, 8);
        let Some(interface) = self.interfaces.first() else {
            return Err(input.corrupt("a packet before any interface is described".to_owned()));
        };
        let link = interface.link;
        let captured = interface.captured(wire_len);
        if u64::from(captured) + u64::from(SIMPLE_PACKET_HEADER_BYTES + TRAILER_BYTES) > u64::from(length) {
            return Err(input.corrupt(format!("{captured} bytes of packet in a block of {length} bytes")));
        }
        let block = self.take_packet(input, link, length)?;
        let start = block + SIMPLE_PACKET_HEADER_BYTES as usize;
        Ok(Record { time_ns: self.last_time_ns, wire_len, link, start, len: captured as usize })
    }

    /// Consumes a packet's block and returns where it lies; one of an unsupported link type is passed over.
    fn take_packet(&self, input: &mut Input, link: Link, length: u32) -> Result<usize, End> {
        if matches!(link, Link::Unsupported(_)) {
            return self.pass_over(input, length).map(|()| 0);
        }
        self.hold(input, length, MAX_FRAME_BYTES)?;
        Ok(input.consume(length as usize))
    }

    fn hold_description(&self, input: &mut Input, length: u32) -> Result<(), End> {
        self.hold(input, length, MAX_DESCRIPTION_BYTES)
    }

    /// Reads a whole block, so that it is available, and checks that its second length is its first.
    fn hold(&self, input: &mut Input, length: u32, limit: u32) -> Result<(), End> {
        if length < MIN_BLOCK_BYTES as u32 || length > limit {
            return Err(input.corrupt(format!("a block states a length of {length} bytes")));
        }
        if !input.ensure(length as usize) {
            return Err(input.end(&format!("a block of {length} bytes")));
        }
        let trailer = input.available()[..length as usize].last_chunk().copied().unwrap_or_default();
        self.check_trailer(input.offset(), length, trailer)
    }

    /// Passes over a block without holding it in memory.
    fn pass_over(&self, input: &mut Input, length: u32) -> Result<(), End> {
        let at_byte = input.offset();
        if !input.skip(u64::from(length - TRAILER_BYTES)) {
            return Err(input.end_from(at_byte, &format!("a block of {length} bytes")));
        }
        let Some(trailer) = input.peek().copied() else {
            return Err(input.end_from(at_byte, &format!("a block of {length} bytes")));
        };
        self.check_trailer(at_byte, length, trailer)?;
        input.consume(TRAILER_BYTES as usize);
        Ok(())
    }

    /// A block ends with its length again, section 3.1.
    #[inline]
    fn check_trailer(&self, at_byte: u64, length: u32, trailer: [u8; 4]) -> Result<(), End> {
        let trailer = self.order.u32(trailer);
        if trailer == length {
            return Ok(());
        }
        let detail = format!("a block states a length of {length} bytes at its start and {trailer} at its end");
        Err(End::Corrupt { at_byte, detail })
    }
}

/// The type of a Section Header Block, the same in both byte orders.
pub(super) const SECTION_MAGIC: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
const INTERFACE_DESCRIPTION: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const INTERFACE_STATISTICS: u32 = 5;
/// Up to its options: head, interface, time stamp.
const STATISTICS_HEADER_BYTES: usize = 20;
/// isb_ifdrop, 64 bits.
const STATISTICS_DROPPED: u16 = 5;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;
/// Type, length, and the length again at the end.
const MIN_BLOCK_BYTES: usize = 12;
const TRAILER_BYTES: u32 = 4;
/// Up to the packet's bytes, type and length included.
const PACKET_HEADER_BYTES: usize = 28;
const SIMPLE_PACKET_HEADER_BYTES: u32 = 12;
/// The longest section or interface description, whose options become a list in memory.
const MAX_DESCRIPTION_BYTES: u32 = 1 << 20;
/// A bound on the memory that interface descriptions take; the most seen in a real capture is 126.
const MAX_INTERFACES: usize = 65_536;
