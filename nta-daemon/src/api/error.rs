//! The one error type of the API: RFC 9457 `application/problem+json`. Tells the client what it can change and never
//! what is inside; the inside goes to the log, once.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tracing::error;

use crate::store::StoreError;

/// Why a request is not answered.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// A parameter is wrong.
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
    /// The path is there, the method is not.
    #[error("this path does not take that method; the header `Allow` lists those it takes")]
    Method,
    /// The store did not answer.
    #[error("the store cannot answer at the moment")]
    Store(#[from] StoreError),
    /// A fault of ours.
    #[error("the answer could not be made")]
    Internal,
}

impl ApiError {
    /// A wrong parameter.
    pub(super) fn invalid(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), detail: detail.into() }
    }

    const fn status(&self) -> StatusCode {
        match self {
            Self::Invalid { .. } => StatusCode::BAD_REQUEST,
            Self::NotFound { .. } => StatusCode::NOT_FOUND,
            Self::Unprocessable { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Conflict { .. } => StatusCode::CONFLICT,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if let Self::Store(cause) = &self {
            error!(error = cause.chain(), "api: store failed");
        }
        let mut problem = Problem::new(self.status(), self.to_string());
        match self {
            Self::Invalid { field, detail } => (problem.field, problem.detail) = (Some(field), detail),
            Self::Unprocessable { field, .. } => problem.field = field,
            _ => {}
        }
        problem.into_response()
    }
}

/// The document of RFC 9457.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Problem {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: String) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        let name = title.to_lowercase().replace(' ', "-");
        Self { r#type: format!("urn:nta:problem:{name}"), title, status: status.as_u16(), detail, field: None }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        problem_response(self.status, Json(self))
    }
}

/// What every route that reads the store may answer instead, for the OpenAPI document.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "only described, never built: the handlers answer with `ApiError`")]
pub(super) enum Refusals {
    /// A parameter is wrong; `field` names it.
    #[response(status = 400, content_type = "application/problem+json")]
    Invalid(#[to_schema] Problem),
    /// The store cannot answer.
    #[response(status = 503, content_type = "application/problem+json")]
    Store(#[to_schema] Problem),
}

/// What every route that takes a body may answer instead, for the OpenAPI document.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "only described, never built: the handlers answer with `ApiError`")]
pub(super) enum BodyRefusals {
    /// A field is wrong; `field` names it.
    #[response(status = 400, content_type = "application/problem+json")]
    Invalid(#[to_schema] Problem),
    /// The body is larger than this path takes.
    #[response(status = 413, content_type = "application/problem+json")]
    Large(#[to_schema] Problem),
    /// It cannot be done with what is stored; `detail` says why.
    #[response(status = 422, content_type = "application/problem+json")]
    Unprocessable(#[to_schema] Problem),
    /// The store cannot answer.
    #[response(status = 503, content_type = "application/problem+json")]
    Store(#[to_schema] Problem),
}

/// A document with the media type of problems.
pub(super) fn problem_response<T: Serialize>(status: u16, document: Json<T>) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, PROBLEM_TYPE)], document).into_response()
}

/// Gives errors that a layer answered (time-out, body limit) the form of all others.
pub(super) async fn as_problem(response: Response) -> Response {
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let is_problem = response.headers().get(header::CONTENT_TYPE).is_some_and(|value| value == PROBLEM_TYPE);
    if !is_error || is_problem {
        return response;
    }
    let detail = match status {
        StatusCode::PAYLOAD_TOO_LARGE => "the request's body is too large",
        StatusCode::SERVICE_UNAVAILABLE => "the answer took too long",
        _ => "the request cannot be answered",
    };
    Problem::new(status, detail.to_owned()).into_response()
}

const PROBLEM_TYPE: &str = "application/problem+json";
