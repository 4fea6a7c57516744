//! What a daemon that ends leaves for the next one beside the pinned maps: what the ledger held at its last window, so
//! that the next one reports what was counted since then and nothing else. A map, as a BPF file system holds nothing else.
//! It is pinned at a clean end and removed by the next start: where it is missing, the last daemon was killed.

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::path::Path;

use aya::maps::{Array, Map, MapData};
use nta_common::LedgerSlot;
use nta_common::limits::MAX_INTERFACES;

use super::elements::bpf_fd;

const BPF_MAP_CREATE: libc::c_int = 0;
const BPF_MAP_TYPE_ARRAY: u32 = 2;

/// One interface's ledger as the value of a map.
#[derive(Clone, Copy, Default)]
#[repr(transparent)]
struct LedgerRow(LedgerSlot);

// SAFETY: `repr(transparent)` over a `repr(C)` structure of 64-bit integers: no padding, valid for any bytes.
unsafe impl aya::Pod for LedgerRow {}

/// Pins these rows.
pub(super) fn write(path: &Path, rows: &[LedgerSlot]) -> io::Result<()> {
    /// The kernel's `union bpf_attr` for the creation of a map.
    #[repr(C)]
    struct CreateAttr {
        map_type: u32,
        key_size: u32,
        value_size: u32,
        max_entries: u32,
    }
    let mut attr = CreateAttr {
        map_type: BPF_MAP_TYPE_ARRAY,
        key_size: size_of::<u32>() as u32,
        value_size: size_of::<LedgerRow>() as u32,
        max_entries: MAX_INTERFACES as u32,
    };
    let fd = bpf_fd(BPF_MAP_CREATE, &mut attr)?;
    // SAFETY: the kernel has just made it for us, and nobody else has it.
    let map = MapData::from_fd(unsafe { OwnedFd::from_raw_fd(fd) }).map_err(io::Error::other)?;
    let mut rows_map: Array<MapData, LedgerRow> = Array::try_from(Map::Array(map)).map_err(io::Error::other)?;
    for (slot, row) in rows.iter().enumerate().take(MAX_INTERFACES) {
        rows_map.set(slot as u32, LedgerRow(*row), 0).map_err(io::Error::other)?;
    }
    rows_map.pin(path).map_err(io::Error::other)
}

/// The rows that are pinned there, one a slot.
pub(super) fn read(path: &Path) -> io::Result<Vec<LedgerSlot>> {
    let map = MapData::from_pin(path).map_err(io::Error::other)?;
    let rows: Array<MapData, LedgerRow> = Array::try_from(Map::Array(map)).map_err(io::Error::other)?;
    (0..MAX_INTERFACES as u32).map(|slot| Ok(rows.get(&slot, 0).map_err(io::Error::other)?.0)).collect()
}
