//! `export --hourly`: DuckDB, which others wrote, reads what the other formats have.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nta_tests::daemon::run;
use nta_tests::netns::output;
use nta_tests::{cases, not_run, root};
use serde_json::Value;

/// What DuckDB answers to a query, a row an object.
fn asked(duckdb: &Path, query: &str) -> Vec<Value> {
    let answer = output(Command::new(duckdb).args(["-json", "-c", query]));
    assert!(answer.status.success(), "{query}: {}", String::from_utf8_lossy(&answer.stderr));
    serde_json::from_slice(&answer.stdout).expect("rows")
}

/// Rows and sums of packets by date and hour.
type Sums = BTreeMap<(String, String), (u64, u64)>;

/// Of the files of a table.
fn in_files(duckdb: &Path, folder: &Path, table: &str, packets: &str) -> Sums {
    let files = format!("{}/{table}/**/*.parquet", folder.display());
    let query = format!(
        "SELECT CAST(date AS VARCHAR) AS date, parse_filename(filename, true) AS hour, count(*) AS rows, \
         CAST(sum({packets}) AS BIGINT) AS packets, min(sensor) AS first, max(sensor) AS last \
         FROM read_parquet('{files}', hive_partitioning = true, filename = true) GROUP BY ALL"
    );
    let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok()).expect("a number");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let rows = asked(duckdb, &query).into_iter().map(|row| {
        assert_eq!((&row["first"], &row["last"]), (&"gw-1".into(), &"gw-1".into()));
        ((text(&row["date"]), text(&row["hour"])), (number(&row["rows"]), number(&row["packets"])))
    });
    rows.collect()
}

/// Of what the API says, by the time in this field.
fn in_export(database: &str, what: &[&str], time: &str, packets: &[&str]) -> Sums {
    let run = run(["export", "--database", database, "--format", "ndjson", "--what"].iter().chain(what));
    assert_eq!(run.status, Some(0), "{}", run.stderr);
    let mut sums = Sums::new();
    for item in run.json() {
        let time = item[time].as_str().expect("a time");
        let sum = sums.entry((time[..10].to_owned(), time[11..13].to_owned())).or_default();
        sum.0 += 1;
        sum.1 += packets.iter().map(|name| item[*name].as_u64().expect("a number")).sum::<u64>();
    }
    sums
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    for _level in 0..4 {
        found = found
            .iter()
            .flat_map(|folder| fs::read_dir(folder).expect("a folder"))
            .map(|file| file.expect("a file").path())
            .collect();
    }
    found.sort();
    found
}

#[test]
fn duckdb_reads_by_date_and_hour_what_the_api_has() {
    let duckdb = root().join(".duckdb/duckdb_cli/duckdb");
    if !duckdb.exists() {
        return not_run(
            "duckdb_reads_by_date_and_hour_what_the_api_has",
            "there is no DuckDB (`cargo xtask setup` fetches it)",
        );
    }
    let folder = tempfile::tempdir().expect("a folder");
    let database = format!("sqlite:{}", folder.path().join("nta.db").display());
    let config = folder.path().join("nta.toml");
    fs::write(&config, "[sensor]\nname = \"gw-1\"\n").expect("written");
    for case in ["beaconing-hit", "port_scan-hit", "dns_tunnel-hit"] {
        let inputs = fs::read_dir(cases().join(case)).expect("a case").map(|file| file.expect("a file").path());
        let input = inputs.filter(|file| file.to_string_lossy().contains("/input.")).min().expect("an input");
        let flags = ["replay", "--format", "jsonl", "--database", &database, "--config"].map(OsStr::new);
        let run = run(flags.into_iter().chain([config.as_os_str(), input.as_os_str()]));
        assert_eq!(run.status, Some(0), "{case}: {}", run.stderr);
    }
    let archive = folder.path().join("archive");
    let hourly = || {
        let run = run(["export", "--database", &database, "--hourly", archive.to_str().expect("text")]);
        assert_eq!(run.status, Some(0), "{}", run.stderr);
        run.stderr
    };
    hourly();
    let windows = in_files(&duckdb, &archive, "windows", "packets");
    assert_eq!(windows, in_export(&database, &["windows", "--span", "5"], "start", &["packets"]));
    let flows = in_files(&duckdb, &archive, "flows", "orig_packets + resp_packets");
    assert_eq!(flows, in_export(&database, &["flows"], "last_time", &["orig_packets", "resp_packets"]));
    assert!(windows.len() > 2 && flows.len() > 2, "{windows:?}");

    // What is there stays; what is missing, or was cut off by a kill, is written.
    let before = files(&archive);
    let times = |files: &[PathBuf]| {
        files.iter().map(|file| file.metadata().and_then(|about| about.modified()).expect("a time")).collect::<Vec<_>>()
    };
    let kept = times(&before[1..]);
    fs::remove_file(&before[0]).expect("removed");
    let part = before[1].with_extension("part");
    fs::write(&part, "PAR1").expect("written");
    let said = hourly();
    assert!(said.contains("1 files written"), "{said}");
    assert!(!part.exists());
    assert_eq!(files(&archive), before);
    assert_eq!(times(&before[1..]), kept);
    assert_eq!(in_files(&duckdb, &archive, "flows", "orig_packets + resp_packets"), flows);
}
