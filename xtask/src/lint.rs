//! `cargo xtask lint`: formatting, clippy, rustdoc, licences and sources, unused dependencies.

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::report::{Group, Groups};
use crate::setup::{self, CargoTool, Need};
use crate::{host, process, test};

pub(crate) const HELP: &str = "\
Checks formatting (rustfmt), lints (clippy, warnings denied, every feature), documentation (rustdoc with private items,
warnings denied), and with cargo-deny and cargo-machete, which are installed from crates.io if they are missing, licences,
sources and unused dependencies; a tool that cannot be had is named as not run.

Example:
  cargo xtask lint";

/// Runs every check, also after one has failed.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    if let Some(arg) = args.first() {
        bail!("lint takes no `{arg}`; see `cargo xtask lint --help`");
    }
    let mut groups = Groups::begin();
    groups.add(test::set_up(&[Need::Build, Need::Model, Need::Lint])?);
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
    let args = ["--all-features", "check", "--hide-inclusion-graph", "bans", "licenses", "sources"];
    by_checker("deny", &setup::DENY, &args)
}

/// Known vulnerabilities, fetched anew; where that cannot be, nothing is known of them.
pub(crate) fn advisories() -> Group {
    let fetched = setup::DENY.command(&["fetch", "db"]).and_then(|mut fetch| process::output(&mut fetch));
    if let Err(error) = fetched {
        let why = format!("{error:#}");
        return Group::new("advisories").not_run(&format!("the database cannot be fetched: {}", last_line(&why)));
    }
    by_checker("advisories", &setup::DENY, &["--all-features", "check", "advisories"])
}

/// Dependencies that nothing uses.
pub(crate) fn machete() -> Group {
    by_checker("machete", &setup::MACHETE, &[])
}

/// A checker that `setup` has put there, or could not.
pub(crate) fn by_checker(name: &str, checker: &CargoTool, args: &[&str]) -> Group {
    let group = Group::new(name);
    match checker.command(args) {
        Ok(mut command) => group.conclude(&process::run(&mut command)),
        Err(absent) => group.not_run(&absent.to_string()),
    }
}

/// Of what a program said, the end, which has the cause.
fn last_line(text: &str) -> &str {
    text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::last_line;

    #[test]
    fn the_cause_is_the_last_line_of_what_a_program_said() {
        let said =
            "`cargo-deny fetch db` failed: exit status: 1: failed to clone\nfatal: unable to access 'https://…'\n\n";
        assert_eq!(last_line(said), "fatal: unable to access 'https://…'");
        assert_eq!(last_line(""), "");
    }
}
