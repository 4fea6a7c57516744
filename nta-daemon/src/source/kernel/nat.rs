//! The maps of translated connections: which flow the answers of each are counted in.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::BuildHasher;
use std::os::fd::AsFd as _;

use aya::Pod;
use aya::maps::{Map, MapData};
use nta_common::nat::Translated;
use nta_common::{FlowKey4, FlowKey6};

use super::read::MapReader;
use crate::source::SourceError;
use nta_core::domain::{FlowKey, MapFill, Translation};

/// What an entry of an LRU map takes in the kernel beyond key and value (`struct htab_elem`, with its place in the list).
const ENTRY_OVERHEAD: u64 = 48;

/// Both maps.
pub(super) struct Translations {
    v4: NatMap<FlowKey4>,
    v6: NatMap<FlowKey6>,
}

struct NatMap<K> {
    name: &'static str,
    map: MapData,
    max_entries: u32,
    reader: MapReader<K, Translated<K>>,
    entries: u64,
}

impl Translations {
    pub(super) fn take(ebpf: &mut aya::Ebpf, max_entries: [u32; 2]) -> Result<Self, SourceError> {
        Ok(Self { v4: NatMap::take(ebpf, "NAT4", max_entries[0])?, v6: NatMap::take(ebpf, "NAT6", max_entries[1])? })
    }

    /// The names of all translated connections, by the key under which they are counted.
    pub(super) fn read<S: BuildHasher>(
        &mut self,
        names: &mut HashMap<FlowKey, Translation, S>,
    ) -> Result<(), SourceError> {
        names.clear();
        self.v4.read(FlowKey::V4, names)?;
        self.v6.read(FlowKey::V6, names)
    }

    pub(super) fn fill(&self) -> [MapFill; 2] {
        [self.v4.fill(), self.v6.fill()]
    }
}

impl<K: Pod + Send> NatMap<K>
where
    Translated<K>: Pod + Send,
{
    fn take(ebpf: &mut aya::Ebpf, name: &'static str, max_entries: u32) -> Result<Self, SourceError> {
        let Some(Map::LruHashMap(map)) = ebpf.take_map(name) else { return Err(SourceError::Missing(name)) };
        Ok(Self { name, map, max_entries, reader: MapReader::new(), entries: 0 })
    }

    fn read<S: BuildHasher>(
        &mut self,
        key: fn(K) -> FlowKey,
        names: &mut HashMap<FlowKey, Translation, S>,
    ) -> Result<(), SourceError> {
        let mut entries = 0;
        let name = self.name;
        let visit = |answers: &K, translated: &Translated<K>| {
            entries += 1;
            let counted = key(*translated.key());
            let new = Translation::of(&counted, &key(*answers), translated);
            // Of several names that a connection had in turn, the last one is its own.
            match names.entry(counted) {
                Entry::Vacant(place) => {
                    place.insert(new);
                }
                Entry::Occupied(mut known) if known.get().learned < new.learned => {
                    known.insert(new);
                }
                Entry::Occupied(_) => {}
            }
        };
        self.reader.for_each(self.map.fd().as_fd(), visit).map_err(|source| SourceError::Map { name, source })?;
        self.entries = entries;
        Ok(())
    }

    fn fill(&self) -> MapFill {
        let entry = (size_of::<K>() + size_of::<Translated<K>>()) as u64 + ENTRY_OVERHEAD;
        let max_entries = u64::from(self.max_entries);
        MapFill { name: self.name.to_owned(), entries: self.entries, max_entries, memory_bytes: max_entries * entry }
    }
}
