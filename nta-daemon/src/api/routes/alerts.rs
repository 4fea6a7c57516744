//! `/api/alerts`: alerts, and what people do about them.

use std::collections::BTreeMap;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::api::access::Caller;
use crate::api::error::Problem;
use crate::api::extract::{Flag, InPath, Json, PartyName, Path, Query, Several, Text, parameters, parties};
use crate::api::inside::Insides;
use crate::api::page::{List, PageQuery, Period, SortField};
use crate::api::state::now;
use crate::api::whose::WhoseQuery;
use crate::api::{ApiError, ApiState, found};
use crate::json::{AlertJson, words};
use crate::store::{AlertChanged, AlertFilter, AlertPatch, AlertSort, Audit, Note, Patched, Range, StoredAlert, Whose};
use nta_core::domain::{AlertKind, Severity};

use super::alert_parts::{PartJson, parts_of};
pub(super) use super::alert_words::{AlertId, AlertStateWord, AlertStatus, AlertVerdict, VerdictOrNone, given};
use super::anomalies::{severities, words as kinds_of};

impl SortField for AlertSort {
    const ALL: &'static [(&'static str, Self)] =
        &[("time", Self::Time), ("last_time", Self::LastTime), ("severity", Self::Severity), ("score", Self::Score)];
}

/// Longest note in characters.
const MAX_NOTE: usize = 4000;
/// Longest name of who changes an alert.
pub(super) const MAX_NAME: usize = 100;

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
    /// Whether the source is in the own networks (`detect.local_networks`) of a sensor that saw it; null when it is no host's address.
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
    /// What people say that it was; null while nobody does.
    #[schema(value_type = Option<words::AlertVerdict>)]
    verdict: Option<String>,
    /// The gateways that saw it, where it is one alert of several gateways (`sensor` is null then): the first 64 names. Empty for others.
    gateways: Vec<String>,
    /// The alert of several gateways that this one is a part of; null where it is by itself.
    #[schema(pattern = "^[0-9a-f]{16}$")]
    folded_into: Option<String>,
}

/// An alert with its notes.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct AlertDetail {
    #[serde(flatten)]
    alert: AlertItem,
    /// Notes, oldest first.
    notes: Vec<NoteJson>,
    /// Changes of status and verdict, oldest first: the newest 200.
    history: Vec<ChangeJson>,
    /// What it is of, where it is one alert of several gateways: their alerts, the first first, at most 1000.
    parts: Vec<PartJson>,
}

/// A change of status or verdict.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct ChangeJson {
    #[schema(format = DateTime)]
    at: String,
    by: String,
    #[schema(value_type = words::AlertStatus)]
    status_before: String,
    #[schema(value_type = words::AlertStatus)]
    status: String,
    #[schema(value_type = Option<words::AlertVerdict>)]
    verdict_before: Option<String>,
    #[schema(value_type = Option<words::AlertVerdict>)]
    verdict: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct NoteJson {
    /// Its number, by which it can be taken back.
    id: i64,
    #[schema(format = DateTime)]
    at: String,
    by: String,
    note: String,
}

/// The body of a change: `status`, `verdict`, `note`, `withdraw` or several of them.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct AlertChangeRequest {
    /// What people did about it.
    #[schema(value_type = Option<words::AlertStatus>)]
    status: Option<AlertStatus>,
    /// What it was; null takes a verdict back.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<words::AlertVerdict>)]
    verdict: Option<Option<AlertVerdict>>,
    /// A note to add.
    #[schema(schema_with = Text::<MAX_NOTE>::schema)]
    note: Option<Text<MAX_NOTE>>,
    /// `id` of a note to take back; the audit log keeps it.
    withdraw: Option<i64>,
    /// Who, where no token is demanded: unless given it is `anonymous`, and a status that the alert has already stays theirs who gave it. With a
    /// token it is the token's name, and nothing else may stand here.
    #[schema(schema_with = Text::<MAX_NAME>::schema)]
    by: Option<Text<MAX_NAME>>,
}

