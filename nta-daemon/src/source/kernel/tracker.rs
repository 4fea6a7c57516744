//! Cumulative readings of the flow maps in, differences out: what the kernel's counters were at the last reading.
//!
//! The kernel hands out a map's entries in the order of its buckets, which is the same at every reading but for what was
//! added and removed. So each flow remembers which one came after it, and the next entry of a reading is compared with
//! that one; the index is asked only where the order changed. What is kept of a flow is small, because a flood of new ones
//! costs mostly the memory that they take.

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher as _;
use std::net::IpAddr;

use nta_common::tunnel::{Inner, Outer};
use nta_common::{Embryo, FlowStats};

use super::flow_map::Reading;
use crate::source::nested::{self, Parents};
use crate::source::places::Places;
use crate::source::{Sink, SourceError};
use nta_core::domain::{EndReason, FlowId, FlowKey, FlowRecord, Names, Origin, Timestamp, Tracked};

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

/// What a run before reported, by protocol and endpoints, the smaller one first.
#[derive(Default)]
struct Reported {
    flows: HashMap<(u8, [(IpAddr, u16); 2]), FlowRecord>,
    clock_offset_ns: u64,
}

impl Reported {
    fn key(proto: u8, mut endpoints: [(IpAddr, u16); 2]) -> (u8, [(IpAddr, u16); 2]) {
        endpoints.sort_unstable();
        (proto, endpoints)
    }

    /// The state behind the last reading of the run before; a new one where it did not report the flow.
    fn track(&mut self, key: &FlowKey, reading: &FlowStats, origin: &Origin) -> Tracked {
        if self.flows.is_empty() {
            return Tracked::new(key, reading, origin);
        }
        match self.flows.remove(&Self::key(key.proto(), key.endpoints())) {
            Some(reported) => Tracked::resumed(key, reading, origin, &reported, self.clock_offset_ns),
            None => Tracked::new(key, reading, origin),
        }
    }
}

/// Of this reading and of the one before.
#[derive(Default)]
struct Claims {
    now: HashSet<FlowKey, foldhash::fast::RandomState>,
    before: HashSet<FlowKey, foldhash::fast::RandomState>,
}

/// A flow of one packet, as it was told.
struct Told {
    first: Embryo,
    id: FlowId,
    /// As in [`Slot`].
    expiry: Timestamp,
    reason: EndReason,
}

impl Told {
    /// The state behind what was told.
    fn tracked(&self, key: &FlowKey, origin: &Origin) -> Tracked {
        let reading = self.first.grown(key.proto());
        let mut flow = Tracked::new(key, &reading, origin);
        flow.take(key, &reading, origin, None, &mut |_| {});
        // It was named when it was told; a reading of another capture names otherwise.
        flow.id = self.id;
        flow
    }
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

    /// The first reading goes on from what a run before reported.
    pub(super) fn resume(&mut self, flows: Vec<FlowRecord>, clock_offset_ns: u64) {
        let key = |flow: &FlowRecord| Reported::key(flow.proto, flow.counted_as());
        self.reported = Reported { flows: flows.into_iter().map(|flow| (key(&flow), flow)).collect(), clock_offset_ns };
    }

