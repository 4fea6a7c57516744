//! `/api/mutes`: what operators do not want to hear of for a while.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::openapi::schema::ArrayBuilder;
use utoipa::openapi::{RefOr, Schema};

use super::alerts::AlertItem;
use crate::api::access::Caller;
use crate::api::error::Problem;
use crate::api::extract::{
    Flag, InPath, Json, Parameter, Path, PathParameter, Query, Text, number, or_null, parameters, text,
};
use crate::api::page::List;
use crate::api::state::now;
use crate::api::whose::WhoseQuery;
use crate::api::{ApiError, ApiState};
use crate::json::words;
use crate::json::words::words_schema;
use crate::store::{AlertFilter, AlertSort, Audit, MOST_MUTES, Position, StoredMute};
use nta_core::alerting::Mute;
use nta_core::detect::network;
use nta_core::domain::{AlertKind, Mode, Timestamp};

/// Longest reason in characters.
const MAX_REASON: usize = 1000;
/// Longest time that one holds.
const LONGEST_NS: u64 = 366 * DAY_NS;
const DAY_NS: u64 = 86_400 * 1_000_000_000;
/// Time that a preview looks back.
const PREVIEW_NS: u64 = 7 * DAY_NS;
/// Alerts that a preview reads at most, and at a time.
const MOST_READ: usize = 20_000;
const CHUNK: u32 = 1000;
/// Alerts that a preview shows.
const MOST_SHOWN: usize = 100;

/// A mute.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct MuteJson {
    /// Its number.
    id: u64,
    /// Kinds of alerts; all where there is none.
    #[schema(value_type = Vec<words::AlertType>)]
    types: Vec<&'static str>,
    /// Network of who does it; null for any.
    source: Option<String>,
    /// Network of who suffers it; null for any.
    destination: Option<String>,
    /// Network of either; null for any.
    host: Option<String>,
    reason: String,
    /// Who made it.
    by: String,
    #[schema(format = DateTime)]
    created: String,
    /// Until when it holds.
    #[schema(format = DateTime)]
    expires: String,
    /// Whether it holds.
    #[schema(value_type = words::MuteState)]
    state: &'static str,
    /// Findings that it hid; a kill of the daemon loses those of the last minute.
    hidden: u64,
    /// End of the last window in which it did; null while it did not.
    #[schema(format = DateTime)]
    last_hidden: Option<String>,
}

impl MuteJson {
    fn new(stored: StoredMute, state: &ApiState) -> Self {
        let hidden = state.analysis.mutes.hidden(stored.mute.id);
        let text = |network: Option<IpNet>| network.map(|network| network.to_string());
        Self {
            id: stored.mute.id,
            types: stored.mute.kinds.iter().map(|kind| kind.word()).collect(),
            source: text(stored.mute.source),
            destination: text(stored.mute.destination),
            host: text(stored.mute.host),
            reason: stored.reason,
            by: stored.by,
            created: stored.created.to_string(),
            expires: stored.expires.to_string(),
            state: if now() < stored.expires { "active" } else { "expired" },
            hidden: hidden.findings,
            last_hidden: hidden.last.map(|time| time.to_string()),
        }
    }
}

/// What a mute would have hidden.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct MutePreview {
    /// Begin of the time that was looked at.
    #[schema(format = DateTime)]
    from: String,
    /// Its end.
    #[schema(format = DateTime)]
    to: String,
    /// Alerts that would not have been raised.
    alerts: u64,
    /// Windows with a finding of these.
    windows: u64,
    /// The alerts by kind.
    by_type: BTreeMap<String, u64>,
    /// The newest hundred of them.
    #[schema(max_items = 100)]
    items: Vec<AlertItem>,
    /// Whether there are more alerts in that time than were looked at, the newest 20,000.
    cut: bool,
}

/// What is to be muted: at least one of `types`, `source`, `destination` and `host`, all of which must match.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct MuteRequest {
    /// Kinds of alerts; all unless given.
    #[schema(schema_with = types_schema)]
    types: Option<Vec<String>>,
    /// Address or network of who does it.
    #[schema(schema_with = Cidr::optional)]
    source: Option<Cidr>,
    /// Address or network of who suffers it.
    #[schema(schema_with = Cidr::optional)]
    destination: Option<Cidr>,
    /// Address or network of either.
    #[schema(schema_with = Cidr::optional)]
    host: Option<Cidr>,
    /// Why. It must be given, but with `dry_run=true`.
    #[schema(schema_with = Text::<MAX_REASON>::schema)]
    reason: Option<Text<MAX_REASON>>,
    /// Until when it holds, at most 366 days ahead: RFC 3339. It must be given, but with `dry_run=true`.
    #[schema(format = DateTime)]
    expires: Option<String>,
    /// Who, where no token is demanded; with a token it is the token's name, and nothing else may stand here.
    #[schema(schema_with = Text::<{ super::alerts::MAX_NAME }>::schema)]
    by: Option<Text<{ super::alerts::MAX_NAME }>>,
}

