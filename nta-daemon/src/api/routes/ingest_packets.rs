//! `POST /ingest` with a JSON body: packets as records, accounted like a capture.

use std::net::IpAddr;

use axum::extract::{FromRequest as _, Request};
use axum::http::StatusCode;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;
use utoipa::openapi::Schema;
use utoipa::openapi::schema::AnyOfBuilder;

use super::ingest::IngestAnswer;
use super::uploads::refused;
use crate::api::access::{Caller, Role};
use crate::api::extract::{IpProtocol, Json, Parameter, Sensor, number, or_null, text};
use crate::api::fleet::NumbersJson;
use crate::api::{ApiError, ApiState};
use crate::store::NumberRange;
use crate::uploads::{PacketBatch, PacketRecord, PacketsRefused};
use nta_core::domain::Timestamp;

/// Records of a message.
const MOST_RECORDS: usize = 100_000;
/// Numbers beyond which none counts on.
const MOST_SEQUENCE: u64 = 1 << 53;
/// Characters of a log's identity.
const MOST_EPOCH: usize = 64;
/// A capture's times end with the year 2106.
const MOST_NS: u64 = (1 << 32) * 1_000_000_000 - 1;
/// Flags of byte 13 of a TCP header as tcpdump and Zeek write them, the lowest bit first. tcpdump has a point for ACK.
const FLAGS: [char; 8] = ['F', 'S', 'R', 'P', 'A', 'U', 'E', 'C'];

/// A message of packets as records.
#[derive(Debug, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct PacketsMessage {
    /// Who counted the packets: within the scope of the token.
    #[schema(schema_with = <Sensor as Parameter>::schema, value_type = String)]
    sensor: As<Sensor>,
    /// Identity of the client's log, 1 to 64 letters, digits, `.`, `_` or `-`. Who begins to count anew takes another one.
    #[schema(schema_with = epoch_schema)]
    epoch: Epoch,
    /// Number of the message in its log, from 1. Messages are taken in their order, each once.
    #[schema(minimum = 1, maximum = 9_007_199_254_740_992_u64)]
    sequence: u64,
    /// At most 100,000, in the order in which they passed.
    #[schema(max_items = 100_000)]
    #[serde(deserialize_with = "objects")]
    packets: Vec<PacketJson>,
    /// Whether the capture ends with this message. Without it, it ends when nothing came for `uploads.packets_idle_s`.
    #[serde(default)]
    last: bool,
}

/// A packet.
#[derive(Debug, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct PacketJson {
    /// When it passed: RFC 3339, or seconds since the Unix epoch.
    #[schema(schema_with = time_schema)]
    time: As<Timestamp>,
    /// From which address it came.
    #[schema(schema_with = <IpAddr as Parameter>::schema)]
    source: As<IpAddr>,
    /// To which address it went, of the same family.
    #[schema(schema_with = <IpAddr as Parameter>::schema)]
    destination: As<IpAddr>,
    /// IP protocol, its name or its number.
    #[schema(schema_with = <IpProtocol as Parameter>::schema)]
    protocol: As<IpProtocol>,
    /// Source port, or type of an ICMP message. Without it, as of a later fragment, the packet is counted without ports.
    source_port: Option<u16>,
    /// Destination port, or code of an ICMP message.
    destination_port: Option<u16>,
    /// Bytes of the frame on the wire, its Ethernet header among them.
    #[schema(minimum = 34, maximum = 65_549)]
    length: u32,
    /// Byte 13 of the TCP header as a number, or as letters of `FSRPAUEC`. Without it the packet is counted without the state of its connection.
    #[schema(schema_with = flags_schema)]
    tcp_flags: Option<Flags>,
    /// Bytes behind the TCP header. Unless given, all behind 20 bytes of header; none of a SYN or of a frame of 60 bytes, which
    /// Ethernet may have filled.
    #[schema(maximum = 65_495)]
    payload_length: Option<u32>,
}

/// What a parameter of a query is, in a body: a text, or a number where that says it.
#[derive(Clone, Debug)]
struct As<T>(T);

impl<'de, T: Parameter> Deserialize<'de> for As<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let given = match Value::deserialize(deserializer)? {
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            other => other.to_string(),
        };
        T::parse(&given).map(Self).map_err(|expected| {
            let given: String = given.chars().take(100).collect();
            D::Error::custom(format!("`{given}`: expected {expected}"))
        })
    }
}

/// Reads objects alone: serde would take a list for a record too, field by field.
fn objects<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PacketJson>, D::Error> {
    struct Object(PacketJson);
    struct Fields;
    impl<'de> Visitor<'de> for Fields {
        type Value = Object;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a JSON object")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object, A::Error> {
            PacketJson::deserialize(MapAccessDeserializer::new(map)).map(Object)
        }
    }
    impl<'de> Deserialize<'de> for Object {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_map(Fields)
        }
    }
    Ok(Vec::<Object>::deserialize(deserializer)?.into_iter().map(|object| object.0).collect())
}

