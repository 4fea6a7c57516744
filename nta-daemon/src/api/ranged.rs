//! Files for download, and parts of them as `Range` asks (RFC 9110, 14): what broke off goes on where it stopped.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Take};

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::Stream;
use futures_util::stream::try_unfold;
use http_range_header::{RangeUnsatisfiableError, parse_range_header};
use tokio::task::spawn_blocking;

use super::ApiError;

/// Bytes that are read of a file at a time.
const PIECE: usize = 256 << 10;

/// A file that somebody downloads. It never changes.
pub(super) struct Download {
    pub(super) file: File,
    pub(super) media_type: &'static str,
    /// The name that it is to be saved under.
    pub(super) name: String,
    /// SHA-256 of its bytes, where it is known.
    pub(super) sha256: Option<String>,
}

/// What of it is asked for.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    All,
    /// From the first to the last byte.
    Part(u64, u64),
    /// Bytes that it does not have.
    Nothing,
}

/// One part of bytes; what else `Range` may say (several parts, other units, what cannot be read) is answered by the whole file, as the
/// RFC allows.
fn wanted(headers: &HeaderMap, tag: Option<&str>, bytes: u64) -> Wanted {
    let mut ranges = headers.get_all(header::RANGE).iter();
    let (Some(range), None) = (ranges.next(), ranges.next()) else { return Wanted::All };
    // A part of another file than that of which the client has the rest.
    if headers.get(header::IF_RANGE).is_some_and(|known| tag.is_none_or(|tag| known.as_bytes() != tag.as_bytes())) {
        return Wanted::All;
    }
    let Some(parsed) = range.to_str().ok().and_then(|range| parse_range_header(range).ok()) else { return Wanted::All };
    match (parsed.ranges.len(), parsed.validate(bytes)) {
        (1, _) if bytes == 0 => Wanted::Nothing,
        (1, Ok(parts)) => parts.first().map_or(Wanted::All, |part| Wanted::Part(*part.start(), *part.end())),
        // More of its end than it has: all of it.
        (1, Err(RangeUnsatisfiableError::FileSuffixOutOfBounds)) if bytes > 0 => Wanted::Part(0, bytes - 1),
        (1, Err(_beyond)) => Wanted::Nothing,
        _ => Wanted::All,
    }
}

impl Download {
    /// The answer to a request with these headers: all of it (200), a part (206), or that there is none (416).
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn answer(mut self, headers: &HeaderMap) -> Result<Response, ApiError> {
        let failed = |error: io::Error| {
            tracing::error!(%error, "api: a file cannot be read");
            ApiError::Internal
        };
        let bytes = self.file.metadata().map_err(failed)?.len();
        let tag = self.sha256.map(|sum| format!("\"{sum}\""));
        let (status, first, length) = match wanted(headers, tag.as_deref(), bytes) {
            Wanted::All => (StatusCode::OK, 0, bytes),
            Wanted::Part(first, last) => (StatusCode::PARTIAL_CONTENT, first, last - first + 1),
            Wanted::Nothing => return Ok(beyond(bytes)),
        };
        self.file.seek(SeekFrom::Start(first)).map_err(failed)?;
        let mut response = (status, Body::from_stream(pieces(self.file.take(length)))).into_response();
        let named = |text: String| HeaderValue::try_from(text).map_err(|_cannot_be| ApiError::Internal);
        let said = response.headers_mut();
        said.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.media_type));
        said.insert(header::CONTENT_LENGTH, length.into());
        said.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        said.insert(header::CONTENT_DISPOSITION, named(format!("attachment; filename=\"{}\"", self.name))?);
        if let Some(tag) = tag {
            said.insert(header::ETAG, named(tag)?);
        }
        if status == StatusCode::PARTIAL_CONTENT {
            let last = first + length - 1;
            said.insert(header::CONTENT_RANGE, named(format!("bytes {first}-{last}/{bytes}"))?);
        }
        Ok(response)
    }
}

/// That the file has no such bytes.
fn beyond(bytes: u64) -> Response {
    let mut response = ApiError::Refused {
        status: StatusCode::RANGE_NOT_SATISFIABLE,
        field: "Range",
        detail: format!("the file has {bytes} bytes, and none of those that are asked for"),
    }
    .into_response();
    if let Ok(all) = HeaderValue::try_from(format!("bytes */{bytes}")) {
        response.headers_mut().insert(header::CONTENT_RANGE, all);
    }
    response
}

/// The bytes, read off the executor as far as the client takes them. A file that became shorter is an error, and not its end.
fn pieces(file: Take<File>) -> impl Stream<Item = io::Result<Bytes>> {
    try_unfold(file, async |mut file| {
        let read = move || {
            let mut piece = vec![0; usize::try_from(file.limit()).unwrap_or(PIECE).min(PIECE)];
            let read = if piece.is_empty() { 0 } else { file.read(&mut piece)? };
            piece.truncate(read);
            if read == 0 && file.limit() > 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok((piece, file)) }
        };
        let (piece, file) = spawn_blocking(read).await.unwrap_or_else(|panicked| Err(io::Error::other(panicked)))?;
        Ok((!piece.is_empty()).then(|| (Bytes::from(piece), file)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_part_of_bytes_is_cut_out_and_whatever_else_is_asked_for_is_the_whole() {
        let tag = Some("\"7\"");
        for (range, condition, expected) in [
            (None, None, Wanted::All),
            (Some("bytes=0-9"), None, Wanted::Part(0, 9)),
            (Some("bytes=90-"), None, Wanted::Part(90, 99)),
            (Some("bytes=-10"), None, Wanted::Part(90, 99)),
            (Some("bytes=90-1000"), None, Wanted::Part(90, 99)),
            (Some("bytes=-1000"), None, Wanted::Part(0, 99)),
            (Some("bytes=100-"), None, Wanted::Nothing),
            (Some("bytes=0-1,5-6"), None, Wanted::All),
            (Some("lines=0-1"), None, Wanted::All),
            (Some("bytes=x"), None, Wanted::All),
            (Some("bytes=0-9"), Some("\"7\""), Wanted::Part(0, 9)),
            (Some("bytes=0-9"), Some("\"8\""), Wanted::All),
            (Some("bytes=0-9"), Some("Mon, 30 Nov 2026 01:00:00 GMT"), Wanted::All),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in [(header::RANGE, range), (header::IF_RANGE, condition)] {
                if let Some(value) = value {
                    headers.insert(name, HeaderValue::from_static(value));
                }
            }
            assert_eq!(wanted(&headers, tag, 100), expected, "{range:?} {condition:?}");
        }
    }
}
