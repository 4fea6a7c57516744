//! What the tests of the whole share: the daemon as a process, the captures, what tshark says, packets built by hand.
//!
//! These tests use nothing of the daemon's code: they run the binary that a user runs and read what it prints, so that a
//! mistake in a shared type cannot hide itself.

pub mod browser;
pub mod capture_list;
pub mod case;
pub mod conversations;
pub mod daemon;
pub mod eve;
pub mod nats;
pub mod netns;
pub mod packet;
pub mod pcap;
pub mod pool;
pub mod postgres;
pub mod process;
pub mod served;
pub mod tshark;

use std::path::{Path, PathBuf};

/// Says that a test, or a part of it, did not run; `cargo xtask test` counts such a test as skipped, not as passed.
#[expect(clippy::print_stdout, reason = "the test runner reads it there")]
pub fn not_run(test: &str, reason: &str) {
    println!("not run: {test}: {reason}");
}

/// The workspace.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace")
}

/// The captures that come with the workspace.
pub fn cases() -> PathBuf {
    root().join("tests/cases")
}

/// Whether a program can be started.
pub fn installed(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|path| path.join(program).is_file())
}

/// Whether all is tried that is alike, as `cargo xtask ci` has the time for.
pub fn is_long() -> bool {
    std::env::var_os("NTA_LONG").is_some()
}
