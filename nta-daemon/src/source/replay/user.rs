//! The user engine: the same parser and accounting over the capture's bytes, without privileges.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use hashlink::LruCache;
use nta_common::limits::MAX_OVERFLOWS;
use nta_common::tunnel::{Inner, Outer};
use nta_common::{
    CaptureClock, CpuSlot, Entry, Family, First, FlowKey4, FlowKey6, Flows, FragmentKey, FragmentPorts, LedgerSlot,
    OverflowKey, SliceReader, TunnelPorts, Volume, account,
};
use nta_core::domain::{
    FlowId, FlowKey, FlowUpdate, IdentityScope, Interface, Ledger, MapFill, Origin, OverflowDelta, PacketEvent,
    Timestamp,
};

use super::events::UserEvents;
use super::fragments::Fragments;
use super::hint::{Hint, Hinter, hash};
use super::table::Table;
use super::{Engine, GROUP};
use crate::source::kernel::max_nested;
use crate::source::nested::{self, Parents};
use crate::source::{EventSettings, FlowSource, Sink, SourceError};

/// Flow tables in memory.
pub struct UserEngine {
    name: String,
    flows: UserFlows,
    slot: CpuSlot,
    events: UserEvents,
    tunnels: Option<TunnelPorts>,
}

/// What an entry of the list of nested flows takes beyond key and value: two pointers, and a place in the index.
const NESTED_OVERHEAD: usize = 24;

struct UserFlows {
    v4: Table,
    v6: Table,
    hash: RandomState,
    /// What was counted of each destination, now and at the last reading.
    overflow: HashMap<OverflowKey, [Volume; 2], RandomState>,
    fragments: Fragments,
    /// Which flow lies in which.
    nested: LruCache<Inner, Outer, RandomState>,
    origin: Origin,
}

impl UserEngine {
    /// Empty tables for `max_flows` IPv4 and IPv6 flows; `name` is the name of the capture.
    pub fn new(name: &str, max_flows: [u32; 2], tunnels: Option<TunnelPorts>, events: EventSettings) -> Self {
        let flows = UserFlows {
            v4: Table::new("FLOWS4", max_flows[0]),
            v6: Table::new("FLOWS6", max_flows[1]),
            hash: RandomState::default(),
            overflow: HashMap::default(),
            fragments: Fragments::default(),
            nested: LruCache::with_hasher(max_nested(max_flows) as usize, RandomState::default()),
            origin: Origin::default(),
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

    fn hinter(&self) -> Option<Hinter> {
        Some(Hinter::new(self.flows.hash.clone(), self.tunnels))
    }

    fn look_ahead(&self, hints: &[Option<Hint>]) {
        for hints in hints.chunks(GROUP) {
            let mut places = [None; GROUP];
            for (place, hint) in places.iter_mut().zip(hints) {
                *place =
                    hint.and_then(|hint| self.flows.table(hint.family).find(hint.hash).map(|slot| (hint.family, slot)));
            }
            for (family, slot) in places.into_iter().flatten() {
                self.flows.table(family).look_ahead(slot);
            }
        }
    }

    fn name(&self) -> &'static str {
        "user"
    }
}

impl UserFlows {
    #[inline]
    fn table(&self, family: Family) -> &Table {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    /// The identity under which a flow is tracked.
    fn id(&self, key: &FlowKey) -> Option<FlowId> {
        match key {
            FlowKey::V4(v4) => self.v4.id(key, hash(&self.hash, v4)),
            FlowKey::V6(v6) => self.v6.id(key, hash(&self.hash, v6)),
        }
    }

    fn nested_fill(&self) -> MapFill {
        let entry = (size_of::<Inner>() + size_of::<Outer>() + NESTED_OVERHEAD) as u64;
        let (entries, max_entries) = (self.nested.len() as u64, self.nested.capacity() as u64);
        MapFill { name: "NESTED".to_owned(), entries, max_entries, memory_bytes: entries * entry }
    }

    /// In which flows others lie.
    fn parents(&self) -> Parents {
        let mut parents = Parents::default();
        for link in &self.nested {
            nested::add(&mut parents, link, |key| self.id(key), &self.origin);
        }
        parents
    }
}

impl Flows for UserFlows {
    #[inline]
    fn entry4(&mut self, key: &FlowKey4, first: &First<'_>, ledger: &mut LedgerSlot) -> Entry<'_> {
        let flow = self.v4.entry(&FlowKey::V4(*key), hash(&self.hash, key), first, ledger);
        flow.map_or(Entry::no_room(), |flow| Entry::whole(flow, first.direction))
    }

    #[inline]
    fn entry6(&mut self, key: &FlowKey6, first: &First<'_>, ledger: &mut LedgerSlot) -> Entry<'_> {
        let flow = self.v6.entry(&FlowKey::V6(*key), hash(&self.hash, key), first, ledger);
        flow.map_or(Entry::no_room(), |flow| Entry::whole(flow, first.direction))
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

    fn nest(&mut self, inner: &Inner, outer: &Outer) -> bool {
        if self.nested.get(inner) != Some(outer) {
            self.nested.insert(*inner, *outer);
        }
        true
    }
}

impl FlowSource for UserEngine {
    fn identify(&mut self, ids: IdentityScope) {
        self.flows.origin.ids = ids;
        self.flows.v4.identify(ids);
        self.flows.v6.identify(ids);
    }

    fn drain(&mut self, sink: &mut Sink<'_>) -> Result<(), SourceError> {
        let parents = self.flows.parents();
        self.flows.v4.drain(&parents, sink);
        self.flows.v6.drain(&parents, sink);
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

    fn events(&mut self, sink: &mut dyn FnMut(PacketEvent)) -> Result<(), SourceError> {
        self.events.read(sink);
        Ok(())
    }

    fn expire(&mut self, now: Timestamp, sink: &mut Sink<'_>) -> Result<(), SourceError> {
        let UserFlows { v4, v6, nested, .. } = &mut self.flows;
        let mut over = |update: FlowUpdate<'_>| {
            if !nested.is_empty() {
                for inner in update.key.inner() {
                    nested.remove(&inner);
                }
            }
            sink(update);
        };
        v4.expire(now, &mut over);
        v6.expire(now, &mut over);
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
        let mut maps = vec![self.flows.v4.fill(), self.flows.v6.fill()];
        maps.extend(self.tunnels.map(|_| self.flows.nested_fill()));
        maps
    }

    fn active(&self) -> u64 {
        (self.flows.v4.len() + self.flows.v6.len()) as u64
    }
}

#[cfg(test)]
mod tests {
    use nta_common::Counter;

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
        let mut engine = UserEngine::new("test", [8, 8], None, EventSettings::default());
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
        let mut engine = UserEngine::new("test", [1, 1], None, EventSettings::default());
        for (second, to) in [(1, 2), (1, 3), (2, 3), (2, 4), (2, 2)] {
            let frame = udp(0, 0, to);
            engine.inject(second * SECOND, frame.len() as u32, &frame).expect("accounted");
        }
        assert_eq!(flows(&mut engine), [(53, 2)]);
        let mut found = Vec::new();
        engine.overflows(&mut |o| found.push((o.destination.to_string(), o.port, o.counts.packets))).expect("no I/O");
        found.sort();
        assert_eq!(found, [("198.51.100.3".to_owned(), 53, 2), ("198.51.100.4".to_owned(), 53, 1)]);
        assert_eq!((engine.slot.ledger.get(Counter::Overflow), engine.slot.ledger.imbalance()), (3, 0));
        engine.overflows(&mut |o| panic!("reported twice: {o:?}")).expect("no I/O");
    }
}
