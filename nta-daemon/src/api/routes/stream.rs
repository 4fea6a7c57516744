//! `/api/events` and `/api/stream`: what happens, while it happens and from any event that is kept.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message as Frame, WebSocket, WebSocketUpgrade, close_code};
use axum::http::HeaderMap;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::{Stream, unfold};
use serde::Serialize;
use tokio::time::Instant;
use utoipa::openapi::Schema;

use crate::api::access::{Access, Caller};
use crate::api::error::Problem;
use crate::api::extract::{Parameter, Query, number, parameters, text};
use crate::api::serve::Held;
use crate::api::whose::{Scope, WhoseQuery};
use crate::api::{ApiError, ApiState};
use crate::json::LogEventJson;
use crate::sink::stream::{Cursor, Filter, Message, Reader, Refused};
use nta_core::domain::Severity;

/// Bytes of a message that a client may send; none of them says anything.
const MAX_MESSAGE: usize = 4096;
/// A reader of a WebSocket that takes nothing for so long is gone.
const SLOW: Duration = Duration::from_secs(30);
/// How often it is looked at whether who reads still may.
const CHECK_EVERY: Duration = Duration::from_secs(15);
const MAX_NUMBER: u64 = i64::MAX.unsigned_abs();

/// The number of an event.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct After(u64);

impl Parameter for After {
    fn parse(text: &str) -> Result<Self, String> {
        let number = text.parse().ok().filter(|number| *number <= MAX_NUMBER);
        number.map(Self).ok_or_else(|| "the `id` of an event, or 0 for the oldest that is kept".to_owned())
    }

    fn schema() -> Schema {
        number(0, MAX_NUMBER).into()
    }
}

/// The identity of an event log.
#[derive(Clone, Debug)]
pub(in crate::api) struct Epoch(String);

impl Parameter for Epoch {
    fn parse(text: &str) -> Result<Self, String> {
        let is_one = text.len() == 16 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        if is_one { Ok(Self(text.to_ascii_lowercase())) } else { Err("16 hexadecimal digits".to_owned()) }
    }

    fn schema() -> Schema {
        text().pattern(Some("^[0-9a-f]{16}$")).into()
    }
}

