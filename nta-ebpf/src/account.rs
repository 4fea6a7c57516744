//! From a hook to the shared accounting: the interface's ledger slot and this CPU's copy of it.

use nta_common::{Clock, Counter, PacketReader};

use crate::events::KernelEvents;
use crate::flows::KernelFlows;
use crate::maps::LEDGER;

/// Accounts a packet of the interface that owns the ledger slot. Returns where it was counted.
#[inline(always)]
pub(crate) fn packet<R: PacketReader, C: Clock>(reader: &R, clock: &C, slot: u32) -> Counter {
    let Some(slot) = LEDGER.get_ptr_mut(slot) else { return Counter::Seen };
    // SAFETY: this CPU's copy of an array entry; programs on one CPU do not interrupt each other at these hooks.
    let slot = unsafe { &mut *slot };
    nta_common::account(reader, clock, &mut KernelFlows, &mut KernelEvents, slot)
}

/// Adds to a counter of a ledger slot.
#[inline(always)]
pub(crate) fn note(slot: u32, counter: Counter, packets: u32) {
    if let Some(slot) = LEDGER.get_ptr_mut(slot) {
        // SAFETY: as in `packet`.
        unsafe { (*slot).ledger.add(counter, packets) };
    }
}
