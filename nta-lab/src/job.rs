//! A program of the lab in a namespace: its output in a file, ended with all that it started.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process_group};

use super::network::enter;

/// How long a program may take to end by itself once asked to.
const GRACE: Duration = Duration::from_secs(3);

/// A program that runs; ended when it goes.
pub(crate) struct Job {
    child: Child,
}

impl Job {
    /// Runs a line by a shell. The kernel ends it when this process is killed, or the thread that called this ends.
    pub(crate) fn start(namespace: &str, line: &str, files: &Files<'_>, log: &str) -> Result<Self> {
        let log = files.work.join(log);
        let output = File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        let inside = enter(namespace);
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(inside.get_program()).args(inside.get_args());
        command.args(["sh", "-c", line]);
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C");
        command.env("S", files.shared).env("W", files.work).current_dir(files.work);
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        // A group of its own: a signal reaches all of it, and the terminal's interrupt does not.
        command.process_group(0);
        let child = command.spawn().with_context(|| format!("cannot start `{line}`"))?;
        Ok(Self { child })
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Asks it to end, and ends it if it does not.
    pub(crate) fn stop(&mut self) {
        self.signal(Signal::TERM);
        let deadline = Instant::now() + GRACE;
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                break;
            }
            sleep(Duration::from_millis(20));
        }
        // What is left of its group, which it may have outlived.
        self.signal(Signal::KILL);
        // It cannot refuse.
        let _ended = self.child.wait();
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It may be gone.
            let _gone = kill_process_group(group, signal);
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The folders that a scenario's programs use.
#[derive(Clone, Copy)]
pub(crate) struct Files<'a> {
    /// Scripts, keys and pages, the same for all.
    pub(crate) shared: &'a Path,
    /// The scenario's own.
    pub(crate) work: &'a Path,
}