    /// A reading of the maps is complete: what comes now is new, and flows that a run before reported and that are not in the
    /// maps any more are over.
    pub(super) fn gone(&mut self) -> Vec<FlowRecord> {
        let gone = std::mem::take(&mut self.reported.flows).into_values();
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
        let is_plain = self.names.is_empty();
        if is_plain && self.firsts.contains_key(&key) {
            return false;
        }
        let known = self.index.find(self.hash(&key), |slot| self.holds(slot, &key));
        match known.and_then(|at| Some(self.slot(at)?.whole)) {
            // Twice in a row, so that no program is left that saw the flow without its whole entry.
            Some(whole) if whole != NEVER => return whole != self.reading,
            Some(_) if is_plain => {}
            _ if first.is_claim() => {
                // Somebody makes a whole entry of it, or found no room for one.
                self.claims.now.insert(key);
                return self.claims.before.contains(&key);
            }
            None if is_plain && self.parents.is_empty() && self.reported.flows.is_empty() && self.began.is_empty() => {
                let reading = first.grown(key.proto());
                let mut flow = Tracked::new(&key, &reading, origin);
                flow.take(&key, &reading, origin, None, sink);
                let (expiry, reason) = flow.expiry(&key, &reading);
                self.firsts.insert(key, Told { first: *first, id: flow.id, expiry, reason });
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
                told.tracked(key, origin).take(key, last, origin, Some(reason), sink);
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
mod tests {
    use nta_common::flow::Counts;
    use nta_common::packet::{Packet, proto};
    use nta_common::{CaptureClock, First, FlowKey4};

    use std::collections::HashMap;

    use super::*;
    use nta_core::domain::{FlowDelta, FlowUpdate};

    /// A flow table as simple as can be, whose walk has an order of its own.
    #[derive(Default)]
    struct Model {
        map: Vec<(FlowKey, FlowStats)>,
        last: HashMap<FlowKey, (Tracked, FlowStats)>,
        now_ns: u64,
        random: u64,
    }

    type Reported = (FlowKey, u64, Option<FlowDelta>, Option<EndReason>);

    fn reported(update: &FlowUpdate<'_>) -> Reported {
        (*update.key, update.flow.totals[0].packets, update.delta.copied(), update.ended)
    }

    impl Model {
        fn random(&mut self, below: u64) -> u64 {
            self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.random >> 33) % below
        }

        /// A packet of one of 400 flows: a SYN now and then, so that connections are cut, else an ACK.
        fn packet(&mut self) {
            let (flow, flags, seq) =
                (self.random(400) as u32, [2, 16, 16, 16][self.random(4) as usize], self.random(9));
            let packet = Packet {
                proto: proto::TCP,
                tcp_flags: flags,
                src4: flow,
                dst4: 0xc000_0201,
                seq: seq as u32,
                ip_len: 40,
                wire_len: 60,
                ..Packet::default()
            };
            let (key, direction) = FlowKey4::of(&packet);
            let key = FlowKey::V4(key);
            let at = match self.map.iter().position(|(k, _)| *k == key) {
                Some(at) => at,
                None => {
                    let mut stats = FlowStats::default();
                    stats.begin(&First { packet: &packet, direction, now_ns: self.now_ns });
                    let at = self.random(self.map.len() as u64 + 1) as usize;
                    self.map.insert(at, (key, stats));
                    at
                }
            };
            self.map[at].1.add(&packet, 1, direction, self.now_ns, &CaptureClock(self.now_ns));
        }

        fn drain(&mut self) -> Vec<Reported> {
            let mut all = Vec::new();
            for (key, reading) in &self.map {
                let (flow, last) =
                    self.last.entry(*key).or_insert_with(|| (Tracked::new(key, reading, &Origin::default()), *reading));
                flow.take(key, reading, &Origin::default(), None, &mut |update| all.push(reported(&update)));
                *last = *reading;
            }
            all
        }

        fn ended(&self) -> Vec<(FlowKey, EndReason)> {
            let now = Timestamp::from_nanos(self.now_ns);
            let over = |(key, (flow, last)): (&FlowKey, &(Tracked, FlowStats))| {
                let (expiry, reason) = flow.expiry(key, last);
                (now >= expiry).then_some((*key, reason))
            };
            let mut ended: Vec<_> = self.last.iter().filter_map(over).collect();
            ended.sort_by_key(|(key, _)| *key);
            ended
        }

        fn remove(&mut self, key: &FlowKey) -> FlowStats {
            self.last.remove(key);
            let at = self.map.iter().position(|(k, _)| k == key).expect("a tracked flow is in the map");
            self.map.remove(at).1
        }
    }

    #[test]
    fn tells_what_a_plain_table_tells() {
        let mut model = Model { now_ns: 1_000_000_000, random: 7, ..Model::default() };
        let mut tracker = Tracker::default();
        let (mut updates, mut ends) = (0, 0);
        for round in 0..300 {
            for _ in 0..model.random(120) {
                model.packet();
            }
            let mut all = Vec::new();
            tracker.rewind(0);
            for (key, reading) in &model.map {
                tracker
                    .read(*key, Reading::Whole(reading), &Origin::default(), &mut |update| all.push(reported(&update)));
            }
            updates += all.len();
            assert_eq!(all, model.drain(), "round {round}");
            assert_eq!(tracker.len(), model.map.len());
            model.now_ns += 900_000_000;
            let mut ended = tracker.ended(Timestamp::from_nanos(model.now_ns));
            ended.sort_by_key(|(key, _)| *key);
            assert_eq!(ended, model.ended(), "round {round}");
            if round % 50 == 49 {
                tracker.shrink();
                assert_eq!(tracker.len(), model.map.len());
            }
            for (key, reason) in ended {
                let last = model.remove(&key);
                tracker.remove(&key, Some(&last), reason, &Origin::default(), &mut |update| {
                    assert_eq!(update.ended, Some(reason));
                });
                ends += 1;
            }
        }
        let mut kept = 0;
        for (key, last) in &model.map {
            let mut count = |update: FlowUpdate<'_>| kept += usize::from(update.ended == Some(EndReason::Shutdown));
            tracker.remove(key, Some(last), EndReason::Shutdown, &Origin::default(), &mut count);
        }
        assert_eq!((kept, tracker.len()), (model.map.len(), 0));
        assert!(updates > 5000 && ends > 100, "{updates} updates, {ends} ends");
    }

    #[test]
    fn a_flood_leaves_no_memory_behind_although_a_flow_goes_on() {
        let entry = |flow: u32| {
            let packet = Packet {
                proto: proto::UDP,
                src4: flow,
                dst4: 0xc000_0201,
                ip_len: 40,
                wire_len: 60,
                ..Packet::default()
            };
            let (key, direction) = FlowKey4::of(&packet);
            let mut stats = FlowStats::default();
            stats.begin(&First { packet: &packet, direction, now_ns: 1 });
            stats.add(&packet, 1, direction, 1, &CaptureClock(1));
            (FlowKey::V4(key), stats)
        };
        let mut tracker = Tracker::default();
        const FLOWS: u32 = 10 * PIECE as u32;
        let origin = Origin::default();
        let read = |tracker: &mut Tracker, flow| {
            let (key, stats) = entry(flow);
            tracker.read(key, Reading::Whole(&stats), &origin, &mut |_| {});
        };
        (0..FLOWS).for_each(|flow| read(&mut tracker, flow));
        tracker.shrink();
        assert_eq!((tracker.len(), tracker.slots.len()), (FLOWS as usize, 10), "all of it is in use");
        for flow in (0..FLOWS).filter(|flow| *flow != 7) {
            tracker.remove(&entry(flow).0, None, EndReason::Idle, &origin, &mut |_| {});
        }
        tracker.shrink();
        assert_eq!((tracker.len(), tracker.slots.len(), tracker.free.capacity()), (1, 1, 0));
        // The flow that goes on is the one that it was.
        tracker.rewind(0);
        let (key, mut stats) = entry(7);
        stats.dir[0].volume = stats.dir[0].volume.plus(&Counts { packets: 1, bytes: 60, ip_bytes: 40 });
        let mut news = Vec::new();
        tracker.read(key, Reading::Whole(&stats), &origin, &mut |update| {
            news.extend(update.delta.map(|delta| (delta.is_new, delta.packets())));
        });
        assert_eq!(news, [(false, 1)]);
    }

    /// A flow whose first packet is kept apart is told as one that was counted whole from the start, and once.
    #[test]
    fn a_first_packet_is_told_once_whatever_becomes_of_it() {
        let packet = |answers: bool| Packet {
            proto: proto::UDP,
            src4: if answers { 2 } else { 1 },
            dst4: if answers { 1 } else { 2 },
            src_port: if answers { 53 } else { 4000 },
            dst_port: if answers { 4000 } else { 53 },
            ip_len: 40,
            wire_len: 60,
            ..Packet::default()
        };
        let now_ns = 1_000_000_000;
        let (asked, clock) = (packet(false), CaptureClock(now_ns));
        let (key, direction) = FlowKey4::of(&asked);
        let first = First { packet: &asked, direction, now_ns };
        let mut embryo = Embryo::default();
        assert!(embryo.keep(&nta_common::SliceReader::new(&[], 60), &first, 1, &clock));
        let mut whole = embryo.grown(proto::UDP);
        whole.add(&packet(true), 1, direction ^ 1, now_ns, &clock);
        let (key, origin) = (FlowKey::V4(key), Origin::default());
        let mut told = Vec::new();
        let mut read = |tracker: &mut Tracker, reading: Reading<'_>| {
            tracker.read(key, reading, &origin, &mut |update| {
                let packets = update.delta.map_or(0, |delta| delta.counts.iter().map(|c| c.packets).sum::<u64>());
                told.push((packets, update.delta.is_some_and(|delta| delta.is_new)));
            })
        };
        let mut tracker = Tracker::default();
        for _ in 0..2 {
            tracker.rewind(0);
            assert!(!read(&mut tracker, Reading::First(&embryo)), "the only entry of the flow stays");
        }
        assert_eq!(
            (tracker.len(), tracker.has(&key), tracker.ended(Timestamp::from_nanos(now_ns)).len()),
            (1, true, 0)
        );
        let id = tracker.id(&key);
        // Its answer came: the first entry may go when the whole one was there at two readings.
        let over: Vec<bool> = (0..2)
            .map(|_| {
                tracker.rewind(0);
                read(&mut tracker, Reading::Whole(&whole));
                read(&mut tracker, Reading::First(&embryo))
            })
            .collect();
        assert_eq!(over, [false, true]);
        assert_eq!(told, [(1, true), (1, false)]);
        assert_eq!((tracker.len(), tracker.id(&key)), (1, id));

        // One that nobody answers ends with what was told.
        let mut tracker = Tracker::default();
        tracker.rewind(0);
        tracker.read(key, Reading::First(&embryo), &origin, &mut |_| {});
        let late = Timestamp::from_nanos(now_ns + 3_600_000_000_000);
        let ended = tracker.ended(late);
        assert_eq!(ended.len(), 1);
        let mut ends = Vec::new();
        tracker.remove(&key, Some(&embryo.grown(proto::UDP)), ended[0].1, &origin, &mut |update| {
            ends.push((
                update.ended,
                update.flow.totals.iter().map(|c| c.packets).sum::<u64>(),
                update.delta.is_some(),
            ));
        });
        assert_eq!((ends, tracker.len()), (vec![(Some(ended[0].1), 1, false)], 0));

        // A claim without a whole entry counts nothing, and goes at the second reading.
        let mut claim = Embryo::default();
        claim.claim(now_ns);
        let gone: Vec<bool> = (0..2)
            .map(|_| {
                tracker.rewind(0);
                tracker.read(key, Reading::First(&claim), &origin, &mut |update| panic!("{:?}", update.key))
            })
            .collect();
        assert_eq!((gone, tracker.len()), (vec![false, true], 0));
    }

    #[test]
    fn what_is_counted_between_a_reading_and_the_removal_is_told() {
        let mut model = Model { now_ns: 1_000_000_000, random: 7, ..Model::default() };
        let mut tracker = Tracker::default();
        model.packet();
        let (key, reading) = model.map[0];
        tracker.read(key, Reading::Whole(&reading), &Origin::default(), &mut |_| {});
        while model.map[0].1 == reading {
            model.packet();
        }
        let counted = |reading: &FlowStats| {
            reading.dir.map(|side| side.volume.since(&Default::default()).packets).iter().sum::<u64>()
        };
        let at = model.map.iter().position(|(k, _)| *k == key).expect("it is there");
        let last = model.map[at].1;
        let mut all = Vec::new();
        tracker
            .remove(&key, Some(&last), EndReason::Idle, &Origin::default(), &mut |update| all.push(reported(&update)));
        assert_eq!(all.iter().filter_map(|t| t.2).map(|d| d.counts[0].packets).sum::<u64>(), counted(&last) - 1);
        assert_eq!(tracker.len(), 0);
    }
}
