//! Who asks, and what they may do: a token or a session names its owner, and every route says which role it needs.
//!
//! While no token was ever made, whoever reaches a loopback listener may do all. From the first token on one is demanded, also when all
//! of them are revoked: a listener that was closed does not open by itself.

mod captures;
mod known;
mod limit;
pub mod names;
mod refusals;
mod role;
mod secret;
mod session;

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use ipnet::IpNet;
use tokio::sync::watch;

use super::ApiError;
use super::guard::Ends;
use super::state::now;
use crate::store::{Audit, Store, StoredToken};
use nta_core::domain::{Status, Timestamp};

use captures::{is_of_captures, names_interfaces};
use known::Known;
use limit::{Key, Limits};
pub(super) use names::{INTERFACE_PATTERN, MOST_INTERFACES, NAME_PATTERN, SCOPE_PATTERN};
use refusals::{Refusals, Refused};
pub use role::Role;
pub use secret::Secret;
pub(super) use secret::bearer;
pub(super) use session::{LASTS_S, NAME as SESSION_COOKIE};
use session::{SessionKey, Sessions};

/// Who asks. A handler takes it as an argument.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Name of the token; `anonymous` where none is demanded.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// Number of the token; `None` where none is demanded.
    pub token: Option<u64>,
    /// Interfaces that they may know of; `None` for all.
    pub scope: Option<Arc<[String]>>,
    /// The session that stands for the token; `None` of who shows the token itself.
    pub(super) session: Option<SessionKey>,
    /// The address that they ask from; `None` within the process.
    pub from: Option<IpAddr>,
}

/// Name of who asks without a token, where none is demanded.
const ANONYMOUS: &str = "anonymous";

impl Caller {
    fn anonymous(from: Option<IpAddr>) -> Self {
        Self { name: ANONYMOUS.to_owned(), role: Role::Admin, token: None, scope: None, session: None, from }
    }

    /// Whether they may know of this interface, and do something with it.
    ///
    /// # Errors
    /// [`ApiError::Scope`] names the interface.
    pub fn check_interface(&self, interface: &str) -> Result<(), ApiError> {
        match &self.scope {
            Some(scope) if !scope.iter().any(|own| own == interface) => {
                Err(ApiError::Scope { interface: interface.to_owned(), name: self.name.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Whether they may ship what this sensor saw.
    ///
    /// # Errors
    /// [`ApiError::Beyond`].
    pub(super) fn check_sensor(&self, sensor: &str) -> Result<(), ApiError> {
        self.check_all([sensor].into_iter(), "this is the message of another sensor")
    }

    /// Whether all of these are theirs to know of; `why` says what they are, and none is named.
    ///
    /// # Errors
    /// [`ApiError::Beyond`].
    pub(super) fn check_all<'a>(
        &self,
        mut interfaces: impl Iterator<Item = &'a str>,
        why: &'static str,
    ) -> Result<(), ApiError> {
        match &self.scope {
            Some(scope) if !interfaces.all(|name| scope.iter().any(|own| own == name)) => Err(self.beyond(why)),
            _ => Ok(()),
        }
    }

    fn beyond(&self, why: &'static str) -> ApiError {
        let scope = self.scope.as_ref().map(|scope| scope.join(", ")).unwrap_or_default();
        ApiError::Beyond { why, name: self.name.clone(), scope }
    }

    /// The beginning of what the audit log keeps of a change that they make now.
    pub(super) fn audit(&self, action: &'static str, target: impl Into<String>) -> Audit {
        Audit {
            at: now(),
            who: self.name.clone(),
            role: self.role.word().to_owned(),
            origin: self.from.map_or_else(|| "process".to_owned(), |from| from.to_string()),
            action,
            target: target.into(),
            before: None,
            after: None,
        }
    }
}

/// Behind [`require`] there is always one.
impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or(ApiError::Internal)
    }
}

/// What is known about who may ask; shared by all requests.
#[derive(Debug)]
pub(super) struct Access {
    known: Known,
    sessions: Sessions,
    status: watch::Receiver<Status>,
    rules: Rules,
    limits: Option<Limits>,
    refusals: Refusals,
}

/// What a listener allows.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Whether nobody needs a token while none was ever made: where other machines reach the listener, it does not.
    pub opens: bool,
    /// Whether `/metrics` needs no token; else it needs the role viewer.
    pub metrics_open: bool,
    /// Requests a second, four seconds' worth of them at once, by token or address; `None` for no bound.
    pub requests_per_s: Option<NonZeroU32>,
    /// Proxies that say by `X-Forwarded-For` for whom they ask.
    pub trusted_proxies: Vec<IpNet>,
}

impl Default for Rules {
    fn default() -> Self {
        Self { opens: true, metrics_open: true, requests_per_s: None, trusted_proxies: Vec::new() }
    }
}

/// The address that a request comes from.
#[derive(Clone, Copy, Debug)]
struct ClientAddress(Option<IpAddr>);

impl Access {
    pub(super) fn new(store: Store, status: watch::Receiver<Status>, rules: Rules) -> Self {
        let (known, sessions) = (Known::new(store), Sessions::default());
        let limits = rules.requests_per_s.map(Limits::new);
        Self { known, sessions, status, limits, rules, refusals: Refusals::default() }
    }

