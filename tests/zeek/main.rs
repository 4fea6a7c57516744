//! Our conn.log beside those that Zeek's own tests publish for the same captures: who, how far, packets and bytes.
//!
//! Needs `../shared/captures`; says so when it is not there. `-- --nocapture` prints every difference.

#![expect(clippy::print_stdout, reason = "the table")]

mod compare;
mod known;
mod left_out;
mod log;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use compare::{Basis, Services, Tally, compare};
use log::{Connection, Log};

/// Share of the connections, in percent, that has to be equal.
const WANTED: f64 = 95.0;

/// Connections that Zeek alone names.
const NAMED_BY_ZEEK_ALONE: usize = 77;

/// A log of Zeek's: its name, its capture, how it is compared, and the result.
struct Compared {
    name: String,
    capture: String,
    basis: Basis,
    tally: Tally,
    left_out: Option<&'static str>,
}

#[test]
fn connections_are_equal_to_zeeks() {
    let captures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/captures");
    let captures = std::env::var_os("NTA_CAPTURES").map_or(captures, PathBuf::from);
    let Ok(index) = std::fs::read_to_string(captures.join("expected/INDEX.tsv")) else {
        nta_tests::not_run("zeek", &format!("{} is not there", captures.display()));
        return;
    };
    let opened = Path::new(env!("CARGO_TARGET_TMPDIR")).join("zeek-tunnels.toml");
    std::fs::write(&opened, "[capture]\ntunnels = true\n").expect("a configuration is written");
    let mut logs: Vec<Compared> =
        pairs(&captures, &index).into_iter().map(|(capture, log)| one(&captures, capture, &log, &opened)).collect();
    // Of several logs of a capture the one with the most columns stands for it.
    logs.sort_by(|a, b| (&a.capture, a.left_out.is_some(), a.basis).cmp(&(&b.capture, b.left_out.is_some(), b.basis)));
    for log in &logs {
        for difference in &log.tally.differences {
            println!("{} {}: {difference}", if is_held_out(&log.capture) { "held" } else { "seen" }, log.name);
        }
    }
    let share = report(&logs);
    services(&logs);
    let wrong = logs.iter().filter(|log| log.left_out.is_none()).filter_map(|log| {
        let differ = log.tally.connections - log.tally.equal;
        let known: usize = known::differences(&log.name).map(|(connections, _)| connections).sum();
        (differ != known).then(|| format!("{}: {differ} connections differ, {known} are known", log.name))
    });
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "see known.rs:\n{}", wrong.join("\n"));
    assert!(share >= WANTED, "only {share:.1} % of the connections are equal");
}

/// Services by each capture once: what both name must be the same, and what Zeek alone names may not become more. It is what has no
/// row here (tunnels, file transfers), what Zeek reads on to find, and a few connections whose first bytes do not say it.
fn services(logs: &[Compared]) {
    let mut captures = BTreeSet::new();
    let named = logs.iter().filter(|log| {
        let Services { same, different, theirs, ours } = log.tally.services;
        same + different + theirs + ours > 0 && captures.insert(&log.capture)
    });
    let mut sum = Tally::default();
    named.for_each(|log| sum.add(&log.tally));
    let Services { same, different, theirs, ours } = sum.services;
    println!("services: {same} the same, {different} different; named by Zeek alone {theirs}, by us alone {ours}");
    assert!(different == 0 && theirs <= NAMED_BY_ZEEK_ALONE, "services: {different} differ, {theirs} are Zeek's alone");
}

