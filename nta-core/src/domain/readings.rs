//! What the next start goes on from when this one was killed.

use nta_common::LedgerSlot;

use super::FlowRecord;

/// The cumulative counters of a source whose maps outlive the process, as of a closed window: committed with it, they say
/// what of the maps was reported. What each flow's counters were follows from what was reported of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readings {
    /// Which maps.
    pub maps: String,
    /// When they were read, by the kernel's clock.
    pub time_ns: u64,
    /// What turned the kernel's clock into the run's time.
    pub clock_offset_ns: u64,
    /// The ledger, a row a slot.
    pub ledger: Vec<LedgerSlot>,
}

impl Readings {
    /// So much later than its time stamp a packet may show in the maps: the programs' clock ticks every 1 to 10 ms.
    pub const MARGIN_NS: u64 = 20_000_000;
}

/// What a start goes on from.
#[derive(Clone, Debug, Default)]
pub struct Resume {
    /// Number of that run in the store.
    pub run: i64,
    /// What the run before committed last.
    pub readings: Readings,
    /// What it reported of the flows that went on then.
    pub flows: Vec<FlowRecord>,
}
