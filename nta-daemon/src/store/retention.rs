//! What is kept: the newest rows of each table. Deletes oldest first, in small transactions between batches.

use std::sync::atomic::Ordering::Relaxed;

use crate::config::StoreConfig;

use super::db::{Dialect, Query};
use super::{Store, StoreError, events, from_sql, to_sql};

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Windows of all lengths; 530,000 are 15 days of base windows of 5 s with the longer ones, each as long as it is kept, and 650,000 with
    /// what a server's parts keep longer.
    pub max_windows: u64,
    /// Windows go when they are so much older than the time that was reached, in nanoseconds, by [`Length`](super::Length).
    pub max_window_age_ns: [Option<u64>; 4],
    /// Flows.
    pub max_flows: u64,
    /// Heads of frames; a million is some 200 MB.
    pub max_raw_packets: u64,
    /// Alerts, with their notes. Resolved ones go first.
    pub max_alerts: u64,
    /// Anomalies.
    pub max_anomalies: u64,
    /// Measures of hosts that came near to a threshold, in the documents of windows.
    pub max_near: u64,
    /// They go when they are so much older than the time that was reached, in nanoseconds.
    pub max_near_age_ns: Option<u64>,
    /// Feature vectors; of 50 hosts in windows of 5, 30 and 180 s a million are a day.
    pub max_features: u64,
    /// Entries of the event log.
    pub max_events: u64,
    /// Hosts with totals; those that were seen first go first.
    pub max_hosts: u64,
    /// Rows of what services had in five minutes; of twenty services a million are half a year.
    pub max_services: u64,
    /// Rows that are this much older than the time that was reached, in nanoseconds, are deleted; `None` keeps them. Measured
    /// against stored windows and not the clock, so that the replay of an old capture is not deleted at once.
    pub max_age_ns: Option<u64>,
    /// A time is reached once so many windows begin later, of which none lies in the future: neither a clock that is years ahead for a
    /// moment nor a capture of such a clock ages anything.
    pub reached_windows: u64,
    /// Bytes that rows may take in a database file; beyond it the oldest flows, features, heads and windows go.
    pub max_bytes: Option<u64>,
}

impl Retention {
    /// As the configuration says.
    pub fn of(config: &StoreConfig) -> Self {
        Self {
            max_windows: config.max_windows,
            max_window_age_ns: config.keep_windows_days().map(days),
            max_flows: config.max_flows,
            max_alerts: config.max_alerts,
            max_events: config.max_events,
            max_features: config.max_features,
            max_near: config.max_near_measures,
            max_near_age_ns: days(config.keep_near_days),
            max_age_ns: days(config.keep_days),
            max_bytes: (config.max_bytes > 0).then_some(config.max_bytes),
            ..Self::default()
        }
    }
}

/// In nanoseconds; 0 is no bound.
fn days(days: u64) -> Option<u64> {
    (days > 0).then(|| days.saturating_mul(86_400_000_000_000))
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            max_windows: 700_000,
            max_window_age_ns: [None; 4],
            max_flows: 1_000_000,
            max_raw_packets: 1_000_000,
            max_alerts: 100_000,
            max_anomalies: 500_000,
            max_near: 1_000_000,
            max_near_age_ns: None,
            max_features: 1_000_000,
            max_events: 500_000,
            max_hosts: 500_000,
            max_services: 1_000_000,
            max_age_ns: None,
            // With windows of 5 s and the longer ones some 50 minutes.
            reached_windows: 1_000,
            max_bytes: None,
        }
    }
}

/// So far ahead of this machine's clock another's may be: a day.
const TOLERANCE_NS: i64 = 86_400_000_000_000;
/// Flows that retention may delete. One that goes on in a run that does is written again as a whole, and what is new in it is what its
/// row does not have yet; the next start goes on from it as well.
const OVER: &str = "(SELECT * FROM flows WHERE coalesce(state, 1) <> 0 OR run_id NOT IN (SELECT id FROM runs \
                    WHERE ended_ns IS NULL)) AS over";
/// Rows deleted in one transaction, so that neither the writer nor another process waits long.
pub(super) const DELETE_ROWS: i64 = 10_000;
/// The same of alerts: their anomalies go with them.
const DELETE_ALERTS: i64 = 500;

