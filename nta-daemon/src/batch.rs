//! Captures by the hundred, each on a thread of its own: what `evaluate` and `train` do with them.

use std::path::Path;

use tokio_util::sync::CancellationToken;

use crate::capture::clock;
use crate::config::Config;
use crate::pipeline::{Fanout, Sink};
use crate::replay::{ReadAhead, Replay, Selection, Speed, Summary};
use crate::source::EventSettings;
use crate::source::kernel::KernelOptions;
use crate::source::replay::{Engine as _, UserEngine};
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
    let limits = KernelOptions { map_memory_mib: config.capture.map_memory_mib, ..KernelOptions::default() };
    let mut engine = UserEngine::new(
        file,
        limits.max_flows(),
        config.capture.tunnel_ports(),
        EventSettings::of(&config.capture, &config.events),
    );
    let status =
        Status { mode: Mode::Replay, engine: engine.name().to_owned(), started: clock::now(), ..Status::default() };
    let summary = Replay {
        paths: vec![path.to_owned()],
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
        progress: &mut |_, _| !stop.is_cancelled(),
    }
    .run(&mut engine, status, &mut Fanout::new(vec![sink]))
    .map_err(|error| error.to_string())?;
    if summary.stopped { Err(STOPPED.to_owned()) } else { Ok(summary) }
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
