//! `run`: live capture.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use super::checks::{self, Absent};
use super::settings::Settings;
use super::{EXIT_USAGE, Tasks, fail};
use crate::app::{App, Plan, Signals, Task, Work};
use crate::capture::supervisor::{self, Judging, Supervisor};
use crate::config::{CaptureConfig, Config, InterfacePattern, ReloadError, Reread, read_regular};
use crate::descriptors;
use crate::model_loader;
use crate::pipeline::{Fanout, Sink};
use crate::sink::log::AlertLog;
use crate::sink::metrics::MetricsSink;
use crate::source::SourceError;
use crate::source::kernel::device::Device;
use crate::source::kernel::{AttachOptions, LoaderClient, Pinning, check_rights};
use crate::store::RunEnd;
use crate::telemetry;
use nta_core::domain::{Mode, ModelState, ModelUse};

/// Flags of `run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    nta-daemon run                                  # the interface of the default route\n  \
    nta-daemon run --interface eth0 --interface eth1\n  \
    nta-daemon run --interface ppp0                 # waits for ppp0 where it is not there yet\n  \
    nta-daemon run --interface eth0 --attach tcx --database sqlite:/var/lib/nta/nta.db\n  \
    nta-daemon run --interface eth0 --ship https://nta.example.org:5000 --ship-token-file /etc/nta/ship.token\n  \
    nta-daemon run --interface eth0 --ship tls://nats.example.org:4222 --ship-credentials-file /etc/nta/nats.creds\n  \
    nta-daemon run --dry-run                        # load, attach, detach, say what happened")]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) settings: Settings,
    /// eBPF object to load instead of the built-in one (`cargo xtask build-ebpf --features debug-log` makes one whose
    /// programs write diagnostics to the log, with --log debug).
    #[arg(long, env = "NTA_EBPF_OBJECT", value_name = "FILE")]
    ebpf_object: Option<PathBuf>,
    /// Load and attach, say how, detach and exit; nothing is listened on, and no database is opened.
    #[arg(long)]
    dry_run: bool,
    /// What is named without a flag: a capture or an interface, which the refusal says how to give.
    #[arg(hide = true, value_name = "NAME")]
    stray: Vec<PathBuf>,
}

pub(super) fn execute(args: Args) -> ExitCode {
    if let Some(stray) = args.stray.first() {
        return fail(EXIT_USAGE, &misplaced(stray));
    }
    let (dry_run, object, settings) = (args.dry_run, args.ebpf_object, args.settings);
    let (config, places) = match settings.clone().load_with_places() {
        Ok(loaded) => loaded,
        Err(error) if dry_run => {
            return fail(EXIT_USAGE, &checks::with_the_rest(error, settings, Absent::Refused));
        }
        Err(error) => return fail(EXIT_USAGE, &error),
    };
    telemetry::change_filter(&config.log.filter.directives());
    if dry_run {
        if let Err(error) = checks::look(&config, &places, Absent::Refused) {
            return fail(EXIT_USAGE, &error);
        }
    } else {
        for (key, message) in config.warnings() {
            tracing::warn!("{key}: {message}");
        }
    }
    let attach = attach_options(&config.capture, dry_run);
    let patterns = match patterns(&config.capture.interfaces) {
        Ok(patterns) => patterns,
        Err(error) => return fail(EXIT_USAGE, &error),
    };
    if let Err(error) = check_descriptors() {
        return fail(1, &error);
    }
    if let Err(error) = check_attacher(&config.capture, dry_run) {
        return fail(1, &error);
    }
    let object = match object.as_deref().map(read_object).transpose() {
        Ok(object) => object,
        Err(error) => return fail(EXIT_USAGE, &error),
    };
    if dry_run {
        if let Some(unused) = settings.unused_by_a_dry_run(std::env::args_os().skip(1)) {
            tracing::warn!("a dry run only attaches: {unused} not tried");
        }
        return match Supervisor::begin(patterns, attach, &config, object, None, &CancellationToken::new()) {
            Ok(_detached) => {
                tracing::info!("dry run: detaching");
                ExitCode::SUCCESS
            }
            Err(error) => fail(1, &error),
        };
    }
    let tasks = match Tasks::start() {
        Ok(tasks) => tasks,
        Err(error) => return fail(1, &error),
    };
    let served = tasks.wait(serve(&config, patterns, attach, object, &settings));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, &error),
    }
}

