//! Windows by hand, for the detectors' tests.

use nta_common::LedgerSlot;
use nta_common::flow::Counts;

use super::{Detector, States, Tries, View};
use crate::baseline::{BaselineConfig, Baselines};
use crate::domain::{
    ConnState, Endpoint, Finding, FlowId, FlowObservation, FlowRecord, History, HostMeasures, PacketEvent, RttSamples,
    TcpCounts, Timestamp,
};
use crate::window::{DEFAULT_WINDOW_NS, Seed, Snapshot, Windows};

/// The base window around `time` with these events.
pub(super) fn window(time: Timestamp, events: &[PacketEvent]) -> Snapshot {
    full(time, events, Vec::new())
}

/// The base window around `time` with these events and flows.
pub(crate) fn full(time: Timestamp, events: &[PacketEvent], flows: Vec<FlowObservation>) -> Snapshot {
    let mut windows = Windows::new(DEFAULT_WINDOW_NS, Seed::fixed());
    windows.open_at(time);
    events.iter().for_each(|event| windows.add_event(event));
    flows.into_iter().for_each(|flow| windows.add(flow));
    windows.close(&LedgerSlot::default()).expect("it is open").complete()
}

/// What a detector finds in windows, with nothing known to be usual.
pub(super) fn inspect(detector: &mut dyn Detector, windows: impl Iterator<Item = Snapshot>) -> Vec<Finding> {
    let mut findings = Vec::new();
    stating(detector, windows, |_, found| findings.extend(found));
    findings
}

/// What it says of each window: how near hosts came to its thresholds, and what it finds.
pub(super) fn stating(
    detector: &mut dyn Detector,
    windows: impl Iterator<Item = Snapshot>,
    mut said: impl FnMut(HostMeasures, Vec<Finding>),
) {
    let baselines = Baselines::new(BaselineConfig::default());
    let mut tries = Tries::default();
    for snapshot in windows {
        let (states, mut found) = (States::default(), Vec::new());
        tries.begin();
        snapshot.runs().for_each(|run| detector.take(&run, tries.take(&run)));
        let view = View { snapshot: &snapshot, baselines: &baselines, tries: tries.of_window(), states: Some(&states) };
        detector.inspect(&view, &mut found);
        said(states.nearest(), found);
    }
}

/// A new TCP connection in which both sides sent so many bytes in one packet.
pub(crate) fn flow(from: &str, to: &str, port: u16, time_s: f64, bytes: [u64; 2]) -> FlowObservation {
    let time = Timestamp::from_nanos(((1_000_000.0 + time_s) * 1e9) as u64);
    let counts = |bytes| Counts { packets: 1, bytes, ip_bytes: bytes };
    let end = |address: &str, port, bytes| Endpoint {
        address: address.parse().expect("an address"),
        port,
        sent: counts(bytes),
        tcp: TcpCounts::default(),
        payload_bytes: None,
        translated: None,
    };
    let record = FlowRecord {
        id: FlowId(time.as_nanos()),
        proto: nta_common::packet::proto::TCP,
        originator: end(from, 40_000, bytes[0]),
        responder: end(to, port, bytes[1]),
        nesting: Default::default(),
        vlan: 0,
        first: time,
        last: time,
        handshake_us: [0; 2],
        service: None,
        conn_state: ConnState::Sf,
        history: History::default(),
        ended: None,
    };
    let (tcp, rtt) = ([TcpCounts::default(); 2], RttSamples::default());
    FlowObservation { flow: record, sent: bytes.map(counts), tcp, rtt, is_new: true }
}
