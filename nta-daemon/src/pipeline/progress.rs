//! How far a replay is: told by whoever reads the captures, shown by the API.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Stands for a length that is not known: of a pipe.
const UNKNOWN: u64 = u64::MAX;

/// Shared by the replay and the API; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    read: AtomicU64,
    total: AtomicU64,
    is_complete: AtomicBool,
}

impl Default for Shared {
    fn default() -> Self {
        Self { read: AtomicU64::new(0), total: AtomicU64::new(UNKNOWN), is_complete: AtomicBool::new(false) }
    }
}

impl Progress {
    /// So many bytes of the captures were read; of a pipe nobody knows of how many.
    pub fn read(&self, bytes: u64, total: Option<u64>) {
        self.0.read.store(bytes, Relaxed);
        self.0.total.store(total.unwrap_or(UNKNOWN), Relaxed);
    }

    /// Everything that was found is in the database.
    pub fn complete(&self) {
        self.0.is_complete.store(true, Relaxed);
    }

    /// Whether everything that was found is in the database.
    pub fn is_complete(&self) -> bool {
        self.0.is_complete.load(Relaxed)
    }

    /// Bytes that were read, and all that there are.
    pub fn bytes(&self) -> (u64, Option<u64>) {
        let total = Some(self.0.total.load(Relaxed)).filter(|total| *total != UNKNOWN);
        (self.0.read.load(Relaxed), total)
    }
}
