//! Which stored window a finding is of. An alert and an anomaly keep their run and the times of the window that decided; the
//! number of its row is looked up when they are read: it is written with them or later, and goes sooner.

use std::collections::HashMap;

use super::db::{Dialect, Query, Row, Value};
use super::{Store, StoreError, from_sql, to_sql};
use nta_core::domain::Timestamp;

/// Windows that are asked for in one statement.
const MOST_ASKED: usize = 500;
/// For so many the statement is worth keeping prepared.
const FEW: usize = 4;

/// A run, and start and end of one of its windows in nanoseconds.
pub(super) type WindowKey = (i64, i64, i64);

/// The window that a finding is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowRef {
    /// `None` where the run of a row is not to be read.
    key: Option<WindowKey>,
    id: Option<u64>,
}

impl WindowRef {
    /// The id of the stored window; `None` where it is not stored yet, was never stored, or is stored no longer.
    pub const fn id(&self) -> Option<u64> {
        self.id
    }

    /// The window with these times of the run of a row.
    pub(super) fn of(row: &Row, times: [Timestamp; 2]) -> Self {
        let [start, end] = times.map(|time| to_sql(time.as_nanos()));
        Self { key: row.int("run_id").ok().map(|run| (run, start, end)), id: None }
    }
}

impl Store {
    /// Fills in the ids of windows: those of a page in one look-up.
    pub(super) async fn find_windows(&self, windows: Vec<&mut WindowRef>) -> Result<(), StoreError> {
        let mut asked: Vec<WindowKey> = windows.iter().filter_map(|window| window.key).collect();
        asked.sort_unstable();
        asked.dedup();
        let ids = self.window_ids(&asked).await?;
        for window in windows {
            window.id = window.key.and_then(|key| ids.get(&key)).copied();
        }
        Ok(())
    }

    /// The ids of these windows, of those that are stored. Each is found by its start; where a run has windows of several
    /// lengths with the same start and end, it is the first one that was written.
    pub(super) async fn window_ids(&self, windows: &[WindowKey]) -> Result<HashMap<WindowKey, u64>, StoreError> {
        let mut found = HashMap::new();
        for some in windows.chunks(MOST_ASKED) {
            let mut query = Query::new(
                "SELECT v.column1 AS run_id, v.column2 AS start_ns, v.column3 AS end_ns, (SELECT w.id FROM windows w \
                 WHERE w.start_ns = v.column2 AND w.end_ns + 0 = v.column3 AND w.run_id + 0 = v.column1",
            );
            if self.database.dialect() == Dialect::Postgres {
                let starts = || some.iter().map(|(_, start, _)| *start);
                // In the parts of these times alone.
                query.push(" AND w.start_ns >= ").push_bind(starts().min().unwrap_or_default());
                query.push(" AND w.start_ns <= ").push_bind(starts().max().unwrap_or_default());
            }
            query.push(" ORDER BY w.start_ns, w.id LIMIT 1) AS id FROM (VALUES ");
            query.push_rows(some.iter().map(|(run, start, end)| [*run, *start, *end].map(Value::from).to_vec()));
            query.persistent = some.len() <= FEW;
            query.push(") AS v");
            let read = |row: &Row| {
                let key = (row.int("run_id")?, row.int("start_ns")?, row.int("end_ns")?);
                Ok((key, row.opt_int("id")?))
            };
            let rows = self.read("windows", query, read).await?;
            found.extend(rows.into_iter().filter_map(|(key, id)| Some((key, from_sql(id?)))));
        }
        Ok(found)
    }
}
