//! `/api/audit`: who changed what.

use axum::extract::State;
use serde::Serialize;
use serde_json::Value;
use utoipa::openapi::Schema;

use crate::api::extract::{Json, Parameter, Query, parameters, text};
use crate::api::page::{List, PageQuery, Period, SortField};
use crate::api::{ApiError, ApiState};
use crate::store::{AuditFilter, AuditRow};

/// By what the list is sorted: time alone.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct AuditSort;

impl SortField for AuditSort {
    const ALL: &'static [(&'static str, Self)] = &[("time", Self)];
}

/// A change that somebody made.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct AuditJson {
    /// Its number.
    id: u64,
    /// When.
    #[schema(format = DateTime)]
    at: String,
    /// Name of the token, `anonymous` where none was demanded, or who called the command.
    who: String,
    /// The role in which.
    role: String,
    /// Address of the client, or `command`.
    origin: String,
    /// What was done.
    action: String,
    /// To what.
    target: String,
    /// What it was before; null of what was not there. What is longer than 8 KiB is left out, and its size stands there.
    before: Value,
    /// What it was then; null of what is gone.
    after: Value,
}

impl From<AuditRow> for AuditJson {
    fn from(row: AuditRow) -> Self {
        Self {
            id: row.id,
            at: row.at.to_string(),
            who: row.who,
            role: row.role,
            origin: row.origin,
            action: row.action,
            target: row.target,
            before: row.before.unwrap_or_default(),
            after: row.after.unwrap_or_default(),
        }
    }
}

/// A word that is looked for as it stands.
#[derive(Clone, Debug)]
pub(in crate::api) struct Exactly(String);

impl Parameter for Exactly {
    fn parse(text: &str) -> Result<Self, String> {
        let is_one = (1..=200).contains(&text.chars().count());
        if is_one { Ok(Self(text.to_owned())) } else { Err("1 to 200 characters".to_owned()) }
    }

    fn schema() -> Schema {
        text().min_length(Some(1)).max_length(Some(200)).into()
    }
}

parameters! {
    /// Which changes.
    pub(in crate::api) struct AuditQuery {
        /// By whom.
        "who" => who: Exactly,
        /// What was done, such as `revoke token`.
        "action" => action: Exactly,
        ..period: Period,
        ..page: PageQuery<AuditSort>,
    }
}

/// Every change that somebody made by the API or a command, the newest first. The newest 100,000 are kept; nothing changes one.
#[utoipa::path(
    get,
    path = "/api/audit",
    operation_id = "list_audit",
    tag = "access",
    params(AuditQuery),
    responses(
        (status = 200, description = "The page.", body = List<AuditJson>),
        (status = 422, description = "More would be read than may be; `detail` says what to ask for instead.",
            body = crate::api::error::Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn list(
    State(state): State<ApiState>,
    Query(query): Query<AuditQuery>,
) -> Result<Json<List<AuditJson>>, ApiError> {
    // The clock of changes is that of the wall, also in a replay.
    let range = query.page.range_as_asked(query.period)?;
    let filter = AuditFilter {
        who: query.who.map(|who| who.0),
        action: query.action.map(|action| action.0),
        from: range.from,
        to: range.to,
    };
    let page = state.store.audited(&filter, query.page.position).await?;
    Ok(Json(query.page.list(page.items.into_iter().map(AuditJson::from).collect(), page.next, range)))
}
