//! Which flows a list has, and the ways in which it can be read.

use std::net::IpAddr;

use ipnet::IpNet;

use super::db::Value;
use super::list::{Branch, Condition, MOST_READ, Way, when};
use super::rows::address;
use super::sensor::{self, Whose};
use super::to_sql;
use nta_core::domain::Timestamp;

/// Which flows.
#[derive(Clone, Debug, Default)]
pub struct FlowFilter {
    /// With this host at either end, under its own address or the one that a gateway gives it.
    pub host: Option<IpAddr>,
    /// With a host of this network at either end, under its own address or the one that a gateway gives it.
    pub network: Option<IpNet>,
    /// With this port at either end, on either side of a gateway that translates.
    pub port: Option<u16>,
    /// Of this IP protocol.
    pub proto: Option<u8>,
    /// With a packet at this time or later.
    pub from: Option<Timestamp>,
    /// With a packet before this time.
    pub to: Option<Timestamp>,
    /// Of these sensors.
    pub whose: Whose,
}

/// Beyond this a flow is long, beyond the second very long. Those that go on at some time and began well before it stand in
/// indexes of their own, so that they are found without reading all that began before.
const SHORT_NS: i64 = 10_000_000_000;
const LONG_NS: i64 = 600_000_000_000;
/// The conditions of those indexes, to the letter.
const IS_LONG: &str = "last_ns - first_ns > 10000000000";
const IS_VERY_LONG: &str = "last_ns - first_ns > 600000000000";
const HOST: &str = "(coalesce(orig_addr, orig_addr) = ? OR coalesce(resp_addr, resp_addr) = ? \
                    OR coalesce(orig_nat_addr, orig_addr) = ? OR coalesce(resp_nat_addr, resp_addr) = ?)";
const PORT: &str = "(orig_port + 0 = ? OR resp_port + 0 = ? OR coalesce(orig_nat_port, orig_port) = ? \
                    OR coalesce(resp_nat_port, resp_port) = ?)";
const NETWORK: &str = "(coalesce(orig_addr, orig_addr) BETWEEN ? AND ? OR coalesce(resp_addr, resp_addr) BETWEEN ? AND ? \
                       OR coalesce(orig_nat_addr, orig_addr) BETWEEN ? AND ? OR coalesce(resp_nat_addr, resp_addr) BETWEEN ? AND ?)";
