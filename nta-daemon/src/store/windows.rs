//! Reading the table `windows`.

use super::body::WindowBody;
use super::db;
use super::db::{Dialect, Query};
use super::list::{Branch, Condition, Lead, Listed, MOST_READ, SOON, Way, when};
use super::sensor::{self, Whose, sensor, sensor_number, sensor_of_run};
use super::sums::{are_natural, are_real, sum};
use super::unreadable::Unreadable;
use super::window_parts::in_parts;
use super::{BySensor, Key, Position, Store, StoreError, from_sql, to_sql};
use nta_core::domain::Timestamp;
use nta_core::window::Window;

/// Which windows.
#[derive(Clone, Debug, Default)]
pub struct WindowFilter {
    /// Windows that end behind this time.
    pub from: Option<Timestamp>,
    /// Windows that start before this time.
    pub to: Option<Timestamp>,
    /// Windows of this length in nanoseconds; `None` for base windows of any.
    pub span_ns: Option<u64>,
    /// Windows of these sensors.
    pub whose: Whose,
}

impl WindowFilter {
    /// How many index entries a query by time reads at most beside those that it answers: windows that began before the
    /// interval and may reach into it.
    fn earliest_ns(&self, from: Timestamp) -> i64 {
        let longest = self.span_ns.map_or(HOUR_NS, to_sql).max(HOUR_NS);
        to_sql(from.as_nanos()).saturating_sub(longest)
    }

    fn push_length(&self, query: &mut Query) {
        match self.span_ns {
            Some(span_ns) => query.push(" WHERE span_ns = ").push_bind(to_sql(span_ns)),
            None => query.push(" WHERE factor = 1"),
        };
    }

    /// Windows of this length that start in a range, in the order of time; those of the sensor by the index that holds them.
    pub(super) fn push_page(
        &self,
        (query, dialect): (&mut Query, Dialect),
        span_ns: i64,
        [low, end]: [i64; 2],
        position: Position,
    ) {
        let [sensor] = self.whose.names() else {
            self.whose.only().iter().for_each(|only| only.push(query));
            query.push(" AND span_ns = ").push_bind(span_ns);
            // Of SQLite's values only numbers are between two of them.
            query.push(" AND start_ns >= ").push_bind(low).push(" AND start_ns < ").push_bind(end);
            return position.push(query, "start_ns");
        };
        for (sql, start_ns) in [(OF_SENSOR_FROM, low), (OF_SENSOR_TO, end)] {
            Condition::new(sql, vec![sensor.as_str().into(), span_ns.into(), start_ns.into()]).push(query);
        }
        in_parts(dialect, span_ns, [Some(low), Some(end)]).iter().for_each(|part| part.push(query));
        position.push_order(query, &["sensor_id", "span_ns", "start_ns"], "id");
        query.push(" LIMIT ").push_bind(i64::from(position.limit));
    }

    /// The starts of windows that reach into the interval.
    pub(super) fn starts(&self) -> [i64; 2] {
        let low = self.from.map_or(0, |from| self.earliest_ns(from).saturating_add(1));
        [low, self.to.map_or(i64::MAX, |to| to_sql(to.as_nanos()))]
    }

    fn push_sensor(&self, query: &mut Query) {
        self.whose.named(sensor_of_run!()).iter().for_each(|named| named.push(query));
    }

