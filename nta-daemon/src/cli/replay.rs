//! `replay`: capture files.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio_util::sync::CancellationToken;

use super::format::{Format, Plot};
use super::output::{Collected, OutputOptions};
use super::settings::DatabaseFlag;
use super::{EXIT_INCOMPLETE, EXIT_USAGE, Tasks, fail, inputs, interrupt};
use crate::app::{App, Plan, Signal, Signals, Task, Work};
use crate::capture::clock;
use crate::config::{Config, DatabaseUrl, Places, ReloadError};
use crate::model_loader;
use crate::pipeline::baselines::BaselineHandle;
use crate::pipeline::progress::Progress;
use crate::pipeline::{Fanout, Sink};
use crate::replay::{Hashes, Moment, ReadAhead, Replay, ReplayError, Selection, Speed, States, Summary, analysis_of};
use crate::sink::metrics::MetricsSink;
use crate::source::SourceError;
use crate::source::kernel::KernelOptions;
use crate::source::replay::{Engine, KernelEngine, PacketFilter, UserEngine};
use crate::store::RunEnd;
use nta_capture::FrameFilter;
use nta_core::domain::{Mode, Status};

/// A replay that takes less is over before anybody asks how far it is.
const PATIENCE: Duration = Duration::from_millis(500);

/// Flags of `replay`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    nta-daemon replay capture.pcap\n  \
    nta-daemon replay --format json capture.pcapng.gz | jq .windows[0]\n  \
    nta-daemon replay /var/captures                    # a ring buffer's folder\n  \
    tcpdump -w - -U | nta-daemon replay -              # followed like a live source\n  \
    nta-daemon replay --filter 'udp port 53' --from +10m --to +20m capture.pcap\n  \
    nta-daemon replay --engine kernel capture.pcap     # through the real eBPF program\n  \
    nta-daemon replay --format jsonl --events capture.pcap | jq 'select(.type == \"dns\")'\n  \
    nta-daemon replay --format zeek capture.pcap | zeek-cut id.orig_h conn_state\n  \
    nta-daemon replay --format eve capture.pcap > eve.json\n  \
    nta-daemon replay --format ipfix capture.pcap > flows.ipfix\n  \
    nta-daemon replay --serve capture.pcap             # keeps serving what it found on 127.0.0.1:5000")]