pub(super) fn rows_at_once(table: &str) -> i64 {
    if table == "detected_alerts" { DELETE_ALERTS } else { DELETE_ROWS }
}

/// Rows of each large table deleted in one round to make the database smaller, and rounds in a row.
const SHRINK_ROWS: i64 = 5_000;
const SHRINK_ROUNDS: u32 = 20;

/// Deletes rows of a table: of those that a clock puts behind `future_ns` the furthest, or of all those that were stored first; at most
/// `$1`.
macro_rules! by_time {
    ($table:literal, $id:literal, $time:literal) => {
        [
            concat!(
                "DELETE FROM ",
                $table,
                " WHERE ",
                $id,
                " IN (SELECT ",
                $id,
                " FROM ",
                $table,
                " WHERE ",
                $time,
                " > future_ns ORDER BY ",
                $time,
                " DESC LIMIT $1 + 0 * $2)"
            ),
            concat!(
                "DELETE FROM ",
                $table,
                " WHERE ",
                $id,
                " IN (SELECT ",
                $id,
                " FROM ",
                $table,
                " ORDER BY ",
                $id,
                " LIMIT $1 + 0 * $2)"
            ),
        ]
    };
}

/// Deletes the oldest rows of a table whose rows count up by `id`: all but the newest `$1`, at most `$2`.
macro_rules! oldest_ids {
    ($table:literal) => {
        concat!(
            "DELETE FROM ",
            $table,
            " WHERE id IN (SELECT id FROM ",
            $table,
            " WHERE id <= (SELECT max(id) FROM ",
            $table,
            ") - $1 ORDER BY id LIMIT $2)"
        )
    };
}

/// Deletes what lies in the future, the furthest first, while there are more than `$1`, at most `$2`.
macro_rules! later {
    ($table:literal, $total:literal) => {
        concat!(
            "DELETE FROM ",
            $table,
            " WHERE number IN (SELECT number FROM ",
            $table,
            " WHERE last_ns > future_ns ORDER BY last_ns DESC, number LIMIT (SELECT CASE WHEN value <= $1 THEN 0 \
             WHEN value - $1 < $2 THEN value - $1 ELSE $2 END FROM totals WHERE name = '",
            $total,
            "'))"
        )
    };
}

/// A statement that deletes old rows, for those of this sensor alone: what was found in a capture goes with it, however old its packets
/// are.
pub(super) fn aged(table: &str, sql: &str, sensor: Option<&str>) -> String {
    // The log is one for all; its order is that of what happened.
    let Some(sensor) = sensor.filter(|_| table != "events") else { return sql.to_owned() };
    let sensor = sensor.replace('\'', "''");
    let only = if table == "raw_packets" {
        format!("run_id IN (SELECT id FROM runs WHERE sensor = '{sensor}')")
    } else if table == "services" {
        format!("sensor = '{sensor}'")
    } else {
        format!("sensor_id = (SELECT id FROM sensors WHERE name = '{sensor}')")
    };
    sql.replacen(" < $1 ORDER", &format!(" < $1 AND {only} ORDER"), 1)
}

impl Store {
    /// Deletes what is too much or too old.
    pub(crate) async fn retain(&self) -> Result<(), StoreError> {
        self.delete_what_is_too_much().await.inspect_err(|error| self.database.note_failure(error))
    }

    /// For tests of what follows the log.
    #[cfg(test)]
    pub(crate) async fn retain_now(&self) {
        self.retain().await.expect("retention");
    }

