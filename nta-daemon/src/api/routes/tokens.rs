//! `/api/tokens`: who may use the API.

use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::openapi::Schema;
use utoipa::openapi::schema::{ArrayBuilder, Schema as AnySchema};

use crate::api::access::{Caller, MOST_INTERFACES, NAME_PATTERN, Role, SCOPE_PATTERN, Secret, names};
use crate::api::error::Problem;
use crate::api::extract::{InPath, Json, Parameter, Path, PathParameter, Query, Word, number, or_null, text};
use crate::api::page::List;
use crate::api::state::now;
use crate::api::{ApiError, ApiState};
use crate::store::{Created, NewToken, Revoked, StoredToken};
use nta_core::domain::Timestamp;

/// Tokens that the list has at most: as many as there may be.
const MOST: u32 = 1000;

/// A token, without its secret.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct TokenJson {
    /// Its number.
    id: u64,
    /// Its name: the audit log calls its owner so.
    name: String,
    /// What its owner may do.
    #[schema(schema_with = TokenRole::schema)]
    role: String,
    /// Interfaces that its owner may know of, of a sensor's token the sensors that it is for; null for all.
    #[schema(required)]
    scope: Option<Vec<String>>,
    /// When it was made.
    #[schema(format = DateTime)]
    created: String,
    /// Until when it holds; null for always.
    #[schema(required, format = DateTime)]
    expires: Option<String>,
    /// When it was revoked; null while it is not.
    #[schema(required, format = DateTime)]
    revoked: Option<String>,
    /// When it was used last, to about a minute; null when it never was.
    #[schema(required, format = DateTime)]
    last_used: Option<String>,
}

impl TokenJson {
    fn new(token: StoredToken, used: Option<Timestamp>) -> Self {
        let text = |time: Option<Timestamp>| time.map(|time| time.to_string());
        Self {
            id: token.id,
            name: token.name,
            role: token.role,
            scope: token.scope,
            created: token.created.to_string(),
            expires: text(token.expires),
            revoked: text(token.revoked),
            last_used: text(used),
        }
    }
}

/// A token that was made.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct NewTokenJson {
    #[serde(flatten)]
    about: TokenJson,
    /// The token itself. It is shown this once: only its SHA-256 is kept.
    token: String,
    /// What may not be as it was meant: interfaces of the scope that are not watched.
    warnings: Vec<String>,
}

/// Which token is to be made.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct TokenRequest {
    /// What its owner may do.
    #[schema(schema_with = TokenRole::schema)]
    role: TokenRole,
    /// Its name, which no other token has or had; the role and a number unless given.
    #[schema(schema_with = Name::schema)]
    name: Option<Name>,
    /// Until when it holds, RFC 3339 or Unix seconds; always unless given.
    #[schema(schema_with = Expiry::schema)]
    expires: Option<Expiry>,
    /// Interfaces that its owner may know of, of a sensor's token the sensors that it is for; all unless given.
    #[schema(schema_with = Scope::schema)]
    scope: Option<Scope>,
}

/// A role that a token may have.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct TokenRole(Role);

impl Word for TokenRole {
    fn all() -> Vec<(&'static str, Self)> {
        Role::OF_TOKENS.map(|role| (role.word(), Self(role))).to_vec()
    }
}

impl TokenRole {
    fn schema() -> Schema {
        <Self as Parameter>::schema()
    }
}

impl<'de> Deserialize<'de> for TokenRole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(|expected| D::Error::custom(format!("`{text}`: expected {expected}")))
    }
}

#[derive(Debug)]
struct Name(String);

impl Name {
    fn schema() -> Schema {
        or_null(text().pattern(Some(NAME_PATTERN)).into())
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        names::token_name(&String::deserialize(deserializer)?).map(Self).map_err(D::Error::custom)
    }
}

#[derive(Debug)]
struct Expiry(Timestamp);

impl Expiry {
    fn schema() -> Schema {
        let about = "RFC 3339 as in 2030-01-31T12:00:00Z, or seconds since the Unix epoch.";
        or_null(text().description(Some(about)).max_length(Some(40)).into())
    }
}

impl<'de> Deserialize<'de> for Expiry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Timestamp::parse(&text).map(Self).map_err(|expected| D::Error::custom(format!("`{text}`: expected {expected}")))
    }
}

#[derive(Debug)]
struct Scope(Vec<String>);

