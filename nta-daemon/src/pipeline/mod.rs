//! The one loop: flows that changed go into the open window and out to whoever listens; windows close, by event time in
//! replay and by the wall clock live. It reads like the data path.

pub mod baselines;
pub mod detecting;
mod event;
mod fold;
pub mod judge;
mod liveness;
mod measure;
pub mod metrics;
mod models;
pub mod mutes;
mod options;
mod output;
pub mod progress;
mod silence;

use std::collections::VecDeque;
use std::time::Instant;

use crate::source::{FlowSource, SourceError};
use baselines::BaselineHandle;
pub use event::{Fanout, PipelineEvent, Sink};
use fold::{Allowance, Silent};
use judge::{Done, Judge, QUEUE};
use liveness::{Alive, seen};
use mutes::MuteHandle;
use nta_core::analysis::{Analysis, AnalysisOptions};
use nta_core::domain::{Attachment, IdentityScope, Ledger, Mode, NicCounts, Readings, Status, Timeline, Timestamp};
use nta_core::window::{Arrival, Lengths, Span, Windows};
pub use options::{Delivery, PipelineOptions};
use output::{LeftOut, end, label_alert, label_event, label_status, take};

/// How often flows that are over are looked for, in event time.
const EXPIRE_EVERY_NS: u64 = 10_000_000_000;

/// Flows of the windows that wait to be judged, 4 MB; a larger window waits for the ones before it.
const MAX_FLOWS_BEHIND: usize = 8_192;

/// Windows over one source.
pub struct Pipeline {
    windows: Windows,
    judge: Judge,
    delivery: Delivery,
    /// The results of the windows before, as far as they are known, with their flows and what is known behind them; oldest first.
    behind: VecDeque<(Option<Done>, usize, Behind)>,
    baselines: Option<BaselineHandle>,
    mutes: Option<MuteHandle>,
    followed: Option<models::Followed>,
    status: Status,
    last_expiry: Timestamp,
    ids: IdentityScope,
    /// End of the last window that the clock closed behind the packets of a pipe.
    went_on: Timestamp,
    /// Since when packets are counted: later than the start of the first window.
    counted_since: Timestamp,
    /// Live, how long nothing was counted within the open window, in nanoseconds, but for what goes on.
    uncounted_ns: u64,
    /// Live, since when nothing is counted.
    uncounted_since: Option<Timestamp>,
    /// Whether the run ends with the open window.
    is_ending: bool,
    /// What each attached interface counted itself since then, in the order of the attachments.
    nics: Vec<NicCounts>,
    /// Of each attachment whether its programs see what passes.
    alive: Vec<Alive>,
    /// Interfaces that should be counted and are not, a reason each.
    missing: Vec<String>,
    /// What the wall clock said at each time of a live run.
    timeline: Timeline,
    /// How far the wall clock is ahead, in nanoseconds.
    wall_ahead_ns: i64,
    /// Whether the first window goes on from where a run before ended.
    is_resumed: bool,
    /// Windows that the capture of a replay may still cause.
    allowance: Allowance,
    left_out: LeftOut,
}

