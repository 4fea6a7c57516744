//! cargo-nextest: its summary line for the counts, its JUnit file for what passing tests said.

use std::fs;
use std::process::ExitStatus;

use anyhow::{Context, Result};

use super::not_run;
use crate::report::Group;
use crate::{host, process};

/// Runs `cargo nextest run` with these arguments and adds its counts to the group.
pub(super) fn run(group: Group, args: &[&str], set: &[(&str, &str)]) -> Result<Group> {
    // Below the checkout even if cargo's target directory is elsewhere.
    let report = host::root().join("target/nextest/default/junit.xml");
    if report.exists() {
        fs::remove_file(&report).context("cannot remove the report of an earlier run")?;
    }
    let mut command = process::cargo(["nextest", "run", "--no-fail-fast", "--no-tests=pass", "--color=never"]);
    command.args(args).env("NTA_DAEMON", super::daemon()).envs(set.iter().copied());
    let mut counts = None;
    let status = process::lines(&mut command, |line| {
        eprintln!("{line}");
        counts = Counts::of(line).or(counts);
    })?;
    let report = fs::read_to_string(&report).unwrap_or_default();
    Ok(conclude(group, status, counts, &report))
}

/// What the summary line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counts {
    run: usize,
    passed: usize,
    skipped: usize,
}

impl Counts {
    /// From `Summary [   1.2s] 9 tests run: 8 passed (1 slow), 1 failed, 2 skipped`.
    fn of(line: &str) -> Option<Self> {
        let (_, rest) = line.trim_start().strip_prefix("Summary [")?.split_once(']')?;
        let (run, counts) = rest.split_once(" run: ")?;
        let number = |text: &str| text.split([' ', '/']).find_map(|word| word.parse().ok());
        let count = |what: &str| counts.split(", ").find(|part| part.contains(what)).and_then(number).unwrap_or(0);
        Some(Self { run: number(run)?, passed: count(" passed"), skipped: count(" skipped") })
    }
}

fn conclude(mut group: Group, status: ExitStatus, counts: Option<Counts>, report: &str) -> Group {
    let Some(counts) = counts else {
        let why = format!("cargo nextest ended with {status} and without a summary, see above");
        return if status.success() { group } else { group.fail(&why) };
    };
    if counts.run > 0 && report.is_empty() {
        group = group.fail("nextest left no JUnit report, so what was not run is unknown");
    }
    let mut partial = 0;
    for test in report.split("<testcase ").skip(1) {
        let name = test.split_once("name=\"").and_then(|(_, rest)| rest.split('"').next()).unwrap_or("?");
        if test.contains("<failure") || test.contains("<error") {
            group.failures.push(unescape(name));
            continue;
        }
        if test.contains("<flakyFailure") || test.contains("<flakyError") {
            group.second_try.push(unescape(name));
        }
        let reasons: Vec<String> = test.lines().map(unescape).filter_map(|l| not_run(&l).map(str::to_owned)).collect();
        partial += usize::from(!reasons.is_empty());
        group.not_run.extend(reasons);
    }
    if counts.skipped > 0 {
        group.not_run.push(format!("{}: {} tests are marked #[ignore]", group.name, counts.skipped));
    }
    group.passed += counts.passed.saturating_sub(partial);
    group.failed += counts.run.saturating_sub(counts.passed);
    group.skipped += counts.skipped + partial;
    if !status.success() && counts.run == counts.passed {
        return group.fail(&format!("cargo nextest ended with {status}, see above"));
    }
    group
}

/// The text of an XML fragment, without the tag that may open it.
fn unescape(text: &str) -> String {
    let text = text.rsplit_once("<system-out>").or_else(|| text.rsplit_once("<system-err>")).map_or(text, |(_, t)| t);
    let text = text.split("</system-").next().unwrap_or(text);
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'").replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::{Counts, conclude};
    use crate::report::Group;

    #[test]
    fn the_summary_line_is_read() {
        let counts = |line| Counts::of(line).map(|c| (c.run, c.passed, c.skipped));
        assert_eq!(counts("     Summary [   0.015s] 3 tests run: 3 passed, 0 skipped"), Some((3, 3, 0)));
        let slow = "     Summary [  12.0s] 9 tests run: 7 passed (1 slow), 1 failed, 1 timed out, 2 skipped";
        assert_eq!(counts(slow), Some((9, 7, 2)));
        assert_eq!(counts("     Summary [   0.1s] 1 test run: 1 passed, 0 skipped"), Some((1, 1, 0)));
        assert_eq!(counts("        PASS [   0.005s] xtask::bin/xtask a"), None);
    }

    #[test]
    fn what_passing_tests_did_not_run_is_not_passed() {
        let report = "<testcase name=\"a::b\" classname=\"x\" time=\"0.1\">\n<system-out>not run: b: no &lt;netns&gt;\n\
                      not run: b: no veth</system-out>\n</testcase>\n\
                      <testcase name=\"c\" classname=\"x\">\n<failure type=\"test failure\"/>\n</testcase>\n\
                      <testcase name=\"d\" classname=\"x\"/>\n\
                      <testcase name=\"e\" classname=\"x\">\n<flakyFailure type=\"test failure\"/>\n</testcase>";
        let counts = Counts { run: 4, passed: 3, skipped: 1 };
        let status = Command::new("false").status().unwrap();
        let group = conclude(Group::new("unit"), status, Some(counts), report);
        assert_eq!((group.passed, group.failed, group.skipped), (2, 1, 2));
        assert_eq!(group.failures, ["c"]);
        assert_eq!(group.second_try, ["e"]);
        assert_eq!(group.not_run, ["b: no <netns>", "b: no veth", "unit: 1 tests are marked #[ignore]"]);
    }

    #[test]
    fn a_build_that_fails_is_a_failure() {
        let status = Command::new("false").status().unwrap();
        assert_eq!(conclude(Group::new("unit"), status, None, "").failed, 1);
    }
}
