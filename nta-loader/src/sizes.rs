//! How many entries each map has, from a memory budget.

use nta_common::limits::MAX_NESTED;
use nta_common::{Embryo, FlowKey4, FlowKey6, FlowStats};

/// What a hash map entry takes in the kernel beyond key and value (`struct htab_elem`).
const ENTRY_OVERHEAD: u64 = 48;

/// Share of the map memory that goes to IPv4, in percent.
const IPV4_SHARE: u64 = 60;
/// Fewer flows than this make no useful map, whatever the budget says.
const MIN_FLOWS: u64 = 64;
/// Translated connections that are known at once: one for so many flows. Each takes a fifth of a flow's memory, of IPv6 a quarter.
const FLOWS_PER_TRANSLATION: u32 = 2;
/// Entries of a map of translations, or of nested flows, that nothing is written to.
pub(crate) const SMALLEST_NAT: u32 = 64;
/// Directions of flows of which is known in which flow they lie: one for so many flows, and no fewer than these.
const FLOWS_PER_NESTED: u32 = 4;
const FEWEST_NESTED: u32 = 1024;

/// Translated connections that are known beside so many flows.
pub(crate) fn max_translated(max_flows: [u32; 2]) -> [u32; 2] {
    max_flows.map(|flows| (flows / FLOWS_PER_TRANSLATION).max(SMALLEST_NAT))
}

/// Directions of flows within others that are known beside so many flows, where tunnels are opened.
pub fn max_nested(max_flows: [u32; 2]) -> u32 {
    let flows = max_flows.iter().fold(0_u32, |sum, flows| sum.saturating_add(*flows));
    (flows / FLOWS_PER_NESTED).clamp(FEWEST_NESTED, MAX_NESTED)
}

/// Entries of this size that fit a share of `mib` MiB of map memory: IPv4, IPv6.
fn entries(mib: u64, thirds: u64, value: usize) -> [u32; 2] {
    let budget = mib.saturating_mul(1 << 20) / 3 * thirds;
    let fit = |share: u64, key: usize| {
        let each = (key + value) as u64 + ENTRY_OVERHEAD;
        (budget / 100 * share / each).clamp(MIN_FLOWS, 1 << 26) as u32
    };
    [fit(IPV4_SHARE, size_of::<FlowKey4>()), fit(100 - IPV4_SHARE, size_of::<FlowKey6>())]
}

/// Flows with whole entries that fit `mib` MiB of map memory, of which they have two thirds.
pub(crate) fn max_flows(mib: u64) -> [u32; 2] {
    entries(mib, 2, size_of::<FlowStats>())
}

/// Flows of one packet that fit the rest of it: about two and a half times as many. Every flow begins as one, and is one until the daemon
/// has read its whole entry twice: so many can begin in two windows.
pub(crate) fn max_embryos(mib: u64) -> [u32; 2] {
    entries(mib, 1, size_of::<Embryo>())
}
