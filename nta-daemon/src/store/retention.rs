//! What is kept: the newest windows, flows and heads of frames. Deletes oldest first, in small transactions between batches.

use std::sync::atomic::Ordering::Relaxed;

use super::{Store, StoreError, to_sql};

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Windows; 200,000 of 5 s are eleven days.
    pub max_windows: u64,
    /// Flows.
    pub max_flows: u64,
    /// Heads of frames; a million is some 200 MB.
    pub max_raw_packets: u64,
    /// Rows that are this much older than the newest one, in nanoseconds, are deleted; `None` keeps them. Measured
    /// against the newest row and not the clock, so that the replay of an old capture is not deleted at once.
    pub max_age_ns: Option<u64>,
}

impl Default for Retention {
    fn default() -> Self {
        Self { max_windows: 200_000, max_flows: 1_000_000, max_raw_packets: 1_000_000, max_age_ns: None }
    }
}

/// Rows deleted in one transaction, so that neither the writer nor another process waits long.
const DELETE_ROWS: i64 = 10_000;

impl Store {
    /// Deletes what is too much or too old.
    pub(super) async fn retain(&self) -> Result<(), StoreError> {
        // Ids count up without gaps but at the old end, so that no row needs to be counted.
        let windows = "DELETE FROM windows WHERE id IN (SELECT id FROM windows WHERE id <= \
                       (SELECT max(id) FROM windows) - $1 ORDER BY id LIMIT $2)";
        self.delete("windows", windows, to_sql(self.retention.max_windows)).await?;
        let flows = "DELETE FROM flows WHERE id IN (SELECT id FROM flows ORDER BY last_ns, id \
                     LIMIT min($2, max(0, (SELECT count(*) FROM flows) - $1)))";
        self.delete("flows", flows, to_sql(self.retention.max_flows)).await?;
        let raw = "DELETE FROM raw_packets WHERE id IN (SELECT id FROM raw_packets WHERE id <= \
                   (SELECT max(id) FROM raw_packets) - $1 ORDER BY id LIMIT $2)";
        self.delete("raw_packets", raw, to_sql(self.retention.max_raw_packets)).await?;
        let Some(age_ns) = self.retention.max_age_ns.map(to_sql) else { return Ok(()) };
        let windows = "DELETE FROM windows WHERE id IN (SELECT id FROM windows WHERE start_ns < \
                       (SELECT max(start_ns) FROM windows) - $1 ORDER BY start_ns LIMIT $2)";
        self.delete("windows", windows, age_ns).await?;
        let flows = "DELETE FROM flows WHERE id IN (SELECT id FROM flows WHERE last_ns < \
                     (SELECT max(last_ns) FROM flows) - $1 ORDER BY last_ns LIMIT $2)";
        self.delete("flows", flows, age_ns).await?;
        let raw = "DELETE FROM raw_packets WHERE id IN (SELECT id FROM raw_packets WHERE time_ns < \
                   (SELECT max(time_ns) FROM raw_packets) - $1 ORDER BY time_ns LIMIT $2)";
        self.delete("raw_packets", raw, age_ns).await
    }

    async fn delete(&self, table: &'static str, sql: &'static str, limit: i64) -> Result<(), StoreError> {
        let deleted = match table {
            "windows" => &self.counters.windows_deleted,
            "raw_packets" => &self.counters.raw_packets_deleted,
            _ => &self.counters.flows_deleted,
        };
        loop {
            let result = sqlx::query(sql).bind(limit).bind(DELETE_ROWS).execute(&self.write).await;
            let rows = result.map_err(StoreError::query(table))?.rows_affected();
            deleted.fetch_add(rows, Relaxed);
            if to_sql(rows) < DELETE_ROWS {
                return Ok(());
            }
        }
    }
}
