//! The table `anomalies`: what was found in each window.

use super::alerts::{score_of, severity_of};
use super::body::{AnomalyBody, FindingRecord};
use super::db;
use super::db::{Query, Value};
use super::list::{Branch, Condition, Listed, MOST_READ, SOON, Way, when};
use super::sensor::{self, Whose, sensor, sensor_number, sensor_of_run};
use super::sums::{are_natural, sum};
use super::unreadable::Unreadable;
use super::window_ids::WindowRef;
use super::{Key, Position, Store, StoreError, from_sql, to_sql};
use nta_core::domain::{AlertId, Finding, Severity, Timestamp};

/// A finding that became part of an alert.
#[derive(Clone, Debug)]
pub struct Anomaly {
    /// Number in the run, from 1.
    pub number: u64,
    /// The alert.
    pub alert: AlertId,
    /// The alert's severity with this finding.
    pub severity: Severity,
    /// What was found.
    pub finding: Finding,
}

/// Which anomalies.
#[derive(Clone, Debug, Default)]
pub struct AnomalyFilter {
    /// Of this kind.
    pub kind: Option<&'static str>,
    /// Of this severity.
    pub severity: Option<Severity>,
    /// Of one of these kinds; of all where there is none.
    pub kinds: Vec<&'static str>,
    /// Of one of these severities; of all where there is none.
    pub severities: Vec<Severity>,
    /// In windows that end behind this time.
    pub from: Option<Timestamp>,
    /// In windows that start before this time.
    pub to: Option<Timestamp>,
    /// Of these sensors.
    pub whose: Whose,
}

impl AnomalyFilter {
    /// The one sensor that is asked for, if it is one.
    fn one(&self) -> Option<&str> {
        match self.whose.names() {
            [one] => Some(one),
            _ => None,
        }
    }

    fn push_kind(&self, query: &mut Query) {
        // Of a sensor, its own index finds the rows.
        let [is_kind, is_severity] = if self.one().is_some() {
            [" AND coalesce(kind, '') = ", " AND severity + 0 = "]
        } else {
            [" AND kind = ", " AND severity = "]
        };
        if let Some(kind) = self.kind {
            query.push(is_kind).push_bind(kind);
        }
        if let Some(severity) = self.severity {
            query.push(is_severity).push_bind(severity as i64);
        }
        self.several().for_each(|one_of| one_of.push(query));
    }

    /// Those filters that take several words.
    fn several(&self) -> impl Iterator<Item = Condition> {
        let kinds: Vec<Value> = self.kinds.iter().map(|kind| (*kind).into()).collect();
        let severities: Vec<Value> = self.severities.iter().map(|severity| (*severity as i64).into()).collect();
        let several = [("coalesce(kind, '')", kinds), ("severity + 0", severities)].into_iter();
        several
            .filter(|(_, values)| !values.is_empty())
            .map(|(expression, values)| Condition::one_of(expression, values))
    }

    fn push_starts(&self, query: &mut Query, longest_ns: i64) {
        if let Some(sensor) = self.one() {
            let first = self.from.map_or(0, |from| to_sql(from.as_nanos()).saturating_sub(longest_ns));
            let end = self.to.map_or(i64::MAX, |to| to_sql(to.as_nanos()));
            for (sql, start_ns) in [(OF_SENSOR_FROM, first), (OF_SENSOR_TO, end)] {
                Condition::new(sql, vec![sensor.into(), start_ns.into()]).push(query);
            }
            return;
        }
        self.whose.only().iter().for_each(|only| only.push(query));
        if let Some(from) = self.from {
            query.push(" AND start_ns > ").push_bind(to_sql(from.as_nanos()).saturating_sub(longest_ns));
        }
        if let Some(to) = self.to {
            query.push(" AND start_ns < ").push_bind(to_sql(to.as_nanos()));
        }
    }

    /// The filters, written so that they use no index.
    fn rest(&self, kind: bool, severity: bool, sensor: bool) -> Vec<Condition> {
        let kind = self.kind.filter(|_| kind).map(|kind| when("coalesce(kind, '') = ?", kind));
        let severity = self.severity.filter(|_| severity).map(|severity| when("severity + 0 = ?", severity as i64));
        let sensor = self.whose.only().filter(|_| sensor);
        [kind, severity, sensor].into_iter().flatten().chain(self.several()).collect()
    }