/// Prints all results, and returns the share of equal connections, each capture counted once.
fn report(logs: &[Compared]) -> f64 {
    let mut captures = BTreeSet::new();
    let firsts: Vec<&Compared> = logs.iter().filter(|log| captures.insert(&log.capture)).collect();
    let counted = |log: &&&Compared| log.left_out.is_none() && log.basis < Basis::Ends;
    let print = |what: &str, logs: Vec<&Compared>| {
        let mut sum = Tally::default();
        logs.iter().for_each(|log| sum.add(&log.tally));
        let whole = logs.iter().filter(|log| log.tally.equal == log.tally.connections).count();
        let Tally { connections, equal, .. } = sum;
        println!(
            "{what}: {equal} of {connections} connections ({:.1} %), {whole} of {} captures whole",
            sum.share(),
            logs.len()
        );
        sum
    };
    let sum = print("once a capture", firsts.iter().copied().filter(|log| counted(&log)).collect());
    for (column, [equal, all]) in &sum.by_column {
        println!("    {column}: {equal} of {all}");
    }
    println!("    reported here and not by Zeek: {}", sum.extra);
    for log in firsts.iter().filter(|log| log.left_out.is_none() && log.tally.extra != 0) {
        println!("        {}: {}", log.name, log.tally.extra);
    }
    for held in [false, true] {
        let half = firsts.iter().copied().filter(|log| counted(&log) && is_held_out(&log.capture) == held);
        print(if held { "  held out" } else { "  seen" }, half.collect());
    }
    let small = firsts.iter().copied().filter(|log| counted(&log) && log.tally.connections < 1_000);
    print("  without the largest", small.collect());
    let in_tunnels = firsts.iter().copied().filter(|log| counted(&log) && log.capture.contains("/tunnels/"));
    print("  in tunnels", in_tunnels.collect());
    let is_equal = |log: &&Compared| if counted(&log) { log.tally.equal } else { 0 };
    let part = |logs: &[&Compared]| {
        let all: usize = logs.iter().map(|log| log.tally.connections).sum();
        let equal: usize = logs.iter().map(is_equal).sum();
        format!("{equal} of {all} ({:.1} %)", 100.0 * equal as f64 / all as f64)
    };
    let compared: Vec<&Compared> =
        firsts.iter().copied().filter(|log| log.left_out.is_some() || counted(&log)).collect();
    println!("  with those left out as not equal: {}", part(&compared));
    println!("  with those that lack the columns as not equal too: {}", part(&firsts));
    print("every log", logs.iter().filter(|log| counted(&log)).collect());
    let mut bases: BTreeMap<Basis, [usize; 3]> = BTreeMap::new();
    for log in firsts.iter().filter(|log| log.left_out.is_none()) {
        let row = bases.entry(log.basis).or_default();
        *row = [row[0] + 1, row[1] + log.tally.connections, row[2] + log.tally.equal];
    }
    for (basis, [logs, connections, equal]) in bases {
        println!("by {}: {logs} captures, {connections} connections, {equal} equal", basis.as_str());
    }
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for (connections, reason) in firsts.iter().filter(|log| counted(log)).flat_map(|log| known::differences(&log.name))
    {
        *reasons.entry(reason).or_default() += connections;
    }
    for (reason, connections) in reasons {
        println!("differ: {connections}: {reason}");
    }
    for log in logs.iter().filter(|log| log.left_out.is_some()) {
        println!("left out: {}: {} connections: {}", log.name, log.tally.connections, log.left_out.unwrap_or_default());
    }
    sum.share()
}

/// Half of the captures, by the FNV-1a hash of their name: what was changed in the code was not chosen by them.
fn is_held_out(capture: &str) -> bool {
    let name = capture.rsplit('/').next().unwrap_or(capture);
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    name.bytes().fold(0xcbf2_9ce4_8422_2325, step) >> 32 & 1 == 1
}

/// Captures with their logs.
fn pairs(captures: &Path, index: &str) -> Vec<(String, PathBuf)> {
    let mut pairs = BTreeSet::new();
    for line in index.lines().skip(1) {
        let [capture, expected, kind] = line.split('\t').collect::<Vec<_>>()[..] else { continue };
        if !expected.starts_with("expected/zeek/") || !kind.contains("conn") {
            continue;
        }
        let Ok(entries) = std::fs::read_dir(captures.join(expected)) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let log = format!("{}/{name}", expected.trim_start_matches("expected/zeek/"));
            if name.starts_with("conn") && name.contains(".log") && !left_out::is_of_another(capture, &log) {
                pairs.insert((capture.to_owned(), entry.path()));
            }
        }
    }
    pairs.into_iter().collect()
}

/// Compares a log: one that has connections inside of tunnels with a replay that opens tunnels, any other with one that does
/// not.
fn one(captures: &Path, capture: String, path: &Path, opened: &Path) -> Compared {
    let name = path.strip_prefix(captures.join("expected/zeek")).expect("below it").display().to_string();
    let theirs = Log::read(&std::fs::read_to_string(path).expect("a log"), left_out::columns(&name));
    let basis = Basis::of(&theirs);
    let left_out = left_out::reason(&name);
    let mut tally = Tally::default();
    if left_out.is_some() {
        tally.connections = theirs.connections.len();
        return Compared { name, capture, basis, tally, left_out };
    }
    let opened = theirs.connections.iter().any(Connection::is_inner).then_some(opened);
    let ours = replay(&captures.join(&capture), opened);
    compare(basis, &theirs.connections, &ours.connections, &mut tally);
    Compared { name, capture, basis, tally, left_out }
}

fn replay(capture: &Path, config: Option<&Path>) -> Log {
    let daemon = std::env::var_os("NTA_DAEMON").map_or_else(daemon, PathBuf::from);
    let mut command = Command::new(&daemon);
    command.args(["replay", "--format", "zeek"]);
    if let Some(config) = config {
        command.arg("--config").arg(config);
    }
    let run = command.arg(capture).output();
    let run = run.unwrap_or_else(|error| panic!("{}: {error}; `cargo build` first", daemon.display()));
    Log::read(&String::from_utf8(run.stdout).expect("text"), None)
}

/// The binary beside the test's own.
fn daemon() -> PathBuf {
    let own = std::env::current_exe().expect("a path");
    own.ancestors().nth(2).expect("the profile's folder").join("nta-daemon")
}
