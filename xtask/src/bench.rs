//! `cargo xtask bench`: what things cost, as ratios in one run.

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::{build_ebpf, process, run};

pub(crate) const HELP: &str = "\
Measures. `kernel`: nanoseconds of a packet in each program above the empty program of its kind, by repeated test runs
interleaved in one series (needs root and a BPF toolchain: the empty programs are only in the bench build of the object).
With --format json one object a line.

Examples:
  cargo xtask bench kernel
  cargo xtask bench kernel --format json";

/// Dispatches to the bench named.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["kernel"] | ["kernel", "--format", "text"] => kernel(false),
        ["kernel", "--format", "json"] => kernel(true),
        _ => bail!("bench takes `kernel` and, behind it, `--format json`; see `cargo xtask bench --help`"),
    }
}

fn kernel(json: bool) -> Result<ExitCode> {
    let object = build_ebpf::with_features("bench")?;
    let mut command = process::cargo(["bench", "--quiet", "--package", "nta-tests", "--bench", "kernel", "--"]);
    command.env("NTA_BENCH_OBJECT", object);
    if json {
        command.arg("--json");
    }
    Ok(run::exit_code(process::status(&mut command)?))
}
