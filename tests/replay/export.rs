//! `--format csv` and `--format eve`, and `export` of what a replay stored.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use nta_tests::cases;
use nta_tests::daemon::{Run, run};
use nta_tests::eve::strange;
use serde_json::Value;
use tempfile::TempDir;

fn replay(more: &[&str], capture: &Path) -> Run {
    let run = run(["replay".as_ref()].into_iter().chain(more.iter().map(AsRef::as_ref)).chain([capture.as_os_str()]));
    assert_eq!(run.status, Some(0), "{run:?}");
    run
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("text")
}

fn events(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON object a line")).collect()
}

#[test]
fn eve_has_an_event_for_each_flow_window_alert_and_dns_message() {
    let capture = cases().join("dns_tunnel-hit/input.pcap");
    let document: Value = serde_json::from_slice(&replay(&["--format", "json"], &capture).stdout).expect("a document");
    let lines = text(replay(&["--format", "jsonl", "--events"], &capture).stdout);
    let dns: Vec<Value> = events(&lines).into_iter().filter(|line| line["type"] == "dns").collect();
    let eve = events(&text(replay(&["--format", "eve"], &capture).stdout));
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for event in &eve {
        *counts.entry(event["event_type"].as_str().expect("a type")).or_default() += 1;
        assert_eq!(strange(event), [""; 0], "{event}");
    }
    let items = |name: &str| document[name].as_array().expect("a list").len();
    assert_eq!(counts["flow"] as u64, document["flows"].as_u64().expect("flows"));
    assert_eq!((counts["stats"], counts["alert"]), (items("windows"), items("alerts")));
    let questions = |message: &Value| message["questions"].as_array().map_or(0, Vec::len);
    let answers = dns.iter().filter(|message| message["response"] == true).count();
    let queries: usize = dns.iter().filter(|message| message["response"] == false).map(questions).sum();
    let of = |kind: &str| eve.iter().filter(|event| event["dns"]["type"] == kind).count();
    assert!(answers > 0 && queries > 0);
    assert_eq!((of("answer"), of("query")), (answers, queries));
    // An answer comes from the server; the counters end at what was read.
    let answer = eve.iter().find(|event| event["dns"]["type"] == "answer").expect("an answer");
    assert_eq!((&answer["src_port"], &answer["proto"]), (&53.into(), &"UDP".into()), "{answer}");
    let last = eve.iter().rfind(|event| event["event_type"] == "stats").expect("statistics");
    assert_eq!(last["stats"]["decoder"]["pkts"], document["packets"]);
}

/// The names of a table and how many rows it has; the first cell of each row is in front of the first comma.
fn shape(table: &str) -> (Vec<String>, usize) {
    let mut lines = table.lines();
    (lines.next().expect("names").split(',').map(str::to_owned).collect(), lines.count())
}

#[test]
fn csv_is_a_table_of_flows_and_in_a_folder_of_windows_and_alerts_too() {
    let capture = cases().join("port_scan-hit/input.pcap");
    let document: Value = serde_json::from_slice(&replay(&["--format", "json"], &capture).stdout).expect("a document");
    let flows = text(replay(&["--format", "csv"], &capture).stdout);
    let (names, rows) = shape(&flows);
    assert_eq!(rows as u64, document["flows"].as_u64().expect("flows"));
    assert!(["source", "tcp_orig_syn", "community_id"].iter().all(|name| names.iter().any(|n| n == name)), "{names:?}");

    let folder = TempDir::new().expect("folder");
    let to = folder.path().join("tables");
    replay(&["--format", "csv", "--output", to.to_str().expect("text")], &capture);
    let read = |name: &str| fs::read_to_string(to.join(name)).expect(name);
    assert_eq!(read("flows.csv"), flows, "the same as on standard output");
    let rows = |name: &str| shape(&read(name)).1;
    let items = |name: &str| document[name].as_array().expect("a list").len();
    assert_eq!((rows("windows.csv"), rows("alerts.csv")), (items("windows"), items("alerts")));
}

