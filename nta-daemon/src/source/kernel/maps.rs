//! The maps of the loaded programs as a [`FlowSource`].

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd as _;

use aya::maps::{Map, MapData, PerCpuArray};
use nta_common::flow::Counts;
use nta_common::limits::MAX_OVERFLOWS;
use nta_common::{CpuSlot, FlowKey4, FlowKey6, LedgerSlot, OverflowKey, Volume};
use nta_loader::elements::{delete, lookup, lookup_and_delete};
use nta_loader::{Assigned, Attached, Handles, LEFT, Pinned, monotonic_ns};

use super::events::EventRing;
use super::flow_map::{ENTRY_OVERHEAD, FlowMap, Reading, recall};
use super::left::LeftMaps;
use super::nat::{ConnectionTable, Translations};
use super::nested::NestedMap;
use super::read::MapReader;
use super::tracker::Tracker;
use crate::source::{FlowSource, Sink, SourceError};
use nta_core::domain::{
    EndReason, FlowKey, FlowRecord, IdentityScope, Interface, Ledger, MapFill, Origin, OverflowDelta, PacketEvent,
    Readings, Resume, Timestamp, difference,
};

/// The flow maps and the ledger of a set of loaded programs.
pub struct KernelFlows {
    v4: FlowMap<FlowKey4>,
    v6: FlowMap<FlowKey6>,
    overflow: MapData,
    overflow_reader: MapReader<OverflowKey, Volume>,
    /// What each aggregate held at the last reading.
    overflow_last: HashMap<OverflowKey, Volume>,
    ledger: PerCpuArray<MapData, CpuSlot>,
    /// What the ledger held, by slot, before this daemon: counted by the one before.
    base: Vec<LedgerSlot>,
    /// What the ledger held, by slot, at the last reading.
    read: Vec<LedgerSlot>,
    /// The maps stay for the next daemon: what is reported of them is taken out.
    leaving: bool,
    events: EventRing,
    /// Which maps these are, where they outlive the process.
    pinned: Option<String>,
    /// When an earlier daemon read them last.
    resumed_ns: Option<u64>,
    /// Flows that it reported and that are over.
    gone: Vec<FlowRecord>,
    /// When the ledger was read last, by the kernel's clock.
    read_ns: u64,
    /// Interface names by ledger slot; empty in one that nobody had.
    slots: Vec<String>,
    tracker: Tracker,
    /// The names of translated connections, where they are joined.
    translations: Option<Translations>,
    /// What lies in which flow, where tunnels are opened.
    nested: Option<NestedMap>,
    /// Flows of answers that came before their translated connection was known.
    superseded: Vec<FlowKey>,
    ids: IdentityScope,
    /// What turns the packet path's clock into Unix time: 0 where that is a capture's.
    clock_offset_ns: u64,
    /// Maps of another size that nothing counts in any more, until they are read out.
    left: Option<LeftMaps>,
}

impl KernelFlows {
    /// Reads these maps, whose ledger has interfaces of these names by place; `connections` is the kernel's table of connections,
    /// where translated ones are joined.
    ///
    /// # Errors
    /// When one is missing, or this process may not read it.
    pub fn take(mut handles: Handles, slots: Vec<String>, connections: ConnectionTable) -> Result<Self, SourceError> {
        let (ledger, _places) = handles.take_map("LEDGER")?;
        let nested = if handles.has("NESTED") { Some(NestedMap::take(&mut handles)?) } else { None };
        let mut flows = Self {
            overflow: handles.take_map("OVERFLOW")?.0,
            overflow_reader: MapReader::new(),
            overflow_last: HashMap::new(),
            v4: FlowMap::take(&mut handles, ["FLOWS4", "EMBRYOS4"])?,
            v6: FlowMap::take(&mut handles, ["FLOWS6", "EMBRYOS6"])?,
            ledger: PerCpuArray::try_from(Map::PerCpuArray(ledger)).map_err(|e| map_error("LEDGER", e))?,
            base: Vec::new(),
            read: Vec::new(),
            leaving: false,
            pinned: None,
            resumed_ns: None,
            gone: Vec::new(),
            read_ns: 0,
            events: EventRing::take(&mut handles)?,
            slots,
            tracker: Tracker::default(),
            translations: None,
            nested,
            superseded: Vec::new(),
            ids: IdentityScope::default(),
            clock_offset_ns: 0,
            left: None,
        };
        if handles.has("NAT4") {
            flows.join_translated(handles, connections)?;
        }
        Ok(flows)
    }

