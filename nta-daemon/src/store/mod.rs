//! The database: runs, windows, flows, alerts, feature vectors, baselines, heads of frames. All SQL lives in this folder.
//!
//! One connection writes (see [`writer`]), others read. SQLite today; the statements keep to what PostgreSQL has too.

mod alert_status;
mod alerts;
mod anomalies;
mod baselines;
mod error;
mod features;
mod flows;
mod found;
mod hosts;
mod merged;
mod open;
mod page;
mod raw_packets;
mod retention;
mod runs;
mod stats;
mod windows;
mod write;
mod writer;

use std::sync::Arc;

use sqlx::SqlitePool;

pub use alert_status::{AlertPatch, Note, Patched};
pub use alerts::{AlertFilter, AlertPage, AlertSort, StoredAlert};
pub use anomalies::{Anomaly, AnomalyFilter, AnomalyPage, AnomalySort, KindCount};
pub use error::StoreError;
pub use features::{FeatureFilter, FeaturePage, FeatureRow};
pub use flows::{FlowFilter, FlowPage, FlowSort};
pub use found::Found;
pub use hosts::{HostPage, HostSort, HostTotals, Share};
pub use page::{Key, Position};
pub use retention::Retention;
pub use runs::{Run, RunId};
pub use stats::StoreStats;
pub use windows::{WindowFilter, WindowPage, WindowSort, WindowsSummary};
pub use writer::{Batch, StoreWriter};

use stats::Counters;

/// A handle on the database; cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    read: SqlitePool,
    write: SqlitePool,
    retention: Retention,
    counters: Arc<Counters>,
}

impl Store {
    /// Keeps this much instead of the default.
    #[must_use]
    pub const fn with_retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// What was written so far, and what went wrong.
    pub fn stats(&self) -> StoreStats {
        self.counters.snapshot()
    }

    /// Whether the database answers; reads a table, so that the file is looked at.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let query = sqlx::query_scalar::<_, i64>("SELECT id FROM runs LIMIT 1").fetch_optional(&self.read);
        query.await.map_err(StoreError::query("runs"))?;
        Ok(())
    }
}

/// Unsigned numbers as the database's signed ones; what does not fit is told as the largest.
fn to_sql(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Back from the database; nothing negative was ever written.
fn from_sql(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}

#[cfg(test)]
mod detection_tests;
#[cfg(test)]
mod tests;
