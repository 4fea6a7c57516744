//! `GET /api/status`: everything the daemon reports about itself.

use std::time::Duration;

use axum::extract::State;
use serde::{Deserialize, Serialize};

use crate::api::ApiState;
use crate::api::access::Caller;
use crate::api::extract::{Json, Query};
use crate::api::process::{self, ProcessJson};
use crate::api::state::{VERSION, now};
use crate::collector::{Counts, Reading};
use crate::json::{StatusJson, seconds, words};
use crate::pipeline::progress::Progress;
use crate::sink::{Counters, Kind};
use crate::store::{OutboxState, StoreStats};

/// How long the database is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub(in crate::api) struct StatusPage {
    version: String,
    #[schema(format = DateTime)]
    timestamp: String,
    uptime_s: f64,
    /// Of a replay how far its analysis is; null live.
    #[schema(required)]
    analysis: Option<AnalysisJson>,
    #[serde(flatten)]
    pipeline: StatusJson,
    local_networks: LocalNetworksJson,
    access: AccessJson,
    store: StoreJson,
    /// How shipping to a server goes; null where nothing is shipped.
    #[serde(default)]
    #[schema(required)]
    shipping: Option<ShippingJson>,
    /// How a collector reads what sensors publish; null of who is none.
    #[serde(default)]
    #[schema(required)]
    collecting: Option<CollectingJson>,
    /// What goes to others beside the API and webhooks, where it is configured.
    #[serde(default)]
    outputs: Vec<OutputJson>,
    process: ProcessJson,
}

/// What goes to others.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
struct OutputJson {
    /// Its section of the configuration: `eve`, `ipfix`, `remote_write` or `archive`.
    name: String,
    /// Where it goes.
    to: String,
    /// What is counted: `events`, `records`, `samples` or `files`.
    unit: String,
    /// How many were taken since the start.
    sent: u64,
    /// How many were dropped.
    dropped: u64,
    /// Whether the last attempt failed.
    failing: bool,
    /// Why an attempt failed last; null where none did.
    #[schema(required)]
    last_error: Option<String>,
}

impl OutputJson {
    fn of(counters: &Counters) -> Self {
        let (Kind { name, unit, .. }, [sent, dropped]) = (counters.kind(), counters.counts());
        Self {
            name: name.to_owned(),
            to: counters.to().to_owned(),
            unit: unit.to_owned(),
            sent,
            dropped,
            failing: counters.is_failing(),
            last_error: counters.last_error(),
        }
    }
}

/// How shipping to a server goes.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
struct ShippingJson {
    /// The server.
    to: String,
    /// Why it does not go; null while it does.
    #[schema(required)]
    trouble: Option<String>,
    /// Batches that wait for the server's confirmation; null when the database does not answer.
    #[schema(required)]
    pending: Option<u64>,
    /// Their bytes on disk.
    #[schema(required)]
    pending_bytes: Option<u64>,
    /// When the oldest of them was made; null where none waits.
    #[schema(required, format = DateTime)]
    pending_since: Option<String>,
    /// Batches that the server has, since the log began.
    #[schema(required)]
    processed: Option<u64>,
    /// Batches that are never sent: the server refused them, or they cannot be read back.
    #[schema(required)]
    failed: Option<u64>,
    /// Batches that lost all but their alerts, or all, to `ship.max_bytes`.
    #[schema(required)]
    given_up: Option<u64>,
    /// Up to this number the server has all.
    watermark: u64,
    /// When the server answered last.
    #[schema(required, format = DateTime)]
    last_answer_at: Option<String>,
    /// When it failed last; null where it never has.
    #[schema(required, format = DateTime)]
    last_error_at: Option<String>,
    /// Why.
    #[schema(required)]
    last_error: Option<String>,
    /// Number of the server's settings that are followed; 0 for what is configured here.
    settings: u64,
}

impl ShippingJson {
    async fn of(state: &ApiState) -> Option<Self> {
        let shipping = state.shipping.as_ref()?;
        let (trouble, own) = (shipping.trouble(), shipping.state());
        let outbox = soon(async { state.store.outbox_state().await.ok() }).await;
        let count = |of: fn(&OutboxState) -> u64| outbox.as_ref().map(of);
        let (last_error_at, last_error) = own.last_error.map(|(at, error)| (at.to_string(), error)).unzip();
        Some(Self {
            to: own.to,
            trouble,
            pending: count(|outbox| outbox.pending),
            pending_bytes: count(|outbox| outbox.bytes),
            pending_since: outbox.as_ref().and_then(|outbox| outbox.since).map(|since| since.to_string()),
            processed: count(|outbox| outbox.acked),
            failed: count(|outbox| outbox.failed),
            given_up: count(|outbox| outbox.given_up.batches),
            watermark: own.watermark,
            last_answer_at: own.last_ok.map(|at| at.to_string()),
            last_error_at,
            last_error,
            settings: own.settings,
        })
    }
}

/// How a collector reads.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
struct CollectingJson {
    /// The NATS servers.
    from: String,
    /// Whether there is a connection to one of them.
    connected: bool,
    /// Why nothing can be read; null while messages can be, or have failed to be a moment only.
    #[schema(required)]
    trouble: Option<String>,
    /// When it was last known that messages can be read, whether or not there were any.
    #[schema(required, format = DateTime)]
    last_read_at: Option<String>,
    /// When they could not last; null where they always could.
    #[schema(required, format = DateTime)]
    last_error_at: Option<String>,
    /// Why.
    #[schema(required)]
    last_error: Option<String>,
    /// Messages stored since the start.
    messages: u64,
    /// Messages that can never be stored, and were taken out of the stream.
    ended: u64,
}

