//! The analysis of a capture, while it arrives or from its file: on a thread of its own, through the reader, the engine and the
//! pipeline of a replay.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::available_parallelism;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::JoinHandle;

use super::growing::Growing;
use super::{Inner, Live};
use crate::api::ApiError;
use crate::capture::clock;
use crate::jobs::JobError;
use crate::pipeline::baselines::BaselineHandle;
use crate::pipeline::{Fanout, PipelineEvent, Sink};
use crate::replay::{ReadAhead, Replay, ReplayError, Selection, Speed, Summary, key_of_upload};
use crate::report::capture::{CaptureReport, Collector, FrameLook, Read, build};
use crate::sink::store::StoreOutput;
use crate::source::kernel::KernelOptions;
use crate::source::replay::{Engine as _, UserEngine};
use crate::store::{Found, Run, RunEnd, StoreError, StoreWriter, UploadTotals, sensor_of_capture};
use nta_capture::{CaptureError, CaptureReader, Frame};
use nta_core::domain::{Mode, Status, Timestamp};
use nta_core::window::{Lengths, Span};

/// Windows that may wait for the database, as far as their bytes do not bound them.
const STORE_QUEUE: usize = 64;

/// Packets between two notes of how far it is.
const TOLD_EVERY: u64 = 1024;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the analysis was stopped")]
    Stopped,
    #[error(transparent)]
    Replay(#[from] ReplayError),
    #[error("{}", .0.chain())]
    Store(#[from] StoreError),
    #[error("the report cannot be written: {0}")]
    Json(#[from] serde_json::Error),
}

/// How an analysis ended.
pub(super) enum Ended {
    /// There is a report.
    Done,
    /// It was stopped: with the daemon, by who cancelled it, or because its capture is gone.
    Stopped,
    /// There can be none.
    Failed(JobError),
}

/// Analyses what is in the file, and what still comes, and keeps the report.
pub(super) fn run(
    inner: &Arc<Inner>,
    live: &Arc<Live>,
    file: File,
    place: OwnedSemaphorePermit,
    runtime: &Handle,
) -> Ended {
    // The store's sink waits for room by the runtime of its thread.
    let _runtime = runtime.enter();
    let run = Run::new_uuid(clock::now());
    let growing = Growing::new(file, &live.growth, (Arc::clone(&inner.working), place), runtime.clone());
    let analysed = analyse(inner, live, growing, run, runtime);
    let file_id = &live.file_id;
    let (noted, ended) = match analysed {
        Ok(()) => {
            inner.counts.analysed.fetch_add(1, Relaxed);
            (Ok(()), Ended::Done)
        }
        // What is deleted or was there before leaves nothing; what the end of the daemon stops is made anew by the next start.
        Err(Failure::Stopped) if inner.stop.is_cancelled() => (Ok(()), Ended::Stopped),
        Err(Failure::Stopped) => {
            (runtime.block_on(inner.store.delete_rows_of_run(&run, &sensor_of_capture(file_id))), Ended::Stopped)
        }
        Err(failure) => {
            tracing::error!(file_id, %failure, "an upload cannot be analysed");
            let noted = runtime.block_on(inner.store.fail_upload(file_id, &failure.to_string(), clock::now()));
            (noted, Ended::Failed(failure.into()))
        }
    };
    if let Err(error) = noted {
        tracing::error!(file_id, error = error.chain(), "the end of an upload's analysis is not noted");
    }
    ended
}

impl From<Failure> for JobError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Replay(ReplayError::Capture(_) | ReplayError::LinkType(_)) => {
                ApiError::Unprocessable { field: Some("capture".to_owned()), detail: failure.to_string() }.into()
            }
            Failure::Store(error) => error.into(),
            Failure::Stopped | Failure::Replay(_) | Failure::Json(_) => ApiError::Internal.into(),
        }
    }
}

