//! Bundled captures: `tests/cases/<name>/` holds input.pcap or input.pcapng (or one of them with .gz), expected.json and
//! a README.md with the provenance. A new folder is a new test; what is expected comes from Wireshark's tools, never from
//! our own output: `UPDATE=1 cargo test -p nta-tests --test replay cases` writes every expected.json anew with tshark and
//! capinfos. A case about alerts alone, as of packets that belong to no conversation, has none. Alerts, where a case says
//! something about them, are the test `detection`'s.

use std::fs;
use std::path::Path;

use nta_tests::case::{folders, input};
use nta_tests::conversations::Conversations;
use nta_tests::daemon::run;
use nta_tests::tshark::{Tshark, capinfos};
use nta_tests::{installed, not_run};
use serde_json::{Value, json};

#[test]
fn every_case_gives_what_is_expected() {
    let folders = folders();
    assert!(folders.len() >= 4, "the cases are gone: {folders:?}");
    for folder in folders {
        let readme = fs::read_to_string(folder.join("README.md")).expect("README.md");
        for part in ["Source", "Licence", "SHA-256"] {
            assert!(readme.contains(part), "{}: the README has no {part}", folder.display());
        }
        if is_about_alerts_alone(&folder) {
            continue;
        }
        let text = fs::read_to_string(folder.join("expected.json")).unwrap_or_default();
        let expected = if std::env::var_os("UPDATE").is_some() { update(&folder) } else { read(&folder, &text) };
        let input = input(&folder);
        let run = run(["replay".as_ref(), "--format".as_ref(), "jsonl".as_ref(), input.as_os_str()]);
        let status = if folder.ends_with("cut-off") { 3 } else { 0 };
        assert_eq!(run.status, Some(status), "{run:?}");
        let lines = run.json();
        let summary = lines.last().expect("summary");
        assert_eq!(summary["ledger"]["balanced"], true, "{}", folder.display());
        let found = json!({
            "packets": summary["packets"], "bytes": summary["bytes"],
            "conversations": Conversations::of_replay(&lines).to_json(),
        });
        assert_eq!(found, expected, "{}", folder.display());
    }
}

#[test]
fn what_is_expected_is_what_tshark_says() {
    if !installed("tshark") || !installed("capinfos") {
        return not_run("what_is_expected_is_what_tshark_says", "tshark or capinfos is not installed");
    }
    for folder in folders().into_iter().filter(|folder| !is_about_alerts_alone(folder)) {
        let text = fs::read_to_string(folder.join("expected.json")).expect("expected.json");
        assert_eq!(read(&folder, &text), expectation(&folder), "{}", folder.display());
    }
}

fn is_about_alerts_alone(folder: &Path) -> bool {
    folder.join("alerts.json").exists() && !folder.join("expected.json").exists()
}

fn read(folder: &Path, text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{}/expected.json: {error}", folder.display()))
}

/// What Wireshark's tools say.
fn expectation(folder: &Path) -> Value {
    let input = input(folder);
    let conversations = Tshark::read(&input).exact.to_json();
    let name = input.file_name().expect("name").to_string_lossy().into_owned();
    let all = capinfos(folder, std::slice::from_ref(&name)).remove(&name).expect("capinfos counts it");
    json!({ "packets": all.packets, "bytes": all.bytes, "conversations": conversations })
}

fn update(folder: &Path) -> Value {
    let expected = expectation(folder);
    // A conversation a line, so that a change can be read.
    let text = expected.to_string().replace("{\"a\"", "\n  {\"a\"").replace("}],", "}\n],\n") + "\n";
    fs::write(folder.join("expected.json"), text).expect("write");
    expected
}
