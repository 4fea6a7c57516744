//! The store as a sink: each window with what was found in it becomes one batch.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::flow_groups::FlowGroups;
use super::troubles::Troubles;
use crate::pipeline::baselines::BaselineHandle;
use crate::pipeline::{PipelineEvent, Sink};
use crate::store::{Found, RunEnd, StoreWriter, WindowBatch};
use nta_core::domain::{Alert, FlowRecord, FlowUpdate, Mode, PacketEvent, RawPacket, Status};
use nta_core::window::{Span, Window};

/// Windows kept back while the queue is full; beyond it the oldest one's flows and window are given up, and counted.
const MAX_HELD_BACK: usize = 1024;
/// The same in bytes.
const MAX_HELD_BYTES: u64 = 256 << 20;
/// Heads of frames stored with one window; more are dropped, and counted.
const MAX_RAW_PACKETS: usize = 50_000;
/// Alerts kept of windows that were given up.
const MAX_KEPT_ALERTS: usize = 10_000;
/// Troubles kept of windows that were given up.
const MAX_KEPT_NOTICES: usize = 1000;
/// How often baselines are stored while they change.
const SAVE_BASELINES_EVERY: Duration = Duration::from_secs(300);

/// Puts each window with its flows into the store's queue and publishes the state.
pub struct StoreOutput {
    writer: StoreWriter,
    status: watch::Sender<Status>,
    window: Option<Window>,
    flows: Vec<FlowRecord>,
    /// Flows that may be stored together, where that is wanted.
    groups: Option<FlowGroups>,
    raw_packets: Vec<RawPacket>,
    found: Found,
    baselines: BaselineHandle,
    mode: Mode,
    baselines_saved: Instant,
    held_back: VecDeque<WindowBatch>,
    waits: bool,
    /// Whether the database has all of it already.
    stores_nothing: bool,
    given_up: u64,
    troubles: Troubles,
}

impl StoreOutput {
    /// Sends to `writer`; one that `waits` blocks while the queue is full. `baselines` are stored for the sensor.
    pub fn new(
        writer: StoreWriter,
        status: watch::Sender<Status>,
        found: Found,
        (mode, baselines): (Mode, BaselineHandle),
        waits: bool,
    ) -> Self {
        Self {
            writer,
            status,
            window: None,
            flows: Vec::new(),
            groups: None,
            raw_packets: Vec::new(),
            found,
            baselines,
            mode,
            baselines_saved: Instant::now(),
            held_back: VecDeque::new(),
            waits,
            stores_nothing: false,
            given_up: 0,
            troubles: Troubles::default(),
        }
    }

    /// The same for an analysis that the database has: only the state is published, and the end of the run stored.
    #[must_use]
    pub fn that_stores_nothing(self) -> Self {
        Self { stores_nothing: true, ..self }
    }

    /// The same that stores unanswered flows of few packets together where more than so many of a window have something in common; 0 stores
    /// each. Where maps are pinned, a kill leaves flows for the next start to go on with.
    #[must_use]
    pub fn that_groups(self, (most, is_pinned): (u32, bool)) -> Self {
        Self { groups: (most > 0).then(|| FlowGroups::new(most, is_pinned)), ..self }
    }

    fn send(&mut self, batch: WindowBatch) {
        if self.waits {
            return self.send_waiting(batch);
        }
        self.held_back.push_back(batch);
        while let Some(next) = self.held_back.pop_front() {
            if let Err(refused) = self.writer.try_send(next) {
                self.held_back.push_front(refused);
                break;
            }
        }
        let mut bytes: u64 = self.held_back.iter().map(WindowBatch::bytes).sum();
        while self.held_back.len() > MAX_HELD_BACK || bytes > MAX_HELD_BYTES && self.held_back.len() > 1 {
            let Some(oldest) = self.held_back.pop_front() else { break };
            bytes = bytes.saturating_sub(oldest.bytes());
            self.writer.note_given_up(&oldest);
            // Alerts and troubles are few, and what an operator needs most.
            if let Some(next) = self.held_back.front_mut() {
                next.standing = oldest.standing.or(next.standing.take());
                next.notices.splice(..0, oldest.notices);
                next.notices.truncate(MAX_KEPT_NOTICES);
                keep_alerts(oldest.alerts, &mut next.alerts);
            }
            self.given_up += 1;
            tracing::error!(windows = self.given_up, "the database is too slow: windows were given up");
        }
    }

