//! The table `anomalies`: what was found in each window.

use sqlx::{FromRow, QueryBuilder, Sqlite, SqliteConnection};

use super::alerts::score;
use super::{Key, Position, RunId, Store, StoreError, from_sql, to_sql};
use crate::json::{AnomalyJson, party};
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

pub(super) async fn write(
    connection: &mut SqliteConnection,
    run: RunId,
    anomalies: &[Anomaly],
) -> Result<(), StoreError> {
    for anomaly in anomalies {
        let finding = &anomaly.finding;
        let (alert, severity) = (anomaly.alert.to_string(), anomaly.severity.word().to_owned());
        let json = AnomalyJson { alert: Some(alert.clone()), severity: Some(severity), ..AnomalyJson::from(finding) };
        let encode = |source| StoreError::Encode { table: "anomalies", number: anomaly.number, source };
        let body = serde_json::to_string(&json).map_err(encode)?;
        sqlx::query(
            "INSERT INTO anomalies (run_id, number, alert_id, kind, severity, source, destination, score_ppm, \
             start_ns, end_ns, body) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
             ON CONFLICT (run_id, number) DO NOTHING",
        )
        .bind(run.0)
        .bind(to_sql(anomaly.number))
        .bind(alert)
        .bind(finding.kind.word())
        .bind(anomaly.severity as i64)
        .bind(party(&finding.source))
        .bind(party(&finding.destination))
        .bind(score(finding.score))
        .bind(to_sql(finding.start.as_nanos()))
        .bind(to_sql(finding.end.as_nanos()))
        .bind(body)
        .execute(&mut *connection)
        .await
        .map_err(StoreError::query("anomalies"))?;
    }
    Ok(())
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
    fn push(&self, query: &mut QueryBuilder<Sqlite>) {
        query.push(" WHERE 1 = 1");
        if let Some(kind) = self.kind {
            query.push(" AND kind = ").push_bind(kind);
        }
        if let Some(severity) = self.severity {
            query.push(" AND severity = ").push_bind(severity as i64);
        }
        if let Some(from) = self.from {
            query.push(" AND end_ns > ").push_bind(to_sql(from.as_nanos()));
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
#[derive(Clone, Debug, PartialEq, FromRow)]
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

#[derive(FromRow)]
struct Row {
    id: i64,
    value: i64,
    body: String,
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
        let mut query = QueryBuilder::new(format!("SELECT id, {column} AS value, body FROM anomalies"));
        filter.push(&mut query);
        position.and_one().push(&mut query, column);
        let rows = query.build_query_as().fetch_all(&self.read).await;
        let mut rows: Vec<Row> = rows.map_err(StoreError::query("anomalies"))?;
        let next = position.cut(&mut rows, |row| Key { value: row.value, id: row.id });
        let read = |row: Row| {
            let anomaly: AnomalyJson = serde_json::from_str(&row.body).map_err(|error| StoreError::Corrupt {
                table: "anomalies",
                id: row.id,
                reason: format!("the body is no anomaly: {error}"),
            })?;
            Ok(AnomalyJson { id: from_sql(row.id), ..anomaly })
        };
        Ok(AnomalyPage { items: rows.into_iter().map(read).collect::<Result<_, StoreError>>()?, next })
    }

    /// How many anomalies pass the filter, by kind and severity.
    pub async fn anomaly_counts(&self, filter: &AnomalyFilter) -> Result<Vec<KindCount>, StoreError> {
        let mut query = QueryBuilder::new(
            "SELECT kind, severity, count(*) AS count, count(DISTINCT alert_id) AS alerts, min(start_ns) AS first_ns, \
             max(end_ns) AS last_ns, sum(score_ppm) AS score_sum_ppm, max(score_ppm) AS score_max_ppm FROM anomalies",
        );
        filter.push(&mut query);
        query.push(" GROUP BY kind, severity ORDER BY kind, severity");
        query.build_query_as().fetch_all(&self.read).await.map_err(StoreError::query("anomalies"))
    }
}
