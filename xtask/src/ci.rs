//! `cargo xtask ci`: everything that a full CI does.

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::setup::Need;
use crate::{lint, report, test, tidy, vm};

pub(crate) const HELP: &str = "\
Runs lint, tidy and test, each check once and on every kernel, and ends with one summary; also asks for known vulnerabilities, which needs
cargo-deny and the network.

Example:
  cargo xtask ci";

/// Runs every check, also after one has failed.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    if let Some(arg) = args.first() {
        bail!("ci takes no `{arg}`; see `cargo xtask ci --help`");
    }
    let mut groups = vec![test::set_up(&[Need::Build, Need::Model, Need::Bpf, Need::TestTools])?, tidy::group()?];
    groups.extend(lint::groups());
    groups.push(lint::advisories());
    groups.extend(test::tests()?);
    groups.push(vm::group(vm::KERNELS, false)?);
    Ok(report::conclude(&groups))
}
