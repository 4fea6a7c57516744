//! What learned models need: libxgboost out of its PyPI wheel, kept in the checkout.

use std::fs;

use anyhow::{Result, anyhow};

use super::packages;
use super::wheel::{PIP, Wheel};
use crate::host;

/// The library that the crate `xgb` of Cargo.toml is made for.
const VERSION: &str = "3.4.1";

/// The wheels' SHA-256 for x86_64 and aarch64, as PyPI has them; pip refuses any other file.
const HASHES: [&str; 2] = [
    "1f16331f5c6beb2b40fbd4bf2834333062d93c9eb38b76186a5c206841dc1809",
    "47b81860b18056f9425b34fe2905343bc7ee0118122ae09cf2e31c305ed49877",
];

/// Where it is kept, seen from the root of the checkout; the build reads it from `.cargo/config.toml`.
const FOLDER: &str = ".xgboost";

/// Sees to the library; the error says how to get it by hand.
pub(super) fn ensure() -> Result<()> {
    if is_there() {
        return Ok(());
    }
    packages("models", PIP)?;
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

/// Unpacks the wheel whole: the library, the OpenMP that it looks for two folders above itself, the licence, and the Python package,
/// with which a test compares.
fn fetch() -> Result<()> {
    let wheel = Wheel {
        package: "xgboost-cpu",
        version: VERSION,
        hashes: &HASHES,
        platform: "manylinux_2_28",
        step: "models: fetching libxgboost (6 MB)",
    };
    wheel.keep(FOLDER, |kept| {
        // The name by which it is loaded, which the wheel lacks.
        std::os::unix::fs::symlink("libxgboost.so", kept.join("xgboost/lib/libxgboost.so.3"))?;
        Ok(())
    })
}
