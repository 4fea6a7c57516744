//! Subcommands of cargo that make packages, compiled by cargo and kept in the checkout.

use std::fs;
use std::path::PathBuf;

use anyhow::{Result, anyhow};

use super::packages;
use super::{PACKAGES, Package};
use crate::step::step;
use crate::{host, process};

/// Each with the version that is known to make the packages of this repository.
const TOOLS: [(&str, &str); 3] = [("cargo-deb", "3.8.0"), ("cargo-auditable", "0.7.7"), ("cargo-cyclonedx", "0.5.9")];
/// Where they are kept, seen from the root of the checkout.
const FOLDER: &str = ".packaging";

/// Sees to all of them and to Debian's programs beside; the error says how to get one by hand.
pub(super) fn ensure() -> Result<()> {
    packages("packages", PACKAGES)?;
    for (name, version) in TOOLS {
        if !is_there(name, version) {
            install(name, version).map_err(|error| anyhow!("packages: {name} {version}: {error:#}"))?;
        }
    }
    Ok(())
}

/// Where their programs are.
pub(crate) fn folder() -> PathBuf {
    host::root().join(FOLDER).join("bin")
}

/// Cargo itself keeps a list of what it has installed.
fn is_there(name: &str, version: &str) -> bool {
    let list = fs::read_to_string(host::root().join(FOLDER).join(".crates.toml")).unwrap_or_default();
    list.contains(&format!("\"{name} {version} ")) && folder().join(name).is_file()
}

fn install(name: &str, version: &str) -> Result<()> {
    let mut command = process::cargo(["install", name, "--version", version, "--locked", "--root"]);
    command.arg(host::root().join(FOLDER));
    // Else it would land in the middle of this workspace's own build, or under its flags.
    command.env_remove("CARGO_TARGET_DIR").env_remove("RUSTFLAGS").current_dir("/");
    step(&format!("packages: compiling {name} (a minute or two)"), &mut command)
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
