//! `cargo xtask build`: the daemon with every feature.
#![expect(clippy::print_stdout, reason = "the command's answer is the path of the binary")]

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::daemon::{self, Profile};

pub(crate) const HELP: &str = "\
Builds the daemon in release with every feature, installing first what the build lacks, and prints the path of the
binary. The eBPF object is the committed one; `cargo xtask build-ebpf` makes it anew.

Example:
  cargo xtask build";

/// Builds and prints the path.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    if let Some(arg) = args.first() {
        bail!("build takes no `{arg}`; see `cargo xtask build --help`");
    }
    println!("{}", daemon::build(Profile::Release)?.display());
    Ok(ExitCode::SUCCESS)
}
