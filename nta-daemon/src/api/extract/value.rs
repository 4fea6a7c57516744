//! Values of parameters: how each is read, and what the OpenAPI document says about it.

use std::net::IpAddr;

use utoipa::openapi::schema::{AnyOfBuilder, KnownFormat, ObjectBuilder, Schema, SchemaFormat, SchemaType, Type};

use crate::config::SensorName;
use crate::json::protocol_number;
use crate::json::words::words_schema;
use nta_core::domain::{AlertKind, Severity, Timestamp};

/// The value of a parameter.
pub(in crate::api) trait Parameter: Sized {
    /// Reads it; the error says what is expected.
    fn parse(text: &str) -> Result<Self, String>;

    /// What may be written.
    fn schema() -> Schema;
}

/// One of some words.
pub(in crate::api) trait Word: Copy + 'static {
    /// Each word with what it stands for.
    fn all() -> Vec<(&'static str, Self)>;
}

impl<T: Word> Parameter for T {
    fn parse(text: &str) -> Result<Self, String> {
        let all = Self::all();
        let found = all.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        let words = || all.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
        found.ok_or_else(|| format!("one of {}", words()))
    }

    fn schema() -> Schema {
        words_schema(Self::all().into_iter().map(|(word, _)| word))
    }
}

impl Word for AlertKind {
    fn all() -> Vec<(&'static str, Self)> {
        Self::ALL.into_iter().map(|kind| (kind.word(), kind)).collect()
    }
}

impl Word for Severity {
    fn all() -> Vec<(&'static str, Self)> {
        Self::ALL.into_iter().map(|severity| (severity.word(), severity)).collect()
    }
}

impl Parameter for IpAddr {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_wrong| "an IPv4 or IPv6 address".to_owned())
    }

    fn schema() -> Schema {
        let format = |format| text().format(Some(SchemaFormat::KnownFormat(format)));
        AnyOfBuilder::new().item(format(KnownFormat::Ipv4)).item(format(KnownFormat::Ipv6)).into()
    }
}

/// A port.
impl Parameter for u16 {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_wrong| "a number from 0 to 65535".to_owned())
    }

    fn schema() -> Schema {
        number(0, Self::MAX.into()).into()
    }
}

/// An IP protocol by its name or number.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct IpProtocol(pub(in crate::api) u8);

impl Parameter for IpProtocol {
    fn parse(text: &str) -> Result<Self, String> {
        protocol_number(text).map(Self).ok_or_else(|| "tcp, udp, icmp … or a number from 0 to 255".to_owned())
    }

    fn schema() -> Schema {
        let names = (0..=u8::MAX).map(crate::json::protocol_name).filter(|name| name.parse::<u8>().is_err());
        AnyOfBuilder::new().item(words_schema(names)).item(number(0, u8::MAX.into())).into()
    }
}

/// A text that is compared with what is stored: who does something, or suffers it.
#[derive(Clone, Debug)]
pub(in crate::api) struct PartyName(pub(in crate::api) String);

impl Parameter for PartyName {
    fn parse(text: &str) -> Result<Self, String> {
        let length = text.chars().count();
        let fits = (1..=MAX_PARTY).contains(&length) && !text.contains('\0');
        if fits { Ok(Self(text.to_owned())) } else { Err(format!("a text of 1 to {MAX_PARTY} characters")) }
    }

    fn schema() -> Schema {
        text().min_length(Some(1)).max_length(Some(MAX_PARTY)).into()
    }
}

/// The name of a sensor.
#[derive(Clone, Debug)]
pub(in crate::api) struct Sensor(pub(in crate::api) String);

impl Parameter for Sensor {
    fn parse(text: &str) -> Result<Self, String> {
        let name = text.parse::<SensorName>().ok().and_then(|name| name.get().map(str::to_owned));
        name.map(Self).ok_or_else(|| "the name of a sensor, as rows have it".to_owned())
    }

    fn schema() -> Schema {
        text().pattern(Some(r"^[A-Za-z0-9._\-]{1,64}$")).into()
    }
}

/// Longest name of a party: a prefix of IPv6 has 43 characters.
const MAX_PARTY: usize = 100;

impl Parameter for Timestamp {
    fn parse(text: &str) -> Result<Self, String> {
        let expected = "RFC 3339 as in 2026-01-31T12:00:00Z, or seconds since the Unix epoch";
        parse_time(text).ok_or_else(|| expected.to_owned())
    }

    fn schema() -> Schema {
        let date = text().format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
        let seconds = text().pattern(Some(r"^[0-9]{1,10}(\.[0-9]{1,9})?$"));
        AnyOfBuilder::new().item(date).item(seconds).into()
    }
}

/// Times before 1970 are refused: there are no windows that early.
fn parse_time(text: &str) -> Option<Timestamp> {
    if let Ok(seconds) = text.parse::<u64>() {
        return seconds.checked_mul(1_000_000_000).map(Timestamp::from_nanos);
    }
    if let Ok(seconds) = text.parse::<f64>() {
        // From seconds to nanoseconds by way of a range check: `as` would turn NaN and infinity into numbers.
        return (0.0..MAX_SECONDS).contains(&seconds).then(|| Timestamp::from_nanos((seconds * 1e9).round() as u64));
    }
    // In a query an unescaped `+` of the zone means a space.
    let time: jiff::Timestamp = text.parse().or_else(|_| text.replace(' ', "+").parse()).ok()?;
    let ns = time.as_nanosecond();
    (ns >= 0).then(|| Timestamp::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX)))
}

/// Beyond the year 2500 nanoseconds do not fit.
const MAX_SECONDS: f64 = 1.7e10;

/// The schema of a text.
pub(in crate::api) fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// The schema of a whole number.
pub(in crate::api) fn number(least: u64, most: u64) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::Type(Type::Integer)).minimum(Some(least)).maximum(Some(most))
}

/// The same schema for a field that may also be null, which is as if it were not given.
pub(in crate::api) fn or_null(mut schema: Schema) -> Schema {
    match &mut schema {
        Schema::Object(object) => {
            if let SchemaType::Type(kind) = object.schema_type.clone() {
                object.schema_type = SchemaType::Array(vec![kind, Type::Null]);
            }
            if let Some(values) = &mut object.enum_values {
                values.push(serde_json::Value::Null);
            }
        }
        Schema::Array(array) => array.schema_type = SchemaType::Array(vec![Type::Array, Type::Null]),
        _ => {}
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_both_forms() {
        let half = Some(Timestamp::from_nanos(1_500_000_000));
        for text in ["1.5", "1970-01-01T00:00:01.5Z", "1970-01-01T02:00:01.5+02:00", "1970-01-01T02:00:01.5 02:00"] {
            assert_eq!(parse_time(text), half, "{text}");
        }
        assert_eq!(parse_time("0"), Some(Timestamp::from_nanos(0)));
        assert_eq!(parse_time("9000-01-01T00:00:00Z"), Some(Timestamp::from_nanos(u64::MAX)));
        for text in [
            "",
            "-1",
            "-0.5",
            "1969-12-31T23:59:59Z",
            "yesterday",
            "NaN",
            "inf",
            "1e300",
            "99999999999999999999",
            "2026-01-01",
        ] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }
}
