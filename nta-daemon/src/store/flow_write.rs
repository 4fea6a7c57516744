//! Writing flows, and what they add to the totals of hosts and services. SQLite takes rows by the hundred in one statement, PostgreSQL few as
//! arrays and many by COPY into a staging table.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::copy::{is_copied, stage};
use super::db::{Conn, Dialect, Query, Row, Value};
use super::flow_group::remove_empty;
use super::rows::{FlowRow, address};
use super::totals::add;
use super::unreadable::usable;
use super::{StoreError, hosts, runs, sensor, services};
use nta_core::domain::{Service, service_name};

/// Rows in one statement of SQLite: more keep the state before of more pages, which costs memory and no less time. What is left over
/// goes into smaller ones, so that all are kept prepared.
const CHUNKS: [usize; 3] = [100, 10, 1];

const COLUMNS: &str = "run_id, sensor_id, id, proto, orig_addr, orig_port, resp_addr, resp_port, vlan, first_ns, last_ns, \
    orig_packets, orig_bytes, orig_ip_bytes, resp_packets, resp_bytes, resp_ip_bytes, handshake_resp_us, \
    handshake_orig_us, state, tcp, conn_state, history, orig_payload, resp_payload, orig_nat, resp_nat, \
    orig_nat_addr, orig_nat_port, resp_nat_addr, resp_nat_port, \
    parents, orig_opened_packets, orig_opened_bytes, resp_opened_packets, resp_opened_bytes, service, grouped, members";

/// All that may change. SQLite rewrites the entry of each index whose columns are named here, also where the values stay: what
/// rarely changes stands first, so that it can be left out.
const UPDATE: [&str; 3] = [
    "orig_addr = excluded.orig_addr, orig_port = excluded.orig_port, resp_addr = excluded.resp_addr, \
    resp_port = excluded.resp_port, orig_nat_addr = excluded.orig_nat_addr, orig_nat_port = excluded.orig_nat_port, \
    resp_nat_addr = excluded.resp_nat_addr, resp_nat_port = excluded.resp_nat_port, ",
    "last_ns = excluded.last_ns, ",
    "vlan = excluded.vlan, orig_packets = excluded.orig_packets, \
    orig_bytes = excluded.orig_bytes, orig_ip_bytes = excluded.orig_ip_bytes, \
    resp_packets = excluded.resp_packets, resp_bytes = excluded.resp_bytes, \
    resp_ip_bytes = excluded.resp_ip_bytes, handshake_resp_us = excluded.handshake_resp_us, \
    handshake_orig_us = excluded.handshake_orig_us, state = excluded.state, tcp = excluded.tcp, \
    conn_state = excluded.conn_state, history = excluded.history, orig_payload = excluded.orig_payload, \
    resp_payload = excluded.resp_payload, orig_nat = excluded.orig_nat, resp_nat = excluded.resp_nat, \
    parents = excluded.parents, orig_opened_packets = excluded.orig_opened_packets, \
    orig_opened_bytes = excluded.orig_opened_bytes, resp_opened_packets = excluded.resp_opened_packets, \
    resp_opened_bytes = excluded.resp_opened_bytes, service = excluded.service, grouped = excluded.grouped, \
    members = excluded.members",
];

/// The update of a flow of which the first so many parts of [`UPDATE`] are stored already.
fn update(stored_parts: usize) -> String {
    format!(" ON CONFLICT (run_id, id, first_ns) DO UPDATE SET {}", UPDATE[stored_parts..].concat())
}