impl From<&Counts> for CollectingJson {
    fn from(counts: &Counts) -> Self {
        let (now, Reading { from, connected, last_ok, last_error, .. }) = (counts.now(), counts.how_it_reads());
        let (last_error_at, last_error) = last_error.map(|(at, error)| (at.to_string(), error)).unzip();
        Self {
            from,
            connected,
            trouble: counts.trouble(),
            last_read_at: last_ok.map(|at| at.to_string()),
            last_error_at,
            last_error,
            messages: now.messages,
            ended: now.ended,
        }
    }
}

/// Who may use the API.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
struct AccessJson {
    /// Whether a token is demanded. If not, whoever reaches the listener may do all: make one with `nta-daemon tokens create --role admin`.
    token_demanded: bool,
    /// Whether the listener speaks TLS.
    tls: bool,
    /// What who asks may do; `admin` where no token is demanded.
    #[serde(default)]
    #[schema(value_type = words::CallerRole)]
    role: String,
    /// Name of the token of who asks; `anonymous` where none is demanded.
    #[serde(default)]
    name: String,
}

/// How far the analysis of a replay is.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
struct AnalysisJson {
    /// `running` while the captures are read: lists and sums are of what is stored so far, and grow with every window. `complete` once
    /// everything that was found is stored, from the start where an earlier replay has stored it.
    #[schema(value_type = words::AnalysisState)]
    state: String,
    /// Bytes of the captures that were read, compressed where they are; of a pipe the bytes of its packets.
    read_bytes: u64,
    /// Bytes of the captures; null of a pipe, and before the first were read.
    #[schema(required)]
    total_bytes: Option<u64>,
}

impl AnalysisJson {
    fn of(progress: &Progress) -> Self {
        let (read_bytes, total_bytes) = progress.bytes();
        let state = if progress.is_complete() { "complete" } else { "running" }.to_owned();
        Self { state, read_bytes, total_bytes }
    }
}

/// Networks that are one's own; all others are outside.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
struct LocalNetworksJson {
    /// As `detect.local_networks` says.
    configured: Vec<String>,
    /// Beside them, by the addresses and routes of this machine; empty in a replay.
    learned: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
struct StoreJson {
    /// Base windows in the database, without those of other lengths that are made of them; null when it does not answer.
    stored_windows: Option<u64>,
    /// Flows in the database; null when it does not answer.
    stored_flows: Option<u64>,
    /// Of a replay: analyses of its captures with its settings that are in the database, by `--again` or as one was stopped. Lists and
    /// sums show all of them: of 2 each window comes twice. 0 of a pipe; null live, and when it does not answer.
    #[serde(default)]
    analyses_shown: Option<u64>,
    /// What the writer did since the start.
    #[serde(flatten)]
    stats: StoreStats,
}

/// Everything the daemon reports about itself.
///
/// Answers also when the store does not: this is where one looks then.
#[utoipa::path(
    get,
    path = "/api/status",
    operation_id = "get_status",
    tag = "about",
    responses((status = 200, description = "The status.", body = StatusPage))
)]
pub(in crate::api) async fn get(_: Query<()>, caller: Caller, State(state): State<ApiState>) -> Json<StatusPage> {
    Json(page(&state, &caller).await)
}

/// What the database answers, if it does soon.
async fn soon<T>(answer: impl Future<Output = Option<T>>) -> Option<T> {
    tokio::time::timeout(PATIENCE, answer).await.ok().flatten()
}

pub(super) async fn page(state: &ApiState, caller: &Caller) -> StatusPage {
    let status = state.status();
    let now = now();
    let local = &state.analysis.detect.now().local_networks;
    // Asked at once, and not waited for while the database hangs: the rest is what one wants to know then.
    let (stored_windows, stored_flows, analyses_shown, token_demanded, shipping) = tokio::join!(
        soon(async { state.store.window_count().await.ok() }),
        soon(async { state.store.flow_count().await.ok() }),
        soon(state.analyses_shown()),
        soon(async { state.access.demands_token().await.ok() }),
        ShippingJson::of(state),
    );
    let store = StoreJson { stored_windows, stored_flows, analyses_shown, stats: state.store.stats() };
    StatusPage {
        version: VERSION.to_owned(),
        timestamp: now.to_string(),
        uptime_s: seconds(now.since(status.started)),
        analysis: state.progress.as_ref().map(AnalysisJson::of),
        pipeline: StatusJson::from(&status),
        local_networks: LocalNetworksJson {
            configured: local.configured().iter().map(ToString::to_string).collect(),
            learned: local.learned().iter().map(ToString::to_string).collect(),
        },
        access: AccessJson {
            // Who got here was let in, by what was known.
            token_demanded: token_demanded.unwrap_or(true),
            tls: state.tls.is_some(),
            role: caller.role.word().to_owned(),
            name: caller.name.clone(),
        },
        store,
        shipping,
        collecting: state.collected.as_ref().map(CollectingJson::from),
        outputs: state.outputs.iter().map(|counters| OutputJson::of(counters)).collect(),
        process: process::read(),
    }
}
