//! Writing capture files.

/// LINKTYPE_ETHERNET.
pub const ETHERNET: u32 = 1;
/// LINKTYPE_IEEE802_11_PRISM, which no part of the daemon reads.
pub const PRISM: u32 = 119;

/// A frame to write.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Nanoseconds since 1970.
    pub time_ns: u64,
    /// Length on the wire.
    pub wire_len: u32,
    /// Captured bytes.
    pub data: Vec<u8>,
}

impl Frame {
    /// A frame that was captured whole, at that second.
    pub fn at(second: u64, data: Vec<u8>) -> Self {
        Self { time_ns: second * 1_000_000_000, wire_len: data.len() as u32, data }
    }

    /// The same, of which only the first bytes were captured.
    pub fn sliced(mut self, snaplen: usize) -> Self {
        self.data.truncate(snaplen);
        self
    }
}

/// A pcap file, little-endian, nanoseconds.
pub fn pcap(link_type: u32, frames: &[Frame]) -> Vec<u8> {
    let mut file = Vec::new();
    for field in [0xa1b2_3c4d_u32, 2 | (4 << 16), 0, 0, 262_144, link_type] {
        file.extend(field.to_le_bytes());
    }
    for frame in frames {
        let seconds = (frame.time_ns / 1_000_000_000) as u32;
        let rest = (frame.time_ns % 1_000_000_000) as u32;
        for field in [seconds, rest, frame.data.len() as u32, frame.wire_len] {
            file.extend(field.to_le_bytes());
        }
        file.extend(&frame.data);
    }
    file
}

/// A pcapng file with one Ethernet interface, little-endian, nanoseconds.
pub fn pcapng(frames: &[Frame]) -> Vec<u8> {
    let mut file = Vec::new();
    let byte_order = [&0x1a2b_3c4d_u32.to_le_bytes()[..], &[1, 0, 0, 0], &[0xff; 8]].concat();
    block(&mut file, 0x0a0d_0d0a, &byte_order);
    // Link type, reserved, snaplen, option 9 (if_tsresol) = 9, end of options.
    block(&mut file, 1, &[1, 0, 0, 0, 0, 0, 4, 0, 9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
    for frame in frames {
        let mut body = vec![0; 4];
        for field in [(frame.time_ns >> 32) as u32, frame.time_ns as u32, frame.data.len() as u32, frame.wire_len] {
            body.extend(field.to_le_bytes());
        }
        body.extend(&frame.data);
        body.resize(body.len().next_multiple_of(4), 0);
        block(&mut file, 6, &body);
    }
    file
}

fn block(file: &mut Vec<u8>, kind: u32, body: &[u8]) {
    let len = (body.len() as u32 + 12).to_le_bytes();
    file.extend(kind.to_le_bytes());
    file.extend(len);
    file.extend(body);
    file.extend(len);
}
