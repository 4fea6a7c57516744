//! What the head of an upload says: type, encoding, lengths.

use axum::http::{HeaderMap, HeaderName, header};

use crate::api::ApiError;
use crate::uploads::Encoding;

/// Types that a body may have: its content decides.
pub(super) const TYPES: [&str; 8] = [
    "application/octet-stream",
    "application/vnd.tcpdump.pcap",
    "application/x-pcap",
    "application/x-pcapng",
    "application/pcap",
    "application/pcapng",
    "application/gzip",
    "application/zstd",
];
/// The same of parts.
pub(super) const PART_TYPES: [&str; 2] = ["application/octet-stream", "application/partial-upload"];

/// The type of a body, without its parameters.
pub(super) fn essence(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().unwrap_or("?");
    value.split(';').next().map(str::trim)
}

pub(super) fn check_type(headers: &HeaderMap, allowed: &[&str]) -> Result<(), ApiError> {
    let Some(given) = essence(headers) else { return Ok(()) };
    if allowed.iter().any(|known| known.eq_ignore_ascii_case(given)) {
        return Ok(());
    }
    let given: String = given.chars().take(100).collect();
    Err(media_type("Content-Type", format!("`{given}`: expected one of {}", allowed.join(", "))))
}

pub(super) fn encoding(headers: &HeaderMap) -> Result<Encoding, ApiError> {
    let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
    let Some(value) = values.next() else { return Ok(Encoding::Identity) };
    let word = String::from_utf8_lossy(value.as_bytes()).trim().to_ascii_lowercase();
    match word.as_str() {
        _ if values.next().is_some() => {}
        "identity" => return Ok(Encoding::Identity),
        "gzip" | "x-gzip" => return Ok(Encoding::Gzip),
        "zstd" => return Ok(Encoding::Zstd),
        _ => {}
    }
    let given: String = word.chars().take(100).collect();
    Err(media_type("Content-Encoding", format!("`{given}`: expected one of identity, gzip, zstd")))
}

pub(super) const fn media_type(field: &'static str, detail: String) -> ApiError {
    ApiError::MediaType { field, detail }
}

pub(super) fn number(headers: &HeaderMap, name: &HeaderName) -> Result<Option<u64>, ApiError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.parse().ok()).filter(|_| values.next().is_none());
    number.map(Some).ok_or_else(|| ApiError::invalid(name.as_str(), "expected one number that is not negative"))
}