    /// By time in its order. Else in the order of the column's index, if the windows of a page come soon; all of the time,
    /// sorted; in the order of the index. PostgreSQL has no index of such a column: five of them were most of what a window cost.
    fn ways(&self, sort: WindowSort, dialect: Dialect) -> Vec<Way> {
        let [from, to] = [self.from, self.to].map(|time| time.map(|time| to_sql(time.as_nanos())));
        let low = self.from.map(|from| self.earliest_ns(from).saturating_add(1));
        let edge: Vec<Condition> = from.map(|from| when("end_ns + 0 > ?", from)).into_iter().collect();
        let of_length = match self.span_ns {
            Some(span_ns) => when("span_ns = ?", to_sql(span_ns)),
            None => when("factor = ?", 1),
        };
        let only = || self.whose.only().into_iter().collect::<Vec<_>>();
        let branch =
            |edge: &[Condition]| Branch { index: vec![of_length.clone()], edge: edge.to_vec(), ..Branch::default() };
        let of_sensor = self.span_ns.map(to_sql).filter(|_| !self.whose.led().is_empty());
        if sort == WindowSort::Time {
            let way = match of_sensor {
                Some(span_ns) => {
                    let index = in_parts(dialect, span_ns, [None; 2]);
                    let way = Way::in_order(Branch { index, edge, ..Branch::default() }, Vec::new(), MOST_READ);
                    way.led_by(self.whose.led(), |sensor| {
                        vec![sensor::lead(sensor), Lead::new("span_ns", "?", span_ns)]
                    })
                }
                None => Way::in_order(branch(&edge), only(), MOST_READ),
            };
            return vec![Way { low, high: to, ..way }];
        }
        let starts = [low.map(|low| when("start_ns >= ?", low)), to.map(|to| when("start_ns < ?", to))];
        let mut of_time = branch(&edge);
        of_time.index.extend(starts.into_iter().flatten());
        let of_sensor = of_sensor.map(|span_ns| {
            let sorted = Way::sorted(Branch { edge: edge.clone(), ..Branch::default() }, Vec::new());
            sorted.found_by(self.whose.led(), |sensor| {
                let starts = [(OF_SENSOR_FROM, low.unwrap_or(0)), (OF_SENSOR_TO, to.unwrap_or(i64::MAX))];
                let of_it = starts.map(|(sql, start_ns)| {
                    Condition::new(sql, vec![sensor.as_str().into(), span_ns.into(), start_ns.into()])
                });
                of_it.into_iter().chain(in_parts(dialect, span_ns, [low, to])).collect::<Vec<_>>()
            })
        });
        if self.span_ns.is_some() && dialect == Dialect::Postgres {
            return of_sensor.into_iter().chain([Way::sorted_keys(of_time, only())]).collect();
        }
        let sorted = of_sensor.unwrap_or_else(|| Way::sorted(of_time, only()));
        if self.span_ns.is_none() {
            return vec![sorted];
        }
        let starts = [low.map(|low| when("start_ns + 0 >= ?", low)), to.map(|to| when("start_ns + 0 < ?", to))];
        let rest: Vec<Condition> = starts.into_iter().flatten().chain(edge).chain(only()).collect();
        let in_order = |most| Way::in_order(branch(&[]), rest.clone(), most);
        vec![in_order(SOON), sorted, in_order(MOST_READ)]
    }
}

/// A sensor's windows of a length, by the index that holds them.
const OF_SENSOR_FROM: &str = concat!("(sensor_id, span_ns, start_ns) >= (", sensor_number!(), ", ?, ?)");
const OF_SENSOR_TO: &str = concat!("(sensor_id, span_ns, start_ns) < (", sensor_number!(), ", ?, ?)");

const WINDOWS: Listed = Listed {
    table: "windows",
    columns: concat!(
        "id, start_ns, end_ns, bandwidth_bps, packets, bytes, flows, connections, rtt_histogram, body, ",
        sensor_of_run!(),
        " AS sensor"
    ),
    order: "start_ns",
    id: "id",
};

/// Order of a list of windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowSort {
    /// By start.
    Time,
    /// By bits a second.
    Bandwidth,
    /// By packets.
    Packets,
    /// By frame bytes.
    Bytes,
    /// By flows.
    Flows,
    /// By new connections.
    Connections,
}

impl WindowSort {
    pub(super) const fn column(self) -> &'static str {
        match self {
            Self::Time => "start_ns",
            Self::Bandwidth => "bandwidth_bps",
            Self::Packets => "packets",
            Self::Bytes => "bytes",
            Self::Flows => "flows",
            Self::Connections => "connections",
        }
    }
}

