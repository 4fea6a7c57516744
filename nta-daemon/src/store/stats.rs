//! What the store counts about itself.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use prometheus_client::metrics::histogram::Histogram;

use super::alert_counts::Raised;
use super::events::now;
use super::rows::BatchRows;
use super::size::{Sizes, UNKNOWN};
use super::spool::Spool;
use super::unreadable::SetAside;
use super::waiting::Cut;
use nta_core::domain::Timestamp;

/// A snapshot of the store's counters.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct StoreStats {
    /// Batches committed.
    pub batches: u64,
    /// Windows committed.
    pub windows: u64,
    /// Flow rows inserted or updated.
    pub flow_rows: u64,
    /// Flows that stand with others in one row, as floods and scans make them.
    pub flows_grouped: u64,
    /// Of these, flows that went on and got a row of their own after all.
    pub flows_ungrouped: u64,
    /// Heads of frames inserted.
    pub raw_packets: u64,
    /// Heads of frames of which a window had too many.
    pub raw_packets_dropped: u64,
    /// Alert rows inserted or updated.
    pub alert_rows: u64,
    /// Anomalies inserted.
    pub anomaly_rows: u64,
    /// Feature vectors inserted.
    pub feature_rows: u64,
    /// Feature vectors of hosts that were not among the most active: not stored.
    pub features_left_out: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Whether the last attempt failed: the database takes no writes at the moment.
    pub failing: bool,
    /// Batches given up after the last attempt.
    pub batches_lost: u64,
    /// Batches that wait.
    pub queue_length: u64,
    /// About how many bytes they have.
    pub queue_bytes: u64,
    /// Batches that can wait.
    pub queue_capacity: u64,
    /// Batches refused because the queue was full; the caller kept them.
    pub queue_full: u64,
    /// Windows deleted by retention.
    pub windows_deleted: u64,
    /// Of these, windows shorter than 30 s that were older than `store.keep_5s_days`.
    pub windows_5s_aged: u64,
    /// Windows of 30 s to 3 minutes that were older than `store.keep_30s_days`.
    pub windows_30s_aged: u64,
    /// Windows of 3 minutes to an hour that were older than `store.keep_180s_days`.
    pub windows_180s_aged: u64,
    /// Windows of an hour that were older than `store.keep_1h_days`.
    pub windows_1h_aged: u64,
    /// Flows deleted by retention.
    pub flows_deleted: u64,
    /// Heads of frames deleted by retention.
    pub raw_packets_deleted: u64,
    /// Alerts deleted by retention.
    pub alerts_deleted: u64,
    /// How often an alert of several gateways had as many parts as it may have, and another stayed by itself.
    pub alerts_not_joined: u64,
    /// Anomalies deleted by retention.
    pub anomalies_deleted: u64,
    /// Feature vectors deleted by retention.
    pub features_deleted: u64,
    /// Measures of hosts that came near to a threshold, deleted by retention before their windows.
    pub near_measures_deleted: u64,
    /// Entries of the event log deleted by retention.
    pub events_deleted: u64,
    /// Hosts whose totals were deleted by retention.
    pub hosts_deleted: u64,
    /// Rows of what services had.
    pub services_deleted: u64,
    /// Batches that wait on disk or in memory because the database takes none.
    pub batches_waiting: u64,
    /// Of these, batches in memory: neither the database nor the spool takes them, and a kill loses them.
    pub batches_in_memory: u64,
    /// Windows lost: the bounds of queue, memory and spool forced them out.
    pub cut_windows: u64,
    /// Flows lost the same way.
    pub cut_flows: u64,
    /// Alerts lost the same way; they go last.
    pub cut_alerts: u64,
    /// Bytes of the spool.
    pub spool_bytes: u64,
    /// Segments of the spool that could not be read and were set aside.
    pub spool_corrupt: u64,
    /// Rows of each table that cannot be read and were left out of an answer, counted at each reading.
    pub rows_unreadable: BTreeMap<String, u64>,
    /// Segments of the spool that somebody removed before they were stored: their batches are lost.
    pub spool_gone: u64,
    /// Of the batches that wait, those in segments that cannot be read now; they are tried again.
    pub spool_passed_over: u64,
    /// Why something in the spool cannot be read, written or removed; null while all can.
    pub spool_error: Option<String>,
    /// How often the database file was deleted, replaced or set aside as damaged, and another was opened in its place: it has
    /// nothing of what was stored before.
    pub database_renewals: u64,
    /// Bytes of the database, as the writer saw it last; null where that is not known.
    pub database_bytes: Option<u64>,
    /// Bytes of SQLite's write-ahead log; null for other databases.
    pub wal_bytes: Option<u64>,
    /// Bytes that are free on the disk of a database file; null for other databases.
    pub disk_free_bytes: Option<u64>,
    /// How long the last commit took, from the begin of its transaction.
    pub last_commit_us: u64,
    /// The last error; stays after recovery.
    pub last_error: Option<String>,
    /// When that was.
    #[schema(format = DateTime)]
    pub last_error_at: Option<String>,
}

