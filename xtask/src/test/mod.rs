//! `cargo xtask test`: every test, and an account of what was not run and why.

mod libtest;
mod nextest;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::host::{self, Privileges};
use crate::package::trial as package;
use crate::report::{Group, Groups};
use crate::setup::{self, Need};
use crate::{build_ebpf, dashboard};
use crate::{lint, process, tidy, vm};

pub(crate) const HELP: &str = "\
Runs every test: the house's own checks, formatting, unit and integration tests, doctests, kernel tests (as root, where
the kernel loads eBPF), licences and unused dependencies, and the proof that the committed eBPF object is what its sources give. Lints compile everything
once more: `cargo xtask lint`, and `ci`. Uses cargo-nextest if it is installed, else cargo's own runner. What could not run is named with the reason and counted as
skipped, never as passed; the last line is `N passed, N failed, N skipped`, and the status 1 if anything failed.

  all      everything (the default)
  unit     unit, integration and documentation tests that need no privileges
  kernel   tests that load the program into this kernel
  vm       the program on Debian's kernels 5.10, 6.1, 6.12 and newest, or those named, each booted in QEMU: which hooks
           it takes, what its verifier walks (with a ceiling), parity of the engines, a live run; `all` boots 6.1
  paths    the forwarding paths that this kernel may lack (VLANs, bonds, ipvlan, VRF, tunnels), in QEMU, on 6.1 and 6.12;
           of `ci`, not of `all`
  package  the Debian package: installed into a fresh Debian that systemd boots in a container, an attack, an upgrade, a refused
           downgrade, a purge; needs root; of `ci`, not of `all`. With NTA_BUILT=1 of what `package --fast` has built

A test says that it cannot run by printing `not run: <test>: <reason>`. Tests find the daemon by NTA_DAEMON.

Examples:
  cargo xtask test
  cargo xtask test kernel
  cargo xtask test vm
  cargo xtask test vm 5.10 newest --format json";

/// Runs one kind of test, or all.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    let kind = args.first().map_or("all", String::as_str);
    if kind == "vm" {
        return vm::command(&args[1..]);
    }
    if let Some(arg) = args.get(1) {
        bail!("test takes one word, not `{arg}` too; see `cargo xtask test --help`");
    }
    let mut groups = Groups::begin();
    match kind {
        "all" => {
            groups.add(set_up(&[Need::Build, Need::Model, Need::Bpf, Need::TestTools, Need::Dashboard, Need::Lint])?);
            groups.add(tidy::group()?);
            groups.add(lint::format());
            tests(Extent::Usual, &mut groups)?;
            groups.add(vm::group(&[vm::EVERYDAY], false)?);
            groups.add(lint::deny());
            groups.add(lint::machete());
        }
        "unit" => {
            groups.add(set_up(&[Need::Build, Need::Model, Need::TestTools])?);
            groups.add(unit(Extent::Usual)?);
            groups.add(doc()?);
        }
        "kernel" => {
            groups.add(set_up(&[Need::Build, Need::Model, Need::TestTools])?);
            groups.add(kernel(Extent::Usual)?);
        }
        "paths" => groups.add(vm::paths()?),
        "package" => groups.add(package::group()?),
        other => bail!("no tests are called `{other}`; see `cargo xtask test --help`"),
    }
    Ok(groups.conclude())
}

/// What the tests need; what cannot be had is not run, and why is said once.
pub(crate) fn set_up(needs: &[Need]) -> Result<Group> {
    let missing = setup::ensure(needs)?;
    let group = Group::new("setup");
    Ok(if missing.is_empty() { group.pass() } else { missing.iter().fold(group, |group, what| group.not_run(what)) })
}

/// How much of what could go on for ever is tried.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Extent {
    /// What a developer waits for.
    Usual,
    /// What CI has the time for.
    Full,
}

impl Extent {
    /// What tests read of it: how many requests schemathesis makes up for each operation of the API, how often what gateways ship is
    /// interrupted, and whether all is tried that is alike (each capture in both engines, each column of rows damaged), or some.
    fn variables(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Usual => &[],
            Self::Full => &[("NTA_EXAMPLES", "20"), ("NTA_KILLS", "100"), ("NTA_LONG", "1")],
        }
    }
}

