//! `/api/jobs`: work that goes on after its request was answered.

use std::time::Duration;

use axum::extract::State;
use serde::Serialize;
use serde_json::Value;
use utoipa::openapi::Schema;

use crate::api::access::Caller;
use crate::api::error::Problem;
use crate::api::extract::{InPath, Json, Parameter, Path, PathParameter, Query, Sensor, Word, parameters, text};
use crate::api::page::{List, PageQuery, Period, SortField};
use crate::api::whose::Scope;
use crate::api::{ApiError, ApiState};
use crate::jobs::{JobFailure, JobView, KINDS, NotCancelled};
use crate::store::{Audit, JobFilter, JobState};

/// So long a cancellation waits for the end of the job.
const CANCELLED_WITHIN: Duration = Duration::from_secs(1);

/// Jobs are sorted by the time at which they were ordered.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct ByTime;

impl SortField for ByTime {
    const ALL: &'static [(&'static str, Self)] = &[("time", Self)];
}

/// A job.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct JobJson {
    /// Identity: a UUID.
    #[schema(schema_with = JobId::schema)]
    id: String,
    /// What is done.
    #[schema(schema_with = KindName::schema)]
    kind: String,
    /// What became of it so far. `lost`: its process ended, and it could not be resumed.
    #[schema(schema_with = JobState::schema)]
    state: &'static str,
    /// How far it is.
    progress: ProgressJson,
    /// Whether it was asked to end; it does so at its next step.
    is_cancelling: bool,
    /// What was asked for.
    #[schema(value_type = Object)]
    request: Value,
    /// What it found; null before it is done.
    #[schema(value_type = Option<Object>)]
    result: Option<Value>,
    /// Why it could not be done; null where it could, or was not tried yet.
    error: Option<JobFailure>,
    /// Who asked for it.
    who: String,
    /// Name of the sensor whose daemon does it.
    sensor: String,
    /// How often it was begun: more than once where the daemon was started again meanwhile.
    attempts: u64,
    /// When it was asked for.
    #[schema(format = DateTime)]
    created: String,
    /// When it was begun last; null while it waits.
    #[schema(required, format = DateTime)]
    started: Option<String>,
    /// When it ended; null before.
    #[schema(required, format = DateTime)]
    ended: Option<String>,
}

/// How far a job is.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct ProgressJson {
    /// In percent; null where nobody knows how much there is.
    #[schema(required, minimum = 0, maximum = 100)]
    percent: Option<f64>,
    /// Packets that were read; null where it reads none.
    #[schema(required)]
    packets: Option<u64>,
}

impl From<JobView> for JobJson {
    fn from(view: JobView) -> Self {
        let (request, result, error) = (view.request(), view.result(), view.failure());
        let JobView { job, percent, packets, is_cancelling } = view;
        Self {
            id: job.id,
            kind: job.kind,
            state: job.state.word(),
            progress: ProgressJson { percent, packets },
            is_cancelling,
            request,
            result,
            error,
            who: job.who,
            sensor: job.sensor,
            attempts: job.attempts,
            created: job.created.to_string(),
            started: job.started.map(|time| time.to_string()),
            ended: job.ended.map(|time| time.to_string()),
        }
    }
}

impl Word for JobState {
    fn all() -> Vec<(&'static str, Self)> {
        Self::ALL.map(|state| (state.word(), state)).to_vec()
    }
}

/// The name of a kind.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct KindName(&'static str);

impl Word for KindName {
    fn all() -> Vec<(&'static str, Self)> {
        KINDS.iter().map(|kind| (kind.name(), Self(kind.name()))).collect()
    }
}

/// The identity of a job.
#[derive(Debug)]
pub(in crate::api) struct JobId(String);

impl Parameter for JobId {
    fn parse(text: &str) -> Result<Self, String> {
        let is_one = text.len() == 36
            && text.bytes().enumerate().all(|(place, byte)| match place {
                8 | 13 | 18 | 23 => byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            });
        if is_one { Ok(Self(text.to_ascii_lowercase())) } else { Err("a UUID".to_owned()) }
    }

    fn schema() -> Schema {
        text().pattern(Some("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")).into()
    }
}

