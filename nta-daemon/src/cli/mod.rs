//! The command line: one file per command.

mod anonymize;
mod backup;
mod captures;
mod checks;
mod collect;
mod compare;
mod config;
mod deciding;
mod doctor;
mod document;
mod environment;
mod evaluate;
mod explain;
mod export;
mod exported;
mod folds;
mod format;
mod generate;
mod inputs;
mod interrupt;
mod labelled;
mod migrate;
mod model;
mod output;
mod reach;
mod replay;
mod run;
mod sensors;
mod settings;
mod shipping;
mod stored;
mod tokens;
mod train;
mod train_forest;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use tracing_subscriber::Layer as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::LogFilter;
use crate::telemetry::{self, LOG, RECORDS, RecordsLayer};

/// Exit status for bad input: a missing file, no capture, a wrong flag (as clap's).
const EXIT_USAGE: u8 = 2;

/// Exit status of a replay that analysed a capture as far as it could be read: it is cut off or corrupt.
const EXIT_INCOMPLETE: u8 = 3;

/// Network traffic analyzer that runs inside the Linux kernel.
#[derive(Debug, Parser)]
#[command(
    name = "nta-daemon",
    version,
    about,
    after_help = "Examples:\n  nta-daemon run --interface eth0\n  nta-daemon replay capture.pcap --format json\n  nta-daemon doctor"
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// How log lines are written to standard error.
    #[arg(long, env = "NTA_LOG_FORMAT", value_enum, default_value = "text", global = true)]
    log_format: LogFormat,
    /// What is logged: a level, or a filter such as `nta_daemon=debug`. Default: info, or `log.filter` of the configuration of `run`.
    #[arg(long, env = "NTA_LOG", global = true)]
    log: Option<LogFilter>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Capture live, store windows and flows, serve REST.
    Run(run::Args),
    /// Store what the sensors of many gateways publish to NATS.
    Collect(collect::Args),
    /// Analyse capture files.
    Replay(replay::Args),
    /// Hold detection against labelled captures: recall, precision, time to detect, false alarms an hour.
    Evaluate(evaluate::Args),
    /// Make a capture that may be shown: other addresses, no payload.
    Anonymize(anonymize::Args),
    /// Write what a database holds to a file: JSON, CSV, Parquet, EVE JSON.
    Export(Box<export::Args>),
    /// Copy the database to a file while a daemon writes into it.
    Backup(backup::Args),
    /// Move everything of a SQLite database into PostgreSQL.
    Migrate(migrate::Args),
    /// Learn from labelled captures what attacks look like: a model that judges beside the rules.
    Train(train::Args),
    /// Check a model, or ask it.
    #[command(hide = true)]
    Model(model::Args),
    /// Say why there was an alert about a host at some time, or none: what every detector measured, beside its threshold.
    Explain(explain::Args),
    /// Make, list and revoke the tokens that the API takes.
    Tokens(tokens::Args),
    /// List the gateways that ship to this server: state, lag, and whether anything is missing.
    Sensors(sensors::Args),
    /// Say what of this gateway waits for its server, and what is never sent.
    Shipping(shipping::Args),
    /// Print the configuration that `run` would use, as a commented file, or what settings mean.
    PrintConfig(config::PrintArgs),
    /// Check the configuration that `run` would use, and say what is wrong with it.
    CheckConfig(config::CheckArgs),
    /// Write man pages, completions for shells and a configuration to edit, for who makes a package.
    #[command(hide = true)]
    Generate(generate::Args),
    /// Say what this machine can do: kernel, BTF, rights, and the hook each interface would get.
    Doctor(doctor::Args),
}

/// What the exit statuses of a command mean.
fn exit_status(command: &str) -> &'static str {
    match command {
        "doctor" => "0: this machine can capture; 1: it cannot; 2: the command line cannot be used",
        "check-config" => "0: `run` takes it; 2: it cannot be used",
        "print-config" => "0: printed; 2: the configuration cannot be used",
        "replay" => {
            "0: done; 1: it failed at its work; 2: the command line, the configuration or a capture cannot be used; \
             3: a capture was cut off, or the analysis stopped by a signal, and what was read is analysed"
        }
        "evaluate" => {
            "0: done; 1: it failed at its work; 2: the command line, the configuration or the input cannot be used; \
             3: stopped by a signal, the figures are those of the captures that were analysed"
        }
        "train" => {
            "0: done; 1: it failed at its work; 2: the command line, the configuration or the input cannot be used; \
             3: stopped by a signal, no model is written"
        }
        _ => "0: done; 1: it failed at its work; 2: the command line, the configuration or the input cannot be used",
    }
}

