//! Values of parameters: how each is read, and what the OpenAPI document says about it.

use std::net::IpAddr;

use ipnet::IpNet;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{
    AnyOfBuilder, ArrayBuilder, KnownFormat, ObjectBuilder, Schema, SchemaFormat, SchemaType, Type,
};

use crate::config::SensorName;
use crate::json::protocol_number;
use crate::json::words::words_schema;
use crate::store::{Addresses, PartyFilter};
use nta_core::detect::network;
use nta_core::domain::{AlertKind, Severity, Timestamp};

/// The value of a parameter.
pub(in crate::api) trait Parameter: Sized {
    /// Reads it; the error says what is expected.
    fn parse(text: &str) -> Result<Self, String>;

    /// What may be written.
    fn schema() -> Schema;

    /// Whether it may be given more than once: then the texts come with `,` between them.
    const REPEATS: bool = false;
}

/// Most values of a parameter that takes several.
const MOST_VALUES: usize = 20;

/// One or several values, with `,` between them or each by itself.
#[derive(Clone, Debug)]
pub(in crate::api) struct Several<T>(pub(in crate::api) Vec<T>);

impl<T: Parameter> Parameter for Several<T> {
    fn parse(text: &str) -> Result<Self, String> {
        let values: Vec<&str> = text.split(',').collect();
        if values.len() > MOST_VALUES {
            return Err(format!("at most {MOST_VALUES} values"));
        }
        let is_one = values.len() == 1;
        let one = |value: &str| {
            // Of several it is said which one is wrong.
            let wrong: String = value.trim().chars().take(100).collect();
            let named = if is_one { String::new() } else { format!("; `{wrong}` is none") };
            T::parse(value.trim()).map_err(|expected| format!("{expected}, or several with `,` between them{named}"))
        };
        values.into_iter().map(one).collect::<Result<_, _>>().map(Self)
    }

    fn schema() -> Schema {
        let items = RefOr::T(T::schema());
        ArrayBuilder::new().items(items).min_items(Some(1)).max_items(Some(MOST_VALUES)).into()
    }

    const REPEATS: bool = true;
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

/// Yes or no.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct Flag(pub(in crate::api) bool);

impl Word for Flag {
    fn all() -> Vec<(&'static str, Self)> {
        vec![("true", Self(true)), ("false", Self(false))]
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
        // An IPv4 address that is written as an IPv6 one is the same host.
        let address = text.parse::<Self>().map_err(|_wrong| "an IPv4 or IPv6 address".to_owned())?;
        Ok(address.to_canonical())
    }

    fn schema() -> Schema {
        let format = |format| text().format(Some(SchemaFormat::KnownFormat(format)));
        AnyOfBuilder::new().item(format(KnownFormat::Ipv4)).item(format(KnownFormat::Ipv6)).into()
    }
}

/// An address or a network. IPv4 that is written as IPv6 has it is IPv4.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct Cidr(pub(in crate::api) IpNet);

impl Parameter for Cidr {
    fn parse(text: &str) -> Result<Self, String> {
        // The refusal repeats the text by itself.
        let expected =
            || "an IPv4 or IPv6 address, or a network as 192.0.2.0/24 without bits behind its prefix".to_owned();
        let network = network(text).map_err(|_wrong| expected())?;
        Ok(Self(match network {
            IpNet::V6(v6) if v6.prefix_len() >= MAPPED_BITS => match v6.addr().to_ipv4_mapped() {
                Some(v4) => IpNet::new(v4.into(), v6.prefix_len() - MAPPED_BITS).map_err(|_wrong| expected())?,
                None => network,
            },
            other => other,
        }))
    }

    fn schema() -> Schema {
        let format = |format| text().format(Some(SchemaFormat::KnownFormat(format)));
        AnyOfBuilder::new()
            .item(format(KnownFormat::Ipv4))
            .item(format(KnownFormat::Ipv6))
            .item(text().pattern(Some(r"^([0-9]{1,2}\.){3}0/([89]|[12][0-9]|3[0-2])$")))
            .item(text().pattern(Some(r"^[0-9a-f]{1,4}:[0-9a-f]{1,4}::/(3[2-9]|[4-9][0-9])$")))
            .into()
    }
}

/// The addresses of a filter; all where there is none.
pub(in crate::api) fn addresses(several: Option<&Several<Cidr>>) -> Addresses {
    several.iter().flat_map(|several| &several.0).map(|cidr| cidr.0).collect()
}

/// Bits before the IPv4 address where IPv6 holds one.
const MAPPED_BITS: u8 = 96;

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

/// Who does something, or suffers it: as an alert writes it, or a network that holds it.
#[derive(Clone, Debug)]
pub(in crate::api) enum PartyName {
    /// A MAC address, `*` or `-`.
    Word(String),
    /// An address or a network.
    Network(IpNet),
}

impl Parameter for PartyName {
    fn parse(text: &str) -> Result<Self, String> {
        let expected = || {
            "an IPv4 or IPv6 address, a network as 192.0.2.0/24 without bits behind its prefix, a MAC address as 02:00:5e:10:00:01, \
             * for many or - for nobody"
                .to_owned()
        };
        if text == "*" || text == "-" {
            return Ok(Self::Word(text.to_owned()));
        }
        let is_byte = |part: &str| part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_hexdigit());
        if text.split(':').count() == 6 && text.split(':').all(is_byte) {
            return Ok(Self::Word(text.to_ascii_lowercase()));
        }
        Cidr::parse(text).map(|cidr| Self::Network(cidr.0)).map_err(|_other| expected())
    }

