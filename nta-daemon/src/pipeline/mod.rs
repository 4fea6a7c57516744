//! The one loop: flows that changed go into the open window and out to whoever listens; windows close, by event time in
//! replay and by the wall clock live. It reads like the data path.

pub mod baselines;
pub mod judge;
mod liveness;
mod measure;
mod options;

use std::collections::VecDeque;
use std::time::Instant;

use crate::source::{FlowSource, SourceError};
use baselines::BaselineHandle;
use judge::{Done, Judge, QUEUE};
use liveness::seen;
use nta_core::analysis::{Analysis, AnalysisOptions, Judged};
use nta_core::domain::{
    Alert, AlertChange, Attachment, Event, FlowObservation, FlowRecord, FlowUpdate, IdentityScope, Ledger, Mode,
    NicCounts, Status, Timestamp,
};
use nta_core::window::{Arrival, Lengths, Snapshot, Span, Windows};
pub use options::{PipelineOptions, Telling};

/// How often flows that are over are looked for, in event time.
const EXPIRE_EVERY_NS: u64 = 10_000_000_000;

/// Flows of the windows that wait to be judged, 14 MB; a larger window waits for the ones before it.
const MAX_FLOWS_BEHIND: usize = 32_768;

/// Takes what the pipeline produces, in order.
pub trait Output {
    /// A flow changed or ended; `flow` is what is told about it from now on.
    fn flow(&mut self, update: &FlowUpdate<'_>, flow: &FlowRecord);

    /// A flow ended without another packet.
    fn ended(&mut self, update: &FlowUpdate<'_>) {
        self.flow(update, &FlowRecord::of(update));
    }

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

/// Windows over one source.
pub struct Pipeline {
    windows: Windows,
    judge: Judge,
    telling: Telling,
    /// What came of the windows before, if it is known yet, with their flows and the state behind them; oldest first.
    behind: VecDeque<(Option<Done>, usize, Status)>,
    baselines: Option<BaselineHandle>,
    status: Status,
    last_expiry: Timestamp,
    ids: IdentityScope,
    /// Whether the next packet is another capture's first one.
    next_capture: bool,
    /// When the open window was opened, by the monotonic clock.
    opened: Instant,
    /// What each attached interface counted itself since then, in the order of the attachments.
    nics: Vec<NicCounts>,
    /// Of each attachment: what its ledger held, and its interface had passed, when the program was last seen to count.
    alive: Vec<(u64, u64)>,
    /// Interfaces that should be counted and are not, a reason each.
    missing: Vec<String>,
}

impl Pipeline {
    /// `status` says what it runs on.
    pub fn new(options: &PipelineOptions, status: Status) -> Self {
        let span_ns = options.span_ns;
        let lengths = if status.mode == Mode::Live { Lengths::Measured } else { Lengths::Nominal };
        let analysis = |threads| {
            Analysis::new(&AnalysisOptions {
                base_ns: span_ns,
                lengths,
                detect: &options.detect,
                baseline: &options.baseline,
                models: &options.models,
                ids: options.ids,
                threads,
            })
        };
        let beside = options.telling == Telling::Behind { beside: true } && options.baselines.is_none();
        // Without a thread it is done here, with the same result.
        let judge = if beside { Judge::beside(analysis(1)).ok() } else { None };
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let judge = judge.unwrap_or_else(|| Judge::Here(Box::new(analysis(processors))));
        Self {
            windows: Windows::new(span_ns, options.seed.clone()),
            judge,
            telling: options.telling,
            behind: VecDeque::new(),
            baselines: options.baselines.clone(),
            status: Status { window_ns: span_ns, model: options.models.state.clone(), ..status },
            last_expiry: Timestamp::default(),
            ids: options.ids,
            next_capture: false,
            opened: Instant::now(),
            nics: Vec::new(),
            alive: Vec::new(),
            missing: Vec::new(),
        }
    }

    /// What the pipeline tells about itself.
    pub const fn status(&self) -> &Status {
        &self.status
    }

    /// Takes what the interfaces counted themselves since the programs were attached, in the order of the attachments;
    /// the next closing of a window holds the ledger against it.
    pub fn hold_against(&mut self, nics: Vec<NicCounts>) {
        self.nics = nics;
    }

    /// Programs were attached anew, when the ledger held this: it is not empty after a restart that went on counting.
    pub fn attach(&mut self, attachments: Vec<Attachment>, ledger: &Ledger) {
        self.alive = attachments.iter().map(|attachment| (seen(ledger, &attachment.interface), 0)).collect();
        self.nics.clear();
        self.status.attachments = attachments;
    }

    /// Interfaces that should be counted and are not, a reason each; the next closing of a window tells them.
    pub fn miss(&mut self, missing: Vec<String>) {
        self.missing = missing;
        self.judge_attachments();
    }

    /// The next closing takes every flow out of the source, as another daemon goes on with it.
    pub fn leave(&mut self) {
        self.last_expiry = Timestamp::default();
    }

    /// End of the open window.
    pub fn window_end(&self) -> Option<Timestamp> {
        self.windows.end()
    }

    /// Opens the window of `time`, unless one is open.
    pub fn open_at(&mut self, time: Timestamp) {
        if self.windows.end().is_none() {
            self.opened = Instant::now();
        }
        self.windows.open_at(time);
        self.status.window_open_since = Some(time);
    }

    /// Makes room for a packet of this time: closes the open window if the packet lies beyond it.
    pub fn arrive<S: FlowSource + ?Sized>(
        &mut self,
        time: Timestamp,
        source: &mut S,
        output: &mut dyn Output,
    ) -> Result<(), SourceError> {
        let of_next = std::mem::take(&mut self.next_capture);
        match self.windows.arrival(time) {
            Arrival::Inside => {}
            Arrival::Late if !of_next => {
                self.windows.note_late();
                self.status.late_packets += 1;
                return Ok(());
            }
            Arrival::Late | Arrival::Closes => {
                let goes_back = self.windows.start().is_some_and(|start| time < start);
                self.close(source, output)?;
                if goes_back {
                    self.ids = self.ids.next_part();
                    source.identify(self.ids);
                }
                self.expire_after_silence(time, source, output)?;
            }
        }
        if self.windows.end().is_none() {
            self.open_at(time);
        }
        Ok(())
    }

    /// The next packet is the first one of another capture: when it is older than the open window, time went back, and it is
    /// not late.
    pub const fn next_capture(&mut self) {
        self.next_capture = true;
    }

    /// Ends the flows that a silence in a capture ended, before this packet could be counted into one of them; live, the
    /// wall clock goes on and [`Pipeline::close`] ends them.
    fn expire_after_silence<S: FlowSource + ?Sized>(
        &mut self,
        time: Timestamp,
        source: &mut S,
        output: &mut dyn Output,
    ) -> Result<(), SourceError> {
        if time.since(self.last_expiry) < EXPIRE_EVERY_NS {
            return Ok(());
        }
        self.last_expiry = time;
        source.expire(time, &mut |update| output.ended(&update))
    }

    /// Takes the events that the source has.
    pub fn take_events<S: FlowSource + ?Sized>(
        &mut self,
        source: &mut S,
        output: &mut dyn Output,
    ) -> Result<(), SourceError> {
        let (windows, counts) = (&mut self.windows, &mut self.status.events);
        source.events(&mut |event| {
            windows.add_event(&event);
            counts.count(&event);
            output.event(&event);
        })
    }

    /// Takes everything out of a source that ends: what it counted goes into the open window, and its flows are over.
    pub fn take_all<S: FlowSource + ?Sized>(
        &mut self,
        source: &mut S,
        output: &mut dyn Output,
    ) -> Result<(), SourceError> {
        self.take_events(source, output)?;
        let (windows, flows_total) = (&mut self.windows, &mut self.status.flows_total);
        let mut sink = |update: FlowUpdate<'_>| {
            *flows_total += u64::from(update.delta.is_some_and(|delta| delta.is_new));
            take(windows, output, &update);
        };
        source.drain(&mut sink)?;
        source.finish(&mut sink);
        source.overflows(&mut |overflow| self.windows.add_overflow(&overflow))
    }

    /// Closes the open window: drains the source into it, and ends flows that are over.
    pub fn close<S: FlowSource + ?Sized>(
        &mut self,
        source: &mut S,
        output: &mut dyn Output,
    ) -> Result<(), SourceError> {
        let Some(end) = self.windows.end() else { return Ok(()) };
        self.take_events(source, output)?;
        let windows = &mut self.windows;
        let flows_total = &mut self.status.flows_total;
        let mut sink = |update: FlowUpdate<'_>| {
            *flows_total += u64::from(update.delta.is_some_and(|delta| delta.is_new));
            take(windows, output, &update);
        };
        let began = Instant::now();
        source.drain(&mut sink)?;
        let windows = &mut self.windows;
        source.overflows(&mut |overflow| windows.add_overflow(&overflow))?;
        self.status.last_drain_ns = began.elapsed().as_nanos() as u64;
        if end.since(self.last_expiry) >= EXPIRE_EVERY_NS {
            source.expire(end, &mut |update| take(windows, output, &update))?;
            self.last_expiry = end;
        }
        self.status.ledger = source.ledger()?;
        self.judge_attachments();
        let measured = self.measure(end);
        let ledger = self.status.ledger.total();
        let Some(closed) = self.windows.close_measured(&ledger, measured) else { return Ok(()) };
        self.status.windows_closed += 1;
        self.status.last_window_end = Some(end);
        // Live, the next one has begun; a replay knows with its next packet.
        self.status.window_open_since = (self.status.mode == Mode::Live).then_some(end);
        self.status.flows_active = source.active();
        self.status.maps = source.maps();
        let imported = self.import_baselines();
        let flows = closed.flows();
        self.catch_up(QUEUE - 1, MAX_FLOWS_BEHIND.saturating_sub(flows), output);
        let status = self.status.clone();
        let done = self.judge.close(closed);
        match (done, self.telling) {
            (Some(done), Telling::AtOnce) => self.tell(done, status, imported, output),
            (done, _) => self.behind.push_back((done, flows, status)),
        }
        Ok(())
    }

