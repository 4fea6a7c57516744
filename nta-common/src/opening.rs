//! The first payload bytes of each direction of a flow, by which its service is known whatever its port.
//!
//! They are written once a direction, with its first payload, which is news of a TCP direction in any case: the usual packet
//! pays nothing for them but the place of its payload.

use crate::PacketReader;
use crate::limits::MAX_HEADER_BYTES;

/// Payload bytes that are kept of each direction.
pub const OPENING_BYTES: usize = 8;

/// How the payload of one direction begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Opening {
    /// Bytes that are kept, 0 while none was seen (or the capture holds none of them).
    pub len: u16,
    /// 1 when they are the first of the stream: right behind the SYN of their direction, or a datagram of a flow. 0 when the
    /// beginning of the stream was not seen.
    pub from_start: u16,
    /// Sequence number of the first of them, 0 of a datagram.
    pub seq: u32,
    // Last, so that a copy that is made meanwhile has no length without the bytes.
    bytes: [u8; OPENING_BYTES],
}

impl Opening {
    /// An opening with these bytes, at most [`OPENING_BYTES`] of them.
    pub fn of(payload: &[u8], from_start: bool) -> Self {
        let len = payload.len().min(OPENING_BYTES);
        let mut bytes = [0; OPENING_BYTES];
        bytes[..len].copy_from_slice(&payload[..len]);
        Self { len: len as u16, from_start: u16::from(from_start), seq: 0, bytes }
    }

    /// One that was kept elsewhere.
    #[inline(always)]
    pub(crate) const fn kept(len: u16, bytes: [u8; OPENING_BYTES], seq: u32, from_start: u16) -> Self {
        Self { len, from_start, seq, bytes }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len).min(OPENING_BYTES)]
    }

    /// Keeps the first bytes of this payload, if they can be read.
    #[inline(always)]
    pub(crate) fn keep<R: PacketReader>(&mut self, reader: &R, at: u32, payload_len: u32, seq: u32, from_start: u16) {
        let Some((len, bytes)) = reader.opening(at as usize, payload_len) else { return };
        self.bytes = bytes;
        self.seq = seq;
        self.from_start = from_start;
        self.len = len as u16;
    }
}

/// The first bytes of the payload at `offset`, see [`PacketReader::opening`].
#[inline(always)]
pub fn read<R: PacketReader + ?Sized>(reader: &R, offset: usize, len: u32) -> Option<(u32, [u8; OPENING_BYTES])> {
    let readable = reader.readable();
    if offset >= MAX_HEADER_BYTES - OPENING_BYTES || offset >= readable {
        return None;
    }
    let there = readable - offset;
    let len = if (len as usize) < there { len as usize } else { there };
    let len = if len < OPENING_BYTES { len } else { OPENING_BYTES };
    // The headers in front of a payload are longer, so that one read does for any length.
    let ending = reader.read::<OPENING_BYTES>(reader.forget((offset + len).checked_sub(OPENING_BYTES)?))?;
    Some((len as u32, first_of(ending, len as u32)))
}

/// The first bytes, of those 8 that end with the last of them: `len` of them, at most 8.
#[inline(always)]
pub const fn first_of(ending: [u8; OPENING_BYTES], len: u32) -> [u8; OPENING_BYTES] {
    // Bits in front that are not of the payload; 0 to 56.
    let before = ((OPENING_BYTES as u32 - len) * 8) & 63;
    (u64::from_be_bytes(ending) << before).to_be_bytes()
}

const _: () = assert!(size_of::<Opening>() == 16);

#[cfg(test)]
#[path = "opening_tests.rs"]
mod tests;