#[derive(Debug)]
struct Epoch(String);

impl<'de> Deserialize<'de> for Epoch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let is_one = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if text.is_empty() || text.len() > MOST_EPOCH || !text.chars().all(is_one) {
            return Err(D::Error::custom("expected 1 to 64 letters, digits, `.`, `_` or `-`"));
        }
        Ok(Self(text))
    }
}

#[derive(Clone, Copy, Debug)]
struct Flags(u8);

impl<'de> Deserialize<'de> for Flags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let given = Value::deserialize(deserializer)?;
        let flags = match &given {
            Value::Number(number) => number.as_u64().and_then(|number| u8::try_from(number).ok()),
            Value::String(text) => text.chars().try_fold(0, |flags, letter| {
                let letter = if letter == '.' { 'A' } else { letter };
                let bit = FLAGS.iter().position(|known| *known == letter)?;
                Some(flags | 1 << bit)
            }),
            _ => None,
        };
        flags.map(Self).ok_or_else(|| {
            D::Error::custom(format!("`{given}`: expected a number from 0 to 255, or letters of FSRPAUEC"))
        })
    }
}

fn epoch_schema() -> Schema {
    text().pattern(Some(r"^[A-Za-z0-9._\-]{1,64}$")).into()
}

fn time_schema() -> Schema {
    AnyOfBuilder::new().item(<Timestamp as Parameter>::schema()).item(number(0, MOST_NS / 1_000_000_000)).into()
}

fn flags_schema() -> Schema {
    AnyOfBuilder::new()
        .item(or_null(number(0, u8::MAX.into()).into()))
        .item(text().pattern(Some(r"^[FSRPAUEC.]{0,8}$")))
        .into()
}

/// Takes a message of packets.
pub(super) async fn post(state: &ApiState, caller: &Caller, request: Request) -> Result<Json<IngestAnswer>, ApiError> {
    let Json(message) = Json::<PacketsMessage>::from_request(request, state).await?;
    let PacketsMessage { sensor: As(Sensor(sensor)), epoch: Epoch(epoch), sequence, packets, last } = message;
    if caller.role == Role::Sensor {
        caller.check_sensor(&sensor)?;
    }
    if !(1..=MOST_SEQUENCE).contains(&sequence) {
        return Err(ApiError::invalid("sequence", format!("expected a number from 1 to {MOST_SEQUENCE}")));
    }
    if packets.len() > MOST_RECORDS {
        return Err(ApiError::invalid("packets", format!("{}: expected at most {MOST_RECORDS}", packets.len())));
    }
    let late = packets.iter().position(|packet| packet.time.0.as_nanos() > MOST_NS);
    if let Some(index) = late {
        return Err(ApiError::invalid(format!("packets[{index}].time"), "expected a time before the year 2106"));
    }
    let records = packets.iter().map(PacketJson::record).collect();
    let batch = PacketBatch { sensor, epoch, number: sequence, records, is_last: last };
    let taken = state.uploads.take_packets(&batch, &caller.name).await.map_err(|refusal| match refusal {
        PacketsRefused::Record(wrong) => {
            ApiError::invalid(format!("packets[{}].{}", wrong.index, wrong.field), wrong.detail)
        }
        PacketsRefused::Logs(_) => ApiError::Full { detail: refusal.to_string() },
        PacketsRefused::Busy => {
            let status = StatusCode::TOO_MANY_REQUESTS;
            ApiError::Refused { status, field: "epoch", detail: refusal.to_string() }
        }
        PacketsRefused::Elsewhere => ApiError::Conflict { detail: refusal.to_string() },
        PacketsRefused::Upload(refusal) => refused(refusal),
    })?;
    let missing = taken.missing.map(|[first, last]| NumbersJson::from(NumberRange { first, last }));
    Ok(Json(IngestAnswer {
        sensor: batch.sensor,
        epoch: batch.epoch,
        stored: taken.is_stored.into(),
        doubles: taken.is_double.into(),
        watermark: taken.watermark,
        missing: missing.into_iter().collect(),
        refused: Vec::new(),
        settings: None,
        file_id: taken.file_id,
    }))
}

impl PacketJson {
    fn record(&self) -> PacketRecord {
        PacketRecord {
            time_ns: self.time.0.as_nanos(),
            source: self.source.0,
            destination: self.destination.0,
            protocol: self.protocol.0.0,
            source_port: self.source_port,
            destination_port: self.destination_port,
            length: self.length,
            tcp_flags: self.tcp_flags.map(|flags| flags.0),
            payload_length: self.payload_length,
        }
    }
}
