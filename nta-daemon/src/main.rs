//! The daemon's binary: parse the command line, run the command.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    nta_daemon::cli::Cli::parse().execute()
}
