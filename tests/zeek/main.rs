//! Our conn.log beside those that Zeek's own tests publish for the same captures: who, how far, packets and bytes.
//!
//! Needs `../shared/captures`; says so when it is not there. `-- --nocapture` prints every difference.

#![expect(clippy::print_stdout, reason = "the table")]

mod log;
mod skipped;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use log::{Connection, Log};

/// Fields that have to be equal.
const FIELDS: [&str; 5] = ["conn_state", "orig_pkts", "orig_ip_bytes", "resp_pkts", "resp_ip_bytes"];
/// Fields that are reported beside.
const BESIDE: [&str; 3] = ["orig_bytes", "resp_bytes", "history"];
/// Part of the connections that has to be equal.
const WANTED: f64 = 0.95;

#[derive(Default)]
struct Tally {
    connections: usize,
    equal: usize,
    /// Of the connections that are equal, how many are equal in a field that is reported beside.
    beside: BTreeMap<&'static str, usize>,
}

#[test]
fn connections_are_equal_to_zeeks() {
    let captures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/captures");
    let captures = std::env::var_os("NTA_CAPTURES").map_or(captures, PathBuf::from);
    let Ok(index) = std::fs::read_to_string(captures.join("expected/INDEX.tsv")) else {
        println!("not run: zeek: {} is not there", captures.display());
        return;
    };
    let mut all = Tally::default();
    let mut traces = 0;
    let mut left_out: BTreeMap<&str, usize> = BTreeMap::new();
    let mut whole_traces = 0;
    let mut compared = BTreeSet::new();
    for (capture, expected) in pairs(&captures, &index) {
        let name = expected.strip_prefix(captures.join("expected/zeek")).expect("below it").display().to_string();
        if let Some(reason) = skipped::reason(&capture, &name) {
            *left_out.entry(reason).or_default() += 1;
            continue;
        }
        let theirs = Log::read(&std::fs::read_to_string(&expected).expect("a log"));
        if !theirs.has(&FIELDS) || !theirs.has(&["id.orig_h", "id.resp_p", "proto"]) {
            *left_out.entry("the log lacks fields").or_default() += 1;
            continue;
        }
        if !compared.insert(capture.clone()) {
            *left_out.entry("another log of the same capture is compared").or_default() += 1;
            continue;
        }
        let ours = replay(&captures.join(&capture));
        let before = (all.connections, all.equal);
        compare(&name, &theirs, &ours, &mut all);
        traces += 1;
        whole_traces += usize::from(all.connections - before.0 == all.equal - before.1);
    }
    let part = all.equal as f64 / all.connections as f64;
    println!("{traces} logs, {whole_traces} of them equal in every connection");
    println!("{} of {} connections equal: {:.2} %", all.equal, all.connections, part * 100.0);
    for (field, equal) in &all.beside {
        println!("  {field}: {equal} of {} connections equal", all.connections);
    }
    for (reason, logs) in left_out {
        println!("left out: {logs} logs: {reason}");
    }
    assert!(part >= WANTED, "only {:.2} % of the connections are equal", part * 100.0);
}

/// Captures with their logs, one log for each capture and name.
fn pairs(captures: &Path, index: &str) -> Vec<(String, PathBuf)> {
    let mut pairs = Vec::new();
    for line in index.lines().skip(1) {
        let [capture, expected, kind] = line.split('\t').collect::<Vec<_>>()[..] else { continue };
        if !expected.starts_with("expected/zeek/") || !kind.contains("conn") {
            continue;
        }
        let Ok(entries) = std::fs::read_dir(captures.join(expected)) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("conn") && name.contains(".log") {
                pairs.push((capture.to_owned(), entry.path()));
            }
        }
    }
    pairs.sort();
    pairs
}

fn replay(capture: &Path) -> Log {
    let daemon = std::env::var_os("NTA_DAEMON").map_or_else(daemon, PathBuf::from);
    let run = Command::new(&daemon).args(["replay", "--format", "zeek"]).arg(capture).output();
    let run = run.unwrap_or_else(|error| panic!("{}: {error}; `cargo build` first", daemon.display()));
    Log::read(&String::from_utf8(run.stdout).expect("text"))
}

/// The binary beside the test's own.
fn daemon() -> PathBuf {
    let own = std::env::current_exe().expect("a path");
    own.ancestors().nth(2).expect("the profile's folder").join("nta-daemon")
}

fn compare(name: &str, theirs: &Log, ours: &Log, tally: &mut Tally) {
    let mut left: Vec<&Connection> = ours.connections.iter().collect();
    tally.connections += theirs.connections.len();
    // Equal ones first: several connections may share their addresses and ports.
    let (mut pairs, mut others) = (Vec::new(), Vec::new());
    for expected in &theirs.connections {
        let is_equal = |found: &&Connection| {
            found.begins_as(expected)
                && found.get("proto") == expected.get("proto")
                && FIELDS.iter().all(|field| found.get(field) == expected.get(field))
        };
        match left.iter().position(is_equal) {
            Some(at) => pairs.push((expected, left.remove(at))),
            None => others.push(expected),
        }
    }
    for expected in others {
        match left.iter().position(|found| found.is_between_the_ends_of(expected)) {
            Some(at) => pairs.push((expected, left.remove(at))),
            None => println!("{name}: missing {expected}"),
        }
    }
    for (expected, found) in pairs {
        let differences: Vec<String> = FIELDS
            .iter()
            .filter(|field| found.get(field) != expected.get(field))
            .map(|field| format!("{field} {} not {}", found.get(field), expected.get(field)))
            .chain((!found.begins_as(expected)).then(|| "turned round".to_owned()))
            .collect();
        for field in BESIDE {
            *tally.beside.entry(field).or_default() += usize::from(found.get(field) == expected.get(field));
        }
        if differences.is_empty() {
            tally.equal += 1;
        } else {
            println!(
                "{name}: {expected} history {} not {}: {}",
                found.get("history"),
                expected.get("history"),
                differences.join(", ")
            );
        }
    }
}
