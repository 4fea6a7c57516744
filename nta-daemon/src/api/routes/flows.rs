//! `/api/last10`, `/api/alltraffic` and `/api/flows`: flows.

use std::future::Future;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::Stream;
use futures_util::stream::try_unfold;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tracing::error;
use utoipa::openapi::Schema;

use crate::api::error::Problem;
use crate::api::extract::{Cidr, IpProtocol, Json, Parameter, Query, Several, addresses, parameters, text};
use crate::api::found::FlowItem;
use crate::api::page::{List, PageQuery, Period, SortField};
use crate::api::whose::WhoseQuery;
use crate::api::{ApiError, ApiState, accept};
use crate::store::{FlowFilter, FlowSort, Key, Position, Range, Store, Whose};
use nta_core::domain::FlowId;

impl SortField for FlowSort {
    const ALL: &'static [(&'static str, Self)] =
        &[("time", Self::Time), ("last_time", Self::LastTime), ("bytes", Self::Bytes), ("packets", Self::Packets)];
}

/// Flows of `/api/last10`.
const LAST: u32 = 10;
/// Flows that a stream holds in memory at a time.
const STREAM_ROWS: u32 = 500;
const NDJSON: &str = "application/x-ndjson";
const JSON: &str = "application/json";

parameters! {
    /// Whose flows.
    pub(in crate::api) struct LastQuery {
        ..whose: WhoseQuery,
    }
}

/// The ten flows with the latest last packet, latest first.
#[utoipa::path(
    get,
    path = "/api/last10",
    operation_id = "list_last_flows",
    tag = "flows",
    params(LastQuery),
    responses((status = 200, description = "The flows.", body = List<FlowItem>))
)]
pub(in crate::api) async fn last10(
    State(state): State<ApiState>,
    Query(LastQuery { whose }): Query<LastQuery>,
) -> Result<Json<List<FlowItem>>, ApiError> {
    let filter = FlowFilter { whose: state.scope(whose).await?.whose, ..FlowFilter::default() };
    let latest = Position { descending: true, after: None, limit: LAST };
    let flows = state.store.find_flows(&filter, FlowSort::LastTime, latest).await?.items;
    Ok(Json(List::whole(flows.iter().map(FlowItem::from).collect(), LAST)))
}

parameters! {
    /// Which page of all flows.
    pub(in crate::api) struct AllFlowsQuery {
        /// Id of a flow, behind which the list begins: the last one that came of a stream that broke off. Not with `cursor`.
        "after" => after: FlowName,
        ..whose: WhoseQuery,
        ..period: Period,
        ..page: PageQuery<FlowSort>,
    }
}

