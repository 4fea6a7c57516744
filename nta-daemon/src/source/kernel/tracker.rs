//! Cumulative readings of the flow maps in, differences out: what the kernel's counters were at the last reading.
//!
//! The kernel hands out a map's entries in the order of its buckets, which is the same at every reading but for what was
//! added and removed. So each flow remembers which one came after it, and the next entry of a reading is compared with
//! that one; the index is asked only where the order changed. What is kept of a flow is small, because a flood of new ones
//! costs mostly the memory that they take.

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher as _;

use nta_common::tunnel::{Inner, Outer};
use nta_common::{Embryo, FlowStats};

use super::flow_map::Reading;
use super::told::{Reported, Told};
use crate::source::nested::{self, Parents};
use crate::source::places::Places;
use crate::source::{Sink, SourceError};
use nta_core::domain::{EndReason, FlowId, FlowKey, FlowRecord, Names, Origin, Readings, Timestamp, Tracked};

/// Every flow that the maps hold, as last read. Bounded by the maps themselves.
#[derive(Default)]
pub(super) struct Tracker {
    index: Places,
    hasher: foldhash::fast::RandomState,
    /// By slot, in pieces that never move; `None` is a slot without a flow.
    slots: Vec<Vec<Option<Slot>>>,
    /// Slots without a flow.
    free: Vec<u32>,
    /// Flows of one packet, which is all that there is to be told of them: they have no slot.
    firsts: HashMap<FlowKey, Told, foldhash::fast::RandomState>,
    /// The flow that was read last.
    cursor: Option<u32>,
    /// Its number.
    reading: u32,
    /// Entries without a packet of flows of which no whole one was found.
    claims: Claims,
    /// The flow that came first at the last reading.
    first: u32,
    /// Names of translated connections, as read before the flows, by the key under which they are counted.
    names: HashMap<FlowKey, Names, foldhash::fast::RandomState>,
    /// In which flows others lie, as read before the flows.
    parents: Parents,
    /// What a run before reported of the flows that the first reading finds.
    reported: Reported,
    /// Which end began connections that are older than their flows.
    began: HashMap<FlowKey, usize, foldhash::fast::RandomState>,
    /// When those of TCP alone are of use, by the kernel's clock.
    began_until_ns: u64,
}

/// For so long it is believed who began a connection that has no sign of its beginning: the kernel forgets those of UDP after two
/// minutes of silence, and then the other end may begin one.
const BEGAN_NS: u64 = 120_000_000_000;

/// Of this reading and of the one before.
#[derive(Default)]
struct Claims {
    now: HashSet<FlowKey, foldhash::fast::RandomState>,
    before: HashSet<FlowKey, foldhash::fast::RandomState>,
}

/// One flow.
struct Slot {
    key: FlowKey,
    flow: Tracked,
    /// The slot of the flow that came after this one at the last reading.
    next: u32,
    /// At which reading its whole entry was found first, or [`NEVER`].
    whole: u32,
    /// When the flow is over if no packet comes any more, and why then.
    expiry: Timestamp,
    reason: EndReason,
}

/// No reading has this number.
const NEVER: u32 = 0;

/// Slots in one piece of memory.
const PIECE: usize = 4096;
/// Memory is given back when no more than one in so many slots has a flow.
const SPARSE: usize = 4;

impl Tracker {
    pub(super) fn len(&self) -> usize {
        self.index.len() + self.firsts.len()
    }

    /// The first reading goes on from what a run before reported, whose last window ended then.
    pub(super) fn resume(&mut self, flows: Vec<FlowRecord>, clock_offset_ns: u64, ended_ns: u64) {
        let key = |flow: &FlowRecord| Reported::key(flow.proto, flow.counted_as());
        let flows = flows.into_iter().map(|flow| (key(&flow), flow)).collect();
        self.reported = Reported { flows, clock_offset_ns, until_ns: ended_ns.saturating_sub(Readings::MARGIN_NS) };
    }

    /// Whether the next reading goes on from what a run before reported in rows of many.
    pub(super) const fn recalls(&self) -> bool {
        self.reported.until_ns > 0
    }

    /// An entry of one packet, before the first reading: of a flow that a run before may have reported with others.
    pub(super) fn recall(&mut self, key: FlowKey, first: &Embryo, origin: &Origin) {
        if !first.is_claim() && self.reported.has_grouped(&key, first.grown(key.proto()).first_ns) {
            self.firsts.insert(key, Told::report(&key, first, origin, true, &mut |_| {}));
        }
    }

    /// A reading of the maps is complete: what comes now is new, and flows that a run before reported and that are not in the
    /// maps any more are over.
    pub(super) fn gone(&mut self) -> Vec<FlowRecord> {
        let gone = std::mem::take(&mut self.reported).flows.into_values();
        gone.map(|flow| FlowRecord { ended: Some(EndReason::Idle), ..flow }).collect()
    }

    /// The names of translated connections that the next reading goes by.
    pub(super) fn names(&mut self) -> &mut HashMap<FlowKey, Names, foldhash::fast::RandomState> {
        &mut self.names
    }

