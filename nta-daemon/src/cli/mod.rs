//! The command line: one file per command.

mod config;
mod conn_log;
mod doctor;
mod output;
mod replay;
mod run;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

/// Exit status for bad input: a missing file, no capture, a wrong flag (as clap's).
const EXIT_USAGE: u8 = 2;

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
    /// What is logged: a level, or a filter such as `nta_daemon=debug`.
    #[arg(long, env = "NTA_LOG", default_value = "info", global = true)]
    log: String,
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
    /// Analyse capture files.
    Replay(replay::Args),
    /// Print the effective configuration as a commented file.
    PrintConfig(config::Args),
    /// Check a configuration file and say what is wrong with it.
    CheckConfig(config::Args),
    /// Say what this machine can do: kernel, BTF, rights, and the hook each interface would get.
    Doctor(doctor::Args),
}

impl Cli {
    /// Runs the command; errors go to standard error, one line.
    pub fn execute(self) -> ExitCode {
        if let Err(error) = self.start_log() {
            return fail(EXIT_USAGE, &error);
        }
        match self.command {
            Command::Run(args) => run::execute(args),
            Command::Replay(args) => replay::execute(args),
            Command::PrintConfig(args) => config::print(&args),
            Command::CheckConfig(args) => config::check(&args),
            Command::Doctor(args) => doctor::execute(&args),
        }
    }

    fn start_log(&self) -> Result<(), String> {
        let filter =
            tracing_subscriber::EnvFilter::try_new(&self.log).map_err(|e| format!("--log {}: {e}", self.log))?;
        let colours = std::io::stderr().is_terminal();
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr);
        match self.log_format {
            LogFormat::Text => log.init(),
            LogFormat::Json => log.json().init(),
        }
        Ok(())
    }
}

/// Waits for SIGINT or SIGTERM.
async fn signal() -> &'static str {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return "no signals" };
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = tokio::signal::ctrl_c() => "SIGINT",
    }
}

/// One line on standard error, and the exit status.
fn fail(status: u8, error: &impl std::fmt::Display) -> ExitCode {
    eprintln!("nta-daemon: {error}");
    ExitCode::from(status)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        for command in Cli::command().get_subcommands_mut() {
            let help = command.render_long_help().to_string();
            assert!(help.contains("Example"), "{help}");
        }
    }
}
