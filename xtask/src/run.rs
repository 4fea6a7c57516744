//! `cargo xtask run`: builds the daemon and starts it, live where it may, else on the bundled capture.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus};
use std::{env, fs};

use anyhow::{Context, Result, bail};

use crate::daemon::{self, Profile};
use crate::host::{self, Privileges};
use crate::process;

pub(crate) const HELP: &str = "\
Builds the daemon and starts it with an embedded SQLite database (target/nta/nta.db) on http://127.0.0.1:5000: live on the
default route's interface as root or with CAP_BPF and CAP_NET_ADMIN, else on the bundled capture. Arguments are passed
to the daemon and win over these defaults.

Examples:
  cargo xtask run
  cargo xtask run --interface eth0 --attach xdp
  cargo xtask run --listen 127.0.0.1:8080";

const DEMO: &str = "tests/cases/demo/input.pcap";

/// Builds, decides, runs.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    let binary = daemon::build(Profile::Quick)?;
    fs::create_dir_all(host::target_dir().join("nta")).context("cannot make the folder of the database")?;

    if let Some(address) = listen(args)
        && let Err(error) = TcpListener::bind(&address)
    {
        bail!("{address} cannot be listened on: {error}; name another with --listen");
    }
    if !Privileges::current().load_bpf {
        return replay(&binary, args, "no CAP_BPF and CAP_NET_ADMIN; live capture needs root");
    }
    // Only attaching shows whether attaching works; the dry run detaches again and says what is wrong, if anything.
    let mut dry_run = live(&binary, args);
    dry_run.args(["--dry-run", "--log", "warn"]).current_dir(host::root());
    let tried = dry_run.output().with_context(|| format!("cannot start `{}`", process::display(&dry_run)))?;
    let said = String::from_utf8_lossy(&tried.stderr);
    if !tried.status.success() {
        let names_a_device = args.iter().any(|arg| LIVE_FLAGS.iter().any(|flag| arg.starts_with(flag)));
        return match refusal(&said).filter(|why| !names_a_device && is_of_this_machine(tried.status.code(), why)) {
            Some(why) => replay(&binary, args, why),
            None => {
                eprint!("{said}");
                Ok(exit_code(tried.status))
            }
        };
    }
    eprint!("{said}");
    eprintln!("live on the network interface, because this process may load eBPF");
    Ok(exit_code(daemon::foreground(live(&binary, args).current_dir(host::root()))?))
}

/// Why the daemon refused, in its own words: its last line.
fn refusal(said: &str) -> Option<&str> {
    said.lines().rev().find_map(|line| line.strip_prefix("nta-daemon: "))
}

/// Whether a refusal is the machine's and no fault of the arguments: a replay needs neither a route nor the right to attach.
fn is_of_this_machine(status: Option<i32>, why: &str) -> bool {
    status == Some(1) || why.starts_with("no default route")
}

fn live(binary: &Path, args: &[String]) -> Command {
    let mut command = daemon::command(binary);
    command.arg("run").args(with_defaults(args));
    command
}

fn replay(binary: &Path, args: &[String], why: &str) -> Result<ExitCode> {
    let kept = without_live_flags(args);
    eprintln!("replay of {DEMO}, because live capture is not possible: {why}");
    let mut command = daemon::command(binary);
    command.args(["replay", DEMO, "--serve"]).args(with_defaults(&kept)).current_dir(host::root());
    Ok(exit_code(daemon::foreground(&mut command)?))
}

/// The user's arguments, and ours where neither they nor the environment nor a configuration file say otherwise.
fn with_defaults(args: &[String]) -> Vec<String> {
    let database = format!("sqlite:{}", host::target_dir().join("nta/nta.db").display());
    let defaults = [("--database", "NTA_DATABASE", database.as_str()), ("--listen", "NTA_LISTEN", LISTEN)];
    let mut all = Vec::new();
    if value(args, "--config").is_none() && env::var_os("NTA_CONFIG").is_none() {
        for (flag, variable, default) in defaults {
            if value(args, flag).is_none() && env::var_os(variable).is_none() {
                all.extend([flag.to_owned(), default.to_owned()]);
            }
        }
    }
    all.extend_from_slice(args);
    all
}

/// What `replay` would not understand: which interface to attach to, and how.
fn without_live_flags(args: &[String]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if LIVE_FLAGS.contains(&arg.as_str()) {
            args.next();
        } else if !LIVE_FLAGS.iter().any(|flag| arg.strip_prefix(flag).is_some_and(|rest| rest.starts_with('='))) {
            kept.push(arg.clone());
        }
    }
    kept
}

/// The address that the daemon will listen on; `None` where a configuration file may say another.
fn listen(args: &[String]) -> Option<String> {
    let variable = env::var("NTA_LISTEN").ok();
    let given = value(args, "--listen").map(str::to_owned).or(variable);
    let has_file = value(args, "--config").is_some() || env::var_os("NTA_CONFIG").is_some();
    given.or((!has_file).then(|| LISTEN.to_owned()))
}

/// The value of a flag in either spelling.
fn value<'a>(args: &'a [String], flag: &str) -> Option<&'a str> {
    let joined = args.iter().find_map(|arg| arg.strip_prefix(flag)?.strip_prefix('='));
    let apart = args.iter().position(|arg| arg == flag).and_then(|at| args.get(at + 1));
    joined.or(apart.map(String::as_str))
}

/// The daemon's status as ours; a signal that ended it counts as a failure.
pub(crate) fn exit_code(status: ExitStatus) -> ExitCode {
    status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}

const LISTEN: &str = "127.0.0.1:5000";
const LIVE_FLAGS: [&str; 4] = ["--interface", "-i", "--attach", "--config"];

#[cfg(test)]
mod tests {
    use super::{is_of_this_machine, listen, refusal, with_defaults, without_live_flags};

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn the_users_arguments_win() {
        let args = with_defaults(&words("--listen=[::1]:80 --window 1"));
        assert_eq!(args.iter().filter(|arg| arg.starts_with("--listen")).count(), 1);
        assert!(args.contains(&"--database".to_owned()));
        assert_eq!(listen(&words("--listen=[::1]:80")).as_deref(), Some("[::1]:80"));
        assert_eq!(listen(&words("--window 1")).as_deref(), Some("127.0.0.1:5000"));
        assert_eq!(listen(&words("--config nta.toml")), None);
    }

    #[test]
    fn a_refusal_is_the_machines_or_the_arguments() {
        let no_route =
            "2026-01-01 WARN x\nnta-daemon: no default route: name an interface with --interface (there is none)\n";
        let why = refusal(no_route).expect("a reason");
        assert!(why.starts_with("no default route") && is_of_this_machine(Some(2), why));
        assert!(is_of_this_machine(Some(1), "the kernel refuses"));
        assert!(!is_of_this_machine(Some(2), "windows.seconds is 0") && !is_of_this_machine(None, ""));
        assert_eq!(refusal("error: unexpected argument '--fast' found\n"), None);
    }

    #[test]
    fn the_replay_gets_no_flags_of_live_capture() {
        assert_eq!(without_live_flags(&words("--interface eth0 --window 1 --attach=xdp")), words("--window 1"));
    }
}
