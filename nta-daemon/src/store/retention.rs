//! What is kept: the newest rows of each table. Deletes oldest first, in small transactions between batches.

use std::sync::atomic::Ordering::Relaxed;

use super::{Store, StoreError, to_sql};

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Windows of all lengths; 240,000 are eleven days of 5, 30 and 180 s.
    pub max_windows: u64,
    /// Flows.
    pub max_flows: u64,
    /// Heads of frames; a million is some 200 MB.
    pub max_raw_packets: u64,
    /// Alerts, with their notes. Resolved ones go first.
    pub max_alerts: u64,
    /// Anomalies.
    pub max_anomalies: u64,
    /// Feature vectors; of 50 hosts in windows of 5, 30 and 180 s a million are a day.
    pub max_features: u64,
    /// Rows that are this much older than the newest one, in nanoseconds, are deleted; `None` keeps them. Measured
    /// against the newest row and not the clock, so that the replay of an old capture is not deleted at once.
    pub max_age_ns: Option<u64>,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            max_windows: 240_000,
            max_flows: 1_000_000,
            max_raw_packets: 1_000_000,
            max_alerts: 100_000,
            max_anomalies: 500_000,
            max_features: 1_000_000,
            max_age_ns: None,
        }
    }
}

/// Rows deleted in one transaction, so that neither the writer nor another process waits long.
const DELETE_ROWS: i64 = 10_000;

impl Store {
    /// Deletes what is too much or too old.
    pub(super) async fn retain(&self) -> Result<(), StoreError> {
        for (table, sql, most) in [
            // Ids count up without gaps but at the old end, so that no row needs to be counted.
            (
                "windows",
                "DELETE FROM windows WHERE id IN (SELECT id FROM windows WHERE id <= \
                 (SELECT max(id) FROM windows) - $1 ORDER BY id LIMIT $2)",
                self.retention.max_windows,
            ),
            (
                "anomalies",
                "DELETE FROM anomalies WHERE id IN (SELECT id FROM anomalies WHERE id <= \
                 (SELECT max(id) FROM anomalies) - $1 ORDER BY id LIMIT $2)",
                self.retention.max_anomalies,
            ),
            (
                "aggregated_features",
                "DELETE FROM aggregated_features WHERE id IN (SELECT id FROM aggregated_features WHERE id <= \
                 (SELECT max(id) FROM aggregated_features) - $1 ORDER BY id LIMIT $2)",
                self.retention.max_features,
            ),
            (
                "raw_packets",
                "DELETE FROM raw_packets WHERE id IN (SELECT id FROM raw_packets WHERE id <= \
                 (SELECT max(id) FROM raw_packets) - $1 ORDER BY id LIMIT $2)",
                self.retention.max_raw_packets,
            ),
            (
                "flows",
                "DELETE FROM flows WHERE id IN (SELECT id FROM flows ORDER BY last_ns, id \
                 LIMIT min($2, max(0, (SELECT count(*) FROM flows) - $1)))",
                self.retention.max_flows,
            ),
            (
                "detected_alerts",
                "DELETE FROM detected_alerts WHERE id IN (SELECT id FROM detected_alerts \
                 ORDER BY status <> 'resolved', last_ns, number \
                 LIMIT min($2, max(0, (SELECT count(*) FROM detected_alerts) - $1)))",
                self.retention.max_alerts,
            ),
        ] {
            self.delete(table, sql, to_sql(most)).await?;
        }
        let Some(age_ns) = self.retention.max_age_ns.map(to_sql) else { return Ok(()) };
        for (table, sql) in [
            (
                "windows",
                "DELETE FROM windows WHERE id IN (SELECT id FROM windows WHERE start_ns < \
                 (SELECT max(start_ns) FROM windows) - $1 ORDER BY start_ns LIMIT $2)",
            ),
            (
                "raw_packets",
                "DELETE FROM raw_packets WHERE id IN (SELECT id FROM raw_packets WHERE time_ns < \
                 (SELECT max(time_ns) FROM raw_packets) - $1 ORDER BY time_ns LIMIT $2)",
            ),
            (
                "anomalies",
                "DELETE FROM anomalies WHERE id IN (SELECT id FROM anomalies WHERE start_ns < \
                 (SELECT max(start_ns) FROM anomalies) - $1 ORDER BY start_ns LIMIT $2)",
            ),
            (
                "aggregated_features",
                "DELETE FROM aggregated_features WHERE id IN (SELECT id FROM aggregated_features WHERE start_ns < \
                 (SELECT max(start_ns) FROM aggregated_features) - $1 ORDER BY start_ns LIMIT $2)",
            ),
            (
                "flows",
                "DELETE FROM flows WHERE id IN (SELECT id FROM flows WHERE last_ns < \
                 (SELECT max(last_ns) FROM flows) - $1 ORDER BY last_ns LIMIT $2)",
            ),
            (
                "detected_alerts",
                "DELETE FROM detected_alerts WHERE id IN (SELECT id FROM detected_alerts WHERE last_ns < \
                 (SELECT max(last_ns) FROM detected_alerts) - $1 ORDER BY last_ns LIMIT $2)",
            ),
        ] {
            self.delete(table, sql, age_ns).await?;
        }
        Ok(())
    }

    async fn delete(&self, table: &'static str, sql: &'static str, limit: i64) -> Result<(), StoreError> {
        let deleted = match table {
            "windows" => &self.counters.windows_deleted,
            "raw_packets" => &self.counters.raw_packets_deleted,
            "anomalies" => &self.counters.anomalies_deleted,
            "aggregated_features" => &self.counters.features_deleted,
            "detected_alerts" => &self.counters.alerts_deleted,
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
