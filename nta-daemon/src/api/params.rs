//! Query parameters, checked one by one so that an error can name the one that is wrong. An unknown parameter is an
//! error too: a mistyped filter must not look like an answer.

use std::str::FromStr;

use axum::extract::Query;
use axum::http::Uri;

use super::ApiError;
use nta_core::domain::{AlertKind, Severity, Timestamp};

/// The parameters of a request.
#[derive(Debug)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads the query of `uri`, in which each of `known` may occur once.
    pub(super) fn read(uri: &Uri, known: &[&str]) -> Result<Self, ApiError> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|error| ApiError::invalid("query", error.body_text()))?;
        for (i, (name, _)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let known = known.join(", ");
                return Err(ApiError::invalid(name, format!("unknown parameter; this path takes {known}")));
            }
            if pairs[..i].iter().any(|(earlier, _)| earlier == name) {
                return Err(ApiError::invalid(name, "given more than once"));
            }
        }
        Ok(Self(pairs))
    }

    /// The value of a parameter.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// A point in time: RFC 3339, or seconds since the Unix epoch.
    pub(super) fn time(&self, name: &str) -> Result<Option<Timestamp>, ApiError> {
        self.get(name).map(|text| time(name, text)).transpose()
    }

    /// A value that can be parsed; `expected` says what would be right.
    pub(super) fn parsed<T: FromStr>(&self, name: &str, expected: &str) -> Result<Option<T>, ApiError> {
        let wrong = |text: &str| ApiError::invalid(name, format!("`{text}`: expected {expected}"));
        self.get(name).map(|text| text.parse().map_err(|_wrong| wrong(text))).transpose()
    }

    /// One of some words, or what each stands for.
    pub(super) fn word<T>(
        &self,
        name: &str,
        known: impl IntoIterator<Item = (&'static str, T)>,
    ) -> Result<Option<T>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let mut words = Vec::new();
        for (word, value) in known {
            if word == text {
                return Ok(Some(value));
            }
            words.push(word);
        }
        Err(ApiError::invalid(name, format!("`{text}`: expected one of {}", words.join(", "))))
    }

    /// A kind of alert.
    pub(super) fn kind(&self, name: &str) -> Result<Option<&'static str>, ApiError> {
        self.word(name, AlertKind::ALL.map(|kind| (kind.word(), kind.word())))
    }

    /// A severity.
    pub(super) fn severity(&self, name: &str) -> Result<Option<Severity>, ApiError> {
        self.word(name, Severity::ALL.map(|severity| (severity.word(), severity)))
    }

    /// The interval `from` to `to`.
    pub(super) fn interval(&self) -> Result<[Option<Timestamp>; 2], ApiError> {
        let (from, to) = (self.time("from")?, self.time("to")?);
        match (from, to) {
            (Some(from), Some(to)) if from > to => Err(ApiError::invalid("from", format!("later than `to` ({to})"))),
            _ => Ok([from, to]),
        }
    }
}

/// A point in time: RFC 3339, or seconds since the Unix epoch; `name` is the field that it stands in.
fn time(name: &str, text: &str) -> Result<Timestamp, ApiError> {
    let wrong = "expected RFC 3339 as in 2026-01-31T12:00:00Z, or seconds since the Unix epoch";
    parse_time(text).ok_or_else(|| ApiError::invalid(name, format!("`{text}`: {wrong}")))
}

/// Times before 1970 become 1970: there are no windows that early.
fn parse_time(text: &str) -> Option<Timestamp> {
    if let Ok(seconds) = text.parse::<u64>() {
        return seconds.checked_mul(1_000_000_000).map(Timestamp::from_nanos);
    }
    if let Ok(seconds) = text.parse::<f64>() {
        // From seconds to nanoseconds by way of a range check: `as` would turn NaN and infinity into numbers.
        return (seconds.abs() < MAX_SECONDS).then(|| Timestamp::from_nanos((seconds * 1e9).round() as u64));
    }
    // In a query an unescaped `+` of the zone means a space.
    let time: jiff::Timestamp = text.parse().or_else(|_| text.replace(' ', "+").parse()).ok()?;
    Some(Timestamp::from_nanos(u64::try_from(time.as_nanosecond()).unwrap_or_default()))
}

/// Beyond the year 2500 nanoseconds do not fit.
const MAX_SECONDS: f64 = 1.7e10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_both_forms() {
        let half = Some(Timestamp::from_nanos(1_500_000_000));
        for text in ["1.5", "1970-01-01T00:00:01.5Z", "1970-01-01T02:00:01.5+02:00", "1970-01-01T02:00:01.5 02:00"] {
            assert_eq!(parse_time(text), half, "{text}");
        }
        assert_eq!(parse_time("-5"), Some(Timestamp::from_nanos(0)));
        assert_eq!(parse_time("1969-01-01T00:00:00Z"), Some(Timestamp::from_nanos(0)));
        for text in ["", "yesterday", "NaN", "inf", "1e300", "99999999999999999999", "2026-01-01"] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }
}