/// Inserts or updates the flows of a run and its sensor, adds what is new in them to their hosts and services, but for what tunnels carry: that is counted
/// in the flows inside.
pub(super) async fn write(conn: &mut Conn, by: (i64, i64), sensor: &str, flows: &[FlowRow]) -> Result<(), StoreError> {
    if flows.is_empty() {
        return Ok(());
    }
    let is_staged = is_copied(conn, flows.len());
    let before = match conn.dialect() {
        Dialect::Sqlite => known(conn, by.0, flows).await?,
        Dialect::Postgres if is_staged => staged(conn, by, flows).await?,
        Dialect::Postgres => known_of_few(conn, by.0, flows).await?,
    };
    let (of_hosts, of_services) = grown(flows, &before);
    hosts::add(conn, sensor, &of_hosts).await?;
    services::add(conn, sensor, &of_services).await?;
    match conn.dialect() {
        Dialect::Sqlite => {
            for stored_parts in 0..UPDATE.len() {
                let is_so =
                    |flow: &&FlowRow| stored_parts == before.get(&flow.id).map_or(0, |known| known.parts_of(flow));
                let flows: Vec<&FlowRow> = flows.iter().filter(is_so).collect();
                for chunk in chunks(&flows) {
                    let mut query = Query::new(format!("INSERT INTO flows ({COLUMNS}) VALUES "));
                    query.anonymous = true;
                    query.push_rows(chunk.iter().map(|flow| values(by, flow))).push(update(stored_parts));
                    conn.execute(query).await.map_err(StoreError::query("flows"))?;
                }
            }
        }
        Dialect::Postgres if is_staged => {
            let upsert = format!("INSERT INTO flows ({COLUMNS}) SELECT {COLUMNS} FROM flows_staging{}", update(0));
            conn.execute(Query::new(upsert)).await.map_err(StoreError::query("flows"))?;
        }
        Dialect::Postgres => {
            let mut query = Query::new(format!("INSERT INTO flows ({COLUMNS}) "));
            query.push_table(conn, flows.iter().map(|flow| values(by, flow))).push(update(0));
            conn.execute(query).await.map_err(StoreError::query("flows"))?;
        }
    }
    let removed = remove_empty(conn, by.0, flows).await?;
    let new = i64::try_from(flows.len().saturating_sub(before.len())).unwrap_or(i64::MAX);
    add(conn, "flows", new.saturating_sub(i64::try_from(removed).unwrap_or(i64::MAX))).await
}

/// What was stored of these flows, by identity.
type Before = HashMap<i64, Known>;

/// What was stored of a flow.
struct Known {
    /// Packets and bytes of both directions, but for what tunnels carried.
    sums: [i64; 4],
    /// How many flows the row stood for.
    flows: i64,
    /// What SQLite's indexes have of it; `None` of PostgreSQL, which looks by itself whether they change.
    indexed: Option<Indexed>,
}

/// What indexes have of a flow and may change.
#[derive(PartialEq, Eq)]
struct Indexed {
    first_ns: i64,
    last_ns: i64,
    addresses: [[u8; 16]; 2],
    ports: [i64; 2],
    nat: [Option<([u8; 16], i64)>; 2],
}

impl Known {
    /// How many parts of [`UPDATE`] change nothing.
    fn parts_of(&self, flow: &FlowRow) -> usize {
        let Some(indexed) = &self.indexed else { return 0 };
        let now = Indexed { last_ns: indexed.last_ns, ..Indexed::of(flow) };
        if *indexed != now { 0 } else { 1 + usize::from(indexed.last_ns == flow.last_ns) }
    }
}

impl Indexed {
    fn of(flow: &FlowRow) -> Self {
        Self {
            first_ns: flow.first_ns,
            last_ns: flow.last_ns,
            addresses: [flow.orig_addr, flow.resp_addr],
            ports: [flow.orig_port, flow.resp_port].map(i64::from),
            nat: flow.translated.map(|name| name.map(|name| (address(name.ip()), i64::from(name.port())))),
        }
    }

    /// `None` where a column holds something else: it is written anew.
    fn read(row: &Row) -> Option<Self> {
        let bytes = |bytes: Vec<u8>| <[u8; 16]>::try_from(bytes).ok();
        let nat = |address, port| {
            let name = (row.opt_blob(address).ok()?, row.opt_int(port).ok()?);
            match name {
                (Some(address), Some(port)) => Some(Some((bytes(address)?, port))),
                (None, None) => Some(None),
                _ => None,
            }
        };
        Some(Self {
            first_ns: row.int("first_ns").ok()?,
            last_ns: row.int("last_ns").ok()?,
            addresses: [bytes(row.blob("orig_addr").ok()?)?, bytes(row.blob("resp_addr").ok()?)?],
            ports: [row.int("orig_port").ok()?, row.int("resp_port").ok()?],
            nat: [nat("orig_nat_addr", "orig_nat_port")?, nat("resp_nat_addr", "resp_nat_port")?],
        })
    }
}

