//! Windows: what happened in 5 seconds, over the whole network and per host, and the longer ones merged from them. Time comes in as an argument; nothing here reads a
//! clock or does I/O, so a replay and a live run of the same packets give the same windows.

mod bucket;
mod closed;
mod distinct;
mod flows;
mod host;
mod hosts;
mod join;
mod measured;
mod pool;
mod rtt;
mod snapshot;

pub use bucket::{Overflow, Protocol, Talker, TcpSent, Window};
pub use closed::{Both, Closed, InTurn, See};
pub use distinct::Distinct;
pub use flows::{Flows, Run};
pub use host::{ByProtocol, DnsUse, HostRole, HostStats, Seed};
pub use hosts::{Hosts, MAX_HOSTS, address_number};
pub use measured::{Measured, NotWhole};
pub use rtt::{QUANTILES, Rtt};
pub use snapshot::{Cascade, Lengths, Snapshot, Span};

use bucket::Bucket;
use pool::Pools;

use nta_common::LedgerSlot;

use crate::domain::{FlowObservation, OverflowDelta, PacketEvent, Timestamp, difference};

/// Length of a window unless `--window` says otherwise.
pub const DEFAULT_WINDOW_NS: u64 = 5_000_000_000;

/// A time stamp this far before the open window is no late packet but a clock that was set back (or captures put
/// together in the wrong order): the window is closed and one is opened back there.
const STEP_BACK_NS: u64 = 60_000_000_000;

/// The open window, and the rule that says when it closes.
#[derive(Debug)]
pub struct Windows {
    span_ns: u64,
    open: Option<Bucket>,
    next_id: u64,
    ledger: LedgerSlot,
    seed: Seed,
    pools: Pools,
    /// Flows of the last window: room for as many is made at once.
    flows: usize,
}

/// What the next packet's time means for the open window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It belongs to the open window.
    Inside,
    /// It is older than the open window, which counts it all the same.
    Late,
    /// The open window has to be closed first.
    Closes,
}

impl Windows {
    /// Windows of `span_ns` nanoseconds, aligned to the Unix epoch. `seed` keys the hashes by which distinct values are
    /// counted.
    pub fn new(span_ns: u64, seed: Seed) -> Self {
        let (ledger, pools) = (LedgerSlot::default(), Pools::default());
        Self { span_ns: span_ns.max(1), open: None, next_id: 1, ledger, seed, pools, flows: 0 }
    }

    /// Opens the window that `time` lies in, if none is open.
    pub fn open_at(&mut self, time: Timestamp) {
        let start = time.floor(self.span_ns);
        self.open(start, start.plus(self.span_ns));
    }

    /// Opens a window from `start` to `end`, if none is open.
    pub fn open(&mut self, start: Timestamp, end: Timestamp) {
        if self.open.is_none() {
            self.open =
                Some(Bucket::new(self.next_id, [start, end], self.seed.clone(), self.pools.clone(), self.flows));
            self.next_id += 1;
        }
    }

    /// Moves the end of the open window: it is closed late, or early.
    pub fn end_at(&mut self, end: Timestamp) {
        if let Some(open) = &mut self.open {
            open.end = end.max(open.start);
        }
    }

    /// Start of the open window.
    pub fn start(&self) -> Option<Timestamp> {
        self.open.as_ref().map(|bucket| bucket.start)
    }

    /// End of the open window.
    pub fn end(&self) -> Option<Timestamp> {
        self.open.as_ref().map(|bucket| bucket.end)
    }

    /// What a packet of this time means for the open window.
    pub fn arrival(&self, time: Timestamp) -> Arrival {
        let Some(open) = &self.open else { return Arrival::Inside };
        if time >= open.end {
            Arrival::Closes
        } else if time >= open.start {
            Arrival::Inside
        } else if open.start.since(time) > STEP_BACK_NS {
            Arrival::Closes
        } else {
            Arrival::Late
        }
    }

    /// Counts a packet that came later than its window.
    pub fn note_late(&mut self) {
        if let Some(open) = &mut self.open {
            open.late_packets += 1;
        }
    }

    /// Adds a flow's change to the open window.
    pub fn add(&mut self, seen: FlowObservation) {
        if let Some(open) = &mut self.open {
            open.add(seen);
        }
    }

    /// Adds packets that found the flow table full.
    pub fn add_overflow(&mut self, overflow: &OverflowDelta) {
        if let Some(open) = &mut self.open {
            open.add_overflow(overflow);
        }
    }

    /// Counts an event.
    pub fn add_event(&mut self, event: &PacketEvent) {
        if let Some(open) = &mut self.open {
            open.add_event(event);
        }
    }

    /// Closes the open window; `ledger` is the cumulative reading taken with the last changes. It counts as whole and as long
    /// as from its start to its end.
    pub fn close(&mut self, ledger: &LedgerSlot) -> Option<Closed> {
        self.close_measured(ledger, Measured::default())
    }

    /// Closes the open window, of whose time this is known.
    pub fn close_measured(&mut self, ledger: &LedgerSlot, measured: Measured) -> Option<Closed> {
        let open = self.open.take()?;
        self.flows = open.flow_count();
        let counted = difference(ledger, &self.ledger);
        self.ledger = *ledger;
        Some(open.close(counted, Measured { span_ns: self.span_ns, ..measured }))
    }
}