pub(super) struct Args {
    /// Captures: pcap or pcapng, plain, gzip or zstd compressed; a folder of them; - for standard input. Several are merged by
    /// time.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// What accounts the packets. auto: the user engine.
    #[arg(long, env = "NTA_ENGINE", value_enum, default_value_t = EngineChoice::Auto)]
    engine: EngineChoice,
    /// Pace: max, or a multiple of the capture's own.
    #[arg(long, env = "NTA_SPEED", default_value = "max", value_name = "max|N")]
    speed: Speed,
    /// Length of a window in seconds.
    #[arg(long, env = "NTA_WINDOW", value_name = "SECONDS")]
    window: Option<u64>,
    /// Database to store windows and flows in; with --serve in memory unless given.
    #[arg(long, env = "NTA_DATABASE", value_name = "URL", hide_env_values = true)]
    database: Option<DatabaseFlag>,
    /// What is printed.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// With --format jsonl: a line for every DNS message and ARP packet as well.
    #[arg(long)]
    events: bool,
    /// With --format jsonl: a line for every host of every window of 5, 30 and 180 s with its features, see
    /// docs/FEATURES.md.
    #[arg(long)]
    features: bool,
    /// Folder for what --format zeek, csv, eve and ipfix write; standard output unless given.
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Only packets that this takes: the language of tcpdump, as 'tcp port 443 and host 192.0.2.1'. Needs libpcap.
    #[arg(long, value_name = "FILTER")]
    filter: Option<String>,
    /// Only packets from this time on: RFC 3339, seconds since 1970, or +30s from the first packet.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    from: Option<Moment>,
    /// Only packets before this time.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    to: Option<Moment>,
    /// Say the SHA-256 of captures of any size; without this flag, of up to 16 MiB together.
    #[arg(long)]
    hash: bool,
    /// Whether the text has a chart of packets over time. auto, the default: in a terminal.
    #[arg(long, value_enum)]
    plot: Option<Plot>,
    /// Keep serving what was found over REST.
    #[arg(long)]
    serve: bool,
    /// Store the analysis once more, although the database has one of the same captures with the same settings.
    #[arg(long)]
    again: bool,
    /// Address and port of REST, with --serve.
    #[arg(long, env = "NTA_LISTEN", value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// Configuration file (TOML).
    #[arg(long, env = "NTA_CONFIG")]
    config: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum EngineChoice {
    /// The user engine: no privileges, millions of packets a second, the same result.
    Auto,
    /// Every packet through the real eBPF program (needs the rights to load it).
    Kernel,
    /// The program's code in user space.
    User,
}

pub(super) fn execute(mut args: Args) -> ExitCode {
    let mut config = match Config::load(args.config.as_deref()) {
        Ok(config) => config,
        Err(error) => return fail(EXIT_USAGE, &error),
    };
    config.windows.seconds = args.window.unwrap_or(config.windows.seconds);
    config.api.listen = args.listen.unwrap_or(config.api.listen);
    config.store.database = match args.database.clone().map(DatabaseFlag::get).transpose() {
        Ok(database) => database.unwrap_or_else(DatabaseUrl::memory),
        Err(error) => return fail(EXIT_USAGE, &error),
    };
    let listener = if args.serve { config.check_together(&Places::new()) } else { Ok(()) };
    if let Err(error) = config.check().and(listener) {
        return fail(EXIT_USAGE, &error);
    }
    if let Some(refused) = without_effect(&args) {
        return fail(EXIT_USAGE, &refused);
    }
    if args.paths.iter().filter(|path| path.as_os_str() == "-").count() > 1 {
        return fail(EXIT_USAGE, &"standard input can be read only once");
    }
    let selection = match selection(&args) {
        Ok(selection) => selection,
        Err(error) => return fail(EXIT_USAGE, &error),
    };
    args.paths = match inputs::captures(&args.paths) {
        Ok(paths) => paths,
        Err(error) => return fail(EXIT_USAGE, &error),
    };
    let mut collected = match Collected::new(&OutputOptions {
        format: args.format,
        folder: args.output.as_deref(),
        detect: &config.detect,
        tunnels: config.capture.tunnels,
        events: args.events,
        features: args.features,
        plot: args.plot.unwrap_or(Plot::Auto),
    }) {
        Ok(collected) => collected,
        Err(error) => return fail(1, &format_args!("cannot write the result: {error}")),
    };
    let mut engine = match engine(args.engine, &args.paths, &config) {
        Ok(engine) => engine,
        Err(error) => return fail(1, &error),
    };
    if !args.serve && args.database.is_none() {
        let stop = match interrupt::token() {
            Ok(stop) => stop,
            Err(error) => return fail(1, &error),
        };
        let mut only = Fanout::new(vec![&mut collected]);
        let hashes =
            if args.format.is_of_files() { Hashes::default() } else { Hashes::begin(args.paths.clone(), args.hash) };
        let stop = (&stop, &Progress::default());
        let replayed = replay((&args, &selection), &config, engine.as_mut(), (None, 0), &mut only, stop);
        return conclude(replayed, hashes, collected);
    }
    match Tasks::start() {
        Ok(tasks) => tasks.wait(with_store((args, selection), config, engine, collected)),
        Err(error) => fail(1, &error),
    }
}

/// A flag that would change nothing, and what it needs. What a variable says is meant for other runs too.
fn without_effect(args: &Args) -> Option<&'static str> {
    let is_file = args.format.is_of_files();
    let is_variable = |name: &str| std::env::var_os(name).is_some();
    let needs = [
        (args.events && args.format != Format::Jsonl, "--events needs --format jsonl"),
        (args.features && args.format != Format::Jsonl, "--features needs --format jsonl"),
        (args.output.is_some() && !is_file, "--output needs --format zeek, csv, eve or ipfix"),
        (args.hash && is_file, "--hash needs --format text, json or jsonl"),
        (args.plot.is_some() && args.format != Format::Text, "--plot needs --format text"),
        (args.listen.is_some() && !args.serve && !is_variable("NTA_LISTEN"), "--listen needs --serve"),
        (args.again && args.database.is_none(), "--again needs --database: nothing was stored before"),
        (
            args.again && args.paths.iter().any(|path| path.as_os_str() == "-"),
            "--again needs files: what comes through a pipe is always another analysis",
        ),
    ];
    needs.into_iter().find(|(is_without, _)| *is_without).map(|(_, needs)| needs)
}