const SUMS: &str = "f.id, f.orig_packets - coalesce(f.orig_opened_packets, 0) AS orig_packets, \
    f.orig_bytes - coalesce(f.orig_opened_bytes, 0) AS orig_bytes, \
    f.resp_packets - coalesce(f.resp_opened_packets, 0) AS resp_packets, \
    f.resp_bytes - coalesce(f.resp_opened_bytes, 0) AS resp_bytes, coalesce(f.grouped, 1) AS flows";

async fn known(conn: &mut Conn, run: i64, flows: &[FlowRow]) -> Result<Before, StoreError> {
    let mut before = Before::new();
    for chunk in chunks(flows) {
        let mut query = Query::new(format!(
            "SELECT {SUMS}, f.first_ns, f.last_ns, f.orig_addr, f.orig_port, f.resp_addr, f.resp_port, f.orig_nat_addr, \
             f.orig_nat_port, f.resp_nat_addr, f.resp_nat_port FROM flows f WHERE f.run_id = "
        ));
        query.anonymous = true;
        query.push_bind(run).push(" AND f.id IN (");
        for (index, flow) in chunk.iter().enumerate() {
            query.push(if index == 0 { "" } else { ", " }).push_bind(flow.id);
        }
        query.push(")");
        read(conn, query, &mut before).await?;
    }
    Ok(before)
}

/// Rows in parts of the sizes of [`CHUNKS`], the largest first.
fn chunks<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = CHUNKS.into_iter().find(|size| *size <= rows.len())?;
        let (chunk, rest) = rows.split_at(size);
        rows = rest;
        Some(chunk)
    })
}

/// What PostgreSQL has of a few flows.
async fn known_of_few(conn: &mut Conn, run: i64, flows: &[FlowRow]) -> Result<Before, StoreError> {
    let mut query = Query::new(format!("SELECT {SUMS} FROM ("));
    query.push_table(conn, flows.iter().map(|flow| vec![run.into(), flow.id.into(), flow.first_ns.into()]));
    query.push(") AS s JOIN flows f ON f.run_id = s.column1 AND f.id = s.column2 AND f.first_ns = s.column3");
    query.plan_anew(conn);
    let mut before = Before::new();
    read(conn, query, &mut before).await?;
    Ok(before)
}

/// Copies the rows into the staging table, and reads what is stored of them.
async fn staged(conn: &mut Conn, by: (i64, i64), flows: &[FlowRow]) -> Result<Before, StoreError> {
    let error = StoreError::query("flows");
    stage(conn, "flows", COLUMNS, flows.iter().map(|flow| values(by, flow))).await.map_err(error)?;
    let mut before = Before::new();
    let join = format!(
        "SELECT {SUMS} FROM flows_staging s JOIN flows f ON f.run_id = s.run_id AND f.id = s.id AND f.first_ns = s.first_ns"
    );
    read(conn, Query::new(join), &mut before).await?;
    Ok(before)
}

async fn read(conn: &mut Conn, query: Query, before: &mut Before) -> Result<(), StoreError> {
    let error = StoreError::query("flows");
    let rows = conn.fetch_all(query).await.map_err(&error)?;
    let is_sqlite = conn.dialect() == Dialect::Sqlite;
    let known = |row: &Row| {
        let number = |column| row.natural(column);
        let sums = [number("orig_packets")?, number("orig_bytes")?, number("resp_packets")?, number("resp_bytes")?];
        let flows = number("flows")?;
        Ok((row.int("id")?, Known { sums, flows, indexed: if is_sqlite { Indexed::read(row) } else { None } }))
    };
    // What is not to be read is written anew, as if it were new.
    before.extend(usable("flows", rows.iter().map(known)));
    Ok(())
}

