//! Building the daemon and keeping it in front: signals reach it, and it does not outlive this program.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::thread;

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::setup::{self, Need};
use crate::{host, process};

/// Builds the daemon in release with every feature that can be had, and returns the path of the binary.
pub(crate) fn build_release() -> Result<PathBuf> {
    for what in setup::ensure(&[Need::Build, Need::Model])? {
        eprintln!("built without support for models: {what}");
    }
    let mut build = process::cargo(["build", "--release", "-p", "nta-daemon"]);
    process::run(build.args(setup::daemon_features()))?;
    Ok(host::target_dir().join("release/nta-daemon"))
}

/// Runs the daemon on this terminal until it ends; signals to stop or reload are left, or passed on, to it.
pub(crate) fn foreground(daemon: &mut Command) -> Result<ExitStatus> {
    // Registered before the daemon starts, so that no signal finds only one of the two.
    let mut signals = Signals::new([SIGINT, SIGQUIT, SIGTERM, SIGHUP]).context("cannot take over signals")?;
    let handle = signals.handle();
    let mut child = daemon.spawn().with_context(|| format!("cannot start `{}`", process::display(daemon)))?;
    let forwarder = thread::spawn({
        let pid = child.id();
        move || signals.forever().for_each(|signal| forward(signal, pid))
    });
    let status = wait(&mut child);
    handle.close();
    let _ended = forwarder.join();
    status
}

/// A daemon, or another program, that gets SIGTERM even if this program is killed hard, where util-linux can arrange that.
pub(crate) fn command(binary: &Path) -> Command {
    let Some(setpriv) = host::find_program("setpriv") else {
        return Command::new(binary);
    };
    let mut command = Command::new(setpriv);
    command.args(["--pdeathsig", "TERM", "--"]).arg(binary);
    command
}

fn wait(child: &mut Child) -> Result<ExitStatus> {
    child.wait().context("cannot wait for the daemon")
}

/// The terminal sends SIGINT and SIGQUIT to the daemon itself; the others were meant for this process alone.
fn forward(signal: i32, pid: u32) {
    let name = match signal {
        SIGTERM => "-TERM",
        SIGHUP => "-HUP",
        _ => return,
    };
    let _gone = Command::new("kill").args([name, &pid.to_string()]).status();
}