    /// Reads the maps of what was attached, and goes on with what a run before left in them.
    ///
    /// # Errors
    /// When one is missing, or this process may not read it.
    pub fn begin(
        attached: &Attached,
        mut handles: Handles,
        connections: ConnectionTable,
        resume: Option<Resume>,
    ) -> Result<Self, SourceError> {
        let left_handles = handles.split_off(LEFT);
        let mut flows = Self::take(handles, attached.slots.clone(), connections)?;
        if let Some(Pinned { maps, base, handed_over_ns, left, .. }) = &attached.pinned {
            flows.pinned = Some(maps.clone());
            flows.base.clone_from(base);
            let read_out = left.as_ref().map(|left| &left.maps);
            if let Some(left) = left {
                flows.left = Some(LeftMaps::take(left.clone(), left_handles)?);
                flows.resumed_ns = left.until_ns;
            }
            let is_of = |of: &String| *of == *maps || Some(of) == read_out;
            if let Some(resume) = resume.filter(|resume| is_of(&resume.readings.maps)) {
                flows.resumed_ns = Some(resume.readings.time_ns);
                let Readings { clock_offset_ns, time_ns, .. } = resume.readings;
                flows.tracker.resume(resume.flows, clock_offset_ns, time_ns);
            }
            flows.resumed_ns = flows.resumed_ns.max(*handed_over_ns);
        }
        Ok(flows)
    }

    /// Gives a place in the ledger to another interface; returns what was counted there for the one before.
    pub fn assign(&mut self, Assigned { slot, name, held }: Assigned) -> Option<Interface> {
        if self.slots.len() <= slot {
            self.slots.resize(slot + 1, String::new());
        }
        if self.base.len() <= slot {
            self.base.resize(slot + 1, LedgerSlot::default());
        }
        let before = std::mem::replace(&mut self.slots[slot], name);
        let base = std::mem::replace(&mut self.base[slot], held);
        (!before.is_empty()).then(|| Interface { name: before, counts: difference(&held, &base) })
    }

    /// What a place in the ledger holds.
    fn count(&self, slot: usize) -> Result<LedgerSlot, SourceError> {
        counted(&self.ledger, slot)
    }

    /// Flows of translated connections carry both names from now on.
    ///
    /// # Errors
    /// When a map is missing, or this process may not read it.
    pub fn join_translated(&mut self, mut handles: Handles, connections: ConnectionTable) -> Result<(), SourceError> {
        let mut translations = Translations::take(&mut handles, connections)?;
        match translations.began() {
            Ok(began) => self.tracker.older(began, monotonic_ns()),
            Err(error) => {
                let consequence = "who began connections of before is guessed from their packets";
                tracing::warn!(%error, consequence, "the table of connections cannot be read");
            }
        }
        self.translations = Some(translations);
        Ok(())
    }

    /// Since when, by the kernel's clock, nobody has reported what is counted: an earlier daemon's last window.
    pub const fn resumed_ns(&self) -> Option<u64> {
        self.resumed_ns
    }

    /// Rows of the ledger for what was counted in maps of another size since it was reported, for whoever keeps them.
    pub fn left_rows(&self) -> Result<Vec<Interface>, SourceError> {
        self.left.as_ref().map_or(Ok(Vec::new()), LeftMaps::rows)
    }

