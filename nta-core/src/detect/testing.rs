//! Hand-made flows and windows for the tests of detectors.

use std::net::IpAddr;

use nta_common::LedgerSlot;
use nta_common::flow::Counts;
use nta_common::packet::proto;

use super::{Detector, Tries, View};
use crate::baseline::{BaselineConfig, Baselines};
use crate::domain::{
    ConnState, Endpoint, Finding, FlowId, FlowObservation, FlowRecord, History, OverflowDelta, RttSamples, Service,
    TcpCounts, Timestamp,
};
use crate::window::{Cascade, InTurn, Lengths, Seed, Snapshot, Span, Windows};

const NANOS: u64 = 1_000_000_000;
/// Length of a window.
pub(super) const WINDOW_S: u64 = 5;

/// A flow in the making. Hosts are numbers: 1 is 10.0.0.1.
#[derive(Clone, Debug)]
pub(super) struct Flow(FlowObservation, u64);

/// The address of a host.
pub(super) fn host(number: u32) -> IpAddr {
    std::net::Ipv4Addr::from(0x0a00_0000 + number).into()
}

impl Flow {
    fn new(protocol: u8, ends: [(u32, u16); 2]) -> Self {
        let end = |(number, port): (u32, u16)| Endpoint {
            address: host(number),
            port,
            sent: Counts::default(),
            tcp: TcpCounts::default(),
            payload_bytes: Some(0),
            translated: None,
        };
        let id = FlowId(
            u64::from(ends[0].0) << 48 | u64::from(ends[1].0) << 32 | u64::from(ends[0].1) << 16 | u64::from(ends[1].1),
        );
        let flow = FlowRecord {
            id,
            proto: protocol,
            originator: end(ends[0]),
            responder: end(ends[1]),
            nesting: Default::default(),
            vlan: 0,
            first: Timestamp::default(),
            last: Timestamp::default(),
            handshake_us: [0; 2],
            service: None,
            conn_state: ConnState::Oth,
            history: History::default(),
            ended: None,
        };
        let seen = FlowObservation {
            flow,
            sent: [Counts::default(); 2],
            tcp: [TcpCounts::default(); 2],
            rtt: RttSamples::default(),
            is_new: true,
        };
        Self(seen, 0).sent(1, 60)
    }

    pub(super) fn tcp(from: u32, from_port: u16, to: u32, to_port: u16) -> Self {
        Self::new(proto::TCP, [(from, from_port), (to, to_port)]).history("S")
    }

    pub(super) fn udp(from: u32, from_port: u16, to: u32, to_port: u16) -> Self {
        Self::new(proto::UDP, [(from, from_port), (to, to_port)])
    }

    pub(super) fn echo(from: u32, to: u32) -> Self {
        Self::new(proto::ICMP, [(from, 8), (to, 0)])
    }

    /// Another protocol than those with ports.
    pub(super) fn protocol(number: u8, from: u32, to: u32) -> Self {
        Self::new(number, [(from, 0), (to, 0)])
    }

    /// Port unreachable.
    pub(super) fn unreachable(from: u32, to: u32) -> Self {
        Self::new(proto::ICMP, [(from, 3), (to, 3)])
    }

    /// Packets of so many bytes from the originator.
    pub(super) fn sent(mut self, packets: u64, bytes: u64) -> Self {
        let counts = Counts { packets, bytes: packets * (bytes + 14), ip_bytes: packets * bytes };
        (self.0.sent[0], self.0.flow.originator.sent) = (counts, counts);
        self
    }

    /// Packets of so many bytes back.
    pub(super) fn answered(mut self, packets: u64, bytes: u64) -> Self {
        let counts = Counts { packets, bytes: packets * (bytes + 14), ip_bytes: packets * bytes };
        (self.0.sent[1], self.0.flow.responder.sent) = (counts, counts);
        self
    }

    /// A history, and the SYN and RST that it holds.
    pub(super) fn history(mut self, history: &str) -> Self {
        let count = |letter| history.matches(letter).count() as u32;
        let own = TcpCounts { syn: count('S'), rst: count('R'), ..TcpCounts::default() };
        let back = TcpCounts { syn_ack: count('h'), rst: count('r'), ..TcpCounts::default() };
        self.0.tcp = [own, back];
        (self.0.flow.originator.tcp, self.0.flow.responder.tcp) = (own, back);
        self.0.flow.history = History::parse(history);
        let answers = history.matches(char::is_lowercase).count() as u64;
        self.answered(answers, 60)
    }

    /// Both sides closed it in the window.
    pub(super) fn ended(mut self) -> Self {
        for (side, end) in [&mut self.0.flow.originator, &mut self.0.flow.responder].into_iter().enumerate() {
            end.tcp.fin = 1;
            self.0.tcp[side].fin = 1;
        }
        self
    }