/// Every group that runs code of ours.
pub(crate) fn tests(extent: Extent, groups: &mut Groups) -> Result<()> {
    groups.add(unit(extent)?);
    groups.add(doc()?);
    groups.add(kernel(extent)?);
    groups.add(build_ebpf::check()?);
    groups.add(dashboard::check_built()?);
    Ok(())
}

/// Everything of the workspace that runs anywhere.
fn unit(extent: Extent) -> Result<Group> {
    runner("unit", &[&["--workspace"], setup::daemon_features()].concat(), extent.variables())
}

/// Documentation tests, which nextest cannot run.
fn doc() -> Result<Group> {
    libtest::run(Group::new("doctest"), &[&["--doc", "--workspace"], setup::daemon_features()].concat(), &[])
}

/// What needs this kernel: run where it may, else said why not.
fn kernel(extent: Extent) -> Result<Group> {
    let targets = kernel_targets(&fs::read_to_string(host::root().join("tests/Cargo.toml")).unwrap_or_default());
    if targets.is_empty() {
        return Ok(Group::new("kernel").not_run("there are no kernel tests yet"));
    }
    let may = Privileges::current();
    if !may.load_bpf || !may.administer {
        return Ok(Group::new("kernel").not_run("loading eBPF and making network namespaces needs root"));
    }
    let mut args = [&["--workspace"], setup::all_features()].concat();
    args.extend(targets.iter().flat_map(|target| ["--test", target]));
    // They wait more than they compute; which of them want the machine for themselves, .config/nextest.toml says.
    let variables = [extent.variables(), &[("NEXTEST_TEST_THREADS", "4")]].concat();
    runner("kernel", &args, &variables)
}

/// Runs tests with the runner that is there.
fn runner(name: &str, args: &[&str], variables: &[(&str, &str)]) -> Result<Group> {
    // The tests start the daemon's binary, which a test build of a library alone would not make. By the whole workspace, here
    // and wherever tests build: a package alone takes other features of the crates below it, which builds them once more.
    process::run(
        process::cargo(["build", "--workspace", "--bin", "nta-daemon", "--bin", "nta-loader"])
            .args(setup::daemon_features()),
    )
    .context("the daemon does not build")?;
    let group = Group::new(name);
    match host::find_program("cargo-nextest") {
        Some(_) => nextest::run(group, args, variables),
        None => libtest::run(group, args, variables),
    }
}

/// Where the tests find the daemon, by the variable NTA_DAEMON.
fn daemon() -> PathBuf {
    host::target_dir().join("debug/nta-daemon")
}

/// The test targets that the feature `kernel` switches on, as tests/Cargo.toml declares them.
fn kernel_targets(manifest: &str) -> Vec<String> {
    let sections = manifest.split("[[test]]").skip(1).map(|section| section.split("\n[").next().unwrap_or_default());
    let kernel = sections.filter(|section| {
        section.lines().any(|line| line.starts_with("required-features") && line.contains("\"kernel\""))
    });
    let name = |section: &str| {
        let line = section.lines().find_map(|line| line.strip_prefix("name")?.trim_start().strip_prefix('='));
        line.map(|name| name.trim().trim_matches('"').to_owned())
    };
    kernel.filter_map(name).collect()
}

/// The text after `not run:`, if a line of a test's output says that something was not.
fn not_run(line: &str) -> Option<&str> {
    line.trim().strip_prefix("not run: ")
}

#[cfg(test)]
mod tests {
    use super::{kernel_targets, not_run};

    #[test]
    fn kernel_tests_are_those_behind_the_feature() {
        let manifest = "[package]\nname = \"nta-tests\"\n\n[[test]]\nname = \"replay\"\npath = \"replay/main.rs\"\n\n\
                        [[test]]\nname = \"live\"\nrequired-features = [\"kernel\"]\n\n\
                        [[test]]\nname = \"kernel\"\npath = \"kernel/main.rs\"\nrequired-features = [\"kernel\"]\n\n\
                        [lints]\nworkspace = true\n";
        assert_eq!(kernel_targets(manifest), ["live", "kernel"]);
        assert!(kernel_targets("[package]\nname = \"kernel\"\n").is_empty());
    }

    #[test]
    fn a_line_that_says_not_run_is_found() {
        assert_eq!(not_run("  not run: live: no netns"), Some("live: no netns"));
        assert_eq!(not_run("it was not run: x"), None);
    }
}
