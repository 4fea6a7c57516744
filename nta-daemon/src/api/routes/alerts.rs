//! `/api/alerts`: alerts, and what people do about them.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::Uri;
use serde::Serialize;

use crate::api::body::Body;
use crate::api::error::{BodyRefusals, Problem, Refusals};
use crate::api::page::{List, PageRequest, Sorts};
use crate::api::params::Params;
use crate::api::state::now;
use crate::api::{ApiError, ApiState};
use crate::json::AlertJson;
use crate::store::{AlertFilter, AlertPatch, AlertSort, Note, Patched, StoredAlert};

const SORTS: Sorts<AlertSort> = &[
    ("time", AlertSort::Time),
    ("last_time", AlertSort::LastTime),
    ("severity", AlertSort::Severity),
    ("score", AlertSort::Score),
];
const STATUSES: [&str; 3] = ["open", "acknowledged", "resolved"];
const STATES: [&str; 2] = ["raised", "cleared"];
/// Longest note in characters.
const MAX_NOTE: usize = 4000;
/// Longest name of who changes an alert.
const MAX_NAME: usize = 100;
/// Who it was when nobody is named and no token says so.
const NOBODY: &str = "api";

/// An alert with what people did about it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct AlertItem {
    #[serde(flatten)]
    alert: AlertJson,
    /// `open`, `acknowledged` or `resolved`: what people did; `state` is what the traffic does.
    status: String,
    /// Who changed the status last; null while nobody has.
    status_by: Option<String>,
    /// When.
    status_at: Option<String>,
}

/// An alert with its notes.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct AlertDetail {
    #[serde(flatten)]
    alert: AlertItem,
    /// Notes, oldest first.
    notes: Vec<NoteJson>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct NoteJson {
    at: String,
    by: String,
    note: String,
}

/// The body of a change.
#[derive(Debug, utoipa::ToSchema)]
#[expect(dead_code, reason = "only described: the handler reads field by field")]
pub(in crate::api) struct AlertChangeRequest {
    /// `open`, `acknowledged` or `resolved`.
    status: Option<String>,
    /// A note to add, at most 4000 characters.
    note: Option<String>,
    /// Who, at most 100 characters; `api` unless given.
    by: Option<String>,
}

impl From<StoredAlert> for AlertItem {
    fn from(stored: StoredAlert) -> Self {
        Self {
            alert: stored.alert,
            status: stored.status,
            status_by: stored.status_by,
            status_at: stored.status_at.map(|time| time.to_string()),
        }
    }
}

impl From<Note> for NoteJson {
    fn from(note: Note) -> Self {
        Self { at: note.at.to_string(), by: note.by, note: note.note }
    }
}

/// A page of alerts, the one raised last first unless `sort` says otherwise.
#[utoipa::path(
    get,
    path = "/api/alerts",
    tag = "alerts",
    params(
        ("type" = Option<String>, Query, description = "kind, such as port_scan"),
        ("severity" = Option<String>, Query, description = "low, medium, high, critical"),
        ("status" = Option<String>, Query, description = "open, acknowledged, resolved"),
        ("state" = Option<String>, Query, description = "raised while it goes on, cleared"),
        ("source" = Option<String>, Query, description = "who does it, as the alert writes it"),
        ("destination" = Option<String>, Query, description = "who suffers it, as the alert writes it"),
        ("from" = Option<String>, Query, description = "with a finding later than this; RFC 3339 or Unix seconds"),
        ("to" = Option<String>, Query, description = "with a finding earlier than this; RFC 3339 or Unix seconds"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "items of a page, default 100"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("sort" = Option<String>, Query, description = "time, last_time, severity, score; `-` before it: largest \
            first (default -time)"),
    ),
    responses((status = 200, body = List<AlertItem>), Refusals)
)]
pub(in crate::api) async fn list(State(state): State<ApiState>, uri: Uri) -> Result<Json<List<AlertItem>>, ApiError> {
    let known =
        ["type", "severity", "status", "state", "source", "destination", "from", "to", "limit", "cursor", "sort"];
    let params = Params::read(&uri, &known)?;
    let [from, to] = params.interval()?;
    let filter = AlertFilter {
        kind: params.kind("type")?,
        severity: params.severity("severity")?,
        status: params.word("status", STATUSES.map(|word| (word, word)))?,
        state: params.word("state", STATES.map(|word| (word, word)))?,
        source: params.get("source").map(str::to_owned),
        destination: params.get("destination").map(str::to_owned),
        host: None,
        from,
        to,
    };
    let page = PageRequest::read(&params, SORTS)?;
    let alerts = state.store.alerts(&filter, page.sort, page.position).await?;
    Ok(Json(page.list(alerts.items.into_iter().map(AlertItem::from).collect(), alerts.next)))
}

/// One alert, with its notes.
#[utoipa::path(
    get,
    path = "/api/alerts/{id}",
    tag = "alerts",
    params(("id" = String, Path, description = "id of the alert")),
    responses(
        (status = 200, body = AlertDetail),
        Refusals,
        (status = 404, description = "no such alert", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn one(
    State(state): State<ApiState>,
    Path(id): Path<String>,
) -> Result<Json<AlertDetail>, ApiError> {
    let id = identity(&id)?;
    let alert = state.store.alert(&id).await?.ok_or_else(|| unknown(&id))?;
    let notes = state.store.alert_notes(&id).await?;
    Ok(Json(AlertDetail { alert: alert.into(), notes: notes.into_iter().map(NoteJson::from).collect() }))
}

/// Changes an alert's status, adds a note, or both. What the pipeline tells about it later changes neither.
#[utoipa::path(
    patch,
    path = "/api/alerts/{id}",
    tag = "alerts",
    params(("id" = String, Path, description = "id of the alert")),
    request_body = AlertChangeRequest,
    responses(
        (status = 200, body = AlertDetail),
        BodyRefusals,
        (status = 404, description = "no such alert", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "as many notes as it may have", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn patch(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Json<AlertDetail>, ApiError> {
    let id = identity(&id)?;
    let body = Body::read(&body, &["status", "note", "by"])?;
    let status = body.text("status", MAX_NAME)?.map(status).transpose()?;
    let note = body.text("note", MAX_NOTE)?.map(str::to_owned);
    let by = body.text("by", MAX_NAME)?.unwrap_or(NOBODY).to_owned();
    if status.is_none() && note.is_none() {
        return Err(ApiError::invalid("status", "expected `status`, `note` or both: nothing is to be changed"));
    }
    match state.store.patch_alert(&id, &AlertPatch { status, note, by, at: now() }).await? {
        Patched::Done => one(State(state), Path(id)).await,
        Patched::Unknown => Err(unknown(&id)),
        Patched::Full => Err(ApiError::Conflict { detail: format!("alert {id} has as many notes as it may have") }),
    }
}

fn status(text: &str) -> Result<&'static str, ApiError> {
    STATUSES
        .into_iter()
        .find(|word| *word == text)
        .ok_or_else(|| ApiError::invalid("status", format!("`{text}`: expected one of {}", STATUSES.join(", "))))
}

fn identity(text: &str) -> Result<String, ApiError> {
    let is_one = text.len() == 16 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    let wrong = || ApiError::invalid("id", format!("`{text}`: expected the 16 hexadecimal digits of an alert"));
    if is_one { Ok(text.to_ascii_lowercase()) } else { Err(wrong()) }
}

fn unknown(id: &str) -> ApiError {
    ApiError::NotFound { detail: format!("there is no alert {id}") }
}
