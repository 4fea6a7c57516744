//! What a report needs of an analysis while it goes on.

use super::odd::Odd;
use super::series::{Of, Series};
use crate::report::{Alerts, Tally};
use nta_capture::Frame;
use nta_core::domain::{Alert, FlowRecord, FlowUpdate, PacketEvent, Timestamp, registered, server_port};
use nta_core::window::Window;

/// Sums, alerts and odd packets.
#[derive(Debug)]
pub(crate) struct Collector {
    pub(super) tally: Tally,
    pub(super) alerts: Alerts,
    pub(super) over_time: Series,
}

/// Looks at frames for a report.
#[derive(Debug, Default)]
pub(crate) struct FrameLook(pub(super) Odd);

impl FrameLook {
    /// Looks at one.
    pub(crate) fn look(&mut self, frame: &Frame<'_>) {
        self.0.look(frame);
    }
}

impl Collector {
    /// Of a capture whose windows are so long.
    pub(crate) fn new(window_ns: u64) -> Self {
        Self { tally: Tally::default(), alerts: Alerts::default(), over_time: Series::new(window_ns) }
    }

    /// A flow changed: what is new of it counts at the time of its last packet. Windows come later, from the thread that judges
    /// them; by then flows of the next ones have come.
    pub(crate) fn flow(&mut self, update: &FlowUpdate<'_>, flow: &FlowRecord) {
        let Some(delta) = update.delta else { return };
        let port = server_port(flow.proto, [flow.originator.port, flow.responder.port]);
        self.bytes((flow.proto, port), flow.last, delta.bytes());
    }

    fn bytes(&mut self, (proto, port): (u8, u16), at: Timestamp, bytes: u64) {
        // Ports without a name come by the ten thousand.
        let port = if registered(proto, port).is_some() { port } else { 0 };
        self.over_time.add(Of::Protocol(proto), at, bytes);
        self.over_time.add(Of::Service(proto, port), at, bytes);
    }

    /// A flow is over.
    pub(crate) fn ended(&mut self, update: &FlowUpdate<'_>) {
        self.tally.flow(update);
    }

    /// What a single packet says.
    pub(crate) fn event(&mut self, event: &PacketEvent) {
        self.tally.event(event);
    }

    /// A base window closed.
    pub(crate) fn window(&mut self, window: &Window) {
        self.tally.window(window);
        // What found the table of flows full is in no flow.
        for overflow in &window.overflow {
            self.bytes((overflow.proto, overflow.port), window.start, overflow.bytes);
        }
        if let Some(others) = &window.overflow_others {
            self.over_time.add(Of::Protocols, window.start, others.bytes);
            self.over_time.add(Of::Services, window.start, others.bytes);
        }
    }

    /// Everything was seen.
    pub(crate) fn end(&mut self) {
        self.alerts.without_folded();
    }

    /// An alert was raised or has changed.
    pub(crate) fn alert(&mut self, alert: &Alert) {
        self.alerts.take(alert);
    }
}