    async fn delete_what_is_too_much(&self) -> Result<(), StoreError> {
        self.check_totals().await?;
        let future_ns = to_sql(events::now().as_nanos()).saturating_add(TOLERANCE_NS);
        // What a wrong clock put into the future would never be the oldest.
        for (table, sql, most) in [
            ("flows", later!("flows", "flows"), self.retention().max_flows),
            ("detected_alerts", later!("detected_alerts", "alerts"), self.retention().max_alerts),
        ] {
            self.delete(table, &sql.replace("future_ns", &future_ns.to_string()), to_sql(most)).await?;
        }
        for (table, sql, most) in [
            // Ids count up without gaps but at the old end, so that no row needs to be counted.
            ("windows", oldest_ids!("windows"), self.retention().max_windows),
            ("anomalies", oldest_ids!("anomalies"), self.retention().max_anomalies),
            ("aggregated_features", oldest_ids!("aggregated_features"), self.retention().max_features),
            ("raw_packets", oldest_ids!("raw_packets"), self.retention().max_raw_packets),
            ("services", oldest_ids!("services"), self.retention().max_services),
            (
                "detected_alerts",
                "DELETE FROM detected_alerts WHERE number IN (SELECT number FROM detected_alerts \
                 ORDER BY status <> 'resolved', last_ns, number LIMIT coalesce((SELECT CASE WHEN value <= $1 THEN 0 \
                 WHEN value - $1 < $2 THEN value - $1 ELSE $2 END FROM totals WHERE name = 'alerts'), 0))",
                self.retention().max_alerts,
            ),
            (
                "events",
                "DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE seq <= \
                 (SELECT value FROM totals WHERE name = 'events') - $1 ORDER BY seq LIMIT $2)",
                self.retention().max_events,
            ),
            (
                "hosts",
                "DELETE FROM hosts WHERE number IN (SELECT number FROM hosts WHERE number <= \
                 (SELECT max(number) FROM hosts) - 2 * $1 ORDER BY last_ns, number LIMIT $2)",
                self.retention().max_hosts,
            ),
        ] {
            self.delete(table, sql, to_sql(most)).await?;
        }
        self.delete_surplus_flows(self.retention().max_flows).await?;
        self.drop_empty_parts().await?;
        self.forget_near(future_ns).await?;
        self.shrink(future_ns).await?;
        self.give_back().await?;
        // Where captures were uploaded: the rows of each sensor, by its own index.
        let whose = match self.whose_are_no_captures("").await?.names() {
            [] => vec![None],
            names => names.iter().cloned().map(Some).collect(),
        };
        self.delete_aged_windows(&whose, future_ns).await?;
        let Some(before_ns) = self.too_old(self.retention().max_age_ns, future_ns).await? else { return Ok(()) };
        self.delete_old_windows(before_ns, &whose).await?;
        for (table, sql) in [
            (
                "raw_packets",
                "DELETE FROM raw_packets WHERE id IN (SELECT id FROM raw_packets WHERE time_ns < $1 ORDER BY time_ns LIMIT $2)",
            ),
            (
                "anomalies",
                "DELETE FROM anomalies WHERE id IN (SELECT id FROM anomalies WHERE start_ns < $1 ORDER BY start_ns LIMIT $2)",
            ),
            (
                "aggregated_features",
                "DELETE FROM aggregated_features WHERE id IN (SELECT id FROM aggregated_features WHERE start_ns < $1 ORDER BY start_ns LIMIT $2)",
            ),
            (
                "services",
                "DELETE FROM services WHERE id IN (SELECT id FROM services WHERE start_ns < $1 ORDER BY start_ns LIMIT $2)",
            ),
            (
                "flows",
                "DELETE FROM flows WHERE number IN (SELECT number FROM flows WHERE last_ns < $1 ORDER BY last_ns LIMIT $2)",
            ),
            (
                // From the old end only, so that a reader knows by one number what is gone; the newest stays, for the numbers
                // go on from it.
                "events",
                "DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE seq < coalesce((SELECT min(seq) FROM \
                 (SELECT seq, time_ns FROM events ORDER BY seq LIMIT $2) AS oldest WHERE time_ns >= $1), \
                 (SELECT max(seq) FROM events)) ORDER BY seq LIMIT $2)",
            ),
            (
                "detected_alerts",
                "DELETE FROM detected_alerts WHERE number IN (SELECT number FROM detected_alerts WHERE last_ns < $1 ORDER BY last_ns LIMIT $2)",
            ),
        ] {
            for whose in &whose {
                self.delete(table, &aged(table, sql, whose.as_deref()), before_ns).await?;
            }
        }
        Ok(())
    }

    /// What is this old lies before that time; `None` while none is reached.
    pub(super) async fn too_old(&self, age_ns: Option<u64>, future_ns: i64) -> Result<Option<i64>, StoreError> {
        let Some(age_ns) = age_ns else { return Ok(None) };
        let query =
            Query::new("SELECT start_ns FROM windows WHERE start_ns <= $1 ORDER BY start_ns DESC LIMIT 1 OFFSET $2");
        let query = query.bind(future_ns).bind(to_sql(self.retention().reached_windows));
        let reached: Vec<i64> = self.read("windows", query, |row| Ok(row.first()?)).await?;
        Ok(reached.first().and_then(|reached| reached.checked_sub(to_sql(age_ns))))
    }

