//! The daemon on real interfaces of this kernel, beside real tools: what it counts, how soon it reports, how it ends.
//!
//! Each test makes its own network namespaces, and they run one after another.

#![expect(clippy::print_stdout, reason = "what a test measured, and what it could not run")]

mod bare;
mod clock;
mod eve;
mod events;
mod exact;
mod fleet;
mod flood;
mod forward;
mod full_disk;
mod interfaces;
mod jumbo;
mod latency;
mod ledger;
mod loader;
mod nat;
mod nat_changes;
mod nat_tunnels;
mod paths;
mod renamed;
mod service;
mod soak;
mod stream_kill;

mod ask;
mod coexist;
mod control;
mod end;
mod pin;
mod pin_kill;
mod record;
mod refuse;
mod remote_write;

mod attached;
mod capture;
mod daemon;
mod disk;
mod foreign;
mod gateways;
mod traffic;

use nta_tests::netns::{End, Namespace, silent, veth};
use nta_tests::not_run;

/// Two namespaces: the daemon's (`v0`, 10.77.1.1, fd77:1::1) and a peer (`v1`, 10.77.1.2, fd77:1::2).
struct Pair {
    inside: Namespace,
    peer: Namespace,
}

impl Pair {
    fn new() -> Self {
        let pair = Self { inside: Namespace::new("in"), peer: Namespace::new("peer") };
        veth([
            End { namespace: &pair.inside, interface: "v0", v4: "10.77.1.1", v6: "fd77:1::1" },
            End { namespace: &pair.peer, interface: "v1", v4: "10.77.1.2", v6: "fd77:1::2" },
        ]);
        pair
    }

    /// The same, when nothing comes any more that a test has not sent.
    fn silent() -> Self {
        let pair = Self::new();
        silent(&pair.inside, "v0");
        pair
    }

    /// Both ends without offloads, after a program was attached.
    fn no_offloads(&self) {
        self.inside.no_offloads("v0");
        self.peer.no_offloads("v1");
    }
}

/// Whether a test can run here; if not, says why.
fn can_run(test: &str, tools: &[&str]) -> bool {
    let reason = if std::fs::read_to_string("/proc/self/status").is_ok_and(|s| !s.contains("\nUid:\t0\t")) {
        Some("making network namespaces needs root".to_owned())
    } else {
        let missing = ["ip", "ethtool", "curl"].iter().chain(tools).find(|tool| !is_installed(tool));
        missing.map(|tool| format!("{tool} is not installed"))
    };
    if let Some(reason) = &reason {
        not_run(test, reason);
    }
    reason.is_none()
}

/// The same of a test that joins translated connections, whose names come out of the kernel's types.
fn can_join(test: &str, tools: &[&str]) -> bool {
    let has_types = std::fs::metadata("/sys/kernel/btf/vmlinux").is_ok();
    if !has_types {
        not_run(test, "this kernel has no type information");
    }
    has_types && can_run(test, tools)
}

fn is_installed(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(tool).is_file())
}

/// Whether this kernel has TCX (6.6 and later).
fn has_tcx() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (6, 6)
}
