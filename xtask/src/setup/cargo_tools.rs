//! Subcommands of cargo that check or make packages, compiled from crates.io: of one version each, as another one finds or makes
//! other things.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, anyhow};

use super::{Package, packages};
use crate::step::step;
use crate::{host, process};

/// A subcommand of cargo.
pub(crate) struct CargoTool {
    /// Of the crate and of the program.
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// Compiling is what takes the time: it runs for seconds.
    is_brief: bool,
}

/// Licences, sources, what must not be depended on, known vulnerabilities.
pub(crate) const DENY: CargoTool = CargoTool { name: "cargo-deny", version: "0.20.2", is_brief: true };
/// Dependencies that nothing uses.
pub(crate) const MACHETE: CargoTool = CargoTool { name: "cargo-machete", version: "0.9.2", is_brief: true };
/// Each feature of a crate alone.
pub(crate) const HACK: CargoTool = CargoTool { name: "cargo-hack", version: "0.6.46", is_brief: true };
/// Which lines tests run.
pub(crate) const COVERAGE: CargoTool = CargoTool { name: "cargo-llvm-cov", version: "0.9.1", is_brief: true };
/// Debian packages, the list of dependencies inside programs, the bill of materials.
pub(super) const PACKAGING: [CargoTool; 3] = [
    CargoTool { name: "cargo-deb", version: "3.8.0", is_brief: false },
    CargoTool { name: "cargo-auditable", version: "0.7.7", is_brief: false },
    CargoTool { name: "cargo-cyclonedx", version: "0.5.9", is_brief: false },
];

/// Where they are kept beside another version that the user has, seen from the root of the checkout.
const FOLDER: &str = ".cargo-tools";

impl CargoTool {
    /// The command, as `cargo` calls its subcommands; the error says that the tool is not here in this version.
    pub(crate) fn command(&self, args: &[&str]) -> Result<Command> {
        let Self { name, version, .. } = self;
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
        command.arg(root);
        if self.is_brief {
            command.args(["--debug", "--config", "profile.dev.debug=false"]);
        }
        // Else it would land in the middle of this workspace's own build, or under its flags.
        command.env_remove("CARGO_TARGET_DIR").env_remove("RUSTFLAGS").current_dir("/");
        step(&format!("compiling {}", self.name), &mut command)
    }
}

/// Sees to these; the error names the one that cannot be had.
pub(super) fn ensure(tools: &[CargoTool]) -> Result<()> {
    for tool in tools.iter().filter(|tool| tool.find().is_none()) {
        let CargoTool { name, version, .. } = tool;
        let by_hand = format!("cargo install {name} --version {version} --locked");
        tool.install().map_err(|error| anyhow!("{by_hand}   (it failed here: {error:#})"))?;
    }
    Ok(())
}

/// Folders with programs that cargo has installed, for commands that find their subcommands by PATH.
pub(crate) fn folders() -> [PathBuf; 2] {
    [host::root().join(FOLDER).join("bin"), host::cargo_home().join("bin")]
}

/// What the tests of packages need besides.
pub(super) fn trial() -> Result<()> {
    const TRIAL: &[Package] = &[
        Package { name: "mmdebstrap", shown_by: "mmdebstrap" }, // a fresh Debian
        Package { name: "systemd-container", shown_by: "systemd-nspawn" }, // boots it
        Package { name: "lintian", shown_by: "lintian" },
        Package { name: "man-db", shown_by: "man" }, // whether the pages can be read
        Package { name: "nmap", shown_by: "nmap" },  // the attack
        Package { name: "curl", shown_by: "curl" },
        Package { name: "bpftool", shown_by: "bpftool" }, // what is attached
        Package { name: "iproute2", shown_by: "ip" },
    ];
    packages("packages", TRIAL)
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
    fn a_tool_is_known_by_name_and_version() {
        assert!(lists(LIST, "cargo-deny", Some("0.20.2")));
        assert!(!lists(LIST, "cargo-deny", Some("0.20.1")) && lists(LIST, "cargo-deny", None));
        // What only begins alike is another one.
        assert!(!lists(LIST, "cargo-machete", Some("0.9.2")) && !lists(LIST, "cargo", None));
        assert!(!lists("", "cargo-deny", None));
    }
}
