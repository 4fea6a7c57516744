//! Where packets come from: programs in the kernel, live or fed by a replay, and the user engine of a replay. Each is a
//! [`FlowSource`], so everything behind it is the same.

#[cfg(not(fuzzing))]
mod dns;
#[cfg(fuzzing)]
pub mod dns;
mod event;
pub mod kernel;
mod nested;
mod places;
pub mod replay;

pub use nta_loader::{EventSettings, SourceError};

use nta_core::domain::{
    FlowRecord, FlowUpdate, IdentityScope, Ledger, MapFill, OverflowDelta, PacketEvent, Readings, Timestamp,
};

/// Takes flows as they change.
pub type Sink<'a> = dyn FnMut(FlowUpdate<'_>) + 'a;

/// The edge between the packet path and the rest: cumulative counters in, differences out.
pub trait FlowSource: Send {
    /// Names the flows that are new from now on.
    fn identify(&mut self, ids: IdentityScope);

    /// Reports every flow that changed since the last call.
    fn drain(&mut self, sink: &mut Sink<'_>) -> Result<(), SourceError>;

    /// Reports what was counted since the last call of packets that found the flow table full.
    fn overflows(&mut self, sink: &mut dyn FnMut(OverflowDelta)) -> Result<(), SourceError>;

    /// Reports the events since the last call, in the order of their packets (of each CPU).
    fn events(&mut self, sink: &mut dyn FnMut(PacketEvent)) -> Result<(), SourceError>;

    /// Forgets flows that are over at `now` and reports each one's end. Follows a [`FlowSource::drain`].
    fn expire(&mut self, now: Timestamp, sink: &mut Sink<'_>) -> Result<(), SourceError>;

    /// Reports the end of every flow that is still kept.
    fn finish(&mut self, sink: &mut Sink<'_>);

    /// What was counted so far.
    fn ledger(&mut self) -> Result<Ledger, SourceError>;

    /// Flows that a run before reported and that were over before this one read anything, once each.
    fn gone(&mut self) -> Vec<FlowRecord> {
        Vec::new()
    }

    /// What the last [`FlowSource::ledger`] read, where the counters outlive the process.
    fn readings(&self) -> Option<Readings> {
        None
    }

    /// How full the tables are.
    fn maps(&self) -> Vec<MapFill>;

    /// Flows that are kept.
    fn active(&self) -> u64;
}