    /// In which flows others lie, for the next reading: `read` calls what it is given for each direction.
    pub(super) fn nest(
        &mut self,
        origin: &Origin,
        read: impl FnOnce(&mut dyn FnMut(&Inner, &Outer)) -> Result<(), SourceError>,
    ) -> Result<(), SourceError> {
        let mut parents = std::mem::take(&mut self.parents);
        parents.clear();
        let done = read(&mut |inner, outer| nested::add(&mut parents, (inner, outer), |key| self.id(key), origin));
        self.parents = parents;
        done
    }

    /// Whether it lies in another one.
    pub(super) fn lies_in_another(&self, key: &FlowKey) -> bool {
        self.parents.contains_key(key)
    }

    /// The identity of a flow that was read before, or reported by a run before.
    fn id(&self, key: &FlowKey) -> Option<FlowId> {
        let tracked = self.index.find(self.hash(key), |slot| self.holds(slot, key)).and_then(|slot| self.slot(slot));
        let reported = || self.reported.flows.get(&Reported::key(key.proto(), key.endpoints()));
        let told = || self.firsts.get(key).map(|told| told.id);
        tracked.map(|slot| slot.flow.id).or_else(told).or_else(|| reported().map(|flow| flow.id))
    }

    /// Whether a flow is kept under this key.
    pub(super) fn has(&self, key: &FlowKey) -> bool {
        self.firsts.contains_key(key) || self.index.find(self.hash(key), |slot| self.holds(slot, key)).is_some()
    }

    /// At this time of the kernel's clock there are connections that these ends began, older than their flows.
    pub(super) fn older(&mut self, began: HashMap<FlowKey, usize>, now_ns: u64) {
        self.began.extend(began);
        self.began_until_ns = now_ns.saturating_add(BEGAN_NS);
    }

    /// Begins a new reading of the maps, at this time of the kernel's clock.
    pub(super) fn rewind(&mut self, now_ns: u64) {
        if self.began_until_ns != 0 && now_ns > self.began_until_ns {
            self.began.retain(|key, _| key.proto() == nta_common::packet::proto::TCP);
            self.began.shrink_to_fit();
            self.began_until_ns = 0;
        }
        self.cursor = None;
        self.reading = self.reading.wrapping_add(1).max(NEVER + 1);
        self.claims.before = std::mem::take(&mut self.claims.now);
    }

    /// Takes a reading of one flow; whether its first packet need not be kept any more.
    pub(super) fn read(&mut self, key: FlowKey, reading: Reading<'_>, origin: &Origin, sink: &mut Sink<'_>) -> bool {
        match reading {
            Reading::Whole(flow) => {
                self.take(key, flow, true, origin, sink);
                false
            }
            Reading::First(first) => self.read_first(key, first, origin, sink),
        }
    }

    /// An entry of one packet: of a flow of which no whole one was read, or beside it.
    fn read_first(&mut self, key: FlowKey, first: &Embryo, origin: &Origin, sink: &mut Sink<'_>) -> bool {
        let is_plain = !self.names.contains_key(&key) && !self.parents.contains_key(&key);
        if is_plain && self.firsts.contains_key(&key) {
            return false;
        }
        let known = self.index.find(self.hash(&key), |slot| self.holds(slot, &key));
        match known.and_then(|at| Some(self.slot(at)?.whole)) {
            // Twice in a row, so that no program is left that saw the flow without its whole entry.
            Some(whole) if whole != NEVER => return whole != self.reading,
            Some(_) if self.names.is_empty() => {}
            _ if first.is_claim() => {
                // Somebody makes a whole entry of it, or found no room for one.
                self.claims.now.insert(key);
                return self.claims.before.contains(&key);
            }
            None if is_plain && self.reported.flows.is_empty() && !self.began.contains_key(&key) => {
                self.firsts.insert(key, Told::report(&key, first, origin, false, sink));
            }
            _ => self.take(key, &first.grown(key.proto()), false, origin, sink),
        }
        false
    }

    fn take(&mut self, key: FlowKey, reading: &FlowStats, is_whole: bool, origin: &Origin, sink: &mut Sink<'_>) {
        let at = self.find(key, reading, origin);
        let number = self.reading;
        let names = if self.names.is_empty() { None } else { self.names.get(&key).copied() }.unwrap_or_default();
        let outer = if self.parents.is_empty() { None } else { self.parents.get(&key).copied() };
        let Some(slot) = self.slot_mut(at) else { return };
        if is_whole && slot.whole == NEVER {
            slot.whole = number;
        }
        slot.flow.name(names, (&key, reading), origin, sink);
        if slot.flow.is_at(reading) {
            return;
        }
        if let Some(outer) = outer {
            slot.flow.put_within(outer);
        }
        slot.flow.take(&key, reading, origin, None, sink);
        (slot.expiry, slot.reason) = slot.flow.expiry(&key, reading);
    }