impl StoreStats {
    /// Whether all that the database did not take yet is on disk.
    pub const fn waits_on_disk(&self) -> bool {
        self.batches_waiting > 0 && self.batches_in_memory == 0
    }
}

/// How long commits took, in seconds.
#[derive(Clone, Debug)]
pub(super) struct CommitTimes(pub(super) Histogram);

impl Default for CommitTimes {
    fn default() -> Self {
        Self(Histogram::new([0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0]))
    }
}

/// The counters behind it, shared by all handles.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) batches: AtomicU64,
    pub(super) windows: AtomicU64,
    pub(super) flow_rows: AtomicU64,
    pub(super) flows_grouped: AtomicU64,
    pub(super) flows_ungrouped: AtomicU64,
    pub(super) raw_packets: AtomicU64,
    pub(super) raw_packets_dropped: AtomicU64,
    pub(super) alert_rows: AtomicU64,
    pub(super) anomaly_rows: AtomicU64,
    pub(super) feature_rows: AtomicU64,
    pub(super) features_left_out: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) failing: AtomicBool,
    /// Whether the process is about to end: what comes from now on goes to the spool before it goes to the database.
    pub(super) stopping: AtomicBool,
    pub(super) batches_lost: AtomicU64,
    pub(super) queue_length: AtomicU64,
    pub(super) queue_bytes: AtomicU64,
    pub(super) queue_capacity: AtomicU64,
    pub(super) queue_full: AtomicU64,
    pub(super) windows_deleted: AtomicU64,
    /// By [`Length`](super::Length).
    pub(super) windows_aged: [AtomicU64; 4],
    pub(super) flows_deleted: AtomicU64,
    pub(super) raw_packets_deleted: AtomicU64,
    pub(super) alerts_deleted: AtomicU64,
    pub(super) raised_elsewhere: Raised,
    pub(super) anomalies_deleted: AtomicU64,
    pub(super) features_deleted: AtomicU64,
    pub(super) near_deleted: AtomicU64,
    pub(super) events_deleted: AtomicU64,
    pub(super) hosts_deleted: AtomicU64,
    pub(super) services_deleted: AtomicU64,
    pub(super) batches_waiting: AtomicU64,
    pub(super) batches_in_memory: AtomicU64,
    pub(super) cut_windows: AtomicU64,
    pub(super) cut_flows: AtomicU64,
    pub(super) cut_alerts: AtomicU64,
    pub(super) spool_bytes: AtomicU64,
    pub(super) sizes: Sizes,
    pub(super) spool_corrupt: AtomicU64,
    pub(super) set_aside: SetAside,
    pub(super) spool_gone: AtomicU64,
    pub(super) spool_passed_over: AtomicU64,
    spool_error: Mutex<Option<String>>,
    pub(super) last_commit_us: AtomicU64,
    pub(super) commits: CommitTimes,
    last_error: Mutex<Option<(Timestamp, String)>>,
}

impl Counters {
    pub(super) fn failed(&self, error: String) {
        self.failures.fetch_add(1, Relaxed);
        self.failing.store(true, Relaxed);
        *self.last_error.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some((now(), error));
    }

    pub(super) fn set_spool_error(&self, reason: Option<&str>) {
        *self.spool_error.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = reason.map(str::to_owned);
    }

    /// What the spool is like now; `refused` says why it takes no batch.
    pub(super) fn note_spool(&self, spool: &Spool, refused: Option<&str>) {
        self.set_spool_error(spool.trouble().or(refused));
        self.spool_corrupt.store(spool.corrupt, Relaxed);
        self.spool_gone.store(spool.gone, Relaxed);
        self.spool_passed_over.store(spool.passed_over() as u64, Relaxed);
        self.spool_bytes.store(spool.bytes(), Relaxed);
    }

    pub(super) fn add_cut(&self, cut: &Cut) {
        self.cut_windows.fetch_add(cut.windows, Relaxed);
        self.cut_flows.fetch_add(cut.flows, Relaxed);
        self.cut_alerts.fetch_add(cut.alerts, Relaxed);
        self.batches_lost.fetch_add(cut.batches, Relaxed);
    }

