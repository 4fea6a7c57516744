//! A program of somebody else on an interface, with a counter of its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nta_tests::netns::{Namespace, wait_for};

use nta_tests::process::Process;

const SCRIPT: &str = include_str!("foreign.py");
/// `XDP_PASS`.
pub(crate) const PASS: i32 = 2;
/// `TCX_NEXT`.
pub(crate) const NEXT: i32 = -1;
/// `TCX_DROP`.
pub(crate) const DROP: i32 = 2;

/// The program, attached until this goes out of scope.
pub(crate) struct Foreign {
    _process: Process,
    report: PathBuf,
}

impl Foreign {
    /// Attaches it (`xdp`, native, or `tcx`, ingress, behind all others) and returns when it counts.
    pub(crate) fn attach(
        namespace: &Namespace,
        folder: &Path,
        interface: &str,
        kind: &str,
        name: &str,
        verdict: i32,
    ) -> Self {
        let report = folder.join(format!("{name}.count"));
        let _ = std::fs::remove_file(&report); // of an earlier one, if any
        let mut process = Self::start(namespace, folder, interface, kind, name, verdict);
        wait_for("a foreign program", Duration::from_secs(10), || {
            assert!(process.ended().is_none(), "not attached: {}", process.log());
            report.exists().then_some(())
        });
        Self { _process: process, report }
    }

    /// The process that attaches it; ends with an error if that is refused.
    pub(crate) fn start(
        namespace: &Namespace,
        folder: &Path,
        interface: &str,
        kind: &str,
        name: &str,
        verdict: i32,
    ) -> Process {
        let report = folder.join(format!("{name}.count"));
        let mut python = namespace.command("python3");
        python.args(["-c", SCRIPT, interface, kind, name, &verdict.to_string()]).arg(report);
        Process::start(&mut python, folder, &format!("{name}.log"))
    }

    /// Waits until it has seen exactly so many packets.
    pub(crate) fn wait_count(&self, packets: u64) {
        wait_for(&format!("{packets} packets in a foreign program"), Duration::from_secs(5), || {
            let count = std::fs::read_to_string(&self.report).ok()?.parse::<u64>().ok()?;
            assert!(count <= packets, "{count} packets");
            (count == packets).then_some(())
        });
    }
}
