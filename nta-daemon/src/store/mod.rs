//! The database: runs, windows, flows, alerts, feature vectors, baselines, heads of frames. All SQL lives in this folder.
//!
//! SQLite or PostgreSQL (see [`db`]): one connection writes (see [`writer`]), others read. Statements are the same for
//! both but for bulk and retention.

mod addresses;
mod alert_counts;
mod alert_filter;
mod alert_status;
mod alert_write;
mod alerts;
mod announced;
mod anomalies;
mod anomaly_write;
mod aside;
mod audit;
mod backup;
mod baselines;
mod body;
mod concerned;
mod copy;
mod cut;
mod db;
mod deleted;
mod error;
mod event_body;
mod events;
mod features;
mod flow_filter;
mod flow_group;
mod flow_sizes;
mod flow_write;
mod flows;
mod found;
#[cfg(fuzzing)]
pub mod fuzzing;
mod host_flows;
mod hosts;
mod ingest;
mod inside;
mod jobs;
mod joint;
mod joint_write;
mod keys;
mod late;
mod lease;
mod list;
mod marker;
mod merged;
mod meta;
mod models;
mod mutes;
mod naming;
mod near;
mod opening;
mod outbox;
mod packet_logs;
mod page;
mod parties;
mod raw_packets;
mod recorded;
mod resolution;
mod results;
mod resume;
mod retention;
mod retention_order;
mod rows;
mod runs;
mod sensor;
mod sensor_settings;
mod services;
mod shipment;
mod shipped;
mod size;
mod spans;
mod spool;
mod stats;
mod sums;
mod task;
mod together;
mod tokens;
mod totals;
mod transfer;
mod transfer_rows;
mod troubles;
mod unreadable;
mod uploads;
mod waiting;
mod webhooks;
mod window_drop;
mod window_ids;
mod window_parts;
mod window_write;
mod windows;
mod write;
mod writer;

use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use addresses::Addresses;
pub use alert_counts::OpenAlerts;
pub use alert_filter::AlertFilter;
pub use alert_status::{AlertChanged, AlertPatch, AlertsToChange, MOST_AT_ONCE, Note, Patched, PatchedAll};
pub use alerts::{AlertPage, AlertSort, StoredAlert};
pub use announced::Announced;
pub use anomalies::{Anomaly, AnomalyFilter, AnomalyPage, AnomalySort, KindCount, StoredAnomaly};
pub use aside::Aside;
pub use audit::{Audit, AuditFilter, AuditPage, AuditRow};
pub use backup::{BackupError, Copied, backup};
pub use baselines::baselines_name;
pub use body::{FindingRecord, OpinionRecord};
pub use error::StoreError;
pub use events::{LogState, Notice, StoredEvent};
pub use features::{FeatureFilter, FeaturePage, FeatureRow};
pub use flow_filter::FlowFilter;
pub use flow_group::{FlowGroup, Many, StoredFlow};
pub use flows::{FlowPage, FlowSort};
pub use found::Found;
pub use hosts::{HostPage, HostSort, HostTotals, TrafficShare};
pub use ingest::Ingested;
pub use jobs::{JobEnd, JobFilter, JobOwner, JobPage, JobState, JobsKept, NewJob, StoredJob};
pub use joint::Correlation;
pub use lease::Lease;
pub use models::{ActiveModel, MOST_MODELS, StoredModel};
pub use mutes::{HiddenByMute, MOST_MUTES, StoredMute};
pub use naming::{LeftSpool, spools_of};
pub use near::Nearness;
pub use outbox::{GivenUp, Head, Outbox, OutboxState};
pub use packet_logs::{MOST_PACKET_LOGS, PacketLog};
pub use page::{Key, Position, Range};
pub use parties::PartyFilter;
pub use resolution::Length;
pub use results::{ResultFile, ResultFilter, ResultKind};
pub use retention::Retention;
pub use runs::{Run, RunEnd, RunKey};
pub use sensor::{BySensor, Whose, capture_of_sensor, sensor_of_capture};
pub use sensor_settings::Settings;
pub use services::{ServiceTotals, service_steps};
pub use shipment::{About, MESSAGE_BYTES, Shipment, ShipmentError};
pub use shipped::{NumberRange, SILENT_AFTER, Said, Shipped};
pub use spans::{DOUBLE, stored_span_from, stored_spans};
pub use stats::StoreStats;
pub use tokens::{Created, NewToken, Revoked, StoredToken};
pub use transfer::{TransferError, Transferred, transfer};
pub use troubles::about;
pub use uploads::{Upload, UploadState, UploadTotals};
pub use webhooks::{DeadLetter, WebhookRow};
pub use window_ids::WindowRef;
pub use windows::{WindowFilter, WindowPage, WindowSort, WindowsSummary};
pub use writer::{StoreWriter, WindowBatch};

use db::{Database, Query, Row};
use stats::Counters;

/// A handle on the database; cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    database: Arc<Database>,
    retention: Arc<RwLock<Retention>>,
    /// Folder and most bytes of the spool.
    spool: Option<(std::path::PathBuf, u64)>,
    counters: Arc<Counters>,
    /// Cancelled when the end of the process waits for the database no longer.
    out_of_time: CancellationToken,
    /// What is sent to a server.
    outbox: Option<Arc<std::sync::Mutex<Outbox>>>,
    /// How often a writer has committed something: readers of the event log wait for it.
    commits: Arc<watch::Sender<u64>>,
    /// What is told before it is in the event log.
    announced: Arc<watch::Sender<Announced>>,
    /// The run of this process, by its identity: of its sensor is what belongs to no window.
    own_run: Arc<OnceLock<Vec<u8>>>,
    /// How alerts of several gateways become one.
    correlation: Arc<Correlation>,
    /// What is inside here, where that is shipped.
    local: Option<nta_core::detect::Networks>,
    /// What was inside for sensors that ship here when they said it last.
    inside: Arc<inside::Stored>,
    /// When the parts of the windows are looked at next.
    parts: Arc<window_parts::Due>,
}