impl AlertItem {
    pub(super) fn new(stored: StoredAlert, insides: &Insides) -> Self {
        let seen_by = || stored.sensor.iter().chain(&stored.gateways).map(String::as_str);
        let inside = |party: &Option<String>| insides.holds(party.as_ref()?, seen_by());
        Self {
            source_inside: inside(&stored.source),
            destination_inside: inside(&stored.destination),
            alert: found::alert(&stored),
            window_id: stored.window.id(),
            sensor: stored.sensor,
            status: stored.status,
            status_by: stored.status_by,
            status_at: stored.status_at.map(|time| time.to_string()),
            verdict: stored.verdict,
            gateways: stored.gateways,
            folded_into: stored.joint,
        }
    }
}

impl From<Note> for NoteJson {
    fn from(note: Note) -> Self {
        Self { id: note.id, at: note.at.to_string(), by: note.by, note: note.note }
    }
}

impl From<AlertChanged> for ChangeJson {
    fn from(change: AlertChanged) -> Self {
        let ([status_before, status], [verdict_before, verdict]) = (change.status, change.verdict);
        Self { at: change.at.to_string(), by: change.by, status_before, status, verdict_before, verdict }
    }
}

parameters! {
    /// Which alerts.
    pub(in crate::api) struct AlertsFilter {
        /// Kind, or several.
        "type" => kinds: Several<AlertKind>,
        /// Severity, or several.
        "severity" => severities: Several<Severity>,
        /// This severity or a worse one.
        "min_severity" => least: Severity,
        /// What people did about it, or several of these.
        "status" => statuses: Several<AlertStatus>,
        /// What the traffic does.
        "state" => state: AlertStateWord,
        /// What people say that it was; `none` where nobody does.
        "verdict" => verdict: VerdictOrNone,
        /// Who does it: as the alert writes it, a network that holds it, or several of these. Of an alert whose source is `*` each of these,
        /// as far as they are kept.
        "source" => source: Several<PartyName>,
        /// Who suffers it, the same way.
        "destination" => destination: Several<PartyName>,
        /// Whom it concerns: who does or suffers it, the same way, or had a share in it.
        "host" => host: Several<PartyName>,
        /// Whether those are there too that are a part of an alert of several gateways; unless given, where `sensor` names one.
        "parts" => parts: Flag,
        ..whose: WhoseQuery,
        ..period: Period,
    }
}

parameters! {
    /// Which alerts, and which page of them.
    pub(in crate::api) struct AlertsQuery {
        ..filter: AlertsFilter,
        ..page: PageQuery<AlertSort>,
    }
}

impl AlertsFilter {
    /// The filter over a time.
    pub(super) fn between(self, whose: Whose, Range { from, to }: Range) -> Result<AlertFilter, ApiError> {
        Ok(AlertFilter {
            kinds: kinds_of(self.kinds.as_ref()),
            severities: severities(self.severities.as_ref(), self.least)?,
            statuses: self.statuses.iter().flat_map(|statuses| &statuses.0).map(|status| status.0).collect(),
            kind: None,
            severity: None,
            status: None,
            verdict: self.verdict.map(|verdict| verdict.0),
            state: self.state.map(|state| state.0),
            source: parties(self.source.as_ref()),
            destination: parties(self.destination.as_ref()),
            host: parties(self.host.as_ref()),
            from,
            to,
            hides_parts: !self.parts.map_or_else(|| self.whose.is_one(), |parts| parts.0),
            whose,
        })
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
    let AlertsQuery { filter, page } = query;
    let scope = state.scope(filter.whose.clone()).await?;
    let range = page.range(filter.period, &scope, &state).await?;
    let filter = filter.between(scope.whose, range)?;
    let alerts = state.store.alerts(&filter, page.sort, page.position).await?;
    let insides = state.insides().await;
    Ok(Json(page.list(
        alerts.items.into_iter().map(|stored| AlertItem::new(stored, &insides)).collect(),
        alerts.next,
        range,
    )))
}

/// How many alerts there are of each severity.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct AlertCounts {
    total: u64,
    /// `critical`, `high`, `medium` and `low`.
    by_severity: BTreeMap<&'static str, u64>,
}

