//! The table `aggregated_features`: feature vectors of hosts.

use std::net::IpAddr;

use super::addresses::Addresses;
use super::db;
use super::db::Dialect;
use super::list::{Branch, Lead, Listed, MOST_READ, Way, when};
use super::rows::from_address;
use super::sensor::{self, Whose, sensor, sensor_of_run};
use super::unreadable::Unreadable;
use super::{BySensor, Key, Position, Store, StoreError, from_sql, to_sql};
use nta_core::domain::Timestamp;

/// What a host did in a window, as numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureRow {
    /// First instant of the window.
    pub start: Timestamp,
    /// First instant behind it.
    pub end: Timestamp,
    /// How long windows of its kind are, in nanoseconds.
    pub span_ns: u64,
    /// The host.
    pub host: IpAddr,
    /// Version of the schema that the vector follows.
    pub schema_version: u32,
    /// The values, in the schema's order.
    pub vector: Vec<f64>,
}

const TABLE: &str = "aggregated_features";
/// The host without its index.
const HOST: &str = "coalesce(host, host)";
/// How much longer than others of its length a window may be that was closed late.
const LATE_NS: i64 = 60_000_000_000;

const FEATURES: Listed = Listed {
    table: TABLE,
    columns: concat!("id, start_ns, end_ns, span_ns, host, schema_version, vector, ", sensor_of_run!(), " AS sensor"),
    order: "start_ns",
    id: "id",
};

/// By a host. SQLite takes the index of the spans, which holds the rows of all hosts, unless it is named one.
const FEATURES_OF_HOST: Listed =
    Listed { table: "aggregated_features INDEXED BY aggregated_features_by_host", ..FEATURES };

/// Which feature vectors.
#[derive(Clone, Debug, Default)]
pub struct FeatureFilter {
    /// Of windows of this length in nanoseconds.
    pub span_ns: Option<u64>,
    /// Of these hosts.
    pub hosts: Addresses,
    /// Of windows that end behind this time.
    pub from: Option<Timestamp>,
    /// Of windows that start before this time.
    pub to: Option<Timestamp>,
    /// Of these sensors.
    pub whose: Whose,
}

/// Some feature vectors, and where the next page begins.
#[derive(Clone, Debug)]
pub struct FeaturePage {
    /// Id and vector.
    pub items: Vec<(u64, BySensor<FeatureRow>)>,
    /// Key of the last one, when there are more behind it.
    pub next: Option<Key>,
}

fn read(row: &db::Row) -> Result<(u64, BySensor<FeatureRow>), Unreadable> {
    let time = |ns: i64| Timestamp::from_nanos(from_sql(ns));
    let features = FeatureRow {
        start: time(row.natural("start_ns")?),
        end: time(row.natural("end_ns")?),
        span_ns: from_sql(row.natural("span_ns")?),
        host: from_address(&row.blob("host")?).ok_or_else(|| Unreadable::new("the host is no address"))?,
        schema_version: row.small("schema_version")?,
        vector: serde_json::from_str(&row.text("vector")?)
            .map_err(|error| Unreadable::new(format!("vector: {error}")))?,
    };
    Ok((from_sql(row.int("id")?), BySensor { sensor: sensor(row), item: features }))
}

impl Store {
    /// A page of feature vectors, in the order of time.
    pub async fn features(&self, filter: &FeatureFilter, position: Position) -> Result<FeaturePage, StoreError> {
        let span_ns = filter.span_ns.map(to_sql);
        let [from, to] = [filter.from, filter.to].map(|time| time.map(|time| to_sql(time.as_nanos())));
        let hosts = filter.hosts.sought();
        let edge: Vec<_> = from.map(|from| when("end_ns + 0 > ?", from)).into_iter().collect();
        let only: Vec<_> = filter.whose.only().into_iter().collect();
        let longest_ns = span_ns.unwrap_or_default().saturating_add(LATE_NS);
        let low = from.map(|from| from.saturating_sub(longest_ns));
        let led = filter.whose.led();
        let of_sensor = span_ns.filter(|_| !led.is_empty()).map(|span_ns| {
            let rest = hosts.in_one_of(&[HOST]).into_iter().collect();
            let way = Way::in_order(Branch { edge: edge.clone(), ..Branch::default() }, rest, MOST_READ);
            let lead = |sensor: &str| vec![sensor::lead(sensor), Lead::new("span_ns", "?", span_ns)];
            Way { low, high: to, ..way.led_by(led, lead) }
        });
        let span: Vec<_> = span_ns.map(|span_ns| when("span_ns = ?", span_ns)).into_iter().collect();
        let of_span = Branch { index: span.clone(), edge: edge.clone(), ..Branch::default() };
        let all = position.and_one();
        if hosts.is_any() {
            let way = Way { low, high: to, ..Way::in_order(of_span, only, MOST_READ) };
            let rows = self.list(&FEATURES, &[of_sensor.unwrap_or(way)], all, read).await?;
            let (items, next) = position.cut(rows);
            return Ok(FeaturePage { items, next });
        }
        // Those of hosts by their own rows, else by all of the span.
        let is_named = hosts.is_exact() && self.database.dialect() == Dialect::Sqlite;
        let listed = if is_named { &FEATURES_OF_HOST } else { &FEATURES };
        let way = if hosts.is_exact() {
            let index = |host| std::iter::once(host).chain(span.iter().cloned()).collect();
            let of_host = |host| Branch { index: index(host), edge: edge.clone(), ..Branch::default() };
            let way = Way::in_order(Branch::default(), only.clone(), MOST_READ);
            Way { branches: hosts.each("host").map(of_host).collect(), low, high: to, ..way }
        } else {
            let span = span_ns.map(|span_ns| when("span_ns + 0 = ?", span_ns));
            let end = to.map(|to| when("start_ns + 0 < ?", to));
            let rest = only.iter().chain(&edge).cloned().chain(span).chain(end).collect();
            let of_network = |network| Branch { index: vec![network], ..Branch::default() };
            Way { branches: hosts.each("host").map(of_network).collect(), ..Way::sorted(Branch::default(), rest) }
        };
        let rows = match self.list(listed, &[way], all, read).await {
            Err(StoreError::TooMuch { .. }) => {
                let rest = only.into_iter().chain(hosts.in_one_of(&[HOST])).collect();
                let of_span = Way { low, high: to, ..Way::in_order(of_span, rest, MOST_READ) };
                self.list(&FEATURES, &[of_sensor.unwrap_or(of_span)], all, read).await?
            }
            rows => rows?,
        };
        let (items, next) = position.cut(rows);
        Ok(FeaturePage { items, next })
    }

    /// Counts hosts whose vectors were not stored because they were not among the most active.
    pub fn count_features_left_out(&self, hosts: u64) {
        self.counters.features_left_out.fetch_add(hosts, std::sync::atomic::Ordering::Relaxed);
    }
}
