//! `/api/webhooks`: who is told of what happens, how that goes, and what was not taken.

use axum::extract::State;
use serde::Serialize;
use utoipa::openapi::Schema;

use crate::api::access::Caller;
use crate::api::error::Problem;
use crate::api::extract::{InPath, Json, Parameter, Path, PathParameter, Query, number, parameters, text};
use crate::api::{ApiError, ApiState};
use crate::json::{LogEventJson, words};
use crate::sink::webhook::{WebhookState, Webhooks};
use crate::store::{Audit, DeadLetter};

const DEFAULT_LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 1000;

/// A webhook, and how it does.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct WebhookItem {
    name: String,
    /// What it speaks.
    #[schema(value_type = words::WebhookKind)]
    kind: &'static str,
    /// Scheme, host and port of its target; the rest may be secret.
    target: String,
    /// Types of events that are sent, as configured.
    types: Vec<String>,
    /// The mildest severity that is sent.
    #[schema(value_type = words::Severity)]
    min_severity: &'static str,
    /// `ok`; `failing` since the last attempt; `unusable` where its secrets cannot be read; `idle` before the first.
    #[schema(value_type = words::WebhookState)]
    state: &'static str,
    /// Why it is unusable; else null.
    unusable: Option<String>,
    /// Failures since the last success.
    failures: u32,
    /// `id` of the last event that was looked at; null before the first.
    cursor: Option<u64>,
    /// Events that it took.
    delivered: u64,
    /// Events that were given up, since it was first configured.
    given_up: u64,
    /// Of these, dead letters that are kept.
    dead_letters: u64,
    /// Events that were deleted before it came to them.
    missed: u64,
    /// When it took an event last; null before the first.
    #[schema(format = DateTime)]
    last_delivery_at: Option<String>,
    /// When it failed last; null where it never has.
    #[schema(format = DateTime)]
    last_error_at: Option<String>,
    /// Why.
    last_error: Option<String>,
}

/// The webhooks.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct WebhookList {
    items: Vec<WebhookItem>,
}

/// An event that a webhook did not take.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct DeadLetterItem {
    /// Its number.
    id: u64,
    webhook: String,
    event: LogEventJson,
    /// When it was tried last.
    #[schema(format = DateTime)]
    failed_at: String,
    attempts: u32,
    /// Why it was not taken.
    error: String,
}

/// Dead letters, the newest first.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct DeadLetterList {
    items: Vec<DeadLetterItem>,
}

/// What became of a message.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct Delivered {
    /// Whether the target took it.
    delivered: bool,
    /// Why not; else null.
    error: Option<String>,
}

impl From<Result<(), String>> for Delivered {
    fn from(sent: Result<(), String>) -> Self {
        Self { delivered: sent.is_ok(), error: sent.err() }
    }
}

impl From<WebhookState> for WebhookItem {
    fn from(webhook: WebhookState) -> Self {
        let WebhookState { config, unusable, failures, row, dead } = webhook;
        let state = match (&unusable, failures, &row) {
            (Some(_), ..) => "unusable",
            (None, 1.., _) => "failing",
            (None, 0, Some(row)) if row.last_ok.is_some() => "ok",
            _ => "idle",
        };
        let cursor = row.as_ref().map(|row| row.cursor);
        let row = row.unwrap_or_default();
        let (last_error_at, last_error) = row.last_error.map(|(at, error)| (at.to_string(), error)).unzip();
        Self {
            name: config.name,
            kind: config.kind.word(),
            target: config.url.to_string(),
            types: config.types,
            min_severity: config.min_severity.word(),
            state,
            unusable,
            failures,
            cursor,
            delivered: row.delivered,
            given_up: row.dead,
            dead_letters: dead,
            missed: row.missed,
            last_delivery_at: row.last_ok.map(|at| at.to_string()),
            last_error_at,
            last_error,
        }
    }
}

impl From<DeadLetter> for DeadLetterItem {
    fn from(letter: DeadLetter) -> Self {
        Self {
            id: letter.id,
            webhook: letter.webhook,
            event: LogEventJson::from(&letter.event),
            failed_at: letter.failed.to_string(),
            attempts: letter.attempts,
            error: letter.error,
        }
    }
}

/// The name of a webhook.
#[derive(Clone, Debug)]
pub(in crate::api) struct WebhookName(String);

impl Parameter for WebhookName {
    fn parse(text: &str) -> Result<Self, String> {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let is_one = (1..=64).contains(&text.len()) && text.bytes().all(is_name);
        if is_one { Ok(Self(text.to_owned())) } else { Err("the name of a webhook".to_owned()) }
    }

    fn schema() -> Schema {
        text().pattern(Some(r"^[A-Za-z0-9._\-]{1,64}$")).into()
    }
}

impl PathParameter for WebhookName {
    const NAME: &'static str = "name";
    const ABOUT: &'static str = "Name of the webhook, as it is configured.";
}

/// The number of a dead letter.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct LetterId(u64);

