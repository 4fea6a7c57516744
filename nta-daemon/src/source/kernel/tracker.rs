//! Cumulative readings of the flow maps in, differences out: what the kernel's counters were at the last reading.
//!
//! The kernel hands out a map's entries in the order of its buckets, which is the same at every reading but for what was
//! added and removed. So each flow remembers which one came after it, and the next entry of a reading is compared with
//! that one; the index is asked only where the order changed. What an unchanged flow needs is kept apart from the rest,
//! so that the large part of it is not even touched.

use std::collections::HashMap;

use nta_common::{FlowStats, Volume};

use crate::domain::{EndReason, FlowKey, FlowUpdate, Timestamp, Tracked};
use crate::source::Sink;

/// Every flow that the maps hold, as last read. Bounded by the maps themselves.
#[derive(Default)]
pub(super) struct Tracker {
    index: HashMap<FlowKey, u32, foldhash::fast::RandomState>,
    /// By slot; `None` is a slot without a flow.
    heads: Vec<Option<Head>>,
    /// The rest of each flow, by slot, in pieces that never move: what was at a slot without a flow stays there.
    flows: Vec<Vec<Tracked>>,
    /// Slots without a flow.
    free: Vec<u32>,
    /// The flow that was read last.
    cursor: Option<u32>,
    /// The flow that came first at the last reading.
    first: u32,
}

/// What finding a flow and seeing that nothing changed takes.
struct Head {
    key: FlowKey,
    /// Of the last reading.
    volumes: [Volume; 2],
    /// Of the last reading.
    cuts: u32,
    /// The slot of the flow that came after this one at the last reading.
    next: u32,
    /// When the flow is over if no packet comes any more.
    deadline: Timestamp,
}

/// Flows in one piece of memory.
const PIECE: usize = 4096;

impl Tracker {
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Begins a new reading of the maps.
    pub(super) fn rewind(&mut self) {
        self.cursor = None;
    }

    /// Takes a reading of one flow.
    pub(super) fn read(&mut self, key: FlowKey, reading: &FlowStats, clock_offset_ns: u64, sink: &mut Sink<'_>) {
        let slot = self.find(key, reading, clock_offset_ns);
        let Some(head) = &mut self.heads[slot as usize] else { return };
        // Every packet changes a volume.
        if head.volumes == volumes(reading) && head.cuts == reading.cut.count {
            return;
        }
        let flow = &mut self.flows[slot as usize / PIECE][slot as usize % PIECE];
        split(flow, &key, reading, clock_offset_ns, sink);
        if let Some(delta) = flow.advance(reading, clock_offset_ns) {
            sink(FlowUpdate { key: &key, flow, delta: Some(&delta), ended: None });
        }
        head.take(flow);
    }

    /// The slot of a flow, a new one if need be.
    fn find(&mut self, key: FlowKey, reading: &FlowStats, clock_offset_ns: u64) -> u32 {
        let expected = match self.cursor {
            Some(before) => self.heads[before as usize].as_ref().map_or(0, |head| head.next),
            None => self.first,
        };
        let slot = match self.heads.get(expected as usize) {
            Some(Some(head)) if head.key == key => expected,
            _ => {
                let slot = match self.index.get(&key) {
                    Some(slot) => *slot,
                    None => self.insert(key, expected, Tracked::new(&key, reading, clock_offset_ns)),
                };
                match self.cursor.and_then(|before| self.heads[before as usize].as_mut()) {
                    Some(before) => before.next = slot,
                    None => self.first = slot,
                }
                slot
            }
        };
        self.cursor = Some(slot);
        slot
    }

    fn insert(&mut self, key: FlowKey, next: u32, flow: Tracked) -> u32 {
        let mut head = Head { key, volumes: Default::default(), cuts: 0, next, deadline: Timestamp::default() };
        head.take(&flow);
        let slot = if let Some(slot) = self.free.pop() {
            self.flows[slot as usize / PIECE][slot as usize % PIECE] = flow;
            self.heads[slot as usize] = Some(head);
            slot
        } else {
            match self.flows.last_mut().filter(|piece| piece.len() < PIECE) {
                Some(piece) => piece.push(flow),
                None => {
                    let mut piece = Vec::with_capacity(PIECE);
                    piece.push(flow);
                    self.flows.push(piece);
                }
            }
            self.heads.push(Some(head));
            self.heads.len() as u32 - 1
        };
        self.index.insert(key, slot);
        slot
    }

    /// Flows that are over at `now`.
    pub(super) fn ended(&self, now: Timestamp) -> Vec<(FlowKey, EndReason)> {
        let over = |(head, flow): (&Head, &Tracked)| {
            let reason = if now >= head.deadline { flow.ended(&head.key, now) } else { None };
            reason.map(|reason| (head.key, reason))
        };
        self.kept().filter_map(over).collect()
    }

    /// Every flow, with why it ends now.
    pub(super) fn all(&self, now: Timestamp) -> Vec<(FlowKey, EndReason)> {
        let reason = |head: &Head, flow: &Tracked| flow.ended(&head.key, now).unwrap_or(EndReason::Shutdown);
        self.kept().map(|(head, flow)| (head.key, reason(head, flow))).collect()
    }

    fn kept(&self) -> impl Iterator<Item = (&Head, &Tracked)> {
        // Pieces are filled in the order of the slots.
        self.heads.iter().zip(self.flows.iter().flatten()).filter_map(|(head, flow)| Some((head.as_ref()?, flow)))
    }

