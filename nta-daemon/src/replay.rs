//! A replay: the frames of one or more captures through an engine, windows by the captures' own clock.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::baseline::{BaselineConfig, BaselineHandle};
use crate::detect::DetectConfig;
use crate::domain::{Ledger, Status, Timestamp};
use crate::model::Models;
use crate::pipeline::{Output, Pipeline, PipelineOptions, Telling};
use crate::source::SourceError;
use crate::source::capture::{self, CaptureError, CaptureReader, End, Frame};
use crate::source::replay::{Batches, Engine, GROUP, Reading, read_ahead};
use crate::window::Seed;

/// Frames between two looks at the progress, the stop flag and the events, of which each frame makes at most two: no
/// more than the ring of the kernel engine holds.
const CHECK_EVERY: u64 = 1024;
/// Captures of fewer bytes are read before a thread would have begun to (0.1 ms).
const WORTH_A_THREAD: u64 = 256 << 10;

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
    /// Models that judge beside the rules.
    pub models: Models,
    /// Whether a second thread reads, and judges windows.
    pub read_ahead: ReadAhead,
    /// Where baselines are shown, and imports of them taken from, if anybody looks.
    pub baselines: Option<BaselineHandle>,
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
        let total = readers.iter().map(CaptureReader::total_bytes).sum::<Option<u64>>();
        let summary = Summary { engine: engine.name(), ..Summary::default() };
        let options = PipelineOptions {
            span_ns: self.window_ns,
            detect: self.detect.clone(),
            baseline: self.baseline.clone(),
            models: self.models.clone(),
            baselines: self.baselines.clone(),
            telling: Telling::Behind { beside: self.reads_ahead(total) },
            seed: Seed::fixed(),
        };
        let pipeline = Pipeline::new(&options, status);
        let mut feed =
            Feed { engine, pipeline, output, pace: Pace::new(self.speed), summary, until_events: CHECK_EVERY };
        if self.reads_ahead(total) {
            let hinter = feed.engine.hinter();
            read_ahead(&mut readers, hinter.as_ref(), |batches| self.account_batches(batches, total, &mut feed))
                .map_err(ReplayError::Thread)??;
        } else {
            self.account_readers(&mut readers, total, &mut feed)?;
        }
        let Feed { engine, pipeline, output, mut summary, .. } = feed;
        let status = pipeline.finish(engine, output)?;
        summary.ledger = engine.ledger()?;
        summary.flows = status.flows_total;
        summary.late_packets = status.late_packets;
        summary.elapsed = began.elapsed();
        Ok(summary)
    }

    /// Whether a second thread reads. Not for a pipe: it may be live, and no frame of it waits for a batch to be full.
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

    fn account_readers(
        &mut self,
        readers: &mut [CaptureReader],
        total: Option<u64>,
        feed: &mut Feed<'_>,
    ) -> Result<(), ReplayError> {
        let mut read_before = 0;
        for reader in readers {
            let mut goes_on = true;
            let mut until_check = CHECK_EVERY;
            while goes_on && let Some(frame) = reader.next_frame() {
                feed.frame(frame)?;
                until_check -= 1;
                if until_check == 0 {
                    until_check = CHECK_EVERY;
                    goes_on = (self.progress)(read_before + reader.bytes_read(), total);
                }
            }
            read_before += reader.bytes_read();
            feed.summary.file(Reading::of(reader))?;
            if !goes_on {
                break;
            }
        }
        Ok(())
    }

    fn account_batches(
        &mut self,
        mut batches: Batches,
        total: Option<u64>,
        feed: &mut Feed<'_>,
    ) -> Result<(), ReplayError> {
        let mut read_before = 0;
        while let Some(batch) = batches.next_batch() {
            let mut hints = batch.hints();
            for (i, frame) in batch.frames().enumerate() {
                if i % GROUP == 0 {
                    let (group, rest) = hints.split_at(GROUP.min(hints.len()));
                    feed.engine.look_ahead(group);
                    hints = rest;
                }
                feed.frame(frame)?;
            }
            let reading = batch.reading();
            let goes_on = (self.progress)(read_before + reading.bytes, total);
            if batch.is_last() || !goes_on {
                read_before += reading.bytes;
                feed.summary.file(reading.clone())?;
            }
            if !goes_on {
                break;
            }
        }
        Ok(())
    }
}

/// Where frames go.
struct Feed<'a> {
    engine: &'a mut dyn Engine,
    pipeline: Pipeline,
    output: &'a mut dyn Output,
    pace: Pace,
    summary: Summary,
    /// Frames until the events are taken.
    until_events: u64,
}

