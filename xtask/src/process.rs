//! Running other programs: loudly, quietly with their output kept, or line by line.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use anyhow::{Context, Result, bail};

use crate::host;

/// The cargo that runs this xtask, working in the root of the checkout.
pub(crate) fn cargo<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(host::root());
    // Cargo sets these for `cargo run` of xtask itself; a nested cargo must not take them for the user's wish.
    command.env_remove("CARGO_MANIFEST_DIR").env_remove("CARGO_PKG_NAME");
    command
}

/// Runs a command on this terminal and fails when it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = status(command)?;
    if !status.success() {
        bail!("`{}` failed: {status}", display(command));
    }
    Ok(())
}

/// Runs a command on this terminal and returns how it ended.
pub(crate) fn status(command: &mut Command) -> Result<ExitStatus> {
    command.status().with_context(|| format!("cannot start `{}`", display(command)))
}

/// Runs a command quietly and returns its trimmed standard output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start `{}`", display(command)))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` failed: {}: {}", display(command), output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Runs a command and hands over every line that it prints on either stream, in order of arrival.
pub(crate) fn lines(command: &mut Command, mut each: impl FnMut(&str)) -> Result<ExitStatus> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start `{}`", display(command)))?;
    let (sender, receiver) = sync_channel(LINES_IN_FLIGHT);
    let readers = read_both(&mut child, &sender);
    drop(sender);
    for line in receiver {
        each(&line);
    }
    for reader in readers {
        let _ended = reader.join();
    }
    child.wait().with_context(|| format!("cannot wait for `{}`", display(command)))
}

fn read_both(child: &mut Child, sender: &SyncSender<String>) -> Vec<thread::JoinHandle<()>> {
    let stdout = child.stdout.take().map(|stream| Box::new(stream) as Box<dyn Read + Send>);
    let stderr = child.stderr.take().map(|stream| Box::new(stream) as Box<dyn Read + Send>);
    let streams = stdout.into_iter().chain(stderr);
    streams
        .map(|stream| {
            thread::spawn({
                let sender = sender.clone();
                move || forward(stream, &sender)
            })
        })
        .collect()
}

fn forward(stream: Box<dyn Read + Send>, sender: &SyncSender<String>) {
    let mut reader = BufReader::new(stream);
    let mut bytes = Vec::new();
    while reader.read_until(b'\n', &mut bytes).is_ok_and(|count| count > 0) {
        let line = String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']).to_owned();
        if sender.send(line).is_err() {
            break;
        }
        bytes.clear();
    }
}

/// The command as a user would type it.
pub(crate) fn display(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

const LINES_IN_FLIGHT: usize = 1024;

#[cfg(test)]
mod tests {
    use std::process::Command;

    #[test]
    fn lines_of_both_streams_arrive() {
        let mut seen = Vec::new();
        let status = super::lines(Command::new("sh").args(["-c", "echo a; echo b >&2; printf c; exit 3"]), |line| {
            seen.push(line.to_owned());
        });
        seen.sort();
        assert_eq!(seen, ["a", "b", "c"]);
        assert_eq!(status.unwrap().code(), Some(3));
    }

    #[test]
    fn a_failure_names_the_command_and_what_it_said() {
        let error = super::output(Command::new("sh").args(["-c", "echo no luck >&2; exit 1"])).unwrap_err();
        assert!(error.to_string().contains("no luck"), "{error}");
        assert!(error.to_string().contains("sh -c"), "{error}");
    }
}
