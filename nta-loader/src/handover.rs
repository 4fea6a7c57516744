//! What a daemon that ends leaves for the next one beside the pinned maps: what the ledger held at its last window, and when
//! that ended, so that the next one reports what was counted since then and nothing else, and knows how long that took.
//! A map, as a BPF file system holds nothing else. It is pinned at a clean end and removed by the next start: where it is missing, the last daemon was killed.

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::path::Path;

use aya::maps::{Array, Map, MapData};
use nta_common::LedgerSlot;
use nta_common::limits::MAX_INTERFACES;

use crate::elements::bpf_fd;

const BPF_MAP_CREATE: libc::c_int = 0;
const BPF_MAP_TYPE_ARRAY: u32 = 2;

/// One interface's ledger as the value of a map.
#[derive(Clone, Copy, Default)]
#[repr(transparent)]
struct LedgerRow(LedgerSlot);

// SAFETY: `repr(transparent)` over a `repr(C)` structure of 64-bit integers: no padding, valid for any bytes.
unsafe impl aya::Pod for LedgerRow {}

/// The row behind those of the interfaces, whose bytes are nanoseconds: when the last window ended.
const TIME_ROW: u32 = MAX_INTERFACES as u32;

/// What a daemon left.
#[derive(Debug, Default)]
pub(crate) struct Handover {
    /// What the ledger held, a row a slot.
    pub(crate) rows: Vec<LedgerSlot>,
    /// When its last window ended, by the kernel's clock; `None` where a version before left it.
    pub(crate) until_ns: Option<u64>,
}

/// Pins these rows, with the end of the last window by the kernel's clock.
pub(crate) fn write(path: &Path, rows: &[LedgerSlot], until_ns: u64) -> io::Result<()> {
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
        max_entries: TIME_ROW + 1,
    };
    let fd = bpf_fd(BPF_MAP_CREATE, &mut attr)?;
    // SAFETY: the kernel has just made it for us, and nobody else has it.
    let map = MapData::from_fd(unsafe { OwnedFd::from_raw_fd(fd) }).map_err(io::Error::other)?;
    let mut rows_map: Array<MapData, LedgerRow> = Array::try_from(Map::Array(map)).map_err(io::Error::other)?;
    for (slot, row) in rows.iter().enumerate().take(MAX_INTERFACES) {
        rows_map.set(slot as u32, LedgerRow(*row), 0).map_err(io::Error::other)?;
    }
    let time = LedgerSlot { seen_bytes: until_ns, ..LedgerSlot::default() };
    rows_map.set(TIME_ROW, LedgerRow(time), 0).map_err(io::Error::other)?;
    rows_map.pin(path).map_err(io::Error::other)
}

/// What is pinned there.
pub(crate) fn read(path: &Path) -> io::Result<Handover> {
    let map = MapData::from_pin(path).map_err(io::Error::other)?;
    let map: Array<MapData, LedgerRow> = Array::try_from(Map::Array(map)).map_err(io::Error::other)?;
    let rows: io::Result<_> = (0..TIME_ROW).map(|slot| Ok(map.get(&slot, 0).map_err(io::Error::other)?.0)).collect();
    let until_ns = map.get(&TIME_ROW, 0).ok().map(|row| row.0.seen_bytes);
    Ok(Handover { rows: rows?, until_ns })
}