    /// The same by other rules.
    pub(super) fn by(&self, rules: Rules) -> Self {
        Self::new(self.known.store(), self.status.clone(), rules)
    }

    /// Requests that were one too many.
    pub(super) fn refused(&self) -> u64 {
        self.limits.as_ref().map_or(0, Limits::refused)
    }

    /// Reads the tokens anew: one was made or revoked, or the server begins.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(super) async fn refresh(&self) -> Result<(), ApiError> {
        self.known.read().await.map(drop)
    }

    /// Whether a token is demanded.
    ///
    /// # Errors
    /// When the store does not answer, and never did.
    pub(super) async fn demands_token(&self) -> Result<bool, ApiError> {
        Ok(!self.rules.opens || self.known.tokens().await?.exist)
    }

    /// Opens a session that stands for a token.
    pub(super) fn open_session(&self, token: u64) -> Secret {
        self.sessions.open(token, now())
    }

    /// Ends a session.
    pub(super) fn close_session(&self, session: &SessionKey) {
        self.sessions.close(session);
    }

    /// Whether who was let in would be let in now: asked from time to time while an answer has no end.
    pub(super) async fn still_lets_in(&self, caller: &Caller) -> bool {
        // While the store does not answer, what it said last holds.
        let Ok(tokens) = self.known.tokens().await else { return true };
        let at = now();
        match caller.token {
            _ if caller.session.as_ref().is_some_and(|session| self.sessions.token(session, at).is_none()) => false,
            None => self.rules.opens && !tokens.exist,
            Some(id) => tokens.list.iter().any(|token| token.id == id && token.revoked.is_none() && token.holds(at)),
        }
    }

    /// When a token was used last.
    pub(super) fn used(&self, token: &StoredToken) -> Option<Timestamp> {
        self.known.used(token.id).max(token.used)
    }

    /// Who asks, if they show what is demanded.
    async fn caller(&self, headers: &HeaderMap, from: Option<IpAddr>) -> Result<Caller, ApiError> {
        let tokens = self.known.tokens().await?;
        let at = now();
        let shown = bearer(headers)?.map(Secret::hash_of);
        let session = if shown.is_none() { session::shown(headers) } else { None };
        let wrong = || ApiError::unauthorized("there is no such token", true);
        let found = match (shown, session) {
            // All of them are compared: how long it takes says nothing.
            (Some(hash), _) => tokens
                .list
                .iter()
                .fold(None, |found, token| if secret::is_same(&token.hash, &hash) { Some(token) } else { found }),
            (None, _) if self.rules.opens && !tokens.exist => return Ok(Caller::anonymous(from)),
            (None, Some(session)) => {
                let over = || ApiError::unauthorized("this session is over", true);
                let token = self.sessions.token(&session, at).ok_or_else(over)?;
                tokens.list.iter().find(|known| known.id == token)
            }
            (None, None) => {
                return Err(ApiError::unauthorized("a token is needed: `Authorization: Bearer nta_…`", false));
            }
        };
        let token = found.ok_or_else(wrong)?;
        if token.revoked.is_some() {
            return Err(ApiError::unauthorized("this token is revoked", true));
        }
        if !token.holds(at) {
            return Err(ApiError::unauthorized("this token has expired", true));
        }
        let role = Role::of_token(&token.role).ok_or_else(wrong)?;
        self.known.note_use(token, at);
        let scope = token.scope.clone().map(Arc::from);
        Ok(Caller { name: token.name.clone(), role, token: Some(token.id), scope, session, from })
    }

    /// Number of the token that a request shows, itself or by a session, and that holds as far as is known; asks nobody.
    fn shown_token(&self, headers: &HeaderMap) -> Option<u64> {
        let (tokens, at) = (self.known.last_known()?, now());
        let by_session = || self.sessions.token(&session::shown(headers)?, at);
        let holds = |token: &&StoredToken| token.holds(at);
        match bearer(headers).ok()?.map(Secret::hash_of) {
            Some(hash) => {
                tokens.list.iter().filter(holds).find(|token| secret::is_same(&token.hash, &hash)).map(|token| token.id)
            }
            None => by_session().filter(|id| tokens.list.iter().filter(holds).any(|token| token.id == *id)),
        }
    }