impl Feed<'_> {
    #[inline]
    fn frame(&mut self, frame: Frame<'_>) -> Result<(), ReplayError> {
        let Frame { time_ns, wire_len, data } = frame;
        let time = Timestamp::from_nanos(time_ns);
        self.pace.wait(time);
        self.pipeline.arrive(time, self.engine, self.output)?;
        self.engine.inject(time_ns, wire_len, data)?;
        let summary = &mut self.summary;
        summary.bytes += u64::from(wire_len);
        summary.times = Some(summary.times.map_or((time, time), |(first, last)| (first.min(time), last.max(time))));
        self.until_events -= 1;
        if self.until_events == 0 {
            self.until_events = CHECK_EVERY;
            self.pipeline.take_events(self.engine, self.output)?;
        }
        Ok(())
    }
}

impl Summary {
    /// Takes in what was read of a file.
    fn file(&mut self, reading: Reading) -> Result<(), ReplayError> {
        let Reading { name, format, mut frames, skipped, end, unsupported, .. } = reading;
        if let Some(message) = unsupported {
            return Err(ReplayError::LinkType(message));
        }
        for (link_type, count) in skipped {
            frames += count;
            *self.skipped_link_types.entry(link_type.to_string()).or_default() += count;
        }
        self.packets += frames;
        self.files.push(FileSummary { name, format, frames, end });
        Ok(())
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;
    use std::path::Path;

    use super::*;
    use crate::domain::{Alert, AlertChange, Event, FlowRecord, FlowUpdate};
    use crate::json::{FlowJson, WindowJson};
    use crate::source::EventSettings;
    use crate::source::replay::UserEngine;
    use crate::window::{DEFAULT_WINDOW_NS, Snapshot};

    /// What comes out of a replay, as JSON lines.
    #[derive(Default)]
    struct Lines(Vec<String>);

    impl Output for Lines {
        fn flow(&mut self, _update: &FlowUpdate<'_>, flow: &FlowRecord) {
            let flow = FlowJson::from(flow);
            self.0.push(serde_json::to_string(&flow).expect("a flow is JSON"));
        }

        fn event(&mut self, event: &Event) {
            self.0.push(format!("{event:?}"));
        }

        fn window(&mut self, snapshot: &Snapshot) {
            self.0.push(serde_json::to_string(&WindowJson::from(&snapshot.window)).expect("a window is JSON"));
        }

        fn alert(&mut self, change: AlertChange, alert: &Alert) {
            self.0.push(format!("{change:?} {alert:?}"));
        }

        fn closed(&mut self, status: &Status) {
            self.0.push(format!("{:?}", (status.flows_active, status.late_packets, &status.ledger)));
        }
    }

    fn run(paths: &[PathBuf], max_flows: u32, read_ahead: ReadAhead, looks: u64) -> (Vec<String>, Option<Summary>) {
        let mut left = looks;
        let mut progress = |_: u64, _: Option<u64>| {
            left -= 1;
            left > 0
        };
        let mut replay = Replay {
            paths: paths.to_vec(),
            speed: Speed::Max,
            window_ns: DEFAULT_WINDOW_NS,
            detect: DetectConfig::default(),
            baseline: BaselineConfig::default(),
            models: Models::default(),
            baselines: None,
            read_ahead,
            progress: &mut progress,
        };
        let mut lines = Lines::default();
        let mut engine = UserEngine::new("test", [max_flows; 2], true, EventSettings::default());
        match replay.run(&mut engine, Status::default(), &mut lines) {
            Ok(summary) => {
                lines.0.push(format!("{:?}", Summary { elapsed: Duration::ZERO, ..summary.clone() }));
                (lines.0, Some(summary))
            }
            Err(error) => {
                lines.0.push(error.to_string());
                (lines.0, None)
            }
        }
    }

    /// With and without the second thread, with room for all flows and for few; how many lines it gave.
    #[track_caller]
    fn same(paths: &[PathBuf]) -> usize {
        let mut count = 0;
        for max_flows in [16, 65_536] {
            let [(alone, _), (ahead, _)] =
                [ReadAhead::Never, ReadAhead::Always].map(|read_ahead| run(paths, max_flows, read_ahead, u64::MAX));
            assert!(alone == ahead, "{paths:?}, {max_flows} flows: {:?}", differing(&alone, &ahead));
            count += alone.len();
        }
        count
    }

    fn differing<'a>(alone: &'a [String], ahead: &'a [String]) -> Option<(&'a String, &'a String)> {
        alone.iter().zip(ahead).find(|(a, b)| a != b)
    }

