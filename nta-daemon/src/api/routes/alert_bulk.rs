//! `POST /api/alerts/acknowledge`, `/resolve` and `/reopen`: the status of all alerts that the filters of the list find.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::openapi::Schema;

use super::alerts::{AlertVerdict, AlertsFilter, MAX_NAME, signed};
use crate::api::access::Caller;
use crate::api::error::Problem;
use crate::api::extract::{Flag, Json, Parameter, Query, Text, number, parameters};
use crate::api::state::now;
use crate::api::{ApiError, ApiState};
use crate::json::words;
use crate::store::{AlertPatch, Audit, MOST_AT_ONCE, PatchedAll};

/// A count of alerts.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct Expected(u64);

impl Parameter for Expected {
    fn parse(text: &str) -> Result<Self, String> {
        let count = text.parse().ok().filter(|count| *count <= MOST_AT_ONCE as u64);
        count.map(Self).ok_or_else(|| format!("a number from 0 to {MOST_AT_ONCE}"))
    }

    fn schema() -> Schema {
        number(0, MOST_AT_ONCE as u64).into()
    }
}

parameters! {
    /// Which alerts, and whether they are to be changed.
    pub(in crate::api) struct BulkQuery {
        /// With `true` nothing is changed: the answer says how many alerts would be.
        "dry_run" => dry_run: Flag,
        /// How many alerts are to be changed, as `dry_run` says. It must be given unless that is `true`; where it is another number by
        /// now, nothing is changed and the answer is 409 with the new one.
        "expect" => expect: Expected,
        ..filter: AlertsFilter,
    }
}

/// What is said beside the status.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct BulkRequest {
    /// What the alerts were; null takes a verdict back.
    #[serde(default, deserialize_with = "super::alerts::given")]
    #[schema(value_type = Option<words::AlertVerdict>)]
    verdict: Option<Option<AlertVerdict>>,
    /// Who, where no token is demanded; with a token it is the token's name, and nothing else may stand here.
    #[schema(schema_with = Text::<MAX_NAME>::schema)]
    by: Option<Text<MAX_NAME>>,
}

/// What a change to many alerts did, or would do.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct BulkAnswer {
    /// Whether nothing was changed.
    dry_run: bool,
    /// Alerts that are changed, or would be: those that are as asked already do not count.
    count: u64,
    /// The begin of the time range that was applied; null where there is none.
    #[schema(required, format = DateTime)]
    from: Option<String>,
    /// The end of the time range that was applied; null where it is open.
    #[schema(required, format = DateTime)]
    to: Option<String>,
}

/// Resolves all alerts that the filters find, those of the last day unless `from` says otherwise, at most 10,000.
#[utoipa::path(
    post,
    path = "/api/alerts/resolve",
    operation_id = "resolve_alerts",
    tag = "alerts",
    params(BulkQuery),
    request_body = BulkRequest,
    responses(
        (status = 200, description = "What was done, or would be.", body = BulkAnswer),
        (status = 409, description = "Another number of alerts would be changed than `expect` says: `count` is the new one.",
            body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "More would be read or changed than may be; `detail` says what to ask for instead.",
            body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn resolve(
    State(state): State<ApiState>,
    Query(query): Query<BulkQuery>,
    caller: Caller,
    Json(body): Json<BulkRequest>,
) -> Result<Json<BulkAnswer>, ApiError> {
    all(&state, query, &caller, body, ("resolve alerts", "resolved")).await
}

/// Acknowledges all alerts that the filters find; see `/api/alerts/resolve`.
#[utoipa::path(
    post,
    path = "/api/alerts/acknowledge",
    operation_id = "acknowledge_alerts",
    tag = "alerts",
    params(BulkQuery),
    request_body = BulkRequest,
    responses(
        (status = 200, description = "What was done, or would be.", body = BulkAnswer),
        (status = 409, description = "Another number of alerts would be changed than `expect` says: `count` is the new one.",
            body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "More would be read or changed than may be; `detail` says what to ask for instead.",
            body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn acknowledge(
    State(state): State<ApiState>,
    Query(query): Query<BulkQuery>,
    caller: Caller,
    Json(body): Json<BulkRequest>,
) -> Result<Json<BulkAnswer>, ApiError> {
    all(&state, query, &caller, body, ("acknowledge alerts", "acknowledged")).await
}

/// Opens all alerts that the filters find again; see `/api/alerts/resolve`.
#[utoipa::path(
    post,
    path = "/api/alerts/reopen",
    operation_id = "reopen_alerts",
    tag = "alerts",
    params(BulkQuery),
    request_body = BulkRequest,
    responses(
        (status = 200, description = "What was done, or would be.", body = BulkAnswer),
        (status = 409, description = "Another number of alerts would be changed than `expect` says: `count` is the new one.",
            body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "More would be read or changed than may be; `detail` says what to ask for instead.",
            body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn reopen(
    State(state): State<ApiState>,
    Query(query): Query<BulkQuery>,
    caller: Caller,
    Json(body): Json<BulkRequest>,
) -> Result<Json<BulkAnswer>, ApiError> {
    all(&state, query, &caller, body, ("reopen alerts", "open")).await
}

async fn all(
    state: &ApiState,
    BulkQuery { dry_run, expect, filter }: BulkQuery,
    caller: &Caller,
    body: BulkRequest,
    (action, status): (&'static str, &'static str),
) -> Result<Json<BulkAnswer>, ApiError> {
    let is_dry = dry_run.is_some_and(|flag| flag.0);
    if !is_dry && expect.is_none() {
        let detail = "expected the count that `dry_run=true` answers: it must be given, so that no more is changed than was seen";
        return Err(ApiError::invalid("expect", detail));
    }
    let by = signed(caller, body.by.map(|by| by.0))?;
    let verdict = body.verdict.map(|verdict| verdict.map(AlertVerdict::word));
    let scope = state.scope(filter.whose.clone()).await?;
    let range = state.range_of(filter.period, &scope).await?;
    let filter = filter.between(scope.whose, range)?;
    let patch = AlertPatch { status: Some(status), verdict, note: None, withdraw: None, by, at: now() };
    let Some(alerts) = state.store.alerts_to_change(&filter, &patch).await? else {
        let detail =
            format!("more than {MOST_AT_ONCE} alerts would be changed at once; ask for a shorter time (`from`, `to`)");
        return Err(ApiError::Unprocessable { field: None, detail });
    };
    let count = match expect.filter(|_| !is_dry) {
        None => alerts.count(),
        Some(Expected(expected)) => match state.store.patch_alerts(&alerts, &patch, expected).await? {
            PatchedAll::Done(count) => count,
            PatchedAll::Other(count) => return Err(ApiError::Counted { count, expected }),
        },
    };
    let [from, to] = [range.from, range.to].map(|time| time.map(|time| time.to_string()));
    if !is_dry {
        let filter = json!({
            "type": filter.kinds, "severity": filter.severities.iter().map(|one| one.word()).collect::<Vec<_>>(),
            "status": filter.statuses,
            "state": filter.state, "verdict": filter.verdict,
            "source": filter.source.shown(), "destination": filter.destination.shown(),
            "host": filter.host.shown(),
            "sensors": filter.whose.names(), "from": from, "to": to,
        });
        let after = json!({"status": status, "verdict": verdict, "count": count, "filter": filter});
        let change = caller.audit(action, format!("{count} alerts"));
        state.record(&Audit { after: Some(after), ..change }).await;
    }
    Ok(Json(BulkAnswer { dry_run: is_dry, count, from, to }))
}