/// Some windows, and where the next page begins.
#[derive(Clone, Debug)]
pub struct WindowPage {
    /// The windows, with the database's ids.
    pub items: Vec<BySensor<Window>>,
    /// Key of the last one, when there are more behind it.
    pub next: Option<Key>,
}

/// Sums over windows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WindowsSummary {
    /// How many.
    pub windows: i64,
    /// Start of the first in nanoseconds; `None` without windows.
    pub first_ns: Option<i64>,
    /// End of the last in nanoseconds.
    pub last_ns: Option<i64>,
    /// For how long packets were counted, in nanoseconds: a second where a window with packets is shorter.
    pub span_ns: i64,
    /// Packets.
    pub packets: i64,
    /// Frame bytes.
    pub bytes: i64,
    /// New connections.
    pub connections: i64,
    /// Smallest bandwidth of a window.
    pub min_bps: Option<i64>,
    /// Largest bandwidth of a window.
    pub max_bps: Option<i64>,
    /// Round-trip samples.
    pub rtt_samples: i64,
    /// Sum of the round trips in milliseconds.
    pub rtt_sum_ms: Option<f64>,
    /// Shortest round trip, or the smallest mean of a window where only that is known.
    pub rtt_min_ms: Option<f64>,
    /// Windows, or hours of them, of which only the mean is known.
    pub rtt_means: i64,
    /// Largest round trip of a window.
    pub rtt_max_ms: Option<f64>,
}

/// The window of a row.
pub(super) fn window(row: &db::Row) -> Result<BySensor<Window>, Unreadable> {
    let id = row.int("id")?;
    let times = [row.natural("start_ns")?, row.natural("end_ns")?].map(|ns| Timestamp::from_nanos(from_sql(ns)));
    let histogram = row.opt_text("rtt_histogram")?;
    let item = WindowBody::read(id, &row.text("body")?)?.window(id, times, histogram.as_deref())?;
    Ok(BySensor { sensor: sensor(row), item })
}

impl Store {
    /// A page of windows.
    pub async fn windows(
        &self,
        filter: &WindowFilter,
        sort: WindowSort,
        position: Position,
    ) -> Result<WindowPage, StoreError> {
        let listed = Listed { order: sort.column(), ..WINDOWS };
        let rows = self.list(&listed, &filter.ways(sort, self.database.dialect()), position.and_one(), window).await?;
        let (items, next) = position.cut(rows);
        Ok(WindowPage { items, next })
    }

    /// One window.
    pub async fn window(&self, id: u64) -> Result<Option<BySensor<Window>>, StoreError> {
        let query = Query::new(format!("SELECT {} FROM windows WHERE id = $1", WINDOWS.columns)).bind(to_sql(id));
        self.read_one("windows", query, to_sql(id), window).await
    }

    /// The length of the longest windows that are stored, or an hour: what begins so long before a time does not reach it.
    pub(super) async fn longest_window(&self) -> Result<i64, StoreError> {
        let query =
            Query::new("SELECT max(window_ns) AS longest FROM window_hours WHERE window_ns > 0 AND window_ns <= $1");
        let longest = self.read("window_hours", query.bind(LONGEST_NS), |row| Ok(row.opt_int("longest")?)).await?;
        Ok(longest.into_iter().flatten().next().map_or(HOUR_NS, |longest| longest.max(HOUR_NS)))
    }

    /// How many base windows are stored.
    pub async fn window_count(&self) -> Result<u64, StoreError> {
        self.total("windows").await
    }

