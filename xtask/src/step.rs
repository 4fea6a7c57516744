//! A long step of work: a spinner on a terminal, one line anywhere else, the whole output if it fails.

use std::collections::VecDeque;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

use crate::process;

/// Runs `command` quietly as the step `title`; when it fails, the error carries the last lines of its output.
pub(crate) fn step(title: &str, command: &mut Command) -> Result<()> {
    let spinner = spinner(title);
    let mut tail = VecDeque::new();
    let status = process::lines(command, |line| {
        spinner.set_message(format!("{title}: {}", line.trim()));
        if tail.len() == TAIL_LINES {
            tail.pop_front();
        }
        tail.push_back(line.to_owned());
    });
    spinner.finish_and_clear();
    let status = status?;
    if !status.success() {
        bail!("{title}: `{}` failed: {status}\n{}", process::display(command), Vec::from(tail).join("\n"));
    }
    Ok(())
}

fn spinner(title: &str) -> ProgressBar {
    let spinner = ProgressBar::new_spinner();
    if spinner.is_hidden() {
        eprintln!("{title} …");
    }
    if let Ok(style) = ProgressStyle::with_template("{spinner} [{elapsed}] {wide_msg}") {
        spinner.set_style(style);
    }
    spinner.set_message(title.to_owned());
    spinner.enable_steady_tick(Duration::from_millis(120));
    spinner
}

const TAIL_LINES: usize = 30;
