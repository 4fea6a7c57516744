//! A replay: the frames of one or more captures, by time, through an engine; windows by the captures' own clock.

mod files;
mod follow;
mod identity;
mod lengths;
mod not_ip;
mod pace;
mod selection;
mod summary;
mod timeline;

use std::path::{Path, PathBuf};
use std::time::Instant;

pub use identity::{Hashes, States, analysis_of, key_of_upload};
pub use lengths::Lengths;
pub use not_ip::Frames;
pub use pace::Speed;
pub use selection::{Moment, Selected, Selection};
use sha2::{Digest as _, Sha256};
pub use summary::{FileSummary, Summary};
pub use timeline::Timeline;

use crate::pipeline::baselines::BaselineHandle;
use crate::pipeline::{Delivery, Fanout, Pipeline, PipelineOptions};
use crate::source::SourceError;
use crate::source::replay::{Batches, Engine, GROUP, Reading, read_ahead};
use files::Files;
use follow::is_pipe;
use not_ip::NotIp;
use nta_capture::{CaptureError, CaptureReader, Frame, Merged};
use nta_common::TunnelPorts;
use nta_core::baseline::BaselineConfig;
use nta_core::detect::DetectConfig;
use nta_core::domain::{IdentityScope, Mode, SensorId, Status, Timestamp};
use nta_core::model::Models;
use nta_core::window::Seed;
use pace::Pace;
use selection::Selector;

/// Frames between two looks at the progress, the stop flag and the events, of which each frame makes at most two: no
/// more than the ring of the kernel engine holds.
const CHECK_EVERY: u64 = 1024;
/// Captures of fewer bytes are read before a thread would have begun to (0.1 ms).
const WORTH_A_THREAD: u64 = 256 << 10;

/// Whether a second thread reads the captures. The result is the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadAhead {
    /// If there is a second core, and enough to read.
    #[default]
    Auto,
    /// Whatever there is.
    Always,
    /// Never.
    Never,
}

/// Why a replay failed as a whole.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// A file is no capture, or cannot be opened.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// All frames of a file are of link types that cannot be analysed.
    #[error("{0}")]
    LinkType(String),
    /// No second thread could be started.
    #[error("cannot start the reading thread: {0}")]
    Thread(#[source] std::io::Error),
    /// The engine failed.
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// What to replay, and how.
pub struct Replay<'a> {
    /// Captures, `-` for standard input.
    pub paths: Vec<PathBuf>,
    /// A capture that comes as a stream and is read in place of `paths`. One of which no frame can be analysed is no error
    /// then: the summary says what it holds.
    pub stream: Option<CaptureReader>,
    /// Looks at every frame that is analysed, at its headers at least.
    pub look: Option<&'a mut dyn FnMut(&Frame<'_>)>,
    /// Pace.
    pub speed: Speed,
    /// Length of a window in nanoseconds.
    pub window_ns: u64,
    /// What is looked for.
    pub detect: DetectConfig,
    /// How baselines are learned.
    pub baseline: BaselineConfig,
    /// Models that judge beside the rules.
    pub models: Models,
    /// Whether a second thread reads, and judges windows.
    pub read_ahead: ReadAhead,
    /// What of the captures is analysed.
    pub selection: Selection,
    /// Ports of tunnels that are opened, if they are.
    pub tunnels: Option<TunnelPorts>,
    /// How many analyses of the same captures with the same settings there are already: flows and alerts of this one are
    /// named apart from theirs.
    pub again: u32,
    /// Where baselines are shown, and imports of them taken from, if anybody looks.
    pub baselines: Option<BaselineHandle>,
    /// Receives bytes read and bytes in all, now and then; returns whether to go on.
    pub progress: &'a mut dyn FnMut(u64, Option<u64>) -> bool,
}

