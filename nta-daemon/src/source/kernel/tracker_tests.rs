//! What the tracker tells, against a table as simple as can be.

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
        let (flow, flags, seq) = (self.random(400) as u32, [2, 16, 16, 16][self.random(4) as usize], self.random(9));
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
            tracker.read(*key, Reading::Whole(reading), &Origin::default(), &mut |update| all.push(reported(&update)));
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
        let packet =
            Packet { proto: proto::UDP, src4: flow, dst4: 0xc000_0201, ip_len: 40, wire_len: 60, ..Packet::default() };
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
    assert_eq!((tracker.len(), tracker.has(&key), tracker.ended(Timestamp::from_nanos(now_ns)).len()), (1, true, 0));
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
        ends.push((update.ended, update.flow.totals.iter().map(|c| c.packets).sum::<u64>(), update.delta.is_some()));
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
    tracker.remove(&key, Some(&last), EndReason::Idle, &Origin::default(), &mut |update| all.push(reported(&update)));
    assert_eq!(all.iter().filter_map(|t| t.2).map(|d| d.counts[0].packets).sum::<u64>(), counted(&last) - 1);
    assert_eq!(tracker.len(), 0);
}
