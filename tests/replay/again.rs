//! Captures replayed into a database: together one analysis, stored once, and once more beside it only when that is asked for.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nta_tests::daemon::{Run, run};
use nta_tests::packet::{ethernet, ipv4, udp};
use nta_tests::pcap::{ETHERNET, Frame, pcap};
use nta_tests::{installed, not_run, root};
use serde_json::Value;

const TABLES: [&str; 6] = ["windows", "flows", "detected_alerts", "anomalies", "aggregated_features", "window_hours"];

/// Lines that another program reads out of the database.
fn lines(database: &Path, sql: &str) -> Vec<String> {
    let output = Command::new("sqlite3").arg(database).arg(sql).output().expect("sqlite3");
    assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

fn number(database: &Path, sql: &str) -> u64 {
    lines(database, sql)[0].parse().expect("a number")
}

/// Every row of a run.
fn rows(database: &Path, run: &str) -> Vec<Vec<String>> {
    TABLES.iter().map(|table| lines(database, &format!("SELECT * FROM {table} WHERE run_id = {run}"))).collect()
}

fn count(database: &Path) -> Vec<u64> {
    TABLES.iter().map(|table| number(database, &format!("SELECT count(*) FROM {table}"))).collect()
}

#[test]
fn captures_are_one_analysis_that_is_stored_once_and_again_beside_it() {
    if !installed("sqlite3") || !installed("sha256sum") {
        return not_run(
            "captures_are_one_analysis_that_is_stored_once_and_again_beside_it",
            "sqlite3 or sha256sum is not installed",
        );
    }
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("nta.db");
    let captures = ["port_scan-hit", "demo"].map(|case| nta_tests::case::input(&root().join("tests/cases").join(case)));
    let replay = |more: &[&str]| -> Run {
        let url = format!("sqlite:{}", database.display());
        let mut args: Vec<PathBuf> = ["replay", "--format", "jsonl", "--database", &url].map(PathBuf::from).to_vec();
        args.extend(more.iter().map(PathBuf::from));
        args.extend(captures.clone());
        let run = run(args);
        assert_eq!(run.status, Some(0), "{}", run.stderr);
        run
    };
    let first = replay(&[]);
    let flows: BTreeSet<String> =
        first.json().iter().filter(|line| line["type"] == "flow").map(|line| line["id"].to_string()).collect();
    assert!(flows.len() > 100, "{} flows", flows.len());
    let runs = lines(&database, "SELECT id FROM runs WHERE end_reason = 'completed' AND analysis IS NOT NULL");
    assert_eq!(runs.len(), 1);
    let kept = rows(&database, &runs[0]);
    let stored = count(&database);
    assert_eq!(stored[1], flows.len() as u64, "every flow of both captures is stored");
    assert!(stored[..5].iter().all(|rows| *rows > 0), "{stored:?}");
    assert_eq!(kept.iter().map(|rows| rows.len() as u64).collect::<Vec<_>>(), stored, "all of it by the one run");
    let listed =
        lines(&database, "SELECT a.sha256 FROM analysis_captures a JOIN runs r USING (analysis) ORDER BY position");
    let mut sums = Command::new("sha256sum");
    let sums = String::from_utf8(sums.args(&captures).output().expect("sha256sum").stdout).expect("text");
    let sums: Vec<&str> = sums.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(listed, sums, "the analysis lists both captures");

    let second = replay(&[]);
    assert_eq!(count(&database), stored, "the second time nothing is stored");
    assert_eq!(second.json().len(), first.json().len(), "and the answer is the same");

    replay(&["--again"]);
    assert_eq!(rows(&database, &runs[0]), kept, "no row of the first run is changed");
    let twice: Vec<u64> = stored.iter().map(|rows| rows * 2).collect();
    assert_eq!(count(&database), twice, "the second run stands beside it");
    for (table, what) in [("flows", "flows"), ("detected_alerts", "alerts")] {
        let shared = format!("SELECT count(*) FROM {table} a JOIN {table} b ON a.id = b.id AND a.run_id < b.run_id");
        assert_eq!(number(&database, &shared), 0, "{what} of two runs never share an identity");
    }
}

#[test]
fn a_replay_that_is_stopped_says_so_and_is_no_analysis_of_the_whole() {
    const NAME: &str = "a_replay_that_is_stopped_says_so_and_is_no_analysis_of_the_whole";
    if !installed("sqlite3") {
        return not_run(NAME, "sqlite3 is not installed");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let database = folder.path().join("nta.db");
    let capture = nta_tests::case::input(&root().join("tests/cases/port_scan-hit"));
    let url = format!("sqlite:{}", database.display());
    let args = |more: &[&str]| {
        let mut args: Vec<PathBuf> = ["replay", "--format", "json", "--database", &url].map(PathBuf::from).to_vec();
        args.extend(more.iter().map(PathBuf::from));
        args.push(capture.clone());
        args
    };
    // At a ten-thousandth of its pace it would take hours.
    let mut command = Command::new(nta_tests::daemon::daemon());
    command.args(args(&["--speed", "0.0001"])).env_remove("NTA_CONFIG").env_remove("NTA_DATABASE");
    let paced = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the daemon starts");
    nta_tests::netns::wait_for("the run", Duration::from_secs(60), || {
        let runs = Command::new("sqlite3").arg(&database).arg("SELECT count(*) FROM runs").output().ok()?;
        (runs.stdout.trim_ascii() == b"1").then_some(())
    });
    assert!(Command::new("kill").args(["-TERM", &paced.id().to_string()]).status().expect("kill").success());
    let ended = paced.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(3), "{said}");
    assert!(said.contains("stopped before the end"), "{said}");
    let part: Value = serde_json::from_slice(&ended.stdout).expect("a document");
    assert_eq!(part["captures"][0]["end"], "stopped");
    assert_eq!(part["packets"], part["ledger"]["total"]["seen"]);

    let run = run(args(&[]));
    assert_eq!(run.status, Some(0), "{}", run.stderr);
    let whole = run.json().remove(0);
    assert_eq!(whole["captures"][0]["end"], "complete");
    assert!(part["packets"].as_u64() < whole["packets"].as_u64(), "it is analysed, not answered from the part");
}

#[test]
fn a_capture_that_grows_while_it_is_read_is_not_known_by_its_beginning() {
    const NAME: &str = "a_capture_that_grows_while_it_is_read_is_not_known_by_its_beginning";
    if !installed("sqlite3") {
        return not_run(NAME, "sqlite3 is not installed");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (database, capture) = (folder.path().join("nta.db"), folder.path().join("grows.pcap"));
    let frame = |second| Frame::at(second, ethernet(0x0800, &ipv4(17, &[], 0, &udp(b"hello"))));
    let whole = pcap(ETHERNET, &(0..=8).map(frame).collect::<Vec<_>>());
    let beginning = pcap(ETHERNET, &(0..=6).map(frame).collect::<Vec<_>>()).len();
    std::fs::write(&capture, &whole[..beginning]).expect("a capture");
    let url = format!("sqlite:{}", database.display());
    let args = |speed: &str| {
        let mut args = ["replay", "--format", "json", "--database", &url, "--speed", speed].map(PathBuf::from).to_vec();
        args.push(capture.clone());
        args
    };
    let mut command = Command::new(nta_tests::daemon::daemon());
    command.args(args("1")).env_remove("NTA_CONFIG").env_remove("NTA_DATABASE");
    let paced = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the daemon starts");
    nta_tests::netns::wait_for("the run", Duration::from_secs(60), || {
        let runs = Command::new("sqlite3").arg(&database).arg("SELECT count(*) FROM runs").output().ok()?;
        (runs.stdout.trim_ascii() == b"1").then_some(())
    });
    std::fs::write(&capture, &whole).expect("a capture that has grown");
    let ended = paced.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.code().is_some() && said.contains("changed while it was read"), "{said}");

    // Neither what it was nor what it is now was analysed under its own hash.
    std::fs::write(&capture, &whole[..beginning]).expect("a capture");
    for _ in 0..2 {
        let run = run(args("max"));
        assert_eq!(run.status, Some(0), "{}", run.stderr);
        assert_eq!(run.json()[0]["packets"], 7);
    }
    let ends = lines(&database, "SELECT end_reason FROM runs ORDER BY id");
    assert_eq!(ends[..2], ["stopped", "completed"], "and the third time it is known: {ends:?}");
    assert_eq!(number(&database, "SELECT count(DISTINCT run_id) FROM windows"), 2);
}
