//! How requests get in: the query, the path and the body as types. What does not fit is refused by name, with what was
//! given and what is allowed; what is not known is refused too, as a mistyped filter must not look like an answer.

mod body;
mod pairs;
mod path;
mod query;
mod value;

pub use value::parse_time;

pub(super) use body::{Count, Json, Text, whole};
pub(super) use pairs::Pairs;
pub(super) use path::{InPath, Path, PathParameter};
pub(super) use query::{Parameters, Query, parameters};
pub(super) use value::{
    Cidr, Flag, IpProtocol, Parameter, PartyName, Sensor, Several, Word, addresses, number, or_null, parties, text,
};
