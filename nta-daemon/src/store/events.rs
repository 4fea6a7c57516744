//! The event log: what happened, numbered without end within a database, committed with what it is about.
//!
//! A number is given by the transaction that commits the event, from a row that all writers change: who reads the log up to a
//! number never misses a smaller one that comes later. While the database is away, events wait in the spool with their batch.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::db::Query;
use super::write::{Event, log};
use super::{Store, StoreError, from_sql, to_sql};
use nta_core::domain::{Mode, Severity, Timestamp};

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its number, from 1; never given twice in a database.
    pub seq: u64,
    /// When it happened.
    pub time: Timestamp,
    /// One of [`nta_core::domain::EVENT_TYPES`].
    pub kind: String,
    /// Row of the run that it belongs to; 0 for none.
    pub run: u64,
    /// The sensor of that run.
    pub sensor: Option<String>,
    /// Whether that run captures live.
    pub is_live: bool,
    /// How bad it is, where it is something bad.
    pub severity: Option<Severity>,
    /// A JSON object that says what it is about.
    pub body: String,
}

/// Which part of the log there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogState {
    /// Identity of the log: another database has another one.
    pub epoch: String,
    /// Number of the oldest event that is kept; one behind `newest` where none is.
    pub oldest: u64,
    /// Number of the newest event; 0 before the first.
    pub newest: u64,
}

/// Something that happened to the daemon itself; committed with the next window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// When, in nanoseconds since the Unix epoch.
    pub time_ns: u64,
    /// One of [`nta_core::domain::EVENT_TYPES`].
    pub kind: String,
    /// A JSON object.
    pub body: String,
}

impl Notice {
    /// About the daemon's own trouble, or that it is over.
    pub fn new(time: Timestamp, kind: &str, severity: Severity, reason: &str) -> Self {
        let body = serde_json::json!({ "severity": severity.word(), "reason": reason }).to_string();
        Self { time_ns: time.as_nanos(), kind: kind.to_owned(), body }
    }
}

impl Store {
    /// Appends an event that belongs to no window: it is of this process's run, once there is one, and of its sensor.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn log_event(&self, time: Timestamp, kind: &'static str, body: &Value) -> Result<(), StoreError> {
        let error = StoreError::query("events");
        let event = Event { time_ns: to_sql(time.as_nanos()), kind: kind.into(), body: body.to_string() };
        let mut transaction = self.database.begin().await?;
        let conn = transaction.conn().map_err(&error)?;
        let own = match self.own_run.get() {
            Some(uuid) => {
                let known = Query::new("SELECT id FROM runs WHERE uuid = $1").bind(uuid.clone());
                conn.fetch_optional(known).await.map_err(&error)?
            }
            None => None,
        };
        log(conn, own.and_then(|row| row.int("id").ok()).unwrap_or_default(), &[event]).await?;
        transaction.commit().await.map_err(error)
    }

    /// The events behind number `seq`, at most `limit`.
    pub async fn events_after(&self, seq: u64, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
        let query = Query::new(
            "SELECT seq, time_ns, kind, run_id, body, (SELECT r.sensor FROM runs r WHERE r.id = run_id) AS sensor, \
             (SELECT r.mode FROM runs r WHERE r.id = run_id) AS mode FROM events WHERE seq > $1 ORDER BY seq LIMIT $2",
        );
        self.read("events", query.bind(to_sql(seq)).bind(i64::from(limit)), |row| {
            let body = row.text("body")?;
            Ok(StoredEvent {
                seq: from_sql(row.int("seq")?),
                time: Timestamp::from_nanos(from_sql(row.natural("time_ns")?)),
                kind: row.text("kind")?,
                run: from_sql(row.int("run_id")?),
                sensor: super::sensor::sensor(row),
                is_live: row.opt_text("mode").ok().flatten().is_some_and(|mode| mode == Mode::Live.word()),
                severity: severity(&body),
                body,
            })
        })
        .await
    }

    /// Number of the newest event.
    pub async fn last_event(&self) -> Result<u64, StoreError> {
        self.total("events").await
    }

    /// Which part of the log there is, and of which log.
    pub async fn log_state(&self) -> Result<LogState, StoreError> {
        let epoch = self.meta("log_epoch").await?.unwrap_or_default();
        let first = Query::new("SELECT seq FROM events ORDER BY seq LIMIT 1");
        let first: Option<i64> = self.read("events", first, |row| Ok(row.first()?)).await?.pop();
        let newest = self.last_event().await?;
        Ok(LogState { epoch, oldest: first.map_or(newest + 1, from_sql), newest })
    }
}

/// The severity that an event's body states.
pub(super) fn severity(body: &str) -> Option<Severity> {
    #[derive(Deserialize)]
    struct Stated<'a> {
        #[serde(borrow, default)]
        severity: Option<std::borrow::Cow<'a, str>>,
    }
    let Stated { severity } = serde_json::from_str(body).ok()?;
    Severity::named(&severity?)
}

/// The wall clock: by it the log says when the database took nothing.
pub(super) fn now() -> Timestamp {
    Timestamp::from_nanos(u64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or_default())
}
