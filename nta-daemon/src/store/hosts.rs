//! Hosts, as sums over the stored flows.

use std::net::IpAddr;

use sqlx::{FromRow, QueryBuilder, Sqlite};

use super::{Key, Position, Store, StoreError, to_sql};
use nta_core::domain::Timestamp;

/// Each flow once for each of its ends.
const SIDES: &str = "(SELECT (id & -2) AS side, orig_addr AS host, resp_addr AS peer, resp_port AS port, proto, \
    0 AS is_responder, orig_packets AS packets_sent, resp_packets AS packets_received, orig_bytes AS bytes_sent, \
    resp_bytes AS bytes_received, first_ns, last_ns FROM flows \
    UNION ALL SELECT (id | 1), resp_addr, orig_addr, resp_port, proto, 1, resp_packets, orig_packets, resp_bytes, \
    orig_bytes, first_ns, last_ns FROM flows)";

const SUMS: &str = "count(*) AS flows, sum(1 - is_responder) AS flows_out, sum(is_responder) AS flows_in, \
    sum(packets_sent) AS packets_sent, sum(packets_received) AS packets_received, sum(bytes_sent) AS bytes_sent, \
    sum(bytes_received) AS bytes_received, min(first_ns) AS first_ns, max(last_ns) AS last_ns";

/// What a host did in the stored flows.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct HostTotals {
    /// Its address.
    pub host: String,
    /// Flows.
    pub flows: i64,
    /// Of these, as originator.
    pub flows_out: i64,
    /// Of these, as responder.
    pub flows_in: i64,
    /// Packets sent.
    pub packets_sent: i64,
    /// Packets received.
    pub packets_received: i64,
    /// Frame bytes sent.
    pub bytes_sent: i64,
    /// Frame bytes received.
    pub bytes_received: i64,
    /// First packet, in nanoseconds.
    pub first_ns: i64,
    /// Last packet.
    pub last_ns: i64,
    side: i64,
    value: i64,
}

/// Order of a list of hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostSort {
    /// By frame bytes sent and received.
    Bytes,
    /// By packets sent and received.
    Packets,
    /// By flows.
    Flows,
    /// By last packet.
    LastTime,
}

impl HostSort {
    const fn value(self) -> &'static str {
        match self {
            Self::Bytes => "sum(bytes_sent + bytes_received)",
            Self::Packets => "sum(packets_sent + packets_received)",
            Self::Flows => "count(*)",
            Self::LastTime => "max(last_ns)",
        }
    }
}

/// Some hosts, and where the next page begins.
#[derive(Clone, Debug)]
pub struct HostPage {
    /// The hosts.
    pub items: Vec<HostTotals>,
    /// Key of the last one, when there are more behind it.
    pub next: Option<Key>,
}

/// A peer or a port, and how much of a host's traffic it has.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct Share {
    /// Address of the peer, or number of the port.
    pub what: String,
    /// IP protocol number; 0 for a peer.
    pub proto: u8,
    /// Whether the host is the responder: the port is its own.
    pub is_responder: bool,
    /// Flows.
    pub flows: i64,
    /// Frame bytes of both directions.
    pub bytes: i64,
}

impl Store {
    /// A page of hosts in the flows with a packet from `from` to `to`.
    pub async fn hosts(
        &self,
        [from, to]: [Option<Timestamp>; 2],
        sort: HostSort,
        position: Position,
    ) -> Result<HostPage, StoreError> {
        let mut query = QueryBuilder::new(format!(
            "SELECT * FROM (SELECT host, min(side) AS side, {} AS value, {SUMS} FROM {SIDES} WHERE 1 = 1",
            sort.value()
        ));
        interval(&mut query, from, to);
        query.push(" GROUP BY host) WHERE 1 = 1");
        position.and_one().push_by(&mut query, "value", "side");
        let rows = query.build_query_as().fetch_all(&self.read).await;
        let mut items: Vec<HostTotals> = rows.map_err(StoreError::query("flows"))?;
        let next = position.cut(&mut items, |host| Key { value: host.value, id: host.side });
        Ok(HostPage { items, next })
    }

    /// One host; `None` when no stored flow has it.
    pub async fn host(&self, address: IpAddr) -> Result<Option<HostTotals>, StoreError> {
        let mut query =
            QueryBuilder::new(format!("SELECT host, min(side) AS side, 0 AS value, {SUMS} FROM {SIDES} WHERE host = "));
        query.push_bind(address.to_string()).push(" GROUP BY host");
        query.build_query_as().fetch_optional(&self.read).await.map_err(StoreError::query("flows"))
    }

    /// The peers of a host with the most bytes.
    pub async fn top_peers(&self, address: IpAddr, most: u32) -> Result<Vec<Share>, StoreError> {
        self.shares("peer", "0", "min(is_responder)", "peer", address, most).await
    }

    /// The ports of a host with the most flows: its own as responder, its peers' as originator.
    pub async fn top_ports(&self, address: IpAddr, most: u32) -> Result<Vec<Share>, StoreError> {
        self.shares("CAST(port AS TEXT)", "proto", "is_responder", "port, proto, is_responder", address, most).await
    }

    /// All words come from this file, never from a client.
    async fn shares(
        &self,
        what: &str,
        proto: &str,
        is_responder: &str,
        group: &str,
        address: IpAddr,
        most: u32,
    ) -> Result<Vec<Share>, StoreError> {
        let mut query = QueryBuilder::new(format!(
            "SELECT {what} AS what, {proto} AS proto, {is_responder} AS is_responder, count(*) AS flows, \
             sum(bytes_sent + bytes_received) AS bytes FROM {SIDES} WHERE host = "
        ));
        query.push_bind(address.to_string());
        query.push(format_args!(" GROUP BY {group} ORDER BY bytes DESC, flows DESC, what LIMIT "));
        query.push_bind(i64::from(most));
        query.build_query_as().fetch_all(&self.read).await.map_err(StoreError::query("flows"))
    }
}

/// Flows with a packet in the interval.
pub(super) fn interval(query: &mut QueryBuilder<Sqlite>, from: Option<Timestamp>, to: Option<Timestamp>) {
    if let Some(from) = from {
        query.push(" AND last_ns >= ").push_bind(to_sql(from.as_nanos()));
    }
    if let Some(to) = to {
        query.push(" AND first_ns < ").push_bind(to_sql(to.as_nanos()));
    }
}
