//! The table `detected_alerts`: written by the pipeline, read with what people did about each.

use sqlx::{FromRow, QueryBuilder, Sqlite, SqliteConnection};

use super::{Key, Position, RunId, Store, StoreError, to_sql};
use crate::json::{AlertJson, party};
use nta_core::domain::{Alert, AlertState, Severity, Timestamp};

/// Scores are kept in millionths.
pub(super) const SCORE_SCALE: f64 = 1e6;

/// Inserts or updates alerts. What people did about one is not touched.
pub(super) async fn write(connection: &mut SqliteConnection, run: RunId, alerts: &[Alert]) -> Result<(), StoreError> {
    for alert in alerts {
        let encode = |source| StoreError::Encode { table: "detected_alerts", number: alert.id.0, source };
        let body = serde_json::to_string(&AlertJson::from(alert)).map_err(encode)?;
        let state = if alert.state == AlertState::Raised { "raised" } else { "cleared" };
        sqlx::query(
            "INSERT INTO detected_alerts (id, number, run_id, kind, severity, source, destination, score_ppm, state, \
             first_ns, last_ns, raised_ns, cleared_ns, body) \
             VALUES ($1, (SELECT coalesce(max(number), 0) + 1 FROM detected_alerts), \
             $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) \
             ON CONFLICT (id) DO UPDATE SET run_id = excluded.run_id, severity = excluded.severity, \
             source = excluded.source, destination = excluded.destination, \
             score_ppm = excluded.score_ppm, state = excluded.state, first_ns = excluded.first_ns, \
             last_ns = excluded.last_ns, cleared_ns = excluded.cleared_ns, body = excluded.body",
        )
        .bind(alert.id.to_string())
        .bind(run.0)
        .bind(alert.key.kind.word())
        .bind(alert.severity as i64)
        .bind(party(&alert.key.source))
        .bind(party(&alert.key.destination))
        .bind(score(alert.finding.score))
        .bind(state)
        .bind(to_sql(alert.first.as_nanos()))
        .bind(to_sql(alert.last.as_nanos()))
        .bind(to_sql(alert.raised.as_nanos()))
        .bind(alert.cleared.map(|time| to_sql(time.as_nanos())))
        .bind(body)
        .execute(&mut *connection)
        .await
        .map_err(StoreError::query("detected_alerts"))?;
    }
    Ok(())
}

/// A score as the database sorts it.
pub(super) fn score(score: f64) -> i64 {
    (score.clamp(0.0, 1.0) * SCORE_SCALE).round() as i64
}

/// Which alerts.
#[derive(Clone, Debug, Default)]
pub struct AlertFilter {
    /// Of this kind.
    pub kind: Option<&'static str>,
    /// Of this severity.
    pub severity: Option<Severity>,
    /// With this status: open, acknowledged, resolved.
    pub status: Option<&'static str>,
    /// In this state: raised, cleared.
    pub state: Option<&'static str>,
    /// From this source.
    pub source: Option<String>,
    /// About this destination.
    pub destination: Option<String>,
    /// With this host as source or destination.
    pub host: Option<String>,
    /// With a finding that ends behind this time.
    pub from: Option<Timestamp>,
    /// With a finding that starts before this time.
    pub to: Option<Timestamp>,
}

impl AlertFilter {
    fn push(&self, query: &mut QueryBuilder<Sqlite>) {
        query.push(" WHERE 1 = 1");
        for (column, value) in [("kind", self.kind), ("status", self.status), ("state", self.state)] {
            if let Some(value) = value {
                query.push(format_args!(" AND {column} = ")).push_bind(value);
            }
        }
        for (column, value) in [("source", &self.source), ("destination", &self.destination)] {
            if let Some(value) = value {
                query.push(format_args!(" AND {column} = ")).push_bind(value.clone());
            }
        }
        if let Some(severity) = self.severity {
            query.push(" AND severity = ").push_bind(severity as i64);
        }
        if let Some(host) = &self.host {
            query.push(" AND ").push_bind(host.clone()).push(" IN (source, destination)");
        }
        if let Some(from) = self.from {
            query.push(" AND last_ns > ").push_bind(to_sql(from.as_nanos()));
        }
        if let Some(to) = self.to {
            query.push(" AND first_ns < ").push_bind(to_sql(to.as_nanos()));
        }
    }
}