    /// Tells what came of the windows before, but for the last ones: at most so many, with at most so many flows.
    fn catch_up(&mut self, windows: usize, flows: usize, output: &mut dyn Output) {
        let mut waiting: usize = self.behind.iter().map(|(_, flows, _)| flows).sum();
        while self.behind.len() > windows || (waiting > flows && !self.behind.is_empty()) {
            let Some((done, flows, status)) = self.behind.pop_front() else { return };
            waiting -= flows;
            if let Some(done) = done.or_else(|| self.judge.wait()) {
                self.tell(done, status, false, output);
            }
        }
    }

    /// Carries out what was ordered; answers whether anything was.
    fn import_baselines(&mut self) -> bool {
        let (Some(baselines), Judge::Here(analysis)) = (&self.baselines, &mut self.judge) else { return false };
        let (imported, refused) = baselines.carry_out(analysis.baselines_mut());
        for reason in refused {
            tracing::warn!(reason, "baselines not imported");
        }
        imported
    }

    /// Tells what came of a window behind which the state was this, and shows the baselines when they have changed.
    fn tell(&mut self, done: Done, mut status: Status, imported: bool, output: &mut dyn Output) {
        let Done { judged, detection, learning, took_ns } = done;
        let changed = imported || learning.updated != self.status.learning.updated;
        if let (Some(baselines), Judge::Here(analysis)) = (self.baselines.as_ref().filter(|_| changed), &self.judge) {
            baselines.publish(analysis.baselines().export());
        }
        for status in [&mut self.status, &mut status] {
            (status.detection, status.last_analysis_ns) = (detection, took_ns);
            status.learning.clone_from(&learning);
            if let Some(base) = judged.iter().map(|judged| &judged.snapshot).find(|window| window.span == Span::Base) {
                status.window_hosts = base.hosts.len() as u64;
                let others = base.hosts.others();
                status.window_other_packets = others.packets_sent + others.packets_received;
            }
        }
        tell(judged, output);
        output.closed(&status);
    }

