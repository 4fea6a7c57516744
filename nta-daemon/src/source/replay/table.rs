//! A flow table of the user engine.
//!
//! The tables of a large capture are larger than a processor's caches, so what costs time is waiting for memory: the index
//! holds 8 bytes a flow and is searched without looking at an entry, an entry begins with what every packet reads, and
//! wherever many entries are due at once ([`Table::look_ahead`], [`Table::drain`], [`Table::expire`]) a group of them is
//! read before the first is worked on, so that the waits overlap.

use std::hint::black_box;

use hashbrown::HashTable;
use nta_common::{Counter, First, FlowStats, LedgerSlot};

use super::GROUP;
use super::deadlines::{Deadlines, UNLISTED};
use crate::domain::{EndReason, FlowKey, FlowUpdate, MapFill, Timestamp, Tracked};
use crate::source::Sink;

/// Flows of one family with the limit of the kernel's map, and a list of what changed since the last drain.
pub(super) struct Table {
    name: &'static str,
    index: HashTable<Place>,
    entries: Vec<Entry>,
    /// Of each entry; `None` in a free one, and before the first drain.
    tracked: Vec<Option<Tracked>>,
    free: Vec<u32>,
    changed: Vec<u32>,
    deadlines: Deadlines,
    max_entries: u32,
}

/// Where the entry of a key with this hash is.
#[derive(Clone, Copy)]
struct Place {
    hash: u32,
    slot: u32,
}

#[repr(C, align(64))] // in this order, from the start of a cache line
struct Entry {
    key: FlowKey,
    /// The earliest interval of [`Deadlines`] in which the entry is listed.
    listed: u64,
    hash: u32,
    changed: bool,
    stats: FlowStats,
}

impl Table {
    pub(super) fn new(name: &'static str, max_entries: u32) -> Self {
        Self {
            name,
            index: HashTable::new(),
            entries: Vec::new(),
            tracked: Vec::new(),
            free: Vec::new(),
            changed: Vec::new(),
            deadlines: Deadlines::default(),
            max_entries,
        }
    }

    /// Flows in the table.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Where an entry with this hash is, if there is one: of this key most likely, but that is not looked at.
    #[inline]
    pub(super) fn find(&self, hash: u32) -> Option<u32> {
        self.index.find(spread(hash), |place| place.hash == hash).map(|place| place.slot)
    }

    /// Reads what a packet of this entry will read.
    #[inline]
    pub(super) fn look_ahead(&self, slot: u32) {
        black_box(self.entries[slot as usize].lines());
    }

    #[inline]
    pub(super) fn entry(
        &mut self,
        key: &FlowKey,
        hash: u32,
        first: &First<'_>,
        ledger: &mut LedgerSlot,
    ) -> Option<&mut FlowStats> {
        let entries = &self.entries;
        let is_it = |place: &Place| place.hash == hash && entries[place.slot as usize].key == *key;
        let slot = match self.index.find(spread(hash), is_it) {
            Some(place) => place.slot,
            None => self.create(key, hash, first, ledger)?,
        };
        let entry = &mut self.entries[slot as usize];
        if !entry.changed {
            entry.changed = true;
            self.changed.push(slot);
        }
        Some(&mut entry.stats)
    }

    fn create(&mut self, key: &FlowKey, hash: u32, first: &First<'_>, ledger: &mut LedgerSlot) -> Option<u32> {
        if self.index.len() >= self.max_entries as usize {
            ledger.bump(Counter::FlowInsertFailed);
            return None;
        }
        let slot = if let Some(slot) = self.free.pop() {
            let entry = &mut self.entries[slot as usize];
            (entry.key, entry.hash, entry.stats) = (*key, hash, FlowStats::default());
            slot
        } else {
            let stats = FlowStats::default();
            self.entries.push(Entry { key: *key, listed: UNLISTED, hash, changed: false, stats });
            self.tracked.push(None);
            self.entries.len() as u32 - 1
        };
        self.entries[slot as usize].stats.begin(first);
        self.index.insert_unique(spread(hash), Place { hash, slot }, |place| spread(place.hash));
        ledger.bump(Counter::FlowCreated);
        Some(slot)
    }

