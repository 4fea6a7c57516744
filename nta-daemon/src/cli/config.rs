//! `print-config` and `check-config`.

use std::path::PathBuf;
use std::process::ExitCode;

use super::{EXIT_USAGE, fail};
use crate::config::Config;

/// Flags of both.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  nta-daemon print-config > nta-daemon.toml\n  nta-daemon check-config --config nta-daemon.toml"
)]
pub(super) struct Args {
    /// Configuration file (TOML); without one, the defaults.
    #[arg(long, env = "NTA_CONFIG")]
    config: Option<PathBuf>,
}

#[expect(clippy::print_stdout, reason = "the command's result")]
pub(super) fn print(args: &Args) -> ExitCode {
    match Config::load(args.config.as_deref()) {
        Ok(config) => {
            print!("{}", config.to_toml());
            ExitCode::SUCCESS
        }
        Err(error) => fail(EXIT_USAGE, &error),
    }
}

#[expect(clippy::print_stdout, reason = "the command's result")]
pub(super) fn check(args: &Args) -> ExitCode {
    match Config::load(args.config.as_deref()) {
        Ok(_) => {
            println!(
                "{}: ok",
                args.config.as_ref().map_or_else(|| "defaults".into(), |path| path.display().to_string())
            );
            ExitCode::SUCCESS
        }
        Err(error) => fail(EXIT_USAGE, &error),
    }
}
