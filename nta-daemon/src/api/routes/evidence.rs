//! `/api/alerts/{id}/evidence` and `/api/alerts/{id}/alert.html`: what an alert rests on.

use std::net::IpAddr;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;

use super::alerts::{AlertDetail, AlertId, detail};
use crate::api::error::Problem;
use crate::api::extract::{InPath, Json, Path, Query};
use crate::api::found::{AnomalyItem, FlowItem, WindowItem};
use crate::api::{ApiError, ApiState, alert_page, found};
use crate::store::{FlowFilter, FlowSort, Key, Position, StoreError, StoredAlert, WindowFilter, WindowSort};
use nta_common::packet::proto;
use nta_core::domain::Timestamp;

/// Windows, anomalies and flows of an answer, of each.
const MOST: u32 = 1000;
/// Flows that are read for them at most.
const MOST_READ: usize = 20_000;
/// Flows that are read at a time.
const CHUNK: u32 = 1000;

/// What an alert rests on, as far as it is stored.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct Evidence {
    alert: AlertDetail,
    /// The base windows from `alert.window_start` to `alert.window_end`, oldest first; at most 1000.
    #[schema(max_items = 1000)]
    windows: Vec<WindowItem>,
    /// Whether there are more.
    windows_cut: bool,
    /// What detectors found, the worst first; at most 1000.
    #[schema(max_items = 1000)]
    anomalies: Vec<AnomalyItem>,
    /// The flows between the parties of the alert from `alert.first_seen` to `alert.last_seen`, oldest first; at most 1000.
    #[schema(max_items = 1000)]
    flows: Vec<FlowItem>,
    /// Whether there are more.
    flows_cut: bool,
    /// Why there are no flows, where none can be named; null elsewhere.
    flows_missing: Option<String>,
}

/// The windows, findings and flows behind an alert.
#[utoipa::path(
    get,
    path = "/api/alerts/{id}/evidence",
    operation_id = "get_evidence",
    tag = "alerts",
    params(InPath<AlertId>),
    responses(
        (status = 200, description = "What is stored of it.", body = Evidence),
        (status = 404, description = "There is no such alert, or what is stored of it cannot be read; `detail` says which.",
            body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn get(
    _: Query<()>,
    State(state): State<ApiState>,
    Path(id): Path<AlertId>,
) -> Result<Json<Evidence>, ApiError> {
    Ok(Json(gather(&state, &id).await?.0))
}

/// The same as one page that needs nothing else: no script, no further file. Its header and the page itself carry the policy that
/// holds it to that.
#[utoipa::path(
    get,
    path = "/api/alerts/{id}/alert.html",
    operation_id = "get_alert_page",
    tag = "alerts",
    params(InPath<AlertId>),
    responses(
        (status = 200, description = "The page.", body = String, content_type = "text/html"),
        (status = 404, description = "There is no such alert, or what is stored of it cannot be read; `detail` says which.",
            body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn page(
    _: Query<()>,
    State(state): State<ApiState>,
    Path(id): Path<AlertId>,
) -> Result<Response, ApiError> {
    let (evidence, _) = gather(&state, &id).await?;
    let document = serde_json::to_value(&evidence).map_err(|_cannot_fail| ApiError::Internal)?;
    let policy = alert_page::policy();
    let headers =
        [(header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()), (header::CONTENT_SECURITY_POLICY, policy)];
    Ok((headers, alert_page::page(&document)).into_response())
}

async fn gather(state: &ApiState, id: &AlertId) -> Result<(Evidence, StoredAlert), ApiError> {
    let Json(alert) = detail(state, id.as_str()).await?;
    let stored = state.store.alert(id.as_str()).await?.ok_or_else(|| super::alerts::unknown(id.as_str()))?;
    let filter = WindowFilter {
        from: Some(stored.first),
        to: Some(stored.last.max(stored.first.plus(1))),
        span_ns: None,
        whose: stored.sensor.clone().into(),
    };
    let oldest = Position { descending: false, after: None, limit: MOST };
    let windows = state.store.windows(&filter, WindowSort::Time, oldest).await?;
    let anomalies = state.store.anomalies_of_alert(id.as_str(), MOST).await?;
    let flows = flows(state, &stored).await?;
    let evidence = Evidence {
        alert,
        windows: windows.items.iter().map(WindowItem::from).collect(),
        windows_cut: windows.next.is_some(),
        anomalies: anomalies.iter().map(found::anomaly).collect(),
        flows: flows.items,
        flows_cut: flows.are_cut,
        flows_missing: flows.missing,
    };
    Ok((evidence, stored))
}

/// Flows of an alert.
#[derive(Default)]
struct Flows {
    items: Vec<FlowItem>,
    are_cut: bool,
    missing: Option<String>,
}

async fn flows(state: &ApiState, alert: &StoredAlert) -> Result<Flows, ApiError> {
    let host = |party: &Option<String>| party.as_ref()?.parse::<IpAddr>().ok();
    let [source, destination] = [host(&alert.source), host(&alert.destination)];
    let Some(first) = source.or(destination) else {
        let missing = "none of its parties is a host's address: /api/flows finds flows of that time".to_owned();
        return Ok(Flows { missing: Some(missing), ..Flows::default() });
    };
    let [from, to] = alert.seen.unwrap_or([alert.first, alert.last]);
    let filter = FlowFilter {
        hosts: first.into(),
        from: Some(from),
        to: Some(Timestamp::from_nanos(to.as_nanos().saturating_add(1))),
        whose: alert.sensor.clone().into(),
        ..FlowFilter::default()
    };
    let second = source.and(destination);
    let mut flows = Flows::default();
    let (mut read, mut after): (usize, Option<Key>) = (0, None);
    loop {
        let position = Position { descending: false, after, limit: CHUNK };
        let page = match state.store.find_flows(&filter, FlowSort::Time, position).await {
            Ok(page) => page,
            Err(StoreError::TooMuch { table, most }) => {
                let missing =
                    format!("more than {most} rows of {table} would be read: /api/flows finds those of a shorter time");
                return Ok(Flows { are_cut: true, missing: flows.items.is_empty().then_some(missing), ..flows });
            }
            Err(error) => return Err(error.into()),
        };
        read += page.items.len();
        for flow in &page.items {
            let ends = [&flow.item.originator, &flow.item.responder];
            let is_between = second.is_none_or(|second| ends.iter().any(|end| end.address == second));
            let has_ports = ![proto::ICMP, proto::ICMPV6].contains(&flow.item.proto);
            let is_at = alert.port.is_none_or(|port| has_ports && ends.iter().any(|end| end.port == port));
            if is_between && is_at {
                if flows.items.len() >= MOST as usize {
                    return Ok(Flows { are_cut: true, ..flows });
                }
                flows.items.push(FlowItem::from(flow));
            }
        }
        match page.next {
            Some(next) if read < MOST_READ => after = Some(next),
            next => return Ok(Flows { are_cut: next.is_some(), ..flows }),
        }
    }
}
