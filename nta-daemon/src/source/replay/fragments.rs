//! The user engine's fragment map.

use std::collections::{HashMap, VecDeque};

use nta_common::limits::MAX_FRAGMENTED;
use nta_common::{FragmentKey, FragmentPorts};

/// Ports of fragmented datagrams, the oldest given up first.
#[derive(Default)]
pub(super) struct Fragments {
    ports: HashMap<FragmentKey, FragmentPorts, foldhash::fast::RandomState>,
    order: VecDeque<FragmentKey>,
}

impl Fragments {
    pub(super) fn remember(&mut self, key: &FragmentKey, ports: FragmentPorts) {
        if self.ports.insert(*key, ports).is_none() {
            self.order.push_back(*key);
            if self.order.len() > MAX_FRAGMENTED as usize
                && let Some(oldest) = self.order.pop_front()
            {
                self.ports.remove(&oldest);
            }
        }
    }

    pub(super) fn recall(&mut self, key: &FragmentKey) -> Option<FragmentPorts> {
        self.ports.get(key).copied()
    }
}