    /// A transaction was committed that took so long.
    pub(super) fn committed(&self, took: Duration) {
        self.last_commit_us.store(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
        self.commits.0.observe(took.as_secs_f64());
    }

    /// A batch is in the database.
    pub(super) fn add_batch(&self, rows: &BatchRows) {
        self.batches.fetch_add(1, Relaxed);
        self.windows.fetch_add(rows.windows.iter().filter(|w| w.factor == 1).count() as u64, Relaxed);
        self.flow_rows.fetch_add(rows.flows.len() as u64, Relaxed);
        self.raw_packets.fetch_add(rows.raw_packets.len() as u64, Relaxed);
        self.alert_rows.fetch_add(rows.alerts.len() as u64, Relaxed);
        self.anomaly_rows.fetch_add(rows.anomalies.len() as u64, Relaxed);
        self.feature_rows.fetch_add(rows.features.len() as u64, Relaxed);
    }

    pub(super) fn last_error(&self) -> Option<(Timestamp, String)> {
        self.last_error.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    pub(super) fn snapshot(&self) -> StoreStats {
        let (last_error_at, last_error) = self.last_error().unzip();
        let [windows_5s_aged, windows_30s_aged, windows_180s_aged, windows_1h_aged] =
            self.windows_aged.each_ref().map(|aged| aged.load(Relaxed));
        StoreStats {
            batches: self.batches.load(Relaxed),
            windows: self.windows.load(Relaxed),
            flow_rows: self.flow_rows.load(Relaxed),
            flows_grouped: self.flows_grouped.load(Relaxed),
            flows_ungrouped: self.flows_ungrouped.load(Relaxed),
            raw_packets: self.raw_packets.load(Relaxed),
            raw_packets_dropped: self.raw_packets_dropped.load(Relaxed),
            alert_rows: self.alert_rows.load(Relaxed),
            anomaly_rows: self.anomaly_rows.load(Relaxed),
            feature_rows: self.feature_rows.load(Relaxed),
            features_left_out: self.features_left_out.load(Relaxed),
            failures: self.failures.load(Relaxed),
            failing: self.failing.load(Relaxed),
            batches_lost: self.batches_lost.load(Relaxed),
            queue_length: self.queue_length.load(Relaxed),
            queue_bytes: self.queue_bytes.load(Relaxed),
            queue_capacity: self.queue_capacity.load(Relaxed),
            queue_full: self.queue_full.load(Relaxed),
            windows_deleted: self.windows_deleted.load(Relaxed),
            windows_5s_aged,
            windows_30s_aged,
            windows_180s_aged,
            windows_1h_aged,
            flows_deleted: self.flows_deleted.load(Relaxed),
            raw_packets_deleted: self.raw_packets_deleted.load(Relaxed),
            alerts_deleted: self.alerts_deleted.load(Relaxed),
            anomalies_deleted: self.anomalies_deleted.load(Relaxed),
            features_deleted: self.features_deleted.load(Relaxed),
            near_measures_deleted: self.near_deleted.load(Relaxed),
            events_deleted: self.events_deleted.load(Relaxed),
            hosts_deleted: self.hosts_deleted.load(Relaxed),
            services_deleted: self.services_deleted.load(Relaxed),
            batches_waiting: self.batches_waiting.load(Relaxed),
            batches_in_memory: self.batches_in_memory.load(Relaxed),
            cut_windows: self.cut_windows.load(Relaxed),
            cut_flows: self.cut_flows.load(Relaxed),
            cut_alerts: self.cut_alerts.load(Relaxed),
            spool_bytes: self.spool_bytes.load(Relaxed),
            rows_unreadable: self.set_aside.snapshot(),
            alerts_not_joined: 0,
            database_renewals: 0,
            database_bytes: known(&self.sizes.database),
            wal_bytes: known(&self.sizes.wal),
            disk_free_bytes: known(&self.sizes.free),
            spool_corrupt: self.spool_corrupt.load(Relaxed),
            spool_gone: self.spool_gone.load(Relaxed),
            spool_passed_over: self.spool_passed_over.load(Relaxed),
            spool_error: self.spool_error.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone(),
            last_commit_us: self.last_commit_us.load(Relaxed),
            last_error,
            last_error_at: last_error_at.map(|time| time.to_string()),
        }
    }
}

fn known(bytes: &AtomicU64) -> Option<u64> {
    Some(bytes.load(Relaxed)).filter(|bytes| *bytes != UNKNOWN)
}
