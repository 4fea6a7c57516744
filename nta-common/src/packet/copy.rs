//! Copying a message out of a packet, in a form that the kernel's verifier follows: whole units, each with its own bounds
//! check, and a last unit that overlaps the one before it, so that no tail is copied byte by byte.

use super::PacketReader;
use crate::limits::MAX_HEADER_BYTES;

/// Bytes that are copied at once.
pub const COPY_UNIT: usize = 8;

/// How many bytes of a message at `offset` can be copied: no more than are readable, than `limit`, and than fit.
#[inline(always)]
pub fn copied<const N: usize>(readable: usize, offset: usize, limit: u32) -> usize {
    let readable = if readable < MAX_HEADER_BYTES { readable } else { MAX_HEADER_BYTES };
    let there = readable.saturating_sub(offset);
    let wanted = if (limit as usize) < N - COPY_UNIT { limit as usize } else { N - COPY_UNIT };
    if there < wanted { there } else { wanted }
}

/// See [`PacketReader::copy`]. The last [`COPY_UNIT`] bytes of `to` are slack that only the verifier needs.
#[inline(always)]
pub(super) fn in_units<R: PacketReader + ?Sized, const N: usize>(
    reader: &R,
    offset: usize,
    limit: u32,
    to: &mut [u8; N],
) -> u32 {
    let len = reader.forget(copied::<N>(reader.readable(), offset, limit));
    if len < COPY_UNIT {
        return 0;
    }
    let offset = reader.forget(offset);
    for unit in 0..N / COPY_UNIT - 1 {
        let at = unit * COPY_UNIT;
        if at + COPY_UNIT > len {
            break;
        }
        let Some(bytes) = reader.read::<COPY_UNIT>(offset + at) else { return 0 };
        if let Some(place) = to.get_mut(at..at + COPY_UNIT) {
            place.copy_from_slice(&bytes);
        }
    }
    let last = reader.forget(len - COPY_UNIT);
    let Some(bytes) = reader.read::<COPY_UNIT>(offset + last) else { return 0 };
    if last > N - COPY_UNIT {
        return 0;
    }
    if let Some(place) = to.get_mut(last..last + COPY_UNIT) {
        place.copy_from_slice(&bytes);
    }
    len as u32
}
