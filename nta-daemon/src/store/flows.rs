//! Reading the table `flows`.

use std::net::IpAddr;

use nta_common::flow::Counts;
use sqlx::{FromRow, QueryBuilder, Sqlite};

use super::hosts::interval;
use super::{Key, Position, Store, StoreError, from_sql};
use nta_core::domain::{ConnState, EndReason, Endpoint, FlowId, FlowRecord, History, TcpCounts, Timestamp};

/// Order of a list of flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowSort {
    /// By first packet, which never changes: a walk in this order meets every flow exactly once.
    Time,
    /// By last packet, which changes while the flow is alive.
    LastTime,
}

impl FlowSort {
    const fn column(self) -> &'static str {
        match self {
            Self::Time => "first_ns",
            Self::LastTime => "last_ns",
        }
    }

    const fn key(self, row: &Row) -> Key {
        let value = match self {
            Self::Time => row.first_ns,
            Self::LastTime => row.last_ns,
        };
        Key { value, id: row.id }
    }
}

/// Which flows.
#[derive(Clone, Copy, Debug, Default)]
pub struct FlowFilter {
    /// With this host at either end.
    pub host: Option<IpAddr>,
    /// With this port at either end.
    pub port: Option<u16>,
    /// Of this IP protocol.
    pub proto: Option<u8>,
    /// With a packet at this time or later.
    pub from: Option<Timestamp>,
    /// With a packet before this time.
    pub to: Option<Timestamp>,
}

impl FlowFilter {
    fn push(&self, query: &mut QueryBuilder<Sqlite>) {
        query.push(" WHERE 1 = 1");
        if let Some(host) = self.host {
            query.push(" AND ").push_bind(host.to_string()).push(" IN (orig_addr, resp_addr)");
        }
        if let Some(port) = self.port {
            query.push(" AND ").push_bind(port).push(" IN (orig_port, resp_port)");
        }
        if let Some(proto) = self.proto {
            query.push(" AND proto = ").push_bind(proto);
        }
        interval(query, self.from, self.to);
    }
}

/// Some flows, and where the next page begins.
#[derive(Clone, Debug)]
pub struct FlowPage {
    /// The flows.
    pub items: Vec<FlowRecord>,
    /// Key of the last one, when there are more behind it.
    pub next: Option<Key>,
}

impl Store {
    /// A page of all flows.
    pub async fn flows(&self, sort: FlowSort, position: Position) -> Result<FlowPage, StoreError> {
        self.find_flows(&FlowFilter::default(), sort, position).await
    }

    /// A page of the flows that pass the filter.
    pub async fn find_flows(
        &self,
        filter: &FlowFilter,
        sort: FlowSort,
        position: Position,
    ) -> Result<FlowPage, StoreError> {
        let mut query = QueryBuilder::new("SELECT * FROM flows");
        filter.push(&mut query);
        position.and_one().push(&mut query, sort.column());
        let mut rows: Vec<Row> =
            query.build_query_as().fetch_all(&self.read).await.map_err(StoreError::query("flows"))?;
        let next = position.cut(&mut rows, |row| sort.key(row));
        Ok(FlowPage { items: rows.iter().map(Row::record).collect::<Result<_, _>>()?, next })
    }

    /// The flows with the latest last packet, latest first.
    pub async fn last_flows(&self, count: u32) -> Result<Vec<FlowRecord>, StoreError> {
        let position = Position { descending: true, after: None, limit: count };
        Ok(self.flows(FlowSort::LastTime, position).await?.items)
    }

    /// How many flows are stored.
    pub async fn flow_count(&self) -> Result<u64, StoreError> {
        let count = sqlx::query_scalar("SELECT count(*) FROM flows").fetch_one(&self.read).await;
        Ok(from_sql(count.map_err(StoreError::query("flows"))?))
    }
}

