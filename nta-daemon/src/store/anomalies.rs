//! The table `anomalies`: what was found in each window.

use super::db;
use super::db::Query;
use super::{Key, Position, Store, StoreError, from_sql, to_sql};
use crate::json::AnomalyJson;
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
    /// In windows that end behind this time.
    pub from: Option<Timestamp>,
    /// In windows that start before this time.
    pub to: Option<Timestamp>,
    /// In the stored window with this id.
    pub window: Option<u64>,
}

impl AnomalyFilter {
    fn push(&self, query: &mut Query) {
        query.push(" WHERE 1 = 1");
        self.push_kind(query);
        self.push_place(query);
    }

    fn push_kind(&self, query: &mut Query) {
        if let Some(kind) = self.kind {
            query.push(" AND kind = ").push_bind(kind);
        }
        if let Some(severity) = self.severity {
            query.push(" AND severity = ").push_bind(severity as i64);
        }
    }

    fn push_place(&self, query: &mut Query) {
        if let Some(from) = self.from {
            let from = to_sql(from.as_nanos());
            query.push(" AND start_ns > ").push_bind(from.saturating_sub(LONGEST_NS));
            query.push(" AND end_ns > ").push_bind(from);
        }
        if let Some(to) = self.to {
            query.push(" AND start_ns < ").push_bind(to_sql(to.as_nanos()));
        }
        if let Some(window) = self.window {
            query.push(" AND (run_id, start_ns, end_ns) IN (SELECT run_id, start_ns, end_ns FROM windows WHERE id = ");
            query.push_bind(to_sql(window)).push(")");
        }
    }
}

/// No window that is judged is longer: what begins so long before a time does not reach it.
const LONGEST_NS: i64 = 36 * 3_600_000_000_000;

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
    pub items: Vec<AnomalyJson>,
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

struct SelectedAnomaly {
    id: i64,
    value: i64,
    body: String,
}

impl SelectedAnomaly {
    fn read(row: &db::Row) -> Result<Self, sqlx::Error> {
        Ok(Self { id: row.int("id")?, value: row.int("value")?, body: row.text("body")? })
    }
}

impl KindCount {
    fn read(row: &db::Row) -> Result<Self, sqlx::Error> {
        Ok(Self {
            kind: row.text("kind")?,
            severity: row.int("severity")?,
            count: row.int("count")?,
            alerts: row.int("alerts")?,
            first_ns: row.int("first_ns")?,
            last_ns: row.int("last_ns")?,
            score_sum_ppm: row.int("score_sum_ppm")?,
            score_max_ppm: row.int("score_max_ppm")?,
        })
    }
}

impl Store {
    /// A page of anomalies.
    pub async fn anomalies(
        &self,
        filter: &AnomalyFilter,
        sort: AnomalySort,
        position: Position,
    ) -> Result<AnomalyPage, StoreError> {
        let column = sort.column();
        let mut query = Query::new(format!("SELECT id, {column} AS value, body FROM anomalies"));
        filter.push(&mut query);
        position.and_one().push(&mut query, column);
        let mut rows: Vec<SelectedAnomaly> = self.read("anomalies", query, SelectedAnomaly::read).await?;
        let next = position.cut(&mut rows, |row| Key { value: row.value, id: row.id });
        let read = |row: SelectedAnomaly| {
            let anomaly: AnomalyJson = serde_json::from_str(&row.body).map_err(|error| StoreError::Corrupt {
                table: "anomalies",
                id: row.id,
                reason: format!("the body is no anomaly: {error}"),
            })?;
            Ok(AnomalyJson { id: from_sql(row.id), ..anomaly })
        };
        Ok(AnomalyPage { items: rows.into_iter().map(read).collect::<Result<_, StoreError>>()?, next })
    }

    /// How many anomalies pass the filter, by kind and severity. All of them are read from what was counted as they came,
    /// those that retention has deleted among them; of an interval the rows are read.
    pub async fn anomaly_counts(&self, filter: &AnomalyFilter) -> Result<Vec<KindCount>, StoreError> {
        if filter.from.is_none() && filter.to.is_none() && filter.window.is_none() {
            let mut query = Query::new("SELECT * FROM anomaly_totals WHERE 1 = 1");
            filter.push_kind(&mut query);
            query.push(" ORDER BY kind, severity");
            return self.read("anomaly_totals", query, KindCount::read).await;
        }
        let mut query = Query::new(
            "SELECT kind, severity, count(*) AS count, count(DISTINCT alert_id) AS alerts, min(start_ns) AS first_ns, \
             max(end_ns) AS last_ns, CAST(sum(score_ppm) AS BIGINT) AS score_sum_ppm, max(score_ppm) AS score_max_ppm FROM anomalies",
        );
        filter.push(&mut query);
        query.push(" GROUP BY kind, severity ORDER BY kind, severity");
        self.read("anomalies", query, KindCount::read).await
    }
}
