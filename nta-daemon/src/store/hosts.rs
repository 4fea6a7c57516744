//! The table `hosts`: what each host did, kept as flows grow.
//!
//! A batch adds to the [`HOSTS_OF_A_BATCH`] hosts with the most bytes in it; what the others did goes into one row without
//! an address, so that a scan of the whole network costs no more than a busy one. Totals stay when flows are deleted: they are sums
//! of all that was seen since a host was seen first.

use std::collections::HashMap;
use std::net::IpAddr;

use super::addresses::Addresses;
use super::db::{Conn, Query, Row, Value};
use super::list::{Branch, Condition, Lead, Listed, MOST_READ, SOON, Way, when};
use super::rows::{address, from_address};
use super::sensor::{Whose, sensor_of_run};
use super::sums::sum;
use super::unreadable::Unreadable;
use super::{Key, Position, Store, StoreError};

/// Hosts that one batch adds to, each on its own.
const HOSTS_OF_A_BATCH: usize = 2000;
/// Flows of a host that its peers and ports are taken from, the newest ones; as many from either end.
const PROFILE_FLOWS: i64 = 10_000;
/// Sensors whose rows of a host are read.
const MOST_SENSORS: i64 = 1000;
/// A host, and who is at the other end.
const ENDS: [(&str, &str); 2] = [("orig_addr", "resp_addr"), ("resp_addr", "orig_addr")];
const TABLE: &str = "hosts";
/// The hosts of a sensor, by the index that holds them.
const OF_SENSOR_FROM: &str = "(sensor, last_ns) >= (?, ?)";
const OF_SENSOR_TO: &str = "(sensor, last_ns) <= (?, ?)";

const HOSTS: Listed = Listed { table: TABLE, columns: "*", order: "bytes", id: "number" };

/// What a host did since it was written before.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Growth {
    /// As originator, as responder.
    flows: [i64; 2],
    /// Packets and bytes.
    sent: [i64; 2],
    received: [i64; 2],
    first_ns: i64,
    last_ns: i64,
}

impl Growth {
    pub(super) fn add(&mut self, flows: [i64; 2], sent: [i64; 2], received: [i64; 2], (first, last): (i64, i64)) {
        self.first_ns = if self.last_ns == 0 { first } else { self.first_ns.min(first) };
        self.last_ns = self.last_ns.max(last);
        for index in 0..2 {
            self.flows[index] += flows[index];
            self.sent[index] += sent[index];
            self.received[index] += received[index];
        }
    }

    const fn bytes(&self) -> i64 {
        self.sent[1] + self.received[1]
    }

    fn values(&self, host: &[u8], sensor: &str) -> Vec<Value> {
        let mut values = vec![Value::from(host.to_vec()), sensor.into()];
        let [out, into] = self.flows;
        let ([packets_sent, bytes_sent], [packets, bytes]) = (self.sent, self.received);
        let sums = [packets_sent + packets, self.bytes(), self.first_ns, self.last_ns];
        values.extend([out + into, out, into, packets_sent, packets, bytes_sent, bytes].map(Value::from));
        values.extend(sums.map(Value::from));
        values
    }
}

/// By address; none is that of many hosts together.
pub(super) type Grown = HashMap<Option<[u8; 16]>, Growth>;

