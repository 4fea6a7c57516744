//! How many files this process may have open: what the system allows, less those that whoever started it left open.
//!
//! A shell, a service manager or a test's harness may hand down some; they count against the limit and are never closed here.

use std::sync::OnceLock;

use rustix::process::{Resource, getrlimit};

/// Beside standard input, output and error.
static HANDED_DOWN: OnceLock<u64> = OnceLock::new();

/// To be called before anything is opened.
pub fn count_handed_down() {
    HANDED_DOWN.get_or_init(|| {
        // The folder is open itself while it is read.
        let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count).saturating_sub(1);
        u64::try_from(open).unwrap_or(0).saturating_sub(3)
    });
}

/// Those that this process may open; without a limit `u64::MAX`.
pub(crate) fn allowed() -> u64 {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    limit.saturating_sub(HANDED_DOWN.get().copied().unwrap_or(0))
}
