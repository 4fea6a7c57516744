//! `cargo xtask lint`: formatting, clippy, rustdoc, licences and sources, unused dependencies.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Result, bail};

use crate::report::{Group, Groups};
use crate::setup::{self, Need};
use crate::{host, process};

pub(crate) const HELP: &str = "\
Checks formatting (rustfmt), lints (clippy, warnings denied, every feature), documentation (rustdoc with private items,
warnings denied), and with cargo-deny and cargo-machete, where those are installed, licences, sources and unused
dependencies; a tool that is not there is named as not run.

Example:
  cargo xtask lint";

/// Runs every check, also after one has failed.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    if let Some(arg) = args.first() {
        bail!("lint takes no `{arg}`; see `cargo xtask lint --help`");
    }
    for what in setup::ensure(&[Need::Build, Need::Model])? {
        eprintln!("checked without support for models: {what}");
    }
    let mut groups = Groups::begin();
    check(&mut groups);
    Ok(groups.conclude())
}

/// Every check of this command.
pub(crate) fn check(groups: &mut Groups) {
    for check in [format, clippy, docs, deny, machete] {
        groups.add(check());
    }
}

/// rustfmt over the workspace and the eBPF crate beside it.
pub(crate) fn format() -> Group {
    let workspace = process::run(&mut process::cargo(["fmt", "--all", "--check"]));
    let ebpf = if host::root().join("nta-ebpf/Cargo.toml").exists() {
        let manifest = ["fmt", "--manifest-path", "nta-ebpf/Cargo.toml", "--check"];
        process::run(&mut process::cargo(manifest))
    } else {
        Ok(())
    };
    Group::new("fmt").conclude(&workspace.and(ebpf))
}

/// clippy over everything that the host's compiler can build.
pub(crate) fn clippy() -> Group {
    let mut command = process::cargo(["clippy", "--workspace", "--all-targets"]);
    command.args(setup::all_features()).args(["--", "-D", "warnings"]);
    Group::new("clippy").conclude(&process::run(&mut command))
}

fn docs() -> Group {
    let mut command = process::cargo(["doc", "--workspace", "--no-deps", "--document-private-items"]);
    command.args(setup::all_features());
    Group::new("doc")
        .conclude(&process::run(command.env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links")))
}

/// Licences, duplicates and sources; advisories are left out, as they need the network and change by the day.
pub(crate) fn deny() -> Group {
    optional("deny", &["deny", "--all-features", "check", "bans", "licenses", "sources"])
}

/// Known vulnerabilities, fetched anew.
pub(crate) fn advisories() -> Group {
    optional("advisories", &["deny", "--all-features", "check", "advisories"])
}

fn machete() -> Group {
    optional("machete", &["machete"])
}

/// A cargo subcommand that is used when present and never required.
fn optional(name: &str, args: &[&str]) -> Group {
    let program = format!("cargo-{}", args[0]);
    let group = Group::new(name);
    let Some(path) = host::find_program(&program) else {
        return group.not_run(&format!("{program} is not installed"));
    };
    group.conclude(&process::run(&mut by_path(&path, args)))
}

fn by_path(program: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(host::root());
    command
}
