//! Reading the table `flows`.

use std::net::{IpAddr, SocketAddr};

use super::db::{self, Dialect};
use super::flow_group::{GroupRow, Many, StoredFlow, many_or};
use super::list::{Listed, Placed};
use super::rows::{from_address, outer};
use super::sensor::{sensor, sensor_of_run};
use super::unreadable::Unreadable;
use super::{FlowFilter, Key, Position, Store, StoreError, from_sql};
use nta_common::flow::Counts;
use nta_core::domain::{
    ConnState, EndReason, Endpoint, FlowId, FlowRecord, History, Load, Nesting, Service, TcpCounts, Timestamp,
};

/// Order of a list of flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowSort {
    /// By first packet, which never changes: a walk in this order meets every flow exactly once.
    Time,
    /// By last packet, which changes while the flow is alive.
    LastTime,
    /// By bytes of both directions.
    Bytes,
    /// By packets of both directions.
    Packets,
}

impl FlowSort {
    const fn column(self) -> &'static str {
        match self {
            Self::LastTime => "last_ns",
            Self::Time | Self::Bytes | Self::Packets => "first_ns",
        }
    }

    /// Whether it is one of a size, by which there is no index.
    const fn is_size(self) -> bool {
        matches!(self, Self::Bytes | Self::Packets)
    }

    /// What it sorts by, of the columns of `of`. A size never overflows, whatever is stored.
    pub(super) fn value(self, dialect: Dialect, of: &str) -> String {
        let least = if dialect == Dialect::Postgres { "least" } else { "min" };
        let sum = |what| format!("{least}({of}orig_{what}, {MOST_HALF}) + {least}({of}resp_{what}, {MOST_HALF})");
        match self {
            Self::Bytes => sum("bytes"),
            Self::Packets => sum("packets"),
            time => format!("{of}{}", time.column()),
        }
    }
}

/// Half of what a column holds at most.
const MOST_HALF: i64 = i64::MAX / 2;

/// What is read of a flow.
pub(super) const FLOWS: &str = concat!("*, ", sensor_of_run!(), " AS sensor");

const fn flows_by(sort: FlowSort) -> Listed {
    Listed { table: "flows", columns: FLOWS, order: sort.column(), id: "number" }
}

/// Some flows, and where the next page begins.
#[derive(Clone, Debug)]
pub struct FlowPage {
    /// The flows.
    pub items: Vec<StoredFlow>,
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
        let all = position.and_one();
        if sort.is_size() {
            let (items, next) = position.cut(self.flows_by_size(filter, sort, all).await?);
            return Ok(FlowPage { items, next });
        }
        let few = filter.few().filter(|_| sort == FlowSort::LastTime);
        let few = match filter.few_of_network().or(few) {
            Some(few) => self.list_by(&flows_by(sort), &few, all, flow).await?,
            None => None,
        };
        let rows = match few {
            Some(rows) => rows,
            None => self.flows_between(filter, sort, all).await?,
        };
        let (items, next) = position.cut(rows);
        Ok(FlowPage { items, next })
    }

    /// Where a stored flow stands in a list; `None` where there is none of that id.
    pub async fn flow_key(&self, id: u64, sort: FlowSort) -> Result<Option<Key>, StoreError> {
        let value = sort.value(self.database.dialect(), "f.");
        let query = db::Query::new(format!(
            "SELECT {value} AS value, f.number AS id FROM runs r CROSS JOIN flows f WHERE f.run_id = r.id AND f.id = $1 ORDER BY 2 DESC LIMIT 1"
        ));
        let key = |row: &db::Row| Ok(Key { value: row.int("value")?, id: row.int("id")? });
        Ok(self.read("flows", query.bind(id.cast_signed()), key).await?.into_iter().next())
    }

    /// Those within the range, and beside them those that reach into it from afar: in the order of the list one comes behind
    /// the other.
    pub(super) async fn flows_between(
        &self,
        filter: &FlowFilter,
        sort: FlowSort,
        position: Position,
    ) -> Result<Vec<Placed<StoredFlow>>, StoreError> {
        let (within, beside) = match sort {
            FlowSort::Time | FlowSort::Bytes | FlowSort::Packets => (filter.by_first(), filter.older()),
            FlowSort::LastTime => (vec![filter.by_last()], filter.longer()),
        };
        // What is older comes first in the order of first packets, what is longer last in that of last ones.
        let is_beside_first = position.descending == (sort == FlowSort::LastTime);
        let is_passed = |ends: i64| match position.after {
            Some(after) if is_beside_first => (after.value < ends) == position.descending,
            _ => false,
        };
        let beside = beside.filter(|(ends, _)| !is_passed(*ends)).map(|(_, way)| vec![way]);
        let parts = if is_beside_first { [beside, Some(within)] } else { [Some(within), beside] };
        let mut rows = Vec::new();
        for ways in parts.into_iter().flatten() {
            let limit = position.limit - u32::try_from(rows.len()).unwrap_or(position.limit);
            if limit > 0 {
                rows.extend(self.list(&flows_by(sort), &ways, Position { limit, ..position }, flow).await?);
            }
        }
        Ok(rows)
    }

    /// The flows with the latest last packet, latest first.
    pub async fn last_flows(&self, count: u32) -> Result<Vec<StoredFlow>, StoreError> {
        let position = Position { descending: true, after: None, limit: count };
        Ok(self.flows(FlowSort::LastTime, position).await?.items)
    }

    /// How many flows are stored.
    pub async fn flow_count(&self) -> Result<u64, StoreError> {
        self.total("flows").await
    }
}