    pub(super) fn drain(&mut self, sink: &mut Sink<'_>) {
        for group in self.changed.chunks(GROUP) {
            for slot in group {
                black_box((self.entries[*slot as usize].lines(), lines(self.tracked[*slot as usize].as_ref())));
            }
            for slot in group {
                let entry = &mut self.entries[*slot as usize];
                entry.changed = false;
                let flow =
                    self.tracked[*slot as usize].get_or_insert_with(|| Tracked::new(&entry.key, &entry.stats, 0));
                if let Some((delta, next)) = flow.split(&entry.key, &entry.stats, 0) {
                    let ended = Some(EndReason::Closed);
                    sink(FlowUpdate { key: &entry.key, flow, delta: delta.as_ref(), ended });
                    *flow = next;
                }
                if let Some(delta) = flow.advance(&entry.stats, 0) {
                    sink(FlowUpdate { key: &entry.key, flow, delta: Some(&delta), ended: None });
                }
                // A later deadline is found out when the listed one has come; only an earlier one is news.
                let interval = Deadlines::interval(flow.deadline(&entry.key));
                if interval < entry.listed {
                    entry.listed = interval;
                    self.deadlines.list(interval, *slot);
                }
            }
        }
        self.changed.clear();
    }

    pub(super) fn expire(&mut self, now: Timestamp, sink: &mut Sink<'_>) {
        for (interval, slots) in self.deadlines.due(now) {
            for group in slots.chunks(GROUP) {
                for slot in group {
                    black_box((self.entries[*slot as usize].listed, lines(self.tracked[*slot as usize].as_ref())));
                }
                for slot in group {
                    let entry = &mut self.entries[*slot as usize];
                    let Some(flow) = self.tracked[*slot as usize].as_ref().filter(|_| entry.listed == interval) else {
                        continue;
                    };
                    if let Some(reason) = flow.ended(&entry.key, now) {
                        sink(FlowUpdate { key: &entry.key, flow, delta: None, ended: Some(reason) });
                        self.forget(*slot);
                    } else {
                        entry.listed = Deadlines::interval(flow.deadline(&entry.key));
                        self.deadlines.list(entry.listed, *slot);
                    }
                }
            }
        }
    }

    pub(super) fn finish(&mut self, sink: &mut Sink<'_>) {
        for (entry, tracked) in self.entries.iter().zip(&self.tracked) {
            if let Some(flow) = tracked {
                sink(FlowUpdate { key: &entry.key, flow, delta: None, ended: Some(EndReason::Shutdown) });
            }
        }
        *self = Self::new(self.name, self.max_entries);
    }

    fn forget(&mut self, slot: u32) {
        let entry = &mut self.entries[slot as usize];
        entry.listed = UNLISTED;
        self.tracked[slot as usize] = None;
        if let Ok(place) = self.index.find_entry(spread(entry.hash), |place| place.slot == slot) {
            place.remove();
        }
        self.free.push(slot);
    }

    pub(super) fn fill(&self) -> MapFill {
        let each = (size_of::<Place>() + size_of::<Entry>() + size_of::<Option<Tracked>>()) as u64;
        MapFill {
            name: self.name.to_owned(),
            entries: self.index.len() as u64,
            max_entries: u64::from(self.max_entries),
            memory_bytes: self.entries.capacity() as u64 * each,
        }
    }
}

impl Entry {
    /// Something of each cache line that a packet changes.
    #[inline]
    fn lines(&self) -> u64 {
        let [a, b] = &self.stats.dir;
        let tcp = [a.tcp.flags, b.tcp.flags].map(u64::from);
        let more = [a.tcp.resent, b.tcp.resent, self.stats.tcp.handshake_responder_us].map(u64::from);
        u64::from(self.hash) ^ self.stats.last_ns ^ tcp[0] ^ tcp[1] ^ more[0] ^ more[1] ^ more[2]
    }
}

/// Something of the cache lines that a drain reads first.
#[inline]
fn lines(flow: Option<&Tracked>) -> u64 {
    let Some(flow) = flow else { return 0 };
    let [a, b] = &flow.last.dir;
    let tcp = [u32::from(a.tcp.flags), u32::from(b.tcp.flags), a.tcp.resent, b.tcp.resent, flow.last.cut.count];
    flow.id.0 ^ flow.totals[0].packets ^ flow.totals[1].packets ^ tcp.iter().fold(0, |all, one| all ^ u64::from(*one))
}

/// 64 bits as the index wants them: it takes the place from the lower ones and a tag from the upper ones.
#[inline]
const fn spread(hash: u32) -> u64 {
    (hash as u64) << 32 | hash as u64
}
