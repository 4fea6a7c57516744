//! The user engine: the same parser and accounting over the capture's bytes, without privileges.

use std::collections::HashMap;
use std::hash::Hash;

use nta_common::{
    Clock, Counter, First, FlowKey4, FlowKey6, FlowStats, Flows, LedgerSlot, Packet, SliceReader, account,
};

use super::Engine;
use crate::domain::{EndReason, FlowKey, FlowUpdate, Interface, Ledger, MapFill, Timestamp, Tracked};
use crate::source::{FlowSource, Sink, SourceError};

/// Flow tables in memory.
pub struct UserEngine {
    name: String,
    flows: UserFlows,
    ledger: LedgerSlot,
}

struct UserFlows {
    v4: Table<FlowKey4>,
    v6: Table<FlowKey6>,
}

/// A flow table with the limit of the kernel's map, and a list of what changed since the last drain.
struct Table<K> {
    name: &'static str,
    index: HashMap<K, u32, foldhash::fast::RandomState>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    changed: Vec<u32>,
    max_entries: u32,
}

struct Entry {
    key: FlowKey,
    stats: FlowStats,
    /// `None` in a free slot, and before the first drain.
    tracked: Option<Tracked>,
    changed: bool,
}

/// The capture's time stamp.
struct CaptureClock(u64);

impl Clock for CaptureClock {
    fn coarse_ns(&self) -> u64 {
        self.0
    }

    fn exact_ns(&self) -> u64 {
        self.0
    }
}

impl UserEngine {
    /// Empty tables for `max_flows` IPv4 and IPv6 flows; `name` is the name of the capture.
    pub fn new(name: &str, max_flows: [u32; 2]) -> Self {
        let flows = UserFlows { v4: Table::new("FLOWS4", max_flows[0]), v6: Table::new("FLOWS6", max_flows[1]) };
        Self { name: name.to_owned(), flows, ledger: LedgerSlot::default() }
    }
}

impl Engine for UserEngine {
    fn inject(&mut self, time_ns: u64, wire_len: u32, data: &[u8]) -> Result<(), SourceError> {
        let reader = SliceReader::new(data, wire_len);
        account(&reader, &CaptureClock(time_ns), &mut self.flows, &mut self.ledger, &mut Packet::default());
        Ok(())
    }

    fn name(&self) -> &'static str {
        "user"
    }
}

impl Flows for UserFlows {
    #[inline]
    fn entry4(&mut self, key: &FlowKey4, first: &First<'_>, ledger: &mut LedgerSlot) -> Option<&mut FlowStats> {
        self.v4.entry(key, FlowKey::V4(*key), first, ledger)
    }

    #[inline]
    fn entry6(&mut self, key: &FlowKey6, first: &First<'_>, ledger: &mut LedgerSlot) -> Option<&mut FlowStats> {
        self.v6.entry(key, FlowKey::V6(*key), first, ledger)
    }
}

impl<K: Copy + Eq + Hash> Table<K> {
    fn new(name: &'static str, max_entries: u32) -> Self {
        Self {
            name,
            index: HashMap::default(),
            entries: Vec::new(),
            free: Vec::new(),
            changed: Vec::new(),
            max_entries,
        }
    }

    #[inline]
    fn entry(&mut self, key: &K, any: FlowKey, first: &First<'_>, ledger: &mut LedgerSlot) -> Option<&mut FlowStats> {
        let slot = match self.index.get(key) {
            Some(slot) => *slot,
            None => self.create(key, any, first, ledger)?,
        };
        let entry = &mut self.entries[slot as usize];
        if !entry.changed {
            entry.changed = true;
            self.changed.push(slot);
        }
        Some(&mut entry.stats)
    }

    fn create(&mut self, key: &K, any: FlowKey, first: &First<'_>, ledger: &mut LedgerSlot) -> Option<u32> {
        if self.index.len() >= self.max_entries as usize {
            ledger.bump(Counter::FlowInsertFailed);
            return None;
        }
        let mut stats = FlowStats::default();
        stats.begin(first);
        let entry = Entry { key: any, stats, tracked: None, changed: false };
        let slot = if let Some(slot) = self.free.pop() {
            self.entries[slot as usize] = entry;
            slot
        } else {
            self.entries.push(entry);
            self.entries.len() as u32 - 1
        };
        self.index.insert(*key, slot);
        ledger.bump(Counter::FlowCreated);
        Some(slot)
    }

    fn drain(&mut self, sink: &mut Sink<'_>) {
        for slot in self.changed.drain(..) {
            let Entry { key, stats, tracked, changed } = &mut self.entries[slot as usize];
            *changed = false;
            let flow = tracked.get_or_insert_with(|| Tracked::new(key, stats, 0));
            if let Some(delta) = flow.advance(stats, 0) {
                sink(FlowUpdate { key, flow, delta: Some(&delta), ended: None });
            }
        }
    }

    fn remove_if(&mut self, ended: impl Fn(&FlowKey, &Tracked) -> Option<EndReason>, sink: &mut Sink<'_>) {
        let Self { index, entries, free, .. } = self;
        index.retain(|_, slot| {
            let entry = &mut entries[*slot as usize];
            let Some(flow) = &entry.tracked else { return true };
            let Some(reason) = ended(&entry.key, flow) else { return true };
            sink(FlowUpdate { key: &entry.key, flow, delta: None, ended: Some(reason) });
            entry.tracked = None;
            free.push(*slot);
            false
        });
    }

    fn fill(&self) -> MapFill {
        let each = (size_of::<K>() + size_of::<u32>() + size_of::<Entry>()) as u64;
        MapFill {
            name: self.name.to_owned(),
            entries: self.index.len() as u64,
            max_entries: u64::from(self.max_entries),
            memory_bytes: self.entries.capacity() as u64 * each,
        }
    }
}

impl FlowSource for UserEngine {
    fn drain(&mut self, sink: &mut Sink<'_>) -> Result<(), SourceError> {
        self.flows.v4.drain(sink);
        self.flows.v6.drain(sink);
        Ok(())
    }

    fn expire(&mut self, now: Timestamp, sink: &mut Sink<'_>) -> Result<(), SourceError> {
        self.flows.v4.remove_if(|key, flow| flow.ended(key, now), sink);
        self.flows.v6.remove_if(|key, flow| flow.ended(key, now), sink);
        Ok(())
    }

    fn finish(&mut self, sink: &mut Sink<'_>) {
        self.flows.v4.remove_if(|_, _| Some(EndReason::Shutdown), sink);
        self.flows.v6.remove_if(|_, _| Some(EndReason::Shutdown), sink);
    }

    fn ledger(&mut self) -> Result<Ledger, SourceError> {
        Ok(Ledger { interfaces: vec![Interface { name: self.name.clone(), counts: self.ledger }] })
    }

    fn maps(&self) -> Vec<MapFill> {
        vec![self.flows.v4.fill(), self.flows.v6.fill()]
    }

    fn active(&self) -> u64 {
        (self.flows.v4.index.len() + self.flows.v6.index.len()) as u64
    }
}
