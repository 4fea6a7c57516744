//! The flows of one address family: two maps read as one, and one flow taken out.
//!
//! A flow begins with an entry among those of one packet; a second packet makes a whole entry of it, in which the first one is as well.
//! The first entry stays, so that of two CPUs none begins the flow anew beside the whole entry; once that was read, it may go.

use std::io;
use std::os::fd::AsFd as _;

use aya::Pod;
use aya::maps::MapData;
use nta_common::{Embryo, FlowKey4, FlowKey6, FlowStats};
use nta_loader::Handles;
use nta_loader::elements::{delete, delete_all, lookup, lookup_and_delete};

use super::read::MapReader;
use super::tracker::Tracker;
use crate::source::SourceError;
use nta_core::domain::{FlowKey, MapFill, Origin};

/// What a hash map entry takes in the kernel beyond key and value (`struct htab_elem`).
pub(super) const ENTRY_OVERHEAD: u64 = 48;

/// What is read of a flow.
#[derive(Clone, Copy)]
pub(super) enum Reading<'a> {
    /// Its entry.
    Whole(&'a FlowStats),
    /// Its first packet.
    First(&'a Embryo),
}

impl Reading<'_> {
    /// What the entry of a flow of this protocol holds with that; `None` if no packet is counted there.
    pub(super) fn stats(self, proto: u8) -> Option<FlowStats> {
        match self {
            Self::Whole(flow) => Some(*flow),
            Self::First(first) if first.is_claim() => None,
            Self::First(first) => Some(first.grown(proto)),
        }
    }
}

/// The flows of one address family, and how full their maps were at the last reading.
pub(super) struct FlowMap<K> {
    whole: HashMap<K, FlowStats>,
    embryos: HashMap<K, Embryo>,
    /// Entries among those of one packet that are of no use any more.
    over: Vec<K>,
}

impl<K: Pod + Send> FlowMap<K> {
    pub(super) fn take(handles: &mut Handles, [whole, embryos]: [&'static str; 2]) -> Result<Self, SourceError> {
        let (whole, embryos) = (HashMap::take(handles, whole)?, HashMap::take(handles, embryos)?);
        Ok(Self { whole, embryos, over: Vec::new() })
    }

    /// Visits whole entries, then those of one packet, and removes those of the latter for which `visit` says so.
    pub(super) fn drain(&mut self, mut visit: impl FnMut(&K, Reading<'_>) -> bool) -> Result<(), SourceError> {
        self.whole.read(|key, flow| {
            visit(key, Reading::Whole(flow));
        })?;
        // After a reading that failed the keys of it say nothing any more: others may have begun under them.
        self.over.clear();
        let over = &mut self.over;
        self.embryos.read(|key, embryo| {
            if visit(key, Reading::First(embryo)) {
                over.push(*key);
            }
        })?;
        delete_all(self.embryos.map.fd().as_fd(), &self.over).map_err(|error| self.embryos.failed(error))?;
        self.over.clear();
        self.over.shrink_to(KEPT_ROOM);
        Ok(())
    }

    /// Removes a flow of this protocol and returns what it held at that moment. Its first packet goes first: while there is a whole entry,
    /// nobody looks for that.
    pub(super) fn remove(&mut self, key: &K, proto: u8) -> Result<Option<FlowStats>, SourceError> {
        let first = self.embryos.remove(key)?;
        let whole = self.whole.remove(key)?;
        Ok(whole.or_else(|| first.filter(|first| !first.is_claim()).map(|first| first.grown(proto))))
    }

    pub(super) fn fill(&self) -> [MapFill; 2] {
        [self.whole.fill(), self.embryos.fill()]
    }
}

/// Before the first reading: flows of one packet that a run before reported in rows of many.
pub(super) fn recall(
    (v4, v6): (&mut FlowMap<FlowKey4>, &mut FlowMap<FlowKey6>),
    tracker: &mut Tracker,
    origin: &Origin,
) -> Result<(), SourceError> {
    if tracker.recalls() {
        v4.embryos.read(|key, first| tracker.recall(FlowKey::V4(*key), first, origin))?;
        v6.embryos.read(|key, first| tracker.recall(FlowKey::V6(*key), first, origin))?;
    }
    Ok(())
}

/// Keys for which room is kept between two readings.
const KEPT_ROOM: usize = 4096;

/// One of the maps.
struct HashMap<K, V> {
    name: &'static str,
    map: MapData,
    max_entries: u32,
    reader: MapReader<K, V>,
    entries: u64,
}

impl<K: Pod + Send, V: Pod + Send> HashMap<K, V> {
    fn take(handles: &mut Handles, name: &'static str) -> Result<Self, SourceError> {
        let (map, max_entries) = handles.take_map(name)?;
        Ok(Self { name, map, max_entries, reader: MapReader::new(), entries: 0 })
    }

    fn failed(&self, source: io::Error) -> SourceError {
        SourceError::Map { name: self.name, source }
    }

    fn read(&mut self, mut visit: impl FnMut(&K, &V)) -> Result<(), SourceError> {
        let mut entries = 0;
        let read = self.reader.for_each(self.map.fd().as_fd(), |key, value| {
            entries += 1;
            visit(key, value);
        });
        self.entries = entries;
        read.map_err(|source| self.failed(source))
    }

    /// Removes an entry and returns what it held at that moment.
    fn remove(&self, key: &K) -> Result<Option<V>, SourceError> {
        let fd = self.map.fd().as_fd();
        match lookup_and_delete(fd, key) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                // Before 5.14 the two steps are apart; a packet that falls between them is missed by this flow, and
                // the ledger of the kernel still has it.
                let last = lookup(fd, key).map_err(|source| self.failed(source))?;
                delete(fd, key).map_err(|source| self.failed(source))?;
                Ok(last)
            }
            removed => removed.map_err(|source| self.failed(source)),
        }
    }

    fn fill(&self) -> MapFill {
        let entry = (size_of::<K>() + size_of::<V>()) as u64 + ENTRY_OVERHEAD;
        let max_entries = u64::from(self.max_entries);
        MapFill { name: self.name.to_owned(), entries: self.entries, max_entries, memory_bytes: max_entries * entry }
    }
}
