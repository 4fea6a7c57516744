//! The programs of the packages, built with the list of their dependencies inside.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use super::Place;
use crate::{host, process, setup, trim};

/// A program of the packages: the crate of the same name makes it.
pub(super) struct Program {
    pub(super) name: &'static str,
    /// Whether it writes its own man pages, completions and configuration; else `systemd/` has them.
    pub(super) generates: bool,
}

/// All of them; one whose crate is not in the workspace yet is left out.
const PROGRAMS: [Program; 2] =
    [Program { name: "nta-daemon", generates: true }, Program { name: LOADER, generates: false }];
const LOADER: &str = "nta-loader";

/// Whether there is the second process that holds the capabilities.
pub(super) fn has_loader() -> bool {
    is_there(LOADER)
}

fn is_there(name: &str) -> bool {
    host::root().join(name).join("Cargo.toml").is_file()
}

/// Those of the workspace.
fn programs() -> Vec<Program> {
    PROGRAMS.into_iter().filter(|program| is_there(program.name)).collect()
}

/// Where an earlier build has put each.
pub(super) fn built(place: &Place) -> Result<Vec<(Program, PathBuf)>> {
    let files = programs().into_iter().map(|program| {
        let file = place.release().join(program.name);
        if !file.is_file() {
            bail!("{} was not built", file.display());
        }
        if !place.paths {
            trim::check(&file, &place.target)?;
        }
        Ok((program, file))
    });
    files.collect()
}

/// Builds them and returns where each lies.
pub(super) fn build(place: &Place) -> Result<Vec<(Program, PathBuf)>> {
    let mut cargo = place.cargo(&["auditable", "build", "--release", "--locked"]);
    for program in programs() {
        cargo.args(["-p", program.name]);
    }
    cargo.args(setup::daemon_features());
    if place.fast {
        cargo.args(["--config", "profile.release.package.nta-daemon.opt-level=1"]);
    }
    if place.paths {
        cargo.env_remove("SOURCE_DATE_EPOCH"); // C code would be compiled anew with every commit
    } else {
        trim::remap(&mut cargo, &place.target);
    }
    process::run(&mut cargo).context("the programs do not build")?;
    built(place)
}