/// Whether programs can be attached: by the loader where one is configured, else by this process, as in a dry run.
fn check_attacher(capture: &CaptureConfig, dry_run: bool) -> Result<(), SourceError> {
    match capture.loader().filter(|_| !dry_run) {
        Some(path) => LoaderClient::status(&path).map(drop),
        None => check_rights(),
    }
}

/// Ours has a mebibyte and a half.
const MOST_OBJECT_BYTES: u64 = 64 << 20;

fn read_object(path: &Path) -> Result<Vec<u8>, String> {
    read_regular(path, MOST_OBJECT_BYTES).map_err(|error| format!("eBPF object {}: {error}", path.display()))
}

/// Whether this process may open as much as one interface, the maps, the database and a few clients take.
fn check_descriptors() -> Result<(), String> {
    let limit = descriptors::allowed();
    if limit >= LEAST_DESCRIPTORS {
        return Ok(());
    }
    Err(format!(
        "{limit} open files are allowed, and at least {LEAST_DESCRIPTORS} are needed: raise the limit (`ulimit -n`, LimitNOFILE= of \
         a unit)"
    ))
}

/// What everything but clients takes, and a few clients.
const LEAST_DESCRIPTORS: u64 = 160;

/// How to give what was named without a flag.
fn misplaced(name: &Path) -> String {
    let shown = name.display();
    match name.to_str().filter(|name| Device::find(name).is_ok()) {
        Some(_) => format!("`{shown}` stands alone: an interface is given as --interface {shown}"),
        None => format!(
            "`{shown}` stands alone: `run` captures live; a capture file is analysed by `nta-daemon replay {shown}`"
        ),
    }
}

/// What the configuration says about attaching; a dry run leaves alone what is pinned.
fn attach_options(capture: &CaptureConfig, dry_run: bool) -> AttachOptions {
    let pinning = match capture.pin_path.clone() {
        _ if dry_run => Pinning::Ignored,
        path if capture.pin => Pinning::On(path),
        path => Pinning::Off(path),
    };
    AttachOptions { mode: capture.attach, tcx_order: capture.tcx_order, pinning }
}

/// The interfaces to be watched, or the one of the default route. Those that are not there yet are waited for.
fn patterns(patterns: &[InterfacePattern]) -> Result<Vec<InterfacePattern>, String> {
    if !patterns.is_empty() {
        return Ok(patterns.to_vec());
    }
    let name = Device::of_default_route()
        .ok_or_else(|| format!("no default route: name an interface with --interface ({})", Device::there_are()))?;
    Ok(vec![name.parse().map_err(|error| format!("{error}"))?])
}

