//! `[sensor]`: who observes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::section::section;

/// Longest name in characters.
const MAX_NAME: usize = 64;

section! {
    /// Who observes.
    SensorConfig in "sensor" {
        /// Name of this sensor among others: 1 to 64 of A-Z, a-z, 0-9, ".", "_" and "-". It is part of every identity.
        /// Empty: made once, of the host's name and a random number, and kept in the database.
        name: SensorName = SensorName::default(),
    }
}

/// The configured name of a sensor; empty if none is configured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SensorName(String);

/// A text that is no name of a sensor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no name of a sensor: 1 to {MAX_NAME} of A-Z, a-z, 0-9, `.`, `_` and `-`", .0.escape_debug())]
pub struct SensorNameError(String);

impl SensorName {
    /// The name, if one is configured.
    pub fn get(&self) -> Option<&str> {
        (!self.0.is_empty()).then_some(self.0.as_str())
    }
}

impl FromStr for SensorName {
    type Err = SensorNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if text.len() <= MAX_NAME && text.bytes().all(is_allowed) {
            return Ok(Self(text.to_owned()));
        }
        Err(SensorNameError(text.chars().take(MAX_NAME).collect()))
    }
}

impl TryFrom<String> for SensorName {
    type Error = SensorNameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<SensorName> for String {
    fn from(name: SensorName) -> Self {
        name.0
    }
}

impl fmt::Display for SensorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_of_plain_characters() {
        for name in ["", "gw-1", "a.b_C-9", &"x".repeat(MAX_NAME)] {
            assert_eq!(name.parse::<SensorName>().map(String::from).as_deref(), Ok(name));
        }
        for name in ["a b", "ä", "a/b", "a\n", &"x".repeat(MAX_NAME + 1)] {
            let error = name.parse::<SensorName>().expect_err(name).to_string();
            assert!(error.contains("1 to 64"), "{error}");
        }
    }
}
