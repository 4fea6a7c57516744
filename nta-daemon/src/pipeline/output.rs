//! What the pipeline puts out, labelled by the wall clock, see [`Timeline`].

use nta_core::analysis::Judged;
use nta_core::domain::{Alert, AlertChange, Event, FlowObservation, FlowRecord, FlowUpdate, Status, Timeline};
use nta_core::window::{Snapshot, Window, Windows};

/// Takes what the pipeline produces, in order.
pub trait Output {
    /// A flow changed or ended; `flow` is what is told about it from now on.
    fn flow(&mut self, update: &FlowUpdate<'_>, flow: &FlowRecord);

    /// A flow ended without another packet.
    fn ended(&mut self, update: &FlowUpdate<'_>) {
        self.flow(update, &FlowRecord::of(update));
    }

    /// A flow that a run before told of was over before this one began.
    fn gone(&mut self, _flow: &FlowRecord) {}

    /// A packet was told as an event.
    fn event(&mut self, event: &Event);

    /// A window of any span closed; a base window comes after all its flows.
    fn window(&mut self, snapshot: &Snapshot);

    /// An alert was raised, goes on or is over; comes after the window that says so.
    fn alert(&mut self, change: AlertChange, alert: &Alert);

    /// All alerts of a window were told; comes after the last of them.
    fn judged(&mut self, _snapshot: &Snapshot) {}

    /// Everything about a base window was told; `status` is the pipeline's state behind it.
    fn closed(&mut self, status: &Status);
}

/// A flow that changed: into the open window, and out.
pub(super) fn take(windows: &mut Windows, timeline: &Timeline, output: &mut dyn Output, update: &FlowUpdate<'_>) {
    if update.delta.is_none() {
        return end(timeline, output, update);
    }
    let flow = FlowRecord::of(update);
    if let Some(seen) = FlowObservation::of(update, &flow) {
        windows.add(seen);
    }
    output.flow(update, &label_flow(timeline, flow));
}

pub(super) fn emit(judged: Vec<Judged>, timeline: &Timeline, output: &mut dyn Output) {
    for Judged { mut snapshot, mut alerts } in judged {
        label_window(timeline, &mut snapshot.window);
        output.window(&snapshot);
        for (change, alert) in &mut alerts {
            label_alert(timeline, alert);
            output.alert(*change, alert);
        }
        output.judged(&snapshot);
    }
}

fn label_window(timeline: &Timeline, window: &mut Window) {
    let length_ns = window.end.since(window.start);
    window.start = timeline.label(window.start);
    window.end = window.start.plus(length_ns);
}

pub(super) fn label_alert(timeline: &Timeline, alert: &mut Alert) {
    alert.first = timeline.label(alert.first);
    alert.last = timeline.label_end(alert.last);
    alert.raised = timeline.label_end(alert.raised);
    alert.cleared = alert.cleared.map(|cleared| timeline.label_end(cleared));
    for finding in [&mut alert.finding, &mut alert.latest] {
        finding.start = timeline.label(finding.start);
        finding.end = timeline.label_end(finding.end);
    }
}

fn label_flow(timeline: &Timeline, mut flow: FlowRecord) -> FlowRecord {
    flow.first = timeline.label(flow.first);
    flow.last = timeline.label(flow.last);
    flow
}

pub(super) fn label_event(timeline: &Timeline, event: &mut Event) {
    let time = event.time_mut();
    *time = timeline.label(*time);
}

pub(super) fn label_status(timeline: &Timeline, mut status: Status) -> Status {
    status.window_open_since = status.window_open_since.map(|start| timeline.label(start));
    status.last_window_end = status.last_window_end.map(|end| timeline.label_end(end));
    status
}

/// A flow that ended without another packet.
pub(super) fn end(timeline: &Timeline, output: &mut dyn Output, update: &FlowUpdate<'_>) {
    if timeline.was_set() {
        output.flow(update, &label_flow(timeline, FlowRecord::of(update)));
    } else {
        output.ended(update);
    }
}