/// The indexes of addresses, for a network; each with what rejects those that an index before has, which have an end in it.
const NETWORKS: [(&str, &[&str]); 4] = [
    ("orig_addr BETWEEN ? AND ?", &[]),
    ("resp_addr BETWEEN ? AND ?", &["orig_addr NOT BETWEEN ? AND ?"]),
    ("orig_nat_addr BETWEEN ? AND ?", &["orig_addr NOT BETWEEN ? AND ?", "resp_addr NOT BETWEEN ? AND ?"]),
    (
        "resp_nat_addr BETWEEN ? AND ?",
        &[
            "orig_addr NOT BETWEEN ? AND ?",
            "resp_addr NOT BETWEEN ? AND ?",
            "coalesce(orig_nat_addr, orig_addr) NOT BETWEEN ? AND ?",
        ],
    ),
];
/// The ends of a flow by their indexes: each with what rejects those that an index before has.
type Ends = [(&'static str, &'static [&'static str]); 4];
const HOSTS: Ends = [
    ("orig_addr = ?", &[]),
    ("resp_addr = ?", &["orig_addr <> ?"]),
    ("orig_nat_addr = ?", &["orig_addr <> ?", "resp_addr <> ?"]),
    ("resp_nat_addr = ?", &["orig_addr <> ?", "resp_addr <> ?", "coalesce(orig_nat_addr, orig_addr) <> ?"]),
];
const PORTS: Ends = [
    ("orig_port = ?", &[]),
    ("resp_port = ?", &["orig_port <> ?"]),
    ("orig_nat_port = ?", &["orig_port <> ?", "resp_port <> ?"]),
    ("resp_nat_port = ?", &["orig_port <> ?", "resp_port <> ?", "coalesce(orig_nat_port, orig_port) <> ?"]),
];
const HAS_PORTS: &str = "proto + 0 NOT IN (1, 58)";
const PROTO: &str = "proto + 0 = ?";
const ENDED: &str = "last_ns + 0 >= ?";

impl FlowFilter {
    fn times(&self) -> [Option<i64>; 2] {
        [self.from, self.to].map(|time| time.map(|time| to_sql(time.as_nanos())))
    }

    /// The indexes of the first filter, of a host or a port one for each name of an end.
    fn branches(&self, edge: Option<Condition>) -> Vec<Branch> {
        let edge: Vec<Condition> = edge.into_iter().collect();
        let of = |index| Branch { index: vec![index], edge: edge.clone(), ..Branch::default() };
        let ends = |ends: Ends, value: Value| {
            let end = |(is, not): (&'static str, &[&'static str])| {
                let mut end = of(when(is, value.clone()));
                // A flow from a thing to itself comes once.
                end.edge.extend(not.iter().map(|not| when(not, value.clone())));
                end
            };
            ends.map(end).to_vec()
        };
        match (self.host, self.port, self.proto) {
            (Some(host), ..) => ends(HOSTS, Value::from(address(host).to_vec())),
            (None, Some(port), _) => ends(PORTS, i64::from(port).into()),
            (None, None, Some(proto)) => vec![of(when("proto = ?", i64::from(proto)))],
            (None, None, None) => vec![Branch { edge, ..Branch::default() }],
        }
    }

    /// The filters, written so that they use no index: behind the first `skip` of them.
    fn rest(&self, skip: usize) -> Vec<Condition> {
        self.ends(skip).chain(self.whose.only()).collect()
    }

    /// All filters but the times, row by row.
    pub(super) fn conditions(&self) -> Vec<Condition> {
        self.rest(0)
    }

    /// Those of them that are of the flow itself.
    fn ends(&self, skip: usize) -> impl Iterator<Item = Condition> {
        let host = self.host.map(|host| {
            let host = Value::from(address(host).to_vec());
            Condition::new(HOST, vec![host; 4])
        });
        let port = self.port.map(|port| Condition::new(PORT, vec![i64::from(port).into(); 4]));
        let proto = self.proto.map(|proto| when(PROTO, i64::from(proto)));
        // Where other protocols have ports, ICMP has a type and a code.
        let has_ports = port.is_some().then(|| Condition::new(HAS_PORTS, Vec::new()));
        [host, port, proto].into_iter().flatten().skip(skip).chain(has_ports).chain(self.in_network(NETWORK, 4))
    }

    /// That addresses, so many of them, are in the network.
    fn in_network(&self, sql: &'static str, addresses: usize) -> Option<Condition> {
        let network = self.network?;
        let ends = [network.network(), network.broadcast()].map(|end| Value::from(address(end).to_vec()));
        Some(Condition::new(sql, std::iter::repeat_n(ends, addresses).flatten().collect()))
    }

    /// All flows of the network, where there are few.
    pub(super) fn few_of_network(&self) -> Option<Way> {
        self.network.filter(|_| self.host.is_none())?;
        let [from, to] = self.times();
        let mut rest = self.rest(0);
        rest.extend(from.map(|from| when(ENDED, from)));
        rest.extend(to.map(|to| when("first_ns + 0 < ?", to)));
        let branch = |(index, edge): (&'static str, &[&'static str])| Branch {
            index: self.in_network(index, 1).into_iter().collect(),
            edge: edge.iter().filter_map(|edge| self.in_network(edge, 1)).collect(),
            ..Branch::default()
        };
        Some(Way { branches: NETWORKS.map(branch).to_vec(), ..Way::sorted(Branch::default(), rest) })
    }

    /// Those that began before `began` and ended at `ended` or later, which is well behind: the long ones of a while, the very
    /// long ones of all time.
    fn across(&self, began: i64, ended: i64) -> Way {
        let while_ns = ended.saturating_add(LONG_NS - SHORT_NS);
        let is = |condition| Condition::new(condition, Vec::new());
        let began = || when("first_ns < ?", began);
        let long = vec![is(IS_LONG), when("last_ns >= ?", ended), when("last_ns < ?", while_ns), began()];
        let very_long = vec![is(IS_VERY_LONG), when("last_ns >= ?", while_ns), began()];
        let branches = [long, very_long].map(|index| Branch { index, ..Branch::default() }).to_vec();
        Way { branches, most: MOST_LONG, ..Way::sorted(Branch::default(), self.rest(0)) }
    }

    /// Those that began well before `from` and go on then; before when.
    pub(super) fn older(&self) -> Option<(i64, Way)> {
        let [from, to] = self.times();
        let from = from.filter(|from| *from > 0)?;
        let began = from.saturating_sub(SHORT_NS).min(to.unwrap_or(i64::MAX));
        Some((began, self.across(began, from)))
    }

    /// Those that began before `to` and ended well behind it; from when on.
    pub(super) fn longer(&self) -> Option<(i64, Way)> {
        let to = self.times()[1]?;
        let ended = to.saturating_add(SHORT_NS);
        Some((ended, self.across(to, ended)))
    }

    /// The flows of the filter's time, in parts that an index each finds: those that began in it or shortly before, and older ones.
    pub(super) fn parts(&self) -> Vec<Vec<Condition>> {
        let [from, to] = self.times();
        let low = from.map(|from| when("first_ns >= ?", from.saturating_sub(SHORT_NS)));
        let ends = [low, to.map(|to| when("first_ns < ?", to)), from.map(|from| when(ENDED, from))];
        let mut parts = vec![ends.into_iter().flatten().collect()];
        let older = self.older().map(|(_, older)| older.branches);
        parts.extend(older.into_iter().flatten().map(|branch| branch.index));
        parts
    }

    /// In the order of the first packet: all but the older ones.
    pub(super) fn by_first(&self) -> Vec<Way> {
        let [from, to] = self.times();
        let low = from.map(|from| from.saturating_sub(SHORT_NS));
        let edge = from.map(|from| when(ENDED, from));
        let of_sensor = self.of_sensor(edge.clone().into_iter().collect());
        let has_ends = self.host.is_some() || self.port.is_some() || self.proto.is_some();
        let by_ends = (has_ends || of_sensor.is_none()).then(|| {
            let way = Way::in_order(Branch::default(), self.rest(1), MOST_READ);
            Way { branches: self.branches(edge), ..way }
        });
        by_ends.into_iter().chain(of_sensor).map(|way| Way { low, high: to, ..way }).collect()
    }

    /// The flows of the sensors in the order of an index that holds those of each together.
    fn of_sensor(&self, edge: Vec<Condition>) -> Option<Way> {
        let led = Some(self.whose.led()).filter(|led| !led.is_empty())?;
        let way = Way::in_order(Branch { edge, ..Branch::default() }, self.ends(0).collect(), MOST_READ);
        Some(way.led_by(led, |sensor| vec![sensor::lead(sensor)]))
    }

    /// In the order of the last packet: all but the longer ones.
    pub(super) fn by_last(&self) -> Way {
        let [from, to] = self.times();
        let high = to.map(|to| to.saturating_add(SHORT_NS));
        let edge: Vec<Condition> = to.map(|to| when("first_ns + 0 < ?", to)).into_iter().collect();
        let all = || Way::in_order(Branch { edge: edge.clone(), ..Branch::default() }, self.rest(0), MOST_READ);
        Way { low: from, high, ..self.of_sensor(edge.clone()).unwrap_or_else(all) }
    }

    /// All that have the first filter, where there are few.
    pub(super) fn few(&self) -> Option<Way> {
        self.host.map(drop).or(self.port.map(drop)).or(self.proto.map(drop))?;
        let [from, to] = self.times();
        let mut way = Way::sorted(Branch::default(), self.rest(1));
        way.branches = self.branches(from.map(|from| when(ENDED, from)));
        for branch in &mut way.branches {
            let low = from.map(|from| when("first_ns >= ?", from.saturating_sub(SHORT_NS)));
            branch.index.extend(low.into_iter().chain(to.map(|to| when("first_ns < ?", to))));
        }
        let older = self.older().map(|(_, older)| older.branches);
        way.branches.extend(older.into_iter().flatten().map(|branch| Branch { edge: self.rest(0), ..branch }));
        Some(way)
    }
}

/// Long flows that are read at most: those that go on at one time.
const MOST_LONG: u64 = 100_000;
