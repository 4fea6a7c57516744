//! `/api/last10`, `/api/alltraffic` and `/api/flows`: flows.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Uri, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::Stream;
use futures_util::stream::try_unfold;
use tracing::error;

use crate::api::error::Refusals;
use crate::api::page::{List, PageRequest, Sorts};
use crate::api::params::Params;
use crate::api::{ApiError, ApiState};
use crate::json::{FlowJson, protocol_number};
use crate::store::{FlowFilter, FlowSort, Key, Position, Store};

const SORTS: Sorts<FlowSort> = &[("time", FlowSort::Time), ("last_time", FlowSort::LastTime)];
/// Flows of `/api/last10`.
const LAST: u32 = 10;
/// Flows that a stream holds in memory at a time.
const STREAM_ROWS: u32 = 500;
const NDJSON: &str = "application/x-ndjson";

/// The ten flows with the latest last packet, latest first.
#[utoipa::path(
    get,
    path = "/api/last10",
    tag = "flows",
    responses((status = 200, body = List<FlowJson>), Refusals)
)]
pub(in crate::api) async fn last10(State(state): State<ApiState>) -> Result<Json<List<FlowJson>>, ApiError> {
    let flows = state.store.last_flows(LAST).await?;
    Ok(Json(List::whole(flows.iter().map(FlowJson::from).collect(), LAST)))
}

/// All flows: a page, or with `Accept: application/x-ndjson` every one of them, one a line, oldest first. A stream has
/// no pages: `limit`, `cursor` and `sort` do not change it.
///
/// `time` is the first packet's: in that order a walk meets every flow once. In the order of `last_time` a flow that
/// is alive moves while one reads.
#[utoipa::path(
    get,
    path = "/api/alltraffic",
    tag = "flows",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "items of a page, default 100"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("sort" = Option<String>, Query, description = "time, last_time; `-` before it: latest first (default -time)"),
    ),
    responses(
        (status = 200, content(
            (List<FlowJson> = "application/json"),
            (FlowJson = "application/x-ndjson"),
        )),
        Refusals,
    )
)]
pub(in crate::api) async fn all(
    State(state): State<ApiState>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let params = Params::read(&uri, &["limit", "cursor", "sort"])?;
    if accepts_ndjson(&headers) {
        let body = Body::from_stream(lines(state.store));
        return Ok(([(header::CONTENT_TYPE, NDJSON)], body).into_response());
    }
    let page = PageRequest::read(&params, SORTS)?;
    let flows = state.store.flows(page.sort, page.position).await?;
    let items = flows.items.iter().map(FlowJson::from).collect();
    Ok(Json(page.list(items, flows.next)).into_response())
}

/// The flows that pass every filter given, latest first packet first unless `sort` says otherwise.
#[utoipa::path(
    get,
    path = "/api/flows",
    tag = "flows",
    params(
        ("host" = Option<String>, Query, description = "address at either end"),
        ("port" = Option<u16>, Query, description = "port at either end"),
        ("proto" = Option<String>, Query, description = "IP protocol: tcp, udp, icmp … or its number"),
        ("from" = Option<String>, Query, description = "with a packet at this time or later; RFC 3339 or Unix seconds"),
        ("to" = Option<String>, Query, description = "with a packet before this time; RFC 3339 or Unix seconds"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "items of a page, default 100"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
        ("sort" = Option<String>, Query, description = "time, last_time; `-` before it: latest first (default -time)"),
    ),
    responses((status = 200, body = List<FlowJson>), Refusals)
)]
pub(in crate::api) async fn search(State(state): State<ApiState>, uri: Uri) -> Result<Json<List<FlowJson>>, ApiError> {
    let params = Params::read(&uri, &["host", "port", "proto", "from", "to", "limit", "cursor", "sort"])?;
    let [from, to] = params.interval()?;
    let unknown = |text: &str| ApiError::invalid("proto", format!("`{text}`: expected tcp, udp, icmp … or a number"));
    let proto = params.get("proto").map(|text| protocol_number(text).ok_or_else(|| unknown(text))).transpose()?;
    let filter = FlowFilter {
        host: params.parsed("host", "an IPv4 or IPv6 address")?,
        port: params.parsed("port", "a number from 0 to 65535")?,
        proto,
        from,
        to,
    };
    let page = PageRequest::read(&params, SORTS)?;
    let flows = state.store.find_flows(&filter, page.sort, page.position).await?;
    Ok(Json(page.list(flows.items.iter().map(FlowJson::from).collect(), flows.next)))
}

fn accepts_ndjson(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut types = values.flat_map(|value| value.split(',')).map(|range| range.split(';').next().unwrap_or(range));
    types.any(|media_type| media_type.trim().eq_ignore_ascii_case(NDJSON))
}

/// Pages of the table as lines; the next page is read when the client took the one before.
fn lines(store: Store) -> impl Stream<Item = Result<Bytes, ApiError>> {
    let first = Some(Position { descending: false, after: None, limit: STREAM_ROWS });
    try_unfold((store, first), |(store, position)| async move {
        let Some(position) = position else { return Ok(None) };
        let (lines, next) = chunk(&store, position).await.inspect_err(|failure| {
            // The status line is gone: all that is left is to break the stream off.
            error!(error = %failure, "api: stream of flows broken off");
        })?;
        let next = next.map(|key| Position { after: Some(key), ..position });
        Ok(Some((lines, (store, next))))
    })
}

async fn chunk(store: &Store, position: Position) -> Result<(Bytes, Option<Key>), ApiError> {
    let page = store.flows(FlowSort::Time, position).await?;
    let mut lines = Vec::new();
    for flow in &page.items {
        serde_json::to_writer(&mut lines, &FlowJson::from(flow)).map_err(|_cannot_fail| ApiError::Internal)?;
        lines.push(b'\n');
    }
    Ok((lines.into(), page.next))
}