fn selection(args: &Args) -> Result<Selection, String> {
    let filter = match &args.filter {
        Some(text) if text.trim().is_empty() => {
            return Err("--filter is empty: leave it out to analyse every packet".to_owned());
        }
        Some(text) => Some((text.clone(), Arc::new(PacketFilter::new(text)?) as Arc<dyn FrameFilter>)),
        None => None,
    };
    let selection = Selection { filter, from: args.from, to: args.to };
    selection.contradiction().map_or(Ok(selection), Err)
}

fn engine(choice: EngineChoice, paths: &[PathBuf], config: &Config) -> Result<Box<dyn Engine>, SourceError> {
    // The packets of several are merged, and counted together.
    let name = match paths {
        [only] => only.display().to_string(),
        several => format!("{} captures", several.len()),
    };
    let capture = &config.capture;
    let events = config.event_settings();
    match choice {
        EngineChoice::Kernel => {
            Ok(Box::new(KernelEngine::new(&name, capture.map_memory_mib, capture.tunnel_ports(), events)?))
        }
        EngineChoice::Auto | EngineChoice::User => {
            let limits = KernelOptions { map_memory_mib: capture.map_memory_mib, ..KernelOptions::default() };
            Ok(Box::new(UserEngine::new(&name, limits.most_flows(), capture.tunnel_ports(), events)))
        }
    }
}

fn status(engine: &dyn Engine) -> Status {
    Status { mode: Mode::Replay, engine: engine.name().to_owned(), started: clock::now(), ..Status::default() }
}

fn replay(
    (args, selection): (&Args, &Selection),
    config: &Config,
    engine: &mut dyn Engine,
    (baselines, again): (Option<BaselineHandle>, u32),
    output: &mut Fanout<'_>,
    (stop, shown): (&CancellationToken, &Progress),
) -> Result<Summary, ReplayError> {
    let bar = ProgressBar::hidden();
    let mut progress = |read: u64, total: Option<u64>| {
        shown.read(read, total);
        if bar.length().is_none() && bar.elapsed() >= PATIENCE && std::io::stderr().is_terminal() {
            show(&bar, total);
        }
        bar.set_position(read);
        !stop.is_cancelled()
    };
    let mut replay = Replay {
        paths: args.paths.clone(),
        stream: None,
        look: None,
        speed: args.speed,
        window_ns: config.windows.span_ns(),
        detect: config.detect.clone(),
        baseline: config.baseline.clone(),
        models: model_loader::load(config),
        read_ahead: ReadAhead::Auto,
        selection: selection.clone(),
        tunnels: config.capture.tunnel_ports(),
        again,
        baselines,
        progress: &mut progress,
    };
    let status = status(engine);
    let replayed = replay.run(engine, status, output);
    bar.finish_and_clear();
    replayed
}