    fn ways(&self, sort: AnomalySort, longest_ns: i64) -> Vec<Way> {
        let [from, to] = [self.from, self.to].map(|time| time.map(|time| to_sql(time.as_nanos())));
        let low = from.map(|from| from.saturating_sub(longest_ns).saturating_add(1));
        let edge = || from.map(|from| when("end_ns + 0 > ?", from)).into_iter().collect();
        let of =
            |index: Option<Condition>| Branch { index: index.into_iter().collect(), edge: edge(), ..Branch::default() };
        let kind = self.kind.map(|kind| when("kind = ?", kind));
        let severity = self.severity.map(|severity| when("severity = ?", severity as i64));
        let led = self.whose.led();
        // The filters in turn, then the time alone.
        let mut by_time = Vec::new();
        by_time.extend(kind.map(|kind| (of(Some(kind)), self.rest(false, true, true))));
        by_time.extend(severity.map(|severity| (of(Some(severity)), self.rest(true, false, true))));
        if led.is_empty() {
            by_time.push((of(None), self.rest(true, true, true)));
        }
        if sort == AnomalySort::Time {
            let way = |(branch, rest)| Way { low, high: to, ..Way::in_order(branch, rest, MOST_READ) };
            let of_sensor = (!led.is_empty()).then(|| {
                let all = way((of(None), self.rest(true, true, false)));
                all.led_by(led, |sensor| vec![sensor::lead(sensor)])
            });
            return by_time.into_iter().map(way).chain(of_sensor).collect();
        }
        let mut rest = self.rest(true, true, true);
        rest.extend(low.map(|low| when("start_ns + 0 >= ?", low)));
        rest.extend(to.map(|to| when("start_ns + 0 < ?", to)));
        let in_order = |most| Way::in_order(of(None), rest.clone(), most);
        let sorted = by_time.into_iter().map(|(mut branch, rest)| {
            branch.index.extend([when("start_ns >= ?", low.unwrap_or(0))]);
            branch.index.extend(to.map(|to| when("start_ns < ?", to)));
            Way::sorted(branch, rest)
        });
        let of_sensor = (!led.is_empty()).then(|| {
            Way::sorted(of(None), self.rest(true, true, false)).found_by(led, |sensor| {
                [(OF_SENSOR_FROM, low.unwrap_or(0)), (OF_SENSOR_TO, to.unwrap_or(i64::MAX))]
                    .map(|(sql, start_ns)| Condition::new(sql, vec![sensor.as_str().into(), start_ns.into()]))
            })
        });
        std::iter::once(in_order(SOON)).chain(sorted).chain(of_sensor).chain([in_order(MOST_READ)]).collect()
    }
}

/// Anomalies that are counted at most where they are read for it.
const MOST_COUNTED: u64 = 100_000;

/// A sensor's anomalies, by the index that holds them.
const OF_SENSOR_FROM: &str = concat!("(sensor_id, start_ns) >= (", sensor_number!(), ", ?)");
const OF_SENSOR_TO: &str = concat!("(sensor_id, start_ns) < (", sensor_number!(), ", ?)");

const ANOMALIES: Listed = Listed {
    table: "anomalies",
    columns: concat!(
        "id, run_id, alert_id, kind, severity, source, destination, score_ppm, start_ns, body, ",
        sensor_of_run!(),
        " AS sensor"
    ),
    order: "start_ns",
    id: "id",
};

/// Order of a list of anomalies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnomalySort {
    /// By the start of the window.
    Time,
    /// By score.
    Score,
    /// By severity.
    Severity,
}

impl AnomalySort {
    const fn column(self) -> &'static str {
        match self {
            Self::Time => "start_ns",
            Self::Score => "score_ppm",
            Self::Severity => "severity",
        }
    }
}

/// Some anomalies, and where the next page begins.
#[derive(Clone, Debug)]
pub struct AnomalyPage {
    /// The anomalies.
    pub items: Vec<StoredAnomaly>,
    /// Key of the last one, when there are more behind it.
    pub next: Option<Key>,
}

/// How many anomalies of a kind and severity there are.
#[derive(Clone, Debug, PartialEq)]
pub struct KindCount {
    /// Kind.
    pub kind: String,
    /// Severity, 0 to 3.
    pub severity: i64,
    /// How many.
    pub count: i64,
    /// Alerts that they are part of.
    pub alerts: i64,
    /// Start of the first window in nanoseconds.
    pub first_ns: i64,
    /// End of the last one.
    pub last_ns: i64,
    /// Sum of their scores in millionths.
    pub score_sum_ppm: i64,
    /// The highest of them.
    pub score_max_ppm: i64,
}

/// An anomaly as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredAnomaly {
    /// Name of the sensor that saw it; `None` where it was not noted.
    pub sensor: Option<String>,
    /// Its row.
    pub id: u64,
    /// The alert.
    pub alert: String,
    /// Kind, such as `port_scan`.
    pub kind: String,
    /// Severity of the alert in that window.
    pub severity: Severity,
    /// How sure the detector is.
    pub score: f64,
    /// Who does it; `None` when nobody in particular.
    pub source: Option<String>,
    /// Who suffers it.
    pub destination: Option<String>,
    /// Port at the destination, where it is about one.
    pub port: Option<u16>,
    /// What was found.
    pub finding: FindingRecord,
    /// The window.
    pub window: WindowRef,
}

impl StoredAnomaly {
    fn read(row: &db::Row) -> Result<Self, Unreadable> {
        let id = row.int("id")?;
        let AnomalyBody { score, port, finding, .. } = AnomalyBody::read(id, &row.text("body")?)?;
        Ok(Self {
            sensor: sensor(row),
            id: from_sql(id),
            alert: row.text("alert_id")?,
            kind: row.text("kind")?,
            severity: severity_of(row.int("severity")?)?,
            score: score_of(score)?,
            source: row.opt_text("source")?,
            destination: row.opt_text("destination")?,
            port,
            window: WindowRef::of(row, finding.window()),
            finding,
        })
    }
}

