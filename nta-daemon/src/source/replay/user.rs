//! The user engine: the same parser and accounting over the capture's bytes, without privileges.

use std::collections::HashMap;
use std::hash::Hash;

use nta_common::limits::MAX_OVERFLOWS;
use nta_common::{
    Clock, Counter, CpuSlot, First, FlowKey4, FlowKey6, FlowStats, Flows, FragmentKey, FragmentPorts, LedgerSlot,
    OverflowKey, SliceReader, Volume, account,
};

use super::Engine;
use super::deadlines::{Deadlines, UNLISTED};
use super::events::UserEvents;
use super::fragments::Fragments;
use crate::domain::{EndReason, Event, FlowKey, FlowUpdate, Interface, Ledger, MapFill, OverflowDelta};
use crate::domain::{Timestamp, Tracked};
use crate::source::{EventSettings, FlowSource, Sink, SourceError};

/// Flow tables in memory.
pub struct UserEngine {
    name: String,
    flows: UserFlows,
    slot: CpuSlot,
    events: UserEvents,
    tunnels: bool,
}

struct UserFlows {
    v4: Table<FlowKey4>,
    v6: Table<FlowKey6>,
    /// What was counted of each destination, now and at the last reading.
    overflow: HashMap<OverflowKey, [Volume; 2], foldhash::fast::RandomState>,
    fragments: Fragments,
}

/// A flow table with the limit of the kernel's map, and a list of what changed since the last drain.
struct Table<K> {
    name: &'static str,
    index: HashMap<K, u32, foldhash::fast::RandomState>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    changed: Vec<u32>,
    deadlines: Deadlines,
    max_entries: u32,
}

struct Entry {
    key: FlowKey,
    stats: FlowStats,
    /// `None` in a free slot, and before the first drain.
    tracked: Option<Tracked>,
    changed: bool,
    /// The earliest interval of [`Deadlines`] in which the entry is listed.
    listed: u64,
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
    pub fn new(name: &str, max_flows: [u32; 2], tunnels: bool, events: EventSettings) -> Self {
        let flows = UserFlows {
            v4: Table::new("FLOWS4", max_flows[0]),
            v6: Table::new("FLOWS6", max_flows[1]),
            overflow: HashMap::default(),
            fragments: Fragments::default(),
        };
        let (slot, events) = (CpuSlot::default(), UserEvents::new(events));
        Self { name: name.to_owned(), flows, slot, events, tunnels }
    }
}

impl Engine for UserEngine {
    fn inject(&mut self, time_ns: u64, wire_len: u32, data: &[u8]) -> Result<(), SourceError> {
        let reader = SliceReader::new(data, wire_len).with_tunnels(self.tunnels);
        account(&reader, &CaptureClock(time_ns), &mut self.flows, &mut self.events, &mut self.slot);
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

    fn overflow(&mut self, key: &OverflowKey) -> Option<&mut Volume> {
        if self.overflow.len() >= MAX_OVERFLOWS as usize && !self.overflow.contains_key(key) {
            return None;
        }
        self.overflow.entry(*key).or_default().first_mut()
    }

    fn remember(&mut self, key: &FragmentKey, ports: FragmentPorts) {
        self.fragments.remember(key, ports);
    }

    fn recall(&mut self, key: &FragmentKey) -> Option<FragmentPorts> {
        self.fragments.recall(key)
    }
}

/// A key of one family.
trait FamilyKey: Copy + Eq + Hash {
    fn of(any: &FlowKey) -> Option<Self>;
}

impl FamilyKey for FlowKey4 {
    fn of(any: &FlowKey) -> Option<Self> {
        if let FlowKey::V4(key) = any { Some(*key) } else { None }
    }
}

impl FamilyKey for FlowKey6 {
    fn of(any: &FlowKey) -> Option<Self> {
        if let FlowKey::V6(key) = any { Some(*key) } else { None }
    }
}

impl<K: FamilyKey> Table<K> {
    fn new(name: &'static str, max_entries: u32) -> Self {
        Self {
            name,
            index: HashMap::default(),
            entries: Vec::new(),
            free: Vec::new(),
            changed: Vec::new(),
            deadlines: Deadlines::default(),
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
        let entry = Entry { key: any, stats, tracked: None, changed: false, listed: UNLISTED };
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
            let entry = &mut self.entries[slot as usize];
            entry.changed = false;
            let flow = entry.tracked.get_or_insert_with(|| Tracked::new(&entry.key, &entry.stats, 0));
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
                self.deadlines.list(interval, slot);
            }
        }
    }

    fn expire(&mut self, now: Timestamp, sink: &mut Sink<'_>) {
        for (interval, slots) in self.deadlines.due(now) {
            for slot in slots {
                let entry = &mut self.entries[slot as usize];
                let Some(flow) = entry.tracked.as_ref().filter(|_| entry.listed == interval) else { continue };
                if let Some(reason) = flow.ended(&entry.key, now) {
                    sink(FlowUpdate { key: &entry.key, flow, delta: None, ended: Some(reason) });
                    self.forget(slot);
                } else {
                    entry.listed = Deadlines::interval(flow.deadline(&entry.key));
                    self.deadlines.list(entry.listed, slot);
                }
            }
        }
    }