impl Replay<'_> {
    /// Feeds every frame to the engine. Opens all files before the first frame, so that a wrong name costs nothing.
    pub fn run(
        &mut self,
        engine: &mut dyn Engine,
        status: Status,
        output: &mut Fanout<'_>,
    ) -> Result<Summary, ReplayError> {
        let began = Instant::now();
        let is_pipe = is_pipe(&self.paths);
        let filter = self.selection.filter.as_ref().map(|(_, filter)| filter);
        let (stream, look) = (self.stream.take(), self.look.take());
        let is_stream = stream.is_some();
        let mut captures = if let Some(stream) = stream {
            Merged::of_stream(stream)
        } else if is_pipe {
            let path = self.paths.first().map_or(Path::new("-"), PathBuf::as_path);
            match follow::open(path, filter.cloned(), &mut || (self.progress)(0, None))? {
                Some(captures) => captures,
                None => return Ok(Summary::of_nothing(path, engine, began)),
            }
        } else {
            Merged::open(&self.paths, filter)?
        };
        let total = captures.total_bytes();
        let summary = Summary { engine: engine.name(), is_pipe, ..Summary::default() };
        let ids = self.ids(&mut captures);
        let beside = self.reads_ahead(total);
        let is_deferred = !is_pipe && self.speed == Speed::Max;
        let options = PipelineOptions {
            span_ns: self.window_ns,
            detect: self.detect.clone(),
            baseline: self.baseline.clone(),
            models: self.models.clone(),
            baselines: self.baselines.clone(),
            // What it says depends on nothing but the capture and the settings.
            mutes: None,
            delivery: if is_deferred { Delivery::Deferred { beside } } else { Delivery::Immediate },
            seed: Seed::fixed(),
            ids,
            earlier: Vec::new(),
        };
        engine.identify(ids);
        let pipeline = Pipeline::new(&options, Status { mode: Mode::Replay, ..status });
        let (pace, files, not_ip) = (Pace::new(self.speed), Files::default(), NotIp::new(self.tunnels));
        let selector = Selector::new(&self.selection);
        let mut feed =
            Feed { engine, pipeline, output, pace, summary, files, not_ip, selector, look, until_events: CHECK_EVERY };
        if is_pipe {
            self.follow(captures, &mut feed)?;
        } else if beside {
            let hinter = feed.engine.hinter();
            read_ahead(&mut captures, hinter.as_ref(), |batches| self.account_batches(batches, total, &mut feed))
                .map_err(ReplayError::Thread)??;
        } else {
            self.account(&mut captures, total, &mut feed)?;
        }
        let Feed { engine, pipeline, output, mut summary, files, not_ip, selector, .. } = feed;
        files.conclude(&self.paths, is_stream, &mut summary)?;
        summary.selected = selector.conclude();
        if let Some(selected) = &summary.selected {
            summary.packets = summary.packets.saturating_sub(selected.filtered + selected.outside);
        }
        summary.not_ip = not_ip.kinds();
        // The last frame's instant is the last one that anything is known of, but for a pipe that was silent behind it.
        let ended = summary.times.map_or_else(Timestamp::default, |(_, last)| last.plus(1));
        let ended = ended.max(pipeline.went_on_until());
        let status = pipeline.finish(ended, engine, output)?;
        summary.ledger = engine.ledger()?;
        summary.flows = status.flows_total;
        summary.late_packets = status.late_packets;
        summary.visibility = status.visibility;
        summary.duplicates = status.duplicates;
        summary.detection = status.detection;
        summary.windows_folded = status.windows_folded;
        summary.windows_left_out = status.windows_left_out;
        if summary.windows_folded > 0 {
            tracing::warn!(
                folded = summary.windows_folded,
                left_out = summary.windows_left_out,
                "the captures have more almost empty windows than are kept for so few packets"
            );
        }
        summary.elapsed = began.elapsed();
        Ok(summary)
    }

    /// What names flows and alerts: the captures by their first frames, which a pipe has as well, and all settings of the
    /// analysis. Read without waiting for more than that, and the same however a capture is packed and wherever it lies.
    fn ids(&self, captures: &mut Merged) -> IdentityScope {
        let mut first = Sha256::new();
        captures.first_frames(&mut |frame| {
            first.update(frame.time_ns.to_be_bytes());
            first.update(frame.wire_len.to_be_bytes());
            first.update((frame.data.len() as u64).to_be_bytes());
            first.update(frame.data);
        });
        let mut settings = Sha256::new();
        settings.update(self.window_ns.to_be_bytes());
        settings.update(self.detect.to_toml());
        settings.update(self.baseline.to_toml());
        settings.update(self.models.state.id.as_deref().unwrap_or_default());
        settings.update(self.selection.identity().unwrap_or_default());
        IdentityScope::of_analysis(&SensorId::replay(), &first.finalize(), &settings.finalize(), self.again)
    }

    /// Whether a second thread reads ahead.
    fn reads_ahead(&self, total: Option<u64>) -> bool {
        match self.read_ahead {
            ReadAhead::Always => true,
            ReadAhead::Never => false,
            ReadAhead::Auto => {
                self.speed == Speed::Max
                    && total.is_some_and(|bytes| bytes >= WORTH_A_THREAD)
                    && std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1)
            }
        }
    }

    fn account(
        &mut self,
        captures: &mut Merged,
        total: Option<u64>,
        feed: &mut Feed<'_, '_, '_>,
    ) -> Result<(), ReplayError> {
        let (mut until_check, mut read, mut is_stopped) = (CHECK_EVERY, 0, false);
        while let Some(frame) = captures.next_frame() {
            let mut goes_on = feed.frame(frame, &mut || (self.progress)(read, total))?;
            until_check -= 1;
            // What is held back has time to say how far it is; whether it goes on it asks while it waits.
            if until_check == 0 || self.speed != Speed::Max {
                read = captures.bytes_read();
                let may_go_on = (self.progress)(read, total);
                goes_on = goes_on && (may_go_on || until_check > 0);
            }
            if until_check == 0 {
                until_check = CHECK_EVERY;
            }
            if !goes_on {
                is_stopped = true;
                break;
            }
        }
        Reading::of_all(captures).into_iter().for_each(|reading| feed.files.note(reading));
        (self.progress)(captures.bytes_read(), total);
        feed.summary.stopped = is_stopped && captures.next_frame().is_some();
        Ok(())
    }

    fn account_batches(
        &mut self,
        mut batches: Batches,
        total: Option<u64>,
        feed: &mut Feed<'_, '_, '_>,
    ) -> Result<(), ReplayError> {
        while let Some(batch) = batches.next_batch() {
            let mut hints = batch.hints();
            for (i, frame) in batch.frames().enumerate() {
                if i % GROUP == 0 {
                    let (group, rest) = hints.split_at(GROUP.min(hints.len()));
                    feed.engine.look_ahead(group);
                    hints = rest;
                }
                // What is held back is not read ahead.
                feed.frame(frame, &mut || true)?;
            }
            batch.readings().iter().for_each(|reading| feed.files.note(reading.clone()));
            if !(self.progress)(batch.bytes_read(), total) {
                feed.summary.stopped = batches.next_batch().is_some();
                break;
            }
        }
        Ok(())
    }
}

