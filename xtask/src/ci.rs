//! `cargo xtask ci`: everything that a full CI does.

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::daemon::{self, Profile};
use crate::package::trial as package;
use crate::report::{Group, Groups};
use crate::setup::Need;
use crate::test::Extent;
use crate::{coverage, lint, test, tidy, upkeep, vm};

pub(crate) const HELP: &str = "\
Runs lint, tidy and test, each check once and on every kernel, installs the Debian package into a Debian of its own, builds
the release binary and looks for paths of this machine in it, and ends with one summary, timed by part. Beside these it asks
for known vulnerabilities, which needs the network; checks the libraries with each of their features alone (cargo-hack), and
all by the oldest compiler that Cargo.toml promises, where rustup has it; runs the parser's tests in Miri, where a
nightly has that; and reports which lines the crates' tests run (`cargo xtask coverage`).

Whether two builds give the same bytes takes two builds: `cargo xtask package --twice`, before a release.

Example:
  cargo xtask ci";

const NEEDS: &[Need] = &[
    Need::Build,
    Need::Model,
    Need::Bpf,
    Need::TestTools,
    Need::Dashboard,
    Need::Lint,
    Need::Features,
    Need::Coverage,
];

/// Runs every check, also after one has failed.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    if let Some(arg) = args.first() {
        bail!("ci takes no `{arg}`; see `cargo xtask ci --help`");
    }
    let mut groups = Groups::begin();
    groups.add(test::set_up(NEEDS)?);
    groups.add(tidy::group()?);
    lint::check(&mut groups);
    groups.add(lint::advisories());
    groups.add(upkeep::features());
    groups.add(upkeep::oldest_compiler()?);
    groups.add(upkeep::miri());
    groups.add(coverage::group()?);
    test::tests(Extent::Full, &mut groups)?;
    groups.add(vm::group(vm::KERNELS, false)?);
    groups.add(vm::paths()?);
    groups.add(package::group()?);
    // The binary that is installed names no folder of this machine; the build looks.
    groups.add(Group::new("release").conclude(&daemon::build(Profile::Release).map(drop)));
    Ok(groups.conclude())
}

#[cfg(test)]
mod tests {
    /// The words of `cargo xtask` in a workflow's steps.
    fn words(workflow: &str) -> Vec<&str> {
        let steps = workflow.lines().filter_map(|line| line.trim().strip_prefix("- run: cargo xtask "));
        steps.filter_map(|rest| rest.split(' ').next()).collect()
    }

    #[test]
    fn the_workflow_runs_words_that_there_are_and_this_one() {
        let path = crate::host::root().join(".github/workflows/ci.yml");
        let workflow = std::fs::read_to_string(path).expect("the workflow");
        let (run, known) = (words(&workflow), crate::helps());
        assert!(run.iter().all(|word| known.iter().any(|(name, _)| name == word)), "{run:?}");
        for word in ["ci", "lint", "tidy", "test"] {
            assert!(run.contains(&word), "no job runs {word}");
        }
    }
}