/// What each host did, and what each service had, since these flows were written before.
fn grown(flows: &[FlowRow], before: &Before) -> (hosts::Grown, services::Growth) {
    let mut grown = hosts::Grown::new();
    let mut of_services = services::Growth::new();
    for flow in flows {
        let known = before.get(&flow.id);
        let [orig_packets, orig_bytes, resp_packets, resp_bytes] = known.map(|known| known.sums).unwrap_or_default();
        let [orig_opened, resp_opened] = flow.opened.unwrap_or_default();
        let orig = [flow.orig[0] - orig_opened[0] - orig_packets, flow.orig[1] - orig_opened[1] - orig_bytes];
        let resp = [flow.resp[0] - resp_opened[0] - resp_packets, flow.resp[1] - resp_opened[1] - resp_bytes];
        let new_flows = flow.flows() - known.map_or(0, |known| known.flows);
        let times = (flow.first_ns, flow.last_ns);
        let [orig_addr, resp_addr] = flow.addresses();
        grown.entry(orig_addr.try_into().ok()).or_default().add([new_flows, 0], orig, resp, times);
        grown.entry(resp_addr.try_into().ok()).or_default().add([0, new_flows], resp, orig, times);
        let content = flow.service.as_deref().and_then(Service::parse);
        let name = service_name(flow.proto, [flow.orig_port, flow.resp_port], content);
        let service = of_services.entry(services::key(flow.last_ns, name, flow.proto)).or_default();
        for (sum, grew) in service.iter_mut().zip([new_flows, orig[0] + resp[0], orig[1] + resp[1]]) {
            *sum += grew;
        }
    }
    (grown, of_services)
}

/// In the order of [`COLUMNS`].
fn values((run, sensor): (i64, i64), flow: &FlowRow) -> Vec<Value> {
    let [orig_nat, resp_nat] = flow.translated;
    let [orig_addr, resp_addr] = flow.addresses();
    let nat_address = |name: Option<SocketAddr>| name.map(|name| address(name.ip()).to_vec()).into();
    vec![
        run.into(),
        sensor.into(),
        flow.id.into(),
        i64::from(flow.proto).into(),
        Value::from(orig_addr.to_vec()),
        i64::from(flow.orig_port).into(),
        Value::from(resp_addr.to_vec()),
        i64::from(flow.resp_port).into(),
        i64::from(flow.vlan).into(),
        flow.first_ns.into(),
        flow.last_ns.into(),
        flow.orig[0].into(),
        flow.orig[1].into(),
        flow.orig[2].into(),
        flow.resp[0].into(),
        flow.resp[1].into(),
        flow.resp[2].into(),
        i64::from(flow.handshake_us[0]).into(),
        i64::from(flow.handshake_us[1]).into(),
        flow.state.into(),
        flow.tcp.clone().into(),
        flow.conn_state.as_str().into(),
        flow.history.as_str().into(),
        flow.payload[0].into(),
        flow.payload[1].into(),
        orig_nat.map(|name| name.to_string()).into(),
        resp_nat.map(|name| name.to_string()).into(),
        nat_address(orig_nat),
        orig_nat.map(|name| i64::from(name.port())).into(),
        nat_address(resp_nat),
        resp_nat.map(|name| i64::from(name.port())).into(),
        flow.parents.clone().into(),
        flow.opened.map(|[orig, _]| orig[0]).into(),
        flow.opened.map(|[orig, _]| orig[1]).into(),
        flow.opened.map(|[_, resp]| resp[0]).into(),
        flow.opened.map(|[_, resp]| resp[1]).into(),
        flow.service.clone().into(),
        flow.group.as_ref().map(|group| group.flows).into(),
        flow.group.as_ref().map(|group| group.members.clone()).into(),
    ]
}

