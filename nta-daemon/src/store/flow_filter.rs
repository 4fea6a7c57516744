//! Which flows a list has, and the ways in which it can be read.

use super::addresses::{Addresses, Sought};
use super::list::{Branch, Condition, MOST_READ, Way, when};
use super::sensor::{self, Whose};
use super::to_sql;
use nta_core::domain::Timestamp;

/// Which flows.
#[derive(Clone, Debug, Default)]
pub struct FlowFilter {
    /// With one of these hosts at either end, under its own address or the one that a gateway gives it.
    pub hosts: Addresses,
    /// With one of these ports at either end, on either side of a gateway that translates; with any where there is none.
    pub ports: Vec<u16>,
    /// Of one of these IP protocols; of all where there is none.
    pub protos: Vec<u8>,
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
/// The names of a flow's ends: as an index has each, and the same without an index and never NULL.
type Ends = [[&'static str; 2]; 4];
const HOSTS: Ends = [
    ["orig_addr", "coalesce(orig_addr, orig_addr)"],
    ["resp_addr", "coalesce(resp_addr, resp_addr)"],
    ["orig_nat_addr", "coalesce(orig_nat_addr, orig_addr)"],
    ["resp_nat_addr", "coalesce(resp_nat_addr, resp_addr)"],
];
const PORTS: Ends = [
    ["orig_port", "orig_port + 0"],
    ["resp_port", "resp_port + 0"],
    ["orig_nat_port", "coalesce(orig_nat_port, orig_port)"],
    ["resp_nat_port", "coalesce(resp_nat_port, resp_port)"],
];
const HAS_PORTS: &str = "proto + 0 NOT IN (1, 58)";
const PROTO: &str = "proto + 0";
const ENDED: &str = "last_ns + 0 >= ?";

impl FlowFilter {
    fn times(&self) -> [Option<i64>; 2] {
        [self.from, self.to].map(|time| time.map(|time| to_sql(time.as_nanos())))
    }

    /// The hosts where they are addresses, and none where they are networks.
    fn exact_hosts(&self) -> Sought {
        Some(self.hosts.sought()).filter(Sought::is_exact).unwrap_or_default()
    }

    fn ports(&self) -> Sought {
        Sought::numbers(self.ports.iter().map(|port| i64::from(*port)).collect())
    }

    fn protos(&self) -> Sought {
        Sought::numbers(self.protos.iter().map(|proto| i64::from(*proto)).collect())
    }

    /// The indexes of the first filter, of hosts or ports one for each name of an end and each of them.
    fn branches(&self, edge: Option<Condition>) -> Vec<Branch> {
        let edge: Vec<Condition> = edge.into_iter().collect();
        let of = |index| Branch { index: vec![index], edge: edge.clone(), ..Branch::default() };
        let (hosts, ports, protos) = (self.exact_hosts(), self.ports(), self.protos());
        if !hosts.is_any() {
            by_ends(&HOSTS, &hosts, &edge)
        } else if !ports.is_any() {
            by_ends(&PORTS, &ports, &edge)
        } else if !protos.is_any() {
            protos.each("proto").map(of).collect()
        } else {
            vec![Branch { edge, ..Branch::default() }]
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

    /// All filters, row by row.
    pub(super) fn all(&self) -> Vec<Condition> {
        let [from, to] = self.times();
        let times = [from.map(|from| when(ENDED, from)), to.map(|to| when("first_ns + 0 < ?", to))];
        self.conditions().into_iter().chain(times.into_iter().flatten()).collect()
    }

    /// Those of them that are of the flow itself.
    fn ends(&self, skip: usize) -> impl Iterator<Item = Condition> {
        let hosts = self.exact_hosts().in_one_of(&HOSTS.map(|[_, end]| end));
        let ports = self.ports().in_one_of(&PORTS.map(|[_, end]| end));
        let protos = self.protos().in_one_of(&[PROTO]);
        // Where other protocols have ports, ICMP has a type and a code.
        let has_ports = ports.is_some().then(|| Condition::new(HAS_PORTS, Vec::new()));
        let networks = self.networks().and_then(|networks| networks.in_one_of(&HOSTS.map(|[_, end]| end)));
        [hosts, ports, protos].into_iter().flatten().skip(skip).chain(has_ports).chain(networks)
    }

    /// The hosts where they are not addresses alone.
    fn networks(&self) -> Option<Sought> {
        Some(self.hosts.sought()).filter(|hosts| !hosts.is_exact())
    }

    /// All flows of the networks, where there are few.
    pub(super) fn few_of_network(&self) -> Option<Way> {
        let networks = self.networks()?;
        let rest = self.all();
        let branches = by_ends(&HOSTS, &networks, &[]);
        Some(Way { branches, ..Way::sorted(Branch::default(), rest) })
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
        let has_ends = self.has_ends();
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

    /// Whether an index of its ends finds a flow in the order of the first packet.
    fn has_ends(&self) -> bool {
        !(self.exact_hosts().is_any() && self.ports.is_empty() && self.protos.is_empty())
    }

    /// All that have the first filter, where there are few.
    pub(super) fn few(&self) -> Option<Way> {
        self.has_ends().then_some(())?;
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

/// A branch for each name of an end and each of the values. A flow that has several of them comes once: by the first name that has one.
fn by_ends(ends: &Ends, sought: &Sought, edge: &[Condition]) -> Vec<Branch> {
    let mut branches = Vec::new();
    let mut edge = edge.to_vec();
    for [name, end] in ends {
        branches.extend(sought.each(name).map(|index| Branch {
            index: vec![index],
            edge: edge.clone(),
            ..Branch::default()
        }));
        edge.push(sought.not_in(end));
    }
    branches
}

/// Long flows that are read at most: those that go on at one time.
const MOST_LONG: u64 = 100_000;
