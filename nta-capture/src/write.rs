//! Writing captures: pcap with nanoseconds, which every reader of the last ten years takes.

use std::io::{self, Write};

use super::LinkType;

/// Bytes of a file's header.
const FILE_HEADER: usize = 24;
/// Bytes in front of each packet.
const PACKET_HEADER: usize = 16;
/// Of a file with nanoseconds, in the little-endian order.
const MAGIC_NANOS: u32 = 0xa1b2_3c4d;
const NANOS: u64 = 1_000_000_000;

/// Writes a capture of one link type.
#[derive(Debug)]
pub struct PcapWriter<W> {
    to: W,
    bytes: u64,
}

impl<W: Write> PcapWriter<W> {
    /// Begins a file; `snap_length` is what its header says of the longest packet.
    ///
    /// # Errors
    /// Of the writer.
    pub fn new(mut to: W, link_type: LinkType, snap_length: u32) -> io::Result<Self> {
        let mut header = [0; FILE_HEADER];
        header[..4].copy_from_slice(&MAGIC_NANOS.to_le_bytes());
        // Version 2.4.
        (header[4], header[6]) = (2, 4);
        header[16..20].copy_from_slice(&snap_length.to_le_bytes());
        header[20..].copy_from_slice(&link_type.number().to_le_bytes());
        to.write_all(&header)?;
        Ok(Self { to, bytes: FILE_HEADER as u64 })
    }

    /// Writes a packet, whose captured bytes may lie in several parts; how many bytes the file grew by. Times beyond the year 2106 do
    /// not fit and wrap.
    ///
    /// # Errors
    /// Of the writer: then it may have a part of the packet.
    pub fn packet(&mut self, time_ns: u64, wire_len: u32, parts: &[&[u8]]) -> io::Result<u64> {
        let captured: usize = parts.iter().map(|part| part.len()).sum();
        let mut header = [0; PACKET_HEADER];
        let words = [(time_ns / NANOS) as u32, (time_ns % NANOS) as u32, captured as u32, wire_len];
        for (place, word) in header.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        self.to.write_all(&header)?;
        parts.iter().try_for_each(|part| self.to.write_all(part))?;
        let grown = packet_bytes(captured);
        self.bytes += grown;
        Ok(grown)
    }

    /// Length of the file so far.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes out what is there.
    ///
    /// # Errors
    /// Of the writer.
    pub fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }

    /// Where it was written to.
    pub fn into_inner(self) -> W {
        self.to
    }

    /// What was written, to be taken out where it is memory.
    pub const fn get_mut(&mut self) -> &mut W {
        &mut self.to
    }
}

/// How many bytes a file grows by with a packet of which so many are captured.
pub const fn packet_bytes(captured: usize) -> u64 {
    (PACKET_HEADER + captured) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CaptureReader;

    #[test]
    fn what_is_written_reads_back() {
        let mut writer = PcapWriter::new(Vec::new(), LinkType::ETHERNET, 262_144).expect("begun");
        let frames = [(1_700_000_000_123_456_789, 100, vec![1_u8; 60]), (1_700_000_001_000_000_001, 1500, vec![2; 14])];
        for (time_ns, wire_len, data) in &frames {
            let (head, rest) = data.split_at(12);
            assert_eq!(writer.packet(*time_ns, *wire_len, &[head, rest]).expect("written"), packet_bytes(data.len()));
        }
        let (bytes, file) = (writer.bytes(), writer.into_inner());
        assert_eq!(bytes, file.len() as u64);
        let mut reader = CaptureReader::from_read("x".to_owned(), Box::new(io::Cursor::new(file))).expect("a capture");
        for (time_ns, wire_len, data) in &frames {
            let frame = reader.next_frame().expect("a frame");
            assert_eq!((frame.time_ns, frame.wire_len, frame.data), (*time_ns, *wire_len, data.as_slice()));
        }
        assert!(reader.next_frame().is_none());
    }
}