/// Where frames go.
struct Feed<'a, 'b, 'l> {
    engine: &'a mut dyn Engine,
    pipeline: Pipeline,
    output: &'a mut Fanout<'b>,
    pace: Pace,
    summary: Summary,
    files: Files,
    not_ip: NotIp,
    selector: Selector,
    look: Option<&'l mut dyn FnMut(&Frame<'_>)>,
    /// Frames until the events are taken.
    until_events: u64,
}

impl Feed<'_, '_, '_> {
    /// Takes a frame when it is its turn, and returns whether to go on; `goes_on` is asked while that is waited for.
    #[inline]
    fn frame(&mut self, frame: Frame<'_>, goes_on: &mut dyn FnMut() -> bool) -> Result<bool, ReplayError> {
        let Frame { time_ns, wire_len, data, is_wanted, .. } = frame;
        let time = Timestamp::from_nanos(time_ns);
        if !self.selector.takes(time, is_wanted) {
            return Ok(true);
        }
        let goes_on = self.pace.wait(time, goes_on);
        self.pipeline.arrive(time, self.engine, self.output)?;
        self.engine.inject(time_ns, wire_len, data)?;
        let summary = &mut self.summary;
        summary.bytes += u64::from(wire_len);
        summary.timeline.add(time, wire_len);
        summary.lengths.add(wire_len);
        self.not_ip.look(wire_len, data);
        if let Some(look) = &mut self.look {
            look(&frame);
        }
        summary.times = Some(summary.times.map_or((time, time), |(first, last)| (first.min(time), last.max(time))));
        self.until_events -= 1;
        if self.until_events == 0 {
            self.until_events = CHECK_EVERY;
            self.pipeline.take_events(self.engine, self.output)?;
        }
        Ok(goes_on)
    }
}

#[cfg(test)]
mod tests;
