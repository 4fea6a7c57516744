//! `cargo xtask soak`: a daemon for minutes or hours, with all that happens to one at once.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::setup::{self, Need};
use crate::{host, process, run};

pub(crate) const HELP: &str = "\
Runs the daemon for so many minutes over PostgreSQL, in network namespaces of its own: bulk traffic over both versions of IP, port scans
and floods of made-up sources, requests to the API and readers of its stream, an interface that comes and goes, a database that is
killed and comes back, a wall clock that is set. Every five seconds it looks at memory, descriptors, threads, flows, how full the maps
are, the ledger, the database's size and how long /health takes. It fails where memory or descriptors grow in the last third, the ledger does not
balance, an attack raised no alert, or the daemon ends. Needs root.

  --minutes N  how long; 10 when not given
  --out DIR    where samples.csv and soak.svg go; target/soak when not given

Examples:
  cargo xtask soak --minutes 60
  cargo xtask soak --minutes 5 --out /tmp/soak";

pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    let (mut minutes, mut out) = ("10".to_owned(), host::target_dir().join("soak"));
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let value = args.next().with_context(|| format!("{arg} needs a value; see `cargo xtask soak --help`"))?;
        match arg.as_str() {
            "--minutes" if value.parse::<u64>().is_ok_and(|minutes| minutes > 0) => minutes.clone_from(value),
            "--minutes" => bail!("--minutes {value}: a whole number from 1"),
            "--out" => out = std::path::absolute(value)?,
            other => bail!("unknown option {other}; see `cargo xtask soak --help`"),
        }
    }
    if !host::is_root() {
        bail!("a soak makes network namespaces, which needs root");
    }
    let missing = setup::ensure(&[Need::Build, Need::Model, Need::TestTools])?;
    if !missing.is_empty() {
        bail!("{}", missing.join("\n"));
    }
    process::run(process::cargo(["build", "--workspace", "--bin", "nta-daemon"]).args(setup::daemon_features()))?;
    let mut soak = process::cargo(["test", "--workspace"]);
    soak.args(setup::all_features()).args(["--test", "kernel_live", "--", "--ignored", "--nocapture", "soak::soak"]);
    soak.env("NTA_SOAK_MINUTES", &minutes).env("NTA_SOAK_OUT", &out);
    soak.env("NTA_DAEMON", host::target_dir().join("debug/nta-daemon"));
    Ok(run::exit_code(process::status(&mut soak)?))
}
