//! Parity: every capture through the real program and through the same code in user space gives the same flows, field by
//! field, the same events in the same order, the same windows and the same ledger.
//!
//! Loading the program costs far more than most captures hold, so captures are replayed in batches, as one stream in the
//! order of their time. A batch that differs is replayed file by file, to name the captures.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use nta_tests::capture_list::{ABSENT, all, captures};
use nta_tests::case::{folders, input};
use nta_tests::daemon::{Run, run, without_model};
use nta_tests::{cases, not_run, pool};
use serde_json::Value;

use super::why_not;

/// Captures replayed by one process.
const BATCH: usize = 100;

/// A run as it is compared: events, windows and summary in order, the flows between two of them sorted, because no order
/// is promised there.
#[derive(Debug, Default, PartialEq)]
struct Story {
    parts: Vec<(Vec<String>, Value)>,
    /// Events with the number of windows that had been closed before.
    events: Vec<(usize, String)>,
}

#[test]
fn both_engines_agree_on_captures() {
    const NAME: &str = "both_engines_agree_on_captures";
    if let Some(reason) = why_not() {
        return not_run(NAME, &reason);
    }
    let mut paths: Vec<PathBuf> = folders().iter().map(|case| input(case)).collect();
    match captures() {
        Some(folder) => paths.extend(all(&folder).iter().map(|path| folder.join(path))),
        None => not_run(NAME, ABSENT),
    }
    let given = paths.len();
    let usable = in_time_order(&paths);
    let batches: Vec<&[PathBuf]> = usable.chunks(BATCH).collect();
    let results = pool::map(&batches, |batch| compare(batch, None));
    let mut wrong = Vec::new();
    let (mut flows, mut windows, mut events) = (0, 0, 0);
    for (batch, result) in batches.iter().zip(results) {
        match result {
            Ok([f, w, e]) => (flows, windows, events) = (flows + f, windows + w, events + e),
            Err(what) => wrong.push(blame(batch, &what)),
        }
    }
    println!(
        "{} of {given} captures have frames to compare: {flows} flows, {windows} windows, {events} events",
        usable.len()
    );
    assert!(wrong.is_empty(), "{} batches differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(usable.len() >= 4 && flows > 0 && windows > 0);
}

/// Tunnels and what is in them, as flows that name one another.
#[test]
fn both_engines_agree_on_what_lies_in_which_tunnel() {
    const NAME: &str = "both_engines_agree_on_what_lies_in_which_tunnel";
    if let Some(reason) = why_not() {
        return not_run(NAME, &reason);
    }
    let Some(collection) = captures() else { return not_run(NAME, ABSENT) };
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("nta.toml");
    fs::write(&config, "[capture]\ntunnels = true\n").expect("a configuration");
    let paths: Vec<PathBuf> =
        all(&collection).iter().filter(|path| path.contains("/tunnels/")).map(|path| collection.join(path)).collect();
    let usable = in_time_order(&paths);
    match compare(&usable, Some(&config)) {
        Ok([flows, windows, _]) => {
            println!("{} captures: {flows} flows, {windows} windows", usable.len());
            assert!(flows > 0 && windows > 0);
        }
        Err(what) => panic!("{what}"),
    }
}

/// Every third packet accounted, the head of every fifth of these reported, and limits that are met.
const SAMPLED: &str = "[capture]\nsample = 3\n[events]\nraw_packets = 5\ndns_per_second = 2\nraw_per_second = 3\n";

#[test]
fn both_engines_sample_and_limit_alike() {
    const NAME: &str = "both_engines_sample_and_limit_alike";
    if let Some(reason) = why_not() {
        return not_run(NAME, &reason);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("nta.toml");
    fs::write(&config, SAMPLED).expect("a configuration");
    let demo = cases().join("demo/input.pcap");
    if let Err(what) = compare(std::slice::from_ref(&demo), Some(&config)) {
        panic!("{what}");
    }
    let arguments = ["replay", "--format", "json", "--config"].map(OsStr::new);
    let run = run(arguments.into_iter().chain([config.as_os_str(), demo.as_os_str()]));
    let ledger = &run.json()[0]["ledger"];
    let count = |name: &str| ledger["total"][name].as_u64().unwrap_or_else(|| panic!("no {name} in {ledger}"));
    assert_eq!(ledger["balanced"], true, "{ledger}");
    assert_eq!(count("seen") / 3, count("seen") - count("sampled_out"), "{ledger}");
    let accounted = count("seen") - count("sampled_out");
    assert_eq!(count("event_raw") + count("event_raw_limited"), accounted / 5, "{ledger}");
    assert!(count("event_raw_limited") > 0, "{ledger}");
}

/// The captures that can be analysed, by the time of their first frame: read the other way round, most of their packets
/// would be late and share one window.
fn in_time_order(paths: &[PathBuf]) -> Vec<PathBuf> {
    let config = without_model();
    let first_time = |path: &PathBuf| {
        let flags = ["replay", "--format", "jsonl", "--config"].map(OsStr::new);
        let run = run(flags.into_iter().chain([config.as_os_str(), path.as_os_str()]));
        let lines = if run.is_read() { run.json() } else { Vec::new() };
        lines.last().and_then(|summary| summary["first_time"].as_str().map(str::to_owned))
    };
    let times = pool::map(paths, first_time);
    let mut usable: Vec<_> = times.into_iter().zip(paths).filter_map(|(time, path)| Some((time?, path))).collect();
    usable.sort();
    usable.into_iter().map(|(_, path)| path.clone()).collect()
}

/// Flows, windows and events compared, or what differs.
fn compare(batch: &[PathBuf], config: Option<&Path>) -> Result<[usize; 3], String> {
    let [kernel, user] = ["kernel", "user"].map(|engine| {
        let flags = ["replay", "--engine", engine, "--format", "jsonl", "--events"].map(OsStr::new);
        let config = config.iter().flat_map(|path| [OsStr::new("--config"), path.as_os_str()]);
        story(engine, &run(flags.into_iter().chain(config).chain(batch.iter().map(|path| path.as_os_str()))))
    });
    let (kernel, user) = (kernel?, user?);
    if kernel.parts.len() != user.parts.len() {
        return Err(format!("{} windows, user {}", kernel.parts.len() - 1, user.parts.len() - 1));
    }
    let differs = kernel.events.iter().zip(&user.events).find(|(kernel, user)| kernel != user);
    if let Some((kernel, user)) = differs {
        return Err(format!("kernel: {kernel:?}\n  user:   {user:?}"));
    }
    if kernel.events.len() != user.events.len() {
        return Err(format!("{} events, user {}", kernel.events.len(), user.events.len()));
    }
    for ((kernel_flows, kernel_end), (user_flows, user_end)) in kernel.parts.iter().zip(&user.parts) {
        if kernel_end != user_end {
            return Err(format!("kernel: {kernel_end}\n  user:   {user_end}"));
        }
        if let Some((kernel, user)) = kernel_flows.iter().zip(user_flows).find(|(kernel, user)| kernel != user) {
            return Err(format!("kernel: {kernel}\n  user:   {user}"));
        }
        if kernel_flows.len() != user_flows.len() {
            return Err(format!("{} flows, user {}", kernel_flows.len(), user_flows.len()));
        }
    }
    let flows = kernel.parts.iter().map(|(flows, _)| flows.len()).sum();
    Ok([flows, kernel.parts.len() - 1, kernel.events.len()])
}

/// Of the kernel's maps alone: how an entry came about.
const NOTES: [&str; 2] = ["flow_race", "flow_grown"];

fn story(engine: &str, run: &Run) -> Result<Story, String> {
    if !run.is_read() {
        return Err(format!("{engine}: status {:?}: {}", run.status, run.stderr));
    }
    let mut story = Story::default();
    let mut flows = Vec::new();
    for line in String::from_utf8_lossy(&run.stdout).lines() {
        if line.starts_with(r#"{"type":"flow""#) {
            flows.push(line.to_owned());
            continue;
        }
        if line.starts_with(r#"{"type":"dns""#) || line.starts_with(r#"{"type":"arp""#) {
            story.events.push((story.parts.len(), line.to_owned()));
            continue;
        }
        let mut end: Value = serde_json::from_str(line).map_err(|error| format!("{engine}: {error}: {line}"))?;
        if end["type"] == "summary" {
            if end["engine"].take() != engine {
                return Err(format!("not the engine that was asked for: {line}"));
            }
            end["elapsed_s"].take();
            end["ledger"]["interfaces"].take();
            NOTES.iter().for_each(|note| drop(end["ledger"]["total"][note].take()));
        } else {
            NOTES.iter().for_each(|note| drop(end["ledger"][note].take()));
        }
        flows.sort();
        story.parts.push((std::mem::take(&mut flows), end));
    }
    Ok(story)
}

/// Which captures of a batch differ by themselves.
fn blame(batch: &[PathBuf], what: &str) -> String {
    let single: Vec<String> = batch
        .iter()
        .filter_map(|path| Some(format!("{}:\n  {}", path.display(), compare(std::slice::from_ref(path), None).err()?)))
        .collect();
    if single.is_empty() {
        let paths: Vec<String> = batch.iter().map(|path| path.display().to_string()).collect();
        return format!("only together: {}:\n  {what}", paths.join(" "));
    }
    single.join("\n")
}
