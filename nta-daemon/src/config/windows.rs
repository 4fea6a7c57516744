//! `[windows]`: how time is cut.

use super::ConfigError;
use super::section::section;

/// Longest window in seconds; the counters of the packet path are exact between drains this far apart.
const MAX_SECONDS: u64 = 300;

section! {
    /// How time is cut.
    WindowsConfig in "windows" {
        /// Length of a window in seconds, 1 to 300.
        seconds: u64 = 5,
    }
}

impl WindowsConfig {
    /// Length of a window in nanoseconds.
    pub const fn span_ns(&self) -> u64 {
        self.seconds * 1_000_000_000
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if (1..=MAX_SECONDS).contains(&self.seconds) {
            return Ok(());
        }
        let value = self.seconds.to_string();
        Err(ConfigError::Value { key: "windows.seconds".into(), value, expected: "from 1 to 300 seconds" })
    }
}
