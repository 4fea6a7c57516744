//! Cumulative readings of the flow maps in, differences out: what the kernel's counters were at the last reading.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use nta_common::FlowStats;

use crate::domain::{EndReason, FlowKey, FlowUpdate, Timestamp, Tracked};
use crate::source::Sink;

/// Every flow that the maps hold, as last read. Bounded by the maps themselves.
#[derive(Default)]
pub(super) struct Tracker {
    flows: HashMap<FlowKey, Tracked, foldhash::fast::RandomState>,
}

impl Tracker {
    pub(super) fn len(&self) -> usize {
        self.flows.len()
    }

    /// Takes a reading of one flow.
    pub(super) fn read(&mut self, key: FlowKey, reading: &FlowStats, clock_offset_ns: u64, sink: &mut Sink<'_>) {
        let flow = match self.flows.entry(key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Tracked::new(&key, reading, clock_offset_ns)),
        };
        split(flow, &key, reading, clock_offset_ns, sink);
        if let Some(delta) = flow.advance(reading, clock_offset_ns) {
            sink(FlowUpdate { key: &key, flow, delta: Some(&delta), ended: None });
        }
    }

    /// Flows that are over at `now`.
    pub(super) fn ended(&self, now: Timestamp) -> Vec<(FlowKey, EndReason)> {
        self.flows.iter().filter_map(|(key, flow)| Some((*key, flow.ended(key, now)?))).collect()
    }

    /// Every flow, with why it ends now.
    pub(super) fn all(&self, now: Timestamp) -> Vec<(FlowKey, EndReason)> {
        self.flows.iter().map(|(key, flow)| (*key, flow.ended(key, now).unwrap_or(EndReason::Shutdown))).collect()
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
        if let Some(mut flow) = self.flows.remove(key) {
            if let Some(last) = last {
                split(&mut flow, key, last, clock_offset_ns, sink);
            }
            let delta = last.and_then(|last| flow.advance(last, clock_offset_ns));
            sink(FlowUpdate { key, flow: &flow, delta: delta.as_ref(), ended: Some(reason) });
        }
    }

    /// Reports the end of every flow.
    pub(super) fn finish(&mut self, sink: &mut Sink<'_>) {
        for (key, flow) in self.flows.drain() {
            sink(FlowUpdate { key: &key, flow: &flow, delta: None, ended: Some(EndReason::Shutdown) });
        }
    }
}

/// Reports the end of a flow whose ports another connection uses now, and goes on with that one.
fn split(flow: &mut Tracked, key: &FlowKey, reading: &FlowStats, clock_offset_ns: u64, sink: &mut Sink<'_>) {
    if let Some((delta, next)) = flow.split(key, reading, clock_offset_ns) {
        sink(FlowUpdate { key, flow, delta: delta.as_ref(), ended: Some(EndReason::Closed) });
        *flow = next;
    }
}
