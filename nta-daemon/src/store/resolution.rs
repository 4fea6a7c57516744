//! How long windows are kept by their length: short ones, which are most of them, go first; what longer ones say of the time stays.

use std::sync::atomic::Ordering::Relaxed;

use super::db::Query;
use super::retention::{aged, rows_at_once};
use super::window_drop::loose;
use super::{Store, StoreError, from_sql, to_sql};

/// Lengths of windows that are kept equally long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Shorter than 30 s.
    Short,
    /// From 30 s on, shorter than 3 minutes.
    Medium,
    /// From 3 minutes on, shorter than an hour.
    Long,
    /// An hour, or longer.
    Hour,
}

impl Length {
    /// All of them, the shortest first, as `[store]` and the counters name them.
    pub const ALL: [(Self, &str); 4] =
        [(Self::Short, "5s"), (Self::Medium, "30s"), (Self::Long, "180s"), (Self::Hour, "1h")];

    pub(super) const fn of(span_ns: u64) -> Self {
        match span_ns / 1_000_000_000 {
            0..30 => Self::Short,
            30..180 => Self::Medium,
            180..3600 => Self::Long,
            _ => Self::Hour,
        }
    }
}

/// Lengths of windows that are looked at; there are five for each length of base windows.
const MOST_LENGTHS: usize = 256;

impl Store {
    /// Deletes windows that are older than those of their length are kept: those of these sensors, or of all.
    pub(super) async fn delete_aged_windows(&self, whose: &[Option<String>], future_ns: i64) -> Result<(), StoreError> {
        let ages = self.retention().max_window_age_ns;
        if ages == [None; 4] {
            return Ok(());
        }
        let Some(reached_ns) = self.too_old(Some(0), future_ns).await? else { return Ok(()) };
        let before = ages.map(|age_ns| age_ns.and_then(|age_ns| reached_ns.checked_sub(to_sql(age_ns))));
        let parts = self.window_parts().await?;
        for table in loose(&parts) {
            self.delete_aged_rows(&table, before, whose).await?;
        }
        for (length, before_ns) in before.iter().enumerate() {
            let Some(before_ns) = before_ns else { continue };
            let gone = self.drop_parts(&parts, (length, *before_ns), whose).await?;
            self.counters.windows_aged[length].fetch_add(gone.rows, Relaxed);
            for table in gone.mixed {
                self.delete_aged_rows(&table, before, whose).await?;
            }
        }
        Ok(())
    }

    /// The same row by row, of a table that holds windows.
    async fn delete_aged_rows(
        &self,
        table: &str,
        before: [Option<i64>; 4],
        whose: &[Option<String>],
    ) -> Result<(), StoreError> {
        // What a restart cut has no length of its own, and is needed as long as the shortest.
        let mut span_ns = -1;
        for _ in 0..MOST_LENGTHS {
            let next = format!("SELECT span_ns FROM {table} WHERE span_ns > $1 ORDER BY span_ns LIMIT 1");
            let next = self.read("windows", Query::new(next).bind(span_ns), |row| Ok(row.first()?)).await?;
            let Some(next_ns) = next.first() else { break };
            span_ns = *next_ns;
            let length = Length::of(from_sql(span_ns)) as usize;
            let Some(before_ns) = before[length] else { continue };
            let sql = format!(
                "DELETE FROM windows WHERE id IN (SELECT id FROM {table} WHERE span_ns = {span_ns} \
                 AND start_ns < $1 ORDER BY start_ns LIMIT $2)"
            );
            for whose in whose {
                let sql = aged("windows", &sql, whose.as_deref());
                loop {
                    let gone = self.delete_once("windows", &sql, before_ns).await?;
                    self.counters.windows_aged[length].fetch_add(gone, Relaxed);
                    if to_sql(gone) < rows_at_once("windows") {
                        break;
                    }
                }
            }
        }
        Ok(())
    }
}
