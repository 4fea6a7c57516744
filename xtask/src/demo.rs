//! `cargo xtask demo`: the main workflows as curl commands with their answers.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::daemon::{self, Profile};
use crate::{host, process, run};

pub(crate) const HELP: &str = "\
Builds the daemon and shows the main workflows on the bundled captures: each curl command, and what is answered. An answer that is not
as it should be ends it with status 1; tests/demo/demo.sh is the file, which the tests run too. Needs curl and jq.

  analyse  a capture is sent, analysed while it arrives and reported
  learn    what is usual is learned, windows are judged by it and summed up
  watch    an interface of a network of its own is watched and recorded, attacked, and the alert followed to its end; needs root

Examples:
  cargo xtask demo
  cargo xtask demo analyse learn";

/// Runs the parts that are named, or all.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    let binary = daemon::build(Profile::Quick)?;
    let mut script = Command::new("bash");
    script.arg(host::root().join("tests/demo/demo.sh")).args(args).env("NTA_DAEMON", binary);
    let status = script.status().with_context(|| format!("cannot start `{}`", process::display(&script)))?;
    Ok(run::exit_code(status))
}