    /// What its first bytes say it is.
    pub(super) fn service(mut self, service: Service) -> Self {
        self.0.flow.service = Some(service);
        self
    }

    /// Round trip of its handshake.
    pub(super) fn round_trip_us(mut self, us: u32) -> Self {
        self.0.flow.handshake_us = [us, 0];
        self
    }

    /// Zeek's state.
    pub(super) fn state(mut self, state: ConnState) -> Self {
        self.0.flow.conn_state = state;
        self
    }

    /// Payload bytes both ways.
    pub(super) fn payload(mut self, own: u64, back: u64) -> Self {
        self.0.flow.originator.payload_bytes = Some(own);
        self.0.flow.responder.payload_bytes = Some(back);
        self
    }

    /// So many of the originator's segments announced a window of 0.
    pub(super) fn zero_windows(mut self, count: u32) -> Self {
        self.0.flow.originator.tcp.zero_windows = count;
        self
    }

    /// Began so many seconds after the start of the test, before the window.
    pub(super) fn since(mut self, second: u64) -> Self {
        self.0.is_new = false;
        self.0.flow.first = at(second);
        self
    }

    /// Its last packet came so long after the window's start.
    pub(super) fn lasting(mut self, seconds: f64) -> Self {
        self.1 = (seconds * 1e9) as u64;
        self
    }

    pub(super) fn seen(self) -> FlowObservation {
        self.0
    }
}

fn at(second: u64) -> Timestamp {
    Timestamp::from_nanos((1_700_000_000 + second) * NANOS)
}

/// What a detector says about a window that starts at this second.
pub(super) fn window(detector: &mut dyn Detector, second: u64, flows: Vec<Flow>) -> Vec<Finding> {
    with_overflow(detector, second, flows, &[])
}

/// The same, by a detector that is told who answered whom before.
pub(super) fn window_after(
    tries: &mut Tries,
    detector: &mut dyn Detector,
    second: u64,
    flows: Vec<Flow>,
) -> Vec<Finding> {
    shown(tries, detector, second, flows, &[])
}

/// As [`window`], with packets that found the flow table full.
pub(super) fn with_overflow(
    detector: &mut dyn Detector,
    second: u64,
    flows: Vec<Flow>,
    overflow: &[OverflowDelta],
) -> Vec<Finding> {
    shown(&mut Tries::default(), detector, second, flows, overflow)
}

fn shown(
    tries: &mut Tries,
    detector: &mut dyn Detector,
    second: u64,
    flows: Vec<Flow>,
    overflow: &[OverflowDelta],
) -> Vec<Finding> {
    let mut windows = Windows::new(WINDOW_S * NANOS, Seed::fixed());
    windows.open_at(at(second));
    for Flow(mut seen, lasting_ns) in flows {
        if seen.is_new {
            seen.flow.first = at(second);
        }
        seen.flow.last = at(second).plus(lasting_ns);
        windows.add(seen);
    }
    overflow.iter().for_each(|overflow| windows.add_overflow(overflow));
    let snapshot = windows.close(&LedgerSlot::default()).expect("a window is open").complete();
    let mut findings = Vec::new();
    tries.begin();
    snapshot.runs().for_each(|run| detector.take(&run, tries.take(&run)));
    let baselines = Baselines::new(BaselineConfig::default());
    detector.inspect(
        &View { snapshot: &snapshot, baselines: &baselines, tries: tries.of_window(), states: None },
        &mut findings,
    );
    findings
}

/// Shows the longer window that is all of these flows.
pub(super) fn medium(number: u64, flows: Vec<Flow>, mut show: impl FnMut(&View<'_>)) {
    let mut windows = Windows::new(WINDOW_S * NANOS, Seed::fixed());
    let start = number * WINDOW_S * Span::Medium.factor();
    windows.open_at(at(start));
    for Flow(mut seen, lasting_ns) in flows {
        (seen.flow.first, seen.flow.last) = (at(start), at(start).plus(lasting_ns));
        windows.add(seen);
    }
    let base = windows.close(&LedgerSlot::default()).expect("a window is open").complete();
    let mut cascade = Cascade::new(Span::Medium, WINDOW_S * NANOS, Lengths::default());
    let baselines = Baselines::new(BaselineConfig::default());
    let mut show =
        |snapshot: Snapshot| show(&View { snapshot: &snapshot, baselines: &baselines, tries: &[], states: None });
    cascade.add(&base, &InTurn, &mut show);
    cascade.pass(&InTurn, &mut show);
}

/// What it says about a row of windows of the same flows, from second 0 on.
pub(super) fn row(detector: &mut dyn Detector, count: u64, flows: impl Fn(u64) -> Vec<Flow>) -> Vec<Finding> {
    let mut tries = Tries::default();
    (0..count).flat_map(|i| window_after(&mut tries, detector, i * WINDOW_S, flows(i))).collect()
}
