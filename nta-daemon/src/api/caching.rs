//! What clients may keep. An answer that is read has a tag of what it says; who asks with that tag again learns that it is as it was.
//! Nothing is used again without asking, and what is changed or refused is not kept at all.

use axum::body::{Body, HttpBody as _, to_bytes};
use axum::extract::Request;
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use sha2::{Digest as _, Sha256};

use super::ApiError;

/// Largest answer that gets a tag. Streams, whose length is not known, get none.
const MOST_BYTES: u64 = 16 << 20;
/// What is read may be kept by who asked, and is not used again without asking.
const READ: &str = "private, no-cache";
/// Bytes of the hash that a tag has.
const TAG_BYTES: usize = 12;

/// The layer around all routes.
pub(super) async fn revalidate(request: Request, next: Next) -> Response {
    let is_read = request.method() == Method::GET;
    let known: Vec<HeaderValue> = request.headers().get_all(IF_NONE_MATCH).iter().cloned().collect();
    let mut response = next.run(request).await;
    let has_tag = is_read && response.status() == StatusCode::OK && is_document(response.headers());
    let length = response.body().size_hint().exact().filter(|length| *length <= MOST_BYTES);
    let (true, Some(length)) = (has_tag, length) else {
        let rule = if is_read && response.status() == StatusCode::OK { READ } else { "no-store" };
        response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static(rule));
        return response;
    };
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = to_bytes(body, usize::try_from(length).unwrap_or(usize::MAX)).await else {
        return ApiError::Internal.into_response();
    };
    // A weak one: the same answer may go out compressed.
    let hash = Sha256::digest(&bytes);
    let tag: String = hash.iter().take(TAG_BYTES).map(|byte| format!("{byte:02x}")).collect();
    let tag = format!("W/\"{tag}\"");
    parts.headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static(READ));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        parts.headers.insert(ETAG, tag);
    }
    if matches(&known, &tag) {
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(CONTENT_LENGTH);
        parts.headers.remove(CONTENT_TYPE);
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(bytes))
}

/// Documents, pages and what they load. What Prometheus gets is never the same twice.
fn is_document(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    ["application/json", "text/html", "text/css", "text/javascript", "image/svg+xml"]
        .iter()
        .any(|known| media_type.starts_with(known))
}

/// Whether a client has what this tag names (RFC 9110, 13.1.2: by weak comparison).
fn matches(known: &[HeaderValue], tag: &str) -> bool {
    let strong = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let tags = known.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    tags.map(str::trim).any(|known| known == "*" || strong(known) == strong(tag))
}
