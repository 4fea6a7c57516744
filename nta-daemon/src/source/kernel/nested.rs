//! The map of what lies in which flow, where tunnels are opened.

use std::os::fd::AsFd as _;

use aya::maps::MapData;
use nta_common::tunnel::{Inner, Outer};
use nta_loader::Handles;
use nta_loader::elements::delete;

use super::read::MapReader;
use crate::source::SourceError;
use nta_core::domain::{FlowKey, MapFill};

const NAME: &str = "NESTED";
/// What an entry of an LRU map takes in the kernel beyond key and value (`struct htab_elem`, with its place in the list).
const ENTRY_OVERHEAD: u64 = 48;

/// The map.
pub(super) struct NestedMap {
    map: MapData,
    max_entries: u32,
    reader: MapReader<Inner, Outer>,
    entries: u64,
}

impl NestedMap {
    pub(super) fn take(handles: &mut Handles) -> Result<Self, SourceError> {
        let (map, max_entries) = handles.take_map(NAME)?;
        Ok(Self { map, max_entries, reader: MapReader::new(), entries: 0 })
    }

    /// Calls `visit` for every direction of a flow that lies in another one.
    pub(super) fn read(&mut self, mut visit: impl FnMut(&Inner, &Outer)) -> Result<(), SourceError> {
        let mut entries = 0;
        let count = |inner: &Inner, outer: &Outer| {
            entries += 1;
            visit(inner, outer);
        };
        let read = self.reader.for_each(self.map.fd().as_fd(), count);
        read.map_err(|source| SourceError::Map { name: NAME, source })?;
        self.entries = entries;
        Ok(())
    }

    /// Forgets a flow that is over.
    pub(super) fn forget(&self, key: &FlowKey) {
        for inner in key.inner() {
            // What is not there was forgotten before.
            let _ = delete(self.map.fd().as_fd(), &inner);
        }
    }

    pub(super) fn fill(&self) -> MapFill {
        let max_entries = u64::from(self.max_entries);
        let entry = (size_of::<Inner>() + size_of::<Outer>()) as u64 + ENTRY_OVERHEAD;
        MapFill { name: NAME.to_owned(), entries: self.entries, max_entries, memory_bytes: max_entries * entry }
    }
}
