//! The configuration: one struct per section, every field with its default and unit. Unknown keys are refused.
//!
//! Order of precedence: command-line flag, `NTA_*` environment variable, configuration file, default.

mod api;
mod capture;
mod events;
mod model;
mod store;
mod windows;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use api::ApiConfig;
pub use capture::CaptureConfig;
pub use events::EventsConfig;
pub use model::ModelConfig;
pub use store::StoreConfig;
pub use windows::WindowsConfig;

pub use nta_core::baseline::BaselineConfig;
pub use nta_core::detect::DetectConfig;

/// Everything that can be configured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What is captured, and how.
    pub capture: CaptureConfig,
    /// What is told of single packets.
    pub events: EventsConfig,
    /// Windows.
    pub windows: WindowsConfig,
    /// What is looked for, and when it is told.
    pub detect: DetectConfig,
    /// How baselines are learned.
    pub baseline: BaselineConfig,
    /// Learned models that judge beside the rules.
    pub model: ModelConfig,
    /// The database.
    pub store: StoreConfig,
    /// The HTTP interface.
    pub api: ApiConfig,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is no valid configuration.
    #[error("{path}: line {line}: {message}", path = path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// What, in one line.
        message: String,
    },
    /// A value is out of its range.
    #[error("{key} is {value}: {expected}")]
    Value {
        /// Section and key.
        key: &'static str,
        /// What it is.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
}

impl ConfigError {
    /// The parser's own rendering draws the place in several lines; a log and a terminal's last line want one.
    fn parse(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        Self::Parse { path: path.to_owned(), line, message: error.message().replace('\n', ", ") }
    }
}

impl Config {
    /// Reads a file and checks it; without one, the defaults.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(path) = path else { return Ok(Self::default()) };
        let read = |source| ConfigError::Read { path: path.to_owned(), source };
        let text = std::fs::read_to_string(path).map_err(read)?;
        let config: Self = toml::from_str(&text).map_err(|error| ConfigError::parse(path, &text, &error))?;
        config.check()?;
        Ok(config)
    }

    /// Checks what types cannot.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.capture.check()?;
        self.events.check()?;
        self.windows.check()
    }

    /// As a commented TOML file that [`Config::load`] reads back the same.
    pub fn to_toml(&self) -> String {
        let Self { capture, events, windows, detect, baseline, model, store, api } = self;
        [
            capture.to_toml(),
            events.to_toml(),
            windows.to_toml(),
            detect.to_toml(),
            baseline.to_toml(),
            model.to_toml(),
            store.to_toml(),
            api.to_toml(),
        ]
        .join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_reads_back_the_same() {
        let mut config = Config::default();
        config.capture.interfaces = vec!["eth0".to_owned(), "wan \"x\"".to_owned()];
        config.windows.seconds = 10;
        config.detect.hygiene.allow = vec!["192.0.2.0/24 port_scan".parse().expect("rule")];
        let raise_after = std::collections::BTreeMap::from([("port_scan".to_owned(), 2)]);
        config.detect.hygiene.raise_after = raise_after.try_into().expect("kinds");
        let read: Config = toml::from_str(&config.to_toml()).expect("own output");
        assert_eq!(read, config);
    }

    #[test]
    fn unknown_keys_and_wrong_values_are_named() {
        let error = toml::from_str::<Config>("[capture]\ninterfase = []").expect_err("unknown key");
        assert!(error.to_string().contains("interfase"), "{error}");
        for (section, wrong) in [("allow = [\"10.0.0.0/40\"]", "0 to 32"), ("raise_after = { scan = 2 }", "`scan`")] {
            let error = toml::from_str::<Config>(&format!("[detect.hygiene]\n{section}")).expect_err(section);
            assert!(error.to_string().contains(wrong), "{error}");
        }
        let mut config = Config::default();
        config.windows.seconds = 0;
        let error = config.check().expect_err("no window").to_string();
        assert!(error.contains("windows.seconds") && error.contains('0'), "{error}");
    }
}
