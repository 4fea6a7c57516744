//! `/api/alerts`: alerts, and what people do about them.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::json;

use utoipa::openapi::Schema;

use crate::api::access::Caller;
use crate::api::error::Problem;
use crate::api::extract::{
    InPath, Json, Parameter, PartyName, Path, PathParameter, Query, Sensor, Text, Word, parameters, text,
};
use crate::api::page::{List, PageQuery, Period, SortField};
use crate::api::state::now;
use crate::api::{ApiError, ApiState, found};
use crate::json::{AlertJson, words};
use crate::store::{AlertFilter, AlertPatch, AlertSort, Audit, Note, Patched, StoredAlert};
use nta_core::domain::{AlertKind, Severity};

use super::hosts::is_inside;

impl SortField for AlertSort {
    const ALL: &'static [(&'static str, Self)] =
        &[("time", Self::Time), ("last_time", Self::LastTime), ("severity", Self::Severity), ("score", Self::Score)];
}

/// Longest note in characters.
const MAX_NOTE: usize = 4000;
/// Longest name of who changes an alert.
const MAX_NAME: usize = 100;

/// An alert with what people did about it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct AlertItem {
    /// Name of the sensor that saw it; null where it was not noted.
    sensor: Option<String>,
    /// Id of the window that decided (`why.window_start` to `why.window_end`), for `/api/metrics/{id}`; null where that window is not
    /// stored yet, was never stored or is stored no longer.
    window_id: Option<u64>,
    #[serde(flatten)]
    alert: AlertJson,
    /// Whether the source is in one's own networks, `detect.local_networks`; null when it is no host's address.
    source_inside: Option<bool>,
    /// The same of the destination.
    destination_inside: Option<bool>,
    /// What people did; `state` is what the traffic does.
    #[schema(value_type = words::AlertStatus)]
    status: String,
    /// Who changed the status last; null while nobody has.
    status_by: Option<String>,
    /// When.
    #[schema(format = DateTime)]
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
    #[schema(format = DateTime)]
    at: String,
    by: String,
    note: String,
}

/// The body of a change: `status`, `note` or both.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct AlertChangeRequest {
    /// What people did about it.
    #[schema(value_type = Option<words::AlertStatus>)]
    status: Option<AlertStatus>,
    /// A note to add.
    #[schema(schema_with = Text::<MAX_NOTE>::schema)]
    note: Option<Text<MAX_NOTE>>,
    /// Who, where no token is demanded: unless given it is `api`, and a status that the alert has already stays theirs who gave it. With a
    /// token it is the token's name, and nothing else may stand here.
    #[schema(schema_with = Text::<MAX_NAME>::schema)]
    by: Option<Text<MAX_NAME>>,
}

/// What people did about an alert.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct AlertStatus(&'static str);

impl Word for AlertStatus {
    fn all() -> Vec<(&'static str, Self)> {
        words::STATUSES.map(|word| (word, Self(word))).to_vec()
    }
}

impl<'de> Deserialize<'de> for AlertStatus {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = |expected| serde::de::Error::custom(format!("`{text}`: expected {expected}"));
        Self::parse(&text).map_err(wrong)
    }
}

/// What the traffic does.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct AlertStateWord(&'static str);

impl Word for AlertStateWord {
    fn all() -> Vec<(&'static str, Self)> {
        words::STATES.map(|word| (word, Self(word))).to_vec()
    }
}

/// The identity of an alert.
#[derive(Debug)]
pub(in crate::api) struct AlertId(String);

impl AlertId {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Parameter for AlertId {
    fn parse(text: &str) -> Result<Self, String> {
        let is_one = text.len() == 16 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        if is_one { Ok(Self(text.to_ascii_lowercase())) } else { Err("16 hexadecimal digits".to_owned()) }
    }

