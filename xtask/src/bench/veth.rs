//! `cargo xtask bench veth`: builds what the bench of `tests/benches/veth.rs` drives, runs it, and removes what it left if
//! it was ended before it could.
#![expect(clippy::print_stdout, reason = "says what is not run")]

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::setup::{self, Need};
use crate::{build_ebpf, daemon, host, process, run};

/// Namespaces of the benches and tests are called this, the process and a label.
const PREFIX: &str = "nta-test-";

/// Builds, runs, cleans up.
pub(super) fn bench(json: bool) -> Result<ExitCode> {
    if !host::is_root() {
        println!("not run: bench veth: network namespaces need root");
        return Ok(ExitCode::SUCCESS);
    }
    setup::ensure(&[Need::TestTools])?;
    let object = build_ebpf::with_features("bench")?;
    let binary = daemon::build(daemon::Profile::Release)?;
    let mut command = process::cargo(["bench", "--quiet", "--package", "nta-tests", "--bench", "veth", "--"]);
    command.env("NTA_BENCH_OBJECT", object).env("NTA_DAEMON", binary);
    if json {
        command.arg("--json");
    }
    // Takes over the signals that would end this program before it has cleaned up.
    let status = daemon::foreground(&mut command);
    remove_orphans()?;
    Ok(run::exit_code(status?))
}

/// Ends what runs in namespaces whose maker is gone, and removes them.
pub(super) fn remove_orphans() -> Result<()> {
    for line in process::output(Command::new("ip").args(["netns", "list"]))?.lines() {
        let name = line.split(' ').next().unwrap_or_default();
        let maker = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if maker.is_none_or(|pid| Path::new("/proc").join(pid).exists()) {
            continue;
        }
        for pid in process::output(Command::new("ip").args(["netns", "pids", name]))?.lines() {
            let _gone = Command::new("kill").args(["-TERM", pid]).status();
        }
        process::run(Command::new("ip").args(["netns", "del", name]))?;
    }
    Ok(())
}
