//! `/api/control/capture/start`, `/stop` and `/status`: which interfaces are captured, by request.

use std::time::Duration;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::openapi::Schema;

use crate::api::access::{Caller, INTERFACE_PATTERN};
use crate::api::error::Problem;
use crate::api::extract::{Count, Json, Query, or_null, text};
use crate::api::state::now;
use crate::api::{ApiError, ApiState};
use crate::capture::control::{
    ANSWERED_WITHIN, Asked, CaptureError, CaptureHandle, CaptureState, Captured, Started, Wish,
};
use crate::config::InterfacePattern;
use crate::json::CountsJson;
use crate::source::SourceError;
use crate::store::Audit;
use nta_common::Counter;
use nta_core::domain::{NicCounts, Status, Timestamp};

/// Longest capture for a time, in seconds: a year.
const MAX_SECONDS: u32 = 366 * 86_400;
/// What is waited for the answer beyond the time that an order has to be begun in.
const GRACE: Duration = Duration::from_secs(5);

/// An interface to be captured.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct StartRequest {
    /// Interface, as in `ip link`; `lo` too. `capture.interfaces` need not select it.
    #[schema(schema_with = interface_schema)]
    interface: String,
    /// Ends by itself after so many seconds; by request unless given.
    #[schema(schema_with = Count::<MAX_SECONDS>::schema)]
    duration: Option<Count<MAX_SECONDS>>,
}

/// What is to be captured no more.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct StopRequest {
    /// Interface; all of them unless given, and those that `capture.interfaces` waits for.
    #[schema(schema_with = optional_interface_schema)]
    interface: Option<String>,
}

fn interface_schema() -> Schema {
    text().pattern(Some(INTERFACE_PATTERN)).into()
}

fn optional_interface_schema() -> Schema {
    or_null(interface_schema())
}

/// What is captured.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct LiveCaptureJson {
    /// Whether an interface is captured.
    running: bool,
    /// Since when the first of them is; null where none is.
    #[schema(required, format = DateTime)]
    since: Option<String>,
    /// Packets that were captured since the daemon was started, on whatever interface, also on those that are not captured now: a
    /// counter, as of the end of the last window, or of the last change. `interfaces` has those since each one's `since`.
    packets: u64,
    /// Their bytes.
    bytes: u64,
    /// Packets that interfaces dropped before the programs saw them, while they were captured, since the daemon was started. The
    /// programs themselves drop none.
    drops: u64,
    interfaces: Vec<CapturedJson>,
    /// What is not captured since somebody asked for it.
    stopped: Vec<StoppedJson>,
    /// What the next start of the daemon captures, whatever was asked for: `capture.interfaces`. Empty in a replay.
    after_restart: Vec<String>,
}

/// An interface that is captured.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct CapturedJson {
    interface: String,
    #[schema(format = DateTime)]
    since: String,
    packets: u64,
    bytes: u64,
    drops: u64,
    /// Who asked for it; null where the configuration has it captured.
    #[schema(required)]
    started_by: Option<String>,
    /// When it ends by itself; null where it does not.
    #[schema(required, format = DateTime)]
    until: Option<String>,
}

/// What somebody has stopped.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct StoppedJson {
    /// Interface; null for all that the configuration selects.
    #[schema(required)]
    interface: Option<String>,
    /// By whom.
    by: String,
    #[schema(format = DateTime)]
    since: String,
}

impl CapturedJson {
    fn of(captured: &Captured, status: &Status) -> Self {
        let rows = status.ledger.interfaces.iter().filter(|row| row.name == captured.interface);
        let [packets, bytes] = rows.fold([0; 2], |[packets, bytes], row| {
            let CountsJson(counts) = CountsJson::from(&row.counts);
            [packets + counts.get(Counter::Seen), bytes + counts.seen_bytes]
        });
        let attachment = status.attachments.iter().find(|attachment| attachment.interface == captured.interface);
        let NicCounts { rx_dropped, .. } = attachment.map(|attachment| attachment.nic).unwrap_or_default();
        let started = captured.started.as_ref();
        Self {
            interface: captured.interface.clone(),
            since: captured.since.to_string(),
            packets: packets.saturating_sub(captured.before[0]),
            bytes: bytes.saturating_sub(captured.before[1]),
            drops: rx_dropped,
            started_by: started.map(|started| started.asked.by.clone()),
            until: started.and_then(|started| started.until).map(|until| until.to_string()),
        }
    }
}