/// Order of a list of alerts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertSort {
    /// By the time it was raised.
    Time,
    /// By its last finding.
    LastTime,
    /// By severity.
    Severity,
    /// By score.
    Score,
}

impl AlertSort {
    const fn column(self) -> &'static str {
        match self {
            Self::Time => "raised_ns",
            Self::LastTime => "last_ns",
            Self::Severity => "severity",
            Self::Score => "score_ppm",
        }
    }
}

/// An alert with what people did about it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredAlert {
    /// As the pipeline told it last.
    pub alert: AlertJson,
    /// `open`, `acknowledged` or `resolved`.
    pub status: String,
    /// Who changed the status last.
    pub status_by: Option<String>,
    /// When.
    pub status_at: Option<Timestamp>,
}

/// Some alerts, and where the next page begins.
#[derive(Clone, Debug)]
pub struct AlertPage {
    /// The alerts.
    pub items: Vec<StoredAlert>,
    /// Key of the last one, when there are more behind it.
    pub next: Option<Key>,
}

#[derive(FromRow)]
struct Row {
    number: i64,
    value: i64,
    body: String,
    status: String,
    status_by: Option<String>,
    status_at_ns: Option<i64>,
}

impl Row {
    fn alert(self) -> Result<StoredAlert, StoreError> {
        let corrupt = |error: serde_json::Error| StoreError::Corrupt {
            table: "detected_alerts",
            id: self.number,
            reason: format!("the body is no alert: {error}"),
        };
        let time = |ns: i64| Timestamp::from_nanos(super::from_sql(ns));
        Ok(StoredAlert {
            alert: serde_json::from_str(&self.body).map_err(corrupt)?,
            status: self.status,
            status_by: self.status_by,
            status_at: self.status_at_ns.map(time),
        })
    }
}

impl Store {
    /// A page of alerts.
    pub async fn alerts(
        &self,
        filter: &AlertFilter,
        sort: AlertSort,
        position: Position,
    ) -> Result<AlertPage, StoreError> {
        let column = sort.column();
        let mut query = QueryBuilder::new(format!(
            "SELECT number, {column} AS value, body, status, status_by, status_at_ns FROM detected_alerts"
        ));
        filter.push(&mut query);
        position.and_one().push_by(&mut query, column, "number");
        let rows = query.build_query_as().fetch_all(&self.read).await;
        let mut rows: Vec<Row> = rows.map_err(StoreError::query("detected_alerts"))?;
        let next = position.cut(&mut rows, |row| Key { value: row.value, id: row.number });
        Ok(AlertPage { items: rows.into_iter().map(Row::alert).collect::<Result<_, _>>()?, next })
    }

    /// One alert.
    pub async fn alert(&self, id: &str) -> Result<Option<StoredAlert>, StoreError> {
        let row: Option<Row> = sqlx::query_as(
            "SELECT number, raised_ns AS value, body, status, status_by, status_at_ns FROM detected_alerts WHERE id = $1",
        )
        .bind(id)
        .fetch_optional(&self.read)
        .await
        .map_err(StoreError::query("detected_alerts"))?;
        row.map(Row::alert).transpose()
    }

    /// Kind, first and last finding of alerts that had one in this interval.
    pub async fn alerts_between(
        &self,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<(String, Timestamp, Timestamp)>, StoreError> {
        let rows: Vec<(String, i64, i64)> =
            sqlx::query_as("SELECT kind, first_ns, last_ns FROM detected_alerts WHERE last_ns > $1 AND first_ns < $2")
                .bind(to_sql(from.as_nanos()))
                .bind(to_sql(to.as_nanos()))
                .fetch_all(&self.read)
                .await
                .map_err(StoreError::query("detected_alerts"))?;
        let time = |ns: i64| Timestamp::from_nanos(super::from_sql(ns));
        Ok(rows.into_iter().map(|(kind, first, last)| (kind, time(first), time(last))).collect())
    }
}
