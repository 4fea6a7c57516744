//! The flows of a window: in two halves by originator, so that two threads may bring them into order.

use std::hash::BuildHasher as _;

use super::host::{Seed, hash};
use super::hosts::{SHARDS, shard_number};
use super::pool::Pool;
use super::{Both, Window, address_number};
use crate::domain::{FlowId, FlowObservation, Timestamp};

/// Flows with at least one packet in a window. Each half is in order by originator, responder, responder's port and protocol,
/// and time: tables hand flows out in an order of their own, and what is found in them must not depend on it. So all flows of
/// who asks, and of a service that it asks, lie together, and who looks for them needs no table.
#[derive(Clone, Debug, Default)]
pub struct Flows {
    halves: [Vec<FlowObservation>; SHARDS],
    pool: Pool<FlowObservation>,
}

/// A run has at least so many flows, unless it is the last: few enough for a processor's own cache to hold it while one after
/// another looks at it.
const RUN: usize = 512;

/// Flows that lie together, and with the flows of an originator all of them.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// The flows.
    pub flows: &'a [FlowObservation],
    /// Number of the first one among the window's.
    pub first: usize,
    /// The window's first instant.
    pub start: Timestamp,
    /// First instant behind it.
    pub end: Timestamp,
    /// Its measured length in nanoseconds.
    pub length_ns: u64,
    pub(super) half: usize,
    seed: &'a Seed,
}

impl Run<'_> {
    /// The hash under which a distinct value is counted.
    pub fn hash(&self, value: &impl std::hash::Hash) -> u32 {
        hash(self.seed, value)
    }

    /// The same with all of its bits.
    pub(crate) fn long_hash(&self, value: &impl std::hash::Hash) -> u64 {
        self.seed.hash_one(value)
    }

    /// The window's length in seconds.
    pub fn seconds(&self) -> f64 {
        self.length_ns as f64 / 1e9
    }
}

impl Flows {
    /// Room for so many flows.
    pub(super) fn with_room_for(count: usize, pool: &Pool<FlowObservation>) -> Self {
        let mut flows = Self { halves: Default::default(), pool: pool.clone() };
        for half in &mut flows.halves {
            if let Some(room) = pool.take() {
                *half = room;
            }
            half.reserve(count / SHARDS);
        }
        flows
    }

    /// Adds one, in no order yet.
    pub(super) fn push(&mut self, seed: &Seed, seen: FlowObservation) {
        self.halves[shard_number(seed, seen.flow.originator.address)].push(seen);
    }

    /// Brings them into order.
    pub(super) fn sort(&mut self, both: &impl Both) {
        let [one, other] = &mut self.halves;
        both.both(|| sort(one), || sort(other));
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.halves.iter().map(Vec::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &FlowObservation> {
        self.halves.iter().flatten()
    }

    /// The flow of a number, as it follows from [`Run::first`].
    pub fn get(&self, number: usize) -> Option<&FlowObservation> {
        let [one, other] = &self.halves;
        one.get(number).or_else(|| other.get(number - one.len()))
    }

    /// All of them in runs; `seed` is that of the window.
    pub(super) fn runs<'a>(&'a self, window: &Window, seed: &'a Seed) -> impl Iterator<Item = Run<'a>> + use<'a> {
        let (start, end, length_ns) = (window.start, window.end, window.judged_ns());
        let mut next = [0; SHARDS];
        let mut half = 0;
        std::iter::from_fn(move || {
            while next[half] == self.halves[half].len() {
                half += 1;
                if half == SHARDS {
                    return None;
                }
            }
            let (first, left) = (next[half], &self.halves[half][next[half]..]);
            let mut count = left.len().min(RUN);
            let last = left[count - 1].flow.originator.address;
            count += left[count..].iter().take_while(|seen| seen.flow.originator.address == last).count();
            next[half] += count;
            let before: usize = self.halves[..half].iter().map(Vec::len).sum();
            Some(Run { flows: &left[..count], first: before + first, start, end, length_ns, half, seed })
        })
    }
}

/// Where a flow lies among those of its half.
const fn place(seen: &FlowObservation) -> ([u128; 2], u32, Timestamp, FlowId) {
    let flow = &seen.flow;
    let service = (flow.responder.port as u32) << 8 | flow.proto as u32;
    let ends = [address_number(flow.originator.address), address_number(flow.responder.address)];
    (ends, service, flow.first, flow.id)
}

/// Brings flows into order. Most windows know one family of addresses only, whose places fit into one number: much quicker to sort.
fn sort(flows: &mut [FlowObservation]) {
    let is_v4 =
        |seen: &FlowObservation| seen.flow.originator.address.is_ipv4() && seen.flow.responder.address.is_ipv4();
    if !flows.iter().all(is_v4) {
        flows.sort_by_cached_key(place);
        return;
    }
    flows.sort_by_cached_key(|seen| {
        let ([originator, responder], service, first, id) = place(seen);
        let ends = u64::from(originator as u32) << 32 | u64::from(responder as u32);
        (u128::from(ends) << 64 | u128::from(service) << 32, first, id)
    });
}

impl Drop for Flows {
    /// Gives back the room that they had, unless it was far more than they needed.
    fn drop(&mut self) {
        let Self { halves, pool } = self;
        pool.keep(|kept| {
            for half in halves {
                if half.capacity() > 0 && half.capacity() <= 4 * half.len().max(512) && kept.len() < SHARDS {
                    half.clear();
                    kept.push(std::mem::take(half));
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::fixture::flow;

    #[test]
    fn flows_of_one_family_come_in_the_order_of_those_of_both() {
        let hosts = ["192.0.2.1", "10.0.0.9", "224.0.0.1", "9.255.255.255", "0.0.0.1"];
        let mut flows = Vec::new();
        for (from, to) in hosts.iter().flat_map(|from| hosts.map(|to| (*from, to))) {
            for (port, time_s) in [(443, 3.0), (53, 1.0), (443, 1.0), (65_535, 2.0)] {
                flows.push(flow(from, to, port, time_s, [1, 1]));
            }
        }
        let sorted = |mut flows: Vec<FlowObservation>| {
            sort(&mut flows);
            flows.iter().map(place).collect::<Vec<_>>()
        };
        let of_one = sorted(flows.clone());
        assert!(of_one.is_sorted());
        flows.push(flow("2001:db8::1", "ff02::1", 443, 0.0, [1, 1]));
        flows.push(flow("::1", "::1", 443, 0.0, [1, 1]));
        let of_both = sorted(flows);
        assert!(of_both.is_sorted());
        assert_eq!(of_both[1..=of_one.len()], of_one);
    }
}