fn analyse(inner: &Arc<Inner>, live: &Live, growing: Growing, run: [u8; 16], runtime: &Handle) -> Result<(), Failure> {
    let shown = if live.name.is_empty() { &live.file_id } else { &live.name };
    let capture = CaptureReader::from_read(shown.clone(), Box::new(growing));
    let capture = capture.map(|capture| capture.with_most_unpacked(inner.config.max_unpacked_bytes));
    let (mut collector, mut frames) = (Collector::new(inner.settings.windows.span_ns()), FrameLook::default());
    let capture = match capture {
        Ok(capture) => capture,
        Err(_) if live.growth.is_stopped() => return Err(Failure::Stopped),
        Err(unreadable) => {
            let reason = without_name(&unreadable, shown);
            if !live.growth.wait_until_whole() {
                return Err(Failure::Stopped);
            }
            let made = report(live, &Summary::default(), (&collector, &frames), Some(reason))?;
            return Ok(runtime.block_on(keep(inner, live, &made, None))?);
        }
    };
    let (writer, written, mut output) = runtime.block_on(begin(inner, live, run))?;
    let last = writer.clone();
    live.growth.near_end(move || last.make_room_for_the_last());
    let replayed = {
        let mut seen = Seen(&mut collector);
        replay((inner, live), capture, &mut Fanout::new(vec![&mut output, &mut seen]), &mut frames)
    };
    collector.end();
    // It is there before the last windows are stored: what they hold it has.
    let made = replayed.map_err(Failure::from).and_then(|summary| {
        if !live.growth.wait_until_whole() {
            return Err(Failure::Stopped);
        }
        let made = report(live, &summary, (&collector, &frames), None)?;
        let _first = live.report.set(Arc::clone(&made.report));
        Ok((made, summary.times.map(|(first, last)| [first, last])))
    });
    drop((collector, frames));
    output.finish(if made.is_ok() { RunEnd::Completed } else { RunEnd::Stopped });
    let stored = runtime.block_on(async {
        let stored = writer.shutdown().await;
        let _ended = written.await;
        stored
    });
    let (made, span) = made?;
    stored?;
    runtime.block_on(note_analysis(inner, live, &run))?;
    Ok(runtime.block_on(keep(inner, live, &made, span))?)
}

/// Begins the run that stores what is found.
async fn begin(
    inner: &Inner,
    live: &Live,
    uuid: [u8; 16],
) -> Result<(StoreWriter, JoinHandle<()>, StoreOutput), StoreError> {
    let run = Run {
        started: clock::now(),
        mode: Mode::Replay,
        source: live.file_id.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        sensor: sensor_of_capture(&live.file_id),
        uuid,
        analysis: None,
    };
    inner.store.note_upload_run(&live.file_id, &uuid).await?;
    let run = inner.store.begin_run(&run).await?;
    let (writer, written) = inner.store.writer(run, STORE_QUEUE);
    let found = Found::new(inner.store.clone(), inner.settings.store.feature_hosts).with_lengths(Lengths::Nominal);
    // Nobody looks at its state, and no baselines are published.
    let (status, _watched) = watch::channel(Status::default());
    let output = StoreOutput::new(writer.clone(), status, found, (Mode::Replay, BaselineHandle::default()), true);
    Ok((writer, written, output))
}

fn replay(
    (inner, live): (&Inner, &Live),
    capture: CaptureReader,
    output: &mut Fanout<'_>,
    frames: &mut FrameLook,
) -> Result<Summary, ReplayError> {
    let config = &inner.settings;
    let limits = KernelOptions { map_memory_mib: config.capture.map_memory_mib, ..KernelOptions::default() };
    let events = config.event_settings();
    let mut engine = UserEngine::new(capture.name(), limits.most_flows(), config.capture.tunnel_ports(), events);
    let status =
        Status { mode: Mode::Replay, engine: engine.name().to_owned(), started: clock::now(), ..Status::default() };
    let mut packets = 0_u64;
    let mut look = |frame: &Frame<'_>| {
        packets += 1;
        if packets.is_multiple_of(TOLD_EVERY) {
            tell(live, packets);
        }
        frames.look(frame);
    };
    let is_alone = available_parallelism().is_ok_and(|processors| processors.get() < 2);
    let summary = Replay {
        paths: Vec::new(),
        stream: Some(capture),
        look: Some(&mut look),
        speed: Speed::Max,
        window_ns: config.windows.span_ns(),
        detect: config.detect.clone(),
        baseline: config.baseline.clone(),
        models: inner.models.current(),
        read_ahead: if is_alone { ReadAhead::Never } else { ReadAhead::Always },
        selection: Selection::default(),
        tunnels: config.capture.tunnel_ports(),
        again: 0,
        baselines: None,
        progress: &mut |_, _| true,
    }
    .run(&mut engine, status, output);
    tell(live, packets);
    summary
}

