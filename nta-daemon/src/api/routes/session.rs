//! `/api/session`: a cookie that stands for a token, for the dashboard.

use axum::extract::{ConnectInfo, State};
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::json;

use crate::api::access::{Caller, LASTS_S, SESSION_COOKIE};
use crate::api::error::Problem;
use crate::api::extract::{Json, Query};
use crate::api::guard::Ends;
use crate::api::{ApiError, ApiState};
use crate::store::Audit;

/// A session that was opened.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct SessionJson {
    /// Name of the token that it stands for.
    name: String,
    /// What its owner may do.
    role: &'static str,
    /// Seconds until it ends by itself; it ends before if the token is revoked or expires, or the daemon starts again.
    lasts_s: u64,
}

type WithCookie<T> = (StatusCode, [(HeaderName, HeaderValue); 2], T);

/// Opens a session: the cookie of the answer stands for the token that the request shows.
#[utoipa::path(
    post,
    path = "/api/session",
    operation_id = "open_session",
    tag = "access",
    responses(
        (status = 201, description = "The session; its cookie is HttpOnly and SameSite=Strict, and Secure where TLS is spoken.",
            body = SessionJson),
        (status = 409, description = "No token is demanded here, or the request shows a session itself.", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn open(
    _: Query<()>,
    caller: Caller,
    State(state): State<ApiState>,
    headers: HeaderMap,
    extensions: Extensions,
) -> Result<WithCookie<Json<SessionJson>>, ApiError> {
    let conflict = |detail: &str| ApiError::Conflict { detail: detail.to_owned() };
    let token = caller.token.ok_or_else(|| conflict("no token is demanded here, so that no session is needed"))?;
    if caller.session.is_some() {
        return Err(conflict("a session is opened with the token itself, not with another session"));
    }
    let secret = state.access.open_session(token);
    let after = json!({"role": caller.role.word(), "lasts_s": LASTS_S});
    state.record(&Audit { after: Some(after), ..caller.audit("open session", format!("token {token}")) }).await;
    let cookie = cookie(secret.reveal(), LASTS_S, is_secure(&headers, &extensions))?;
    let session = SessionJson { name: caller.name, role: caller.role.word(), lasts_s: LASTS_S };
    Ok((StatusCode::CREATED, with(cookie), Json(session)))
}

/// Ends the session that the request shows.
#[utoipa::path(
    delete,
    path = "/api/session",
    operation_id = "close_session",
    tag = "access",
    responses(
        (status = 204, description = "It is over."),
        (status = 409, description = "The request shows no session.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn close(
    _: Query<()>,
    caller: Caller,
    State(state): State<ApiState>,
    headers: HeaderMap,
    extensions: Extensions,
) -> Result<WithCookie<()>, ApiError> {
    let Some(session) = caller.session else {
        return Err(ApiError::Conflict { detail: "the request shows no session".to_owned() });
    };
    state.access.close_session(&session);
    let target = format!("token {}", caller.token.unwrap_or_default());
    let before = json!({"role": caller.role.word()});
    state.record(&Audit { before: Some(before), ..caller.audit("close session", target) }).await;
    Ok((StatusCode::NO_CONTENT, with(cookie("", 0, is_secure(&headers, &extensions))?), ()))
}

fn with(cookie: HeaderValue) -> [(HeaderName, HeaderValue); 2] {
    [(header::SET_COOKIE, cookie), (header::CACHE_CONTROL, HeaderValue::from_static("no-store"))]
}

fn cookie(value: &str, lasts_s: u64, is_secure: bool) -> Result<HeaderValue, ApiError> {
    let secure = if is_secure { "; Secure" } else { "" };
    let text = format!("{SESSION_COOKIE}={value}; Path=/; Max-Age={lasts_s}; HttpOnly; SameSite=Strict{secure}");
    HeaderValue::from_str(&text).map_err(|_cannot_be| ApiError::Internal)
}

/// Whether the browser speaks TLS: with us, or, as the origin of the page says, with a proxy in front of us.
fn is_secure(headers: &HeaderMap, extensions: &Extensions) -> bool {
    let ends = extensions.get::<ConnectInfo<Ends>>();
    let by_origin = headers.get(header::ORIGIN).is_some_and(|origin| origin.as_bytes().starts_with(b"https://"));
    by_origin || ends.is_some_and(|ConnectInfo(ends)| ends.is_tls())
}