/// Types of events with a comma between them.
#[derive(Clone, Debug)]
pub(in crate::api) struct EventTypes(Vec<&'static str>);

impl Parameter for EventTypes {
    fn parse(text: &str) -> Result<Self, String> {
        let mut types = Vec::new();
        for word in text.split(',') {
            let of = Filter::types_of(word);
            if of.is_empty() {
                let wrong: String = word.chars().take(100).collect();
                return Err(format!(
                    "some of {}, with a comma between them; `{wrong}` is none",
                    Filter::words().join(", ")
                ));
            }
            types.extend(of);
        }
        Ok(Self(types))
    }

    fn schema() -> Schema {
        let word = format!("({})", Filter::words().join("|"));
        text().pattern(Some(format!("^{word}(,{word})*$"))).into()
    }
}

/// Severities with a comma between them.
#[derive(Clone, Debug)]
pub(in crate::api) struct Severities(Vec<Severity>);

impl Parameter for Severities {
    fn parse(text: &str) -> Result<Self, String> {
        let words = || Severity::ALL.map(Severity::word).join(", ");
        let read =
            |word| Severity::named(word).ok_or_else(|| format!("some of {}, with a comma between them", words()));
        text.split(',').map(read).collect::<Result<_, _>>().map(Self)
    }

    fn schema() -> Schema {
        let word = format!("({})", Severity::ALL.map(Severity::word).join("|"));
        text().pattern(Some(format!("^{word}(,{word})*$"))).into()
    }
}

parameters! {
    /// From where on, and which events.
    pub(in crate::api) struct EventsQuery {
        /// `id` of the last event that is known: what comes behind it follows, 0 for all that is kept. Only new events unless given.
        "after" => after: After,
        /// `epoch` of the log that `after` is a number of, as `hello` gave it: a number of another log is not taken for one of this.
        "epoch" => epoch: Epoch,
        /// Types of events with a comma between them; `alert` stands for all that begin with it. All unless given.
        "types" => types: EventTypes,
        /// Severities with a comma between them. Events without one are left out then.
        "severity" => severity: Severities,
        /// The mildest severity. Events without one are left out then.
        "min_severity" => min_severity: Severity,
        ..whose: WhoseQuery,
    }
}

impl EventsQuery {
    fn filter(&self, scope: &Scope) -> Filter {
        let mut severities = self.severity.clone().map(|severity| severity.0).unwrap_or_default();
        if let Some(least) = self.min_severity {
            let named = if severities.is_empty() { Severity::ALL.to_vec() } else { severities };
            severities = named.into_iter().filter(|severity| *severity >= least).collect();
        }
        Filter {
            types: self.types.clone().map(|types| types.0).unwrap_or_default(),
            severities,
            sensor: scope.whose.names().first().filter(|_| self.whose.is_one()).cloned(),
        }
    }

    /// What a client that was cut off sends stands above the address, which stays as it was.
    fn cursor(&self, headers: &HeaderMap) -> Result<Cursor, ApiError> {
        let last = headers.get(LAST_EVENT_ID).map(|value| value.to_str().unwrap_or("?").trim());
        let last = last.filter(|last| !last.is_empty()).map(After::parse).transpose();
        let last = last.map_err(|expected| ApiError::invalid("Last-Event-ID", format!("expected {expected}")))?;
        let after = last.or(self.after).map(|After(after)| after);
        Ok(Cursor { after, epoch: self.epoch.clone().map(|epoch| epoch.0) })
    }

    async fn reader(&self, headers: &HeaderMap, state: &ApiState) -> Result<Reader, ApiError> {
        if let (Some(Severities(named)), Some(least)) = (&self.severity, self.min_severity)
            && named.iter().all(|severity| *severity < least)
        {
            let detail = format!("`{}` leaves none of `severity`", least.word());
            return Err(ApiError::invalid("min_severity", detail));
        }
        let cursor = self.cursor(headers)?;
        let scope = state.scope(self.whose.clone()).await?;
        state.events.subscribe(cursor, self.filter(&scope)).await.map_err(|refused| match refused {
            Refused::Store(error) => ApiError::from(error),
            refused => ApiError::Full { detail: refused.to_string() },
        })
    }
}

const LAST_EVENT_ID: &str = "last-event-id";

/// What is said beside events: with the name of the server-sent event, and as the `type` of a WebSocket's message.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Said<'a> {
    Hello { epoch: &'a str, oldest: u64, newest: u64, after: u64 },
    Resync { reason: &'a str, after: u64 },
    Missed { events: u64, after: u64 },
    Notice { after: u64, event: serde_json::Value },
    Heartbeat { after: u64 },
}

impl<'a> Said<'a> {
    fn of(message: &'a Message) -> Option<Self> {
        Some(match message {
            Message::Hello(state, after) => {
                Self::Hello { epoch: &state.epoch, oldest: state.oldest, newest: state.newest, after: *after }
            }
            Message::Resync(reason, after) => Self::Resync { reason: reason.word(), after: *after },
            Message::Missed(events, after) => Self::Missed { events: *events, after: *after },
            Message::Notice(event, after) => {
                let mut event = serde_json::to_value(LogEventJson::from(&**event)).unwrap_or_default();
                // It has none yet.
                event.as_object_mut().map(|event| event.remove("id"));
                Self::Notice { after: *after, event }
            }
            Message::Heartbeat(after) => Self::Heartbeat { after: *after },
            Message::Event(_) => return None,
        })
    }

    fn json(&self) -> String {
        // Texts and numbers: nothing of it can be refused.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// A message as a server-sent event. An `id` without data moves the client's cursor and is no event for it.
fn event(message: &Message) -> Event {
    let said = Said::of(message).map(|said| said.json()).unwrap_or_default();
    let id = |after: u64| Event::default().id(after.to_string());
    match message {
        Message::Event(event) => id(event.seq).event(&event.kind).data(&event.json),
        Message::Hello(_, after) => id(*after).event("hello").data(said),
        Message::Resync(_, after) => id(*after).event("resync").data(said),
        Message::Missed(_, after) => id(*after).event("missed").data(said),
        Message::Notice(_, after) => id(*after).event("notice").data(said),
        Message::Heartbeat(after) => id(*after).comment("heartbeat"),
    }
}

/// A reader, as long as its owner may read.
struct Followed {
    reader: Reader,
    access: Arc<Access>,
    caller: Caller,
    check_at: Instant,
}

impl Followed {
    fn new(reader: Reader, access: Arc<Access>, caller: Caller) -> Self {
        Self { reader, access, caller, check_at: Instant::now() + CHECK_EVERY }
    }

    /// What comes next; `None` at the end, or when a token was revoked or expired. A heartbeat comes as often as that is looked at.
    async fn next(&mut self) -> Option<Message> {
        let message = self.reader.next().await?;
        if Instant::now() >= self.check_at {
            if !self.access.still_lets_in(&self.caller).await {
                return None;
            }
            self.check_at = Instant::now() + CHECK_EVERY;
        }
        Some(message)
    }
}

fn events(followed: Followed) -> impl Stream<Item = Result<Event, Infallible>> {
    unfold(followed, |mut followed| async move {
        let message = followed.next().await?;
        Some((Ok(event(&message)), followed))
    })
}

/// A server-sent event as it comes to a program.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "it is described, and written by axum")]
pub(in crate::api) struct StreamedEvent {
    /// The type of an event, or `hello`, `resync`, `missed` or `notice`.
    event: String,
    /// The number of the event, or that behind which it goes on: what `Last-Event-ID` takes.
    id: String,
    /// JSON: of an event what `LogEventJson` describes, else `type` and what that type says.
    #[schema(content_media_type = "application/json")]
    data: String,
}

/// What happens, as server-sent events: `event:` is the type, `id:` the event's number and `data:` the event. `Last-Event-ID`, which a
/// browser sends by itself when it was cut off, or `after` goes on behind an event, also over a restart of the daemon, and nothing is lost or
/// doubled. First comes `hello` with the log's `epoch`; `resync` where it cannot be gone on from a cursor (`too_old`, `ahead`,
/// `other_log`), `missed` where events were deleted before a slow reader came to them; `notice` tells at once what happens while
/// the database takes nothing. A comment every 15 s at least.
#[utoipa::path(
    get,
    path = "/api/events",
    operation_id = "follow_events",
    tag = "events",
    params(EventsQuery),
    responses((status = 200, description = "The events, without end. The schema is that of each.", body = StreamedEvent,
        content_type = "text/event-stream"))
)]
pub(in crate::api) async fn events_route(
    State(state): State<ApiState>,
    caller: Caller,
    headers: HeaderMap,
    Query(query): Query<EventsQuery>,
) -> Result<Response, ApiError> {
    let reader = Followed::new(query.reader(&headers, &state).await?, state.access, caller);
    // A proxy that collects answers would hold events back.
    Ok(([("x-accel-buffering", "no")], Sse::new(events(reader))).into_response())
}

/// The same by WebSocket: a text message for each event; `hello`, `resync`, `missed`, `notice` and `heartbeat` are messages with that `type`. What a
/// client sends is not looked at.
#[utoipa::path(
    get,
    path = "/api/stream",
    operation_id = "follow_events_by_websocket",
    tag = "events",
    params(EventsQuery),
    responses(
        (status = 101, description = "Messages with events follow."),
        (status = 426, description = "The request is none for a WebSocket.", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn stream(
    State(state): State<ApiState>,
    caller: Caller,
    headers: HeaderMap,
    held: Option<Extension<Held>>,
    Query(query): Query<EventsQuery>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    let upgrade = upgrade.map_err(|rejection| ApiError::Upgrade { detail: rejection.body_text() })?;
    let reader = Followed::new(query.reader(&headers, &state).await?, state.access, caller);
    let upgrade = upgrade.max_message_size(MAX_MESSAGE).max_frame_size(MAX_MESSAGE).read_buffer_size(MAX_MESSAGE);
    let upgrade = upgrade.write_buffer_size(0).max_write_buffer_size(1 << 20);
    let held = held.map(|Extension(held)| held.under_way());
    Ok(upgrade.on_upgrade(async move |socket| {
        let _held = held;
        follow(socket, reader).await;
    }))
}

async fn follow(mut socket: WebSocket, mut reader: Followed) {
    loop {
        tokio::select! {
            message = reader.next() => {
                let Some(message) = message else {
                    let close = CloseFrame { code: close_code::AWAY, reason: "the server ends".into() };
                    let _gone = tokio::time::timeout(SLOW, socket.send(Frame::Close(Some(close)))).await;
                    return;
                };
                let text = match &message {
                    Message::Event(event) => event.json.clone(),
                    said => Said::of(said).map(|said| said.json()).unwrap_or_default(),
                };
                match tokio::time::timeout(SLOW, socket.send(Frame::Text(text.into()))).await {
                    Ok(Ok(())) => {}
                    // The client is gone, or takes nothing.
                    Ok(Err(_)) | Err(_) => return,
                }
            }
            // Pings are answered while it is read; the rest says nothing.
            received = socket.recv() => match received {
                Some(Ok(Frame::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {}
            },
        }
    }
}
