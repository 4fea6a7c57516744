//! The reader over bytes in memory.

use super::PacketReader;
use crate::TunnelPorts;
use crate::limits::MAX_HEADER_BYTES;

/// The reader over bytes in memory: replay, tests, fuzzing.
#[derive(Clone, Copy, Debug)]
pub struct SliceReader<'a> {
    data: &'a [u8],
    wire_len: u32,
    tunnels: Option<TunnelPorts>,
}

impl<'a> SliceReader<'a> {
    /// A view of `data`, of a frame that had `wire_len` bytes.
    #[inline]
    pub fn new(data: &'a [u8], wire_len: u32) -> Self {
        Self { data: &data[..data.len().min(MAX_HEADER_BYTES)], wire_len, tunnels: None }
    }

    /// The same view, with the tunnels at these ports opened, or none.
    #[inline]
    #[must_use]
    pub fn with_tunnels(self, tunnels: Option<TunnelPorts>) -> Self {
        Self { tunnels, ..self }
    }
}

impl PacketReader for SliceReader<'_> {
    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.data.get(offset..)?.first_chunk::<N>().copied()
    }

    #[inline(always)]
    fn wire_len(&self) -> u32 {
        self.wire_len
    }

    #[inline(always)]
    fn readable(&self) -> usize {
        self.data.len()
    }

    #[inline(always)]
    fn tunnels(&self) -> Option<TunnelPorts> {
        self.tunnels
    }
}
