//! The one error type of the API: RFC 9457 `application/problem+json`. Says what the client can change and never what
//! is inside; the inside goes to the log, once.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tracing::error;

use crate::store::StoreError;

/// Why a request is not answered.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// A parameter or a field of the body is wrong.
    #[error("{field}: {detail}")]
    Invalid {
        /// Its name.
        field: String,
        /// What is wrong, and what would be right.
        detail: String,
    },
    /// No such thing.
    #[error("{detail}")]
    NotFound {
        /// What there is not.
        detail: String,
    },
    /// The request is sound and cannot be done with what there is.
    #[error("{detail}")]
    Unprocessable {
        /// The field that asks for it, where there is one.
        field: Option<String>,
        /// Why not.
        detail: String,
    },
    /// What is asked for has reached a limit.
    #[error("{detail}")]
    Conflict {
        /// Which.
        detail: String,
    },
    /// It will be there in a while.
    #[error("{detail}")]
    NotYet {
        /// What is waited for.
        detail: String,
    },
    /// Another number of things would be changed than the request says; none is.
    #[error("{count} would be changed, and `expect` says {expected}: nothing is")]
    Counted {
        /// How many would be.
        count: u64,
        /// How many are expected.
        expected: u64,
    },
    /// The request comes from a page of another site.
    #[error("{detail}")]
    Forbidden {
        /// The header that says so.
        field: String,
        /// Which origins may.
        detail: String,
    },
    /// No token, or one that does not hold.
    #[error("{detail}")]
    Unauthorized {
        /// What is wrong with it.
        detail: String,
        /// Whether one was shown.
        shown: bool,
    },
    /// The token's role does not reach.
    #[error("this needs the role {needed}, and the token has {has}")]
    Role {
        /// The role that would.
        needed: &'static str,
        /// The role of the token.
        has: &'static str,
    },
    /// The token is not for this interface.
    #[error("the scope of the token `{name}` does not contain the interface {interface}")]
    Scope {
        /// The interface.
        interface: String,
        /// Name of the token.
        name: String,
    },
    /// The token is for some interfaces, and this is about more than these; which ones is not said.
    #[error("{why}, and the token `{name}` is for {scope} only")]
    Beyond {
        /// What it is about.
        why: &'static str,
        /// Name of the token.
        name: String,
        /// What it is for.
        scope: String,
    },
    /// Who asks has asked too often.
    #[error("too many requests: the next one may come in {wait_s} s (`[api] requests_per_s`)")]
    TooMany {
        /// Seconds until the next one may come.
        wait_s: u64,
    },
    /// The request is for another host.
    #[error("{detail}")]
    Misdirected {
        /// Which hosts this server answers for.
        detail: String,
    },
    /// The body has a content type or an encoding that is not taken.
    #[error("{detail}")]
    MediaType {
        /// The header that names it.
        field: &'static str,
        /// Which is.
        detail: String,
    },
    /// The body is larger than this path takes.
    #[error("the body is larger than the {most} bytes that this path takes{}", given.map_or_else(String::new, |bytes| format!(": it has {bytes}")))]
    TooLarge {
        /// Bytes that it takes.
        most: u64,
        /// Bytes of the body, where `Content-Length` says so.
        given: Option<u64>,
    },
    /// The path is there, the method is not.
    #[error("this path takes {allowed}")]
    Method {
        /// The methods that it takes, as `Allow` has them.
        allowed: String,
    },
    /// An upload is not taken.
    #[error("{detail}")]
    Refused {
        /// What it is answered with.
        status: StatusCode,
        /// What of the request is wrong.
        field: &'static str,
        /// Why not.
        detail: String,
    },
    /// As many computations as are allowed at a time are under way.
    #[error("as many computations as this server allows are under way; try again later")]
    Busy,
    /// It cannot be done at the moment.
    #[error("{detail}")]
    Unavailable {
        /// Why not.
        detail: String,
    },
    /// There is no room for one more.
    #[error("{detail}")]
    Full {
        /// Of what.
        detail: String,
    },
    /// The path speaks another protocol.
    #[error("{detail}")]
    Upgrade {
        /// Why the request does not lead there.
        detail: String,
    },
    /// The store did not answer.
    #[error("the store cannot answer at the moment")]
    Store(#[source] StoreError),
    /// A fault of ours.
    #[error("the answer could not be made")]
    Internal,
}

