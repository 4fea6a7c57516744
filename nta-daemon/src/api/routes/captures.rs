//! `/api/captures`: captures that were uploaded or recorded; `/analysis`, `/report` and `/stats`: what was found in them.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;

use super::uploads::{FileId, refused};
use crate::api::accept::prefers_html;
use crate::api::access::Caller;
use crate::api::error::Problem;
use crate::api::extract::{InPath, Json, Path, Query, Word, parameters};
use crate::api::page::{List, PageQuery, SortField};
use crate::api::{ApiError, ApiState};
use crate::report::capture::{CaptureReport, Page, page};
use crate::store::{Audit, Range, Upload, UploadState, sensor_of_capture};
use crate::uploads::Uploads;

/// What captures are sorted by.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct CaptureSort;

impl SortField for CaptureSort {
    const ALL: &'static [(&'static str, Self)] = &[("added", Self)];
}

/// A capture.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct CaptureItem {
    /// Its name here.
    #[schema(pattern = "^[0-9a-f]{32}$")]
    file_id: String,
    /// What its client called it; empty where it gave no name.
    name: String,
    /// `receiving` while it comes, `received` while it is analysed, `recorded` while nobody has asked for its analysis, `analysed`;
    /// `failed` where there can be no report.
    #[schema(schema_with = state_schema)]
    state: &'static str,
    /// `upload`, or `recording` for what was recorded here.
    #[schema(pattern = "^(upload|recording)$")]
    origin: &'static str,
    /// Bytes that are here.
    bytes: u64,
    /// Bytes that were announced; null where it came in one piece.
    #[schema(required)]
    length: Option<u64>,
    /// SHA-256 of its bytes; null while not all of them are here.
    #[schema(required, pattern = "^[0-9a-f]{64}$")]
    sha256: Option<String>,
    /// When it began to come.
    #[schema(format = DateTime)]
    added: String,
    /// When it is deleted with all that was found in it; null for never.
    #[schema(required, format = DateTime)]
    expires: Option<String>,
    /// Of its report: packets, their bytes on the wire, flows and alerts; 0 without one. Packets of a recording are known before.
    packets: u64,
    wire_bytes: u64,
    flows: u64,
    alerts: u64,
    /// Why there is no report, or what of the capture could not be read: `cut_off: at byte 812: …`; null where nothing is wrong.
    #[schema(required)]
    problem: Option<String>,
    /// What stands for a sensor in its rows. `capture=` with its name here selects them in every list; without that no list has them.
    sensor: String,
    /// How far its analysis is.
    analysis: String,
    /// Its report.
    report: String,
}

fn state_schema() -> utoipa::openapi::Schema {
    crate::json::words::words_schema(UploadState::ALL.map(UploadState::word))
}

impl CaptureItem {
    fn new(upload: Upload, uploads: &Uploads) -> Self {
        let expires = uploads.expires(&upload).map(|expires| expires.to_string());
        let bytes = uploads.arrived(&upload);
        Self {
            sensor: sensor_of_capture(&upload.file_id),
            analysis: format!("/analysis/{}", upload.file_id),
            report: format!("/report/{}", upload.file_id),
            file_id: upload.file_id,
            name: upload.name,
            state: upload.state.word(),
            origin: if upload.recorded.is_some() { "recording" } else { "upload" },
            bytes,
            length: upload.length,
            sha256: upload.sha256,
            added: upload.added.to_string(),
            expires,
            packets: upload.totals.packets,
            wire_bytes: upload.totals.bytes,
            flows: upload.totals.flows,
            alerts: upload.totals.alerts,
            problem: upload.problem,
        }
    }
}

/// Captures, and the room that they may take.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct CaptureList {
    #[serde(flatten)]
    list: List<CaptureItem>,
    /// Bytes of all captures that clients sent.
    used_bytes: u64,
    /// Bytes that they may take.
    quota_bytes: u64,
    /// Days after which they are deleted; 0 keeps them.
    keep_days: u64,
    /// The same of recordings, which have room of their own.
    recordings: RecordingRoom,
}

/// The room that recordings may take.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct RecordingRoom {
    used_bytes: u64,
    quota_bytes: u64,
    keep_days: u64,
}

parameters! {
    /// Which page.
    pub(in crate::api) struct CapturesQuery {
        ..page: PageQuery<CaptureSort>,
    }
}

