//! `cargo xtask dashboard`: builds the dashboard from its TypeScript, or proves that the committed one is what it gives.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::ebpf::record::{collect, hash_files};
use crate::host;
use crate::report::Group;
use crate::setup::{self, Need};
use crate::step::step;

pub(crate) const HELP: &str = "\
Checks the types of dashboard/src against the OpenAPI document and builds it into dashboard/dist, which is committed and
which the daemon embeds: building the daemon needs no Node. dashboard/dist/SOURCES says what it was built from.
Needs Node 20; `cargo xtask setup` installs it and what package-lock.json names.

While working on it: `NTA=http://127.0.0.1:5000 npx vite` in dashboard/ shows each change beside a running daemon.

Options:
  --check   build elsewhere, and compare byte for byte with what is committed; changes nothing in the checkout.
            Without Node only the sources are compared, and it says so.

Examples:
  cargo xtask dashboard
  cargo xtask dashboard --check";

/// Reads the options and builds or checks.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    match args {
        [] => {
            if let Some(what) = setup::ensure(&[Need::Dashboard])?.first() {
                bail!("{what}");
            }
            let to = dist();
            build(&to)?;
            fs::write(to.join(RECORD), format!("{}\n", sources()?)).context("cannot write what it was built from")?;
            eprintln!("{} (sha256 {})", to.display(), built(&to)?);
            Ok(ExitCode::SUCCESS)
        }
        [check] if check == "--check" => {
            let group = check_built()?;
            group.print();
            Ok(group.status())
        }
        _ => bail!("dashboard takes `--check` alone; see `cargo xtask dashboard --help`"),
    }
}

/// Builds from source and compares with what is committed.
pub(crate) fn check_built() -> Result<Group> {
    let group = Group::new("dashboard");
    let recorded = fs::read_to_string(dist().join(RECORD)).unwrap_or_default();
    if recorded.trim() != sources()? {
        return Ok(group.fail("the sources have changed since; run `cargo xtask dashboard`"));
    }
    let group = group.pass();
    if let Some(missing) = setup::ensure(&[Need::Dashboard])?.first() {
        return Ok(group.not_run(&format!("byte comparison: {missing}")));
    }
    let elsewhere = host::target_dir().join("dashboard");
    if let Err(error) = build(&elsewhere) {
        return Ok(group.fail(&format!("{error:#}")));
    }
    if built(&elsewhere)? == built(&dist())? {
        return Ok(group.pass());
    }
    Ok(group.fail(&format!("the same sources give other files; compare with {}", elsewhere.display())))
}

const RECORD: &str = "SOURCES";

fn folder() -> PathBuf {
    host::root().join("dashboard")
}

fn dist() -> PathBuf {
    folder().join("dist")
}

/// Types from the document, a check of all types, and the bundle.
fn build(to: &Path) -> Result<()> {
    let npx = |args: &[&str]| {
        let mut command = Command::new("npx");
        command.arg("--no-install").args(args).current_dir(folder()).env("NO_COLOR", "1");
        command
    };
    step(
        "dashboard: types of the API",
        &mut npx(&["openapi-typescript", "../nta-daemon/tests/api/openapi.json", "-o", "src/api/schema.d.ts"]),
    )?;
    step("dashboard: checking types", &mut npx(&["tsc", "--noEmit"]))?;
    let mut vite = npx(&["vite", "build", "--emptyOutDir", "--outDir"]);
    step("dashboard: building", vite.arg(to))
}

/// SHA-256 over all that the bundle is made from. The OpenAPI document gives types, which are in no bundle.
fn sources() -> Result<String> {
    let mut files: Vec<PathBuf> =
        ["index.html", "package-lock.json", "vite.config.ts"].iter().map(|name| folder().join(name)).collect();
    collect(&folder().join("src"), &mut files)?;
    files.retain(|file| !file.ends_with("src/api/schema.d.ts"));
    hash_files(&folder(), files)
}

/// SHA-256 over what was built.
fn built(place: &Path) -> Result<String> {
    let mut files = Vec::new();
    collect(place, &mut files)?;
    files.retain(|file| !file.ends_with(RECORD));
    hash_files(place, files)
}
