//! What the pipeline emits, and how it reaches the sinks.

use nta_core::domain::{Alert, AlertChange, FlowRecord, FlowUpdate, PacketEvent, Status, Timestamp};
use nta_core::window::Snapshot;

/// What the pipeline emits, for each window in this order.
#[derive(Clone, Copy, Debug)]
pub enum PipelineEvent<'a> {
    /// The open window ends at this time of the run; its flows come now.
    Closing(Timestamp),
    /// A flow changed or ended; `flow` is what is known of it from now on.
    Flow {
        /// The change.
        update: &'a FlowUpdate<'a>,
        /// What it makes of the flow.
        flow: &'a FlowRecord,
    },
    /// A flow ended without another packet. Its record costs something: who wants it makes it.
    FlowEnded(&'a FlowUpdate<'a>),
    /// A flow that a run before knew was over before this one began.
    FlowGone(&'a FlowRecord),
    /// What a single packet said.
    Packet(&'a PacketEvent),
    /// A window of any span closed; a base window comes after all its flows.
    Window(&'a Snapshot),
    /// An alert was raised, goes on or is over; comes after the window that says so.
    Alert(AlertChange, &'a Alert),
    /// All alerts of a window were emitted; comes after the last of them.
    Judged(&'a Snapshot),
    /// Everything about a base window was emitted: the pipeline's state behind it.
    Closed(&'a Status),
}

/// Takes what it is for of what the pipeline emits. Each has a policy of its own when it is slow; none may wait for long
/// where capture is live.
pub trait Sink {
    /// Takes an event; numbers count up by one from 1 in each run, so that a sink knows what it missed.
    fn take(&mut self, number: u64, event: &PipelineEvent<'_>);
}

/// Hands every event to every sink, in their order.
pub struct Fanout<'a> {
    sinks: Vec<&'a mut dyn Sink>,
    emitted: u64,
}

impl<'a> Fanout<'a> {
    /// To these.
    pub const fn new(sinks: Vec<&'a mut dyn Sink>) -> Self {
        Self { sinks, emitted: 0 }
    }

    pub(super) fn emit(&mut self, event: PipelineEvent<'_>) {
        self.emitted += 1;
        for sink in &mut self.sinks {
            sink.take(self.emitted, &event);
        }
    }
}
