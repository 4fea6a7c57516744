//! Captures on the thread that asks: by the hundred for `evaluate` and `train`, one by one for jobs.

use std::path::Path;

use tokio_util::sync::CancellationToken;

use crate::capture::clock;
use crate::config::Config;
use crate::pipeline::{Fanout, Sink};
use crate::replay::{ReadAhead, Replay, ReplayError, Selection, Speed, Summary};
use crate::source::kernel::KernelOptions;
use crate::source::replay::{Engine as _, UserEngine};
use nta_capture::{CaptureReader, Frame};
use nta_core::domain::{Mode, Status};
use nta_core::model::Models;

/// One capture through the user engine, on this thread; what comes of it goes to `sink`.
///
/// # Errors
/// Why it cannot be analysed to its end, which `stop` prevents as well.
pub fn replay_into(
    file: &str,
    path: &Path,
    config: &Config,
    models: &Models,
    sink: &mut dyn Sink,
    stop: &CancellationToken,
) -> Result<Summary, String> {
    let mut progress = |_, _| !stop.is_cancelled();
    let what = Replay { paths: vec![path.to_owned()], ..by(config, models, &mut progress) };
    let summary = run(what, file, config, sink).map_err(|error| error.to_string())?;
    if summary.stopped { Err(STOPPED.to_owned()) } else { Ok(summary) }
}

/// The same of an open capture, of which nobody needs to know where it lies. `look` sees every frame that is analysed; `goes_on` is
/// asked now and then, and the summary says when it stopped the analysis.
///
/// # Errors
/// Why it cannot be analysed.
pub fn replay_capture(
    capture: CaptureReader,
    (config, models): (&Config, &Models),
    sink: &mut dyn Sink,
    look: &mut dyn FnMut(&Frame<'_>),
    goes_on: &mut dyn FnMut() -> bool,
) -> Result<Summary, ReplayError> {
    let file = capture.name().to_owned();
    let mut progress = |_, _| goes_on();
    let what = Replay { stream: Some(capture), look: Some(look), ..by(config, models, &mut progress) };
    run(what, &file, config, sink)
}

/// As the configuration has it; what is read is yet to be said.
fn by<'a>(config: &Config, models: &Models, progress: &'a mut dyn FnMut(u64, Option<u64>) -> bool) -> Replay<'a> {
    Replay {
        paths: Vec::new(),
        stream: None,
        look: None,
        speed: Speed::Max,
        window_ns: config.windows.span_ns(),
        detect: config.detect.clone(),
        baseline: config.baseline.clone(),
        models: models.clone(),
        read_ahead: ReadAhead::Never,
        selection: Selection::default(),
        tunnels: config.capture.tunnel_ports(),
        again: 0,
        baselines: None,
        progress,
    }
}

fn run(mut what: Replay<'_>, file: &str, config: &Config, sink: &mut dyn Sink) -> Result<Summary, ReplayError> {
    let limits = KernelOptions { map_memory_mib: config.capture.map_memory_mib, ..KernelOptions::default() };
    let events = config.event_settings();
    let mut engine = UserEngine::new(file, limits.most_flows(), config.capture.tunnel_ports(), events);
    let status =
        Status { mode: Mode::Replay, engine: engine.name().to_owned(), started: clock::now(), ..Status::default() };
    what.run(&mut engine, status, &mut Fanout::new(vec![sink]))
}

/// Why a capture was not analysed to its end, or not at all, once `stop` is cancelled.
pub const STOPPED: &str = "stopped before its end";

/// Does the work on as many threads as there are processors, this one among them; where none can be had, on this one alone.
/// Each takes the next thing that is left to do, so that any number of them does all of it.
pub fn on_every_processor(work: impl Fn() + Send + Sync) {
    std::thread::scope(|scope| {
        for _ in 1..std::thread::available_parallelism().map_or(1, usize::from) {
            if std::thread::Builder::new().spawn_scoped(scope, &work).is_err() {
                break;
            }
        }
        work();
    });
}
