//! `[log]`: what is logged.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

use super::section::section;

section! {
    /// What `run` logs.
    LogConfig in "log" {
        /// A level (off, error, warn, info, debug, trace), or a filter such as "info,nta_daemon=debug". --log and NTA_LOG go over it.
        filter: LogFilter = LogFilter::default(),
    }
}

/// A level, or levels by target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LogFilter(String);

impl LogFilter {
    /// As the log takes it.
    pub fn directives(&self) -> String {
        let Self(text) = self;
        // The libraries under store and shipping say at `info` what an operator cannot use, and an error comes back to these anyhow.
        let is_chosen = text.contains(['=', ':']) || text == "trace" || text == "debug";
        let quiet = if is_chosen { "" } else { ",sqlx=error,sqlx_core=error,async_nats=error" };
        format!("{text}{quiet}")
    }
}

impl Default for LogFilter {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

impl FromStr for LogFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(word) = text.split(',').map(str::trim).find(|word| !is_directive(word)) {
            return Err(format!("`{word}` is no level: off, error, warn, info, debug, trace, or TARGET=LEVEL"));
        }
        EnvFilter::try_new(text).map_err(|error| error.to_string())?;
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for LogFilter {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<LogFilter> for String {
    fn from(LogFilter(text): LogFilter) -> Self {
        text
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a part of it is a level, or names a target. A word alone would be taken as a target, and a level with a slip would
/// silence everything.
fn is_directive(word: &str) -> bool {
    word.is_empty()
        || word.contains(['=', '[', ':'])
        || word.starts_with("nta")
        || word.parse::<tracing::level_filters::LevelFilter>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_with_a_slip_is_refused() {
        for good in ["debug", "INFO", "off", "nta_daemon=debug", "warn,sqlx=off", "nta_core"] {
            assert!(good.parse::<LogFilter>().is_ok(), "{good}");
        }
        for bad in ["debgu", "warn,loud", "nta=loud"] {
            assert!(bad.parse::<LogFilter>().is_err(), "{bad}");
        }
    }
}