/// Adds what hosts did, as this sensor saw it.
pub(super) async fn add(conn: &mut Conn, sensor: &str, grown: &Grown) -> Result<(), StoreError> {
    let named = grown.iter().filter_map(|(host, growth)| Some((host.as_ref()?.as_slice(), *growth)));
    let mut hosts: Vec<(&[u8], Growth)> = named.collect();
    let of_many = grown.get(&None).copied();
    hosts.sort_unstable_by_key(|(host, growth)| (std::cmp::Reverse(growth.bytes()), *host));
    let few = hosts.len().min(HOSTS_OF_A_BATCH);
    let others: Vec<Growth> = hosts.drain(few..).map(|(_, growth)| growth).chain(of_many).collect();
    if !others.is_empty() {
        let mut sum = Growth::default();
        for growth in others {
            sum.add(growth.flows, growth.sent, growth.received, (growth.first_ns, growth.last_ns));
        }
        hosts.push((&[], sum));
    }
    // In one order for all writers, so that none waits for another in a circle.
    hosts.sort_unstable_by_key(|(host, _)| *host);
    for chunk in hosts.chunks(conn.chunk_rows()) {
        let mut query = Query::new(
            "INSERT INTO hosts (host, sensor, flows, flows_out, flows_in, packets_sent, packets_received, bytes_sent, \
             bytes_received, packets, bytes, first_ns, last_ns) ",
        );
        query.push_table(conn, chunk.iter().map(|(host, growth)| growth.values(host, sensor)));
        query.push(
            " ON CONFLICT (host, sensor) DO UPDATE SET flows = hosts.flows + excluded.flows, \
             flows_out = hosts.flows_out + excluded.flows_out, flows_in = hosts.flows_in + excluded.flows_in, \
             packets_sent = hosts.packets_sent + excluded.packets_sent, \
             packets_received = hosts.packets_received + excluded.packets_received, \
             bytes_sent = hosts.bytes_sent + excluded.bytes_sent, \
             bytes_received = hosts.bytes_received + excluded.bytes_received, \
             packets = hosts.packets + excluded.packets, bytes = hosts.bytes + excluded.bytes, \
             first_ns = CASE WHEN excluded.first_ns < hosts.first_ns THEN excluded.first_ns ELSE hosts.first_ns END, \
             last_ns = CASE WHEN excluded.last_ns > hosts.last_ns THEN excluded.last_ns ELSE hosts.last_ns END",
        );
        conn.execute(query).await.map_err(StoreError::query(TABLE))?;
    }
    Ok(())
}

/// What a host did as a sensor saw it: since it was seen first, or in a time.
#[derive(Clone, Debug, PartialEq)]
pub struct HostTotals {
    /// Name of the sensor; `None` where it was not noted.
    pub sensor: Option<String>,
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
}

impl HostTotals {
    pub(super) fn read(row: &Row) -> Result<Self, Unreadable> {
        Ok(Self {
            sensor: Some(row.text("sensor")?).filter(|name| !name.is_empty()),
            host: host_of(row, "host")?,
            flows: row.int("flows")?,
            flows_out: row.int("flows_out")?,
            flows_in: row.int("flows_in")?,
            packets_sent: row.int("packets_sent")?,
            packets_received: row.int("packets_received")?,
            bytes_sent: row.int("bytes_sent")?,
            bytes_received: row.int("bytes_received")?,
            first_ns: row.natural("first_ns")?,
            last_ns: row.natural("last_ns")?,
        })
    }

