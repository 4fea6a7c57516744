//! What was told of flows before: by a run before this one, and of flows of one packet, which is all that there is to be told of them.

use std::collections::HashMap;
use std::net::IpAddr;

use nta_common::{Embryo, FlowStats};

use crate::source::Sink;
use nta_core::domain::{EndReason, FlowId, FlowKey, FlowRecord, Origin, Timestamp, Tracked};

/// What a run before reported, by protocol and endpoints, the smaller one first.
#[derive(Default)]
pub(super) struct Reported {
    pub(super) flows: HashMap<(u8, [(IpAddr, u16); 2]), FlowRecord>,
    pub(super) clock_offset_ns: u64,
    /// Up to then, by the kernel's clock, flows of one packet that are not among these stand in rows of many.
    pub(super) until_ns: u64,
}

impl Reported {
    pub(super) fn key(proto: u8, mut endpoints: [(IpAddr, u16); 2]) -> (u8, [(IpAddr, u16); 2]) {
        endpoints.sort_unstable();
        (proto, endpoints)
    }

    /// Whether a flow of one packet was reported with others, of which nothing else is known.
    pub(super) fn has_grouped(&self, key: &FlowKey, first_ns: u64) -> bool {
        first_ns < self.until_ns && !self.flows.contains_key(&Self::key(key.proto(), key.endpoints()))
    }

    /// The state behind the last reading of the run before; a new one where it did not report the flow.
    pub(super) fn track(&mut self, key: &FlowKey, reading: &FlowStats, origin: &Origin) -> Tracked {
        if self.flows.is_empty() {
            return Tracked::new(key, reading, origin);
        }
        match self.flows.remove(&Self::key(key.proto(), key.endpoints())) {
            Some(reported) => Tracked::resumed(key, reading, origin, &reported, self.clock_offset_ns),
            None => Tracked::new(key, reading, origin),
        }
    }
}

/// A flow of one packet, as it was told.
pub(super) struct Told {
    first: Embryo,
    pub(super) id: FlowId,
    /// When the flow is over if no packet comes any more, and why then.
    pub(super) expiry: Timestamp,
    pub(super) reason: EndReason,
    /// A run before reported it with others: nobody knows it by its identity.
    pub(super) is_grouped: bool,
}

impl Told {
    /// Reports the flow.
    pub(super) fn report(
        key: &FlowKey,
        first: &Embryo,
        origin: &Origin,
        is_grouped: bool,
        sink: &mut Sink<'_>,
    ) -> Self {
        let reading = first.grown(key.proto());
        let mut flow = Tracked::new(key, &reading, origin);
        flow.take(key, &reading, origin, None, sink);
        let (expiry, reason) = flow.expiry(key, &reading);
        Self { first: *first, id: flow.id, expiry, reason, is_grouped }
    }

    /// The state behind what was told.
    pub(super) fn tracked(&self, key: &FlowKey, origin: &Origin) -> Tracked {
        let reading = self.first.grown(key.proto());
        let mut flow = Tracked::new(key, &reading, origin);
        flow.take(key, &reading, origin, None, &mut |_| {});
        // It was named when it was told; a reading of another capture names otherwise.
        flow.id = self.id;
        flow
    }
}
