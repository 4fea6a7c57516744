//! Subcommands of cargo that check, compiled from crates.io: of one version each, as another one finds other things.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, anyhow};

use crate::step::step;
use crate::{host, process};

/// A subcommand of cargo.
pub(crate) struct Checker {
    /// Of the crate and of the program.
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
}

/// Licences, sources, what must not be depended on, known vulnerabilities.
pub(crate) const DENY: Checker = Checker { name: "cargo-deny", version: "0.20.2" };
/// Dependencies that nothing uses.
pub(crate) const MACHETE: Checker = Checker { name: "cargo-machete", version: "0.9.2" };
/// Each feature of a crate alone.
pub(crate) const HACK: Checker = Checker { name: "cargo-hack", version: "0.6.46" };

/// Where they are kept beside another version that the user has, seen from the root of the checkout.
const FOLDER: &str = ".checkers";

impl Checker {
    /// The command, as `cargo` calls its subcommands; the error says that the checker is not here in this version.
    pub(crate) fn command(&self, args: &[&str]) -> Result<Command> {
        let Self { name, version } = self;
        let program = self.find().with_context(|| format!("{name} {version} is not installed"))?;
        let mut command = Command::new(program);
        command.args(name.strip_prefix("cargo-")).args(args).current_dir(host::root());
        // They tell by these whether cargo calls them: cargo-machete takes the first word for a folder if there is a package's name.
        command.env("CARGO", process::cargo([""; 0]).get_program());
        command.env_remove("CARGO_MANIFEST_DIR").env_remove("CARGO_PKG_NAME");
        Ok(command)
    }

    /// The program, if it is here in this version.
    fn find(&self) -> Option<PathBuf> {
        let roots = [host::cargo_home(), host::root().join(FOLDER)];
        let root = roots.iter().find(|root| lists(&installed(root), self.name, Some(self.version)))?;
        let program = root.join("bin").join(self.name);
        program.is_file().then_some(program)
    }

    fn install(&self) -> Result<()> {
        let home = host::cargo_home();
        let has_other = lists(&installed(&home), self.name, None);
        let root = if has_other { host::root().join(FOLDER) } else { home };
        let mut command = process::cargo(["install", self.name, "--version", self.version, "--locked", "--root"]);
        // Compiling is what takes the time: they run for seconds.
        command.arg(root).args(["--debug", "--config", "profile.dev.debug=false"]);
        // Else it would land in the middle of this workspace's own build, or under its flags.
        command.env_remove("CARGO_TARGET_DIR").env_remove("RUSTFLAGS").current_dir("/");
        step(&format!("checkers: compiling {}", self.name), &mut command)
    }
}

/// Sees to these; the error names the one that cannot be had.
pub(super) fn ensure(checkers: &[Checker]) -> Result<()> {
    for checker in checkers.iter().filter(|checker| checker.find().is_none()) {
        let Checker { name, version } = checker;
        let by_hand = format!("cargo install {name} --version {version} --locked");
        checker.install().map_err(|error| anyhow!("checkers: {by_hand}   (it failed here: {error:#})"))?;
    }
    Ok(())
}

/// Cargo's list of what it has installed below a folder.
fn installed(root: &Path) -> String {
    fs::read_to_string(root.join(".crates.toml")).unwrap_or_default()
}

/// Whether a list of cargo's names a crate, in a version or in any.
fn lists(list: &str, name: &str, version: Option<&str>) -> bool {
    let start = version.map_or_else(|| format!("\"{name} "), |version| format!("\"{name} {version} "));
    list.lines().any(|line| line.starts_with(&start))
}

#[cfg(test)]
mod tests {
    use super::lists;

    /// As cargo 1.95 writes it.
    const LIST: &str = "[v1]\n\
        \"cargo-deny 0.20.2 (registry+https://github.com/rust-lang/crates.io-index)\" = [\"cargo-deny\"]\n\
        \"cargo-machete 0.9.20 (registry+https://github.com/rust-lang/crates.io-index)\" = [\"cargo-machete\"]\n";

    #[test]
    fn a_checker_is_known_by_name_and_version() {
        assert!(lists(LIST, "cargo-deny", Some("0.20.2")));
        assert!(!lists(LIST, "cargo-deny", Some("0.20.1")) && lists(LIST, "cargo-deny", None));
        // What only begins alike is another one.
        assert!(!lists(LIST, "cargo-machete", Some("0.9.2")) && !lists(LIST, "cargo", None));
        assert!(!lists("", "cargo-deny", None));
    }
}