impl Cli {
    /// The command line of this process; what cannot be read, and `--help`, end it.
    pub fn of_process() -> Self {
        let command = Self::described();
        let matches = command
            .clone()
            .try_get_matches()
            .unwrap_or_else(|error| environment::with_variable(&command, error, std::env::args_os().skip(1)).exit());
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    /// The commands, whose help says what their exit statuses mean.
    fn described() -> clap::Command {
        Self::command().mut_subcommands(|command| {
            let (examples, status) = (command.get_after_help().cloned(), exit_status(command.get_name()));
            let examples = examples.map(|text| format!("{text}\n\n")).unwrap_or_default();
            command.after_help(format!("{examples}Exit status:\n  {}", status.replace("; ", "\n  ")))
        })
    }

    /// Runs the command; errors go to standard error, one line.
    pub fn execute(self) -> ExitCode {
        if let Err(error) = self.start_log() {
            return fail(EXIT_USAGE, &error);
        }
        let variables = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
        for message in environment::unknown(&Self::command(), variables) {
            tracing::warn!("{message}");
        }
        match self.command {
            Command::Run(mut args) => {
                args.settings.log = self.log;
                run::execute(args)
            }
            Command::Collect(args) => collect::execute(args),
            Command::Replay(args) => replay::execute(args),
            Command::Evaluate(args) => evaluate::execute(&args),
            Command::Anonymize(args) => anonymize::execute(&args),
            Command::Export(args) => export::execute(*args),
            Command::Backup(args) => backup::execute(args),
            Command::Migrate(args) => migrate::execute(args),
            Command::Train(args) => train::execute(&args),
            Command::Model(args) => model::execute(&args),
            Command::Explain(args) => explain::execute(args),
            Command::Tokens(args) => tokens::execute(args),
            Command::Sensors(args) => sensors::execute(args),
            Command::Shipping(args) => shipping::execute(args),
            Command::PrintConfig(mut args) => {
                args.settings.log = self.log;
                config::print(args)
            }
            Command::CheckConfig(mut args) => {
                args.settings.log = self.log;
                config::check(args)
            }
            Command::Generate(args) => generate::execute(&args),
            Command::Doctor(args) => doctor::execute(&args),
        }
    }

    fn start_log(&self) -> Result<(), String> {
        let filter = self.log.clone().unwrap_or_default();
        let colour =
            std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        LOG.start().map_err(|error| format!("standard error cannot be written to: {error}"))?;
        let log = tracing_subscriber::fmt::layer().with_writer(&LOG).with_ansi(colour);
        // A line that cannot be written is lost. To say so, the library would write it where the line could not go, and panic.
        let log = log.log_internal_errors(false);
        let log = match self.log_format {
            LogFormat::Text => log.boxed(),
            LogFormat::Json => log.json().boxed(),
        };
        let filter = telemetry::filter(&filter.directives()).map_err(|error| format!("--log {filter}: {error}"))?;
        tracing_subscriber::registry().with(filter).with(log).with(RecordsLayer(&RECORDS)).init();
        Ok(())
    }
}

/// The threads and tasks of a command that has several. Whatever does not end within its deadline ends with the process, also where
/// that ends by a panic: a thread that waits for work must not keep it.
struct Tasks(Option<tokio::runtime::Runtime>);

impl Tasks {
    fn start() -> Result<Self, String> {
        let refused = |error| {
            format!(
                "cannot start threads: {error}: allow more (`ulimit -u`, TasksMax= of a unit, pids.max of a control group)"
            )
        };
        check_threads().map_err(refused)?;
        Ok(Self(Some(tokio::runtime::Runtime::new().map_err(refused)?)))
    }

    fn wait<T>(self, work: impl Future<Output = T>) -> T {
        self.0.as_ref().expect("taken when dropped").block_on(work)
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Tries whether the threads can be had that are needed from the beginning: the runtime panics where they cannot.
fn check_threads() -> std::io::Result<()> {
    /// Beside one for each processor: the writer's, the API's, the judge's.
    const FURTHER: usize = 8;
    let wanted = std::thread::available_parallelism().map_or(1, usize::from) + FURTHER;
    let (hold, held) = std::sync::mpsc::sync_channel::<()>(1); // nothing is ever sent
    let held = std::sync::Arc::new(std::sync::Mutex::new(held));
    let started: std::io::Result<Vec<_>> = (0..wanted)
        .map(|_| {
            let held = std::sync::Arc::clone(&held);
            // Each ends when the other end goes; the lock is held by one of them meanwhile.
            std::thread::Builder::new().spawn(move || drop(held.lock().map(|held| held.recv())))
        })
        .collect();
    drop(hold);
    for thread in started? {
        let _ = thread.join(); // it does nothing that could panic
    }
    Ok(())
}

/// A command's result on standard output. Who has stopped reading, as `head` does, has read enough.
fn print(text: &str) -> ExitCode {
    use std::io::{ErrorKind, Write as _};

    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => fail(1, &format!("cannot write the result: {error}")),
        _ => ExitCode::SUCCESS,
    }
}

/// The error on standard error, with who says it in front of each line, and the exit status.
fn fail(status: u8, error: &impl std::fmt::Display) -> ExitCode {
    error.to_string().lines().for_each(say);
    ExitCode::from(status)
}

/// A line on standard error, if that takes one: the status says the same.
fn say(line: &str) {
    LOG.say(&format!("nta-daemon: {line}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example_and_its_exit_statuses() {
        for command in Cli::described().get_subcommands_mut() {
            let help = command.render_long_help().to_string();
            assert!(help.contains("Example") && help.contains("Exit status:\n  0: "), "{help}");
            assert!(help.contains("\n  2: "), "{help}");
        }
    }
}
