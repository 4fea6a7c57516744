//! Headers of every answer that tell a browser to be careful with it. A handler that needs another policy sets its own.

use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

use super::guard::Ends;

/// What holds unless the handler said otherwise: nothing of an answer is run, framed, guessed at or read by another site.
const CAREFUL: [(HeaderName, &str); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];
/// A year. It is said by TLS only: a browser believes it from nobody else.
const ONLY_BY_TLS: &str = "max-age=31536000";

/// The layer around all routes.
pub(super) async fn careful(request: Request, next: Next) -> Response {
    let is_tls = request.extensions().get::<ConnectInfo<Ends>>().is_some_and(|ConnectInfo(ends)| ends.is_tls());
    let mut response = next.run(request).await;
    for (name, value) in CAREFUL {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    if is_tls {
        let value = HeaderValue::from_static(ONLY_BY_TLS);
        response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, value);
    }
    response
}