    /// The next readings take everything out of the maps, so that the next daemon finds what is counted after them.
    pub fn leave(&mut self) {
        self.leaving = true;
    }

    /// What the ledger held, by slot, at the last reading.
    pub fn last_ledger(&self) -> &[LedgerSlot] {
        &self.read
    }

    /// Turns times of the kernel's clock into those of the run.
    pub const fn set_clock(&mut self, offset_ns: u64) {
        self.clock_offset_ns = offset_ns;
    }

    const fn origin(&self) -> Origin {
        Origin { clock_offset_ns: self.clock_offset_ns, ids: self.ids }
    }
}

/// What a place in a ledger holds.
pub(super) fn counted(ledger: &PerCpuArray<MapData, CpuSlot>, slot: usize) -> Result<LedgerSlot, SourceError> {
    let per_cpu = ledger.get(&(slot as u32), 0).map_err(|e| map_error("LEDGER", e))?;
    let mut counts = LedgerSlot::default();
    per_cpu.iter().for_each(|cpu| counts.merge(&cpu.ledger));
    Ok(counts)
}

pub(super) fn map_error(name: &'static str, error: aya::maps::MapError) -> SourceError {
    SourceError::Map { name, source: io::Error::other(error) }
}

impl FlowSource for KernelFlows {
    fn identify(&mut self, ids: IdentityScope) {
        self.ids = ids;
    }

    fn drain(&mut self, sink: &mut Sink<'_>) -> Result<(), SourceError> {
        let origin = self.origin();
        let tracker = &mut self.tracker;
        if let Some(left) = &mut self.left {
            left.read_flows(tracker, &origin, sink)?;
            self.gone.append(&mut tracker.gone());
        }
        let before = match &mut self.translations {
            Some(translations) => translations.read(tracker.names())?,
            None => Vec::new(),
        };
        if let Some(nested) = &mut self.nested {
            tracker.nest(&origin, |visit| nested.read(visit))?;
        }
        recall((&mut self.v4, &mut self.v6), tracker, &origin)?;
        tracker.rewind(monotonic_ns());
        self.v4.drain(|key, reading| tracker.read(FlowKey::V4(*key), reading, &origin, sink))?;
        self.v6.drain(|key, reading| tracker.read(FlowKey::V6(*key), reading, &origin, sink))?;
        self.gone.append(&mut tracker.gone());
        self.superseded.extend(before.into_iter().filter(|key| tracker.has(key)));
        Ok(())
    }