/// Seconds after which a client may try again what was refused for want of room.
const RETRY_AFTER_S: u16 = 2;

impl ApiError {
    /// A wrong parameter or field.
    pub(crate) fn invalid(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), detail: detail.into() }
    }

    /// No token, or one that does not hold.
    pub(super) fn unauthorized(detail: &str, shown: bool) -> Self {
        Self::Unauthorized { detail: detail.to_owned(), shown }
    }

    /// The parameter, header or field that is wrong.
    pub(crate) fn field(&self) -> Option<String> {
        match self {
            Self::Invalid { field, .. } | Self::Forbidden { field, .. } => Some(field.clone()),
            Self::Unprocessable { field, .. } => field.clone(),
            Self::Counted { .. } => Some("expect".to_owned()),
            Self::Unauthorized { .. } => Some("Authorization".to_owned()),
            Self::Misdirected { .. } => Some("Host".to_owned()),
            Self::TooLarge { .. } => Some("body".to_owned()),
            Self::MediaType { field, .. } | Self::Refused { field, .. } => Some((*field).to_owned()),
            _ => None,
        }
    }

    /// The status of the answer.
    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::Invalid { .. } => StatusCode::BAD_REQUEST,
            Self::Unauthorized { .. } => StatusCode::UNAUTHORIZED,
            Self::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Forbidden { .. } | Self::Role { .. } | Self::Scope { .. } | Self::Beyond { .. } => {
                StatusCode::FORBIDDEN
            }
            Self::NotFound { .. } => StatusCode::NOT_FOUND,
            Self::Refused { status, .. } => *status,
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict { .. } | Self::NotYet { .. } | Self::Counted { .. } => StatusCode::CONFLICT,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::MediaType { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Misdirected { .. } => StatusCode::MISDIRECTED_REQUEST,
            Self::Unprocessable { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Upgrade { .. } => StatusCode::UPGRADE_REQUIRED,
            Self::Busy | Self::Full { .. } | Self::Unavailable { .. } | Self::Store(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<StoreError> for ApiError {
    /// A request for too much is the client's to change.
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::TooMuch { table, most } => Self::Unprocessable {
                field: None,
                detail: format!(
                    "for this answer more than {most} rows of {table} would be read; ask for a shorter time (`from`, `to`), \
                     for less filters at once, or in the order of `time`"
                ),
            },
            // Trying again is of no use. The log has the reason.
            StoreError::Corrupt { table, .. } => Self::NotFound {
                detail: format!(
                    "this is stored, but its row in the table {table} cannot be read: it was damaged, or changed by something \
                     else; it is left out of all answers"
                ),
            },
            error => Self::Store(error),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if let Self::Store(cause) = &self {
            error!(error = cause.chain(), "api: store failed");
        }
        let may_pass = [StatusCode::TOO_MANY_REQUESTS, StatusCode::INSUFFICIENT_STORAGE].contains(&self.status());
        let is_busy = matches!(self, Self::Busy | Self::Full { .. } | Self::Unavailable { .. } | Self::NotYet { .. })
            || may_pass && !matches!(self, Self::TooMany { .. });
        let is_upgrade = matches!(self, Self::Upgrade { .. });
        let wait_s = if let Self::TooMany { wait_s } = self { Some(wait_s) } else { None };
        let challenge = match self {
            Self::Unauthorized { shown: true, .. } => Some("Bearer realm=\"nta\", error=\"invalid_token\""),
            Self::Unauthorized { shown: false, .. } => Some("Bearer realm=\"nta\""),
            _ => None,
        };
        let mut problem = Problem::new(self.status(), self.to_string());
        problem.field = self.field();
        match self {
            Self::Invalid { detail, .. } => problem.detail = detail,
            Self::Counted { count, .. } => problem.count = Some(count),
            _ => {}
        }
        let mut response = problem.into_response();
        if let Some(challenge) = challenge {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(wait_s) = wait_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait_s));
        }
        if is_busy {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
        }
        if is_upgrade {
            response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        }
        response
    }
}

