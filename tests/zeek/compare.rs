//! One log beside another.

use std::collections::BTreeMap;

use crate::log::{Connection, Log};

/// The claim: these columns are equal, in the logs that have them, and who began is the same.
pub(crate) const CLAIMED: [&str; 7] =
    ["conn_state", "orig_pkts", "resp_pkts", "orig_ip_bytes", "resp_ip_bytes", "orig_bytes", "resp_bytes"];
/// Printed beside; where a log has none of the claimed columns it takes their place.
pub(crate) const HISTORY: &str = "history";
/// Printed beside as well: whether the tunnels around a connection are those that the log has for it.
pub(crate) const PARENTS: &str = "tunnel_parents";

/// What the connection speaks: Zeek's log may name several analyzers, ours names one.
pub(crate) const SERVICE: &str = "service";

/// What a log's connections can be compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Basis {
    Whole,
    Some,
    History,
    Ends,
    Nothing,
}

impl Basis {
    pub(crate) fn of(log: &Log) -> Self {
        let claimed = CLAIMED.iter().filter(|column| log.has(column)).count();
        match claimed {
            7 => Self::Whole,
            1.. => Self::Some,
            0 if log.has(HISTORY) => Self::History,
            _ if log.has("id.orig_h") => Self::Ends,
            _ => Self::Nothing,
        }
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "state, packets, bytes",
            Self::Some => "a part of state, packets, bytes",
            Self::History => "history",
            Self::Ends => "addresses and ports only",
            Self::Nothing => "nothing",
        }
    }

    fn columns(self) -> Vec<&'static str> {
        match self {
            Self::Whole | Self::Some => CLAIMED.to_vec(),
            Self::History => vec![HISTORY],
            Self::Ends | Self::Nothing => Vec::new(),
        }
    }
}

/// How many connections there are and how many are equal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) connections: usize,
    pub(crate) equal: usize,
    /// Connections of ours that the log does not have.
    pub(crate) extra: usize,
    pub(crate) by_column: BTreeMap<&'static str, [usize; 2]>,
    pub(crate) differences: Vec<String>,
    pub(crate) services: Services,
}

/// How the names of services compare, in the logs that have them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Services {
    /// Named by both, and ours is one of theirs.
    pub(crate) same: usize,
    /// Named by both, by different names.
    pub(crate) different: usize,
    /// Named by Zeek alone.
    pub(crate) theirs: usize,
    /// Named by us alone.
    pub(crate) ours: usize,
}

impl Services {
    /// Takes one connection's names; answers what is to be shown of them.
    fn take(&mut self, found: &Connection, expected: &Connection) -> Option<String> {
        let (own, others) = (found.get(SERVICE)?, expected.get(SERVICE)?);
        let (count, shown) = match (own, others) {
            ("-", "-") => return None,
            ("-", _) => (&mut self.theirs, true),
            (_, "-") => (&mut self.ours, true),
            _ if others.split(',').any(|name| name == own) => (&mut self.same, false),
            _ => (&mut self.different, true),
        };
        *count += 1;
        shown.then(|| format!("{expected} service {own} not {others}"))
    }

    fn add(&mut self, other: &Self) {
        self.same += other.same;
        self.different += other.different;
        self.theirs += other.theirs;
        self.ours += other.ours;
    }
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.connections += other.connections;
        self.equal += other.equal;
        self.extra += other.extra;
        self.services.add(&other.services);
        for (column, [equal, all]) in &other.by_column {
            let sum = self.by_column.entry(column).or_default();
            sum[0] += equal;
            sum[1] += all;
        }
    }

    pub(crate) fn share(&self) -> f64 {
        100.0 * self.equal as f64 / self.connections.max(1) as f64
    }
}

/// Compares a log's connections with ours. Their times are masked, so those of the same ends are paired by what else the
/// log has of them, equal ones first.
pub(crate) fn compare(basis: Basis, theirs: &[Connection], ours: &[Connection], tally: &mut Tally) {
    let columns = basis.columns();
    let mut left: Vec<&Connection> = ours.iter().collect();
    let is_equal = |found: &Connection, expected: &Connection| {
        found.begins_as(expected)
            && found.agrees(expected, "proto")
            && found.agrees(expected, "ip_proto")
            && columns.iter().all(|column| found.agrees(expected, column))
    };
    let (mut pairs, mut others) = (Vec::new(), Vec::new());
    for expected in theirs {
        tally.connections += 1;
        let history_too = |found: &&Connection| is_equal(found, expected) && found.agrees(expected, HISTORY);
        let at = left.iter().position(history_too).or_else(|| left.iter().position(|found| is_equal(found, expected)));
        match at {
            Some(at) => pairs.push((expected, left.remove(at))),
            None => others.push(expected),
        }
    }
    for expected in others {
        match left.iter().position(|found| found.is_between_the_ends_of(expected)) {
            Some(at) => pairs.push((expected, left.remove(at))),
            None => tally.differences.push(format!("missing {expected} {:?}", expected.get(HISTORY))),
        }
    }
    tally.extra = left.len();
    for (expected, found) in pairs {
        for column in CLAIMED.into_iter().chain([HISTORY]).filter(|column| expected.get(column).is_some()) {
            let [equal, all] = tally.by_column.entry(column).or_default();
            *equal += usize::from(found.agrees(expected, column));
            *all += 1;
        }
        tally.differences.extend(tally.services.take(found, expected));
        if let Some(around) = expected.is_inner().then(|| expected.parents(theirs)).flatten() {
            let [equal, all] = tally.by_column.entry(PARENTS).or_default();
            *all += 1;
            match found.parents(ours) {
                Some(own) if own == around => *equal += 1,
                own => tally.differences.push(format!("{expected} is within {own:?}, not {around:?}")),
            }
        }
        if is_equal(found, expected) {
            tally.equal += 1;
            continue;
        }
        let shown = columns.iter().filter(|column| !found.agrees(expected, column)).map(|column| {
            format!("{column} {} not {}", found.get(column).unwrap_or("?"), expected.get(column).unwrap_or("?"))
        });
        let turned = (!found.begins_as(expected)).then(|| "turned round".to_owned());
        let shown: Vec<String> = shown.chain(turned).collect();
        let histories = [found, expected].map(|connection| connection.get(HISTORY).unwrap_or("?"));
        tally.differences.push(format!("{expected} {} not {}: {}", histories[0], histories[1], shown.join(", ")));
    }
}