    /// The slot of a flow, a new one if need be.
    fn find(&mut self, key: FlowKey, reading: &FlowStats, origin: &Origin) -> u32 {
        let expected = match self.cursor {
            Some(before) => self.slot(before).map_or(0, |slot| slot.next),
            None => self.first,
        };
        if self.holds(expected, &key) {
            self.cursor = Some(expected);
            return expected;
        }
        let hash = self.hash(&key);
        let slot = match self.index.find(hash, |slot| self.holds(slot, &key)) {
            Some(slot) => slot,
            None => {
                let mut flow = match self.firsts.remove(&key) {
                    Some(told) => told.tracked(&key, origin),
                    None => self.reported.track(&key, reading, origin),
                };
                if let Some(end) = if self.began.is_empty() { None } else { self.began.remove(&key) } {
                    flow.began_by(end);
                }
                let (expiry, reason) = (Timestamp::default(), EndReason::Idle);
                self.insert(Slot { key, flow, next: expected, whole: NEVER, expiry, reason }, hash)
            }
        };
        match self.cursor {
            None => self.first = slot,
            Some(before) => {
                if let Some(before) = self.slot_mut(before) {
                    before.next = slot;
                }
            }
        }
        self.cursor = Some(slot);
        slot
    }

    fn insert(&mut self, new: Slot, hash: u32) -> u32 {
        let new = Some(new);
        let slot = if let Some(slot) = self.free.pop() {
            self.slots[slot as usize / PIECE][slot as usize % PIECE] = new;
            slot
        } else {
            if self.slots.last().is_none_or(|piece| piece.len() == PIECE) {
                self.slots.push(Vec::with_capacity(PIECE));
            }
            let pieces = self.slots.len();
            let piece = &mut self.slots[pieces - 1];
            piece.push(new);
            ((pieces - 1) * PIECE + piece.len() - 1) as u32
        };
        self.index.insert(hash, slot);
        slot
    }

    fn hash(&self, key: &FlowKey) -> u32 {
        self.hasher.hash_one(key) as u32
    }

    fn slot(&self, slot: u32) -> Option<&Slot> {
        self.slots.get(slot as usize / PIECE)?.get(slot as usize % PIECE)?.as_ref()
    }

    fn slot_mut(&mut self, slot: u32) -> Option<&mut Slot> {
        self.slots.get_mut(slot as usize / PIECE)?.get_mut(slot as usize % PIECE)?.as_mut()
    }

    fn holds(&self, slot: u32, key: &FlowKey) -> bool {
        self.slot(slot).is_some_and(|slot| slot.key == *key)
    }

    /// Flows that are over at `now`.
    pub(super) fn ended(&self, now: Timestamp) -> Vec<(FlowKey, EndReason)> {
        let firsts = self.firsts.iter().filter(|(_, told)| now >= told.expiry).map(|(key, told)| (*key, told.reason));
        self.kept().filter(|slot| now >= slot.expiry).map(|slot| (slot.key, slot.reason)).chain(firsts).collect()
    }

    /// Every flow, with why it ends now.
    pub(super) fn all(&self, now: Timestamp) -> Vec<(FlowKey, EndReason)> {
        let reason = |expiry, reason| if now >= expiry { reason } else { EndReason::Shutdown };
        let firsts = self.firsts.iter().map(|(key, told)| (*key, reason(told.expiry, told.reason)));
        self.kept().map(|slot| (slot.key, reason(slot.expiry, slot.reason))).chain(firsts).collect()
    }

    fn kept(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().flatten().flatten()
    }

    /// Forgets a flow and reports its end; `last` is what the map held when its entry was removed, `None` when somebody else
    /// had removed it, of whose end nothing is known then.
    pub(super) fn remove(
        &mut self,
        key: &FlowKey,
        last: Option<&FlowStats>,
        reason: EndReason,
        origin: &Origin,
        sink: &mut Sink<'_>,
    ) {
        if let Some(told) = self.firsts.remove(key) {
            if let Some(last) = last {
                let mut flow = told.tracked(key, origin);
                if !told.is_grouped || !flow.is_at(last) {
                    flow.take(key, last, origin, Some(reason), sink);
                }
            }
            return;
        }
        let hash = self.hash(key);
        let Some(at) = self.index.find(hash, |slot| self.holds(slot, key)) else { return };
        self.index.remove(hash, at);
        let slot = self.slots[at as usize / PIECE][at as usize % PIECE].take();
        self.free.push(at);
        if let (Some(mut slot), Some(last)) = (slot, last) {
            slot.flow.take(key, last, origin, Some(reason), sink);
        }
    }

    /// Gives the memory of flows that are over back, where they were by far the most: nothing of a flood stays because a few flows
    /// of before and behind it go on.
    pub(super) fn shrink(&mut self) {
        if self.firsts.len() < self.firsts.capacity() / SPARSE {
            self.firsts.shrink_to_fit();
        }
        let pieces = self.slots.len();
        if pieces < 2 || self.index.len() > pieces * PIECE / SPARSE {
            return;
        }
        let before = std::mem::take(&mut self.slots);
        (self.index, self.free, self.cursor, self.first) = (Places::default(), Vec::new(), None, 0);
        for slot in before.into_iter().flatten().flatten() {
            let hash = self.hash(&slot.key);
            // Which comes after which shows at the next reading.
            self.insert(slot, hash);
        }
    }
}

#[cfg(test)]
#[path = "tracker_tests.rs"]
mod tests;
