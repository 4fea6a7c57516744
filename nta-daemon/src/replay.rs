//! A replay: the frames of one or more captures through an engine, windows by the captures' own clock.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::baseline::{BaselineConfig, BaselineHandle};
use crate::detect::DetectConfig;
use crate::domain::{Ledger, Status, Timestamp};
use crate::pipeline::{Output, Pipeline, PipelineOptions};
use crate::source::SourceError;
use crate::source::capture::{self, CaptureError, CaptureReader, End, Frame};
use crate::source::replay::Engine;
use crate::window::Seed;

/// Frames between two looks at the progress and the stop flag.
const CHECK_EVERY: u64 = 4096;

/// How fast frames are fed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// As fast as it goes.
    Max,
    /// So many times the captures' own pace.
    Times(f64),
}

impl std::str::FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "max" {
            return Ok(Self::Max);
        }
        match text.parse::<f64>() {
            Ok(times) if times.is_finite() && times > 0.0 => Ok(Self::Times(times)),
            _ => Err(format!("'{text}' is neither 'max' nor a positive factor such as 1 or 10")),
        }
    }
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
    /// The engine failed.
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// What is told about one file.
#[derive(Clone, Debug)]
pub struct FileSummary {
    /// Path as given.
    pub name: String,
    /// Format and compression.
    pub format: String,
    /// Frames in it, analysed or not.
    pub frames: u64,
    /// How it ended.
    pub end: End,
}

/// What a replay found beyond windows and flows.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Name of the engine.
    pub engine: &'static str,
    /// The files, in order.
    pub files: Vec<FileSummary>,
    /// Frames read.
    pub packets: u64,
    /// Their length on the wire.
    pub bytes: u64,
    /// Frames of link types that are not analysed.
    pub skipped_link_types: BTreeMap<String, u64>,
    /// Earliest and latest time of a frame.
    pub times: Option<(Timestamp, Timestamp)>,
    /// The ledger at the end.
    pub ledger: Ledger,
    /// Flows seen.
    pub flows: u64,
    /// Packets that came later than their window.
    pub late_packets: u64,
    /// Wall time.
    pub elapsed: Duration,
}

/// What to replay, and how.
pub struct Replay<'a> {
    /// Captures, `-` for standard input.
    pub paths: Vec<PathBuf>,
    /// Pace.
    pub speed: Speed,
    /// Length of a window in nanoseconds.
    pub window_ns: u64,
    /// What is looked for.
    pub detect: DetectConfig,
    /// How baselines are learned.
    pub baseline: BaselineConfig,
    /// Where baselines are shown, and imports of them taken from.
    pub baselines: BaselineHandle,
    /// Told bytes read and bytes in all, now and then; answers whether to go on.
    pub progress: &'a mut dyn FnMut(u64, Option<u64>) -> bool,
}

impl Replay<'_> {
    /// Feeds every frame to the engine. Opens all files before the first frame, so that a wrong name costs nothing.
    pub fn run(
        &mut self,
        engine: &mut dyn Engine,
        status: Status,
        output: &mut dyn Output,
    ) -> Result<Summary, ReplayError> {
        let began = Instant::now();
        let mut readers = Vec::with_capacity(self.paths.len());
        for path in &self.paths {
            readers.push(capture::open(path)?);
        }
        let mut summary = Summary { engine: engine.name(), ..Summary::default() };
        let options = PipelineOptions {
            span_ns: self.window_ns,
            detect: self.detect.clone(),
            baseline: self.baseline.clone(),
            baselines: self.baselines.clone(),
            seed: Seed::fixed(),
        };
        let mut pipeline = Pipeline::new(&options, status);
        let total = readers.iter().map(CaptureReader::total_bytes).sum::<Option<u64>>();
        let mut read_before = 0;
        let mut pace = Pace::new(self.speed);
        for reader in &mut readers {
            self.feed(reader, read_before, total, engine, &mut pipeline, &mut pace, &mut summary, output)?;
            if let Some(message) = reader.unsupported() {
                return Err(ReplayError::LinkType(message));
            }
            read_before += reader.bytes_read();
            summary.file(reader);
        }
        pipeline.finish(engine, output)?;
        summary.ledger = engine.ledger()?;
        summary.flows = pipeline.status().flows_total;
        summary.late_packets = pipeline.status().late_packets;
        summary.elapsed = began.elapsed();
        Ok(summary)
    }

    #[expect(clippy::too_many_arguments, reason = "the loop's whole state, used once")]
    fn feed(
        &mut self,
        reader: &mut CaptureReader,
        read_before: u64,
        total: Option<u64>,
        engine: &mut dyn Engine,
        pipeline: &mut Pipeline,
        pace: &mut Pace,
        summary: &mut Summary,
        output: &mut dyn Output,
    ) -> Result<(), ReplayError> {
        let mut until_check = CHECK_EVERY;
        while let Some(Frame { time_ns, wire_len, data }) = reader.next_frame() {
            let time = Timestamp::from_nanos(time_ns);
            pace.wait(time);
            pipeline.arrive(time, engine, output)?;
            engine.inject(time_ns, wire_len, data)?;
            summary.bytes += u64::from(wire_len);
            summary.times = Some(summary.times.map_or((time, time), |(first, last)| (first.min(time), last.max(time))));
            until_check -= 1;
            if until_check == 0 {
                until_check = CHECK_EVERY;
                if !(self.progress)(read_before + reader.bytes_read(), total) {
                    break;
                }
            }
        }
        Ok(())
    }
}

impl Summary {
    fn file(&mut self, reader: &CaptureReader) {
        let mut frames = reader.frames();
        for (link_type, count) in reader.skipped() {
            frames += count;
            *self.skipped_link_types.entry(link_type.to_string()).or_default() += count;
        }
        self.packets += frames;
        let (name, format) = (reader.name().to_owned(), reader.format().to_string());
        self.files.push(FileSummary { name, format, frames, end: reader.end().clone() });
    }
}

/// Holds frames back to the captures' pace.
struct Pace {
    speed: Speed,
    /// Wall and capture time of the first frame.
    origin: Option<(Instant, Timestamp)>,
}

impl Pace {
    /// A gap in a capture is waited for at most this long, so that captures put together are not waited for in years.
    const LONGEST: Duration = Duration::from_secs(60);

    const fn new(speed: Speed) -> Self {
        Self { speed, origin: None }
    }

    fn wait(&mut self, time: Timestamp) {
        let Speed::Times(times) = self.speed else { return };
        let (began, first) = *self.origin.get_or_insert((Instant::now(), time));
        let due = Duration::from_nanos((time.since(first) as f64 / times) as u64);
        let ahead = due.saturating_sub(began.elapsed());
        if ahead > Self::LONGEST {
            self.origin = Some((Instant::now() + Self::LONGEST, time));
        }
        std::thread::sleep(ahead.min(Self::LONGEST));
    }
}
