//! A base window behind its end: its flows brought into order, its hosts summed up. That takes longer than closing it, and
//! may happen on another thread, or on two.

use super::bucket::TOP_TALKERS;
use super::host::{HostStats, Seed};
use super::hosts::leaders;
use super::pool::Pool;
use super::{Distinct, Flows, Hosts, Run, Snapshot, Span, Window};
use crate::domain::{OverflowDelta, PacketEvent};

/// A base window that has closed and is not yet brought into shape, which takes longer than closing it.
#[derive(Clone, Debug)]
pub struct Closed {
    pub(super) window: Window,
    pub(super) flows: Flows,
    pub(super) events: Vec<PacketEvent>,
    pub(super) overflow: Vec<OverflowDelta>,
    pub(super) seed: Seed,
    /// Memory for its hosts.
    pub(super) hosts: Pool<HostStats>,
}

/// Does two things: at once, or one after the other.
pub trait Both {
    /// Does them.
    fn both<A: Send, B: Send>(&self, one: impl FnOnce() -> A + Send, other: impl FnOnce() -> B + Send) -> (A, B);
}

/// One after the other.
#[derive(Clone, Copy, Debug)]
pub struct InTurn;

impl Both for InTurn {
    fn both<A: Send, B: Send>(&self, one: impl FnOnce() -> A + Send, other: impl FnOnce() -> B + Send) -> (A, B) {
        (one(), other())
    }
}

/// Sees the flows of a window, a run at a time.
pub type See<'a> = dyn FnMut(&Run<'_>) + Send + 'a;

impl Closed {
    /// Flows with at least one packet.
    pub fn flows(&self) -> usize {
        self.flows.len()
    }

    /// The window with its hosts. DNS of hosts is that of the messages that were kept, 100,000 at most.
    pub fn complete(self) -> Snapshot {
        self.complete_with(&InTurn, [&mut |_| (), &mut |_| ()])
    }

    /// The same, by `both`; each of `see` sees all flows meanwhile, which are not looked at again as cheaply.
    pub fn complete_with(self, both: &impl Both, see: [&mut See<'_>; 2]) -> Snapshot {
        let Self { mut window, mut flows, events, overflow, seed, hosts } = self;
        flows.sort(both);
        let mut hosts = Hosts::in_pool(seed, &hosts);
        let [one, other] = hosts.parts(&window, &flows, &overflow, &events);
        let [see_one, see_other] = see;
        let (one, other) = both.both(|| one.fill(see_one), || other.fill(see_other));
        let mut flow_ids = Distinct::default();
        [&one, &other].into_iter().for_each(|done| flow_ids.merge(&done.flow_ids));
        (window.top_talkers, window.others) = leaders([one.leading, other.leading], TOP_TALKERS);
        if window.measured.folded > 0 {
            // Flows may have been reported several times within it.
            window.flows = flow_ids.count();
        }
        window.settle_sums();
        Snapshot { span: Span::Base, visibility: window.visibility, window, hosts, flows, events, flow_ids }
    }
}
