//! The JSON body of a request, checked field by field so that an error can name the one that is wrong.

use axum::body::Bytes;
use serde_json::{Map, Value};

use super::ApiError;

/// A JSON object.
#[derive(Debug)]
pub(super) struct Body(Map<String, Value>);

impl Body {
    /// Reads an object with some of the `known` fields; no body at all is an object without fields.
    pub(super) fn read(bytes: &Bytes, known: &[&str]) -> Result<Self, ApiError> {
        let body = Self::read_any(bytes)?;
        match body.0.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(ApiError::invalid(name, format!("unknown field; this body takes {}", known.join(", ")))),
            None => Ok(body),
        }
    }

    /// The same with fields of any name.
    pub(super) fn read_any(bytes: &Bytes) -> Result<Self, ApiError> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self(Map::new()));
        }
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(ApiError::invalid("body", "expected a JSON object")),
            Err(error) => Err(ApiError::invalid("body", format!("no JSON: {error}"))),
        }
    }

    /// The value of a field; null is as if it were not there.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A text of 1 to `longest` characters.
    pub(super) fn text(&self, name: &str, longest: usize) -> Result<Option<&str>, ApiError> {
        let wrong = || ApiError::invalid(name, format!("expected a text of 1 to {longest} characters"));
        let text = self.get(name).map(|value| value.as_str().ok_or_else(wrong)).transpose()?;
        match text {
            Some(text) if text.trim().is_empty() || text.chars().count() > longest => Err(wrong()),
            text => Ok(text),
        }
    }

    /// A whole number from 1 to `most`.
    pub(super) fn number(&self, name: &str, most: u32) -> Result<Option<u32>, ApiError> {
        let read = |value: &Value| {
            let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
            number.filter(|number| (1..=most).contains(number))
        };
        let wrong = || ApiError::invalid(name, format!("expected a number from 1 to {most}"));
        self.get(name).map(|value| read(value).ok_or_else(wrong)).transpose()
    }

    /// A list of texts.
    pub(super) fn words(&self, name: &str) -> Result<Option<Vec<&str>>, ApiError> {
        let wrong = || ApiError::invalid(name, "expected a list of texts");
        let read = |value: &Value| value.as_str().map(|_| ()).ok_or_else(wrong);
        let Some(value) = self.get(name) else { return Ok(None) };
        let list = value.as_array().ok_or_else(wrong)?;
        list.iter().try_for_each(read)?;
        Ok(Some(list.iter().filter_map(Value::as_str).collect()))
    }
}