impl Scope {
    fn schema() -> Schema {
        let interface = text().pattern(Some(SCOPE_PATTERN));
        or_null(AnySchema::Array(
            ArrayBuilder::new().items(interface).min_items(Some(1)).max_items(Some(MOST_INTERFACES)).build(),
        ))
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let interfaces = Vec::<String>::deserialize(deserializer)?;
        if !(1..=MOST_INTERFACES).contains(&interfaces.len()) {
            return Err(D::Error::custom(format!("expected 1 to {MOST_INTERFACES} interfaces")));
        }
        let read: Result<_, _> = interfaces.iter().map(|name| names::scope_name(name)).collect();
        read.map(Self).map_err(D::Error::custom)
    }
}

/// The number of a token.
#[derive(Debug)]
pub(in crate::api) struct TokenId(u64);

impl Parameter for TokenId {
    fn parse(text: &str) -> Result<Self, String> {
        let id = text.parse().ok().filter(|id| (1..=i64::MAX as u64).contains(id));
        id.map(Self).ok_or_else(|| "the number of a token".to_owned())
    }

    fn schema() -> Schema {
        number(1, i64::MAX as u64).into()
    }
}

impl PathParameter for TokenId {
    const NAME: &'static str = "id";
    const ABOUT: &'static str = "Number of the token.";
}

/// All tokens, with those that are revoked or over. Their secrets are not kept.
#[utoipa::path(
    get,
    path = "/api/tokens",
    operation_id = "list_tokens",
    tag = "access",
    responses((status = 200, description = "The tokens, the oldest first.", body = List<TokenJson>))
)]
pub(in crate::api) async fn list(
    _: Query<()>,
    State(state): State<ApiState>,
) -> Result<Json<List<TokenJson>>, ApiError> {
    let (tokens, _) = state.store.tokens().await?;
    let items = tokens.into_iter().map(|token| {
        let used = state.access.used(&token);
        TokenJson::new(token, used)
    });
    Ok(Json(List::whole(items.collect(), MOST)))
}

/// Makes a token. From the first one on, a token is demanded of everybody.
#[utoipa::path(
    post,
    path = "/api/tokens",
    operation_id = "create_token",
    tag = "access",
    request_body = TokenRequest,
    responses(
        (status = 201, description = "The token, shown this once.", body = NewTokenJson),
        (status = 409, description = "Another token has this name or had it, or there are as many as there may be.",
            body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn create(
    _: Query<()>,
    caller: Caller,
    State(state): State<ApiState>,
    Json(request): Json<TokenRequest>,
) -> Result<(StatusCode, [(HeaderName, HeaderValue); 1], Json<NewTokenJson>), ApiError> {
    let (created, expires) = (now(), request.expires.map(|expires| expires.0));
    if expires.is_some_and(|expires| expires <= created) {
        return Err(ApiError::invalid("expires", "expected a time to come"));
    }
    let secret = Secret::make();
    let token = NewToken {
        name: request.name.map(|name| name.0),
        role: request.role.0.word(),
        hash: secret.hash(),
        scope: request.scope.map(|scope| scope.0),
        created,
        expires,
    };
    match state.store.create_token(&token, &caller.audit("create token", "")).await? {
        Created::Done(stored) => {
            state.access.refresh().await?;
            let absent = stored.scope.as_ref().map(|scope| state.access.not_watched(scope)).unwrap_or_default();
            let warn = |name| format!("scope: `{name}` is not watched now; until it is, the token sees nothing of it");
            let warnings = absent.into_iter().map(warn).collect();
            let about = TokenJson::new(stored, None);
            let answer = Json(NewTokenJson { about, token: secret.reveal().to_owned(), warnings });
            Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], answer))
        }
        Created::NameTaken => {
            let name = token.name.unwrap_or_default();
            Err(ApiError::Conflict { detail: format!("another token has the name `{name}` or had it") })
        }
        Created::Full => {
            Err(ApiError::Conflict { detail: format!("there are {MOST} tokens: revoke one that is not used") })
        }
    }
}

/// Revokes a token: from now on it holds nowhere, and its sessions end. What it did stays in the audit log.
#[utoipa::path(
    delete,
    path = "/api/tokens/{id}",
    operation_id = "revoke_token",
    tag = "access",
    params(InPath<TokenId>),
    responses(
        (status = 204, description = "It is revoked, or was."),
        (status = 404, description = "There is no such token.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn revoke(
    _: Query<()>,
    caller: Caller,
    State(state): State<ApiState>,
    Path(TokenId(id)): Path<TokenId>,
) -> Result<StatusCode, ApiError> {
    let revoked = state.store.revoke_token(id, &caller.audit("revoke token", "")).await?;
    state.access.refresh().await?;
    match revoked {
        Revoked::Done | Revoked::Before => Ok(StatusCode::NO_CONTENT),
        Revoked::Unknown => Err(ApiError::NotFound { detail: format!("there is no token {id}") }),
    }
}
