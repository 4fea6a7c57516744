//! `run`: live capture.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc;

use super::settings::Settings;
use super::{EXIT_USAGE, Signals, fail};
use crate::app::App;
use crate::config::{CaptureConfig, Config, InterfacePattern, selects};
use crate::live::Live;
use crate::model_loader;
use crate::pipeline::baselines::BaselineHandle;
use crate::source::kernel::device::Device;
use crate::source::kernel::{AttachOptions, AttachedKernel, KernelOptions, Pinning};
use crate::source::{EventSettings, SourceError};
use nta_core::domain::{ModelState, ModelUse};

/// Flags of `run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    nta-daemon run                                  # the interface of the default route\n  \
    nta-daemon run --interface eth0 --interface eth1\n  \
    nta-daemon run --interface eth0 --attach tcx --database sqlite:/var/lib/nta/nta.db\n  \
    nta-daemon run --dry-run                        # load, attach, detach, say what happened")]
pub(super) struct Args {
    #[command(flatten)]
    settings: Settings,
    /// eBPF object to load instead of the built-in one (`cargo xtask build-ebpf --features debug-log` makes one whose
    /// programs write diagnostics to the log, with --log debug).
    #[arg(long, env = "NTA_EBPF_OBJECT", value_name = "FILE")]
    ebpf_object: Option<PathBuf>,
    /// Load and attach, say how, detach and exit.
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn execute(args: Args) -> ExitCode {
    let dry_run = args.dry_run;
    let object = args.ebpf_object.clone();
    let config = match args.settings.load() {
        Ok(config) => config,
        Err(error) => return fail(EXIT_USAGE, &error),
    };
    let attach = attach_options(&config.capture, dry_run);
    let devices = match devices(&config.capture.interfaces) {
        Ok(devices) => devices,
        Err(error) => return fail(EXIT_USAGE, &error),
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &error),
    };
    let models = model_loader::load(&config);
    let judge = models.state.clone();
    // Before anything is attached: whoever asks to end it meanwhile gets it detached.
    let signals = match runtime.block_on(async { Signals::catch() }) {
        Ok(signals) => signals,
        Err(error) => return fail(1, &error),
    };
    let CaptureConfig { map_memory_mib, tunnels, .. } = config.capture;
    let events = EventSettings::of(&config.capture, &config.events);
    let options = KernelOptions { map_memory_mib, tunnels, events, object, ..KernelOptions::default() };
    let live = match AttachedKernel::load_and_attach(&devices, &attach, options) {
        Ok((attached, flows)) => Live {
            attached,
            flows,
            window_ns: config.windows.span_ns(),
            detect: config.detect.clone(),
            baseline: config.baseline.clone(),
            models,
            baselines: BaselineHandle::default(),
        },
        Err(error) => return fail(1, &error),
    };
    match &judge {
        ModelState { state: ModelUse::InUse, name, id, .. } => {
            tracing::info!(name, id, "model judges beside the rules");
        }
        ModelState { state: ModelUse::NotBuiltIn, reason, .. } => {
            tracing::info!(reason, "judging by rules alone");
        }
        _ => {}
    }
    for a in &live.attached.attachments {
        let (interface, ingress, egress, reason) = (&a.interface, &a.ingress, &a.egress, &a.reason);
        tracing::info!(interface, ingress, egress, count_basis = a.count_basis, reason, "attached");
    }
    if dry_run {
        tracing::info!("dry run: detaching");
        return ExitCode::SUCCESS;
    }
    let served = runtime.block_on(serve(&config, live, signals));
    // Whatever did not end within its deadline ends with the process.
    runtime.shutdown_background();
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, &error),
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

/// The interfaces that are named or match, or the one of the default route.
fn devices(patterns: &[InterfacePattern]) -> Result<Vec<Device>, SourceError> {
    if !patterns.is_empty() {
        if patterns.iter().all(InterfacePattern::is_name) {
            return patterns.iter().map(|name| Device::find(name.as_str())).collect();
        }
        let found: Vec<Device> = Device::all().into_iter().filter(|device| selects(patterns, &device.name)).collect();
        if found.is_empty() {
            let patterns: Vec<&str> = patterns.iter().map(InterfacePattern::as_str).collect();
            return Err(SourceError::NoInterface(patterns.join(",")));
        }
        return Ok(found);
    }
    let name = Device::of_default_route().ok_or_else(|| {
        let all: Vec<String> = Device::all().into_iter().map(|device| device.name).collect();
        let there_are =
            if all.is_empty() { "there is none".to_owned() } else { format!("there are {}", all.join(", ")) };
        SourceError::Unsupported(format!("no default route: name an interface with --interface ({there_are})"))
    })?;
    Ok(vec![Device::find(&name)?])
}

async fn serve(config: &Config, mut live: Live, mut signals: Signals) -> Result<(), String> {
    let names: Vec<&str> = live.attached.attachments.iter().map(|a| a.interface.as_str()).collect();
    let app =
        App::start(config, config.api.listen, &names.join(","), live.status()).await.map_err(|e| e.to_string())?;
    tracing::info!(url = %format!("http://{}", app.address), database = %config.store.database, "serving");
    live.baselines = app.baselines.clone();
    let (stop, stopped) = mpsc::sync_channel(1);
    let mut output = app.output();
    let mut capture = tokio::task::spawn_blocking(move || {
        let ended = live.run(&stopped, &mut output);
        output.finish();
        if let Err(error) = &ended {
            tracing::error!(%error, "capture ended");
        }
        ended.map_err(|e| e.to_string())
    });
    // Capture that fails keeps the API up, so that health can say so; a signal ends both.
    tokio::select! {
        signal = signals.next() => tracing::info!(signal, "stopping"),
        ended = &mut capture => {
            let reason = match ended {
                Ok(Ok(())) => "it ended by itself".to_owned(),
                Ok(Err(error)) => error,
                Err(panicked) => panicked.to_string(),
            };
            app.status.send_modify(|status| status.failure = Some(reason.clone()));
            let signal = signals.next().await;
            tracing::info!(signal, "stopping");
            app.drain().await;
            return Err(format!("capture had failed: {reason}"));
        }
    }
    drop(stop);
    let ended = tokio::time::timeout(crate::app::DRAIN_DEADLINE, capture).await;
    app.drain().await;
    match ended {
        Ok(Ok(ended)) => ended,
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the capture did not end in time".to_owned()),
    }
}
