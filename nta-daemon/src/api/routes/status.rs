//! `GET /api/status`: everything the daemon reports about itself.

use axum::extract::State;
use serde::{Deserialize, Serialize};

use crate::api::ApiState;
use crate::api::extract::{Json, Query};
use crate::api::process::{self, ProcessJson};
use crate::api::state::{VERSION, now};
use crate::json::{StatusJson, seconds};
use crate::store::StoreStats;

#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub(in crate::api) struct StatusPage {
    version: String,
    #[schema(format = DateTime)]
    timestamp: String,
    uptime_s: f64,
    #[serde(flatten)]
    pipeline: StatusJson,
    local_networks: LocalNetworksJson,
    store: StoreJson,
    process: ProcessJson,
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
    /// Windows in the database; null when it does not answer.
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
pub(in crate::api) async fn get(_: Query<()>, State(state): State<ApiState>) -> Json<StatusPage> {
    let status = state.status();
    let now = now();
    let local = &state.analysis.detect.local_networks;
    let store = StoreJson {
        stored_windows: state.store.window_count().await.ok(),
        stored_flows: state.store.flow_count().await.ok(),
        analyses_shown: state.analyses_shown().await,
        stats: state.store.stats(),
    };
    Json(StatusPage {
        version: VERSION.to_owned(),
        timestamp: now.to_string(),
        uptime_s: seconds(now.since(status.started)),
        pipeline: StatusJson::from(&status),
        local_networks: LocalNetworksJson {
            configured: local.configured().iter().map(ToString::to_string).collect(),
            learned: local.learned().iter().map(ToString::to_string).collect(),
        },
        store,
        process: process::read(),
    })
}
