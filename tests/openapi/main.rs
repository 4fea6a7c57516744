//! The OpenAPI document as others see it: validators, generators of clients, and a tool that tries what it says. Their
//! versions are pinned; `cargo xtask setup` fetches them.

mod clients;
mod edge;
mod hostile;
mod validate;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nta_tests::daemon::{self, Run, collect};
use nta_tests::netns::wait_for;
use nta_tests::served::{Served, scan};
use nta_tests::{not_run, root};
use tempfile::TempDir;

/// The tools, if they are there; else it says that the test is not run.
fn tools(test: &str) -> Option<PathBuf> {
    let folder = root().join(".tools");
    if folder.join("VERSION").is_file() {
        return Some(folder);
    }
    not_run(test, "the tools for the OpenAPI document are missing: cargo xtask setup");
    None
}

/// A folder with a daemon that serves a port scan and all that can be switched on, and its document in `openapi.json`.
fn served() -> (TempDir, Served) {
    let folder = tempfile::tempdir().expect("folder");
    let capture = folder.path().join("scan.pcap");
    scan(&capture);
    let database = format!("sqlite:{}", folder.path().join("nta.db").display());
    let config = folder.path().join("nta.toml");
    std::fs::write(&config, "[api]\ngraphql = true\n").expect("the configuration");
    let served = Served::configured(&capture, &database, &config);
    let document = served.get("/openapi.json");
    std::fs::write(folder.path().join("openapi.json"), document.to_string()).expect("the document");
    (folder, served)
}

/// Runs a tool in a folder; it has to succeed.
fn succeed(folder: &Path, program: &Path, args: &[&str]) -> Run {
    succeed_with(folder, program, args, &[])
}

/// The same with variables of the environment.
fn succeed_with(folder: &Path, program: &Path, args: &[&str], set: &[(&str, &str)]) -> Run {
    let mut command = Command::new(program);
    command.args(args).current_dir(folder);
    // No word to its makers, no colours, nothing left elsewhere.
    command.env("REDOCLY_TELEMETRY", "off").env("REDOCLY_SUPPRESS_UPDATE_NOTICE", "true").env("NO_COLOR", "1");
    command.env("HOME", folder).env("PYTHONDONTWRITEBYTECODE", "1");
    command.envs(set.iter().copied());
    let run = collect(command, &[]);
    let out = String::from_utf8_lossy(&run.stdout);
    assert_eq!(run.status, Some(0), "{} {args:?}\n{out}\n{}", program.display(), run.stderr);
    run
}

/// A token of an administrator, which is demanded from then on.
fn admin(folder: &Path, served: &Served) -> String {
    made(folder, served, "admin")
}

/// The first token, of this role; one is demanded from then on.
fn made(folder: &Path, served: &Served, role: &str) -> String {
    let database = format!("sqlite:{}", folder.join("nta.db").display());
    let made = daemon::run(["tokens", "--database", &database, "create", "--role", role]);
    assert_eq!(made.status, Some(0), "{made:?}");
    wait_for("a token to be demanded", LIMIT, || (served.ask("GET", "/api/status", "").0 == 401).then_some(()));
    String::from_utf8(made.stdout).expect("text").trim().to_owned()
}

/// A token counts within seconds.
const LIMIT: Duration = Duration::from_secs(120);