    fn overflows(&mut self, sink: &mut dyn FnMut(OverflowDelta)) -> Result<(), SourceError> {
        // Behind its flows, it is of no use any more.
        if let Some(left) = self.left.take() {
            left.read_overflows(sink)?;
        }
        let fd = self.overflow.fd().as_fd();
        let failed = |source| SourceError::Map { name: "OVERFLOW", source };
        let last = &mut self.overflow_last;
        let leaving = self.leaving;
        let mut quiet = Vec::new();
        let mut report = |key: &OverflowKey, now: &Volume| {
            let before = last.insert(*key, *now).unwrap_or_default();
            let counts = now.since(&before);
            if counts.packets > 0 {
                sink(OverflowDelta::new(key, counts));
            }
            counts.packets > 0
        };
        let visit = |key: &OverflowKey, now: &Volume| {
            if !report(key, now) || leaving {
                quiet.push(*key);
            }
        };
        self.overflow_reader.for_each(fd, visit).map_err(failed)?;
        // Aggregates that saw nothing since the last reading make room; what was counted meanwhile comes with them.
        for key in quiet {
            let removed = match lookup_and_delete(fd, &key) {
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                    let held = lookup(fd, &key).map_err(failed)?;
                    delete(fd, &key).map_err(failed)?;
                    held
                }
                removed => removed.map_err(failed)?,
            };
            let before = self.overflow_last.remove(&key).unwrap_or_default();
            let counts = removed.map_or_else(Counts::default, |now: Volume| now.since(&before));
            if counts.packets > 0 {
                sink(OverflowDelta::new(&key, counts));
            }
        }
        Ok(())
    }

    fn events(&mut self, sink: &mut dyn FnMut(PacketEvent)) -> Result<(), SourceError> {
        let offset_ns = self.origin().clock_offset_ns;
        self.events.read(offset_ns, sink);
        Ok(())
    }

    fn expire(&mut self, now: Timestamp, sink: &mut Sink<'_>) -> Result<(), SourceError> {
        let origin = self.origin();
        let mut over = if self.leaving { self.tracker.all(now) } else { self.tracker.ended(now) };
        // From now on these answers find no flow of their own, and are counted in their connection's.
        over.extend(self.superseded.drain(..).map(|key| (key, EndReason::Idle)));
        for (key, reason) in over {
            let last = match &key {
                FlowKey::V4(v4) => self.v4.remove(v4, key.proto())?,
                FlowKey::V6(v6) => self.v6.remove(v6, key.proto())?,
            };
            if let Some(nested) = self.nested.as_ref().filter(|_| self.tracker.lies_in_another(&key)) {
                nested.forget(&key);
            }
            self.tracker.remove(&key, last.as_ref(), reason, &origin, sink);
        }
        self.tracker.shrink();
        Ok(())
    }

    fn finish(&mut self, sink: &mut Sink<'_>) {
        let origin = self.origin();
        let tracker = &mut self.tracker;
        let mut end = |key: FlowKey, last: Reading<'_>| {
            let last = last.stats(key.proto());
            tracker.remove(&key, last.as_ref(), EndReason::Shutdown, &origin, sink);
            false
        };
        let read = self.v4.drain(|key, last| end(FlowKey::V4(*key), last));
        if let Err(error) = read.and_then(|()| self.v6.drain(|key, last| end(FlowKey::V6(*key), last))) {
            tracing::warn!(%error, "flows that end with the daemon are not reported");
        }
        self.tracker = Tracker::default();
    }

    fn ledger(&mut self) -> Result<Ledger, SourceError> {
        let mut interfaces = Vec::with_capacity(self.slots.len());
        self.read.clear();
        self.read_ns = monotonic_ns();
        for (slot, name) in self.slots.iter().enumerate() {
            let counts = self.count(slot)?;
            self.read.push(counts);
            if !name.is_empty() {
                let counts = self.base.get(slot).map_or(counts, |base| difference(&counts, base));
                interfaces.push(Interface { name: name.clone(), counts });
            }
        }
        Ok(Ledger { interfaces })
    }

    fn gone(&mut self) -> Vec<FlowRecord> {
        std::mem::take(&mut self.gone)
    }

    fn readings(&self) -> Option<Readings> {
        let (time_ns, clock_offset_ns, ledger) = (self.read_ns, self.clock_offset_ns, self.read.clone());
        self.pinned.clone().map(|maps| Readings { maps, time_ns, clock_offset_ns, ledger })
    }

    fn maps(&self) -> Vec<MapFill> {
        let each = (size_of::<OverflowKey>() + size_of::<Volume>()) as u64 + ENTRY_OVERHEAD;
        let overflow = MapFill {
            name: "OVERFLOW".to_owned(),
            entries: self.overflow_last.len() as u64,
            max_entries: u64::from(MAX_OVERFLOWS),
            memory_bytes: u64::from(MAX_OVERFLOWS) * each,
        };
        let flows = [self.v4.fill(), self.v6.fill()].into_iter().flatten();
        let mut maps: Vec<MapFill> = flows.chain([overflow, self.events.fill()]).collect();
        maps.extend(self.translations.iter().flat_map(Translations::fill));
        maps.extend(self.nested.iter().map(NestedMap::fill));
        maps
    }

    fn active(&self) -> u64 {
        self.tracker.len() as u64
    }
}