impl PathParameter for JobId {
    const NAME: &'static str = "id";
    const ABOUT: &'static str = "Identity of the job.";
}

parameters! {
    /// Which jobs.
    pub(in crate::api) struct JobsQuery {
        /// What became of it so far.
        "state" => state: JobState,
        /// What is done.
        "kind" => kind: KindName,
        /// Name of the sensor whose daemon does it; all of them unless given.
        "sensor" => sensor: Sensor,
        ..period: Period,
        ..page: PageQuery<ByTime>,
    }
}

/// A page of jobs, the one ordered last first unless `sort` says otherwise. All of the time is listed unless one is given; jobs that
/// are over stay for 30 days, and at most a thousand of them.
#[utoipa::path(
    get,
    path = "/api/jobs",
    operation_id = "list_jobs",
    tag = "jobs",
    params(JobsQuery),
    responses((status = 200, description = "The page.", body = List<JobJson>))
)]
pub(in crate::api) async fn list(
    State(state): State<ApiState>,
    Query(query): Query<JobsQuery>,
) -> Result<Json<List<JobJson>>, ApiError> {
    let range = query.page.range_or_all(query.period, &Scope::default(), &state).await?;
    let sensor = query.sensor.map(|sensor| sensor.0);
    let filter = JobFilter { kind: query.kind.map(|kind| kind.0.to_owned()), state: query.state, sensor, range };
    let (jobs, next) = state.jobs()?.list(&filter, query.page.position).await?;
    Ok(Json(query.page.list(jobs.into_iter().map(JobJson::from).collect(), next, range)))
}

/// One job.
#[utoipa::path(
    get,
    path = "/api/jobs/{id}",
    operation_id = "get_job",
    tag = "jobs",
    params(InPath<JobId>),
    responses(
        (status = 200, description = "The job.", body = JobJson),
        (status = 404, description = "There is no such job, or none any more.", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn one(
    _: Query<()>,
    State(state): State<ApiState>,
    Path(JobId(id)): Path<JobId>,
) -> Result<Json<JobJson>, ApiError> {
    let job = state.jobs()?.get(&id).await?;
    job.map(JobJson::from).map(Json).ok_or_else(|| unknown(&id))
}

/// Cancels a job: one that waits at once, one that is under way at its next step.
#[utoipa::path(
    post,
    path = "/api/jobs/{id}/cancel",
    operation_id = "cancel_job",
    tag = "jobs",
    params(InPath<JobId>),
    responses(
        (status = 200, description = "The job as it is now: `is_cancelling` where it has not come to its next step yet.",
            body = JobJson),
        (status = 404, description = "There is no such job, or none any more.", body = Problem,
            content_type = "application/problem+json"),
        (status = 409, description = "It is over, or another process with this database does it; `detail` says which.",
            body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn cancel(
    _: Query<()>,
    State(state): State<ApiState>,
    Path(JobId(id)): Path<JobId>,
    caller: Caller,
) -> Result<Json<JobJson>, ApiError> {
    let jobs = state.jobs()?;
    let before = jobs.get(&id).await?.map(JobJson::from).and_then(|job| serde_json::to_value(job).ok());
    match jobs.cancel(&id).await? {
        None => return Err(unknown(&id)),
        Some(Err(NotCancelled::Over(over))) => {
            return Err(ApiError::Conflict { detail: format!("job {id} is over: {}", over.word()) });
        }
        Some(Err(NotCancelled::Elsewhere)) => {
            let detail = format!("job {id} is done by another process with this database; cancel it there");
            return Err(ApiError::Conflict { detail });
        }
        Some(Ok(())) => {
            jobs.wait(&id, CANCELLED_WITHIN).await;
        }
    }
    let job = jobs.get(&id).await?.map(JobJson::from).ok_or_else(|| unknown(&id))?;
    let after = serde_json::to_value(&job).ok();
    state.record(&Audit { before, after, ..caller.audit("cancel job", format!("job {id}")) }).await;
    Ok(Json(job))
}

fn unknown(id: &str) -> ApiError {
    ApiError::NotFound { detail: format!("there is no job {id}") }
}
