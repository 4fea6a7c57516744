//! What the pipeline puts out, labelled by the wall clock, see [`Timeline`].

use super::{Fanout, PipelineEvent};
use nta_core::analysis::Judged;
use nta_core::domain::{Alert, FlowObservation, FlowRecord, FlowUpdate, PacketEvent, Status, Timeline};
use nta_core::window::{Window, Windows};

/// A flow that changed: into the open window, and out.
pub(super) fn take(windows: &mut Windows, timeline: &Timeline, output: &mut Fanout<'_>, update: &FlowUpdate<'_>) {
    if update.delta.is_none() {
        return end(timeline, output, update);
    }
    let flow = FlowRecord::of(update);
    if let Some(seen) = FlowObservation::of(update, &flow) {
        windows.add(seen);
    }
    output.emit(PipelineEvent::Flow { update, flow: &label_flow(timeline, flow) });
}

pub(super) fn emit(judged: Vec<Judged>, timeline: &Timeline, output: &mut Fanout<'_>) {
    for Judged { mut snapshot, mut alerts } in judged {
        label_window(timeline, &mut snapshot.window);
        output.emit(PipelineEvent::Window(&snapshot));
        for (change, alert) in &mut alerts {
            label_alert(timeline, alert);
            output.emit(PipelineEvent::Alert(*change, alert));
        }
        output.emit(PipelineEvent::Judged(&snapshot));
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

pub(super) fn label_event(timeline: &Timeline, event: &mut PacketEvent) {
    let time = event.time_mut();
    *time = timeline.label(*time);
}

pub(super) fn label_status(timeline: &Timeline, mut status: Status) -> Status {
    status.window_open_since = status.window_open_since.map(|start| timeline.label(start));
    status.last_window_end = status.last_window_end.map(|end| timeline.label_end(end));
    status
}

/// A flow that ended without another packet.
pub(super) fn end(timeline: &Timeline, output: &mut Fanout<'_>, update: &FlowUpdate<'_>) {
    if timeline.was_set() {
        let flow = label_flow(timeline, FlowRecord::of(update));
        output.emit(PipelineEvent::Flow { update, flow: &flow });
    } else {
        output.emit(PipelineEvent::FlowEnded(update));
    }
}
