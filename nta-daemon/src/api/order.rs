//! How a request becomes a job: the key by which the client may send it again, and the answer, which is the result where that comes
//! soon, else the job.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use serde_json::json;
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter as Described, ParameterBuilder, ParameterIn};
use utoipa::openapi::{Required, Schema};

use super::access::Caller;
use super::extract::{Json, text};
use super::routes::jobs::JobJson;
use super::{ApiError, ApiState};
use crate::jobs::{JobView, Order, Refused, as_asked};
use crate::store::{Audit, JobState};

/// So long a request waits for its job; then the answer is the job.
const SOON: Duration = Duration::from_secs(5);
/// Longest key in characters.
const MAX_KEY: usize = 255;
const KEY: &str = "Idempotency-Key";

/// The headers of a request that makes a job.
#[derive(Debug)]
pub(super) struct Asked {
    key: Option<String>,
    /// The client does not want to wait.
    is_async: bool,
}

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let mut keys = parts.headers.get_all(KEY).iter();
        let key = match (keys.next(), keys.next()) {
            (None, _) => None,
            (Some(_), Some(_)) => return Err(ApiError::invalid(KEY, "given more than once")),
            (Some(key), None) => Some(readable(key)?),
        };
        // RFC 7240: what is not understood is ignored.
        let is_async = parts.headers.get_all("Prefer").iter().any(|value| {
            let text = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
            text.split([',', ';']).any(|preference| preference.trim() == "respond-async")
        });
        Ok(Self { key, is_async })
    }
}

fn readable(key: &HeaderValue) -> Result<String, ApiError> {
    let is_readable = |text: &&str| {
        (1..=MAX_KEY).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
    };
    let text = key.to_str().ok().map(str::trim).filter(is_readable);
    let wrong = || ApiError::invalid(KEY, format!("expected 1 to {MAX_KEY} printable ASCII characters"));
    text.map(str::to_owned).ok_or_else(wrong)
}

impl IntoParams for Asked {
    fn into_params(_place: impl Fn() -> Option<ParameterIn>) -> Vec<Described> {
        let header = |name: &str, about: &str, schema: Schema| {
            let header = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Header);
            header.required(Required::False).description(Some(about)).schema(Some(schema)).build()
        };
        let key = text().min_length(Some(1)).max_length(Some(MAX_KEY)).pattern(Some("^[!-~]([ -~]*[!-~])?$"));
        vec![
            header(
                KEY,
                "A name of this request that the client makes up, a UUID for example. The same request with the same key answers the \
                 same job, however often it is sent; another request with it is refused (422). A key is known as long as its job.",
                key.into(),
            ),
            header(
                "Prefer",
                "With `respond-async` (RFC 7240) the answer is the job, at once. Else it is the result where that comes within five \
                 seconds.",
                text().pattern(Some("^.*$")).into(),
            ),
        ]
    }
}

/// Orders a job, which the audit log keeps as this action if it changes anything, and answers its result or the job.
pub(super) async fn order<T: Serialize + Sync>(
    state: &ApiState,
    (kind, action): (&'static str, impl Into<Option<&'static str>>),
    request: &T,
    asked: Asked,
    caller: &Caller,
) -> Result<Response, ApiError> {
    let jobs = state.jobs()?;
    let request = serde_json::to_value(request).map_err(|_cannot_fail| ApiError::Internal)?;
    let ordered =
        jobs.order(Order { kind, request: request.clone(), who: caller.name.clone(), key: asked.key }).await?;
    if let (true, Some(action)) = (ordered.is_new, action.into()) {
        let change = caller.audit(action, format!("job {}", ordered.id));
        state.record(&Audit { after: Some(as_asked(request)), ..change }).await;
    }
    if !asked.is_async
        && let Ok(_waits) = Arc::clone(&state.orders_waiting).try_acquire_owned()
    {
        jobs.wait(&ordered.id, SOON).await;
    }
    let job = jobs.get(&ordered.id).await?;
    answer(job.ok_or(ApiError::Internal)?, asked.is_async)
}

/// What a job has come to, as the answer to the request for it.
fn answer(job: JobView, is_async: bool) -> Result<Response, ApiError> {
    let detail = |word: &str| format!("the job {} {word}", job.job.id);
    match job.job.state {
        JobState::Done => Ok(Json(job.result().unwrap_or_else(|| json!({}))).into_response()),
        JobState::Failed | JobState::Lost => Err(job.failure().map_or(ApiError::Internal, Into::into)),
        JobState::Cancelled => Err(ApiError::Conflict { detail: detail("was cancelled") }),
        JobState::Queued | JobState::Running => {
            let location = HeaderValue::try_from(format!("/api/jobs/{}", job.job.id));
            let mut response = (StatusCode::ACCEPTED, Json(JobJson::from(job))).into_response();
            let headers = response.headers_mut();
            headers.insert(header::LOCATION, location.map_err(|_cannot_fail| ApiError::Internal)?);
            if is_async {
                headers.insert("Preference-Applied", HeaderValue::from_static("respond-async"));
            }
            Ok(response)
        }
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full { .. } | Refused::Stopping => Self::Unavailable { detail: refused.to_string() },
            Refused::Key { .. } => Self::Unprocessable { field: Some(KEY.to_owned()), detail: refused.to_string() },
            Refused::Store(error) => error.into(),
            Refused::Unknown(_) => Self::Internal,
        }
    }
}
