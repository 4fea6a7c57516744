//! What learned models need: libxgboost out of its PyPI wheel, kept in the checkout.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, anyhow, bail};

use super::{Package, packages};
use crate::step::step;
use crate::{host, process};

/// The library that the crate `xgb` of Cargo.toml is made for.
const VERSION: &str = "3.4.1";

/// The wheels' SHA-256 for x86_64 and aarch64, as PyPI has them; pip refuses any other file.
const HASHES: [&str; 2] = [
    "1f16331f5c6beb2b40fbd4bf2834333062d93c9eb38b76186a5c206841dc1809",
    "47b81860b18056f9425b34fe2905343bc7ee0118122ae09cf2e31c305ed49877",
];

/// Where it is kept, seen from the root of the checkout; the build reads it from `.cargo/config.toml`.
const FOLDER: &str = ".xgboost";

const PACKAGES: &[Package] = &[Package { name: "python3-pip", shown_by: "pip3" }];

/// Sees to the library; the error says how to get it by hand.
pub(super) fn ensure() -> Result<()> {
    if is_there() {
        return Ok(());
    }
    packages("models", PACKAGES)?;
    fetch().map_err(|error| anyhow!("models: libxgboost {VERSION} cannot be fetched from PyPI: {error:#}"))
}

/// Cargo's arguments for every feature that can be built here: models need their library.
pub(crate) fn all_features() -> &'static [&'static str] {
    if is_there() { &["--all-features"] } else { &["--features", "nta-tests/kernel"] }
}

/// Cargo's arguments for the daemon with models, where they can be built here.
pub(crate) fn daemon_features() -> &'static [&'static str] {
    if is_there() { &["--features", "nta-daemon/xgboost"] } else { &[] }
}

fn is_there() -> bool {
    let folder = host::root().join(FOLDER);
    let version = fs::read_to_string(folder.join("VERSION")).unwrap_or_default();
    version.trim() == VERSION && folder.join("xgboost/lib/libxgboost.so.3").exists()
}

/// Downloads the wheel and unpacks it whole: the library, the OpenMP that it looks for two folders above itself, the
/// licence, and the Python package, with which a test compares.
fn fetch() -> Result<()> {
    let (root, folder) = (host::root(), host::root().join(FOLDER));
    let work = root.join(format!("{FOLDER}.tmp"));
    let _ = fs::remove_dir_all(&work); // of an attempt that was broken off
    fs::create_dir_all(&work).with_context(|| format!("cannot make {}", work.display()))?;
    let hashes: String = HASHES.iter().map(|hash| format!(" --hash=sha256:{hash}")).collect();
    fs::write(work.join("requirements.txt"), format!("xgboost-cpu=={VERSION}{hashes}\n"))?;
    let platform = format!("manylinux_2_28_{}", env::consts::ARCH);
    let mut download = python(&work);
    download.args(["pip", "download", "-q", "--no-deps", "--only-binary=:all:", "--python-version", "3.13"]);
    download.args(["--platform", &platform, "--require-hashes", "-r", "requirements.txt", "-d", "."]);
    step("models: fetching libxgboost (6 MB)", &mut download)?;
    let entries = fs::read_dir(&work)?.flatten().map(|entry| entry.path());
    let Some(wheel) = entries.into_iter().find(|path| path.extension().is_some_and(|kind| kind == "whl")) else {
        bail!("pip has put no wheel there");
    };
    let kept = work.join("kept");
    process::run(python(&work).args(["zipfile", "-e"]).arg(&wheel).arg(&kept))?;
    // The name by which it is loaded, which the wheel lacks.
    std::os::unix::fs::symlink("libxgboost.so", kept.join("xgboost/lib/libxgboost.so.3"))?;
    fs::write(kept.join("VERSION"), format!("{VERSION}\n"))?;
    let _ = fs::remove_dir_all(&folder); // of another version
    fs::rename(&kept, &folder).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))
}

/// A module of Python's, in this folder.
fn python(folder: &Path) -> Command {
    let mut command = Command::new("python3");
    command.arg("-m").current_dir(folder);
    command
}