fn types_schema() -> Schema {
    let items = RefOr::T(words_schema(AlertKind::ALL.map(AlertKind::word)));
    or_null(ArrayBuilder::new().items(items).min_items(Some(1)).max_items(Some(AlertKind::ALL.len())).into())
}

/// An address or a network.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct Cidr(IpNet);

impl Cidr {
    fn optional() -> Schema {
        or_null(text().min_length(Some(2)).max_length(Some(64)).into())
    }
}

impl<'de> Deserialize<'de> for Cidr {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let short: String = text.chars().take(100).collect();
        network(&short).map(Self).map_err(serde::de::Error::custom)
    }
}

parameters! {
    /// Whether it is to be made.
    pub(in crate::api) struct MuteQuery {
        /// With `true` nothing is made: the answer says what it would have hidden.
        "dry_run" => dry_run: Flag,
    }
}

/// The number of a mute.
#[derive(Debug)]
pub(in crate::api) struct MuteId(u64);

impl Parameter for MuteId {
    fn parse(text: &str) -> Result<Self, String> {
        let id = text.parse().ok().filter(|id| *id <= i64::MAX.unsigned_abs());
        id.map(Self).ok_or_else(|| "the number of a mute".to_owned())
    }

    fn schema() -> Schema {
        number(0, i64::MAX.unsigned_abs()).into()
    }
}

impl PathParameter for MuteId {
    const NAME: &'static str = "id";
    const ABOUT: &'static str = "Number of the mute.";
}

/// All mutes, the one made last first; those whose time is over for 30 days.
#[utoipa::path(
    get,
    path = "/api/mutes",
    operation_id = "list_mutes",
    tag = "alerts",
    responses((status = 200, description = "The mutes.", body = List<MuteJson>))
)]
pub(in crate::api) async fn list(
    _: Query<()>,
    State(state): State<ApiState>,
) -> Result<Json<List<MuteJson>>, ApiError> {
    let mutes = state.store.mutes().await?;
    Ok(Json(List::whole(mutes.into_iter().map(|mute| MuteJson::new(mute, &state)).collect(), MOST_MUTES)))
}