    fn schema() -> Schema {
        let format = |format| text().format(Some(SchemaFormat::KnownFormat(format)));
        AnyOfBuilder::new()
            .item(format(KnownFormat::Ipv4))
            .item(format(KnownFormat::Ipv6))
            .item(text().pattern(Some(r"^([0-9]{1,2}\.){3}0/([89]|[12][0-9]|3[0-2])$")))
            .item(text().pattern(Some(r"^[0-9a-f]{1,4}:[0-9a-f]{1,4}::/(3[2-9]|[4-9][0-9])$")))
            .item(text().pattern(Some("^([0-9a-f]{2}:){5}[0-9a-f]{2}$")))
            .item(words_schema(["*", "-"]))
            .into()
    }
}

/// The parties of a filter; all where there is none.
pub(in crate::api) fn parties(several: Option<&Several<PartyName>>) -> PartyFilter {
    let all = || several.iter().flat_map(|several| &several.0);
    let words = all().filter_map(|party| match party {
        PartyName::Word(word) => Some(word.clone()),
        PartyName::Network(_) => None,
    });
    let networks = all().filter_map(|party| match party {
        PartyName::Network(network) => Some(*network),
        PartyName::Word(_) => None,
    });
    PartyFilter::new(words.collect(), networks.collect())
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

/// A time as RFC 3339 has it, or in seconds since the Unix epoch. Times before 1970 are refused: there are no windows that early.
pub fn parse_time(text: &str) -> Option<Timestamp> {
    if let Ok(seconds) = text.parse::<u64>() {
        return seconds.checked_mul(1_000_000_000).map(Timestamp::from_nanos);
    }
    if let Some(time) = decimal(text) {
        return Some(time);
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

/// Seconds with up to nine decimals, each of which counts: a float holds no more than six beside the seconds of today.
fn decimal(text: &str) -> Option<Timestamp> {
    let (seconds, decimals) = text.split_once('.')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(seconds) || !is_number(decimals) || decimals.len() > 9 {
        return None;
    }
    let ns = format!("{decimals:0<9}").parse::<u64>().ok()?;
    seconds.parse::<u64>().ok()?.checked_mul(1_000_000_000)?.checked_add(ns).map(Timestamp::from_nanos)
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
    fn a_party_is_read_as_alerts_write_it() {
        for (text, read) in [
            ("192.0.2.1", Some("192.0.2.1/32")),
            ("2001:DB8:0::1", Some("2001:db8::1/128")),
            ("FE80::0001", Some("fe80::1/128")),
            ("::ffff:192.0.2.1", Some("192.0.2.1/32")),
            ("192.0.2.0/24", Some("192.0.2.0/24")),
            ("2001:db8:0::/48", Some("2001:db8::/48")),
            ("02:00:5E:10:00:01", Some("02:00:5e:10:00:01")),
            ("*", Some("*")),
            ("-", Some("-")),
            ("", None),
            ("zz", None),
            ("192.0.2", None),
            ("192.0.2.1/24", None),
            ("192.0.2.0/33", None),
            ("192.0.2.0/", None),
            ("02:00:5e:10:00", None),
            ("02:00:5e:10:00:0g", None),
            ("gateway", None),
        ] {
            let party = PartyName::parse(text).ok().map(|party| match party {
                PartyName::Word(word) => word,
                PartyName::Network(network) => network.to_string(),
            });
            assert_eq!(party.as_deref(), read, "{text}");
        }
    }

    #[test]
    fn times_are_read_in_both_forms() {
        let half = Some(Timestamp::from_nanos(1_500_000_000));
        for text in ["1.5", "1970-01-01T00:00:01.5Z", "1970-01-01T02:00:01.5+02:00", "1970-01-01T02:00:01.5 02:00"] {
            assert_eq!(parse_time(text), half, "{text}");
        }
        assert_eq!(parse_time("0"), Some(Timestamp::from_nanos(0)));
        assert_eq!(parse_time("1721380347.940923001"), Some(Timestamp::from_nanos(1_721_380_347_940_923_001)));
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
