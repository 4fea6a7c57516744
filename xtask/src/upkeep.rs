//! What `ci` checks beside the lints, of the compiler and of features: each feature alone, the oldest compiler, Miri.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::report::Group;
use crate::{host, lint, process, setup};

/// Crates that others may depend on with features of their own choice.
const CRATES: [&str; 4] = ["nta-common", "nta-core", "nta-capture", "nta-loader"];

/// Each of the crates with no feature, with each alone and with all. `cargo clippy` sees them only as the daemon has them.
pub(crate) fn features() -> Group {
    let mut args = vec!["clippy", "--quiet", "--each-feature"];
    args.extend(CRATES.iter().flat_map(|name| ["-p", name]));
    args.extend(["--", "-D", "warnings"]);
    lint::by_checker("features", &setup::HACK, &args)
}

/// The `rust-version` that is promised: that of the compiler which did all the rest, or all is checked by that one too.
pub(crate) fn oldest_compiler() -> Result<Group> {
    let group = Group::new("msrv");
    let manifest = fs::read_to_string(host::root().join("Cargo.toml")).context("cannot read Cargo.toml")?;
    let promised = manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).and_then(Release::of);
    let promised = promised.context("Cargo.toml promises no rust-version")?;
    if Release::of(&process::output(Command::new("rustc").arg("-V").current_dir(host::root()))?) == Some(promised) {
        return Ok(group.pass());
    }
    let Release(major, minor) = promised;
    let Some(toolchain) = toolchains().into_iter().find(|path| Release::of(&name(path)) == Some(promised)) else {
        let wanted = format!("rustup toolchain install {major}.{minor} --profile minimal");
        return Ok(group.not_run(&format!("no toolchain of Rust {major}.{minor} is here: {wanted}")));
    };
    let mut check = by_toolchain(&toolchain, &["check", "--quiet", "--workspace"], "msrv");
    Ok(group.conclude(&process::run(check.args(setup::all_features()))))
}

/// The tests of the parser and of the accounting in an interpreter that knows what no program may do.
pub(crate) fn miri() -> Group {
    let group = Group::new("miri");
    let has_miri = |path: &PathBuf| {
        path.join("bin/cargo-miri").is_file() && path.join("lib/rustlib/src/rust/library/core/src/lib.rs").is_file()
    };
    let Some(toolchain) = toolchains().into_iter().filter(|path| name(path).starts_with("nightly")).find(has_miri)
    else {
        let wanted = "rustup toolchain install nightly --profile minimal --component miri --component rust-src";
        return group.not_run(&format!("no nightly here has Miri and the sources of `core`: {wanted}"));
    };
    group.conclude(&process::run(&mut by_toolchain(&toolchain, &["miri", "test", "-p", "nta-common", "--lib"], "miri")))
}

/// A cargo of another toolchain, with a folder of its own to build in: this one's would be built anew each time.
fn by_toolchain(toolchain: &Path, args: &[&str], folder: &str) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", &name(toolchain), "cargo"]).args(args).current_dir(host::root());
    // Of the cargo that runs this, which they would win over.
    command.env_remove("RUSTC").env_remove("CARGO").env("CARGO_TARGET_DIR", host::target_dir().join(folder));
    command
}

/// Those of rustup, in the order of their names.
fn toolchains() -> Vec<PathBuf> {
    let installed = fs::read_dir(host::rustup_home().join("toolchains")).into_iter().flatten().flatten();
    let mut toolchains: Vec<PathBuf> = installed.map(|entry| entry.path()).collect();
    toolchains.sort();
    toolchains
}

fn name(toolchain: &Path) -> String {
    toolchain.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// A release of Rust by its first two numbers; the third brings no new words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Release(u32, u32);

impl Release {
    /// The first `N.N` of a text: of a manifest's line, of what rustc says, of a toolchain's name. A nightly is no release.
    fn of(text: &str) -> Option<Self> {
        if text.contains("nightly") || text.contains("beta") {
            return None;
        }
        let number = text.split(|c: char| !c.is_ascii_digit() && c != '.').find(|word| word.contains('.'))?;
        let mut parts = number.split('.').map(str::parse);
        Some(Self(parts.next()?.ok()?, parts.next()?.ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::{CRATES, Release};

    #[test]
    fn a_release_is_read_wherever_it_is_said() {
        for text in
            ["\"1.95\"", "rustc 1.95.0 (59807616e 2026-04-14)", "1.95.0-x86_64-unknown-linux-gnu", "1.95-aarch64"]
        {
            assert_eq!(Release::of(text), Some(Release(1, 95)), "{text}");
        }
        assert_ne!(Release::of("1.9.5-x86_64-unknown-linux-gnu"), Some(Release(1, 95)));
        for text in ["rustc 1.97.0-nightly (e50aa6fba 2026-05-19)", "stable-x86_64-unknown-linux-gnu", "rustc 1", ""] {
            assert_eq!(Release::of(text), None, "{text}");
        }
    }

    #[test]
    fn every_crate_with_features_is_tried_with_each() {
        // A crate that begins to have features is not to be forgotten; those that only `lint` sees are named.
        let manifest = |name: &str| std::fs::read_to_string(crate::host::root().join(name).join("Cargo.toml"));
        let workspace = manifest("").expect("the workspace's");
        let members = workspace.lines().find_map(|line| line.strip_prefix("members = ")).expect("members");
        let members = members.split('"').skip(1).step_by(2);
        let with: Vec<&str> =
            members.filter(|name| manifest(name).expect("a member's").contains("\n[features]\n")).collect();
        let known = |name: &&&str| !CRATES.contains(*name) && !["nta-daemon", "tests", "xgboost-sys"].contains(*name);
        assert!(with.contains(&"nta-common") && with.iter().find(known).is_none(), "{with:?}");
    }
}