/// All flows of a time: a page, or with `Accept: application/x-ndjson` every one of them, one a line, oldest first unless `sort` says
/// otherwise, and `limit` of them where that is given. A stream that broke off goes on with the same request and `after`, the id of the
/// last flow that came. `from=0` asks for all that is stored.
///
/// `time` is the first packet's: in that order a walk meets every flow once. In the order of `last_time` a flow that
/// is alive moves while one reads.
#[utoipa::path(
    get,
    path = "/api/alltraffic",
    operation_id = "list_all_flows",
    tag = "flows",
    params(AllFlowsQuery),
    responses(
        (status = 200, description = "The page, or all flows.", content(
            (List<FlowItem> = "application/json"),
            (FlowItem = "application/x-ndjson"),
        )),
        (status = 422, description = "More would be read than may be; `detail` says what to ask for instead.",
            body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn all(
    State(state): State<ApiState>,
    headers: HeaderMap,
    Query(AllFlowsQuery { whose, after, period, page }): Query<AllFlowsQuery>,
) -> Result<Response, ApiError> {
    let scope = state.scope(whose).await?;
    let range = page.range(period, &scope, &state).await?;
    let filter = FlowFilter { from: range.from, to: range.to, whose: scope.whose, ..FlowFilter::default() };
    answer(state, &headers, filter, (page, after), range).await
}

/// The page, or its lines for who prefers them.
async fn answer(
    state: ApiState,
    headers: &HeaderMap,
    filter: FlowFilter,
    (mut page, after): (PageQuery<FlowSort>, Option<FlowName>),
    range: Range,
) -> Result<Response, ApiError> {
    let is_stream = accept::prefers(headers, NDJSON, JSON);
    if is_stream && !page.has_order {
        (page.sort, page.position.descending) = (FlowSort::Time, false);
    }
    if let Some(FlowName(id)) = after {
        if page.position.after.is_some() {
            return Err(ApiError::invalid("after", "expected either `after` or `cursor`"));
        }
        let key = state.store.flow_key(id, page.sort).await?;
        let gone = || ApiError::invalid("after", format!("`{}`: there is no such flow any more", FlowId(id)));
        page.position.after = Some(key.ok_or_else(gone)?);
    }
    if is_stream {
        let most = page.has_limit.then_some(page.position.limit);
        let body = Body::from_stream(lines(state.streams, state.store, filter, (page.sort, page.position), most));
        return Ok(([(header::CONTENT_TYPE, NDJSON), (header::VARY, "Accept")], body).into_response());
    }
    let flows = state.store.find_flows(&filter, page.sort, page.position).await?;
    let items = flows.items.iter().map(FlowItem::from).collect();
    Ok(([(header::VARY, "Accept")], Json(page.list(items, flows.next, range))).into_response())
}

/// The id of a flow.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct FlowName(u64);

impl Parameter for FlowName {
    fn parse(text: &str) -> Result<Self, String> {
        let is_one = text.len() == 16 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        let id = is_one.then(|| u64::from_str_radix(text, 16).ok()).flatten();
        id.map(Self).ok_or_else(|| "16 hexadecimal digits".to_owned())
    }

    fn schema() -> Schema {
        text().pattern(Some("^[0-9a-f]{16}$")).into()
    }
}

parameters! {
    /// Which flows.
    pub(in crate::api) struct FlowsQuery {
        /// Address, or network as in 192.0.2.0/24, at either end; or several of these.
        "host" => hosts: Several<Cidr>,
        /// Port at either end, or several. ICMP has none.
        "port" => ports: Several<u16>,
        /// IP protocol, its name or its number, or several.
        "proto" => protos: Several<IpProtocol>,
        /// Id of a flow, behind which the list begins: the last one that came of a stream that broke off. Not with `cursor`.
        "after" => after: FlowName,
        ..whose: WhoseQuery,
        ..period: Period,
        ..page: PageQuery<FlowSort>,
    }
}

/// The flows that pass every filter given, latest first packet first unless `sort` says otherwise: `-bytes` and `-packets` are the
/// largest of both directions, of up to 50,000 flows of the time; of more flows as far as they have 1,000,000 bytes or 1,000 packets.
#[utoipa::path(
    get,
    path = "/api/flows",
    operation_id = "find_flows",
    tag = "flows",
    params(FlowsQuery),
    responses(
        (status = 200, description = "The page, or all flows that pass.", content(
            (List<FlowItem> = "application/json"),
            (FlowItem = "application/x-ndjson"),
        )),
        (status = 422, description = "More would be read than may be; `detail` says what to ask for instead.",
            body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn search(
    State(state): State<ApiState>,
    headers: HeaderMap,
    Query(query): Query<FlowsQuery>,
) -> Result<Response, ApiError> {
    let (page, after) = (query.page, query.after);
    let scope = state.scope(query.whose.clone()).await?;
    let range = page.range(query.period, &scope, &state).await?;
    let filter = query.filter(scope.whose, range);
    answer(state, &headers, filter, (page, after), range).await
}

impl FlowsQuery {
    /// Which flows, within a range.
    pub(super) fn filter(self, whose: Whose, range: Range) -> FlowFilter {
        let ports = self.ports.map(|several| several.0).unwrap_or_default();
        let protos = self.protos.map(|several| several.0.iter().map(|proto| proto.0).collect()).unwrap_or_default();
        FlowFilter { hosts: addresses(self.hosts.as_ref()), ports, protos, from: range.from, to: range.to, whose }
    }
}

/// Pages of the table as lines, made off the executor; the next page is read when the client took the one before.
fn lines(
    places: Arc<Semaphore>,
    store: Store,
    filter: FlowFilter,
    (sort, first): (FlowSort, Position),
    most: Option<u32>,
) -> impl Stream<Item = Result<Bytes, ApiError>> {
    pages(places, (first, most), move |position| {
        let (runtime, store, filter) = (Handle::current(), store.clone(), filter.clone());
        async move {
            let made = spawn_blocking(move || runtime.block_on(chunk(&store, &filter, sort, position))).await;
            made.map_err(|_panicked| ApiError::Internal).flatten()
        }
    })
}

/// Pages, each made in one of the places that all streams share: many streams leave threads and the database's connections to
/// whoever asks for less. Who takes nothing holds none.
fn pages<F, P>(
    places: Arc<Semaphore>,
    (first, most): (Position, Option<u32>),
    make: F,
) -> impl Stream<Item = Result<Bytes, ApiError>>
where
    F: Fn(Position) -> P,
    P: Future<Output = Result<(Bytes, Option<Key>), ApiError>>,
{
    // How many may still come.
    let left = most.unwrap_or(u32::MAX);
    try_unfold((places, make, Some(first), left), move |(places, make, position, left)| async move {
        let Some(position) = position.filter(|_| left > 0) else { return Ok(None) };
        let position = Position { limit: left.min(STREAM_ROWS), ..position };
        let place = places.acquire().await.map_err(|_never_closed| ApiError::Internal)?;
        let made = make(position).await;
        drop(place);
        let (lines, next) = made.inspect_err(|failure| {
            // The status line is gone: all that is left is to break the stream off.
            error!(error = %failure, "api: stream of flows broken off");
        })?;
        let next = next.map(|key| Position { after: Some(key), ..position });
        let left = if most.is_some() { left - position.limit } else { left };
        Ok(Some((lines, (places, make, next, left))))
    })
}

async fn chunk(
    store: &Store,
    filter: &FlowFilter,
    sort: FlowSort,
    position: Position,
) -> Result<(Bytes, Option<Key>), ApiError> {
    let page = store.find_flows(filter, sort, position).await?;
    let mut lines = Vec::new();
    for flow in &page.items {
        serde_json::to_writer(&mut lines, &FlowItem::from(flow)).map_err(|_cannot_fail| ApiError::Internal)?;
        lines.push(b'\n');
    }
    Ok((lines.into(), page.next))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;
    use futures_util::{StreamExt as _, pin_mut};

    use super::*;
    use crate::api::state::STREAMS_READING;

    const FIRST: Position = Position { descending: false, after: None, limit: STREAM_ROWS };

    #[tokio::test]
    async fn however_many_streams_there_are_few_pages_are_made_at_a_time() {
        let (at_once, most, made) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        let make = |position: Position| {
            let (at_once, most, made) = (&at_once, &most, &made);
            async move {
                most.fetch_max(at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                for _ in 0..10 {
                    tokio::task::yield_now().await;
                }
                at_once.fetch_sub(1, Ordering::SeqCst);
                made.fetch_add(1, Ordering::SeqCst);
                let next = position.after.map_or(1, |after| after.value + 1);
                Ok::<_, ApiError>((Bytes::from_static(b"{}"), (next < 3).then_some(Key { value: next, id: 0 })))
            }
        };
        let places = Arc::new(Semaphore::new(STREAMS_READING));
        // Whoever takes one page and no more keeps no place.
        let mut idle: Vec<_> = (0..50).map(|_| Box::pin(pages(Arc::clone(&places), (FIRST, None), make))).collect();
        join_all(idle.iter_mut().map(|stream| stream.next())).await;
        let read = (0..50).map(|_| {
            let stream = pages(Arc::clone(&places), (FIRST, None), make);
            async move {
                pin_mut!(stream);
                stream.count().await
            }
        });
        assert_eq!(join_all(read).await, [3; 50]);
        assert_eq!([&made, &most].map(|count| count.load(Ordering::SeqCst)), [50 + 150, STREAMS_READING]);
    }
}
