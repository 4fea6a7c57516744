//! `/api/hosts`: who is on the network, with sums of all that was seen or of a time, and the profile of each.

use std::net::IpAddr;

use axum::extract::State;
use serde::Serialize;

use crate::api::error::Problem;
use crate::api::extract::{Cidr, InPath, Json, Path, PathParameter, Query, Several, addresses, parameters};
use crate::api::page::{List, PageQuery, Period, SortField};
use crate::api::whose::WhoseQuery;
use crate::api::{ApiError, ApiState};
use crate::json::{protocol_name, words};
use crate::store::{AlertFilter, AlertSort, FlowFilter, HostSort, HostTotals, Position, TrafficShare};
use nta_core::baseline::{HostBaseline, Level};
use nta_core::domain::Timestamp;

use super::alerts::AlertItem;

impl SortField for HostSort {
    const ALL: &'static [(&'static str, Self)] =
        &[("bytes", Self::Bytes), ("packets", Self::Packets), ("flows", Self::Flows), ("last_time", Self::LastTime)];
}

impl PathParameter for IpAddr {
    const NAME: &'static str = "ip";
    const ABOUT: &'static str = "IPv4 or IPv6 address of the host.";
}

/// Peers, ports and alerts that a profile names.
const TOP: u32 = 10;

/// What a host did: in a list of a time, the sums of its stored flows that went on in it, each as a whole; else the sums of all that was
/// seen of it since its first packet, also of flows that are not stored any more.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct HostJson {
    /// Name of the sensor that saw it; null where it was not noted, and where several are summed up.
    sensor: Option<String>,
    /// Its address.
    address: String,
    /// Whether it is in the own networks (`detect.local_networks`) of a sensor that saw it; null where it is no host's: multicast, broadcast, unspecified.
    inside: Option<bool>,
    flows: i64,
    /// Flows that it began.
    flows_out: i64,
    /// Flows that others began.
    flows_in: i64,
    packets_sent: i64,
    packets_received: i64,
    bytes_sent: i64,
    bytes_received: i64,
    /// First packet.
    #[schema(format = DateTime)]
    first_time: String,
    /// Last packet.
    #[schema(format = DateTime)]
    last_time: String,
}

/// A host's profile.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(in crate::api) struct HostProfile {
    #[serde(flatten)]
    totals: HostJson,
    /// How many stored flows peers and ports are taken from: of either end the newest 10,000. Where `flows` is more, the sums of the host
    /// are larger than those of its peers and ports.
    flows_looked_at: i64,
    /// The ten peers with the most bytes in these flows.
    top_peers: Vec<PeerJson>,
    /// The ten ports with the most bytes in these flows: its own that others ask for, and others' that it asks for.
    top_ports: Vec<PortJson>,
    /// What is usual for it; null when nothing is learned of it.
    baseline: Option<HostBaselineJson>,
    /// The ten newest alerts about it.
    alerts: Vec<AlertItem>,
    /// Where a gateway translates: the ten hosts with the most bytes whose flows have this address as `source_nat` or
    /// `destination_nat`. They are counted under their own addresses, and none of it here.
    stands_for: Vec<PeerJson>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct PeerJson {
    address: String,
    flows: i64,
    bytes: i64,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct PortJson {
    port: u16,
    protocol: String,
    /// `own` when others ask for it, `peer` when the host asks for it.
    side: &'static str,
    flows: i64,
    bytes: i64,
}

/// What is usual for a host in a window of 30 s.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct HostBaselineJson {
    /// `ready` when it is used.
    #[schema(value_type = words::LearningState)]
    state: &'static str,
    samples: u32,
    bytes_sent_per_s: LevelJson,
    bytes_received_per_s: LevelJson,
    new_flows_per_s: LevelJson,
    peers: LevelJson,
    ports: LevelJson,
    rtt_ms: LevelJson,
}

/// A usual value and its usual absolute deviation.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct LevelJson {
    level: f64,
    deviation: f64,
}

impl From<Level> for LevelJson {
    fn from(level: Level) -> Self {
        Self { level: level.level, deviation: level.deviation }
    }
}

impl HostJson {
    fn new(totals: HostTotals, inside: Option<bool>) -> Self {
        let time = |ns: i64| Timestamp::from_nanos(u64::try_from(ns).unwrap_or_default()).to_string();
        Self {
            sensor: totals.sensor,
            inside,
            address: totals.host,
            flows: totals.flows,
            flows_out: totals.flows_out,
            flows_in: totals.flows_in,
            packets_sent: totals.packets_sent,
            packets_received: totals.packets_received,
            bytes_sent: totals.bytes_sent,
            bytes_received: totals.bytes_received,
            first_time: time(totals.first_ns),
            last_time: time(totals.last_ns),
        }
    }
}

parameters! {
    /// Which hosts.
    pub(in crate::api) struct HostsQuery {
        /// Address, network as in 192.0.2.0/24, or several of these.
        "host" => hosts: Several<Cidr>,
        ..whose: WhoseQuery,
        ..period: Period,
        ..page: PageQuery<HostSort>,
    }
}