/// Moves rows of the version before, whose addresses are text, into the tables of this one, and gives the file its
/// incremental vacuum. Does nothing where that is done.
pub(super) async fn carry_over(conn: &mut Conn) -> Result<(), StoreError> {
    let error = StoreError::query("flows_0004");
    let old = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'flows_0004'";
    if conn.dialect() != Dialect::Sqlite || conn.number(Query::new(old)).await.map_err(&error)? == 0 {
        return Ok(());
    }
    conn.begin().await.map_err(&error)?;
    let mut after = i64::MIN;
    loop {
        let next = Query::new("SELECT * FROM flows_0004 WHERE id > $1 ORDER BY id LIMIT 5000").bind(after);
        let rows = conn.fetch_all(next).await.map_err(&error)?;
        let Some(last) = rows.last() else { break };
        after = last.int("id").map_err(&error)?;
        let mut by_run: HashMap<i64, Vec<FlowRow>> = HashMap::new();
        for row in &rows {
            by_run.entry(row.int("run_id").map_err(&error)?).or_default().push(old_flow(row).map_err(&error)?);
        }
        for (run, flows) in by_run {
            let sensor = runs::row_of(conn, run).await?.map(|run| run.sensor).unwrap_or_default();
            let by = (run, sensor::number(conn, &sensor).await?);
            write(conn, by, &sensor, &flows).await?;
        }
    }
    let mut after = i64::MIN;
    loop {
        let next = Query::new("SELECT * FROM aggregated_features_0004 WHERE id > $1 ORDER BY id LIMIT 500").bind(after);
        let rows = conn.fetch_all(next).await.map_err(&error)?;
        let Some(last) = rows.last() else { break };
        after = last.int("id").map_err(&error)?;
        let mut insert = Query::new(
            "INSERT INTO aggregated_features (id, run_id, start_ns, end_ns, span_ns, host, schema_version, vector) VALUES ",
        );
        let values: Result<Vec<Vec<Value>>, sqlx::Error> = rows.iter().map(old_vector).collect();
        insert.push_rows(values.map_err(&error)?.into_iter());
        conn.execute(insert).await.map_err(&error)?;
    }
    conn.run("DROP TABLE flows_0004; DROP TABLE aggregated_features_0004; COMMIT").await.map_err(&error)?;
    conn.run("PRAGMA auto_vacuum = 2; VACUUM").await.map_err(error)
}

fn old_flow(row: &Row) -> Result<FlowRow, sqlx::Error> {
    // The daemon that wrote it is gone: nothing is active.
    let state = match row.int("state")? {
        0 => 3,
        state => state,
    };
    Ok(FlowRow {
        id: row.int("id")?,
        proto: row.small("proto")?,
        orig_addr: old_address(&row.text("orig_addr")?)?,
        orig_port: row.small("orig_port")?,
        resp_addr: old_address(&row.text("resp_addr")?)?,
        resp_port: row.small("resp_port")?,
        vlan: row.small("vlan")?,
        first_ns: row.int("first_ns")?,
        last_ns: row.int("last_ns")?,
        orig: [row.int("orig_packets")?, row.int("orig_bytes")?, row.int("orig_ip_bytes")?],
        resp: [row.int("resp_packets")?, row.int("resp_bytes")?, row.int("resp_ip_bytes")?],
        handshake_us: [row.small("handshake_resp_us")?, row.small("handshake_orig_us")?],
        state,
        tcp: row.opt_text("tcp")?,
        conn_state: row.text("conn_state")?,
        history: row.text("history")?,
        payload: [row.opt_int("orig_payload")?, row.opt_int("resp_payload")?],
        translated: [None; 2],
        parents: None,
        opened: None,
        service: None,
        group: None,
    })
}

fn old_vector(row: &Row) -> Result<Vec<Value>, sqlx::Error> {
    let numbers = ["id", "run_id", "start_ns", "end_ns", "span_ns"].map(|column| row.int(column).map(Value::from));
    let mut values = numbers.into_iter().collect::<Result<Vec<_>, _>>()?;
    values.push(Value::from(old_address(&row.text("host")?)?.to_vec()));
    values.push(row.int("schema_version")?.into());
    values.push(row.text("vector")?.into());
    Ok(values)
}

fn old_address(text: &str) -> Result<[u8; 16], sqlx::Error> {
    text.parse().map(address).map_err(|error| sqlx::Error::Decode(format!("address `{text}`: {error}").into()))
}
