//! Captures replayed into a database: together one analysis, stored once, and once more beside it only when that is asked for.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use nta_tests::daemon::{Run, run};
use nta_tests::{installed, not_run, root};

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