/// Shows the bar: how much of the files was read, or, of a pipe, how much came.
fn show(bar: &ProgressBar, total: Option<u64>) {
    let template = match total {
        Some(_) => "{wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, ends in {eta}",
        None => "{spinner} {bytes} read, {bytes_per_sec}",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_length(total.unwrap_or_default());
    bar.set_draw_target(ProgressDrawTarget::stderr());
}

fn conclude(replayed: Result<Summary, ReplayError>, hashes: Hashes, collected: Collected) -> ExitCode {
    match replayed {
        Ok(mut summary) => {
            hashes.finish(&mut summary);
            match collected.print(&summary) {
                Ok(()) if summary.is_whole() => ExitCode::SUCCESS,
                Ok(()) => ExitCode::from(EXIT_INCOMPLETE),
                Err(error) => fail(1, &format_args!("cannot write the result: {error}")),
            }
        }
        Err(error @ (ReplayError::Capture(_) | ReplayError::LinkType(_))) => fail(EXIT_USAGE, &error),
        Err(error) => fail(1, &error),
    }
}

/// Replays into a database and, with `--serve`, goes on serving until a signal.
async fn with_store(
    (args, selection): (Args, Selection),
    config: Config,
    mut engine: Box<dyn Engine>,
    collected: Collected,
) -> ExitCode {
    let mut signals = match Signals::catch() {
        Ok(signals) => signals,
        Err(error) => return fail(1, &error),
    };
    // The first one is the App's to answer.
    if let Err(error) = interrupt::catch(|_| {}) {
        return fail(1, &error);
    }
    let serve = args.serve;
    let files: Vec<PathBuf> = args.paths.iter().filter(|path| path.is_file()).cloned().collect();
    let names: Vec<String> = args.paths.iter().map(|path| path.display().to_string()).collect();
    let before = States::of(&args.paths);
    let analysis = analysis_of(&args.paths, &config, &selection, args.again);
    let hashes = analysis.as_ref().map_or_else(Hashes::default, Hashes::known);
    let plan = Plan {
        mode: Mode::Replay,
        source: names.join(","),
        listen: serve.then_some(config.api.listen),
        status: status(engine.as_ref()),
        analysis,
        files,
    };
    let app = tokio::select! {
        app = App::build(&config, plan) => app,
        // It may wait for another process.
        name = stopped(&mut signals) => return fail(EXIT_INCOMPLETE, &format_args!("{name}: stopped before it began")),
    };
    let app = match app {
        Ok(app) => app,
        Err(error) => return fail(1, &error),
    };
    let work = move |task: Task| {
        let Task { mut output, baselines, metrics, again, progress, stop, .. } = task;
        let mut collected = collected;
        let mut counted = MetricsSink::new(metrics, config.detect.local_networks.clone());
        let mut sinks: Vec<&mut dyn Sink> = vec![&mut output, &mut collected];
        if serve {
            sinks.push(&mut counted);
        }
        let mut both = Fanout::new(sinks);
        let replayed = replay(
            (&args, &selection),
            &config,
            engine.as_mut(),
            (Some(baselines), again),
            &mut both,
            (&stop, &progress),
        );
        let is_whole = replayed.is_ok() && !stop.is_cancelled() && before.are_the_same();
        output.finish(if is_whole { RunEnd::Completed } else { RunEnd::Stopped });
        let code = conclude(replayed, hashes, collected);
        let is_read = [ExitCode::SUCCESS, ExitCode::from(EXIT_INCOMPLETE)].contains(&code);
        Replayed { code, serves_on: serve && is_read && !stop.is_cancelled() }
    };
    let mut hangup = || Err(ReloadError::Once("a replay reads its configuration once"));
    match app.run(work, &mut signals, &mut hangup).await {
        Ok(Replayed { code, .. }) => code,
        Err(error) => fail(1, &error),
    }
}

/// Waits for a signal that asks for the end.
async fn stopped(signals: &mut Signals) -> &'static str {
    loop {
        if let Signal::Stop(name) = signals.next().await {
            return name;
        }
    }
}

/// A replay that ended.
struct Replayed {
    code: ExitCode,
    serves_on: bool,
}

impl Work for Replayed {
    fn serves_on(&self) -> bool {
        self.serves_on
    }
}