/// The document of RFC 9457.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Problem {
    /// Names the kind of problem: `urn:nta:problem:` and the title in lower case.
    #[schema(pattern = "^urn:nta:problem:[a-z-]+$")]
    r#type: String,
    /// The status in words.
    title: &'static str,
    /// The status of the answer.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What is wrong with this request, and what would be right.
    detail: String,
    /// The parameter, header or field of the body that is wrong; left out where it is none of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    field: Option<String>,
    /// How many things would be changed, where another number was expected; else left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    count: Option<u64>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: String) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        let name = title.to_lowercase().replace(' ', "-");
        Self {
            r#type: format!("urn:nta:problem:{name}"),
            title,
            status: status.as_u16(),
            detail,
            field: None,
            count: None,
        }
    }
}

impl IntoResponse for Problem {
    /// What repeats a part of the request does so within bounds.
    fn into_response(mut self) -> Response {
        self.detail = shortened(self.detail, MOST_DETAIL);
        self.field = self.field.map(|field| shortened(field, MOST_FIELD));
        problem_response(self.status, Json(self))
    }
}

/// Most characters of a detail: the longest list of what is allowed is shorter.
const MOST_DETAIL: usize = 2000;
/// Most characters of a field's name.
const MOST_FIELD: usize = 200;

/// The beginning and the end of a text that is longer than that many characters.
fn shortened(text: String, most: usize) -> String {
    let length = text.chars().count();
    if length <= most {
        return text;
    }
    let (begin, end) = (text.chars().take(most / 2), text.chars().skip(length - most / 2));
    begin.chain(['…']).chain(end).collect()
}

/// A document with the media type of problems.
pub(super) fn problem_response<T: Serialize>(status: u16, document: Json<T>) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, PROBLEM_TYPE)], document).into_response()
}

/// Gives errors that a layer answered (time-out, body limit) the form of all others. A page that says what is missing stays one.
pub(super) async fn as_problem(response: Response) -> Response {
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let media_type = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let is_formed = media_type.is_some_and(|value| value == PROBLEM_TYPE || value.starts_with("text/html"));
    if !is_error || is_formed {
        return response;
    }
    let detail = match status {
        StatusCode::SERVICE_UNAVAILABLE => "the answer took too long",
        _ => "the request cannot be answered",
    };
    Problem::new(status, detail.to_owned()).into_response()
}

/// Says in words what `Allow` lists, which is known once the router has answered.
pub(super) async fn name_methods(response: Response) -> Response {
    let allow = response.headers().get(header::ALLOW).and_then(|allow| allow.to_str().ok());
    let Some(allow) = allow.filter(|_| response.status() == StatusCode::METHOD_NOT_ALLOWED) else { return response };
    let (document, body) = ApiError::Method { allowed: allow.replace(',', ", ") }.into_response().into_parts();
    let (mut parts, _) = response.into_parts();
    for name in [header::CONTENT_ENCODING, header::CONTENT_LENGTH] {
        parts.headers.remove(name);
    }
    parts.headers.extend(document.headers);
    Response::from_parts(parts, body)
}

/// What a panic in a handler becomes: its text goes to the log by the panic hook, and nothing of it to the client.
pub(super) fn after_panic(_text: Box<dyn std::any::Any + Send>) -> Response {
    error!("api: a handler panicked");
    ApiError::Internal.into_response()
}

pub(super) const PROBLEM_TYPE: &str = "application/problem+json";