/// How many alerts the filters of the list find, by severity: of all that is stored unless a time is given.
#[utoipa::path(
    get,
    path = "/api/alerts/counts",
    operation_id = "count_alerts",
    tag = "alerts",
    params(AlertsFilter),
    responses((status = 200, description = "The counts.", body = AlertCounts))
)]
pub(in crate::api) async fn counts(
    State(state): State<ApiState>,
    Query(filter): Query<AlertsFilter>,
) -> Result<Json<AlertCounts>, ApiError> {
    let scope = state.scope(filter.whose.clone()).await?;
    let range = Range { from: filter.period.from, to: filter.period.to };
    let counts = state.store.alert_counts(&filter.between(scope.whose, range)?).await?;
    let by_severity = Severity::ALL.iter().map(|severity| (severity.word(), counts[*severity as usize])).collect();
    Ok(Json(AlertCounts { total: counts.iter().sum(), by_severity }))
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

/// Changes an alert's status or verdict, adds a note, or several of these. What the pipeline reports about it later changes neither.
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
    let verdict = change.verdict.map(|verdict| verdict.map(AlertVerdict::word));
    let note = change.note.map(|note| note.0);
    let by = signed(&caller, change.by.map(|by| by.0))?;
    let withdraw = change.withdraw;
    if status.is_none() && verdict.is_none() && note.is_none() && withdraw.is_none() {
        let detail = "expected `status`, `verdict`, `note`, `withdraw` or several of them: nothing is to be changed";
        return Err(ApiError::invalid("status", detail));
    }
    let before = state.store.alert(&id).await?.ok_or_else(|| unknown(&id))?;
    let said = match verdict {
        Some(verdict) => verdict.map(str::to_owned),
        None => before.verdict.clone(),
    };
    let withdrawn = match withdraw {
        Some(withdraw) => {
            state.store.alert_notes(&id).await?.into_iter().find(|note| note.id == withdraw).map(|note| note.note)
        }
        None => None,
    };
    let after = json!({"status": status.unwrap_or(&before.status), "verdict": said, "note": note, "by": by});
    match state.store.patch_alert(&id, &AlertPatch { status, verdict, note, withdraw, by, at: now() }).await? {
        Patched::Done => {
            let mut before = json!({"status": before.status, "verdict": before.verdict, "by": before.status_by});
            if let Some(note) = withdrawn {
                before["note"] = note.into();
            }
            let change = caller.audit("change alert", format!("alert {id}"));
            state.record(&Audit { before: Some(before), after: Some(after), ..change }).await;
            detail(&state, &id).await
        }
        Patched::Unknown => Err(unknown(&id)),
        Patched::NoNote => Err(ApiError::invalid("withdraw", format!("alert {id} has no such note"))),
        Patched::Full => Err(ApiError::Conflict { detail: format!("alert {id} has as many notes as it may have") }),
    }
}

/// Who makes a change: with a token nobody acts under another name.
pub(super) fn signed(caller: &Caller, by: Option<String>) -> Result<Option<String>, ApiError> {
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
    let history = state.store.alert_changes(id).await?;
    let parts = parts_of(state, &alert).await?;
    let insides = state.insides().await;
    Ok(Json(AlertDetail {
        alert: AlertItem::new(alert, &insides),
        parts,
        notes: notes.into_iter().map(NoteJson::from).collect(),
        history: history.into_iter().map(ChangeJson::from).collect(),
    }))
}

pub(super) fn unknown(id: &str) -> ApiError {
    ApiError::NotFound { detail: format!("there is no alert {id}") }
}
