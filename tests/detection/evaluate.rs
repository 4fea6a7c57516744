//! `evaluate` over the labelled captures: how much is found, and how often it cries wolf.

use std::path::Path;

use nta_tests::capture_list::{ABSENT, captures};
use nta_tests::daemon::{Run, run};
use nta_tests::{not_run, root};
use serde_json::Value;

/// The attacks that the project promises to find.
const ATTACKS: [&str; 8] =
    ["portscan", "sshbrute", "slowloris", "arpspoof", "dnstunnel", "synflood", "udpflood", "icmpflood"];
const MIN_RECALL: f64 = 0.9;
/// Alerts of severity high or critical in an hour of benign traffic.
const MAX_HIGH_PER_HOUR: f64 = 1.0;
const HEADER: &str = "file\ttype\tattacker\tvictim\tattack_start\tattack_end\ttool\n";

#[test]
fn the_eight_attacks_are_found_and_benign_traffic_is_left_alone() {
    let Some(folder) = captures() else {
        return not_run("the_eight_attacks_are_found_and_benign_traffic_is_left_alone", ABSENT);
    };
    let run = evaluate(&root().join("tests/detection/labels.tsv"), &folder);
    assert_eq!(run.status, Some(0), "{}", run.stderr);
    let report = &run.json()[0];
    assert_eq!(report["failed"].as_object().map(serde_json::Map::len), Some(0), "not analysed: {}", report["failed"]);

    let mut wrong: Vec<String> = ATTACKS.into_iter().filter_map(|attack| missed(report, attack)).collect();
    let benign = &report["benign"];
    let (hours, high) = (number(&benign["hours"]), number(&benign["high_per_hour"]));
    assert!(hours > 60.0, "{hours} hours of benign traffic: the labels are not what they were");
    if high > MAX_HIGH_PER_HOUR {
        let alerts = benign["alerts"].as_array().expect("alerts").iter();
        let loud = alerts.filter(|alert| alert[2] == "high" || alert[2] == "critical").map(Value::to_string);
        wrong.push(format!("{high} loud alerts an hour:\n  {}", loud.collect::<Vec<_>>().join("\n  ")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is wrong with the recall of an attack.
fn missed(report: &Value, attack: &str) -> Option<String> {
    let scores = report["attacks"].as_array().expect("attacks");
    let Some(score) = scores.iter().find(|score| score["type"] == attack) else {
        return Some(format!("{attack}: no capture is labelled so"));
    };
    let recall = number(&score["recall"]);
    let misses = score["misses"].as_array().expect("misses").iter().filter_map(Value::as_str);
    (recall < MIN_RECALL).then(|| {
        let (found, all) = (&score["found"], &score["captures"]);
        format!("{attack}: found in {found} of {all}, missed in\n  {}", misses.collect::<Vec<_>>().join("\n  "))
    })
}

#[test]
fn labels_that_cannot_be_used_are_refused_in_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let empty = folder.path().join("captures");
    std::fs::create_dir(&empty).expect("a folder");
    let row = |row: &str| format!("{HEADER}{row}\n");
    for (text, says) in [
        (String::new(), "the file is empty"),
        (HEADER.replace("attacker\t", ""), "no column 'attacker'"),
        (row("a.pcap\tportscan\t192.0.2.1\t-\tyesterday\t2\t-"), "line 2: 'yesterday' is no Unix time"),
        (row("a.pcap\tportscan\tnobody\t-\t1\t2\t-"), "line 2: 'nobody' is neither"),
        (row("a.pcap\tportscan\t192.0.2.1\t-\t1\t2\t-"), "none of the labelled captures"),
    ] {
        let labels = folder.path().join("labels.tsv");
        std::fs::write(&labels, &text).expect("labels");
        refused(&evaluate_text(&labels, &empty), says);
    }
    let labels = folder.path().join("labels.tsv");
    refused(&evaluate_text(&labels, &folder.path().join("gone")), "gone: no such folder");
    refused(&evaluate_text(&folder.path().join("none.tsv"), &empty), "none.tsv: No such file");
}

/// Whoever compares figures must not compare those of other captures.
#[test]
fn a_labelled_capture_that_is_missing_is_an_error_unless_it_may_be() {
    let folder = tempfile::tempdir().expect("a folder");
    nta_tests::served::scan(&folder.path().join("here.pcap"));
    let labels = folder.path().join("labels.tsv");
    let rows = ["here", "gone"].map(|name| format!("{name}.pcap\tbenign\t-\t-\t-\t-\t-\n")).concat();
    std::fs::write(&labels, format!("{HEADER}{rows}")).expect("labels");
    let missing = evaluate_text(&labels, folder.path());
    let text = String::from_utf8_lossy(&missing.stdout).into_owned();
    assert!(missing.status == Some(2) && text.contains("benign: 1 captures"), "{missing:?}");
    assert!(missing.stderr.contains("1 of 2 labelled captures") && missing.stderr.contains("gone.pcap"), "{missing:?}");
    let allowed = run([
        "evaluate".as_ref(),
        "--allow-missing".as_ref(),
        "--labels".as_ref(),
        labels.as_os_str(),
        folder.path().as_os_str(),
    ]);
    assert!(allowed.status == Some(0) && allowed.stdout == missing.stdout, "{allowed:?}");
}

/// Status 2, and the reason in the last line of standard error.
fn refused(run: &Run, says: &str) {
    assert_eq!(run.status, Some(2), "{run:?}");
    assert!(run.stderr.contains(says) && run.stderr.lines().count() == 1, "{run:?}");
}

fn evaluate(labels: &Path, folder: &Path) -> Run {
    run([
        "evaluate".as_ref(),
        "--format".as_ref(),
        "json".as_ref(),
        "--labels".as_ref(),
        labels.as_os_str(),
        folder.as_os_str(),
    ])
}

fn evaluate_text(labels: &Path, folder: &Path) -> Run {
    run(["evaluate".as_ref(), "--labels".as_ref(), labels.as_os_str(), folder.as_os_str()])
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("no number: {value}"))
}
