//! `cargo xtask ci`: everything that a full CI does.

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::daemon::{self, Profile};
use crate::package::trial as package;
use crate::report::{Group, Groups};
use crate::setup::Need;
use crate::test::Extent;
use crate::{lint, test, tidy, vm};

pub(crate) const HELP: &str = "\
Runs lint, tidy and test, each check once and on every kernel, installs the Debian package into a Debian of its own, builds
the release binary and looks for paths of this machine in it, and ends with one summary, timed by part; also asks for known
vulnerabilities, which needs cargo-deny and the network.

Whether two builds give the same bytes takes two builds: `cargo xtask package --twice`, before a release.

Example:
  cargo xtask ci";

/// Runs every check, also after one has failed.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    if let Some(arg) = args.first() {
        bail!("ci takes no `{arg}`; see `cargo xtask ci --help`");
    }
    let mut groups = Groups::begin();
    groups.add(test::set_up(&[Need::Build, Need::Model, Need::Bpf, Need::TestTools, Need::Dashboard])?);
    groups.add(tidy::group()?);
    lint::check(&mut groups);
    groups.add(lint::advisories());
    test::tests(Extent::Full, &mut groups)?;
    groups.add(vm::group(vm::KERNELS, false)?);
    groups.add(vm::paths()?);
    groups.add(package::group()?);
    // The binary that is installed names no folder of this machine; the build looks.
    groups.add(Group::new("release").conclude(&daemon::build(Profile::Release).map(drop)));
    Ok(groups.conclude())
}
