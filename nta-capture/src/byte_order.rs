//! Numbers in either byte order.

/// The byte order of a file or of a section of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ByteOrder {
    Little,
    Big,
}

impl ByteOrder {
    #[inline]
    pub(super) fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }

    #[inline]
    pub(super) fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }

    /// The four bytes at a fixed offset of a fixed-size header.
    #[inline]
    pub(super) fn u32_at<const N: usize>(self, header: &[u8; N], offset: usize) -> u32 {
        self.u32([header[offset], header[offset + 1], header[offset + 2], header[offset + 3]])
    }
}