    /// For a replay, and at the end: they run on a thread of their own, which may block.
    fn send_waiting(&self, batch: WindowBatch) {
        if let Err(error) = tokio::runtime::Handle::current().block_on(self.writer.send(batch)) {
            tracing::error!(%error, "window not stored");
        }
    }

    /// Sends what was kept back, then the ends of flows that came after the last window, and the end of the run.
    pub fn finish(mut self, end: RunEnd) {
        for batch in std::mem::take(&mut self.held_back) {
            self.send_waiting(batch);
        }
        self.baselines.end();
        self.found.finish();
        let mut batch = if self.stores_nothing { WindowBatch::default() } else { self.batch() };
        batch.baselines = self.baselines.latest().filter(|_| !self.stores_nothing).map(|export| (self.mode, export));
        batch.end = Some(end.word());
        self.send_waiting(batch);
    }

    /// What was emitted since the last one.
    fn batch(&mut self) -> WindowBatch {
        let (mut flows, raw_packets) = (std::mem::take(&mut self.flows), std::mem::take(&mut self.raw_packets));
        let (groups, moved) = self.groups.as_mut().map(|groups| groups.close(&mut flows)).unwrap_or_default();
        self.writer.note_grouped(moved.grouped, moved.ungrouped);
        // It may wait for long, and has grown to up to twice of what it needs.
        flows.shrink_to_fit();
        let window = self.window.take();
        let mut batch = WindowBatch { window, flows, groups, raw_packets, ..WindowBatch::default() };
        self.found.move_into(&mut batch);
        batch
    }
}

impl Sink for StoreOutput {
    fn take(&mut self, _number: u64, event: &PipelineEvent<'_>) {
        match *event {
            PipelineEvent::Closing(end) => self.groups.iter_mut().for_each(|groups| groups.begin(end)),
            PipelineEvent::Flow { update, flow } => self.flow(update, flow),
            PipelineEvent::FlowGone(flow) => self.flows.push(*flow),
            PipelineEvent::FlowEnded(update) => {
                if !self.groups.as_mut().is_some_and(|groups| groups.ends(update)) {
                    self.flows.push(FlowRecord::of(update));
                }
            }
            PipelineEvent::Packet(PacketEvent::RawPacket(packet)) => self.raw_packet(packet),
            PipelineEvent::Packet(_) => {}
            PipelineEvent::Window(snapshot) => {
                if snapshot.span == Span::Base {
                    self.window = Some(snapshot.window.clone());
                }
                self.found.window(snapshot);
            }
            PipelineEvent::Alert(change, alert) => self.found.alert(change, alert),
            PipelineEvent::Judged(snapshot) => self.found.judged(snapshot),
            PipelineEvent::Closed(status) => self.closed(status),
        }
    }
}

impl StoreOutput {
    fn flow(&mut self, update: &FlowUpdate<'_>, flow: &FlowRecord) {
        let is_grouped = self.groups.as_mut().is_some_and(|groups| groups.take(update, flow));
        if !is_grouped {
            self.flows.push(*flow);
        }
    }

    fn raw_packet(&mut self, packet: &RawPacket) {
        if self.raw_packets.len() < MAX_RAW_PACKETS {
            self.raw_packets.push(packet.clone());
        } else {
            self.writer.note_raw_packet_dropped();
        }
    }