    /// Sums over all stored windows that pass the filter. Whole hours are read from what was summed up as they came and went; of
    /// the hours at both ends the windows are read.
    pub async fn windows_summary(&self, filter: &WindowFilter) -> Result<WindowsSummary, StoreError> {
        let [from, to] = [filter.from, filter.to].map(|time| time.map(|time| to_sql(time.as_nanos())));
        // The hours that lie wholly in the interval, as starts.
        let first = from.map_or(i64::MIN, |from| from.saturating_add(HOUR_NS - 1) / HOUR_NS * HOUR_NS);
        let end = to.map_or(i64::MAX, |to| to / HOUR_NS * HOUR_NS).max(first);
        let dialect = self.database.dialect();
        let mut hours = Query::new(hour_sums(dialect));
        match filter.span_ns {
            Some(span_ns) => hours.push(" WHERE window_ns = ").push_bind(to_sql(span_ns)),
            None => hours.push(" WHERE factor = 1"),
        };
        hours.push(" AND ").push(are_natural(dialect, &HOUR_COLUMNS)).push(are_real(dialect, &HOUR_REALS));
        hours.push(" AND hour_ns >= ").push_bind(first).push(" AND hour_ns < ").push_bind(end);
        filter.push_sensor(&mut hours);
        let mut sum =
            self.read("window_hours", hours, WindowsSummary::read).await?.into_iter().next().unwrap_or_default();
        let edges = [
            from.map(|from| (from, first.min(to.unwrap_or(i64::MAX)))),
            to.filter(|_| end > first || from.is_none()).map(|to| (end, to)),
        ];
        for (begin, end) in edges.into_iter().flatten() {
            // A window belongs to the hour in which it starts; one that reaches into the interval counts as well.
            let reaches = filter.from.filter(|_| Some(begin) == from).map(|from| filter.earliest_ns(from));
            let mut edge = Query::new(window_sums(dialect));
            filter.push_length(&mut edge);
            filter.push_sensor(&mut edge);
            edge.push(" AND start_ns >= ").push_bind(reaches.unwrap_or(begin));
            edge.push(" AND start_ns < ").push_bind(end).push(" AND end_ns > ").push_bind(begin);
            edge.push(" AND ").push(are_natural(dialect, &WINDOW_COLUMNS)).push(are_real(dialect, &WINDOW_REALS));
            for edge in self.read("windows", edge, WindowsSummary::read).await? {
                sum.add(&edge);
            }
        }
        Ok(sum)
    }
}

/// An hour in nanoseconds.
const HOUR_NS: i64 = 3_600_000_000_000;
/// No window that is stored is as long: a day.
const LONGEST_NS: i64 = 24 * HOUR_NS;

/// What sums over hours and over windows read: whole numbers, and floating-point ones that may be NULL.
const HOUR_COLUMNS: [&str; 10] = [
    "windows",
    "first_ns",
    "last_ns",
    "span_ns",
    "packets",
    "bytes",
    "connections",
    "min_bps",
    "max_bps",
    "rtt_samples",
];
const HOUR_REALS: [&str; 4] = ["rtt_sum_ms", "rtt_min_ms", "rtt_max_ms", "rtt_shortest_ms"];
pub(super) const WINDOW_COLUMNS: [&str; 7] =
    ["start_ns", "end_ns", "packets", "bytes", "connections", "bandwidth_bps", "rtt_samples"];
/// The time that the rates of a window divide by; of what holds no number, its whole time.
pub(super) const MEASURED: &str = "CASE WHEN measured_ns + 0 >= 0 AND measured_ns + 0 <= 86400000000000 THEN measured_ns + 0 \
                                   ELSE end_ns - start_ns END";
/// The bandwidth of a window for which packets were counted; of one for which nobody did the length is a nanosecond.
pub(super) const MEASURED_BPS: &str = "CASE WHEN coalesce(measured_ns + 0, 2) > 1 THEN bandwidth_bps END";
/// Stands in the sums of an hour for the least bandwidth where packets were counted for no window.
pub(super) const NO_BPS: i64 = i64::MAX;
pub(super) const WINDOW_REALS: [&str; 3] = ["rtt_mean_ms", "rtt_max_ms", "rtt_shortest_ms"];

