//! The event log: what happened, numbered without end within a database, committed with what it is about.

use super::db::Query;
use super::{Store, StoreError, from_sql, to_sql};
use nta_core::domain::Timestamp;

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its number, from 1; never given twice in a database.
    pub seq: u64,
    /// When it happened.
    pub time: Timestamp,
    /// `window_closed`, `alert_changed`, `run_begun`, `run_ended`, `store_trouble`.
    pub kind: String,
    /// Row of the run that it belongs to; 0 for none.
    pub run: u64,
    /// A JSON object that names what it is about.
    pub body: String,
}

impl Store {
    /// The events behind number `seq`, at most `limit`.
    pub async fn events_after(&self, seq: u64, limit: u32) -> Result<Vec<StoredEvent>, StoreError> {
        let query =
            Query::new("SELECT seq, time_ns, kind, run_id, body FROM events WHERE seq > $1 ORDER BY seq LIMIT $2");
        self.read("events", query.bind(to_sql(seq)).bind(i64::from(limit)), |row| {
            Ok(StoredEvent {
                seq: from_sql(row.int("seq")?),
                time: Timestamp::from_nanos(from_sql(row.natural("time_ns")?)),
                kind: row.text("kind")?,
                run: from_sql(row.int("run_id")?),
                body: row.text("body")?,
            })
        })
        .await
    }

    /// Number of the newest event.
    pub async fn last_event(&self) -> Result<u64, StoreError> {
        self.total("events").await
    }
}

/// The wall clock: by it the log says when the database took nothing.
pub(super) fn now() -> Timestamp {
    Timestamp::from_nanos(u64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or_default())
}
