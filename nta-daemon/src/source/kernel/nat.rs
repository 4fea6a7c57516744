//! The maps of translated connections: which flow the answers of each are counted in.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::BuildHasher;
use std::os::fd::AsFd as _;

use aya::Pod;
use aya::maps::{Map, MapData};
use nta_common::nat::{Key, Translated, Tuple, translation};
use nta_common::{FlowKey4, FlowKey6};

use super::elements::{lookup, update};
use super::older::{Connection, connections};
use super::read::MapReader;
use crate::source::SourceError;
use nta_core::domain::{FlowKey, MapFill, Translation};

/// What an entry of an LRU map takes in the kernel beyond key and value (`struct htab_elem`, with its place in the list).
const ENTRY_OVERHEAD: u64 = 48;

/// Both maps.
pub(super) struct Translations {
    v4: NatMap<FlowKey4>,
    v6: NatMap<FlowKey6>,
    /// When the last one was learned that is known.
    newest: u64,
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
        let (v4, v6) = (NatMap::take(ebpf, "NAT4", max_entries[0])?, NatMap::take(ebpf, "NAT6", max_entries[1])?);
        Ok(Self { v4, v6, newest: 0 })
    }

    /// Learns the names of the connections that the kernel has now, at this tick of its clock; returns how many were new. As many as
    /// there is room for: one more would push another out.
    pub(super) fn learn(&mut self, tick: u64) -> std::io::Result<u64> {
        let (mut new, mut seen) = (0, [0; 2]);
        let mut failed = Ok(());
        connections(|connection| {
            let learned = match &connection {
                Connection::V4(names) => self.v4.learn(names, tick, &mut seen[0]),
                Connection::V6(names) => self.v6.learn(names, tick, &mut seen[1]),
            };
            match learned {
                Ok(learned) => new += u64::from(learned),
                Err(error) => failed = Err(error),
            }
            failed.is_ok()
        })?;
        failed.map(|()| new)
    }

    /// The names of all translated connections, by the key under which they are counted. Returns under which keys the answers of
    /// those were counted that are new, if any came before their connection was learned.
    pub(super) fn read<S: BuildHasher>(
        &mut self,
        names: &mut HashMap<FlowKey, Translation, S>,
    ) -> Result<Vec<FlowKey>, SourceError> {
        names.clear();
        let (mut before, known) = (Vec::new(), self.newest);
        let mut new = |answers: FlowKey, learned: u64, requester: usize| {
            self.newest = self.newest.max(learned);
            if learned >= known {
                before.push(of_its_own(answers, requester));
            }
        };
        self.v4.read(FlowKey::V4, names, &mut new)?;
        self.v6.read(FlowKey::V6, names, &mut new)?;
        Ok(before)
    }

    pub(super) fn fill(&self) -> [MapFill; 2] {
        [self.v4.fill(), self.v6.fill()]
    }
}

/// The key of a flow that answers make where nothing is known of their connection; `requester` is the place of whom they go to.
fn of_its_own(answers: FlowKey, requester: usize) -> FlowKey {
    let ports =
        |(_, request, reply): (u8, u8, u8)| [0, 1].map(|end| u16::from(if end == requester { request } else { reply }));
    match answers {
        FlowKey::V4(key) if key.proto() == FlowKey4::ICMP.0 => {
            let ([a, b], [a_port, b_port]) = (key.addresses(), ports(FlowKey4::ICMP));
            FlowKey::V4(Key::between((a, a_port), (b, b_port), key.proto()).0)
        }
        FlowKey::V6(key) if key.proto() == FlowKey6::ICMP.0 => {
            let words = |address: u128| [(address >> 64) as u64, address as u64];
            let ([a, b], [a_port, b_port]) = (key.addresses().map(words), ports(FlowKey6::ICMP));
            FlowKey::V6(Key::between((a, a_port), (b, b_port), key.proto()).0)
        }
        key => key,
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

    /// Whether these names are new.
    fn learn(&self, [first, answer]: &[Tuple<K::Address>; 2], tick: u64, seen: &mut u32) -> std::io::Result<bool>
    where
        K: Key,
    {
        let Some((answers, translated)) = translation::<K>(first, answer) else { return Ok(false) };
        *seen += 1;
        if *seen > self.max_entries {
            return Ok(false);
        }
        let fd = self.map.fd().as_fd();
        if lookup(fd, &answers)?.is_some_and(|known: Translated<K>| known.agrees(&translated)) {
            return Ok(false);
        }
        update(fd, &answers, &translated.learned_at(tick)).map(|()| true)
    }

    fn read<S: BuildHasher>(
        &mut self,
        key: fn(K) -> FlowKey,
        names: &mut HashMap<FlowKey, Translation, S>,
        learned: &mut dyn FnMut(FlowKey, u64, usize),
    ) -> Result<(), SourceError> {
        let mut entries = 0;
        let name = self.name;
        let visit = |answers: &K, translated: &Translated<K>| {
            entries += 1;
            let counted = key(*translated.key());
            let requester = translated.originator() ^ usize::from(translated.is_turned());
            learned(key(*answers), translated.learned(), requester);
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
