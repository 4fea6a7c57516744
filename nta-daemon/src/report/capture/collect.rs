//! What a report needs of an analysis while it goes on.

use std::collections::BTreeMap;

use super::odd::Odd;
use super::series::Series;
use crate::json::protocol_name;
use crate::report::services::{label, service};
use crate::report::tally::server_port;
use crate::report::{Alerts, Tally};
use nta_capture::Frame;
use nta_core::domain::{Alert, FlowRecord, FlowUpdate};
use nta_core::window::Window;

/// Sums, alerts and odd packets.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    pub(super) tally: Tally,
    pub(super) alerts: Alerts,
    pub(super) protocols: Series,
    pub(super) services: Series,
    /// Bytes of the open window by protocol and port of the server.
    open: BTreeMap<(u8, u16), u64>,
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
    /// A flow changed.
    pub(crate) fn flow(&mut self, update: &FlowUpdate<'_>, flow: &FlowRecord) {
        let Some(delta) = update.delta else { return };
        let port = server_port(flow.proto, [flow.originator.port, flow.responder.port]);
        // Ports without a name come by the ten thousand.
        let port = if service(flow.proto, port).is_some() { port } else { 0 };
        *self.open.entry((flow.proto, port)).or_default() += delta.bytes();
    }

    /// A flow is over.
    pub(crate) fn ended(&mut self, update: &FlowUpdate<'_>) {
        self.tally.flow(update);
    }

    /// A base window closed.
    pub(crate) fn window(&mut self, window: &Window) {
        self.tally.window(window);
        let length_ns = window.length_ns();
        for part in &window.protocols {
            self.protocols.add(&protocol_name(part.number), window.start, length_ns, part.bytes);
        }
        for ((proto, port), bytes) in std::mem::take(&mut self.open) {
            self.services.add(&label(proto, port), window.start, length_ns, bytes);
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