/// Says how far it is.
fn tell(live: &Live, packets: u64) {
    let Some(progress) = live.progress.get() else { return };
    let (read, written) = live.growth.progress();
    // Of what comes in one piece nobody knows the length before its end.
    if let Some(total) = live.length.or_else(|| live.identity.get().map(|(_, bytes)| *bytes)) {
        progress.set(read, total.max(written));
    }
    progress.packets(packets);
}

/// A report, and what the list of captures says of it.
struct Made {
    report: Arc<str>,
    totals: UploadTotals,
    /// What is wrong with the capture's end.
    problem: Option<String>,
}

fn report(
    live: &Live,
    summary: &Summary,
    (collector, frames): (&Collector, &FrameLook),
    unreadable: Option<String>,
) -> Result<Made, Failure> {
    let (sha256, bytes) = live.identity.get().ok_or(Failure::Stopped)?;
    let read = Read { file_id: &live.file_id, name: &live.name, sha256, bytes: *bytes, unreadable };
    let report: CaptureReport = build(&read, summary, collector, frames);
    let totals = UploadTotals {
        captures: 1,
        file_bytes: *bytes,
        packets: report.totals.packets,
        bytes: report.totals.bytes,
        flows: report.totals.flows,
        alerts: report.totals.alerts,
    };
    let problem = report.read.detail.as_ref().map(|detail| format!("{}: {detail}", report.read.end));
    Ok(Made { report: serde_json::to_string(&report)?.into(), totals, problem })
}

async fn keep(inner: &Inner, live: &Live, made: &Made, span: Option<[Timestamp; 2]>) -> Result<(), StoreError> {
    let report = (&*made.report, &made.totals, made.problem.as_deref());
    inner.store.keep_report(&live.file_id, report, span, clock::now()).await
}

/// Notes what the run was of: the capture by its SHA-256, and the settings.
async fn note_analysis(inner: &Inner, live: &Live, run: &[u8; 16]) -> Result<(), StoreError> {
    let Some((sha256, bytes)) = live.identity.get() else { return Ok(()) };
    let Some(key) = key_of_upload(sha256, &inner.settings) else { return Ok(()) };
    inner.store.note_captures(&key, &[(sha256.clone(), live.name.clone(), *bytes)], clock::now()).await?;
    inner.store.note_analysis(run, &key).await
}

/// What is wrong with a capture, but for its name, which stands beside it.
fn without_name(error: &CaptureError, name: &str) -> String {
    let text = error.to_string();
    text.strip_prefix(name).and_then(|rest| rest.strip_prefix(": ")).map_or(text.clone(), str::to_owned)
}

/// Hands on what the report is made of.
struct Seen<'a>(&'a mut Collector);

impl Sink for Seen<'_> {
    fn take(&mut self, _number: u64, event: &PipelineEvent<'_>) {
        match *event {
            PipelineEvent::Flow { update, flow } => {
                self.0.flow(update, flow);
                if update.ended.is_some() {
                    self.0.ended(update);
                }
            }
            PipelineEvent::FlowEnded(update) => self.0.ended(update),
            PipelineEvent::Window(snapshot) if snapshot.span == Span::Base => self.0.window(&snapshot.window),
            PipelineEvent::Alert(_change, alert) => self.0.alert(alert),
            PipelineEvent::Packet(event) => self.0.event(event),
            PipelineEvent::Closing(_)
            | PipelineEvent::Window(_)
            | PipelineEvent::FlowGone(_)
            | PipelineEvent::Judged(_)
            | PipelineEvent::Closed(_) => {}
        }
    }
}
