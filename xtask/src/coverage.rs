//! `cargo xtask coverage`: which lines the tests of the crates run, by cargo-llvm-cov.
#![expect(clippy::print_stdout, reason = "the report, and what is not run")]

use std::fs;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::report::Group;
use crate::setup::{self, COVERAGE, Need};
use crate::{host, process};

pub(crate) const HELP: &str = "\
Runs the tests of crates with every line counted (cargo-llvm-cov), prints a table of lines and functions by file, and leaves
`lcov.info`, which editors and CI read, in target/coverage/. Without a crate all of the libraries and the daemon: nta-common,
nta-core, nta-capture, nta-loader, nta-daemon. Tests that start programs (tests/) are not counted, as those run without counters.
Everything is compiled once more, into target/llvm-cov-target. Needs the component `llvm-tools` of the toolchain.

  CRATE   only these

Examples:
  cargo xtask coverage
  cargo xtask coverage nta-common nta-core";

/// Crates with tests of their own that say something about what users run.
const CRATES: [&str; 5] = ["nta-common", "nta-core", "nta-capture", "nta-loader", "nta-daemon"];

pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    let mut crates: Vec<&str> = args.iter().map(String::as_str).collect();
    if let Some(unknown) = crates.iter().find(|name| !CRATES.contains(name)) {
        bail!("coverage knows no `{unknown}`: {}", CRATES.join(", "));
    }
    if crates.is_empty() {
        crates = CRATES.to_vec();
    }
    let missing = setup::ensure(&[Need::Build, Need::Model, Need::Coverage])?;
    missing.iter().for_each(|line| println!("not run: {line}"));
    let group = measured(&crates)?;
    group.print();
    Ok(group.status())
}

/// Of all crates, as a part of `ci`.
pub(crate) fn group() -> Result<Group> {
    measured(&CRATES)
}

fn measured(crates: &[&str]) -> Result<Group> {
    let group = Group::new("coverage");
    if !has_llvm_tools()? {
        const ADD: &str = "rustup component add llvm-tools";
        let added = process::run(Command::new("rustup").args(ADD.split(' ').skip(1)).current_dir(host::root()));
        if added.is_err() {
            return Ok(group.not_run(&format!("the toolchain has no llvm-tools: {ADD}")));
        }
    }
    let folder = host::target_dir().join("coverage");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let lcov = folder.join("lcov.info");
    let chosen: Vec<&str> = crates.iter().flat_map(|name| ["-p", name]).collect();
    let mut tests = match COVERAGE.command(&["--lcov", "--output-path"]) {
        Ok(command) => command,
        Err(absent) => return Ok(group.not_run(&absent.to_string())),
    };
    tests.arg(&lcov).args(&chosen).args(["--lib", "--bins"]);
    if crates.contains(&"nta-daemon") {
        tests.args(setup::daemon_features()).env("LD_LIBRARY_PATH", host::root().join(".xgboost/xgboost/lib"));
    }
    if let Err(error) = process::run(&mut tests) {
        return Ok(group.fail(&format!("{error:#}")));
    }
    // Of what the tests have left; nothing is run again.
    let mut table = COVERAGE.command(&["report"])?;
    let printed = process::run(table.args(&chosen));
    println!("{}", lcov.display());
    Ok(group.conclude(&printed))
}

/// Whether the toolchain has what reads the counters of its programs.
fn has_llvm_tools() -> Result<bool> {
    let sysroot = process::output(Command::new("rustc").args(["--print", "sysroot"]).current_dir(host::root()))?;
    let targets = fs::read_dir(format!("{}/lib/rustlib", sysroot.trim())).context("the toolchain has no targets")?;
    Ok(targets.flatten().any(|target| target.path().join("bin/llvm-cov").is_file()))
}
