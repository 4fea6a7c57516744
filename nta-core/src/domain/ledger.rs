//! The ledger of every interface: where each packet that was seen ended up.

use nta_common::{Counter, LedgerSlot};

/// A source of packets: a network interface, or the capture of a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Name as in `ip link`, or the capture's file name.
    pub name: String,
    /// What was counted so far.
    pub counts: LedgerSlot,
}

/// A reading of all interfaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// One row per interface.
    pub interfaces: Vec<Interface>,
}

impl Ledger {
    /// The sum over all interfaces.
    pub fn total(&self) -> LedgerSlot {
        let mut total = LedgerSlot::default();
        for interface in &self.interfaces {
            total.merge(&interface.counts);
        }
        total
    }

    /// Whether every interface's parts add up to what it saw.
    pub fn balances(&self) -> bool {
        self.interfaces.iter().all(|interface| interface.counts.imbalance() == 0)
    }
}

/// What `later` counted beyond `earlier`.
pub fn difference(later: &LedgerSlot, earlier: &LedgerSlot) -> LedgerSlot {
    let mut out = *later;
    for counter in Counter::ALL {
        out.packets[counter as usize] = later.get(counter).wrapping_sub(earlier.get(counter));
    }
    out.seen_bytes = later.seen_bytes.wrapping_sub(earlier.seen_bytes);
    out.overflow_bytes = later.overflow_bytes.wrapping_sub(earlier.overflow_bytes);
    out
}