/// Builds the App, which tries all that can be refused, then attaches, then runs.
async fn serve(
    config: &Config,
    patterns: Vec<InterfacePattern>,
    attach: AttachOptions,
    object: Option<Vec<u8>>,
    settings: &Settings,
) -> Result<(), String> {
    // Before anything is attached: whoever asks to end it meanwhile gets it detached.
    let mut signals = Signals::catch().map_err(|e| e.to_string())?;
    let models = model_loader::load(config);
    let names: Vec<&str> = patterns.iter().map(InterfacePattern::as_str).collect();
    let plan = Plan {
        mode: Mode::Live,
        source: names.join(","),
        listen: Some(config.api.listen),
        status: supervisor::status(config.windows.span_ns(), &models),
        analysis: None,
        files: Vec::new(),
    };
    let mut app = tokio::select! {
        biased;
        signal = signals.stop() => {
            tracing::info!(signal, "stopping before anything is attached");
            return Ok(());
        }
        // What it waits for is large, and would lie in this frame.
        app = Box::pin(App::build(config, plan)) => app.map_err(|e| e.to_string())?,
    };
    let models = app.choose_models(models).await;
    let (resume, begun_with) = (app.take_resume(), Box::new(config.clone()));
    let begin = move |stop: &CancellationToken| Supervisor::begin(patterns, attach, &begun_with, object, resume, stop);
    let (supervisor, capture) = match unless_asked_to_end(&mut signals, begin).await {
        Ok(Ok(begun)) => begun,
        Ok(Err(SourceError::Stopped)) => {
            tracing::info!("nothing was attached");
            app.abandon().await;
            return Ok(());
        }
        Ok(Err(error)) => {
            app.abandon().await;
            return Err(error.to_string());
        }
        Err(panicked) => {
            app.abandon().await;
            return Err(format!("attaching stopped unexpectedly: {panicked}"));
        }
    };
    if supervisor.is_resumed()
        && let Err(error) = app.take_over_flows().await
    {
        app.abandon().await;
        return Err(error.to_string());
    }
    if let Some(readings) = supervisor.begun() {
        app.begin_readings(&readings).await;
    }
    match &models.current().state {
        ModelState { state: ModelUse::InUse, name, id, .. } => {
            tracing::info!(name, id, "model judges beside the rules");
        }
        ModelState { state: ModelUse::NotBuiltIn, reason, .. } => {
            tracing::info!(reason, "judging by rules alone");
        }
        _ => {}
    }
    app.begin_with(supervisor.failure());
    app.take_orders_by(capture);
    // Boxed, as the other: a configuration is large, and each move of it would lie in this frame.
    let judged_by = Box::new(config.clone());
    let work = move |task: Task| {
        let Task {
            mut output,
            mut mirror,
            mut eve,
            mut ipfix,
            baselines,
            mutes,
            detect,
            metrics,
            ids,
            earlier,
            status,
            stop,
            ..
        } = task;
        let mut log = AlertLog::default();
        let mut counted = MetricsSink::new(metrics, judged_by.detect.local_networks.clone());
        let judging = Judging { config: *judged_by, models, baselines, mutes, detect, ids, earlier };
        let mut sinks: Vec<&mut dyn Sink> = vec![&mut output, &mut log, &mut counted];
        sinks.extend(mirror.as_mut().map(|mirror| mirror as &mut dyn Sink));
        sinks.extend(eve.as_mut().map(|eve| eve as &mut dyn Sink));
        sinks.extend(ipfix.as_mut().map(|ipfix| ipfix as &mut dyn Sink));
        let ended = supervisor.run(&judging, &stop, &status, &mut Fanout::new(sinks));
        output.finish(RunEnd::Stopped);
        Captured(ended)
    };
    let mut hangup = || reread(settings);
    let Captured(ended) = Box::pin(app.run(work, &mut signals, &mut hangup)).await.map_err(|e| e.to_string())?;
    ended.map_err(|e| e.to_string())
}

/// Runs a step of the start that blocks, on a thread of its own. A signal that asks to end cancels the step's token, and the step
/// decides how far it still goes.
async fn unless_asked_to_end<T: Send + 'static>(
    signals: &mut Signals,
    step: impl FnOnce(&CancellationToken) -> T + Send + 'static,
) -> Result<T, JoinError> {
    let stop = CancellationToken::new();
    let asked = stop.clone();
    let mut running = tokio::task::spawn_blocking(move || step(&asked));
    tokio::select! {
        ended = &mut running => ended,
        signal = signals.stop() => {
            tracing::info!(signal, "stopping while it starts");
            stop.cancel();
            running.await
        }
    }
}

/// A capture that ended.
struct Captured(Result<(), SourceError>);

impl Work for Captured {
    fn serves_on(&self) -> bool {
        false
    }
}

/// Reads flags, variables and configuration file again.
fn reread(settings: &Settings) -> Result<Reread, ReloadError> {
    let invalid = |error: &dyn std::fmt::Display| ReloadError::Invalid(error.to_string());
    let config = settings.clone().load().map_err(|error| invalid(&error))?;
    let patterns = patterns(&config.capture.interfaces).map_err(|error| invalid(&error))?;
    Ok(Reread { config, patterns })
}