    /// What is stored is of all interfaces together. Who may know of some only sees it while these are all that are watched; what
    /// names interfaces is judged by these, in its handler.
    fn check_scope(&self, caller: &Caller, uri: &Uri) -> Result<(), ApiError> {
        // The scope of a sensor is of sensors, and looked at by who takes its messages.
        if caller.scope.is_none() || caller.role == Role::Sensor || names_interfaces(uri) {
            return Ok(());
        }
        if is_of_captures(uri) {
            return Err(caller.beyond("packets of captures and recordings may come from any interface"));
        }
        let status = self.status.borrow();
        let mut watched = watched(&status).peekable();
        if watched.peek().is_none() {
            return Err(caller.beyond("no interface is watched that this could be of"));
        }
        caller.check_all(watched, "this is of all interfaces together, and others are, or were, watched as well")
    }

    /// Interfaces of a scope that are not watched, and were not since the start.
    pub(super) fn not_watched<'a>(&self, scope: &'a [String]) -> Vec<&'a str> {
        let status = self.status.borrow();
        scope.iter().map(String::as_str).filter(|name| !watched(&status).any(|own| own == *name)).collect()
    }

    /// Whether a request is let in; `caller` is who asks, also where they are known and may not.
    async fn admit(
        &self,
        needed: Role,
        (headers, uri): (&HeaderMap, &Uri),
        from: Option<IpAddr>,
        caller: &mut Option<Caller>,
    ) -> Result<(), ApiError> {
        let found = caller.insert(self.caller(headers, from).await?);
        if found.role.allows(needed) {
            self.check_scope(found, uri)
        } else {
            Err(ApiError::Role { needed: needed.word(), has: found.role.word() })
        }
    }

    /// Leaves a trace of a request that was refused before anybody asked who makes it: it was for another host, or of another site's page.
    pub(super) fn note_foreign(&self, request: &Request, peer: Option<IpAddr>, status: StatusCode) {
        let from = limit::client(peer, request.headers(), &self.rules.trusted_proxies);
        let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str);
        let method = request.method().as_str();
        self.refusals.note(&Refused { method, route, status, from, caller: None }, now());
    }

    /// Leaves a trace of a request that was refused.
    async fn note_refusal(&self, refused: &Refused<'_>) {
        let traced = self.refusals.note(refused, now());
        let Some(caller) = refused.caller.filter(|_| traced.is_audited) else { return };
        let target = format!("{} {}", refused.method, refused.route);
        let row = Audit { after: Some(refused.status.as_u16().into()), ..caller.audit("refused request", target) };
        if let Err(error) = self.known.store().audit(&row).await {
            tracing::error!(error = error.chain(), who = caller.name, "api: a refusal is not in the audit log");
        }
    }
}

/// Interfaces that are watched, or were since the start.
fn watched(status: &Status) -> impl Iterator<Item = &str> {
    let attached = status.attachments.iter().map(|attachment| attachment.interface.as_str());
    attached.chain(status.ledger.interfaces.iter().map(|interface| interface.name.as_str()))
}

/// The layer in front of all routes: counts who asks how often, and brings what the layers behind it find out by who it is.
pub(super) async fn bring(State(access): State<Arc<Access>>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<Ends>>().and_then(|ConnectInfo(ends)| ends.peer_ip());
    let from = limit::client(peer, request.headers(), &access.rules.trusted_proxies);
    let path = request.uri().path();
    // Whoever looks after the daemon is never kept waiting.
    let is_counted = path != "/health";
    let needs_viewer = path == "/metrics" && !access.rules.metrics_open;
    request.extensions_mut().insert(ClientAddress(from));
    let counted = match (&access.limits, from) {
        (Some(limits), Some(from)) if is_counted => {
            let key = access.shown_token(request.headers()).map_or_else(|| Key::of_peer(from), Key::Token);
            Some((limits, limits.count(key)))
        }
        _ => None,
    };
    let mut response = match counted {
        Some((_, Err(left))) => left.refusal().into_response(),
        _ => {
            request.extensions_mut().insert(Arc::clone(&access));
            if needs_viewer { require(State(Role::Viewer), request, next).await } else { next.run(request).await }
        }
    };
    if let Some((limits, Ok(left) | Err(left))) = counted {
        limits.say(left, &mut response);
    }
    response
}

/// The layer in front of the routes of a role: lets pass who has it, and says who it is.
pub(super) async fn require(State(needed): State<Role>, mut request: Request, next: Next) -> Response {
    let Some(access) = request.extensions().get::<Arc<Access>>().cloned() else {
        return ApiError::Internal.into_response();
    };
    let from = request.extensions().get::<ClientAddress>().and_then(|from| from.0);
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let mut caller = None;
    let response = match access.admit(needed, (request.headers(), request.uri()), from, &mut caller).await {
        Ok(()) => {
            if let Some(caller) = caller.clone() {
                request.extensions_mut().insert(caller);
            }
            next.run(request).await
        }
        Err(refused) => refused.into_response(),
    };
    let status = response.status();
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        let refused = Refused { method: method.as_str(), route: &route, status, from, caller: caller.as_ref() };
        access.note_refusal(&refused).await;
    }
    response
}
