//! TCP and UDP conversations against tshark: addresses, ports, packets and bytes each way.

use std::path::Path;

use nta_tests::capture_list::{ABSENT, all, captures};
use nta_tests::conversations::Conversations;
use nta_tests::daemon::run;
use nta_tests::tshark::Tshark;
use nta_tests::{installed, not_run, pool};

/// Captures that must agree; what was left out, and why, is in docs/TESTING.md.
const LIST: &str = include_str!("conversations.txt");

#[test]
fn conversations_equal_those_of_tshark() {
    const NAME: &str = "conversations_equal_those_of_tshark";
    let Some(folder) = captures() else { return not_run(NAME, ABSENT) };
    if !installed("tshark") {
        return not_run(NAME, "tshark is not installed");
    }
    let listed: Vec<String> = LIST.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
    assert!(listed.len() >= 40, "the list has shrunk to {}", listed.len());
    let (compared, wrong) = compare(&folder, &listed);
    println!("{} captures, {compared} conversations", listed.len());
    assert!(wrong.is_empty(), "{} captures differ:\n{}", wrong.len(), wrong.join("\n"));

    // NTA_CONVERSATIONS=all: what the numbers in docs/TESTING.md come from; takes ten minutes.
    if std::env::var_os("NTA_CONVERSATIONS").is_some_and(|which| which == "all") {
        let all = all(&folder);
        let (compared, wrong) = compare(&folder, &all);
        println!("{} captures, {compared} conversations, {} differ:\n{}", all.len(), wrong.len(), wrong.join("\n"));
    }
}

/// Conversations compared, and the captures in which some differ.
fn compare(folder: &Path, paths: &[String]) -> (usize, Vec<String>) {
    let results = pool::map(paths, |path| {
        let file = folder.join(path);
        let run = run(["replay".as_ref(), "--format".as_ref(), "jsonl".as_ref(), file.as_os_str()]);
        if !run.is_read() {
            return (0, Some(format!("{path}: {}", run.stderr)));
        }
        let ours = Conversations::of_replay(&run.json());
        let differences = Tshark::read(&file).differences(&ours);
        (ours.0.len(), (!differences.is_empty()).then(|| format!("{path}: {}", differences.join("\n  "))))
    });
    (results.iter().map(|(count, _)| count).sum(), results.into_iter().filter_map(|(_, wrong)| wrong).collect())
}
