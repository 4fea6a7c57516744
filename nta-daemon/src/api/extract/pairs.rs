//! Names and values of a query, each at most once unless it takes several.

use axum::http::Uri;

use super::value::Parameter;
use crate::api::ApiError;

/// The parameters of a request.
#[derive(Debug)]
pub(in crate::api) struct Pairs(Vec<(String, String)>);

impl Pairs {
    /// Reads the query of `uri`, in which `known` may occur.
    pub(in crate::api) fn read(uri: &Uri, known: &[&str]) -> Result<Self, ApiError> {
        let axum::extract::Query(pairs) = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|_unreadable| ApiError::invalid("query", "expected `name=value` pairs with `&` between them"))?;
        Self::of(pairs, known)
    }

    /// The same of pairs that are at hand.
    pub(in crate::api) fn of(pairs: Vec<(String, String)>, known: &[&str]) -> Result<Self, ApiError> {
        for (name, _) in &pairs {
            if !known.contains(&name.as_str()) {
                let takes = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(ApiError::invalid(name, format!("`{name}`: unknown parameter; this path takes {takes}")));
            }
        }
        Ok(Self(pairs))
    }

    /// The names that are given.
    pub(in crate::api) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// The value of a parameter.
    pub(in crate::api) fn get<T: Parameter>(&self, name: &str) -> Result<Option<T>, ApiError> {
        let mut given = self.0.iter().filter(|(given, _)| given == name).map(|(_, value)| value.as_str());
        let Some(first) = given.next() else { return Ok(None) };
        let others: Vec<&str> = given.collect();
        if others.is_empty() {
            return read(name, first).map(Some);
        }
        if !T::REPEATS {
            return Err(ApiError::invalid(name, "given more than once"));
        }
        let all: Vec<&str> = std::iter::once(first).chain(others).collect();
        read(name, &all.join(",")).map(Some)
    }
}

/// Reads a value; the refusal names the parameter, the value and what is allowed.
pub(super) fn read<T: Parameter>(name: &str, text: &str) -> Result<T, ApiError> {
    T::parse(text).map_err(|expected| ApiError::invalid(name, format!("`{}`: expected {expected}", shown(text))))
}

/// A value as a refusal repeats it: what is long is cut.
fn shown(text: &str) -> String {
    if text.chars().count() <= MAX_SHOWN {
        text.to_owned()
    } else {
        text.chars().take(MAX_SHOWN).chain(['…']).collect()
    }
}

const MAX_SHOWN: usize = 100;
