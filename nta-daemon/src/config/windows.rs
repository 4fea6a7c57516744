//! `[windows]`: how time is cut.

use nta_core::Bounds;

use super::section::section;

/// Lengths of a window in seconds; the counters of the packet path are exact between drains this far apart.
const SECONDS: std::ops::RangeInclusive<u64> = 1..=300;

section! {
    /// How time is cut.
    WindowsConfig in "windows" {
        /// Length of a window in seconds.
        seconds: u64 = 5 => Bounds::new(*SECONDS.start() as f64, *SECONDS.end() as f64),
    }
}

impl WindowsConfig {
    /// Length of a window in nanoseconds.
    pub const fn span_ns(&self) -> u64 {
        self.seconds * 1_000_000_000
    }
}
