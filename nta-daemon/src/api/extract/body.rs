//! The JSON body of a request as a type.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error as _};
use serde::ser::Serialize;
use tokio::time::timeout;
use utoipa::openapi::Schema;

use super::value::{number, or_null, text};
use crate::api::ApiError;

/// Extracts a JSON object, and answers with one. No body at all is an object without fields.
#[derive(Debug)]
pub(in crate::api) struct Json<T>(pub(in crate::api) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let content_type = content_type(request.headers())?;
        check_encoding(request.headers())?;
        let bytes = whole(request, state).await?;
        if bytes.is_empty() {
            return read(b"{}").map(Self);
        }
        match content_type {
            ContentType::Json => read(&bytes).map(Self),
            ContentType::None => Err(unsupported("a body without `Content-Type`")),
        }
    }
}

/// The body of a request, once all of it is there.
///
/// # Errors
/// What the limit of the path cuts, a client that goes away in the middle, and one that sends too slowly.
pub(in crate::api) async fn whole<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, ApiError> {
    whole_within(BODY_WITHIN, request, state).await
}

async fn whole_within<S: Send + Sync>(most: Duration, request: Request, state: &S) -> Result<Bytes, ApiError> {
    let late = || ApiError::Refused {
        status: StatusCode::REQUEST_TIMEOUT,
        field: "body",
        detail: format!("the body did not come to its end within {} s", most.as_secs()),
    };
    let read = timeout(most, Bytes::from_request(request, state)).await.map_err(|_late| late())?;
    read.map_err(|cut| match cut.status() {
        // The layer in front of the route says how much it takes.
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::TooLarge { most: 0, given: None },
        _ => ApiError::invalid("body", "could not be read to its end"),
    })
}

/// In which a client has to have sent a body that is read before it is looked at: 8 MiB at most.
const BODY_WITHIN: Duration = Duration::from_secs(20);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

enum ContentType {
    Json,
    None,
}

/// A type that a page of another site may send without being asked for leave (`text/plain`, forms) is refused, whatever
/// the body is.
fn content_type(headers: &HeaderMap) -> Result<ContentType, ApiError> {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let Some(value) = values.next() else { return Ok(ContentType::None) };
    if values.next().is_some() {
        return Err(unsupported("`Content-Type` given more than once"));
    }
    let value = String::from_utf8_lossy(value.as_bytes());
    let mut parts = value.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    if essence.eq_ignore_ascii_case("application/json") {
        // JSON is UTF-8 (RFC 8259); another character set would be read as something else than what was meant.
        let charset =
            parts.filter_map(|part| part.split_once('=')).find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
        return match charset.map(|(_, name)| name.trim().trim_matches('"')) {
            Some(name) if !["utf-8", "utf8", "us-ascii"].iter().any(|known| known.eq_ignore_ascii_case(name)) => {
                Err(unsupported(&format!("charset `{}`", name.chars().take(100).collect::<String>())))
            }
            _ => Ok(ContentType::Json),
        };
    }
    Err(unsupported(&format!("`{}`", essence.chars().take(100).collect::<String>())))
}

/// A body that was encoded on the way would be read as something else.
fn check_encoding(headers: &HeaderMap) -> Result<(), ApiError> {
    let encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    let mut named = encodings.filter(|value| !value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity"));
    named.next().map_or(Ok(()), |value| {
        let value = String::from_utf8_lossy(value.as_bytes()).chars().take(100).collect::<String>();
        Err(ApiError::MediaType { field: "Content-Encoding", detail: format!("`{value}`: no encoding is taken here") })
    })
}

fn unsupported(given: &str) -> ApiError {
    ApiError::MediaType {
        field: "Content-Type",
        detail: format!("{given}: expected `Content-Type: application/json` in UTF-8"),
    }
}

/// Reads the document. The refusal names the field; where the text is no JSON it names line and column.
fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    // Serde would take a list for a struct, field by field.
    let is_object = bytes.trim_ascii_start().first() == Some(&b'{');
    if !is_object && serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok() {
        return Err(ApiError::invalid("body", "expected a JSON object"));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let read = serde_path_to_error::deserialize(&mut json);
    let value: T = read.map_err(|error| {
        let path = error.path().to_string();
        let inner = error.inner();
        if !inner.is_data() {
            return ApiError::invalid("body", format!("no JSON: {inner}"));
        }
        // Without line and column: the field says where.
        let text = inner.to_string();
        let detail = text.rsplit_once(" at line ").map_or(text.as_str(), |(detail, _)| detail).to_owned();
        let inside = |name: &str| if path == "." { name.to_owned() } else { format!("{path}.{name}") };
        let missing = detail.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`'));
        match missing {
            Some(name) => ApiError::invalid(inside(name), "must be given"),
            None if path == "." => ApiError::invalid("body", detail),
            None => ApiError::invalid(path, detail),
        }
    })?;
    json.end().map_err(|error| ApiError::invalid("body", format!("no JSON: {error}")))?;
    Ok(value)
}

/// A text of 1 to `MAX` characters, not all of them blank.
#[derive(Clone, Debug)]
pub(in crate::api) struct Text<const MAX: usize>(pub(in crate::api) String);

impl<'de, const MAX: usize> Deserialize<'de> for Text<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.trim().is_empty() || text.chars().count() > MAX || text.contains('\0') {
            return Err(D::Error::custom(format!("expected a text of 1 to {MAX} characters")));
        }
        Ok(Self(text))
    }
}

impl<const MAX: usize> Text<MAX> {
    /// What an optional field may have.
    pub(in crate::api) fn schema() -> Schema {
        or_null(text().min_length(Some(1)).max_length(Some(MAX)).pattern(Some(r"[^\s]")).into())
    }
}

/// A whole number from 1 to `MAX`.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct Count<const MAX: u32>(pub(in crate::api) u32);

impl<'de, const MAX: u32> Deserialize<'de> for Count<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        // JSON knows one kind of number: 30.0 is 30.
        let whole = value.as_f64().filter(|number| number.fract().abs() < f64::EPSILON);
        let number = whole.filter(|number| (1.0..=f64::from(MAX)).contains(number)).map(|number| number as u32);
        let number = number.filter(|number| (1..=MAX).contains(number));
        number.map(Self).ok_or_else(|| D::Error::custom(format!("`{value}`: expected a number from 1 to {MAX}")))
    }
}

impl<const MAX: u32> Count<MAX> {
    /// What an optional field may have.
    pub(in crate::api) fn schema() -> Schema {
        or_null(number(1, MAX.into()).into())
    }
}