/// A page of hosts, those with the most bytes first unless `sort` says otherwise.
///
/// Without `from` and `to`, or from 0 on, it has every host, with the sums of all that was seen of it. With another time it has the
/// hosts of the stored flows that went on in that time, as `/api/flows` lists them, with the sums of these flows, each as a whole; of a
/// time with more than 50,000 flows it is refused.
#[utoipa::path(
    get,
    path = "/api/hosts",
    operation_id = "list_hosts",
    tag = "hosts",
    params(HostsQuery),
    responses(
        (status = 200, description = "The page.", body = List<HostJson>),
        (status = 422, description = "More would be read than may be; `detail` says what to ask for instead.",
            body = Problem, content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn list(
    State(state): State<ApiState>,
    Query(HostsQuery { hosts, whose, period, page }): Query<HostsQuery>,
) -> Result<Json<List<HostJson>>, ApiError> {
    let scope = state.scope(whose).await?;
    let range = page.range_or_all(period, &scope, &state).await?;
    let is_all = range.to.is_none() && range.from.is_none_or(|from| from.as_nanos() == 0);
    let hosts = if is_all {
        state.store.hosts(&addresses(hosts.as_ref()), &scope.whose, page.sort, page.position).await?
    } else {
        let hosts = addresses(hosts.as_ref());
        let filter = FlowFilter { hosts, from: range.from, to: range.to, whose: scope.whose, ..FlowFilter::default() };
        state.store.hosts_between(&filter, page.sort, page.position).await?
    };
    let insides = state.insides().await;
    let host = |totals: HostTotals| {
        let inside = insides.holds(&totals.host, totals.sensor.iter().map(String::as_str));
        HostJson::new(totals, inside)
    };
    let items = hosts.items.into_iter().map(host).collect();
    Ok(Json(page.list(items, hosts.next, range)))
}

parameters! {
    /// As whom.
    pub(in crate::api) struct HostQuery {
        ..whose: WhoseQuery,
    }
}

/// A host's profile: totals, peers, ports, what is usual, alerts.
#[utoipa::path(
    get,
    path = "/api/hosts/{ip}",
    operation_id = "get_host",
    tag = "hosts",
    params(InPath<IpAddr>, HostQuery),
    responses(
        (status = 200, description = "The profile.", body = HostProfile),
        (status = 404, description = "This host was not seen, it is an address that a gateway translates others to \
            (which hosts it stands for is said), or what is stored of it cannot be read; `detail` says which.",
            body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(in crate::api) async fn one(
    State(state): State<ApiState>,
    Query(HostQuery { whose }): Query<HostQuery>,
    Path(address): Path<IpAddr>,
) -> Result<Json<HostProfile>, ApiError> {
    let is_one = whose.is_one();
    let whose = state.scope(whose).await?.whose;
    let rows = state.store.host(address, &whose).await?;
    let insides = state.insides().await;
    let seen_by: Vec<String> = rows.iter().filter_map(|row| row.sensor.clone()).collect();
    let inside = insides.holds(&address.to_string(), seen_by.iter().map(String::as_str));
    let totals = rows.into_iter().reduce(|sum, row| sum.and(&row));
    let stands_for = state.store.stands_for(address, &whose, TOP).await?;
    let totals = totals.ok_or_else(|| ApiError::NotFound { detail: unknown(address, &stands_for) })?;
    let hides_parts = !is_one;
    let filter = AlertFilter { host: address.into(), whose: whose.clone(), hides_parts, ..AlertFilter::default() };
    let newest = Position { descending: true, after: None, limit: TOP };
    let alerts = state.store.alerts(&filter, AlertSort::Time, newest).await?;
    let (baselines, _) = state.tools.known().await?;
    let warm_up = state.analysis.baseline.warm_up_windows;
    Ok(Json(HostProfile {
        totals: HostJson::new(totals, inside),
        flows_looked_at: state.store.profile_flows(address, &whose).await?,
        top_peers: state.store.top_peers(address, &whose, TOP).await?.into_iter().map(peer).collect(),
        top_ports: state.store.top_ports(address, &whose, TOP).await?.iter().map(port).collect(),
        baseline: baselines.hosts.get(&address).map(|host| baseline(host, warm_up)),
        alerts: alerts.items.into_iter().map(|stored| AlertItem::new(stored, &insides)).collect(),
        stands_for: stands_for.into_iter().map(peer).collect(),
    }))
}

/// Why an address has no profile.
fn unknown(address: IpAddr, stands_for: &[TrafficShare]) -> String {
    if stands_for.is_empty() {
        return format!("the host {address} was not seen");
    }
    let hosts: Vec<&str> = stands_for.iter().map(|host| host.what.as_str()).collect();
    format!(
        "{address} is no host, but what a gateway translates others to; the flows are counted under their own addresses: {}",
        hosts.join(", ")
    )
}

fn peer(share: TrafficShare) -> PeerJson {
    PeerJson { address: share.what, flows: share.flows, bytes: share.bytes }
}

fn port(share: &TrafficShare) -> PortJson {
    PortJson {
        port: share.what.parse().unwrap_or_default(),
        protocol: protocol_name(share.proto),
        side: if share.is_responder { "own" } else { "peer" },
        flows: share.flows,
        bytes: share.bytes,
    }
}

fn baseline(host: &HostBaseline, warm_up: u32) -> HostBaselineJson {
    HostBaselineJson {
        state: if host.samples >= warm_up { "ready" } else { "warm_up" },
        samples: host.samples,
        bytes_sent_per_s: host.bytes_sent.into(),
        bytes_received_per_s: host.bytes_received.into(),
        new_flows_per_s: host.new_flows.into(),
        peers: host.peers.into(),
        ports: host.ports.into(),
        rtt_ms: host.rtt_ms.into(),
    }
}