impl LiveCaptureJson {
    /// Of all interfaces, or of those that a token is for.
    fn new(captured: &CaptureState, patterns: &[InterfacePattern], status: &Status, scope: Option<&[String]>) -> Self {
        let is_in = |name: &str| scope.is_none_or(|scope| scope.iter().any(|own| own == name));
        let shown: Vec<_> = captured.captured.iter().filter(|one| is_in(&one.interface)).collect();
        let interfaces: Vec<_> = shown.iter().map(|one| CapturedJson::of(one, status)).collect();
        let is_own = |interface: &Option<String>| interface.as_ref().is_none_or(|name| is_in(name));
        let stopped = captured.stopped.iter().filter(|(interface, _)| is_own(interface));
        let stopped = stopped.map(|(interface, asked)| StoppedJson {
            interface: interface.clone(),
            by: asked.by.clone(),
            since: asked.at.to_string(),
        });
        let rows = status.ledger.interfaces.iter().filter(|row| is_in(&row.name));
        let [packets, bytes] = rows.fold([0; 2], |[packets, bytes], row| {
            let CountsJson(counts) = CountsJson::from(&row.counts);
            [packets + counts.get(Counter::Seen), bytes + counts.seen_bytes]
        });
        let earlier: u64 = captured.dropped.iter().filter(|(name, _)| is_in(name)).map(|(_, drops)| drops).sum();
        let is_shown = |pattern: &&InterfacePattern| {
            scope.is_none_or(|scope| scope.iter().any(|own| pattern.is_name() && pattern.as_str() == own))
        };
        Self {
            running: !interfaces.is_empty(),
            since: shown.iter().map(|one| one.since).min().map(|since| since.to_string()),
            packets,
            bytes,
            drops: earlier + interfaces.iter().map(|one| one.drops).sum::<u64>(),
            stopped: stopped.collect(),
            after_restart: patterns.iter().filter(is_shown).map(ToString::to_string).collect(),
            interfaces,
        }
    }

    /// What is captured now.
    pub(super) fn now(state: &ApiState, scope: Option<&[String]>) -> Self {
        match &state.capture {
            Some(handle) => Self::new(&handle.state(), &handle.patterns(), &state.status(), scope),
            None => Self::new(&CaptureState::default(), &[], &Status::default(), None),
        }
    }
}

/// Which interfaces are captured, since when, by whom, and what was counted of them. Of a replay, none is. A token that is for some
/// interfaces is answered about these alone.
#[utoipa::path(
    get,
    path = "/api/control/capture/status",
    operation_id = "get_live_capture",
    tag = "control",
    responses((status = 200, description = "What is captured.", body = LiveCaptureJson))
)]
pub(in crate::api) async fn status(
    _: Query<()>,
    caller: Caller,
    State(state): State<ApiState>,
) -> Json<LiveCaptureJson> {
    Json(LiveCaptureJson::now(&state, caller.scope.as_deref()))
}

