//! `cargo xtask bench serve`: builds what the bench of `tests/benches/serve.rs` asks, fills the database that it asks over, runs it.
#![expect(clippy::print_stdout, reason = "says what is not run")]

use std::process::ExitCode;

use anyhow::Result;

use crate::setup::{self, Need};
use crate::{daemon, host, process, run};

/// Builds, fills, runs, cleans up.
pub(super) fn bench() -> Result<ExitCode> {
    if !host::is_root() {
        println!("not run: bench serve: network namespaces need root");
        return Ok(ExitCode::SUCCESS);
    }
    setup::ensure(&[Need::TestTools])?;
    let binary = daemon::build(daemon::Profile::Release)?;
    let mut command = process::cargo(["bench", "--quiet", "--package", "nta-tests", "--bench", "serve"]);
    command.env("NTA_DAEMON", binary);
    if let Some(capture) = super::replay::mixed()? {
        command.env("NTA_MIXED", capture);
    }
    let asks_for =
        |part| std::env::var("NTA_BENCH_CASES").map_or(true, |cases| cases.split(',').any(|case| case == part));
    if asks_for("load") && std::env::var_os("NTA_DATABASE").is_none() {
        // The routes' own bench fills it, and prints what each takes with nothing beside.
        let database = format!("sqlite:{}", host::target_dir().join("bench-serve.db").display());
        let mut fill = process::cargo(["bench", "--quiet", "--package", "nta-daemon", "--bench", "api"]);
        process::run(fill.args(setup::daemon_features()).env("NTA_DATABASE", &database))?;
        command.env("NTA_DATABASE", database);
    }
    let status = daemon::foreground(&mut command);
    super::veth::remove_orphans()?;
    Ok(run::exit_code(status?))
}
