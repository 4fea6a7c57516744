//! A job as others see it: its row, and of one that is under way how far it is.

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::JobError;
use crate::api::ApiError;
use crate::store::{JobState, StoredJob};
use nta_core::domain::Timestamp;

/// A job, and how far it is.
#[derive(Clone, Debug)]
pub struct JobView {
    /// As it is stored; of one that is under way in this process, as it is.
    pub job: StoredJob,
    /// In percent, where the whole is known.
    pub percent: Option<f64>,
    /// Packets that were read, where it reads any.
    pub packets: Option<u64>,
    /// Whether it was asked to end.
    pub is_cancelling: bool,
}

/// What is stored of how far a job was.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct StoredProgress {
    percent: Option<f64>,
    packets: Option<u64>,
}

impl StoredProgress {
    pub(super) fn text(state: JobState, (percent, packets): (Option<f64>, Option<u64>)) -> Option<String> {
        let percent = if state == JobState::Done { Some(100.0) } else { percent };
        serde_json::to_string(&Self { percent, packets }).ok()
    }
}

impl JobView {
    /// Of a job that is not under way here.
    pub(super) fn stored(job: StoredJob) -> Self {
        let progress = job.progress.as_deref().and_then(|text| serde_json::from_str(text).ok());
        let StoredProgress { percent, packets } = progress.unwrap_or_default();
        Self { job, percent, packets, is_cancelling: false }
    }

    /// What it found.
    pub fn result(&self) -> Option<Value> {
        serde_json::from_str(self.job.result.as_deref()?).ok()
    }

    /// Why it could not be done.
    pub fn failure(&self) -> Option<JobFailure> {
        serde_json::from_str(self.job.error.as_deref()?).ok()
    }

    /// What was asked for, in the words of the API.
    pub fn request(&self) -> Value {
        as_asked(serde_json::from_str(&self.job.request).unwrap_or(Value::Null))
    }
}

/// A stored request in the words in which it was asked for: times and lengths as the API writes them, without what was not given and
/// without who asked, which the job says itself.
pub(crate) fn as_asked(stored: Value) -> Value {
    let Value::Object(fields) = stored else { return stored };
    let word = |(name, value): (String, Value)| {
        let time = |value: &Value| value.as_u64().map(|ns| Timestamp::from_nanos(ns).to_string().into());
        match name.as_str() {
            _ if value.is_null() || value.as_array().is_some_and(Vec::is_empty) => None,
            "who" => None,
            "from_ns" => Some(("from".to_owned(), time(&value)?)),
            "to_ns" => Some(("to".to_owned(), time(&value)?)),
            "span_ns" => Some(("window_size".to_owned(), (value.as_u64()? / 1_000_000_000).into())),
            _ => Some((name, value)),
        }
    };
    Value::Object(fields.into_iter().filter_map(word).collect())
}

/// Why a job has no result, as a request for it would have been refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct JobFailure {
    /// The status that a request would have got.
    #[schema(minimum = 400, maximum = 599)]
    pub status: u16,
    /// What is wrong, and what would be right.
    pub detail: String,
    /// The field of the request that is wrong; null where it is none.
    #[schema(required)]
    pub field: Option<String>,
}

impl JobFailure {
    /// Of an error; what is inside goes to the log.
    pub(super) fn of(error: JobError, kind: &str, id: &str) -> Self {
        let error = match error {
            JobError::Failed(error) => error,
            JobError::Cancelled => ApiError::Conflict { detail: "cancelled".to_owned() },
        };
        if let ApiError::Store(cause) = &error {
            tracing::error!(kind, id, error = cause.chain(), "job: the store failed");
        }
        Self { status: error.status().as_u16(), detail: error.to_string(), field: error.field() }
    }

    /// Of a fault of ours.
    pub(super) fn internal() -> Self {
        Self { status: 500, detail: ApiError::Internal.to_string(), field: None }
    }

    /// Of a job whose daemon ended.
    pub(super) fn lost(why: &str) -> Self {
        Self { status: 503, detail: format!("{why}; order the job again"), field: None }
    }
}

impl From<JobFailure> for ApiError {
    /// What the request would have been answered.
    fn from(failure: JobFailure) -> Self {
        let JobFailure { status, detail, field } = failure;
        match StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR) {
            StatusCode::BAD_REQUEST => Self::Invalid { field: field.unwrap_or_default(), detail },
            StatusCode::NOT_FOUND => Self::NotFound { detail },
            StatusCode::CONFLICT => Self::Conflict { detail },
            StatusCode::UNPROCESSABLE_ENTITY => Self::Unprocessable { field, detail },
            StatusCode::SERVICE_UNAVAILABLE => Self::Unavailable { detail },
            status @ StatusCode::INSUFFICIENT_STORAGE => Self::Refused { status, field: "body", detail },
            _ => Self::Internal,
        }
    }
}
