//! A base window behind its end: its flows brought into order, its hosts summed up. That takes longer than closing it, and
//! may happen on another thread.

use std::sync::Mutex;

use super::host::Seed;
use super::{Distinct, Hosts, Part, Snapshot, Span, Window, address_number};
use crate::domain::{Event, FlowId, FlowObservation, OverflowDelta, Timestamp};

/// A base window that has closed and is not yet brought into shape, which takes longer than closing it.
#[derive(Clone, Debug)]
pub struct Closed {
    pub(super) window: Window,
    pub(super) flows: Vec<FlowObservation>,
    pub(super) events: Vec<Event>,
    pub(super) overflow: Vec<OverflowDelta>,
    pub(super) seed: Seed,
}

impl Closed {
    /// Flows with at least one packet.
    pub const fn flows(&self) -> usize {
        self.flows.len()
    }

    /// The window with its hosts. DNS of hosts is that of the messages that were kept, 100,000 at most.
    /// `fill` has every part of the hosts filled: [`one_by_one`](super::one_by_one), or something faster.
    pub fn complete(self, fill: impl FnOnce([Part<'_>; 2])) -> Snapshot {
        let Self { window, mut flows, events, overflow, seed } = self;
        flows.sort_by_cached_key(place);
        let mut hosts = Hosts::new(seed);
        fill(hosts.parts(&flows));
        overflow.iter().for_each(|delta| hosts.add_overflow(delta));
        for event in &events {
            if let Event::Dns(message) = event {
                hosts.add_dns(message);
            }
        }
        let mut snapshot = Snapshot { span: Span::Base, window, hosts, flows, events, flow_ids: Distinct::default() };
        snapshot.settle();
        snapshot
    }
}

/// Where a flow lies among a window's: by originator, responder, responder's port and protocol, and time. Tables hand flows
/// out in an order of their own, and what is found in them must not depend on it; in this one all flows of who asks, and
/// of a service that it asks, lie together, so that who looks for them needs no table.
const fn place(seen: &FlowObservation) -> ([u128; 2], u32, Timestamp, FlowId) {
    let flow = &seen.flow;
    let service = (flow.responder.port as u32) << 8 | flow.proto as u32;
    let ends = [address_number(flow.originator.address), address_number(flow.responder.address)];
    (ends, service, flow.first, flow.id)
}

/// Room for a window's flows, of one that is over: the kernel need not find as much memory again.
static SPARE: Mutex<Vec<FlowObservation>> = Mutex::new(Vec::new());

/// Gives back the room that a window's flows had, unless it was far more than they needed.
pub(crate) fn give_back(mut flows: Vec<FlowObservation>) {
    let wasteful = flows.capacity() > 4 * flows.len().max(1024);
    flows.clear();
    if let Ok(mut spare) = SPARE.lock() {
        *spare = if wasteful { Vec::new() } else { flows };
    }
}

/// Room for so many flows.
pub(super) fn room_for(count: usize) -> Vec<FlowObservation> {
    let mut flows = SPARE.lock().map(|mut spare| std::mem::take(&mut *spare)).unwrap_or_default();
    flows.reserve(count);
    flows
}