/// The flow of a row.
pub(super) fn flow(row: &db::Row) -> Result<StoredFlow, Unreadable> {
    Ok(Columns::read(row)?.record()?)
}

struct Columns {
    sensor: Option<String>,
    number: i64,
    id: i64,
    proto: u8,
    orig_addr: Vec<u8>,
    orig_port: u16,
    resp_addr: Vec<u8>,
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
    orig_nat: Option<String>,
    resp_nat: Option<String>,
    parents: Option<String>,
    service: Option<String>,
    grouped: Option<i64>,
    members: Option<String>,
    /// Packets and bytes of originator and responder.
    opened: [[Option<i64>; 2]; 2],
}

impl Columns {
    fn read(row: &db::Row) -> Result<Self, sqlx::Error> {
        Ok(Self {
            sensor: sensor(row),
            number: row.int("number")?,
            id: row.int("id")?,
            proto: row.small("proto")?,
            orig_addr: row.blob("orig_addr")?,
            orig_port: row.small("orig_port")?,
            resp_addr: row.blob("resp_addr")?,
            resp_port: row.small("resp_port")?,
            vlan: row.small("vlan")?,
            first_ns: row.natural("first_ns")?,
            last_ns: row.natural("last_ns")?,
            orig_packets: row.natural("orig_packets")?,
            orig_bytes: row.natural("orig_bytes")?,
            orig_ip_bytes: row.natural("orig_ip_bytes")?,
            resp_packets: row.natural("resp_packets")?,
            resp_bytes: row.natural("resp_bytes")?,
            resp_ip_bytes: row.natural("resp_ip_bytes")?,
            handshake_resp_us: row.small("handshake_resp_us")?,
            handshake_orig_us: row.small("handshake_orig_us")?,
            state: row.int("state")?,
            tcp: row.opt_text("tcp")?,
            conn_state: row.text("conn_state")?,
            history: row.text("history")?,
            orig_payload: row.opt_natural("orig_payload")?,
            resp_payload: row.opt_natural("resp_payload")?,
            orig_nat: row.opt_text("orig_nat")?,
            resp_nat: row.opt_text("resp_nat")?,
            parents: row.opt_text("parents")?,
            service: row.opt_text("service")?,
            grouped: row.opt_natural("grouped")?,
            members: row.opt_text("members")?,
            opened: [
                [row.opt_natural("orig_opened_packets")?, row.opt_natural("orig_opened_bytes")?],
                [row.opt_natural("resp_opened_packets")?, row.opt_natural("resp_opened_bytes")?],
            ],
        })
    }

    fn record(&self) -> Result<StoredFlow, StoreError> {
        let [orig_tcp, resp_tcp] = match &self.tcp {
            None => [TcpCounts::default(); 2],
            Some(text) => serde_json::from_str::<[Vec<u32>; 2]>(text)
                .map_err(|error| self.corrupt(format!("tcp: {error}")))?
                .map(|fields| tcp_from_row(&fields)),
        };
        let flow = FlowRecord {
            id: FlowId(self.id.cast_unsigned()),
            proto: self.proto,
            originator: Endpoint {
                address: self.address(&self.orig_addr, &self.resp_addr)?,
                port: self.orig_port,
                sent: counts(self.orig_packets, self.orig_bytes, self.orig_ip_bytes),
                tcp: orig_tcp,
                payload_bytes: self.orig_payload.map(from_sql),
                translated: self.translated(self.orig_nat.as_deref())?,
            },
            responder: Endpoint {
                address: self.address(&self.resp_addr, &self.orig_addr)?,
                port: self.resp_port,
                sent: counts(self.resp_packets, self.resp_bytes, self.resp_ip_bytes),
                tcp: resp_tcp,
                payload_bytes: self.resp_payload.map(from_sql),
                translated: self.translated(self.resp_nat.as_deref())?,
            },
            nesting: self.nesting()?,
            vlan: self.vlan,
            first: Timestamp::from_nanos(from_sql(self.first_ns)),
            last: Timestamp::from_nanos(from_sql(self.last_ns)),
            handshake_us: [self.handshake_resp_us, self.handshake_orig_us],
            // A name that a later version gave is none here.
            service: self.service.as_deref().and_then(Service::parse),
            conn_state: ConnState::parse(&self.conn_state).unwrap_or_default(),
            history: History::parse(&self.history),
            ended: self.ended()?,
        };
        Ok(StoredFlow { sensor: self.sensor.clone(), item: flow, many: self.many()? })
    }