impl KindCount {
    fn read(row: &db::Row) -> Result<Self, Unreadable> {
        let severity = row.int("severity")?;
        severity_of(severity)?;
        Ok(Self {
            kind: row.text("kind")?,
            severity,
            count: row.natural("count")?,
            alerts: row.natural("alerts")?,
            first_ns: row.natural("first_ns")?,
            last_ns: row.natural("last_ns")?,
            score_sum_ppm: row.natural("score_sum_ppm")?,
            score_max_ppm: row.natural("score_max_ppm")?,
        })
    }
}

impl Store {
    /// Anomalies of an alert, the worst first: at most so many.
    pub async fn anomalies_of_alert(&self, id: &str, most: u32) -> Result<Vec<StoredAnomaly>, StoreError> {
        let Listed { table, columns, .. } = ANOMALIES;
        let query = Query::new(format!(
            "SELECT {columns} FROM {table} WHERE alert_id = $1 ORDER BY alert_id DESC, severity DESC LIMIT $2"
        ));
        let mut found = self.read(table, query.bind(id).bind(i64::from(most)), StoredAnomaly::read).await?;
        self.find_windows(found.iter_mut().map(|anomaly| &mut anomaly.window).collect()).await?;
        Ok(found)
    }

    /// A page of anomalies.
    pub async fn anomalies(
        &self,
        filter: &AnomalyFilter,
        sort: AnomalySort,
        position: Position,
    ) -> Result<AnomalyPage, StoreError> {
        self.anomaly_page(&filter.ways(sort, self.longest_window().await?), sort, position).await
    }

    /// A page of the anomalies of the stored window with this id.
    pub async fn anomalies_of_window(
        &self,
        window: u64,
        sort: AnomalySort,
        position: Position,
    ) -> Result<AnomalyPage, StoreError> {
        let window = when(
            "(run_id, start_ns, end_ns) IN (SELECT run_id, start_ns, end_ns FROM windows WHERE id = ?)",
            to_sql(window),
        );
        let way = Way::sorted(Branch { index: vec![window], ..Branch::default() }, Vec::new());
        self.anomaly_page(&[way], sort, position).await
    }

    async fn anomaly_page(
        &self,
        ways: &[Way],
        sort: AnomalySort,
        position: Position,
    ) -> Result<AnomalyPage, StoreError> {
        let listed = Listed { order: sort.column(), ..ANOMALIES };
        let rows = self.list(&listed, ways, position.and_one(), StoredAnomaly::read).await?;
        let (mut items, next) = position.cut(rows);
        self.find_windows(items.iter_mut().map(|anomaly| &mut anomaly.window).collect()).await?;
        Ok(AnomalyPage { items, next })
    }

    /// How many stored anomalies pass the filter, by kind and severity. All of them are read from what was counted as they came
    /// and went; of an interval or a sensor the rows are read.
    pub async fn anomaly_counts(&self, filter: &AnomalyFilter) -> Result<Vec<KindCount>, StoreError> {
        if filter.from.is_none() && filter.to.is_none() && filter.whose.is_all() {
            let mut query = Query::new("SELECT * FROM anomaly_totals WHERE 1 = 1");
            filter.push_kind(&mut query);
            query.push(" ORDER BY kind, severity");
            return self.read("anomaly_totals", query, KindCount::read).await;
        }
        let longest_ns = self.longest_window().await?;
        let mut far = Query::new("SELECT start_ns FROM anomalies WHERE 1 = 1");
        filter.push_starts(&mut far, longest_ns);
        far.push(if filter.one().is_some() { " ORDER BY sensor_id, start_ns" } else { " ORDER BY start_ns" });
        far.push(" LIMIT 1 OFFSET ").push_bind(to_sql(MOST_COUNTED));
        if !self.read("anomalies", far, |row| Ok(row.first()?)).await?.is_empty() {
            return Err(StoreError::TooMuch { table: "anomalies", most: MOST_COUNTED });
        }
        // By expressions, so that the rows are found by time and not read in the order of their groups.
        let dialect = self.database.dialect();
        let mut query = Query::new(format!(
            "SELECT coalesce(kind, '') AS kind, severity + 0 AS severity, count(*) AS count, \
             count(DISTINCT alert_id) AS alerts, min(start_ns) AS first_ns, max(end_ns) AS last_ns, {} AS score_sum_ppm, \
             max(score_ppm) AS score_max_ppm FROM anomalies WHERE {}",
            sum(dialect, "score_ppm"),
            are_natural(dialect, &["severity", "start_ns", "end_ns", "score_ppm"]),
        ));
        filter.push_kind(&mut query);
        filter.push_starts(&mut query, longest_ns);
        if let Some(from) = filter.from {
            query.push(" AND end_ns > ").push_bind(to_sql(from.as_nanos()));
        }
        query.push(" GROUP BY 1, 2 ORDER BY 1, 2");
        self.read("anomalies", query, KindCount::read).await
    }
}
