//! A flow table of the user engine.
//!
//! The tables of a large capture are larger than a processor's caches, so what costs time is waiting for memory: the index
//! holds 8 bytes a flow and is searched without looking at an entry, an entry begins with what every packet reads, and
//! wherever many entries are due at once ([`Table::look_ahead`], [`Table::drain`], [`Table::expire`]) a group of them is
//! read before the first is worked on, so that the waits overlap.

use std::hint::black_box;

use nta_common::{Counter, First, FlowStats, LedgerSlot};

use super::GROUP;
use super::deadlines::{Deadlines, UNLISTED};
use crate::source::Sink;
use crate::source::nested::Parents;
use crate::source::places::{PLACE_BYTES, Places};
use nta_core::domain::{EndReason, FlowId, FlowKey, FlowUpdate, IdentityScope, MapFill, Origin, Timestamp, Tracked};

/// Flows of one family with the limit of the kernel's map, and a list of what changed since the last drain.
pub(super) struct Table {
    name: &'static str,
    index: Places,
    entries: Vec<Entry>,
    /// Of each entry; `None` in a free one, and before the first drain.
    tracked: Vec<Option<Tracked>>,
    free: Vec<u32>,
    changed: Vec<u32>,
    deadlines: Deadlines,
    max_entries: u32,
    origin: Origin,
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
            index: Places::default(),
            entries: Vec::new(),
            tracked: Vec::new(),
            free: Vec::new(),
            changed: Vec::new(),
            deadlines: Deadlines::default(),
            max_entries,
            origin: Origin::default(),
        }
    }

    /// Names the flows that are new from now on.
    pub(super) const fn identify(&mut self, ids: IdentityScope) {
        self.origin.ids = ids;
    }

    /// Flows in the table.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Where an entry with this hash is, if there is one: of this key most likely, but that is not looked at.
    #[inline]
    pub(super) fn find(&self, hash: u32) -> Option<u32> {
        self.index.find(hash, |_| true)
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
        let slot = match self.index.find(hash, |slot| entries[slot as usize].key == *key) {
            Some(slot) => slot,
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
        self.index.insert(hash, slot);
        ledger.bump(Counter::FlowCreated);
        Some(slot)
    }

    /// The identity of a flow that was read before.
    pub(super) fn id(&self, key: &FlowKey, hash: u32) -> Option<FlowId> {
        let slot = self.index.find(hash, |slot| self.entries[slot as usize].key == *key)?;
        Some(self.tracked[slot as usize].as_ref()?.id)
    }

    /// Reads what changed; `parents` are the flows in which some lie.
    pub(super) fn drain(&mut self, parents: &Parents, sink: &mut Sink<'_>) {
        for group in self.changed.chunks(GROUP) {
            for slot in group {
                black_box((self.entries[*slot as usize].lines(), lines(self.tracked[*slot as usize].as_ref())));
            }
            for slot in group {
                let entry = &mut self.entries[*slot as usize];
                entry.changed = false;
                let flow = self.tracked[*slot as usize]
                    .get_or_insert_with(|| Tracked::new(&entry.key, &entry.stats, &self.origin));
                if !parents.is_empty()
                    && let Some(outer) = parents.get(&entry.key)
                {
                    flow.put_within(*outer);
                }
                flow.take(&entry.key, &entry.stats, &self.origin, None, sink);
                // A later deadline is found out when the listed one has come; only an earlier one is news.
                let interval = Deadlines::interval(flow.expiry(&entry.key, &entry.stats).0);
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
                    let (key, reading) = (&entry.key, &entry.stats);
                    let (deadline, reason) = flow.expiry(key, reading);
                    if now >= deadline {
                        sink(FlowUpdate { key, flow, reading, delta: None, ended: Some(reason) });
                        self.forget(*slot);
                    } else {
                        entry.listed = Deadlines::interval(deadline);
                        self.deadlines.list(entry.listed, *slot);
                    }
                }
            }
        }
    }

    pub(super) fn finish(&mut self, sink: &mut Sink<'_>) {
        for (entry, tracked) in self.entries.iter().zip(&self.tracked) {
            if let Some(flow) = tracked {
                let (key, reading) = (&entry.key, &entry.stats);
                sink(FlowUpdate { key, flow, reading, delta: None, ended: Some(EndReason::Shutdown) });
            }
        }
        *self = Self::new(self.name, self.max_entries);
    }

    fn forget(&mut self, slot: u32) {
        let entry = &mut self.entries[slot as usize];
        entry.listed = UNLISTED;
        self.tracked[slot as usize] = None;
        self.index.remove(entry.hash, slot);
        self.free.push(slot);
    }

    pub(super) fn fill(&self) -> MapFill {
        let each = (PLACE_BYTES + size_of::<Entry>() + size_of::<Option<Tracked>>()) as u64;
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

/// Something of each cache line of what is reported of a flow.
#[inline]
fn lines(flow: Option<&Tracked>) -> u64 {
    flow.map_or(0, |flow| flow.id.0 ^ flow.totals[0].packets ^ flow.totals[1].packets ^ flow.seen.as_nanos())
}