impl Store {
    /// Opens (and creates, and migrates) the database at `url`: `sqlite:PATH`, `sqlite::memory:` or `postgres://…`.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let database = Database::open(url).await?;
        Ok(Self {
            database,
            retention: Arc::default(),
            spool: None,
            counters: Arc::default(),
            out_of_time: CancellationToken::new(),
            outbox: None,
            commits: Arc::default(),
            announced: Arc::default(),
            own_run: Arc::default(),
            correlation: Arc::default(),
            local: None,
            inside: Arc::default(),
            parts: Arc::default(),
        })
    }

    /// Changes whenever this process has committed something that was waited for: a batch, and the events of it.
    pub fn commits(&self) -> watch::Receiver<u64> {
        self.commits.subscribe()
    }

    /// Closes all connections, which also folds the write-ahead log back into the database.
    pub async fn close(&self) {
        self.database.close().await;
    }

    /// Keeps this much instead of the default.
    #[must_use]
    pub fn with_retention(mut self, retention: Retention) -> Self {
        self.retention = Arc::new(RwLock::new(retention));
        self
    }

    /// Keeps this much from now on, of all who share this store.
    pub fn keep(&self, retention: Retention) {
        *self.retention.write().unwrap_or_else(PoisonError::into_inner) = retention;
    }

    fn retention(&self) -> Retention {
        *self.retention.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins alerts of several gateways so instead of the default.
    #[must_use]
    pub fn with_correlation(mut self, correlation: Correlation) -> Self {
        self.correlation = Arc::new(correlation);
        self
    }

    /// Keeps batches that the database does not take in this folder, up to `max_bytes`.
    #[must_use]
    pub fn with_spool(mut self, folder: std::path::PathBuf, max_bytes: u64) -> Self {
        self.spool = Some((folder, max_bytes));
        self
    }

    /// Keeps no batches on disk: what cannot be stored is lost, and made anew.
    #[must_use]
    pub fn without_spool(mut self) -> Self {
        self.spool = None;
        self
    }

    /// Folder of the spool; `None` where it is switched off.
    pub fn spool_folder(&self) -> Option<&std::path::Path> {
        self.spool.as_ref().map(|(folder, _)| folder.as_path())
    }

    /// The database file; `None` for PostgreSQL and in memory.
    pub fn path(&self) -> Option<&std::path::Path> {
        self.database.path()
    }

    /// Whether the database is in memory.
    pub fn is_memory(&self) -> bool {
        self.database.is_memory()
    }

    /// What was written so far, and what went wrong.
    pub fn stats(&self) -> StoreStats {
        let alerts_not_joined = self.correlation.left_out.load(std::sync::atomic::Ordering::Relaxed);
        StoreStats { database_renewals: self.database.renewals(), alerts_not_joined, ..self.counters.snapshot() }
    }

    /// The process is about to end: what is to be written from now on is on disk first, where there is a spool.
    pub fn stops(&self) {
        self.counters.stopping.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    /// The process waits for the database no longer: what is being written is broken off and goes to the spool with all that is queued, where there
    /// is a spool.
    pub fn is_out_of_time(&self) {
        self.out_of_time.cancel();
    }

    /// How long transactions took that were committed, in seconds.
    pub fn commit_times(&self) -> prometheus_client::metrics::histogram::Histogram {
        self.counters.commits.0.clone()
    }

    /// Whether the database answers; reads a table, so that the file is looked at.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let query = Query::new("SELECT id FROM runs LIMIT 1");
        self.database.fetch_optional(query).await.map_err(StoreError::query("runs")).map(drop)
    }
}

/// Unsigned numbers as the database's signed ones; what does not fit becomes the largest.
fn to_sql(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Back from the database; nothing negative was ever written.
fn from_sql(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}

#[cfg(test)]
mod alert_status_tests;
#[cfg(test)]
mod backup_tests;
#[cfg(test)]
mod both_tests;
#[cfg(test)]
mod bulk_tests;
#[cfg(test)]
mod concerned_tests;
#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod detection_tests;
#[cfg(test)]
mod event_tests;
#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod fleet_tests;
#[cfg(test)]
mod flow_group_tests;
#[cfg(test)]
mod hanging_tests;
#[cfg(test)]
mod hour_migration_tests;
#[cfg(test)]
mod jobs_tests;
#[cfg(test)]
mod joint_tests;
#[cfg(test)]
mod lease_tests;
#[cfg(test)]
mod list_tests;
#[cfg(test)]
mod near_tests;
#[cfg(test)]
mod plan_tests;
#[cfg(test)]
mod restart_tests;
#[cfg(test)]
mod retention_tests;
#[cfg(test)]
mod run_tests;
#[cfg(test)]
mod sensor_migration_tests;
#[cfg(test)]
mod sensor_tests;
#[cfg(test)]
pub(crate) mod server_tests;
#[cfg(test)]
mod spooled_tests;
#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
mod tls_tests;
#[cfg(test)]
mod together_tests;
#[cfg(test)]
mod tokens_tests;
#[cfg(test)]
mod transfer_tests;
#[cfg(test)]
mod troubles_tests;
#[cfg(test)]
mod unreadable_tests;
#[cfg(test)]
mod uploads_tests;
#[cfg(test)]
mod window_drop_tests;
#[cfg(test)]
mod window_ids_tests;
#[cfg(test)]
mod window_parts_tests;