/// Raises no alert about something from the next window on, until a time. Findings about it are counted and are part of no alert; an
/// alert about it that goes on is cleared. With `dry_run=true` nothing is made, and the answer says what it would have hidden in the last
/// seven days; of a replay in its capture.
#[utoipa::path(
    post,
    path = "/api/mutes",
    operation_id = "create_mute",
    tag = "alerts",
    params(MuteQuery),
    request_body = MuteRequest,
    responses(
        (status = 200, description = "What it would have hidden.", body = MutePreview),
        (status = 201, description = "The mute.", body = MuteJson),
        (status = 409, description = "There are as many mutes as there may be.", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "More would be read than may be; `detail` says what to ask for instead.",
            body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn create(
    State(state): State<ApiState>,
    Query(MuteQuery { dry_run }): Query<MuteQuery>,
    caller: Caller,
    Json(body): Json<MuteRequest>,
) -> Result<Response, ApiError> {
    let mute = mute(&body)?;
    if dry_run.is_some_and(|flag| flag.0) {
        return Ok(Json(preview(&state, &mute).await?).into_response());
    }
    let Some(reason) = body.reason else {
        return Err(ApiError::invalid("reason", "expected why it is muted: it must be given"));
    };
    let created = now();
    let expires = expires(body.expires.as_deref(), created)?;
    let by = super::alerts::signed(&caller, body.by.map(|by| by.0))?.unwrap_or_else(|| caller.name.clone());
    let mut stored = StoredMute { mute, reason: reason.0, by, created, expires };
    let Some(id) = state.store.create_mute(&stored).await? else {
        return Err(ApiError::Conflict { detail: format!("there are {MOST_MUTES} mutes, as many as there may be") });
    };
    stored.mute.id = id;
    tell_the_pipeline(&state).await?;
    let answer = MuteJson::new(stored, &state);
    let after = json!({
        "types": answer.types, "source": answer.source, "destination": answer.destination, "host": answer.host,
        "reason": answer.reason, "expires": answer.expires, "by": answer.by,
    });
    state.record(&Audit { after: Some(after), ..caller.audit("create mute", format!("mute {id}")) }).await;
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

/// Ends a mute at once.
#[utoipa::path(
    delete,
    path = "/api/mutes/{id}",
    operation_id = "delete_mute",
    tag = "alerts",
    params(InPath<MuteId>),
    responses(
        (status = 204, description = "It is gone."),
        (status = 404, description = "There is no such mute.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn delete(
    _: Query<()>,
    State(state): State<ApiState>,
    Path(MuteId(id)): Path<MuteId>,
    caller: Caller,
) -> Result<StatusCode, ApiError> {
    let before = state.store.mutes().await?.into_iter().find(|one| one.mute.id == id);
    if !state.store.delete_mute(id).await? {
        return Err(ApiError::NotFound { detail: format!("there is no mute {id}") });
    }
    tell_the_pipeline(&state).await?;
    let before = before.map(|mute| json!({"reason": mute.reason, "by": mute.by, "expires": mute.expires.to_string()}));
    state.record(&Audit { before, ..caller.audit("delete mute", format!("mute {id}")) }).await;
    Ok(StatusCode::NO_CONTENT)
}

async fn tell_the_pipeline(state: &ApiState) -> Result<(), ApiError> {
    let mutes = state.store.mutes().await?;
    state.analysis.mutes.set(mutes.into_iter().map(StoredMute::held).collect());
    Ok(())
}

fn mute(body: &MuteRequest) -> Result<Mute, ApiError> {
    let words = body.types.as_deref().unwrap_or_default();
    if body.types.is_some() && (words.is_empty() || words.len() > AlertKind::ALL.len()) {
        return Err(ApiError::invalid("types", format!("expected 1 to {} kinds", AlertKind::ALL.len())));
    }
    let kind = |word: &String| {
        let expected =
            || format!("`{}`: expected some of {}", word.chars().take(100).collect::<String>(), AlertKind::words());
        AlertKind::named(word).ok_or_else(|| ApiError::invalid("types", expected()))
    };
    let kinds = words.iter().map(kind).collect::<Result<Vec<_>, _>>()?;
    let [source, destination, host] = [body.source, body.destination, body.host].map(|cidr| cidr.map(|cidr| cidr.0));
    if kinds.is_empty() && [source, destination, host].iter().all(Option::is_none) {
        let detail =
            "expected at least one of `types`, `source`, `destination` and `host`: nothing else says what is muted";
        return Err(ApiError::invalid("types", detail));
    }
    Ok(Mute { id: 0, kinds, source, destination, host })
}

fn expires(text: Option<&str>, created: Timestamp) -> Result<Timestamp, ApiError> {
    let wrong = |text: &str| {
        let shown: String = text.chars().take(100).collect();
        ApiError::invalid(
            "expires",
            format!("`{shown}`: expected a time from now on, at most 366 days ahead, as RFC 3339 has it"),
        )
    };
    let Some(text) = text else {
        return Err(ApiError::invalid("expires", "expected until when it holds: it must be given"));
    };
    let time = crate::api::parse_time(text).ok_or_else(|| wrong(text))?;
    if time > created && time.since(created) <= LONGEST_NS { Ok(time) } else { Err(wrong(text)) }
}

async fn preview(state: &ApiState, mute: &Mute) -> Result<MutePreview, ApiError> {
    let week = |to: Timestamp| Timestamp::from_nanos(to.as_nanos().saturating_sub(PREVIEW_NS));
    let now = now();
    let is_live = state.status().mode == Mode::Live;
    let capture = if is_live { None } else { Some(state.range(crate::api::page::Period::default()).await?) };
    let to = capture.and_then(|range| range.to).unwrap_or(now);
    let from = capture.map_or_else(|| week(to), |range| range.from.unwrap_or_default());
    let kind = match mute.kinds.as_slice() {
        [one] => Some(one.word()),
        _ => None,
    };
    let whose = state.scope(WhoseQuery::ANY).await?.whose;
    let filter = AlertFilter { kind, from: Some(from), to: Some(to), whose, ..AlertFilter::default() };
    let mut position = Position { descending: true, after: None, limit: CHUNK };
    let mut preview = MutePreview {
        from: from.to_string(),
        to: to.to_string(),
        alerts: 0,
        windows: 0,
        by_type: BTreeMap::new(),
        items: Vec::new(),
        cut: false,
    };
    let mut read = 0;
    loop {
        let page = state.store.alerts(&filter, AlertSort::Time, position).await?;
        read += page.items.len();
        for alert in page.items {
            let covers = AlertKind::named(&alert.kind)
                .is_some_and(|kind| mute.covers_named(kind, alert.source.as_deref(), alert.destination.as_deref()));
            if !covers {
                continue;
            }
            preview.alerts += 1;
            preview.windows += u64::from(alert.windows);
            *preview.by_type.entry(alert.kind.clone()).or_default() += 1;
            if preview.items.len() < MOST_SHOWN {
                preview.items.push(AlertItem::new(alert, state));
            }
        }
        match page.next {
            Some(next) if read < MOST_READ => position.after = Some(next),
            next => {
                preview.cut = next.is_some();
                return Ok(preview);
            }
        }
    }
}
