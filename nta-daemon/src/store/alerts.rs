//! The table `detected_alerts`: written by the pipeline, read with what people did about each.

use super::db;
use super::db::Query;
use super::{Key, Position, Store, StoreError, from_sql, to_sql};
use crate::json::AlertJson;
use nta_core::domain::{Severity, Timestamp};

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
    fn push(&self, query: &mut Query) {
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
            query.push(" AND (source = ").push_bind(host.clone());
            query.push(" OR destination = ").push_bind(host.clone()).push(")");
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
    /// As the pipeline emitted it last.
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

struct SelectedAlert {
    number: i64,
    value: i64,
    body: String,
    status: String,
    status_by: Option<String>,
    status_at_ns: Option<i64>,
    state: String,
    cleared_ns: Option<i64>,
    end_reason: Option<String>,
}

const COLUMNS: &str = "body, status, status_by, status_at_ns, state, cleared_ns, end_reason FROM detected_alerts";

impl SelectedAlert {
    fn read(row: &db::Row) -> Result<Self, sqlx::Error> {
        Ok(Self {
            number: row.int("number")?,
            value: row.int("value")?,
            body: row.text("body")?,
            status: row.text("status")?,
            status_by: row.opt_text("status_by")?,
            status_at_ns: row.opt_int("status_at_ns")?,
            state: row.text("state")?,
            cleared_ns: row.opt_int("cleared_ns")?,
            end_reason: row.opt_text("end_reason")?,
        })
    }

    fn alert(self) -> Result<StoredAlert, StoreError> {
        let corrupt = |error: serde_json::Error| StoreError::Corrupt {
            table: "detected_alerts",
            id: self.number,
            reason: format!("the body is no alert: {error}"),
        };
        let time = |ns: i64| Timestamp::from_nanos(from_sql(ns));
        let alert: AlertJson = serde_json::from_str(&self.body).map_err(corrupt)?;
        // The end of its run may have cleared it since the pipeline reported it.
        let cleared_at = self.cleared_ns.map(|ns| time(ns).to_string());
        let clear_reason = self.end_reason.or_else(|| alert.clear_reason.clone());
        Ok(StoredAlert {
            alert: AlertJson { state: self.state, cleared_at, clear_reason, ..alert },
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
        let mut query = Query::new(format!("SELECT number, {column} AS value, {COLUMNS}"));
        filter.push(&mut query);
        position.and_one().push_by(&mut query, column, "number");
        let mut rows: Vec<SelectedAlert> = self.read("detected_alerts", query, SelectedAlert::read).await?;
        let next = position.cut(&mut rows, |row| Key { value: row.value, id: row.number });
        Ok(AlertPage { items: rows.into_iter().map(SelectedAlert::alert).collect::<Result<_, _>>()?, next })
    }

    /// One alert; of several runs that found the same, the newest one's.
    pub async fn alert(&self, id: &str) -> Result<Option<StoredAlert>, StoreError> {
        let query = Query::new(format!(
            "SELECT number, raised_ns AS value, {COLUMNS} WHERE id = $1 ORDER BY run_id DESC LIMIT 1"
        ));
        let rows = self.read("detected_alerts", query.bind(id), SelectedAlert::read).await?;
        rows.into_iter().next().map(SelectedAlert::alert).transpose()
    }

    /// Kind, first and last finding of alerts that had one in this interval.
    pub async fn alerts_between(
        &self,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<(String, Timestamp, Timestamp)>, StoreError> {
        let query =
            Query::new("SELECT kind, first_ns, last_ns FROM detected_alerts WHERE last_ns > $1 AND first_ns < $2");
        let query = query.bind(to_sql(from.as_nanos())).bind(to_sql(to.as_nanos()));
        let time = |ns: i64| Timestamp::from_nanos(from_sql(ns));
        let read = |row: &db::Row| Ok((row.text("kind")?, time(row.int("first_ns")?), time(row.int("last_ns")?)));
        self.read("detected_alerts", query, read).await
    }
}
