//! What a request may say about alerts.

use serde::Deserialize;
use utoipa::openapi::Schema;

use crate::api::extract::{Parameter, PathParameter, Word, text};
use crate::json::words;

/// What people did about an alert.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct AlertStatus(pub(super) &'static str);

impl Word for AlertStatus {
    fn all() -> Vec<(&'static str, Self)> {
        words::STATUSES.map(|word| (word, Self(word))).to_vec()
    }
}

impl<'de> Deserialize<'de> for AlertStatus {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = |expected| serde::de::Error::custom(format!("`{text}`: expected {expected}"));
        Self::parse(&text).map_err(wrong)
    }
}

/// What people say that an alert was.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct AlertVerdict(&'static str);

impl AlertVerdict {
    pub(super) const fn word(self) -> &'static str {
        self.0
    }
}

impl Word for AlertVerdict {
    fn all() -> Vec<(&'static str, Self)> {
        words::VERDICTS.map(|word| (word, Self(word))).to_vec()
    }
}

impl<'de> Deserialize<'de> for AlertVerdict {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = |expected| serde::de::Error::custom(format!("`{text}`: expected {expected}, or null"));
        Self::parse(&text).map_err(wrong)
    }
}

/// A field that may be null, which is not the same as one that is left out.
pub(super) fn given<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

/// A verdict that a list is filtered by: `none` finds alerts that have none.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct VerdictOrNone(pub(super) &'static str);

impl Word for VerdictOrNone {
    fn all() -> Vec<(&'static str, Self)> {
        words::VERDICTS.into_iter().chain(["none"]).map(|word| (word, Self(word))).collect()
    }
}

/// What the traffic does.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct AlertStateWord(pub(super) &'static str);

impl Word for AlertStateWord {
    fn all() -> Vec<(&'static str, Self)> {
        words::STATES.map(|word| (word, Self(word))).to_vec()
    }
}

/// The identity of an alert.
#[derive(Debug)]
pub(in crate::api) struct AlertId(pub(super) String);

impl AlertId {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Parameter for AlertId {
    fn parse(text: &str) -> Result<Self, String> {
        let is_one = text.len() == 16 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        if is_one { Ok(Self(text.to_ascii_lowercase())) } else { Err("16 hexadecimal digits".to_owned()) }
    }

    fn schema() -> Schema {
        text().pattern(Some("^[0-9a-f]{16}$")).into()
    }
}

impl PathParameter for AlertId {
    const NAME: &'static str = "id";
    const ABOUT: &'static str = "Identity of the alert.";
}
