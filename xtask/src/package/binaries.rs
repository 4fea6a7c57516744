//! The programs of the packages, built with the list of their dependencies inside.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use super::Place;
use crate::{process, setup, trim};

/// A program of the packages: the crate of the same name makes it.
pub(super) struct Program {
    pub(super) name: &'static str,
    /// Whether it writes man pages and completions, of all of them, and its configuration.
    pub(super) generates: bool,
}

/// All of them.
const PROGRAMS: [Program; 2] =
    [Program { name: "nta-daemon", generates: true }, Program { name: "nta-loader", generates: false }];

/// Where an earlier build has put each.
pub(super) fn built(place: &Place) -> Result<Vec<(Program, PathBuf)>> {
    let files = PROGRAMS.into_iter().map(|program| {
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
    for program in PROGRAMS {
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