    fn many(&self) -> Result<Option<Many>, StoreError> {
        let Some(flows) = self.grouped else { return Ok(None) };
        let members = GroupRow::read(flows, self.members.as_deref().unwrap_or_default());
        members.map(Some).map_err(|error| self.corrupt(format!("members: {error}")))
    }

    fn address(&self, bytes: &[u8], other: &[u8]) -> Result<IpAddr, StoreError> {
        let address = if self.grouped.is_some() { many_or(bytes, other) } else { from_address(bytes) };
        address.ok_or_else(|| self.corrupt(format!("an address of {} bytes", bytes.len())))
    }

    fn translated(&self, name: Option<&str>) -> Result<Option<SocketAddr>, StoreError> {
        name.map(|name| name.parse().map_err(|error| self.corrupt(format!("`{name}`: {error}")))).transpose()
    }

    fn nesting(&self) -> Result<Nesting, StoreError> {
        let outer =
            outer(self.parents.as_deref()).ok_or_else(|| self.corrupt(format!("parents {:?}", self.parents)))?;
        let load = |side: [Option<i64>; 2]| {
            let [packets, bytes] = side.map(|number| from_sql(number.unwrap_or_default()));
            Load { packets, bytes }
        };
        Ok(Nesting::within(outer, self.opened.map(load)))
    }

    fn ended(&self) -> Result<Option<EndReason>, StoreError> {
        match self.state {
            0 => Ok(None),
            1 => Ok(Some(EndReason::Closed)),
            2 => Ok(Some(EndReason::Idle)),
            3 => Ok(Some(EndReason::Shutdown)),
            4 => Ok(Some(EndReason::Interrupted)),
            other => Err(self.corrupt(format!("state {other}"))),
        }
    }

    const fn corrupt(&self, reason: String) -> StoreError {
        StoreError::Corrupt { table: "flows", id: self.number, reason }
    }
}

/// The column `state`.
pub(super) const fn state(ended: Option<EndReason>) -> i64 {
    match ended {
        None => 0,
        Some(EndReason::Closed) => 1,
        Some(EndReason::Idle) => 2,
        Some(EndReason::Shutdown) => 3,
        Some(EndReason::Interrupted) => 4,
    }
}

/// One direction in the column `tcp`: the fields of [`TcpCounts`] in order. New ones are appended.
pub(super) type TcpRow = [u32; 10];

pub(super) const fn tcp_row(tcp: &TcpCounts) -> TcpRow {
    let &TcpCounts {
        syn,
        syn_ack,
        syn_retry,
        fin,
        rst,
        retransmissions,
        out_of_order,
        dup_acks,
        zero_windows,
        duplicates,
    } = tcp;
    [syn, syn_ack, syn_retry, fin, rst, retransmissions, out_of_order, dup_acks, zero_windows, duplicates]
}

/// Rows of before have fewer fields; what they do not have is 0.
pub(super) fn tcp_from_row(fields: &[u32]) -> TcpCounts {
    let mut row = TcpRow::default();
    row.iter_mut().zip(fields).for_each(|(field, stored)| *field = *stored);
    let [syn, syn_ack, syn_retry, fin, rst, retransmissions, out_of_order, dup_acks, zero_windows, duplicates] = row;
    TcpCounts { syn, syn_ack, syn_retry, fin, rst, retransmissions, out_of_order, dup_acks, zero_windows, duplicates }
}

fn counts(packets: i64, bytes: i64, ip_bytes: i64) -> Counts {
    Counts { packets: from_sql(packets), bytes: from_sql(bytes), ip_bytes: from_sql(ip_bytes) }
}
