//! The daemon's binary, run to its end.

use std::ffi::OsStr;
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::root;

/// The binary: NTA_DAEMON, or a debug build made on the spot when it is not set.
pub fn daemon() -> &'static Path {
    static DAEMON: OnceLock<PathBuf> = OnceLock::new();
    DAEMON.get_or_init(|| std::env::var_os("NTA_DAEMON").map_or_else(build, PathBuf::from))
}

/// What a run of a program left.
#[derive(Debug)]
pub struct Run {
    /// The exit status; `None` if a signal ended it.
    pub status: Option<i32>,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: String,
}

impl Run {
    /// Standard output as JSON lines (or the one document of `--format json`).
    pub fn json(&self) -> Vec<Value> {
        let lines = self.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).expect("a line of JSON")).collect()
    }

    /// Whether a capture was analysed: to its end, or, with status 3, up to where it is cut off or corrupt.
    pub fn is_read(&self) -> bool {
        matches!(self.status, Some(0 | 3))
    }

    /// Whether it is refused as bad input: status 2, one line on standard error, nothing on standard output.
    pub fn is_refused(&self) -> bool {
        self.status == Some(2) && self.stdout.is_empty() && self.stderr.lines().count() == 1
    }
}

/// A configuration without the learned model, whose reading is half of what a debug build does at its start: for tests that start it
/// thousands of times for something else.
pub fn without_model() -> PathBuf {
    root().join("tests/src/without_model.toml")
}

/// Runs the daemon with these arguments.
pub fn run<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Run {
    run_with_input(args, &[])
}

/// The same with something on standard input.
pub fn run_with_input<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>, input: &[u8]) -> Run {
    let mut command = Command::new(daemon());
    command.args(args);
    // A variable of the caller's shell must not decide a test.
    for variable in ["NTA_ENGINE", "NTA_SPEED", "NTA_WINDOW", "NTA_DATABASE", "NTA_CONFIG", "NTA_LOG"] {
        command.env_remove(variable);
    }
    collect(command, input)
}

/// Runs any program to its end and collects what it prints.
///
/// # Panics
///
/// When it does not end within [`LIMIT`]: a hang is a failure.
pub fn collect(mut command: Command, input: &[u8]) -> Run {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    let (send, received) = sync_channel(2);
    read_all(OUT, child.stdout.take().expect("piped"), send.clone());
    read_all(ERR, child.stderr.take().expect("piped"), send);
    let mut stdin = child.stdin.take().expect("piped");
    let ended = thread::scope(|scope| {
        // Who does not want all of it closes the pipe.
        scope.spawn(move || drop(stdin.write_all(input)));
        let mut streams = [Vec::new(), Vec::new()];
        for _ in 0..2 {
            match received.recv_timeout(LIMIT) {
                Ok((stream, bytes)) => streams[stream] = bytes,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    child.kill().expect("kill");
                    return None;
                }
            }
        }
        Some(streams)
    });
    let status = child.wait().expect("wait").code();
    let Some([stdout, stderr]) = ended else { panic!("{command:?} did not end within {LIMIT:?}") };
    Run { status, stdout, stderr: String::from_utf8_lossy(&stderr).into_owned() }
}

fn read_all(stream: usize, mut from: impl Read + Send + 'static, to: SyncSender<(usize, Vec<u8>)>) {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _cut = from.read_to_end(&mut bytes);
        let _gone = to.send((stream, bytes));
    });
}

/// A debug build of the daemon in the target directory that this test was built in.
fn build() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "-p", "nta-daemon"]).current_dir(root());
    // Fetched by `cargo xtask setup`; without it there are no models.
    if root().join(".xgboost/xgboost/lib/libxgboost.so.3").exists() {
        command.args(["--features", "xgboost"]);
    }
    assert!(command.status().expect("cargo starts").success(), "the daemon does not build");
    let test = std::env::current_exe().expect("own path");
    // <target>/debug/deps/<test>
    test.ancestors().nth(2).expect("a profile's folder").join("nta-daemon")
}

/// The longest batch of captures through the kernel engine takes a debug build half a minute on an idle machine.
const LIMIT: Duration = Duration::from_secs(150);
const OUT: usize = 0;
const ERR: usize = 1;
