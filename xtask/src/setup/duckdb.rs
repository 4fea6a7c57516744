//! DuckDB's command line, which reads the Parquet files that tests write, out of its PyPI wheel.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context as _, Result, anyhow};

use super::packages;
use super::wheel::{PIP, Wheel};
use crate::host;

const VERSION: &str = "1.5.6";
/// For x86_64 and aarch64.
const HASHES: [&str; 2] = [
    "9797555bd39095d730eb0d0b3bf29e95e148c96a4cdce1e363f01c7bf7003a44",
    "9b03301a14310a4ef7f86386e87b36954fe099ed762c8a81f94f7bd0ba073542",
];
/// Where it is kept, seen from the root of the checkout; tests/replay/hourly.rs starts it from there.
const FOLDER: &str = ".duckdb";
const PROGRAM: &str = "duckdb_cli/duckdb";

/// Sees to the program; the error says how to get it by hand.
pub(super) fn ensure() -> Result<()> {
    let folder = host::root().join(FOLDER);
    let version = fs::read_to_string(folder.join("VERSION")).unwrap_or_default();
    if version.trim() == VERSION && folder.join(PROGRAM).exists() {
        return Ok(());
    }
    packages("test tools", PIP)?;
    let wheel = Wheel {
        package: "duckdb-cli",
        version: VERSION,
        hashes: &HASHES,
        platform: "manylinux_2_17",
        step: "test tools: fetching DuckDB (21 MB)",
    };
    let kept = wheel.keep(FOLDER, |kept| {
        let program = kept.join(PROGRAM);
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).context("the wheel holds no program")
    });
    kept.map_err(|error| anyhow!("test tools: duckdb-cli {VERSION} cannot be fetched from PyPI: {error:#}"))
}