/// Captures an interface from now on, beside those that are captured: for ever, or for a time. It holds until the daemon is started
/// again, which captures what `capture.interfaces` selects.
#[utoipa::path(
    post,
    path = "/api/control/capture/start",
    operation_id = "start_capture",
    tag = "control",
    request_body = StartRequest,
    responses(
        (status = 200, description = "It is captured.", body = LiveCaptureJson),
        (status = 403, description = "The role is not operator or one above it, the scope of the token does not contain the interface, the daemon may not \
            attach programs, or the request comes from a page of another site.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is captured already, another daemon counts there, or this daemon captures nothing.", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "There is no such interface, or nothing can be attached to it; `detail` says which, or why.",
            body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The capture does not answer in time.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn start(
    _: Query<()>,
    caller: Caller,
    State(state): State<ApiState>,
    Json(StartRequest { interface, duration }): Json<StartRequest>,
) -> Result<Json<LiveCaptureJson>, ApiError> {
    caller.check_interface(&interface)?;
    let duration = duration.map(|seconds| Duration::from_secs(seconds.0.into()));
    let audit = caller.audit("start capture", interface.clone());
    carry_out(state, &caller, audit, Wish::Start { interface, duration }).await
}

/// Ends capture of an interface, or of all. What was counted up to now is in the open window. It holds until the daemon is started again,
/// which captures what `capture.interfaces` selects.
#[utoipa::path(
    post,
    path = "/api/control/capture/stop",
    operation_id = "stop_capture",
    tag = "control",
    request_body = StopRequest,
    responses(
        (status = 200, description = "It is captured no more.", body = LiveCaptureJson),
        (status = 409, description = "It is not captured, nothing is, or this daemon captures nothing.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "There is no such interface; `detail` says which there are.", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "The capture does not answer in time.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn stop(
    _: Query<()>,
    caller: Caller,
    State(state): State<ApiState>,
    Json(StopRequest { interface }): Json<StopRequest>,
) -> Result<Json<LiveCaptureJson>, ApiError> {
    match (&interface, &state.capture) {
        (Some(interface), _) => caller.check_interface(interface)?,
        // Those that are waited for are stopped as well.
        (None, Some(handle)) => {
            let captured = handle.state().captured;
            let all = captured.iter().map(|captured| captured.interface.as_str());
            let patterns = handle.patterns();
            let waited = patterns.iter().filter(|pattern| !pattern.is_exclusion());
            let all = all.chain(waited.map(|pattern| pattern.as_str()));
            caller.check_all(all, "without `interface` all that is captured or waited for is stopped")?;
        }
        (None, None) => {}
    }
    let target = interface.clone().unwrap_or_else(|| "all interfaces".to_owned());
    carry_out(state, &caller, caller.audit("stop capture", target), Wish::Stop { interface }).await
}

/// Orders it and waits for the answer. What was carried out is audited whether its client is still there or not.
async fn carry_out(
    state: ApiState,
    caller: &Caller,
    audit: Audit,
    wish: Wish,
) -> Result<Json<LiveCaptureJson>, ApiError> {
    let detail =
        || "this daemon captures nothing: it replays captures; interfaces are captured by `nta-daemon run`".to_owned();
    let handle = state.capture.clone().ok_or_else(|| ApiError::Conflict { detail: detail() })?;
    // Packets and bytes of what was captured are those of then.
    let earlier = state.status();
    let started = if let Wish::Start { interface, .. } = &wish { Some(interface.clone()) } else { None };
    let answer = handle.order(wish, audit.who.clone())?;
    let scope = caller.scope.clone();
    let of_scope = scope.clone();
    let carried_out = tokio::spawn(async move {
        let changed = answer.await?;
        let (status, patterns) = (state.status(), handle.patterns());
        let before = LiveCaptureJson::new(&changed.before, &patterns, &earlier, None);
        let after = LiveCaptureJson::new(&changed.after, &patterns, &status, None);
        let (before, after) = (serde_json::to_value(&before).ok(), serde_json::to_value(&after).ok());
        state.record(&Audit { before, after, ..audit.clone() }).await;
        let shown = LiveCaptureJson::new(&changed.after, &patterns, &status, scope.as_deref());
        if let Some(started) = changed.after.captured.into_iter().find(|one| Some(&one.interface) == started.as_ref())
            && let Some(Started { asked, until: Some(until) }) = started.started
        {
            tokio::spawn(record_end(state, handle, audit, (asked, until)));
        }
        Ok::<_, CaptureError>(shown)
    });
    match tokio::time::timeout(ANSWERED_WITHIN + GRACE, carried_out).await {
        Ok(Ok(answer)) => answer.map(Json).map_err(|error| match (error, of_scope) {
            // It names no interface that the token is not for.
            (CaptureError::Unknown { name, .. }, Some(scope)) => {
                CaptureError::Unknown { name, there_are: format!("the token is for {}", scope.join(", ")) }.into()
            }
            (error, _) => error.into(),
        }),
        Ok(Err(_panicked)) => Err(ApiError::Internal),
        Err(_late) => Err(ApiError::Unavailable {
            detail: format!(
                "the capture did not answer within {} s: what it has begun is carried out, and GET /api/control/capture/status says what is \
                 captured",
                (ANSWERED_WITHIN + GRACE).as_secs()
            ),
        }),
    }
}

/// Records that a capture ended by itself, in the name of who had asked for that end. There are no more of these than interfaces that
/// are captured for a time.
async fn record_end(state: ApiState, handle: CaptureHandle, audit: Audit, (asked, until): (Asked, Timestamp)) {
    let Some(ended) = handle.end_of(&asked).await else { return };
    let after = json!({"reason": "its time was over", "until": until.to_string()});
    let row = Audit {
        at: now(),
        action: "stop capture",
        target: ended.interface,
        before: Some(json!({"started_by": asked.by, "since": asked.at.to_string()})),
        after: Some(after),
        ..audit
    };
    state.record(&row).await;
}

impl From<CaptureError> for ApiError {
    fn from(error: CaptureError) -> Self {
        let (detail, field) = (error.to_string(), || Some("interface".to_owned()));
        match error {
            CaptureError::Running { .. }
            | CaptureError::Idle { .. }
            | CaptureError::Nothing
            | CaptureError::Stopped { .. } => Self::Conflict { detail },
            CaptureError::Refused(SourceError::Watched { .. }) => Self::Conflict { detail },
            CaptureError::Refused(SourceError::Permission { .. }) => {
                Self::Forbidden { field: "interface".to_owned(), detail }
            }
            CaptureError::Unknown { .. } | CaptureError::Refused(_) | CaptureError::Unable(_) => {
                Self::Unprocessable { field: field(), detail }
            }
            CaptureError::Busy | CaptureError::Late | CaptureError::Ended => Self::Unavailable { detail },
        }
    }
}