    /// Closes the open window and ends every flow, and every alert: the run ended at `time`. Nothing that is told is later.
    pub fn finish<S: FlowSource + ?Sized>(
        mut self,
        time: Timestamp,
        source: &mut S,
        output: &mut dyn Output,
    ) -> Result<Status, SourceError> {
        if self.windows.end().is_some_and(|end| time < end) {
            self.windows.end_at(time);
        }
        self.close(source, output)?;
        self.catch_up(0, 0, output);
        let Self { judge, baselines, mut status, .. } = self;
        let (Done { judged, detection, learning, .. }, ended, analysis) = judge.finish(time);
        (status.detection, status.learning) = (detection, learning);
        tell(judged, output);
        ended.iter().for_each(|(change, alert)| output.alert(*change, alert));
        if let Some(baselines) = &baselines {
            baselines.publish(analysis.baselines().export());
            baselines.end();
        }
        source.finish(&mut |update| output.ended(&update));
        status.flows_active = 0;
        output.closed(&status);
        Ok(status)
    }
}

/// A flow that changed: into the open window, and out.
fn take(windows: &mut Windows, output: &mut dyn Output, update: &FlowUpdate<'_>) {
    if update.delta.is_none() {
        return output.ended(update);
    }
    let flow = FlowRecord::of(update);
    if let Some(seen) = FlowObservation::of(update, &flow) {
        windows.add(seen);
    }
    output.flow(update, &flow);
}

fn tell(judged: Vec<Judged>, output: &mut dyn Output) {
    for Judged { snapshot, alerts } in judged {
        output.window(&snapshot);
        alerts.iter().for_each(|(change, alert)| output.alert(*change, alert));
        output.judged(&snapshot);
    }
}
