//! `cargo xtask replay`: builds the daemon and analyses capture files.

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::{daemon, run};

pub(crate) const HELP: &str = "\
Builds the daemon and runs `nta-daemon replay` with these arguments, flags included.

Examples:
  cargo xtask replay tests/cases/demo/input.pcap
  cargo xtask replay one.pcap two.pcapng.zst --format json";

/// Passes everything through.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    if args.is_empty() {
        bail!("replay needs a capture file; see `cargo xtask replay --help`");
    }
    let binary = daemon::build(daemon::Profile::Quick)?;
    let status = daemon::foreground(daemon::command(&binary).arg("replay").args(args))?;
    Ok(run::exit_code(status))
}
