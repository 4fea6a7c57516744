//! The Debian package, by cargo-deb: `[package.metadata.deb]` of nta-daemon/Cargo.toml says what it is and which of the
//! staged files go into it, `packaging/debian/` has what dpkg runs.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::Place;
use crate::step::step;

/// Makes it in this folder; returns the file.
pub(super) fn make(place: &Place, folder: &Path, version: Option<&str>) -> Result<PathBuf> {
    let mut command = place.cargo(&["deb", "--package", "nta-daemon", "--no-build", "--no-strip", "--locked"]);
    command.arg("--output").arg(folder);
    if let Some(version) = version {
        command.args(["--deb-version", version]);
    }
    step("Debian package", &mut command)?;
    let files = std::fs::read_dir(folder)?.flatten().map(|entry| entry.path());
    let deb = files.into_iter().find(|path| path.extension().is_some_and(|kind| kind == "deb"));
    deb.context("cargo-deb has made no package")
}
