//! `cargo xtask bench`: what things cost, as ratios in one run.

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::setup::{self, Need};
use crate::{build_ebpf, process, run, trim};

mod page;
mod replay;
mod serve;
mod veth;

pub(crate) const HELP: &str = "\
Measures. `kernel`: nanoseconds of a packet in each program above the empty program of its kind, by repeated test runs
interleaved in one series (needs root and a BPF toolchain: the empty programs are only in the bench build of the object;
NTA_BENCH_CASES names the cases, apart by commas; with NTA_BENCH_BASE, an object that `build-ebpf --features bench` made of another version,
each case is measured beside that one's, and the ratio is told).
`drain`: milliseconds to read 100,000 flows out of the maps. `window`: milliseconds to judge a window with
100,000 hosts. `model`: a model of about the shipped one's size loaded, 10,000 feature vectors and one judged (needs
libxgboost, which is fetched). `store`: flows and windows into the database (NTA_BENCH_CASES names `flows`, `windows` or `replay`). `ingest`: windows
a second that a server takes from gateways into PostgreSQL (Debian's, or what NTA_DATABASE names), bytes of each on the wire, how fast a
backlog goes in (NTA_BENCH_WINDOWS windows; NTA_BENCH_CASES names `backlog`, `vectors` or `steady`). `api`: what each route takes over a large
database. `replay`: the user engine beside softflowd over the mixed capture (made from ../shared/captures, or named
by NTA_MIXED). `veth`: iperf3's throughput between two network namespaces with our programs and with none or empty ones,
interleaved (needs root; a minute a round, 15 rounds if NTA_BENCH_ROUNDS says nothing else; NTA_BENCH_ROWS measures only the
rows whose name ends so). `serve`: what the daemon's answers cost beside a live capture: uploads of 254 MB and 1 GiB, 10,000
readers of events, lists over a million rows asked a hundred times a second, /health under a flood (needs root; NTA_BENCH_CASES names `uploads`, `readers`,
`load` or `flood`, NTA_DATABASE a database that `bench api` has filled; text only). `page`: how fast the dashboard is in Chromium over 100,000
flows and 10,000 alerts, its processor throttled four times (NTA_DAEMON names a daemon that is built already; text only). With --format json one object a line.

Examples:
  cargo xtask bench kernel
  cargo xtask bench drain
  cargo xtask bench model
  cargo xtask bench store
  NTA_BENCH_WINDOWS=1000000 NTA_BENCH_CASES=backlog cargo xtask bench ingest
  cargo xtask bench api
  cargo xtask bench replay
  NTA_BENCH_CASES=uploads cargo xtask bench serve
  cargo xtask bench page
  cargo xtask bench veth
  NTA_BENCH_ROUNDS=30 NTA_BENCH_ROWS=\"as the system is\" cargo xtask bench veth
  cargo xtask bench kernel --format json";

/// Dispatches to the bench named.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["kernel"] | ["kernel", "--format", "text"] => kernel(false),
        ["kernel", "--format", "json"] => kernel(true),
        ["drain"] | ["drain", "--format", "text"] => daemon_bench("drain", false),
        ["drain", "--format", "json"] => daemon_bench("drain", true),
        ["window"] | ["window", "--format", "text"] => window(false),
        ["window", "--format", "json"] => window(true),
        ["model"] | ["model", "--format", "text"] => model(false),
        ["model", "--format", "json"] => model(true),
        [name @ ("store" | "ingest" | "api")] | [name @ ("store" | "ingest" | "api"), "--format", "text"] => {
            daemon_bench(name, false)
        }
        [name @ ("store" | "ingest" | "api"), "--format", "json"] => daemon_bench(name, true),
        ["replay"] | ["replay", "--format", "text"] => replay::bench(false),
        ["replay", "--format", "json"] => replay::bench(true),
        ["serve"] => serve::bench(),
        ["page"] => page::bench(),
        ["veth"] | ["veth", "--format", "text"] => veth::bench(false),
        ["veth", "--format", "json"] => veth::bench(true),
        _ => bail!(
            "bench takes `kernel`, `drain`, `window`, `model`, `store`, `ingest`, `api`, `replay`, `serve`, `page` or `veth`, then `--format json`; see `cargo xtask bench --help`"
        ),
    }
}

fn model(json: bool) -> Result<ExitCode> {
    if let Some(what) = setup::ensure(&[Need::Build, Need::Model])?.first() {
        bail!("{what}");
    }
    daemon_bench("model", json)
}

fn window(json: bool) -> Result<ExitCode> {
    bench("nta-core", "window", &[], json)
}

fn daemon_bench(name: &str, json: bool) -> Result<ExitCode> {
    bench("nta-daemon", name, setup::daemon_features(), json)
}

fn bench(package: &str, name: &str, features: &[&str], json: bool) -> Result<ExitCode> {
    let mut command = process::cargo(["bench", "--quiet", "--package", package, "--bench", name]);
    // As the daemon's own release build, so that neither makes the other compile anew.
    trim::remap(&mut command, &crate::host::target_dir());
    command.args(features).arg("--");
    if json {
        command.arg("--json");
    }
    Ok(run::exit_code(process::status(&mut command)?))
}

fn kernel(json: bool) -> Result<ExitCode> {
    let object = build_ebpf::with_features("bench")?;
    let mut command = process::cargo(["bench", "--quiet", "--package", "nta-tests", "--bench", "kernel"]);
    trim::remap(&mut command, &crate::host::target_dir());
    command.arg("--");
    command.env("NTA_BENCH_OBJECT", object);
    if json {
        command.arg("--json");
    }
    Ok(run::exit_code(process::status(&mut command)?))
}
