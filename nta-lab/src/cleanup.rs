//! Taking namespaces and folders away: at a scenario's end, and those that a killed run left behind.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::network::PREFIX;
use crate::process;

/// The folder of a run's own files, in the output folder; the process id of its owner follows.
pub(crate) const WORK: &str = ".work-";

/// Ends what runs in a namespace and removes it.
pub(crate) fn remove(namespace: &str) {
    // A process may start another between the look and the signal.
    for _ in 0..5 {
        let pids = pids(namespace);
        if pids.is_empty() {
            break;
        }
        for pid in pids {
            // It may be gone by itself.
            let _gone = kill_process(pid, Signal::KILL);
        }
        sleep(Duration::from_millis(20));
    }
    let mut command = Command::new("ip");
    let _absent = command.args(["netns", "del", namespace]).stdout(Stdio::null()).stderr(Stdio::null()).status();
}

/// The processes of a namespace of the lab's; nobody else's are there.
fn pids(namespace: &str) -> Vec<Pid> {
    let listed = process::output(Command::new("ip").args(["netns", "pids", namespace])).unwrap_or_default();
    listed.lines().filter_map(|line| Pid::from_raw(line.trim().parse().ok()?)).collect()
}

/// Removes what runs that were killed have left; returns how many namespaces.
pub(crate) fn leftovers(out: &Path) -> usize {
    let listed = process::output(Command::new("ip").args(["netns", "list"])).unwrap_or_default();
    let names = listed.lines().filter_map(|line| line.split_whitespace().next());
    let dead: Vec<&str> = names.filter(|name| owner(name, PREFIX).is_some_and(|pid| !is_alive(pid))).collect();
    for name in &dead {
        remove(name);
    }
    for entry in fs::read_dir(out).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.to_str().and_then(|name| owner(name, WORK)).is_some_and(|pid| !is_alive(pid)) {
            // The next run tries again.
            let _kept = fs::remove_dir_all(entry.path());
        }
    }
    dead.len()
}

/// The process id that follows a prefix.
fn owner(name: &str, prefix: &str) -> Option<u32> {
    name.strip_prefix(prefix)?.split('-').next()?.parse().ok()
}

/// Whether this is the process id of a lab: another program may have got it since.
fn is_alive(pid: u32) -> bool {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    // A program built for tests has its name with an underscore.
    name.replace('_', "-").starts_with(env!("CARGO_PKG_NAME"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_names_its_owner() {
        assert_eq!(owner("ntalab-123-4-gw", PREFIX), Some(123));
        assert_eq!(owner(".work-77", WORK), Some(77));
        assert_eq!(owner("nta-123-gw", PREFIX), None);
        assert_eq!(owner("ntalab-x-4-gw", PREFIX), None);
    }

    #[test]
    fn a_process_of_another_name_is_no_owner() {
        assert!(!is_alive(1));
        assert!(!is_alive(u32::MAX));
    }

    #[test]
    fn a_lab_that_runs_is_the_owner_of_its_namespaces() {
        assert!(is_alive(std::process::id()));
    }
}