    fn schema() -> Schema {
        text().pattern(Some("^[0-9a-f]{16}$")).into()
    }
}

impl PathParameter for AlertId {
    const NAME: &'static str = "id";
    const ABOUT: &'static str = "Identity of the alert.";
}

impl AlertItem {
    pub(super) fn new(stored: StoredAlert, state: &ApiState) -> Self {
        let local = &state.analysis.detect.local_networks;
        let inside = |party: &Option<String>| is_inside(party.as_ref()?, local);
        Self {
            source_inside: inside(&stored.source),
            destination_inside: inside(&stored.destination),
            alert: found::alert(&stored),
            window_id: stored.window.id(),
            sensor: stored.sensor,
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

parameters! {
    /// Which alerts.
    pub(in crate::api) struct AlertsQuery {
        /// Kind.
        "type" => kind: AlertKind,
        /// Severity.
        "severity" => severity: Severity,
        /// What people did about it.
        "status" => status: AlertStatus,
        /// What the traffic does.
        "state" => state: AlertStateWord,
        /// Who does it, as the alert writes it.
        "source" => source: PartyName,
        /// Who suffers it, as the alert writes it.
        "destination" => destination: PartyName,
        /// Name of the sensor that saw it; all of them unless given.
        "sensor" => sensor: Sensor,
        ..period: Period,
        ..page: PageQuery<AlertSort>,
    }
}

/// A page of alerts, the one raised last first unless `sort` says otherwise.
#[utoipa::path(
    get,
    path = "/api/alerts",
    operation_id = "list_alerts",
    tag = "alerts",
    params(AlertsQuery),
    responses(
        (status = 200, description = "The page.", body = List<AlertItem>),
        (status = 422, description = "More would be read than may be; `detail` says what to ask for instead.",
            body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn list(
    State(state): State<ApiState>,
    Query(query): Query<AlertsQuery>,
) -> Result<Json<List<AlertItem>>, ApiError> {
    let range = query.page.range(query.period, &state).await?;
    let filter = AlertFilter {
        kind: query.kind.map(AlertKind::word),
        severity: query.severity,
        status: query.status.map(|status| status.0),
        state: query.state.map(|state| state.0),
        source: query.source.map(|party| party.0),
        destination: query.destination.map(|party| party.0),
        host: None,
        from: range.from,
        to: range.to,
        sensor: query.sensor.map(|sensor| sensor.0),
    };
    let alerts = state.store.alerts(&filter, query.page.sort, query.page.position).await?;
    Ok(Json(query.page.list(
        alerts.items.into_iter().map(|stored| AlertItem::new(stored, &state)).collect(),
        alerts.next,
        range,
    )))
}

/// One alert, with its notes.
#[utoipa::path(
    get,
    path = "/api/alerts/{id}",
    operation_id = "get_alert",
    tag = "alerts",
    params(InPath<AlertId>),
    responses(
        (status = 200, description = "The alert.", body = AlertDetail),
        (status = 404, description = "There is no such alert, or what is stored of it cannot be read; `detail` says which.",
            body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn one(
    _: Query<()>,
    State(state): State<ApiState>,
    Path(AlertId(id)): Path<AlertId>,
) -> Result<Json<AlertDetail>, ApiError> {
    detail(&state, &id).await
}

/// Changes an alert's status, adds a note, or both. What the pipeline reports about it later changes neither.
#[utoipa::path(
    patch,
    path = "/api/alerts/{id}",
    operation_id = "change_alert",
    tag = "alerts",
    params(InPath<AlertId>),
    request_body = AlertChangeRequest,
    responses(
        (status = 200, description = "The alert as it is now.", body = AlertDetail),
        (status = 404, description = "There is no such alert, or what is stored of it cannot be read; `detail` says which.",
            body = Problem,
            content_type = "application/problem+json"),
        (status = 409, description = "It has as many notes as it may have.", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn patch(
    _: Query<()>,
    State(state): State<ApiState>,
    Path(AlertId(id)): Path<AlertId>,
    caller: Caller,
    Json(change): Json<AlertChangeRequest>,
) -> Result<Json<AlertDetail>, ApiError> {
    let status = change.status.map(|status| status.0);
    let note = change.note.map(|note| note.0);
    let by = signed(&caller, change.by.map(|by| by.0))?;
    if status.is_none() && note.is_none() {
        return Err(ApiError::invalid("status", "expected `status`, `note` or both: nothing is to be changed"));
    }
    let before = state.store.alert(&id).await?.ok_or_else(|| unknown(&id))?;
    let after = json!({"status": status.unwrap_or(&before.status), "note": note, "by": by});
    match state.store.patch_alert(&id, &AlertPatch { status, note, by, at: now() }).await? {
        Patched::Done => {
            let before = Some(json!({"status": before.status, "by": before.status_by}));
            let change = caller.audit("change alert", format!("alert {id}"));
            state.record(&Audit { before, after: Some(after), ..change }).await;
            detail(&state, &id).await
        }
        Patched::Unknown => Err(unknown(&id)),
        Patched::Full => Err(ApiError::Conflict { detail: format!("alert {id} has as many notes as it may have") }),
    }
}

/// Who makes a change: with a token nobody acts under another name.
fn signed(caller: &Caller, by: Option<String>) -> Result<Option<String>, ApiError> {
    match (caller.token, by) {
        (None, by) => Ok(by),
        (Some(_), Some(by)) if by != caller.name => {
            let detail =
                format!("`{by}`: with a token it is the token's name, `{}`, and need not be given", caller.name);
            Err(ApiError::invalid("by", detail))
        }
        (Some(_), _) => Ok(Some(caller.name.clone())),
    }
}

pub(super) async fn detail(state: &ApiState, id: &str) -> Result<Json<AlertDetail>, ApiError> {
    let alert = state.store.alert(id).await?.ok_or_else(|| unknown(id))?;
    let notes = state.store.alert_notes(id).await?;
    Ok(Json(AlertDetail {
        alert: AlertItem::new(alert, state),
        notes: notes.into_iter().map(NoteJson::from).collect(),
    }))
}

pub(super) fn unknown(id: &str) -> ApiError {
    ApiError::NotFound { detail: format!("there is no alert {id}") }
}
