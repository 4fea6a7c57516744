//! What the thread that reads ahead finds out about a frame for the thread that accounts it.

use std::hash::{BuildHasher as _, Hash};

use foldhash::fast::RandomState;
use nta_common::{Family, FlowKey4, FlowKey6, Packet, SliceReader, TunnelPorts, parse};

/// In which table, and under which hash, a frame's flow is likely to be. Only the order of memory accesses depends on it: a
/// frame may end up in another flow (a later fragment has the ports of the first one).
#[derive(Clone, Copy, Debug)]
pub struct Hint {
    pub(super) family: Family,
    pub(super) hash: u32,
}

/// Makes [`Hint`]s for one engine's tables.
#[derive(Clone)]
pub struct Hinter {
    state: RandomState,
    tunnels: Option<TunnelPorts>,
}

impl Hinter {
    pub(super) fn new(state: RandomState, tunnels: Option<TunnelPorts>) -> Self {
        Self { state, tunnels }
    }

    /// The hint for a frame; `None` for one that is in no flow.
    pub(super) fn hint(&self, wire_len: u32, data: &[u8]) -> Option<Hint> {
        let mut packet = Packet::default();
        let family = parse(&SliceReader::new(data, wire_len).with_tunnels(self.tunnels), &mut packet).ok()?;
        let hash = match family {
            Family::V4 => hash(&self.state, &FlowKey4::of(&packet).0),
            Family::V6 => hash(&self.state, &FlowKey6::of(&packet).0),
        };
        Some(Hint { family, hash })
    }
}

/// The hash of a key in its table.
#[inline]
pub(super) fn hash(state: &RandomState, key: &impl Hash) -> u32 {
    let hash = state.hash_one(key);
    (hash ^ hash >> 32) as u32
}
