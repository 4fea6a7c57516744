//! `cargo xtask ci`: everything that a full CI does.

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::daemon::{self, Profile};
use crate::report::Group;
use crate::setup::Need;
use crate::test::Extent;
use crate::{lint, report, test, tidy, vm};

pub(crate) const HELP: &str = "\
Runs lint, tidy and test, each check once and on every kernel, builds the release binary and looks for paths of this
machine in it, and ends with one summary; also asks for known vulnerabilities, which needs cargo-deny and the network.

Example:
  cargo xtask ci";

/// Runs every check, also after one has failed.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    if let Some(arg) = args.first() {
        bail!("ci takes no `{arg}`; see `cargo xtask ci --help`");
    }
    let mut groups =
        vec![test::set_up(&[Need::Build, Need::Model, Need::Bpf, Need::TestTools, Need::Dashboard])?, tidy::group()?];
    groups.extend(lint::groups());
    groups.push(lint::advisories());
    groups.extend(test::tests(Extent::Full)?);
    groups.push(vm::group(vm::KERNELS, false)?);
    groups.push(vm::paths()?);
    // The binary that is installed names no folder of this machine; the build looks.
    groups.push(Group::new("release").conclude(&daemon::build(Profile::Release).map(drop)));
    Ok(report::conclude(&groups))
}
