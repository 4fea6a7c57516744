//! What a group of checks came to, and the summary that every check command ends with.
#![expect(clippy::print_stdout, reason = "the summary is what the command is for")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The outcome of one group: a check of ours counts as one, a test runner's group as its tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
    /// Why things failed.
    pub(crate) failures: Vec<String>,
    /// What was not run: `what: why`, or the reason alone where the whole group is meant.
    pub(crate) not_run: Vec<String>,
    /// Tests that failed first and passed when they were run again: passed, and each to be looked at.
    pub(crate) second_try: Vec<String>,
    /// How long it took; zero where that is not of interest.
    pub(crate) took: Duration,
}

/// The groups of a command, each with the time since the one before.
pub(crate) struct Groups {
    all: Vec<Group>,
    since: Instant,
}

impl Groups {
    pub(crate) fn begin() -> Self {
        Self { all: Vec::new(), since: Instant::now() }
    }

    /// Adds what was just done.
    pub(crate) fn add(&mut self, group: Group) {
        let now = Instant::now();
        self.all.push(Group { took: now - self.since, ..group });
        self.since = now;
    }

    /// Prints the summary and returns its status.
    pub(crate) fn conclude(&self) -> ExitCode {
        conclude(&self.all)
    }
}

impl Group {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    pub(crate) fn pass(mut self) -> Self {
        self.passed += 1;
        self
    }

    pub(crate) fn fail(mut self, why: &str) -> Self {
        self.failed += 1;
        self.failures.push(format!("{}: {why}", self.name));
        self
    }

    pub(crate) fn not_run(mut self, why: &str) -> Self {
        self.skipped += 1;
        self.not_run.push(format!("{}: {why}", self.name));
        self
    }

    /// Passes or fails by the result of a step, keeping the reason.
    pub(crate) fn conclude(self, result: &anyhow::Result<()>) -> Self {
        match result {
            Ok(()) => self.pass(),
            Err(error) => self.fail(&format!("{error:#}")),
        }
    }

    pub(crate) fn print(&self) {
        println!("{}", summary(std::slice::from_ref(self)));
    }

    pub(crate) fn status(&self) -> ExitCode {
        status(std::slice::from_ref(self))
    }
}

/// The table, the reasons, and last the line of sums.
pub(crate) fn summary(groups: &[Group]) -> String {
    let mut text = format!("{:<12}{:>8}{:>8}{:>8}{:>9}\n", "group", "passed", "failed", "not run", "seconds");
    for group in groups {
        let Group { name, passed, failed, skipped, took, .. } = group;
        let seconds = if took.is_zero() { String::new() } else { took.as_secs().to_string() };
        let line = format!("{name:<12}{passed:>8}{failed:>8}{skipped:>8}{seconds:>9}");
        text += &format!("{}\n", line.trim_end());
    }
    for reason in groups.iter().flat_map(|group| &group.failures) {
        text += &format!("failed: {reason}\n");
    }
    for reason in groups.iter().flat_map(|group| &group.not_run) {
        text += &format!("not run: {reason}\n");
    }
    for name in groups.iter().flat_map(|group| &group.second_try) {
        text += &format!("passed at the second try, failed at the first: {name}\n");
    }
    let sum = |of: fn(&Group) -> usize| groups.iter().map(of).sum::<usize>();
    text + &format!("{} passed, {} failed, {} skipped", sum(|g| g.passed), sum(|g| g.failed), sum(|g| g.skipped))
}

/// Failure if anything failed.
pub(crate) fn status(groups: &[Group]) -> ExitCode {
    if groups.iter().any(|group| group.failed > 0) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Prints the summary and returns its status.
pub(crate) fn conclude(groups: &[Group]) -> ExitCode {
    println!("\n{}", summary(groups));
    status(groups)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Group, summary};

    #[test]
    fn the_last_line_is_the_sum_and_every_reason_is_there() {
        let unit = Group { passed: 7, skipped: 1, not_run: vec!["live: no netns".into()], ..Group::new("unit") };
        let unit = Group { took: Duration::from_millis(61_900), ..unit };
        let kernel = Group { second_try: vec!["live: a".into()], ..Group::new("kernel").not_run("needs CAP_BPF") };
        let text = summary(&[unit, kernel, Group::new("tidy").fail("x.rs:1: no")]);
        assert!(text.ends_with("\n7 passed, 1 failed, 2 skipped"), "{text}");
        assert!(text.contains("not run: live: no netns\nnot run: kernel: needs CAP_BPF\n"), "{text}");
        assert!(text.contains("failed: tidy: x.rs:1: no\n"), "{text}");
        assert!(text.contains("passed at the second try, failed at the first: live: a\n"), "{text}");
        assert!(text.contains("unit               7       0       1       61\n"), "{text}");
        assert!(text.contains("kernel             0       0       1\n"), "{text}");
    }
}
