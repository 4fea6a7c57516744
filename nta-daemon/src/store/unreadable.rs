//! Rows that cannot be used: somebody, or a bad disk, changed them. They are set aside, which is counted and logged, and the
//! others are answered.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::db::{Query, Row};
use super::{Store, StoreError};

/// Why a row cannot be used.
#[derive(Debug)]
pub(super) struct Unreadable(String);

impl Unreadable {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }

    /// The error that a request for this one row gets.
    pub(super) fn of(self, table: &'static str, id: i64) -> StoreError {
        StoreError::Corrupt { table, id, reason: self.0 }
    }
}

impl From<sqlx::Error> for Unreadable {
    fn from(error: sqlx::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<StoreError> for Unreadable {
    fn from(error: StoreError) -> Self {
        Self(error.chain())
    }
}

/// How many rows were set aside, by table. A row counts each time that it is met.
#[derive(Debug, Default)]
pub(super) struct SetAside(Mutex<BTreeMap<&'static str, u64>>);

impl SetAside {
    pub(super) fn snapshot(&self) -> BTreeMap<String, u64> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().map(|(table, count)| ((*table).to_owned(), *count)).collect()
    }

    /// Counts a row. The log has the first of a table, then the second, the fourth, the eighth.
    fn add(&self, table: &'static str, reason: &str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(table).or_default();
        *count += 1;
        if count.is_power_of_two() {
            tracing::warn!(table, count, reason, "store: a row cannot be read and is left out");
        }
    }
}

/// Those of some rows that can be used, where a transaction reads them; the log has the others in one line.
pub(super) fn usable<T>(table: &'static str, rows: impl IntoIterator<Item = Result<T, Unreadable>>) -> Vec<T> {
    let (mut left_out, mut first) = (0_u64, None);
    let mut keep = |row: Result<T, Unreadable>| match row {
        Ok(row) => Some(row),
        Err(Unreadable(reason)) => {
            left_out += 1;
            first.get_or_insert(reason);
            None
        }
    };
    let rows = rows.into_iter().filter_map(&mut keep).collect();
    if let Some(reason) = first {
        tracing::warn!(table, rows = left_out, reason, "store: rows cannot be read and are left out");
    }
    rows
}

impl Store {
    /// Reads rows, each by `read`; those that cannot be used are set aside.
    pub(super) async fn read<T>(
        &self,
        table: &'static str,
        query: Query,
        read: impl Fn(&Row) -> Result<T, Unreadable>,
    ) -> Result<Vec<T>, StoreError> {
        let rows = self.database.fetch_all(query).await.map_err(StoreError::query(table))?;
        Ok(rows.iter().filter_map(|row| self.usable(table, read(row))).collect())
    }

    /// Reads the one row that was asked for: that it cannot be used is the answer.
    pub(super) async fn read_one<T>(
        &self,
        table: &'static str,
        query: Query,
        id: i64,
        read: impl Fn(&Row) -> Result<T, Unreadable>,
    ) -> Result<Option<T>, StoreError> {
        let row = self.database.fetch_optional(query).await.map_err(StoreError::query(table))?;
        let Some(row) = row else { return Ok(None) };
        read(&row).map(Some).map_err(|unreadable| {
            self.counters.set_aside.add(table, &unreadable.0);
            unreadable.of(table, id)
        })
    }

    /// A row that was read; one that cannot be used is counted.
    pub(super) fn usable<T>(&self, table: &'static str, row: Result<T, Unreadable>) -> Option<T> {
        row.map_err(|Unreadable(reason)| self.counters.set_aside.add(table, &reason)).ok()
    }
}