/// The state behind a window, and what becomes of that if it has no packets.
type Behind = (Status, Option<Silent>);

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
            .with_earlier(options.earlier.clone())
        };
        let beside = options.delivery == Delivery::Deferred { beside: true } && options.baselines.is_none();
        // Without a thread it is done here, with the same result.
        let judge = if beside { Judge::beside(analysis(1)).ok() } else { None };
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let judge = judge.unwrap_or_else(|| Judge::Here(Box::new(analysis(processors))));
        Self {
            windows: Windows::new(span_ns, options.seed.clone()),
            judge,
            delivery: options.delivery,
            behind: VecDeque::new(),
            baselines: options.baselines.clone(),
            mutes: options.mutes.clone(),
            followed: None,
            status: Status { window_ns: span_ns, model: options.models.state.clone(), ..status },
            last_expiry: Timestamp::default(),
            ids: options.ids,
            went_on: Timestamp::default(),
            counted_since: Timestamp::default(),
            uncounted_ns: 0,
            uncounted_since: None,
            is_ending: false,
            nics: Vec::new(),
            alive: Vec::new(),
            missing: Vec::new(),
            timeline: Timeline::default(),
            wall_ahead_ns: 0,
            is_resumed: false,
            allowance: Allowance::default(),
            left_out: LeftOut::default(),
        }
    }

    /// The state of the pipeline.
    pub const fn status(&self) -> &Status {
        &self.status
    }

    /// Takes what the interfaces counted themselves since the programs were attached, in the order of the attachments;
    /// the next closing of a window holds the ledger against it.
    pub fn hold_against(&mut self, nics: Vec<NicCounts>) {
        self.nics = nics;
    }

    /// This is attached from now on, when the ledger holds this: it is not empty after a restart that went on counting.
    pub fn attach(&mut self, attachments: Vec<Attachment>, ledger: &Ledger) {
        let known = self.status.attachments.iter().zip(std::mem::take(&mut self.alive)).collect::<Vec<_>>();
        let alive = |new: &Attachment| {
            let same = known.iter().find(|(old, _)| old.index == new.index);
            match same {
                Some((old, alive)) if old.interface == new.interface => *alive,
                Some(_) => Alive::renamed(seen(ledger, &new.interface)),
                None => Alive::new(seen(ledger, &new.interface)),
            }
        };
        self.alive = attachments.iter().map(alive).collect();
        self.nics.clear();
        self.status.ledger.clone_from(ledger);
        self.status.attachments = attachments;
    }

    /// Interfaces that should be counted and are not, a reason each; they are reported when the next window closes.
    pub fn miss(&mut self, missing: Vec<String>) {
        self.missing = missing;
        self.report_attachments();
    }

    /// The wall clock was set, and is ahead by so many nanoseconds. The open window says so, and what comes after it is labelled by
    /// the new time; nothing else changes.
    pub const fn clock_set(&mut self, ahead_ns: i64) {
        self.wall_ahead_ns = ahead_ns;
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
        self.windows.open_at(time);
        self.status.window_open_since = Some(time);
    }

    /// Makes room for a packet of this time: closes the open window if the packet lies beyond it.
    pub fn arrive<S: FlowSource + ?Sized>(
        &mut self,
        time: Timestamp,
        source: &mut S,
        output: &mut Fanout<'_>,
    ) -> Result<(), SourceError> {
        self.allowance.packet();
        match self.windows.arrival(time) {
            Arrival::Inside => {}
            Arrival::Late => {
                self.note_late();
                return Ok(());
            }
            Arrival::Closes => {
                let goes_back = self.windows.start().is_some_and(|start| time < start);
                match (self.allowance.window(), goes_back) {
                    (true, _) => {}
                    (false, true) => {
                        self.note_late();
                        return Ok(());
                    }
                    (false, false) => {
                        self.go_on(time, source, output)?;
                        return self.expire_after_silence(time, source, output);
                    }
                }
                self.close(source, output)?;
                if goes_back {
                    self.ids = self.ids.next_part();
                    source.identify(self.ids);
                }
            }
        }
        if self.windows.end().is_none() {
            self.pass_silence(time, source, output)?;
            self.open_for(time);
        }
        Ok(())
    }

    /// Takes the events that the source has.
    pub fn take_events<S: FlowSource + ?Sized>(
        &mut self,
        source: &mut S,
        output: &mut Fanout<'_>,
    ) -> Result<(), SourceError> {
        let Self { windows, status, timeline, .. } = self;
        source.events(&mut |mut event| {
            windows.add_event(&event);
            status.events.count(&event);
            label_event(timeline, &mut event);
            output.emit(PipelineEvent::Packet(&event));
        })
    }

    /// Takes what was counted since the last time into the open window.
    fn drain<S: FlowSource + ?Sized>(&mut self, source: &mut S, output: &mut Fanout<'_>) -> Result<(), SourceError> {
        self.take_events(source, output)?;
        let Self { windows, status, timeline, .. } = self;
        source.drain(&mut |update| {
            status.flows_total += u64::from(update.delta.is_some_and(|delta| delta.is_new));
            take(windows, timeline, output, &update);
        })?;
        source.gone().iter().for_each(|flow| output.emit(PipelineEvent::FlowGone(flow)));
        source.overflows(&mut |overflow| windows.add_overflow(&overflow))
    }

    /// Closes the open window: drains the source into it, and ends flows that are over.
    pub fn close<S: FlowSource + ?Sized>(
        &mut self,
        source: &mut S,
        output: &mut Fanout<'_>,
    ) -> Result<(), SourceError> {
        let Some(end) = self.windows.end() else { return Ok(()) };
        output.emit(PipelineEvent::Closing(end));
        let began = Instant::now();
        self.drain(source, output)?;
        self.status.last_drain_ns = began.elapsed().as_nanos() as u64;
        self.close_drained(source, output, None)
    }

    /// Closes the open window, for which the source has nothing more; what becomes of it if nothing was counted since the one before.
    fn close_drained<S: FlowSource + ?Sized>(
        &mut self,
        source: &mut S,
        output: &mut Fanout<'_>,
        silent: Option<Silent>,
    ) -> Result<(), SourceError> {
        let Some(end) = self.windows.end() else { return Ok(()) };
        let (windows, timeline) = (&mut self.windows, &self.timeline);
        if end.since(self.last_expiry) >= EXPIRE_EVERY_NS {
            source.expire(end, &mut |update| take(windows, timeline, output, &update))?;
            self.last_expiry = end;
        }
        if silent.is_none() {
            self.status.ledger = source.ledger()?;
        }
        self.judge_attachments();
        let measured = self.measure(end);
        let ledger = self.status.ledger.total();
        let Some(closed) = self.windows.close_measured(&ledger, measured) else { return Ok(()) };
        if measured.clock_step_ns != 0 {
            self.timeline.set(end, self.wall_ahead_ns);
        }
        self.uncounted_ns = 0;
        self.status.windows_closed += 1;
        self.status.windows_folded += measured.folded;
        self.status.last_window_end = Some(end);
        // Live, the next one has begun; a replay knows with its next packet.
        self.status.window_open_since = (self.status.mode == Mode::Live).then_some(end);
        self.status.flows_active = source.active();
        self.status.maps = source.maps();
        // What is read behind the end counts as read there: the next window begins with it, whoever reads that.
        self.status.readings = source.readings().map(|readings| {
            let time_ns = end.as_nanos().wrapping_sub(readings.clock_offset_ns);
            Readings { time_ns, ..readings }
        });
        let imported = self.import_baselines();
        self.take_models();
        let flows = closed.flows();
        self.catch_up(QUEUE - 1, MAX_FLOWS_BEHIND.saturating_sub(flows), output);
        let behind = (self.status.clone(), silent);
        self.mute(end.offset(self.wall_ahead_ns));
        let done = self.judge.close(closed);
        self.note_muted(end.offset(self.wall_ahead_ns));
        match (done, self.delivery) {
            (Some(done), Delivery::Immediate) => self.emit(done, behind, imported, output),
            (done, _) => self.behind.push_back((done, flows, behind)),
        }
        Ok(())
    }

    /// Emits the results of the windows before, but for the last ones: at most so many, with at most so many flows.
    fn catch_up(&mut self, windows: usize, flows: usize, output: &mut Fanout<'_>) {
        let mut waiting: usize = self.behind.iter().map(|(_, flows, _)| flows).sum();
        while self.behind.len() > windows || (waiting > flows && !self.behind.is_empty()) {
            let Some((done, flows, behind)) = self.behind.pop_front() else { return };
            waiting -= flows;
            if let Some(done) = done.or_else(|| self.judge.wait()) {
                self.emit(done, behind, false, output);
            }
        }
    }

    /// Emits the results of a window and the state behind it, and shows the baselines when they have changed.
    fn emit(&mut self, done: Done, (mut status, silent): Behind, imported: bool, output: &mut Fanout<'_>) {
        let Done { judged, detection, learning, took_ns } = done;
        let changed = imported || learning.updated != self.status.learning.updated;
        if let (Some(baselines), Judge::Here(analysis)) = (self.baselines.as_ref().filter(|_| changed), &self.judge) {
            baselines.publish(analysis.baselines().export());
        }
        let bases = judged.iter().map(|judged| &judged.snapshot).filter(|window| window.span == Span::Base);
        let new = bases.map(|base| u64::from(base.window.tcp.duplicates)).sum::<u64>();
        let duplicates = self.status.duplicates + new;
        for status in [&mut self.status, &mut status] {
            (status.detection, status.last_analysis_ns) = (detection, took_ns);
            status.learning.clone_from(&learning);
            if let Some(base) = judged.iter().map(|judged| &judged.snapshot).find(|window| window.span == Span::Base) {
                status.window_hosts = base.hosts.len() as u64;
                status.visibility = base.visibility;
                status.duplicates = duplicates;
                let others = base.hosts.others();
                status.window_other_packets = others.packets_sent + others.packets_received;
            }
        }
        let is_left_out = silent == Some(Silent::Judged);
        self.left_out.emit(judged, is_left_out, &self.timeline, output);
        if !is_left_out {
            output.emit(PipelineEvent::Closed(&label_status(&self.timeline, status)));
        }
    }

    /// Closes the open window and ends every flow, and every alert: the run ended at `time`. Nothing that is emitted is later.
    pub fn finish<S: FlowSource + ?Sized>(
        mut self,
        time: Timestamp,
        source: &mut S,
        output: &mut Fanout<'_>,
    ) -> Result<Status, SourceError> {
        self.is_ending = true;
        if self.status.mode == Mode::Live || self.windows.end().is_some_and(|end| time < end) {
            self.windows.end_at(time);
        }
        self.close(source, output)?;
        self.catch_up(0, 0, output);
        let Self { judge, baselines, mut status, timeline, mut left_out, .. } = self;
        let (Done { judged, detection, learning, .. }, ended, analysis) = judge.finish(time);
        (status.detection, status.learning) = (detection, learning);
        left_out.emit(judged, false, &timeline, output);
        for (change, mut alert) in ended {
            label_alert(&timeline, &mut alert);
            output.emit(PipelineEvent::Alert(change, &alert));
        }
        if let Some(baselines) = &baselines {
            baselines.publish(analysis.baselines().export());
            baselines.end();
        }
        source.finish(&mut |update| end(&timeline, output, &update));
        status.flows_active = 0;
        let status = label_status(&timeline, status);
        output.emit(PipelineEvent::Closed(&status));
        Ok(status)
    }
}
