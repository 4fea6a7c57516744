//! Tests that load the program into the running kernel. They need root and run one at a time.

mod flood;
mod parity;
mod parse;

use nta_tests::daemon::run_with_input;
use nta_tests::pcap::{ETHERNET, pcap};

/// Why the kernel engine does not work here, if it does not.
fn why_not() -> Option<String> {
    let run = run_with_input(["replay", "--engine", "kernel", "--format", "json", "-"], &pcap(ETHERNET, &[]));
    (!run.is_read()).then(|| run.stderr.trim().to_owned())
}
