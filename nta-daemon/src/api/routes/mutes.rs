//! `/api/mutes`: what operators do not want to hear of for a while.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::openapi::schema::ArrayBuilder;
use utoipa::openapi::{RefOr, Schema};

use super::mute_preview::{MutePreview, preview};
use crate::api::access::Caller;
use crate::api::error::Problem;
use crate::api::extract::{
    Flag, InPath, Json, Parameter, Path, PathParameter, Query, Text, number, or_null, parameters, text,
};
use crate::api::page::List;
use crate::api::state::now;
use crate::api::{ApiError, ApiState};
use crate::json::words;
use crate::json::words::words_schema;
use crate::store::{Audit, MOST_MUTES, StoredMute};
use nta_core::alerting::Mute;
use nta_core::detect::network;
use nta_core::domain::{AlertKind, Timestamp};

/// Longest reason in characters.
const MAX_REASON: usize = 1000;
/// Longest time that one holds.
const LONGEST_NS: u64 = 366 * DAY_NS;
const DAY_NS: u64 = 86_400 * 1_000_000_000;

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

/// What a mute would have hidden, or the one that was made before.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "the document's word for either")]
enum PreviewOrMute {
    Preview(MutePreview),
    Mute(MuteJson),
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
        (status = 200, description = "With `dry_run=true` what it would have hidden; else the mute, which was made before by the same \
            request.", body = PreviewOrMute),
        (status = 201, description = "The mute.", body = MuteJson),
        (status = 409, description = "Another mute covers the same, or there are as many as there may be; `detail` says which.", body = Problem,
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
    let is_dry = dry_run.is_some_and(|flag| flag.0);
    let mute = mute(&body)?;
    check_given(&body, is_dry)?;
    if is_dry {
        return Ok(Json(preview(&state, &mute).await?).into_response());
    }
    let reason = body.reason.ok_or(ApiError::Internal)?;
    let created = now();
    let expires = expires(body.expires.as_deref(), created)?;
    let by = super::alerts::signed(&caller, body.by.map(|by| by.0))?.unwrap_or_else(|| caller.name.clone());
    let mut stored = StoredMute { mute, reason: reason.0, by, created, expires };
    if let Some(known) = same(&state, &stored).await? {
        return Ok(Json(MuteJson::new(known, &state)).into_response());
    }
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

/// The mute that holds and is the same: sent twice, it is made once. One that covers the same for another reason or time is refused.
async fn same(state: &ApiState, new: &StoredMute) -> Result<Option<StoredMute>, ApiError> {
    let parts = |mute: &Mute| (mute.kinds.clone(), mute.source, mute.destination, mute.host);
    let covers_the_same = |known: &StoredMute| known.expires > new.created && parts(&known.mute) == parts(&new.mute);
    let Some(known) = state.store.mutes().await?.into_iter().find(covers_the_same) else { return Ok(None) };
    if (&known.reason, &known.by, known.expires) == (&new.reason, &new.by, new.expires) {
        return Ok(Some(known));
    }
    let (id, until) = (known.mute.id, known.expires);
    Err(ApiError::Conflict {
        detail: format!(
            "mute {id} covers the same, until {until}: DELETE /api/mutes/{id} ends it, then this one can be made"
        ),
    })
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
    let mut kinds = words.iter().map(kind).collect::<Result<Vec<_>, _>>()?;
    // In whatever order, and however often, they are named.
    kinds.sort_unstable_by_key(|kind| kind.word());
    kinds.dedup();
    let [source, destination, host] = [body.source, body.destination, body.host].map(|cidr| cidr.map(|cidr| cidr.0));
    Ok(Mute { id: 0, kinds, source, destination, host })
}

/// That nothing is missing; what is, is named at once.
fn check_given(body: &MuteRequest, is_dry: bool) -> Result<(), ApiError> {
    let MuteRequest { types, source, destination, host, reason, expires, by: _ } = body;
    let says_what = types.is_some() || [source, destination, host].into_iter().any(Option::is_some);
    let needed = [
        (says_what, "types", "at least one of `types`, `source`, `destination` and `host`, which say what is muted"),
        (is_dry || reason.is_some(), "reason", "`reason`, which says why"),
        (is_dry || expires.is_some(), "expires", "`expires`, which says until when it holds, as RFC 3339 has it"),
    ];
    let missing: Vec<_> = needed.into_iter().filter(|(is_given, ..)| !is_given).collect();
    let Some((_, field, _)) = missing.first() else { return Ok(()) };
    let expected: Vec<_> = missing.iter().map(|(.., expected)| *expected).collect();
    Err(ApiError::invalid(*field, format!("must be given: {}", expected.join("; "))))
}

fn expires(text: Option<&str>, created: Timestamp) -> Result<Timestamp, ApiError> {
    let wrong = |text: &str| {
        let shown: String = text.chars().take(100).collect();
        ApiError::invalid(
            "expires",
            format!("`{shown}`: expected a time from now on, at most 366 days ahead, as RFC 3339 has it"),
        )
    };
    let text = text.unwrap_or_default();
    let time = crate::api::parse_time(text).ok_or_else(|| wrong(text))?;
    if time > created && time.since(created) <= LONGEST_NS { Ok(time) } else { Err(wrong(text)) }
}
