//! Windows by hand, for the detectors' tests.

use super::{Detector, View};
use crate::baseline::{BaselineConfig, Baselines};
use crate::domain::{Event, Finding, FlowObservation, Timestamp};
use nta_common::LedgerSlot;

use crate::window::{DEFAULT_WINDOW_NS, Seed, Snapshot, Windows};

/// The base window around `time` with these events.
pub(super) fn window(time: Timestamp, events: &[Event]) -> Snapshot {
    full(time, events, Vec::new())
}

/// The base window around `time` with these events and flows.
pub(super) fn full(time: Timestamp, events: &[Event], flows: Vec<FlowObservation>) -> Snapshot {
    let mut windows = Windows::new(DEFAULT_WINDOW_NS, Seed::fixed());
    windows.open_at(time);
    events.iter().for_each(|event| windows.add_event(event));
    flows.into_iter().for_each(|flow| windows.add(flow));
    windows.close(&LedgerSlot::default()).expect("it is open")
}

/// What a detector finds in windows, with nothing known to be usual.
pub(super) fn inspect(detector: &mut dyn Detector, windows: impl Iterator<Item = Snapshot>) -> Vec<Finding> {
    let baselines = Baselines::new(BaselineConfig::default());
    let mut findings = Vec::new();
    for snapshot in windows {
        detector.inspect(&View { snapshot: &snapshot, baselines: &baselines }, &mut findings);
    }
    findings
}
