//! What the tests of the OpenAPI document run: validators, generators of clients and schemathesis, from PyPI and npm, kept
//! in the checkout. `xtask/tools/` names the versions of all of them, and of what they need.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, anyhow};
use sha2::{Digest as _, Sha256};

use super::{Package, packages};
use crate::step::step;
use crate::{host, process};

/// Where they are kept, seen from the root of the checkout.
const FOLDER: &str = ".tools";
/// What is to be there.
const LISTS: [&str; 3] = ["requirements.txt", "package.json", "package-lock.json"];

const NPM: &[Package] = &[Package { name: "npm", shown_by: "npm" }];
const VENV: &[Package] = &[Package { name: "python3-venv", shown_by: "/usr/share/doc/python3-venv" }];

/// Sees to the tools; the error says what is missing.
pub(super) fn ensure() -> Result<()> {
    let (folder, version) = (host::root().join(FOLDER), version()?);
    if fs::read_to_string(folder.join("VERSION")).is_ok_and(|kept| kept.trim() == version) {
        return Ok(());
    }
    packages("openapi", NPM)?;
    if process::output(Command::new("python3").args(["-c", "import ensurepip"])).is_err() {
        packages("openapi", VENV)?;
    }
    fetch(&folder, &version).map_err(|error| anyhow!("openapi: what xtask/tools lists cannot be fetched: {error:#}"))
}

/// The lists in short: other lists mean other tools.
fn version() -> Result<String> {
    let mut hash = Sha256::new();
    for name in LISTS {
        let path = host::root().join("xtask/tools").join(name);
        hash.update(fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?);
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Made in place, as a virtual environment knows its path; the version is written last.
fn fetch(folder: &Path, version: &str) -> Result<()> {
    let _ = fs::remove_dir_all(folder); // of another version, or of an attempt that was broken off
    let (python, node) = (folder.join("python"), folder.join("node"));
    fs::create_dir_all(&node).with_context(|| format!("cannot make {}", node.display()))?;
    for name in LISTS {
        let to = if name.ends_with(".txt") { folder } else { &node };
        fs::copy(host::root().join("xtask/tools").join(name), to.join(name))?;
    }
    process::run(Command::new("python3").args(["-m", "venv"]).arg(&python))?;
    let mut pip = Command::new(python.join("bin/python"));
    pip.args(["-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", "-r", "requirements.txt"]);
    step("openapi: fetching validators, schemathesis and pandas (115 MB)", pip.current_dir(folder))?;
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]);
    step("openapi: fetching redocly and openapi-typescript (20 MB)", npm.current_dir(&node))?;
    fs::write(folder.join("VERSION"), format!("{version}\n")).context("cannot write the version")
}
