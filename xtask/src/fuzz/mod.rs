//! `cargo xtask fuzz`: runs a fuzz target of `tests/fuzz/` from a corpus of real frames and captures, or of seeds.
#![expect(clippy::print_stdout, reason = "says what is not run")]

mod corpus;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::{host, process, run};

pub(crate) const HELP: &str = "\
Fuzzes with cargo-fuzz (libFuzzer and AddressSanitizer), which is installed from crates.io if it is missing. Targets:

  packet    the packet parser and the accounting over arbitrary frames; the ledger balances after each
  capture   the capture reader over arbitrary bytes: pcap, pcapng, gzip, zstd
  service   what names a service by the first payload bytes of both directions
  forest    the isolation forest out of a file
  classifier  the classifier's manifest, and the structure of its model
  baselines  baselines as they are stored and imported
  loader    what daemon and loader say to each other, and the loader's configuration
  dns       DNS messages, whole or cut off
  rows      the documents of stored rows, of all versions
  spool     segments of the spool
  shipment  what a sensor ships, as a server takes it
  config    the daemon's configuration

The corpus is kept in target/fuzz/corpus. That of `packet` and `capture` is filled from ../shared/captures, or where
NTA_CAPTURES says; without it the fuzzer begins with the bundled captures of tests/cases. The others begin with
tests/fuzz/seeds. The last five compile the daemon, which takes minutes. An input that fails is kept in tests/fuzz/artifacts/.

Options:
  --seconds N   how long to run; 60 if not said

Examples:
  cargo xtask fuzz packet
  cargo xtask fuzz capture --seconds 600";

/// A target, and libFuzzer's options for it.
struct Target {
    name: &'static str,
    /// The longest input in bytes.
    max_len: usize,
    /// Limits: one allocation and all memory in MiB, seconds of one input.
    limits: &'static [&'static str],
    /// Whether what it feeds is inside the daemon.
    is_daemon: bool,
    /// Fills the corpus from a folder of captures; returns how many inputs it made.
    fill: fn(captures: &Path, corpus: &Path, max_len: usize) -> Result<usize>,
}

const TARGETS: &[Target] = &[
    Target {
        name: "packet",
        max_len: 4096,
        limits: &["-timeout=5", "-rss_limit_mb=512", "-malloc_limit_mb=16"],
        is_daemon: false,
        fill: corpus::frames,
    },
    // A frame may have 16 MiB, whose buffer is moved as it grows, and a zstd frame asks for a window of up to 128 MiB.
    Target {
        name: "capture",
        max_len: 32 << 10,
        limits: &["-timeout=30", "-rss_limit_mb=1024", "-malloc_limit_mb=192"],
        is_daemon: false,
        fill: corpus::captures,
    },
    small("service", 32, false),
    small("forest", 8 << 10, false),
    small("classifier", 8 << 10, false),
    small("baselines", 16 << 10, false),
    small("loader", 4 << 10, false),
    small("dns", 2 << 10, true),
    small("rows", 16 << 10, true),
    small("spool", 16 << 10, true),
    small("shipment", 16 << 10, true),
    small("config", 16 << 10, true),
];

/// What reads a few KiB and begins with seeds.
const fn small(name: &'static str, max_len: usize, is_daemon: bool) -> Target {
    Target { name, max_len, limits: SMALL, is_daemon, fill: corpus::seeds }
}

/// Of what reads a few KiB.
const SMALL: &[&str] = &["-timeout=5", "-rss_limit_mb=512", "-malloc_limit_mb=16"];

/// The version that the targets were written with.
const CARGO_FUZZ: &str = "0.13.2";
const SECONDS: u32 = 60;

/// Installs, fills the corpus, runs.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    let (target, seconds) = parse(args)?;
    if host::find_program("cargo-fuzz").is_none() {
        process::run(&mut process::cargo(["install", "--locked", "cargo-fuzz", "--version", CARGO_FUZZ]))?;
    }
    let kept = host::target_dir().join("fuzz");
    let corpus = kept.join("corpus").join(target.name);
    fs::create_dir_all(&corpus).with_context(|| format!("cannot make {}", corpus.display()))?;
    let inputs = (target.fill)(&captures(), &corpus, target.max_len)?;
    println!("{inputs} inputs in {}", corpus.display());
    let mut command = process::cargo(["fuzz", "run", "--fuzz-dir", "tests/fuzz", "--target-dir"]);
    command.arg(&kept);
    if target.is_daemon {
        command.args(["--features", "daemon"]);
    }
    command.arg(target.name).arg(&corpus).arg("--").args(target.limits);
    command.args([format!("-max_len={}", target.max_len), format!("-max_total_time={seconds}")]);
    command.arg("-print_final_stats=1");
    // Sanitizers are unstable options of the compiler, which a stable one takes with this.
    command.env("RUSTC_BOOTSTRAP", "1");
    Ok(run::exit_code(process::status(&mut command)?))
}

fn parse(args: &[String]) -> Result<(&'static Target, u32)> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let (name, seconds) = match words.as_slice() {
        [name] => (*name, SECONDS),
        [name, "--seconds", seconds] => {
            (*name, seconds.parse().with_context(|| format!("--seconds {seconds} is no number"))?)
        }
        _ => bail!("fuzz takes a target, then `--seconds N`; see `cargo xtask fuzz --help`"),
    };
    match TARGETS.iter().find(|target| target.name == name) {
        Some(target) => Ok((target, seconds)),
        None => bail!("no fuzz target `{name}`; see `cargo xtask fuzz --help`"),
    }
}

/// The collection of captures if it is here, else the bundled ones.
fn captures() -> std::path::PathBuf {
    let root = host::root();
    let folder = std::env::var_os("NTA_CAPTURES").map_or_else(|| root.join("../shared/captures"), Into::into);
    let parsing = folder.join("parsing");
    if parsing.is_dir() { parsing } else { root.join("tests/cases") }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn every_target_that_is_built_can_be_run_and_begins_with_something() {
        let folder = crate::host::root().join("tests/fuzz");
        let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).expect("the targets' manifest");
        let mut built: Vec<&str> =
            manifest.split("[[bin]]\nname = \"").skip(1).filter_map(|bin| bin.split('"').next()).collect();
        let mut run: Vec<&str> = super::TARGETS.iter().map(|target| target.name).collect();
        built.sort_unstable();
        run.sort_unstable();
        assert_eq!(built, run);
        for target in super::TARGETS.iter().filter(|target| !["packet", "capture"].contains(&target.name)) {
            let seeds = std::fs::read_dir(folder.join("seeds").join(target.name)).expect("seeds");
            let sizes: Vec<u64> =
                seeds.map(|seed| seed.and_then(|seed| seed.metadata()).expect("a file").len()).collect();
            assert!(!sizes.is_empty() && sizes.iter().all(|size| *size <= target.max_len as u64), "{}", target.name);
        }
    }

    #[test]
    fn a_target_and_its_time_are_read() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let (target, seconds) = parse(&words("packet --seconds 5")).expect("is right");
        assert_eq!((target.name, seconds), ("packet", 5));
        assert!(parse(&words("nothing")).is_err() && parse(&words("packet --seconds x")).is_err());
    }
}
