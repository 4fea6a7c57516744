//! A capture on its way: from its first byte to its report.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use super::body::Body;
use super::growing::Growth;
use crate::jobs::Progress;

/// A capture that is coming or is being analysed.
pub(super) struct Live {
    pub(super) file_id: String,
    pub(super) name: String,
    pub(super) growth: Arc<Growth>,
    pub(super) length: Option<u64>,
    /// Its file, where it is a recording.
    pub(super) recorded: Option<PathBuf>,
    /// Whether it comes as records of packets, for as long as its sender likes.
    pub(super) is_log: bool,
    /// SHA-256 and size, once it is whole.
    pub(super) identity: OnceLock<(String, u64)>,
    /// The report, before it is in the database.
    pub(super) report: OnceLock<Arc<str>>,
    /// Whether an analysis was ordered.
    pub(super) is_begun: AtomicBool,
    /// Whether one works on it, or did.
    pub(super) is_claimed: AtomicBool,
    /// How far that is, once it has a place.
    pub(super) progress: OnceLock<Progress>,
    /// The job that it is.
    pub(super) job: OnceLock<String>,
    /// Who sends it, or asked for its analysis.
    pub(super) who: OnceLock<String>,
    /// Whether a request sends to it.
    pub(super) is_taken: AtomicBool,
    /// What the next request goes on with.
    pub(super) parked: Mutex<Option<(Body, Instant)>>,
}

impl Live {
    pub(super) fn new(file_id: &str, name: &str, growth: Arc<Growth>, length: Option<u64>) -> Self {
        Self {
            file_id: file_id.to_owned(),
            name: name.to_owned(),
            growth,
            length,
            recorded: None,
            is_log: false,
            identity: OnceLock::new(),
            report: OnceLock::new(),
            is_begun: AtomicBool::new(false),
            is_claimed: AtomicBool::new(false),
            progress: OnceLock::new(),
            job: OnceLock::new(),
            who: OnceLock::new(),
            is_taken: AtomicBool::new(false),
            parked: Mutex::new(None),
        }
    }

    /// What the next request goes on with.
    pub(super) fn parked(&self) -> MutexGuard<'_, Option<(Body, Instant)>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