    pub(super) async fn delete(&self, table: &'static str, sql: &str, limit: i64) -> Result<(), StoreError> {
        while to_sql(self.delete_once(table, sql, limit).await?) == rows_at_once(table) {}
        Ok(())
    }

    pub(super) async fn delete_once(&self, table: &'static str, sql: &str, limit: i64) -> Result<u64, StoreError> {
        let deleted = match table {
            "windows" => &self.counters.windows_deleted,
            "raw_packets" => &self.counters.raw_packets_deleted,
            "anomalies" => &self.counters.anomalies_deleted,
            "aggregated_features" => &self.counters.features_deleted,
            "detected_alerts" => &self.counters.alerts_deleted,
            "events" => &self.counters.events_deleted,
            "hosts" => &self.counters.hosts_deleted,
            "services" => &self.counters.services_deleted,
            _ => &self.counters.flows_deleted,
        };
        let error = StoreError::query(table);
        let mut transaction = self.database.begin().await?;
        let conn = transaction.conn().map_err(&error)?;
        let sql = sql.replacen("SELECT number FROM flows", &format!("SELECT number FROM {OVER}"), 1);
        let query = Query::new(sql).bind(limit).bind(rows_at_once(table));
        let gone = super::deleted::delete(conn, table, query).await?;
        transaction.commit().await.map_err(error)?;
        deleted.fetch_add(gone.rows, Relaxed);
        self.counters.anomalies_deleted.fetch_add(gone.anomalies, Relaxed);
        Ok(gone.rows)
    }

    /// Deletes rows of the large tables while the database is larger than it may be: what lies in the future, then the oldest. A server's files do not
    /// become smaller when rows go, so that it would never end there: rows and age bound those.
    async fn shrink(&self, future_ns: i64) -> Result<(), StoreError> {
        let Some(most) = self.retention().max_bytes.filter(|_| self.database.dialect() == Dialect::Sqlite) else {
            return Ok(());
        };
        for _ in 0..SHRINK_ROUNDS {
            if self.used_bytes().await? <= most {
                break;
            }
            for (table, [later, oldest], most) in [
                ("flows", by_time!("flows", "number", "last_ns"), SHRINK_ROWS),
                ("raw_packets", by_time!("raw_packets", "id", "time_ns"), SHRINK_ROWS),
                ("aggregated_features", by_time!("aggregated_features", "id", "start_ns"), SHRINK_ROWS),
                ("windows", by_time!("windows", "id", "start_ns"), SHRINK_ROWS / 20),
            ] {
                let later = later.replace("future_ns", &future_ns.to_string());
                let gone = to_sql(self.delete_once(table, &later, most).await?);
                if gone >= most {
                    continue;
                }
                if table == "flows" {
                    self.delete_first_stored_flows(most - gone).await?;
                } else {
                    self.delete_once(table, oldest, most - gone).await?;
                }
            }
        }
        Ok(())
    }

    /// Bytes of the pages that hold something.
    pub(super) async fn used_bytes(&self) -> Result<u64, StoreError> {
        let sql = match self.database.dialect() {
            Dialect::Sqlite => {
                "SELECT (SELECT page_count FROM pragma_page_count) * (SELECT page_size FROM pragma_page_size) \
                 - (SELECT freelist_count FROM pragma_freelist_count) * (SELECT page_size FROM pragma_page_size)"
            }
            Dialect::Postgres => "SELECT pg_database_size(current_database())",
        };
        Ok(from_sql(
            self.read("runs", Query::new(sql), |row| Ok(row.first()?)).await?.first().copied().unwrap_or_default(),
        ))
    }

    /// Gives the pages of deleted rows back to the disk, some at a time.
    async fn give_back(&self) -> Result<(), StoreError> {
        if self.database.dialect() == Dialect::Postgres || self.database.is_memory() {
            return Ok(());
        }
        let error = StoreError::query("windows");
        let mut conn = self.database.connect().await?;
        conn.run("PRAGMA incremental_vacuum(4096)").await.map_err(&error)?;
        conn.close().await.map_err(error)
    }
}