    fn finish(&mut self, sink: &mut Sink<'_>) {
        for entry in &self.entries {
            if let Some(flow) = &entry.tracked {
                sink(FlowUpdate { key: &entry.key, flow, delta: None, ended: Some(EndReason::Shutdown) });
            }
        }
        *self = Self::new(self.name, self.max_entries);
    }

    fn forget(&mut self, slot: u32) {
        let entry = &mut self.entries[slot as usize];
        entry.tracked = None;
        entry.listed = UNLISTED;
        if let Some(key) = K::of(&entry.key) {
            self.index.remove(&key);
        }
        self.free.push(slot);
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

    fn overflows(&mut self, sink: &mut dyn FnMut(OverflowDelta)) -> Result<(), SourceError> {
        self.flows.overflow.retain(|key, [now, last]| {
            let counts = now.since(last);
            *last = *now;
            if counts.packets > 0 {
                sink(OverflowDelta::new(key, counts));
            }
            counts.packets > 0
        });
        Ok(())
    }

    fn events(&mut self, sink: &mut dyn FnMut(Event)) -> Result<(), SourceError> {
        self.events.read(sink);
        Ok(())
    }

    fn expire(&mut self, now: Timestamp, sink: &mut Sink<'_>) -> Result<(), SourceError> {
        self.flows.v4.expire(now, sink);
        self.flows.v6.expire(now, sink);
        Ok(())
    }

    fn finish(&mut self, sink: &mut Sink<'_>) {
        self.flows.v4.finish(sink);
        self.flows.v6.finish(sink);
    }

    fn ledger(&mut self) -> Result<Ledger, SourceError> {
        Ok(Ledger { interfaces: vec![Interface { name: self.name.clone(), counts: self.slot.ledger }] })
    }

    fn maps(&self) -> Vec<MapFill> {
        vec![self.flows.v4.fill(), self.flows.v6.fill()]
    }

    fn active(&self) -> u64 {
        (self.flows.v4.index.len() + self.flows.v6.index.len()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// An IPv4/UDP frame from 192.0.2.1:1000 to 198.51.100.`to`:53; `field` is the fragment field.
    fn udp(id: u8, field: u16, to: u8) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([8, 0, 0x45, 0, 0, 36, 0, id]);
        frame.extend(field.to_be_bytes());
        frame.extend([
            64, 17, 0, 0, 192, 0, 2, 1, 198, 51, 100, to, 3, 0xe8, 0, 53, 0, 16, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8,
        ]);
        frame
    }

    fn flows(engine: &mut UserEngine) -> Vec<(u16, u64)> {
        let mut flows = Vec::new();
        let mut sink =
            |update: FlowUpdate<'_>| flows.push((update.key.endpoints()[1].1, update.flow.totals[0].packets));
        engine.drain(&mut sink).expect("no I/O here");
        flows.sort_unstable();
        flows
    }

    #[test]
    fn later_fragments_are_counted_in_the_flow_of_the_first() {
        let mut engine = UserEngine::new("test", [8, 8], false, EventSettings::default());
        let mut inject = |second: u64, frame: &[u8]| engine.inject(second * SECOND, frame.len() as u32, frame);
        inject(1, &udp(1, 0x2000, 2)).expect("accounted");
        inject(2, &udp(1, 0x2005, 2)).expect("accounted");
        inject(3, &udp(2, 0x0005, 2)).expect("accounted"); // of a datagram whose first fragment was not seen
        inject(100, &udp(1, 0x0005, 2)).expect("accounted"); // too late for the first datagram
        assert_eq!(flows(&mut engine), [(0, 2), (53, 2)]);
        let count = |counter| engine.slot.ledger.get(counter);
        assert_eq!((count(Counter::FragmentHit), count(Counter::FragmentMiss)), (1, 2));
    }

    #[test]
    fn what_finds_the_table_full_is_counted_by_destination() {
        let mut engine = UserEngine::new("test", [1, 1], false, EventSettings::default());
        for (second, to) in [(1, 2), (1, 3), (2, 3), (2, 4), (2, 2)] {
            let frame = udp(0, 0, to);
            engine.inject(second * SECOND, frame.len() as u32, &frame).expect("accounted");
        }
        assert_eq!(flows(&mut engine), [(53, 2)]);
        let mut told = Vec::new();
        engine.overflows(&mut |o| told.push((o.destination.to_string(), o.port, o.counts.packets))).expect("no I/O");
        told.sort();
        assert_eq!(told, [("198.51.100.3".to_owned(), 53, 2), ("198.51.100.4".to_owned(), 53, 1)]);
        assert_eq!((engine.slot.ledger.get(Counter::Overflow), engine.slot.ledger.imbalance()), (3, 0));
        engine.overflows(&mut |o| panic!("told twice: {o:?}")).expect("no I/O");
    }
}