    fn closed(&mut self, status: &Status) {
        let mut batch = self.batch();
        batch.readings.clone_from(&status.readings);
        batch.notices = self.troubles.look(status);
        batch.standing = self.troubles.standing();
        if self.stores_nothing {
            self.status.send_replace(status.clone());
            return;
        }
        if self.baselines_saved.elapsed() >= SAVE_BASELINES_EVERY {
            self.baselines_saved = Instant::now();
            batch.baselines = self.baselines.latest().map(|export| (self.mode, export));
        }
        // Before the store has it: who reads a window finds a ledger that is no older.
        self.status.send_replace(status.clone());
        self.send(batch);
    }
}

/// Puts older alerts before newer ones, each once in its last state; of too many the oldest go.
fn keep_alerts(mut older: Vec<Alert>, newer: &mut Vec<Alert>) {
    let known: HashSet<_> = newer.iter().map(|alert| alert.id).collect();
    older.retain(|alert| !known.contains(&alert.id));
    older.append(newer);
    older.drain(..older.len().saturating_sub(MAX_KEPT_ALERTS));
    *newer = older;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Run, Store};
    use nta_core::domain::{AlertKind, Finding, Measure, Mode, Party, Timestamp};

    const STORE_QUEUE: usize = 4;

    async fn begin(store: &Store) -> (StoreWriter, tokio::task::JoinHandle<()>) {
        let run = Run {
            started: Timestamp::from_nanos(1),
            mode: Mode::Live,
            source: "eth0".to_owned(),
            version: "0".to_owned(),
            sensor: "test".to_owned(),
            uuid: Run::new_uuid(Timestamp::from_nanos(1)),
            analysis: None,
        };
        store.writer(store.begin_run(&run).await.expect("run"), STORE_QUEUE)
    }

    fn finding() -> Finding {
        Finding {
            detector: "port_scan",
            basis: nta_core::domain::Basis::Rule,
            kind: AlertKind::PortScan,
            source: Party::Nobody,
            destination: Party::Many,
            port: None,
            start: Timestamp::from_nanos(1),
            end: Timestamp::from_nanos(1),
            measure: Measure { name: "ports", unit: "ports", observed: 40.0, expected: None, threshold: 15.0 },
            score: 0.5,
            summary: String::new(),
            facts: Vec::new(),
            contributors: Vec::new(),
            crowd: None,
            seen: None,
        }
    }

    #[tokio::test]
    async fn alerts_outlive_the_windows_that_a_slow_database_makes_us_give_up() {
        let store = Store::open("sqlite::memory:").await.expect("open");
        let (writer, _task) = begin(&store).await;
        let status = watch::channel(Status::default()).0;
        let baselines = (Mode::Live, BaselineHandle::default());
        let mut output = StoreOutput::new(writer, status, Found::new(store, 50), baselines, false);
        // The single-threaded runtime of the test does not run the writer: nothing is taken from its queue.
        let window = |id| WindowBatch { window: Some(Window { id, ..Window::default() }), ..WindowBatch::default() };
        let mut alerter =
            nta_core::alerting::Alerter::new(nta_core::alerting::AlertingConfig::default(), Default::default());
        let mut alert = None;
        alerter.judge(vec![finding()], Timestamp::from_nanos(1), &mut |_, raised| alert = Some(raised.clone()));
        let alert = alert.expect("an alert");
        for id in 0..(STORE_QUEUE + MAX_HELD_BACK + 3) as u64 {
            // Two alerts take turns: of each only the last state is kept.
            let alert = Alert { id: nta_core::domain::AlertId(id % 2), windows: id as u32, ..alert.clone() };
            output.send(WindowBatch { alerts: vec![alert], ..window(id) });
        }
        assert_eq!((output.given_up, output.held_back.len()), (3, MAX_HELD_BACK));
        let next = output.held_back.front().expect("held back");
        let kept: Vec<u32> = next.alerts.iter().map(|alert| alert.windows).collect();
        let own = (STORE_QUEUE + 3) as u32;
        assert_eq!(kept, [own - 1, own], "those of the windows that were given up go with the next");
    }
}
