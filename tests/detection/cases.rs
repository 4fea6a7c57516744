//! Bundled cases with alerts: a folder of `tests/cases/` that has an `alerts.json` is replayed, and what must be raised
//! is, and what must not is not. What is expected is ground truth: what was done when the capture was made, never what
//! the daemon said.
//!
//! ```json
//! {"expect": [{"type": "port_scan", "source": "192.0.2.1", "destination": null}], "never": ["syn_flood"]}
//! ```
//!
//! `null` is nobody in particular, `"*"` many, a list any of them; a party that is left out is not compared, nor is `severity`. `"*"` in
//! `never` means nothing but what is expected, `"by slow_scan"` that this detector has found nothing.

use std::fs;
use std::path::{Path, PathBuf};

use nta_tests::case::{folders, input};
use nta_tests::daemon::run;
use serde_json::Value;

#[test]
fn every_case_raises_what_it_shows_and_nothing_that_it_must_not() {
    let with_alerts: Vec<PathBuf> =
        folders().into_iter().filter(|folder| folder.join("alerts.json").is_file()).collect();
    assert!(with_alerts.len() >= LEAST, "the cases are gone: {with_alerts:?}");
    let wrong: Vec<String> = nta_tests::pool::map(&with_alerts, |folder| check(folder)).into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is wrong with a case, a line each.
fn check(folder: &Path) -> Vec<String> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let path = folder.join("alerts.json");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let wanted: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (expect, never) = (list(&wanted, "expect", &path), list(&wanted, "never", &path));
    assert!(!(expect.is_empty() && never.is_empty()), "{}: nothing is said", path.display());
    let run = run(["replay".as_ref(), "--format".as_ref(), "json".as_ref(), input(folder).as_os_str()]);
    assert_eq!(run.status, Some(0), "{name}: {}", run.stderr);
    let raised = run.json()[0]["alerts"].as_array().expect("alerts").clone();
    let is_expected = |alert: &Value| expect.iter().any(|expected| matches(expected, alert));
    let mut wrong = Vec::new();
    for expected in expect.iter().filter(|expected| !raised.iter().any(|alert| matches(expected, alert))) {
        wrong.push(format!("{name}: no {expected} among {:?}", raised.iter().map(line).collect::<Vec<_>>()));
    }
    for alert in raised.iter().filter(|alert| !is_expected(alert)) {
        let by = |name: &str| alert["detectors"].as_array().is_some_and(|all| all.iter().any(|one| one == name));
        let forbids = |word: &str| word == "*" || alert["type"] == word || word.strip_prefix("by ").is_some_and(by);
        if never.iter().filter_map(Value::as_str).any(forbids) {
            wrong.push(format!("{name}: must not be raised: {}", line(alert)));
        }
    }
    wrong
}

fn list<'a>(wanted: &'a Value, key: &str, path: &Path) -> &'a [Value] {
    wanted[key].as_array().unwrap_or_else(|| panic!("{}: there is no list '{key}'", path.display()))
}

fn matches(expected: &Value, alert: &Value) -> bool {
    let party = |key: &str| match expected.get(key) {
        None => true,
        Some(Value::Array(any)) => any.contains(&alert[key]),
        Some(one) => *one == alert[key],
    };
    expected["type"] == alert["type"] && ["source", "destination", "severity"].into_iter().all(party)
}

fn line(alert: &Value) -> String {
    format!("{} {} -> {}: {}", alert["type"], alert["source"], alert["destination"], alert["why"]["summary"])
}

/// A hit and a quiet case for each of the seventeen kinds of alerts.
const LEAST: usize = 34;
