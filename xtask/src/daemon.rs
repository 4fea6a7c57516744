//! Building the daemon and keeping it in front: signals reach it, and it does not outlive this program.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::thread;

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::setup::{self, Need};
use crate::{host, process, trim};

/// How the daemon is compiled; the profiles are in the workspace's Cargo.toml.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Compiles in half the time: for the first commands.
    Quick,
    /// What packages hold and benches measure.
    Release,
}

impl Profile {
    /// Its name, which is also that of its folder.
    const fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Release => "release",
        }
    }
}

/// Builds the daemon with every feature that can be had, and returns the path of the binary.
pub(crate) fn build(profile: Profile) -> Result<PathBuf> {
    for what in setup::ensure(&[Need::Build, Need::Model])? {
        eprintln!("built without support for models: {what}");
    }
    let mut build = process::cargo(["build", "--profile", profile.name(), "-p", "nta-daemon"]);
    build.args(setup::daemon_features());
    if profile == Profile::Release {
        trim::remap(&mut build, &host::target_dir());
    }
    process::run(&mut build)?;
    let binary = host::target_dir().join(profile.name()).join("nta-daemon");
    if profile == Profile::Release {
        trim::check(&binary, &host::target_dir())?;
    }
    Ok(binary)
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
    let mut command = match host::find_program("setpriv") {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "TERM", "--"]).arg(binary);
            command
        }
        None => Command::new(binary),
    };
    // A binary finds libxgboost by its own place unless the target folder lies outside the checkout.
    if !host::target_dir().starts_with(host::root()) {
        command.env("LD_LIBRARY_PATH", host::root().join(".xgboost/xgboost/lib"));
    }
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
