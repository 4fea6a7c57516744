//! cargo's own test runner, and what its output says.

use std::collections::BTreeSet;
use std::process::ExitStatus;

use anyhow::Result;

use super::not_run;
use crate::process;
use crate::report::Group;

/// Runs `cargo test` with these arguments and adds its counts to the group.
pub(super) fn run(group: Group, args: &[&str], set: &[(&str, &str)]) -> Result<Group> {
    let mut command = process::cargo(["test", "--no-fail-fast"]);
    // `--show-output` prints what passing tests said, and so what they did not run.
    command.args(args).args(["--", "--show-output"]).env("NTA_DAEMON", super::daemon()).envs(set.iter().copied());
    let mut reader = Reader::default();
    let status = process::lines(&mut command, |line| {
        eprintln!("{line}");
        reader.read(line);
    })?;
    Ok(reader.conclude(group, status))
}

/// Reads the runner's output line by line.
#[derive(Default)]
struct Reader {
    passed: usize,
    failed: usize,
    ignored: usize,
    /// The test whose output is being printed.
    test: String,
    failures: Vec<String>,
    /// Tests that passed but said that they did not run, or not wholly.
    partial: BTreeSet<String>,
    not_run: Vec<String>,
}

impl Reader {
    fn read(&mut self, line: &str) {
        if let Some(counts) = line.strip_prefix("test result: ") {
            let count = |what: &str| {
                let part = counts.split(['.', ';']).find_map(|part| part.trim().strip_suffix(what));
                part.and_then(|number| number.trim().parse::<usize>().ok()).unwrap_or(0)
            };
            self.passed += count("passed");
            self.failed += count("failed");
            self.ignored += count("ignored");
            self.test.clear();
        } else if let Some(name) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----")) {
            name.clone_into(&mut self.test);
        } else if let Some(name) = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED")) {
            self.failures.push(name.to_owned());
        } else if let Some((name, _)) = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ignored")) {
            self.not_run.push(format!("{name}: ignored"));
        } else if let Some(reason) = not_run(line) {
            self.not_run.push(reason.to_owned());
            self.partial.insert(self.test.clone());
        }
    }

    fn conclude(self, mut group: Group, status: ExitStatus) -> Group {
        let partial = self.partial.len().min(self.passed);
        group.passed += self.passed - partial;
        group.failed += self.failed;
        group.skipped += self.ignored + partial;
        group.failures.extend(self.failures);
        group.not_run.extend(self.not_run);
        if !status.success() && self.failed == 0 {
            return group.fail(&format!("cargo test ended with {status}, see above"));
        }
        group
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::Reader;
    use crate::report::Group;

    #[test]
    fn counts_failures_and_what_was_not_run() {
        let output = "running 4 tests\ntest a ... ok\ntest b ... ok\ntest c ... FAILED\ntest d ... ignored, slow\n\n\
                      successes:\n\n---- b stdout ----\nnot run: b: no netns\nnot run: b: no veth\n\n\
                      test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.0s\n\
                      test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.0s\n";
        let mut reader = Reader::default();
        output.lines().for_each(|line| reader.read(line));
        let group = reader.conclude(Group::new("unit"), Command::new("false").status().unwrap());
        assert_eq!((group.passed, group.failed, group.skipped), (6, 1, 2));
        assert_eq!(group.failures, ["c"]);
        assert_eq!(group.not_run, ["d: ignored", "b: no netns", "b: no veth"]);
    }

    #[test]
    fn a_build_that_fails_is_a_failure() {
        let group = Reader::default().conclude(Group::new("unit"), Command::new("false").status().unwrap());
        assert_eq!(group.failed, 1);
    }
}