    /// A capture as it is, compressed, and cut off.
    fn wrappings(path: &Path, folder: &Path) -> Vec<PathBuf> {
        let bytes = fs::read(path).expect("a capture");
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&bytes).expect("gzip");
        let made = [
            ("gz", gzip.finish().expect("gzip")),
            ("zst", zstd::encode_all(bytes.as_slice(), 1).expect("zstd")),
            ("cut", bytes[..bytes.len() - bytes.len().min(7)].to_vec()),
        ];
        let mut paths = vec![path.to_owned()];
        for (name, bytes) in made {
            let path = folder.join(name);
            fs::write(&path, bytes).expect("written");
            paths.push(path);
        }
        paths
    }

    /// A capture of this many packets, 7 ms apart, of 5,000 flows; every 100th comes 6 s late.
    fn many(packets: u32) -> Vec<u8> {
        let mut file = [0xa1b2_c3d4_u32, 4 << 16 | 2, 0, 0, 65_535, 1].map(u32::to_le_bytes).concat();
        for i in 0..packets {
            let ms = 10_000 + u64::from(i) * 7 - if i % 100 == 0 { 6_000 } else { 0 };
            let [_, _, high, low] = (i * 7 % 5_000).to_be_bytes();
            let mut frame = vec![0; 12];
            frame.extend([8, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 198, 51, high, low]);
            frame.extend([3, 0xe8, 0, 53, 0, 8, 0, 0]);
            let len = frame.len() as u32;
            file.extend([(ms / 1000) as u32, (ms % 1000 * 1000) as u32, len, len].map(u32::to_le_bytes).concat());
            file.extend(frame);
        }
        file
    }

    #[test]
    fn bundled_captures_give_the_same_with_a_second_thread() {
        let folder = tempfile::tempdir().expect("a folder");
        let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cases");
        let cases = fs::read_dir(cases).expect("cases").map(|entry| entry.expect("a case").path());
        let inputs = |case: PathBuf| ["input.pcap", "input.pcapng"].map(|name| case.join(name));
        let inputs: Vec<PathBuf> = cases.flat_map(inputs).filter(|path| path.is_file()).collect();
        assert!(inputs.len() >= 4, "{inputs:?}");
        for input in &inputs {
            for path in wrappings(input, folder.path()) {
                assert!(same(&[path]) > 2, "no lines: {input:?}");
            }
        }
        same(&inputs);
    }

    #[test]
    fn many_batches_late_packets_and_a_full_table_give_the_same_with_a_second_thread() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("many");
        fs::write(&path, many(8_000)).expect("written");
        let paths = wrappings(&path, folder.path());
        for path in &paths {
            same(std::slice::from_ref(path));
        }
        let (_, summary) = run(&paths[..1], 16, ReadAhead::Always, u64::MAX);
        let summary = summary.expect("replayed");
        assert_eq!((summary.packets, summary.late_packets), (8_000, 79));
        assert!(summary.ledger.total().get(nta_common::Counter::Overflow) > 0, "{summary:?}");
    }

    #[test]
    fn link_types_that_are_not_analysed_are_told_the_same_with_a_second_thread() {
        let folder = tempfile::tempdir().expect("a folder");
        let [ethernet, other] = ["ethernet", "other"].map(|name| folder.path().join(name));
        let mut bytes = many(3_000);
        fs::write(&ethernet, &bytes).expect("written");
        bytes[20..24].copy_from_slice(&147_u32.to_le_bytes()); // USER0
        fs::write(&other, &bytes).expect("written");
        same(&[other.clone(), ethernet.clone()]);
        let (lines, _) = run(&[ethernet, other], 16, ReadAhead::Always, u64::MAX);
        assert!(lines.last().expect("lines").contains("no frame can be analysed"), "{lines:?}");
    }

    #[test]
    fn what_is_stopped_has_told_every_packet_that_it_counted() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("many");
        fs::write(&path, many(20_000)).expect("written");
        for read_ahead in [ReadAhead::Never, ReadAhead::Always] {
            let (_, summary) = run(&[path.clone(), path.clone()], 16, read_ahead, 2);
            let summary = summary.expect("replayed");
            assert_eq!(summary.packets, summary.ledger.total().get(nta_common::Counter::Seen), "{read_ahead:?}");
            assert!((1..20_000).contains(&summary.packets), "{summary:?}");
            assert_eq!(summary.files.len(), 1, "{summary:?}");
        }
    }

    #[test]
    fn the_collection_gives_the_same_with_a_second_thread() {
        let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/captures");
        let folder = std::env::var_os("NTA_CAPTURES").map_or_else(beside, PathBuf::from);
        let Ok(manifest) = fs::read_to_string(folder.join("MANIFEST.tsv")) else {
            println!("not run: the_collection_gives_the_same_with_a_second_thread: no captures in {folder:?}");
            return;
        };
        let paths = manifest.lines().skip(1).filter_map(|row| row.split('\t').next()).map(|name| folder.join(name));
        let small = |path: &PathBuf| fs::metadata(path).is_ok_and(|file| file.len() <= LARGEST);
        let paths: Vec<PathBuf> = paths.filter(small).step_by(EVERY).collect();
        assert!(paths.len() > 100, "{paths:?}");
        for path in paths {
            same(&[path]);
        }
    }

    /// Of the collection: the largest capture, and every how many-th, so that a debug build takes seconds.
    const LARGEST: u64 = 256 << 10;
    const EVERY: usize = 8;
}
