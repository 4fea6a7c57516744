//! The configuration: one file per section, each declared by the macro of [`section`], which gives struct, defaults,
//! documentation and the printed form. Values are parsed into types as they are read; unknown keys are refused.
//!
//! Order of precedence: command-line flag, `NTA_*` environment variable, configuration file, default.

mod section;

mod api;
mod capture;
mod database;
mod events;
mod interface;
mod model;
mod sensor;
mod store;
mod windows;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use api::ApiConfig;
pub use capture::{Attach, CaptureConfig, TcxOrder};
pub use database::{DatabaseKind, DatabaseUrl, DatabaseUrlError};
pub use events::EventsConfig;
pub use interface::{InterfacePattern, InterfacePatternError, selects};
pub use model::ModelConfig;
pub use sensor::{SensorConfig, SensorName, SensorNameError};
pub use store::StoreConfig;
pub use windows::WindowsConfig;

pub use nta_core::baseline::BaselineConfig;
pub use nta_core::detect::DetectConfig;

/// Everything that can be configured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Who observes.
    pub sensor: SensorConfig,
    /// What is captured, and how.
    pub capture: CaptureConfig,
    /// What is reported of single packets.
    pub events: EventsConfig,
    /// Windows.
    pub windows: WindowsConfig,
    /// What is looked for, and when it is reported.
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

/// Sections that earlier versions knew under another name, and what they are called now.
const RENAMED: [(&str, &str); 1] = [("hygiene", "detect.alerting")];

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
        key: String,
        /// What it is.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// A value that no file can hold, such as a path that is not UTF-8.
    #[error("a value cannot be written down: {0}")]
    Unwritable(toml::ser::Error),
}

impl ConfigError {
    /// The parser's own rendering draws the place in several lines; a log and a terminal's last line want one. The key
    /// is named, the value is not: it may hold a password.
    fn parse(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let start = error.span().map_or(0, |span| span.start);
        let before = text.get(..start).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let key = text.lines().nth(line - 1).and_then(|line| line.split_once('=')).map(|(key, _)| key.trim());
        let key =
            key.filter(|key| !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b)));
        let message = error.message().trim().replace('\n', ", ");
        let renamed = RENAMED.iter().find(|(old, _)| message.starts_with(&format!("unknown field `{old}`")));
        if let Some((old, new)) = renamed {
            return Self::Parse { path: path.to_owned(), line, message: format!("`{old}` is called `{new}` now") };
        }
        let message =
            key.filter(|key| !message.contains(*key)).map(|key| format!("{key}: {message}")).unwrap_or(message);
        Self::Parse { path: path.to_owned(), line, message }
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
        self.windows.check()?;
        match toml::Value::try_from(self) {
            Ok(value) => finite("", &value),
            Err(error) => Err(ConfigError::Unwritable(error)),
        }
    }

    /// As a commented TOML file that [`Config::load`] reads back the same.
    pub fn to_toml(&self) -> Result<String, ConfigError> {
        let Self { sensor, capture, events, windows, detect, baseline, model, store, api } = self;
        let sections = || {
            Ok([
                sensor.to_toml()?,
                capture.to_toml()?,
                events.to_toml()?,
                windows.to_toml()?,
                detect.to_toml(),
                baseline.to_toml(),
                model.to_toml()?,
                store.to_toml()?,
                api.to_toml()?,
            ]
            .join("\n"))
        };
        sections().map_err(ConfigError::Unwritable)
    }
}

/// TOML knows infinity and "not a number"; no setting may be one.
fn finite(key: &str, value: &toml::Value) -> Result<(), ConfigError> {
    match value {
        toml::Value::Float(number) if !number.is_finite() => {
            Err(ConfigError::Value { key: key.to_owned(), value: number.to_string(), expected: "a finite number" })
        }
        toml::Value::Table(table) => table.iter().try_for_each(|(inner, value)| {
            finite(&if key.is_empty() { inner.clone() } else { format!("{key}.{inner}") }, value)
        }),
        toml::Value::Array(values) => values.iter().try_for_each(|value| finite(key, value)),
        _ => Ok(()),
    }
}
