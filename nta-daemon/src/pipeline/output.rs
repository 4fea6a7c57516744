//! What the pipeline puts out, labelled by the wall clock, see [`Timeline`].

use super::{Fanout, PipelineEvent};
use nta_core::analysis::Judged;
use nta_core::domain::{Alert, FlowObservation, FlowRecord, FlowUpdate, PacketEvent, Status, Timeline};
use nta_core::window::{Snapshot, Window, Windows};

/// A flow that changed: into the open window, and out.
pub(super) fn take(windows: &mut Windows, timeline: &Timeline, output: &mut Fanout<'_>, update: &FlowUpdate<'_>) {
    let Some(mut seen) = FlowObservation::of(update) else {
        return end(timeline, output, update);
    };
    if timeline.was_set() {
        output.emit(PipelineEvent::Flow { update, flow: &label_flow(timeline, seen.flow) });
    } else {
        output.emit(PipelineEvent::Flow { update, flow: &seen.flow });
    }
    if seen.leave_out_carried(update) {
        windows.add(seen);
    }
}

/// Time of windows that were left out, in nanoseconds: the next one of their length says it.
#[derive(Debug, Default)]
pub(super) struct LeftOut([u64; 3]);

impl LeftOut {
    /// Emits what was judged; where a base window is left out, none without packets that closed with it, but all alerts.
    pub(super) fn emit(
        &mut self,
        judged: Vec<Judged>,
        is_left_out: bool,
        timeline: &Timeline,
        output: &mut Fanout<'_>,
    ) {
        for Judged { mut snapshot, mut alerts } in judged {
            let is_shown = !is_left_out || snapshot.window.packets > 0;
            self.pass(is_shown, &mut snapshot);
            label_window(timeline, &mut snapshot.window);
            if is_shown {
                output.emit(PipelineEvent::Window(&snapshot));
            }
            for (change, alert) in &mut alerts {
                label_alert(timeline, alert);
                output.emit(PipelineEvent::Alert(*change, alert));
            }
            if is_shown {
                output.emit(PipelineEvent::Judged(&snapshot));
            }
        }
    }

    /// Notes the time of a window that is left out, or adds what was noted to the silence before one that is not.
    fn pass(&mut self, is_shown: bool, Snapshot { span, window, .. }: &mut Snapshot) {
        let silence_ns = &mut self.0[*span as usize];
        if is_shown {
            window.measured.silence_ns = window.measured.silence_ns.saturating_add(std::mem::take(silence_ns));
        } else {
            let time_ns = window.end.since(window.start).saturating_add(window.measured.silence_ns);
            *silence_ns = silence_ns.saturating_add(time_ns);
        }
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
    let label_seen = |seen: Option<[_; 2]>| seen.map(|[first, last]| [timeline.label(first), timeline.label(last)]);
    alert.seen = label_seen(alert.seen);
    for finding in [&mut alert.finding, &mut alert.latest] {
        finding.start = timeline.label(finding.start);
        finding.end = timeline.label_end(finding.end);
        finding.seen = label_seen(finding.seen);
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