#[derive(FromRow)]
struct Row {
    id: i64,
    proto: u8,
    orig_addr: String,
    orig_port: u16,
    resp_addr: String,
    resp_port: u16,
    vlan: u16,
    first_ns: i64,
    last_ns: i64,
    orig_packets: i64,
    orig_bytes: i64,
    orig_ip_bytes: i64,
    resp_packets: i64,
    resp_bytes: i64,
    resp_ip_bytes: i64,
    handshake_resp_us: u32,
    handshake_orig_us: u32,
    state: i64,
    tcp: Option<String>,
    conn_state: String,
    history: String,
    orig_payload: Option<i64>,
    resp_payload: Option<i64>,
}

impl Row {
    fn record(&self) -> Result<FlowRecord, StoreError> {
        let [orig_tcp, resp_tcp] = match &self.tcp {
            None => [TcpCounts::default(); 2],
            Some(text) => serde_json::from_str::<[TcpRow; 2]>(text)
                .map_err(|error| self.corrupt(format!("tcp: {error}")))?
                .map(tcp_from_row),
        };
        Ok(FlowRecord {
            id: FlowId(self.id.cast_unsigned()),
            proto: self.proto,
            originator: Endpoint {
                address: self.address(&self.orig_addr)?,
                port: self.orig_port,
                sent: counts(self.orig_packets, self.orig_bytes, self.orig_ip_bytes),
                tcp: orig_tcp,
                payload_bytes: self.orig_payload.map(from_sql),
            },
            responder: Endpoint {
                address: self.address(&self.resp_addr)?,
                port: self.resp_port,
                sent: counts(self.resp_packets, self.resp_bytes, self.resp_ip_bytes),
                tcp: resp_tcp,
                payload_bytes: self.resp_payload.map(from_sql),
            },
            vlan: self.vlan,
            first: Timestamp::from_nanos(from_sql(self.first_ns)),
            last: Timestamp::from_nanos(from_sql(self.last_ns)),
            handshake_us: [self.handshake_resp_us, self.handshake_orig_us],
            conn_state: ConnState::parse(&self.conn_state).unwrap_or_default(),
            history: History::parse(&self.history),
            ended: self.ended()?,
        })
    }

    fn address(&self, text: &str) -> Result<IpAddr, StoreError> {
        text.parse().map_err(|error| self.corrupt(format!("address `{text}`: {error}")))
    }

    fn ended(&self) -> Result<Option<EndReason>, StoreError> {
        match self.state {
            0 => Ok(None),
            1 => Ok(Some(EndReason::Closed)),
            2 => Ok(Some(EndReason::Idle)),
            3 => Ok(Some(EndReason::Shutdown)),
            other => Err(self.corrupt(format!("state {other}"))),
        }
    }

    const fn corrupt(&self, reason: String) -> StoreError {
        StoreError::Corrupt { table: "flows", id: self.id, reason }
    }
}

/// The column `state`.
pub(super) const fn state(ended: Option<EndReason>) -> i64 {
    match ended {
        None => 0,
        Some(EndReason::Closed) => 1,
        Some(EndReason::Idle) => 2,
        Some(EndReason::Shutdown) => 3,
    }
}

/// One direction in the column `tcp`: the fields of [`TcpCounts`] in order. New ones are appended.
pub(super) type TcpRow = [u32; 9];

pub(super) const fn tcp_row(tcp: &TcpCounts) -> TcpRow {
    let TcpCounts { syn, syn_ack, syn_retry, fin, rst, retransmissions, out_of_order, dup_acks, zero_windows } = *tcp;
    [syn, syn_ack, syn_retry, fin, rst, retransmissions, out_of_order, dup_acks, zero_windows]
}

const fn tcp_from_row(row: TcpRow) -> TcpCounts {
    let [syn, syn_ack, syn_retry, fin, rst, retransmissions, out_of_order, dup_acks, zero_windows] = row;
    TcpCounts { syn, syn_ack, syn_retry, fin, rst, retransmissions, out_of_order, dup_acks, zero_windows }
}

fn counts(packets: i64, bytes: i64, ip_bytes: i64) -> Counts {
    Counts { packets: from_sql(packets), bytes: from_sql(bytes), ip_bytes: from_sql(ip_bytes) }
}