    /// Forgets a flow; `last` is what the map held when its entry was removed.
    pub(super) fn remove(
        &mut self,
        key: &FlowKey,
        last: Option<&FlowStats>,
        reason: EndReason,
        clock_offset_ns: u64,
        sink: &mut Sink<'_>,
    ) {
        if let Some(slot) = self.index.remove(key) {
            let flow = &mut self.flows[slot as usize / PIECE][slot as usize % PIECE];
            if let Some(last) = last {
                split(flow, key, last, clock_offset_ns, sink);
            }
            let delta = last.and_then(|last| flow.advance(last, clock_offset_ns));
            sink(FlowUpdate { key, flow, delta: delta.as_ref(), ended: Some(reason) });
            self.heads[slot as usize] = None;
            self.free.push(slot);
        }
        if self.index.is_empty() {
            // Nothing of a flood of flows stays in memory.
            *self = Self::default();
        }
    }

    /// Reports the end of every flow.
    pub(super) fn finish(&mut self, sink: &mut Sink<'_>) {
        for (head, flow) in self.kept() {
            sink(FlowUpdate { key: &head.key, flow, delta: None, ended: Some(EndReason::Shutdown) });
        }
        *self = Self::default();
    }
}

impl Head {
    fn take(&mut self, flow: &Tracked) {
        self.volumes = volumes(&flow.last);
        self.cuts = flow.last.cut.count;
        self.deadline = flow.deadline(&self.key);
    }
}

fn volumes(reading: &FlowStats) -> [Volume; 2] {
    [reading.dir[0].volume, reading.dir[1].volume]
}

/// Reports the end of a flow whose ports another connection uses now, and goes on with that one.
fn split(flow: &mut Tracked, key: &FlowKey, reading: &FlowStats, clock_offset_ns: u64, sink: &mut Sink<'_>) {
    if let Some((delta, next)) = flow.split(key, reading, clock_offset_ns) {
        sink(FlowUpdate { key, flow, delta: delta.as_ref(), ended: Some(EndReason::Closed) });
        *flow = next;
    }
}

#[cfg(test)]
mod tests {
    use nta_common::packet::{Packet, proto};
    use nta_common::{Clock, First, FlowKey4};

    use super::*;
    use crate::domain::FlowDelta;

    struct At(u64);

    impl Clock for At {
        fn coarse_ns(&self) -> u64 {
            self.0
        }

        fn exact_ns(&self) -> u64 {
            self.0
        }
    }

    /// A flow table as simple as can be, whose walk has an order of its own.
    #[derive(Default)]
    struct Model {
        map: Vec<(FlowKey, FlowStats)>,
        last: HashMap<FlowKey, Tracked>,
        now_ns: u64,
        random: u64,
    }

    type Told = (FlowKey, u64, Option<FlowDelta>, Option<EndReason>);

    fn told(update: &FlowUpdate<'_>) -> Told {
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
            self.map[at].1.add(&packet, 1, direction, self.now_ns, &At(self.now_ns));
        }

        fn drain(&mut self) -> Vec<Told> {
            let mut all = Vec::new();
            for (key, reading) in &self.map {
                let flow = self.last.entry(*key).or_insert_with(|| Tracked::new(key, reading, 0));
                split(flow, key, reading, 0, &mut |update| all.push(told(&update)));
                if let Some(delta) = flow.advance(reading, 0) {
                    all.push(told(&FlowUpdate { key, flow, delta: Some(&delta), ended: None }));
                }
            }
            all
        }

        fn ended(&self) -> Vec<(FlowKey, EndReason)> {
            let now = Timestamp::from_nanos(self.now_ns);
            let mut ended: Vec<_> =
                self.last.iter().filter_map(|(key, flow)| Some((*key, flow.ended(key, now)?))).collect();
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
            tracker.rewind();
            for (key, reading) in &model.map {
                tracker.read(*key, reading, 0, &mut |update| all.push(told(&update)));
            }
            updates += all.len();
            assert_eq!(all, model.drain(), "round {round}");
            assert_eq!(tracker.len(), model.map.len());
            model.now_ns += 900_000_000;
            let mut ended = tracker.ended(Timestamp::from_nanos(model.now_ns));
            ended.sort_by_key(|(key, _)| *key);
            assert_eq!(ended, model.ended(), "round {round}");
            for (key, reason) in ended {
                let last = model.remove(&key);
                tracker.remove(&key, Some(&last), reason, 0, &mut |update| assert_eq!(update.ended, Some(reason)));
                ends += 1;
            }
        }
        let mut kept = 0;
        tracker.finish(&mut |update| kept += usize::from(update.ended == Some(EndReason::Shutdown)));
        assert_eq!((kept, tracker.len()), (model.map.len(), 0));
        assert!(updates > 5000 && ends > 100, "{updates} updates, {ends} ends");
    }

    #[test]
    fn what_is_counted_between_a_reading_and_the_removal_is_told() {
        let mut model = Model { now_ns: 1_000_000_000, random: 7, ..Model::default() };
        let mut tracker = Tracker::default();
        model.packet();
        let (key, reading) = model.map[0];
        tracker.read(key, &reading, 0, &mut |_| {});
        while model.map[0].1 == reading {
            model.packet();
        }
        let counted = |reading: &FlowStats| volumes(reading)[0].since(&Volume::default()).packets;
        let at = model.map.iter().position(|(k, _)| *k == key).expect("it is there");
        let last = model.map[at].1;
        let mut all = Vec::new();
        tracker.remove(&key, Some(&last), EndReason::Idle, 0, &mut |update| all.push(told(&update)));
        assert_eq!(all.iter().filter_map(|t| t.2).map(|d| d.counts[0].packets).sum::<u64>(), counted(&last) - 1);
        assert_eq!(tracker.len(), 0);
    }
}