impl Parameter for LetterId {
    fn parse(text: &str) -> Result<Self, String> {
        let id = text.parse().ok().filter(|id| (1..=i64::MAX.unsigned_abs()).contains(id));
        id.map(Self).ok_or_else(|| "the number of a dead letter".to_owned())
    }

    fn schema() -> Schema {
        number(1, i64::MAX.unsigned_abs()).into()
    }
}

impl PathParameter for LetterId {
    const NAME: &'static str = "id";
    const ABOUT: &'static str = "Number of the dead letter.";
}

/// How many dead letters.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct Limit(u32);

impl Parameter for Limit {
    fn parse(text: &str) -> Result<Self, String> {
        let limit = text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
        limit.map(Self).ok_or_else(|| format!("a number from 1 to {MAX_LIMIT}"))
    }

    fn schema() -> Schema {
        number(1, MAX_LIMIT.into()).into()
    }
}

parameters! {
    /// Which dead letters.
    pub(in crate::api) struct DeadLettersQuery {
        /// Name of a webhook; all of them unless given.
        "webhook" => webhook: WebhookName,
        /// How many; 100 unless given.
        "limit" => limit: Limit,
    }
}

fn webhooks(state: &ApiState) -> Result<&Webhooks, ApiError> {
    let none = || ApiError::NotFound { detail: "no webhooks are configured; `[[webhooks]]` names them".to_owned() };
    state.webhooks.as_ref().filter(|webhooks| !webhooks.is_empty()).ok_or_else(none)
}

/// All webhooks, and how each does. In a replay there are none: it tells nobody.
#[utoipa::path(
    get,
    path = "/api/webhooks",
    operation_id = "list_webhooks",
    tag = "webhooks",
    responses((status = 200, description = "All of them.", body = WebhookList))
)]
pub(in crate::api) async fn list(_: Query<()>, State(state): State<ApiState>) -> Result<Json<WebhookList>, ApiError> {
    let Some(webhooks) = &state.webhooks else { return Ok(Json(WebhookList { items: Vec::new() })) };
    let items = webhooks.states().await?.into_iter().map(WebhookItem::from).collect();
    Ok(Json(WebhookList { items }))
}

/// Sends a test message at once. Whether the target took it is in the answer.
#[utoipa::path(
    post,
    path = "/api/webhooks/{name}/test",
    operation_id = "test_webhook",
    tag = "webhooks",
    params(InPath<WebhookName>),
    responses(
        (status = 200, description = "What became of it.", body = Delivered),
        (status = 404, description = "There is no such webhook.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn test(
    _: Query<()>,
    State(state): State<ApiState>,
    caller: Caller,
    Path(WebhookName(name)): Path<WebhookName>,
) -> Result<Json<Delivered>, ApiError> {
    let unknown = || ApiError::NotFound { detail: format!("there is no webhook {name}") };
    let sent = webhooks(&state)?.test(&name).await.ok_or_else(unknown)?;
    let delivered = Delivered::from(sent);
    let after = serde_json::to_value(&delivered).ok();
    state.record(&Audit { after, ..caller.audit("test webhook", format!("webhook {name}")) }).await;
    Ok(Json(delivered))
}

/// The events that webhooks did not take, the newest first; at most 1,000 are kept of each.
#[utoipa::path(
    get,
    path = "/api/webhooks/dead",
    operation_id = "list_dead_letters",
    tag = "webhooks",
    params(DeadLettersQuery),
    responses((status = 200, description = "The dead letters.", body = DeadLetterList))
)]
pub(in crate::api) async fn dead(
    State(state): State<ApiState>,
    Query(query): Query<DeadLettersQuery>,
) -> Result<Json<DeadLetterList>, ApiError> {
    let Some(webhooks) = &state.webhooks else { return Ok(Json(DeadLetterList { items: Vec::new() })) };
    let limit = query.limit.map_or(DEFAULT_LIMIT, |limit| limit.0);
    let letters = webhooks.dead_letters(query.webhook.as_ref().map(|name| name.0.as_str()), limit).await?;
    Ok(Json(DeadLetterList { items: letters.into_iter().map(DeadLetterItem::from).collect() }))
}

/// Sends a dead letter again. One that is taken is none any more; one that is not stays, with the new reason.
#[utoipa::path(
    post,
    path = "/api/webhooks/dead/{id}/retry",
    operation_id = "retry_dead_letter",
    tag = "webhooks",
    params(InPath<LetterId>),
    responses(
        (status = 200, description = "What became of it.", body = Delivered),
        (status = 404, description = "There is no such dead letter, or its webhook is not configured any more.", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn retry(
    _: Query<()>,
    State(state): State<ApiState>,
    caller: Caller,
    Path(LetterId(id)): Path<LetterId>,
) -> Result<Json<Delivered>, ApiError> {
    let unknown =
        || ApiError::NotFound { detail: format!("there is no dead letter {id} of a webhook that is configured") };
    let sent = webhooks(&state)?.retry(id).await?.ok_or_else(unknown)?;
    let delivered = Delivered::from(sent);
    let after = serde_json::to_value(&delivered).ok();
    state.record(&Audit { after, ..caller.audit("retry dead letter", format!("dead letter {id}")) }).await;
    Ok(Json(delivered))
}