fn hour_sums(dialect: Dialect) -> String {
    let [windows, span, packets, bytes, connections, samples] =
        ["windows", "span_ns", "packets", "bytes", "connections", "rtt_samples"].map(|column| sum(dialect, column));
    format!(
        "SELECT {windows} AS windows, min(first_ns) AS first_ns, max(last_ns) AS last_ns, {span} AS span_ns, \
         {packets} AS packets, {bytes} AS bytes, {connections} AS connections, nullif(min(min_bps), {NO_BPS}) AS min_bps, \
         CASE WHEN min(min_bps) < {NO_BPS} THEN max(max_bps) END AS max_bps, {samples} AS rtt_samples, sum(rtt_sum_ms) AS rtt_sum_ms, \
         min(coalesce(rtt_shortest_ms, rtt_min_ms)) AS rtt_min_ms, \
         count(rtt_min_ms) - count(rtt_shortest_ms) AS rtt_means, max(rtt_max_ms) AS rtt_max_ms FROM window_hours"
    )
}

fn window_sums(dialect: Dialect) -> String {
    let [span, packets, bytes, connections, samples] =
        [MEASURED, "packets", "bytes", "connections", "rtt_samples"].map(|of| sum(dialect, of));
    format!(
        "SELECT count(*) AS windows, min(start_ns) AS first_ns, max(end_ns) AS last_ns, {span} AS span_ns, \
         {packets} AS packets, {bytes} AS bytes, {connections} AS connections, min({MEASURED_BPS}) AS min_bps, \
         max({MEASURED_BPS}) AS max_bps, {samples} AS rtt_samples, sum(rtt_samples * rtt_mean_ms) AS rtt_sum_ms, \
         min(coalesce(rtt_shortest_ms, rtt_mean_ms)) AS rtt_min_ms, \
         count(rtt_mean_ms) - count(rtt_shortest_ms) AS rtt_means, max(rtt_max_ms) AS rtt_max_ms FROM windows"
    )
}

impl WindowsSummary {
    fn read(row: &db::Row) -> Result<Self, Unreadable> {
        Ok(Self {
            windows: row.int("windows")?,
            first_ns: row.opt_int("first_ns")?,
            last_ns: row.opt_int("last_ns")?,
            span_ns: row.int("span_ns")?,
            packets: row.int("packets")?,
            bytes: row.int("bytes")?,
            connections: row.int("connections")?,
            min_bps: row.opt_int("min_bps")?,
            max_bps: row.opt_int("max_bps")?,
            rtt_samples: row.int("rtt_samples")?,
            rtt_sum_ms: row.opt_real("rtt_sum_ms")?,
            rtt_min_ms: row.opt_real("rtt_min_ms")?,
            rtt_means: row.int("rtt_means")?,
            rtt_max_ms: row.opt_real("rtt_max_ms")?,
        })
    }

    fn add(&mut self, other: &Self) {
        /// The one that `pick` chooses, where both are there.
        fn both<T>(a: Option<T>, b: Option<T>, pick: fn(T, T) -> T) -> Option<T> {
            match (a, b) {
                (Some(a), Some(b)) => Some(pick(a, b)),
                (a, b) => a.or(b),
            }
        }
        self.windows = self.windows.saturating_add(other.windows);
        self.first_ns = both(self.first_ns, other.first_ns, i64::min);
        self.last_ns = both(self.last_ns, other.last_ns, i64::max);
        self.span_ns = self.span_ns.saturating_add(other.span_ns);
        self.packets = self.packets.saturating_add(other.packets);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.connections = self.connections.saturating_add(other.connections);
        self.min_bps = both(self.min_bps, other.min_bps, i64::min);
        self.max_bps = both(self.max_bps, other.max_bps, i64::max);
        self.rtt_samples = self.rtt_samples.saturating_add(other.rtt_samples);
        self.rtt_sum_ms = both(self.rtt_sum_ms, other.rtt_sum_ms, |a, b| a + b);
        self.rtt_min_ms = both(self.rtt_min_ms, other.rtt_min_ms, f64::min);
        self.rtt_means = self.rtt_means.saturating_add(other.rtt_means);
        self.rtt_max_ms = both(self.rtt_max_ms, other.rtt_max_ms, f64::max);
    }
}
