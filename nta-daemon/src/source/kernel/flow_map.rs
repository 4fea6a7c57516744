//! One of the flow maps: read whole, and one entry taken out.

use std::os::fd::AsFd as _;

use aya::maps::MapData;
use nta_common::FlowStats;
use nta_loader::Handles;
use nta_loader::elements::{delete, lookup, lookup_and_delete};

use super::read::MapReader;
use crate::source::SourceError;
use nta_core::domain::MapFill;

/// What a hash map entry takes in the kernel beyond key and value (`struct htab_elem`).
pub(super) const ENTRY_OVERHEAD: u64 = 48;

/// A flow map, and how full it was at the last reading.
pub(super) struct FlowMap<K> {
    name: &'static str,
    map: MapData,
    max_entries: u32,
    reader: MapReader<K, FlowStats>,
    entries: u64,
}

impl<K: aya::Pod + Send> FlowMap<K> {
    pub(super) fn take(handles: &mut Handles, name: &'static str) -> Result<Self, SourceError> {
        let (map, max_entries) = handles.take_map(name)?;
        Ok(Self { name, map, max_entries, reader: MapReader::new(), entries: 0 })
    }

    pub(super) fn drain(&mut self, mut visit: impl FnMut(&K, &FlowStats)) -> Result<(), SourceError> {
        let name = self.name;
        let mut entries = 0;
        self.reader
            .for_each(self.map.fd().as_fd(), |key, value| {
                entries += 1;
                visit(key, value);
            })
            .map_err(|source| SourceError::Map { name, source })?;
        self.entries = entries;
        Ok(())
    }

    /// Removes an entry and returns what it held at that moment.
    pub(super) fn remove(&mut self, key: &K) -> Result<Option<FlowStats>, SourceError> {
        let name = self.name;
        let failed = |source| SourceError::Map { name, source };
        let fd = self.map.fd().as_fd();
        match lookup_and_delete(fd, key) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                // Before 5.14 the two steps are apart; a packet that falls between them is missed by this flow, and
                // the ledger of the kernel still has it.
                let last = lookup(fd, key).map_err(failed)?;
                delete(fd, key).map_err(failed)?;
                Ok(last)
            }
            removed => removed.map_err(failed),
        }
    }

    pub(super) fn fill(&self) -> MapFill {
        let entry = (size_of::<K>() + size_of::<FlowStats>()) as u64 + ENTRY_OVERHEAD;
        let max_entries = u64::from(self.max_entries);
        MapFill { name: self.name.to_owned(), entries: self.entries, max_entries, memory_bytes: max_entries * entry }
    }
}
