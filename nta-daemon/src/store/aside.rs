//! Batches of the table `outbox` that are kept aside: the server refused them for good, or they cannot be read back.

use super::db::Query;
use super::unreadable::Unreadable;
use super::{Row, Store, StoreError, from_sql};
use nta_core::domain::Timestamp;

/// A batch that is never sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aside {
    /// Its number in the log.
    pub number: u64,
    /// Its bytes on disk.
    pub bytes: u64,
    /// When it was made.
    pub made: Timestamp,
    /// Why it is never sent.
    pub reason: String,
}

impl Store {
    /// The batches that are kept aside, the oldest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn batches_aside(&self, limit: u32) -> Result<Vec<Aside>, StoreError> {
        let query = Query::new(
            "SELECT seq, made_ns, bytes, refused FROM outbox WHERE refused IS NOT NULL ORDER BY seq LIMIT $1",
        );
        self.read("outbox", query.bind(i64::from(limit)), row).await
    }
}

fn row(row: &Row) -> Result<Aside, Unreadable> {
    Ok(Aside {
        number: from_sql(row.natural("seq")?),
        bytes: from_sql(row.natural("bytes")?),
        made: Timestamp::from_nanos(from_sql(row.natural("made_ns")?)),
        reason: row.text("refused")?,
    })
}