    /// What two sensors saw of it.
    #[must_use]
    pub fn and(self, other: &Self) -> Self {
        Self {
            sensor: None,
            flows: self.flows.saturating_add(other.flows),
            flows_out: self.flows_out.saturating_add(other.flows_out),
            flows_in: self.flows_in.saturating_add(other.flows_in),
            packets_sent: self.packets_sent.saturating_add(other.packets_sent),
            packets_received: self.packets_received.saturating_add(other.packets_received),
            bytes_sent: self.bytes_sent.saturating_add(other.bytes_sent),
            bytes_received: self.bytes_received.saturating_add(other.bytes_received),
            first_ns: self.first_ns.min(other.first_ns),
            last_ns: self.last_ns.max(other.last_ns),
            ..self
        }
    }
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
    pub(super) const fn column(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Packets => "packets",
            Self::Flows => "flows",
            Self::LastTime => "last_ns",
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
#[derive(Clone, Debug, PartialEq)]
pub struct TrafficShare {
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
    /// A page of hosts, with all that they did since they were seen first: a row for each sensor that saw them, or those of one.
    /// Only those within some addresses, unless these are all.
    pub async fn hosts(
        &self,
        within: &Addresses,
        whose: &Whose,
        sort: HostSort,
        position: Position,
    ) -> Result<HostPage, StoreError> {
        // The row of all others has no address.
        let edge = || vec![Condition::new("length(host) = 16", Vec::new())];
        let within = within.sought();
        let named: Vec<Condition> = whose.named("coalesce(sensor, '')").into_iter().collect();
        let rest: Vec<Condition> = named.iter().cloned().chain(within.in_one_of(&["coalesce(host, host)"])).collect();
        let of = |range| Branch { index: vec![range], edge: edge(), ..Branch::default() };
        let few = (!within.is_any())
            .then(|| Way { branches: within.each("host").map(of).collect(), ..Way::sorted(Branch::default(), named) });
        let in_order = |most| Way::in_order(Branch { edge: edge(), ..Branch::default() }, rest.clone(), most);
        let index = vec![when("last_ns >= ?", 0)];
        let sorted = Way::sorted(Branch { index, edge: edge(), ..Branch::default() }, rest.clone());
        let sorted = sorted.found_by(whose.led(), |sensor| {
            [(OF_SENSOR_FROM, 0), (OF_SENSOR_TO, i64::MAX)]
                .map(|(sql, last_ns)| Condition::new(sql, vec![sensor.as_str().into(), last_ns.into()]))
        });
        let by_all = if sort == HostSort::LastTime {
            let way = Way::in_order(Branch { edge: edge(), ..Branch::default() }, rest, MOST_READ);
            vec![way.led_by(whose.led(), |sensor| vec![Lead::new("sensor", "?", sensor)]), sorted]
        } else {
            vec![in_order(SOON), sorted, in_order(MOST_READ)]
        };
        let ways: Vec<Way> = few.into_iter().chain(by_all).collect();
        let listed = Listed { order: sort.column(), ..HOSTS };
        let (items, next) = position.cut(self.list(&listed, &ways, position.and_one(), HostTotals::read).await?);
        Ok(HostPage { items, next })
    }

    /// One host, as each sensor saw it, or one of them; none when it is not known.
    pub async fn host(&self, host: IpAddr, whose: &Whose) -> Result<Vec<HostTotals>, StoreError> {
        let query = Query::new("SELECT * FROM hosts WHERE host = $1 ORDER BY sensor LIMIT $2");
        let query = query.bind(Value::from(address(host).to_vec())).bind(MOST_SENSORS);
        let rows = self.database.fetch_all(query).await.map_err(StoreError::query(TABLE))?;
        let mut hosts = Vec::new();
        let mut unreadable = None;
        for row in &rows {
            match self.usable(TABLE, HostTotals::read(row)) {
                Some(host) if whose.has(host.sensor.as_deref()) => hosts.push(host),
                Some(_) => {}
                None => unreadable = Some(Unreadable::new("the host's totals cannot be read").of(TABLE, 0)),
            }
        }
        unreadable.filter(|_| hosts.is_empty()).map_or(Ok(hosts), Err)
    }

    /// The peers of a host with the most bytes in its newest flows.
    pub async fn top_peers(&self, address: IpAddr, whose: &Whose, most: u32) -> Result<Vec<TrafficShare>, StoreError> {
        self.read(
            "flows",
            self.shares_query(
                ["peer", "0", "min(is_responder)", " AND length(peer) = 16", "peer"],
                ENDS,
                address,
                whose,
                most,
            ),
            |row| share(row, host_of(row, "what")?),
        )
        .await
    }

    /// How many flows its peers and ports are taken from.
    pub async fn profile_flows(&self, address: IpAddr, whose: &Whose) -> Result<i64, StoreError> {
        let query = self.shares_query(["0", "0", "0", "", "peer IS NULL"], ENDS, address, whose, 1);
        let counts = self.read("flows", query, |row| Ok(row.natural("flows")?)).await?;
        Ok(counts.first().copied().unwrap_or_default())
    }

    /// The ports of a host with the most bytes in its newest flows: its own as responder, its peers' as originator. What ICMP has in
    /// their place, and protocols without ports, are none.
    pub async fn top_ports(&self, address: IpAddr, whose: &Whose, most: u32) -> Result<Vec<TrafficShare>, StoreError> {
        // TCP, UDP, SCTP, UDP-Lite.
        let with_ports = " AND proto IN (6, 17, 132, 136)";
        let words = ["port", "min(proto)", "min(is_responder)", with_ports, "port, proto, is_responder"];
        let query = self.shares_query(words, ENDS, address, whose, most);
        self.read("flows", query, |row| share(row, row.small::<u16>("what")?.to_string())).await
    }

    /// The hosts that a translated address stands for, those with the most bytes in its newest flows.
    pub async fn stands_for(&self, address: IpAddr, whose: &Whose, most: u32) -> Result<Vec<TrafficShare>, StoreError> {
        let words = ["peer", "0", "min(is_responder)", "", "peer"];
        let ends = [("orig_nat_addr", "orig_addr"), ("resp_nat_addr", "resp_addr")];
        self.read("flows", self.shares_query(words, ends, address, whose, most), |row| {
            share(row, host_of(row, "what")?)
        })
        .await
    }

    /// Of an address's flows, in which it is in the first column of one of these pairs and what it is asked about in the
    /// second. All words come from this file, never from a client.
    pub(super) fn shares_query(
        &self,
        [what, proto, is_responder, filter, group]: [&str; 5],
        ends: [(&str, &str); 2],
        host: IpAddr,
        whose: &Whose,
        most: u32,
    ) -> Query {
        let mut query = Query::new(format!(
            "SELECT {what} AS what, CAST({proto} AS BIGINT) AS proto, CAST({is_responder} AS BIGINT) AS is_responder, \
             {} AS flows, {} AS bytes FROM (SELECT * FROM (",
            sum(self.database.dialect(), "stands_for"),
            sum(self.database.dialect(), "bytes")
        ));
        for (side, (own, peer)) in ends.iter().enumerate() {
            query.push(if side == 0 { "" } else { ") AS a UNION ALL SELECT * FROM (" });
            query.push(format_args!(
                "SELECT run_id, {peer} AS peer, resp_port AS port, proto, {side} AS is_responder, coalesce(grouped, 1) AS stands_for, \
                 CASE WHEN {} THEN orig_bytes + resp_bytes - coalesce(orig_opened_bytes, 0) - coalesce(resp_opened_bytes, 0) \
                 ELSE 0 END AS bytes FROM flows WHERE {own} = ",
                ["orig_bytes", "resp_bytes", "coalesce(orig_opened_bytes, 0)", "coalesce(resp_opened_bytes, 0)"]
                    .map(|bytes| format!("{bytes} BETWEEN 0 AND {MOST_BYTES}"))
                    .join(" AND ")
            ));
            query.push_bind(Value::from(address(host).to_vec()));
            query.push(" ORDER BY first_ns DESC LIMIT ").push_bind(PROFILE_FLOWS);
        }
        query.push(") AS b) AS sides WHERE 1 = 1");
        whose.named(sensor_of_run!()).iter().for_each(|named| named.push(&mut query));
        query.push(format_args!(
            "{filter} GROUP BY {group} ORDER BY bytes DESC, flows DESC, what, proto, is_responder LIMIT "
        ));
        query.push_bind(i64::from(most));
        query
    }
}

/// More bytes than a connection carries, 128 TiB: what is beyond was not counted, and adding it up might not fit.
const MOST_BYTES: i64 = 1 << 47;

fn host_of(row: &Row, column: &str) -> Result<String, Unreadable> {
    let address = from_address(&row.blob(column)?).ok_or_else(|| Unreadable::new("the host is no address"))?;
    Ok(address.to_string())
}

fn share(row: &Row, what: String) -> Result<TrafficShare, Unreadable> {
    Ok(TrafficShare {
        what,
        proto: row.small("proto")?,
        is_responder: row.int("is_responder")? != 0,
        flows: row.int("flows")?,
        bytes: row.int("bytes")?,
    })
}
