//! `/api/analysis/list-files` and `/api/analysis/download`: files that jobs made.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Serialize;
use utoipa::openapi::Schema;

use crate::api::error::Problem;
use crate::api::extract::{InPath, Json, Parameter, Path, PathParameter, Query, Word, parameters, text};
use crate::api::page::{List, PageQuery, SortField};
use crate::api::ranged::Download;
use crate::api::{ApiError, ApiState};
use crate::results::{ResultError, is_name};
use crate::store::{Range, ResultFile, ResultFilter, ResultKind};

/// The name of a file.
#[derive(Clone, Debug)]
pub(in crate::api) struct ResultName(pub(in crate::api) String);

impl Parameter for ResultName {
    fn parse(text: &str) -> Result<Self, String> {
        let expected = || "the `name` of a file of GET /api/analysis/list-files".to_owned();
        is_name(text).then(|| Self(text.to_owned())).ok_or_else(expected)
    }

    fn schema() -> Schema {
        text().pattern(Some("^[0-9A-Za-z-]+[.][0-9A-Za-z-]+$")).max_length(Some(100)).into()
    }
}

impl PathParameter for ResultName {
    const NAME: &'static str = "filename";
    const ABOUT: &'static str = "Name of the file, as in the list. It is looked up there, and never a path.";
}

impl Word for ResultKind {
    fn all() -> Vec<(&'static str, Self)> {
        Self::ALL.map(|kind| (kind.word(), kind)).to_vec()
    }
}

/// Files are sorted by when they were made.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct ByTime;

impl SortField for ByTime {
    const ALL: &'static [(&'static str, Self)] = &[("created", Self)];
}

/// A file.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct ResultItem {
    /// Its name.
    #[schema(schema_with = ResultName::schema)]
    name: String,
    /// `connections` as Zeek's `conn.log`, `scored` for hosts in windows, `predictions` for what a classifier says of these.
    #[schema(schema_with = ResultKind::schema)]
    kind: &'static str,
    /// Its length.
    bytes: u64,
    /// Its rows, without the lines around them.
    rows: u64,
    /// SHA-256 of its bytes.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    sha256: String,
    /// What it was made from: a capture, or a scored file.
    source: String,
    /// The classifier that judged; null without one.
    #[schema(required)]
    model: Option<String>,
    /// The job that made it.
    job: String,
    /// When it was made.
    #[schema(format = DateTime)]
    created: String,
    /// When it is deleted; null for never.
    #[schema(required, format = DateTime)]
    expires: Option<String>,
    /// Where it is.
    path: String,
}

const DAY_NS: u64 = 86_400_000_000_000;

impl ResultItem {
    fn new(file: ResultFile, keep_days: u64) -> Self {
        let expires = (keep_days > 0).then(|| file.created.plus(keep_days.saturating_mul(DAY_NS)).to_string());
        Self {
            path: format!("/api/analysis/download/{}", file.name),
            name: file.name,
            kind: file.kind.word(),
            bytes: file.bytes,
            rows: file.rows,
            sha256: file.sha256,
            source: file.source,
            model: file.model,
            job: file.job,
            created: file.created.to_string(),
            expires,
        }
    }
}

/// Files, and the room that they may take.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct ResultList {
    #[serde(flatten)]
    list: List<ResultItem>,
    /// Bytes of all files, those that are being written among them.
    used_bytes: u64,
    /// Bytes that they may take.
    quota_bytes: u64,
    /// Days after which they are deleted; 0 keeps them.
    keep_days: u64,
}

parameters! {
    /// Which files.
    pub(in crate::api) struct ResultsQuery {
        /// What they hold.
        "kind" => kind: ResultKind,
        ..page: PageQuery<ByTime>,
    }
}

/// The files that jobs made, the newest first, with quota and retention.
#[utoipa::path(
    get,
    path = "/api/analysis/list-files",
    operation_id = "list_results",
    tag = "analysis",
    params(ResultsQuery),
    responses((status = 200, description = "The page.", body = ResultList))
)]
pub(in crate::api) async fn list(
    State(state): State<ApiState>,
    Query(ResultsQuery { kind, page }): Query<ResultsQuery>,
) -> Result<Json<ResultList>, ApiError> {
    let filter = ResultFilter { sensor: sensor(&state), kind };
    let (found, next) = state.store.results(&filter, page.position).await?;
    let results = &state.tools().results;
    let config = results.config();
    let items = found.into_iter().map(|file| ResultItem::new(file, config.keep_days)).collect();
    Ok(Json(ResultList {
        list: page.list(items, next, Range::default()),
        used_bytes: results.used_bytes(),
        quota_bytes: config.quota_bytes,
        keep_days: config.keep_days,
    }))
}

/// A file that a job made: CSV in UTF-8 with one line of names, or a `conn.log` of tab-separated lines. `ETag` is its SHA-256; `Range`
/// takes a part of it.
#[utoipa::path(
    get,
    path = "/api/analysis/download/{filename}",
    operation_id = "download_result",
    tag = "analysis",
    params(InPath<ResultName>),
    responses(
        (status = 200, description = "The file.", content((String = "text/csv"), (String = "text/plain"))),
        (status = 206, description = "The part that `Range` asks for.", content((String = "text/csv"), (String = "text/plain"))),
        (status = 404, description = "There is no file of that name.", body = Problem,
            content_type = "application/problem+json"),
        (status = 416, description = "It has no such bytes as `Range` asks for; `Content-Range` says how many it has.", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn download(
    _: Query<()>,
    State(state): State<ApiState>,
    headers: HeaderMap,
    Path(ResultName(name)): Path<ResultName>,
) -> Result<Response, ApiError> {
    let found = state.tools().results.open(&sensor(&state), &name).await.map_err(|error| match error {
        ResultError::Store(error) => error.into(),
        ResultError::Io(error) => {
            tracing::error!(%error, name, "api: a result cannot be read");
            ApiError::Internal
        }
    })?;
    let unknown = || {
        let detail = format!("there is no file {name}; GET /api/analysis/list-files lists them");
        ApiError::NotFound { detail }
    };
    let (about, file) = found.ok_or_else(unknown)?;
    let media_type = match about.kind {
        ResultKind::Connections => "text/plain; charset=utf-8",
        ResultKind::Scored | ResultKind::Predictions => "text/csv; charset=utf-8",
    };
    Download { file, media_type, name: about.name, sha256: Some(about.sha256) }.answer(&headers)
}

/// Whose files.
fn sensor(state: &ApiState) -> String {
    state.tools().sensor.clone().unwrap_or_default()
}
