//! The table `runs`: who wrote the windows and flows.

use super::{Store, StoreError, to_sql};
use crate::json::mode_name;
use nta_core::domain::{Mode, Timestamp};

/// A start of the daemon, or a replay.
#[derive(Clone, Debug)]
pub struct Run {
    /// When it started (wall clock).
    pub started: Timestamp,
    /// Live or replay.
    pub mode: Mode,
    /// The interfaces, or the capture's path.
    pub source: String,
    /// Version of the daemon.
    pub version: String,
}

/// Identity of a run in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunId(pub(super) i64);

impl Store {
    /// Registers a run; its id goes to [`Store::writer`].
    pub async fn begin_run(&self, run: &Run) -> Result<RunId, StoreError> {
        let id = sqlx::query_scalar(
            "INSERT INTO runs (started_ns, mode, source, version) VALUES ($1, $2, $3, $4) RETURNING id",
        )
        .bind(to_sql(run.started.as_nanos()))
        .bind(mode_name(run.mode))
        .bind(&run.source)
        .bind(&run.version)
        .fetch_one(&self.write)
        .await;
        Ok(RunId(id.map_err(StoreError::query("runs"))?))
    }
}