#[test]
fn what_a_replay_stored_is_exported_by_the_same_columns() {
    let capture = cases().join("port_scan-hit/input.pcap");
    let folder = TempDir::new().expect("folder");
    let database = format!("sqlite:{}", folder.path().join("nta.db").display());
    let flows = text(replay(&["--format", "csv", "--database", &database], &capture).stdout);
    let export = |more: &[&str]| run(["export", "--database", &database].iter().chain(more));
    let whole = export(&["--what", "flows", "--format", "csv"]);
    assert_eq!(whole.status, Some(0), "{whole:?}");
    assert_eq!(shape(&text(whole.stdout)), shape(&flows));

    let file = folder.path().join("alerts.json");
    let written = export(&["--what", "alerts", "--format", "eve", "--output", file.to_str().expect("text")]);
    assert_eq!((written.status, written.stdout.len()), (Some(0), 0), "{written:?}");
    let alerts = events(&fs::read_to_string(&file).expect("the file"));
    assert!(alerts.iter().any(|event| event["alert"]["metadata"]["nta_kind"][0] == "port_scan"), "{alerts:?}");

    let parquet = export(&["--what", "features", "--format", "parquet"]).stdout;
    assert!(parquet.starts_with(b"PAR1") && parquet.ends_with(b"PAR1"), "{} bytes", parquet.len());

    for (more, status, says) in [
        (["--what", "flows", "--severity", "high"], 2, "severity"),
        (["--what", "windows", "--from", "yesterday"], 2, "from: `yesterday`"),
        (["--what", "features", "--format", "eve"], 2, "no event for feature vectors"),
        (["--what", "flows", "--output", "/nowhere/at/all"], 1, "/nowhere/at/all"),
    ] {
        let refused = export(&more);
        assert!(refused.status == Some(status) && refused.stderr.contains(says), "{refused:?}");
    }
    let absent = folder.path().join("absent.db");
    let refused = run(["export", "--what", "flows", "--database", &format!("sqlite:{}", absent.display())]);
    assert!(refused.status == Some(2) && refused.stderr.contains("absent.db"), "{refused:?}");
    assert!(!absent.exists(), "an export makes no database");
}

#[test]
fn what_is_anonymized_counts_the_same_under_other_addresses() {
    let capture = cases().join("port_scan-hit/input.pcap");
    let folder = TempDir::new().expect("folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let anonymize = |output: &str| {
        let capture = capture.display().to_string();
        run(["anonymize", "--key", &path("key"), &capture, "--output", &path(output)])
    };
    let first = anonymize("shown.pcap");
    assert_eq!(first.status, Some(0), "{first:?}");
    let document = |path: &Path| -> Value {
        serde_json::from_slice(&replay(&["--format", "json"], path).stdout).expect("a document")
    };
    let (before, after) = (document(&capture), document(&folder.path().join("shown.pcap")));
    for field in ["packets", "bytes", "flows"] {
        assert_eq!(before[field], after[field], "{field}");
    }
    let scan = |document: &Value| {
        let alerts = document["alerts"].as_array().expect("alerts").iter();
        let scan = alerts.clone().find(|alert| alert["type"] == "port_scan").expect("a scan").clone();
        (scan["source"].as_str().expect("a source").to_owned(), scan["why"]["observed"].clone())
    };
    let ((source, observed), (other, same)) = (scan(&before), scan(&after));
    assert_eq!(observed, same, "the scan is found again");
    assert!(source != other && !after.to_string().contains(&source), "{source} in {other}");

    assert_eq!(anonymize("again.pcap").status, Some(0));
    let bytes = |name: &str| fs::read(folder.path().join(name)).expect("the file");
    assert_eq!(bytes("shown.pcap"), bytes("again.pcap"), "the same key gives the same addresses");
    let refused = anonymize("again.pcap");
    assert!(refused.status == Some(2) && refused.stderr.contains("again.pcap"), "{refused:?}");

    let database = format!("sqlite:{}", path("nta.db"));
    replay(&["--database", &database], &capture);
    let export = ["export", "--database", &database, "--what", "alerts", "--anonymize-key", &path("key")];
    let exported = run(export);
    let text = text(exported.stdout);
    assert!(exported.status == Some(0) && text.contains(&other) && !text.contains(&source), "{text:.300}");
}