/// The captures that were uploaded or recorded, the newest first, with quota and retention.
#[utoipa::path(
    get,
    path = "/api/captures",
    operation_id = "list_captures",
    tag = "captures",
    params(CapturesQuery),
    responses((status = 200, description = "The page.", body = CaptureList))
)]
pub(in crate::api) async fn list(
    State(state): State<ApiState>,
    Query(CapturesQuery { page }): Query<CapturesQuery>,
) -> Result<Json<CaptureList>, ApiError> {
    let (found, next) = state.store.uploads(page.position).await?;
    let config = state.uploads.config();
    let items = found.into_iter().map(|upload| CaptureItem::new(upload, &state.uploads)).collect();
    let [used_bytes, quota_bytes, keep_days] = state.uploads.recordings();
    Ok(Json(CaptureList {
        list: page.list(items, next, Range::default()),
        used_bytes: state.uploads.used_bytes(),
        quota_bytes: config.quota_bytes,
        keep_days: config.keep_days,
        recordings: RecordingRoom { used_bytes, quota_bytes, keep_days },
    }))
}

/// One capture.
#[utoipa::path(
    get,
    path = "/api/captures/{file_id}",
    operation_id = "get_capture",
    tag = "captures",
    params(InPath<FileId>),
    responses(
        (status = 200, description = "The capture.", body = CaptureItem),
        (status = 404, description = "There is none of that name.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn one(
    _: Query<()>,
    State(state): State<ApiState>,
    Path(FileId(file_id)): Path<FileId>,
) -> Result<Json<CaptureItem>, ApiError> {
    let upload = state.uploads.known(&file_id).await.map_err(refused)?;
    Ok(Json(CaptureItem::new(upload, &state.uploads)))
}

/// Deletes a capture, its report, and what was found in it.
#[utoipa::path(
    delete,
    path = "/api/captures/{file_id}",
    operation_id = "delete_capture",
    tag = "captures",
    params(InPath<FileId>),
    responses(
        (status = 204, description = "It is gone."),
        (status = 404, description = "There is none of that name.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "A request sends to it.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn delete(
    _: Query<()>,
    State(state): State<ApiState>,
    caller: Caller,
    Path(FileId(file_id)): Path<FileId>,
) -> Result<StatusCode, ApiError> {
    let before = state.uploads.known(&file_id).await.map_err(refused)?;
    state.uploads.delete(&file_id).await.map_err(refused)?;
    let before = serde_json::json!({ "name": before.name, "sha256": before.sha256, "bytes": before.bytes });
    state.record(&Audit { before: Some(before), ..caller.audit("delete capture", &file_id) }).await;
    Ok(StatusCode::NO_CONTENT)
}

/// How far the analysis of a capture is.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct AnalysisStatus {
    /// The capture.
    #[schema(pattern = "^[0-9a-f]{32}$")]
    file_id: String,
    /// `receiving` while it comes, `recorded` before it is analysed, `queued` while it waits for a place, `running`, `complete` when there
    /// is a report, `failed`.
    #[schema(schema_with = analysis_schema)]
    state: &'static str,
    /// How much was read.
    #[schema(minimum = 0, maximum = 100)]
    percent: f64,
    /// The job that it is, for `/api/jobs/{id}`; null where it is over, or not begun.
    #[schema(required)]
    job: Option<String>,
    /// Bytes of the file that were read.
    bytes_read: u64,
    /// Bytes that there are, or that were announced.
    bytes: u64,
    /// Why there is no report, or what of the capture could not be read; null where nothing is wrong.
    #[schema(required)]
    problem: Option<String>,
    /// Its report; null while there is none.
    #[schema(required)]
    report: Option<String>,
}

const RUNNING: [&str; 6] = ["receiving", "recorded", "queued", "running", "complete", "failed"];

fn analysis_schema() -> utoipa::openapi::Schema {
    crate::json::words::words_schema(RUNNING)
}

/// Analyses a capture that has no report, unless that goes on already, and says how far it is.
#[utoipa::path(
    get,
    path = "/analysis/{file_id}",
    operation_id = "get_analysis",
    tag = "captures",
    params(InPath<FileId>),
    responses(
        (status = 200, description = "How far it is.", body = AnalysisStatus),
        (status = 404, description = "There is no such capture.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn analysis(
    _: Query<()>,
    State(state): State<ApiState>,
    caller: Caller,
    Path(FileId(file_id)): Path<FileId>,
) -> Result<Json<AnalysisStatus>, ApiError> {
    state.uploads.analyse(&file_id, &caller.name).await.map_err(refused)?;
    Ok(Json(status(&state, file_id).await?))
}

async fn status(state: &ApiState, file_id: String) -> Result<AnalysisStatus, ApiError> {
    let progress = state.uploads.progress(&file_id);
    let has_report = state.uploads.report(&file_id).await.map_err(refused)?.is_some();
    let upload = state.uploads.known(&file_id).await.map_err(refused)?;
    let here = upload.length.unwrap_or_else(|| state.uploads.arrived(&upload));
    let (read, total) = progress.as_ref().map_or((0, here), |progress| (progress.read, progress.total));
    let job = progress.as_ref().and_then(|progress| progress.job.clone());
    let (word, read) = match progress {
        _ if has_report => ("complete", total),
        _ if upload.state == UploadState::Failed => ("failed", read),
        Some(progress) if progress.is_whole => (if progress.is_begun { "running" } else { "queued" }, read),
        _ if upload.state == UploadState::Receiving => ("receiving", read),
        None if upload.state == UploadState::Recorded => ("recorded", read),
        _ => ("queued", read),
    };
    Ok(AnalysisStatus {
        state: word,
        percent: if total > 0 { (read as f64 / total as f64 * 100.0).min(100.0) } else { 0.0 },
        job: job.filter(|_| !has_report),
        bytes_read: read,
        bytes: total,
        problem: upload.problem,
        report: has_report.then(|| format!("/report/{file_id}")),
        file_id,
    })
}

/// The forms of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::api) enum ReportFormat {
    Json,
    Html,
}

impl Word for ReportFormat {
    fn all() -> Vec<(&'static str, Self)> {
        vec![("json", Self::Json), ("html", Self::Html)]
    }
}

parameters! {
    /// In which form.
    pub(in crate::api) struct ReportQuery {
        /// The form, for who cannot set `Accept`, which it overrides.
        "format" => format: ReportFormat,
    }
}

/// The report of a capture: what was read and what not, who talked to whom, what is suspicious, what to do.
#[utoipa::path(
    get,
    path = "/report/{file_id}",
    operation_id = "get_report",
    tag = "captures",
    params(InPath<FileId>, ReportQuery),
    responses(
        (status = 200, description = "The report: JSON, or with `format=html` or `Accept: text/html` one page with charts that needs nothing else.", content(
            (CaptureReport = "application/json"),
            (String = "text/html"),
        )),
        (status = 404, description = "There is no such capture.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "There is no report yet: `Retry-After` says when to ask again; or there can be none. `detail` says why.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn report(
    State(state): State<ApiState>,
    Query(ReportQuery { format }): Query<ReportQuery>,
    headers: HeaderMap,
    Path(FileId(file_id)): Path<FileId>,
) -> Result<Response, ApiError> {
    let is_html = format.map_or_else(|| prefers_html(&headers), |format| format == ReportFormat::Html);
    reported(&state, is_html, file_id).await
}

/// The report of a capture, as `/report/{file_id}`.
#[utoipa::path(
    get,
    path = "/reports/{file_id}",
    operation_id = "get_report_too",
    tag = "captures",
    params(InPath<FileId>, ReportQuery),
    responses(
        (status = 200, description = "The report: JSON, or with `format=html` or `Accept: text/html` one page with charts that needs nothing else.", content(
            (CaptureReport = "application/json"),
            (String = "text/html"),
        )),
        (status = 404, description = "There is no such capture.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "There is no report yet: `Retry-After` says when to ask again; or there can be none. `detail` says why.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn report_too(
    State(state): State<ApiState>,
    Query(ReportQuery { format }): Query<ReportQuery>,
    headers: HeaderMap,
    Path(FileId(file_id)): Path<FileId>,
) -> Result<Response, ApiError> {
    let is_html = format.map_or_else(|| prefers_html(&headers), |format| format == ReportFormat::Html);
    reported(&state, is_html, file_id).await
}

async fn reported(state: &ApiState, is_html: bool, file_id: String) -> Result<Response, ApiError> {
    let Some(report) = state.uploads.report(&file_id).await.map_err(refused)? else {
        let AnalysisStatus { state: word, percent, problem, .. } = status(state, file_id.clone()).await?;
        return Err(match problem {
            Some(problem) => ApiError::Conflict { detail: format!("there can be no report: {problem}") },
            None if word == "recorded" => ApiError::Conflict {
                detail: format!("nobody has asked for its analysis: GET /analysis/{file_id} begins it"),
            },
            None => ApiError::NotYet {
                detail: format!(
                    "there is no report yet: {word}, {percent:.0} %; GET /analysis/{file_id} says how far it is"
                ),
            },
        });
    };
    if !is_html {
        return Ok(([(header::CONTENT_TYPE, "application/json"), (header::VARY, "Accept")], report).into_response());
    }
    let report: CaptureReport = serde_json::from_str(&report).map_err(|error| {
        tracing::error!(%error, file_id, "api: a stored report cannot be read");
        ApiError::Internal
    })?;
    let Page { html, policy } = page(&report);
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, policy.as_str()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::VARY, "Accept"),
    ];
    Ok((headers, html).into_response())
}
