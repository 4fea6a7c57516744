//! `GET /api/status`: everything the daemon reports about itself.

use axum::extract::State;
use serde::{Deserialize, Serialize};

use crate::api::ApiState;
use crate::api::access::Caller;
use crate::api::extract::{Json, Query};
use crate::api::process::{self, ProcessJson};
use crate::api::state::{VERSION, now};
use crate::json::{StatusJson, seconds, words};
use crate::pipeline::progress::Progress;
use crate::store::StoreStats;

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
    process: ProcessJson,
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

pub(super) async fn page(state: &ApiState, caller: &Caller) -> StatusPage {
    let status = state.status();
    let now = now();
    let local = &state.analysis.detect.local_networks;
    let store = StoreJson {
        stored_windows: state.store.window_count().await.ok(),
        stored_flows: state.store.flow_count().await.ok(),
        analyses_shown: state.analyses_shown().await,
        stats: state.store.stats(),
    };
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
            token_demanded: state.access.demands_token().await.unwrap_or(true),
            tls: state.tls.is_some(),
            role: caller.role.word().to_owned(),
            name: caller.name.clone(),
        },
        store,
        process: process::read(),
    }
}
