//! `[windows]`: how time is cut.

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// Longest window in seconds; the counters of the packet path are exact between drains this far apart.
const MAX_SECONDS: u64 = 300;

/// How time is cut.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WindowsConfig {
    /// Length of a window in seconds, 1 to 300. Default: 5.
    pub seconds: u64,
}

impl Default for WindowsConfig {
    fn default() -> Self {
        Self { seconds: 5 }
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
        Err(ConfigError::Value { key: "windows.seconds", value, expected: "from 1 to 300 seconds" })
    }

    pub(super) fn to_toml(&self) -> String {
        format!("[windows]\n# Length of a window in seconds, 1 to 300.\nseconds = {}\n", self.seconds)
    }
}
