//! `GET /stats`: totals over all captures and live traffic.

use std::sync::atomic::Ordering::Relaxed;

use axum::extract::State;
use serde::Serialize;

use crate::api::extract::{Json, Query};
use crate::api::{ApiError, ApiState};
use crate::json::mode_name;

/// Sums over all captures, and over what the daemon counts itself.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct Stats {
    /// Uploaded captures.
    captures: CaptureStats,
    /// What this run of the daemon counts: live traffic, or the captures of a replay.
    traffic: TrafficStats,
}

/// Sums over captures, and what became of uploads since the start.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct CaptureStats {
    /// Captures that are kept.
    captures: u64,
    file_bytes: u64,
    /// Packets, their bytes on the wire, flows and alerts of their reports.
    packets: u64,
    bytes: u64,
    flows: u64,
    alerts: u64,
    /// Since the start: received, of these there already, refused or broken off, analysed, deleted as they were too old.
    received: u64,
    duplicates: u64,
    refused: u64,
    analysed: u64,
    expired: u64,
}

/// What this run counts.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct TrafficStats {
    /// `live` or `replay`.
    #[schema(value_type = crate::json::words::Mode)]
    mode: &'static str,
    packets: u64,
    bytes: u64,
    flows: u64,
    flows_active: u64,
    /// Alerts that were raised.
    alerts: u64,
}

/// Totals over all captures and live traffic.
#[utoipa::path(
    get,
    path = "/stats",
    operation_id = "get_stats",
    tag = "captures",
    responses((status = 200, description = "The totals.", body = Stats))
)]
pub(in crate::api) async fn get(_: Query<()>, State(state): State<ApiState>) -> Result<Json<Stats>, ApiError> {
    let (totals, counts) = (state.store.upload_totals().await?, state.uploads.counts());
    let status = state.status();
    let ledger = status.ledger.total();
    Ok(Json(Stats {
        captures: CaptureStats {
            captures: totals.captures,
            file_bytes: totals.file_bytes,
            packets: totals.packets,
            bytes: totals.bytes,
            flows: totals.flows,
            alerts: totals.alerts,
            received: counts.received.load(Relaxed),
            duplicates: counts.duplicates.load(Relaxed),
            refused: counts.refused.load(Relaxed),
            analysed: counts.analysed.load(Relaxed),
            expired: counts.expired.load(Relaxed),
        },
        traffic: TrafficStats {
            mode: mode_name(status.mode),
            packets: ledger.get(nta_common::Counter::Seen),
            bytes: ledger.seen_bytes,
            flows: status.flows_total,
            flows_active: status.flows_active,
            alerts: status.detection.raised,
        },
    }))
}
