//! What a collector did since its start.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters of a collector; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Counts(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    messages: AtomicU64,
    bytes: AtomicU64,
    batches: AtomicU64,
    doubles: AtomicU64,
    ended: AtomicU64,
    waited: AtomicU64,
    unacknowledged: AtomicU64,
}

/// What they are at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CountsNow {
    /// Messages that were stored.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Batches of them that were new.
    pub batches: u64,
    /// Batches that were there already.
    pub doubles: u64,
    /// Messages that can never be stored.
    pub ended: u64,
    /// Attempts that the store did not take.
    pub waited: u64,
    /// Stored messages that could not be acknowledged.
    pub unacknowledged: u64,
}

impl Counts {
    pub(super) fn stored(&self, batches: u64, doubles: u64, bytes: u64) {
        self.0.messages.fetch_add(1, Relaxed);
        self.0.bytes.fetch_add(bytes, Relaxed);
        self.0.batches.fetch_add(batches, Relaxed);
        self.0.doubles.fetch_add(doubles, Relaxed);
    }

    pub(super) fn ended(&self) {
        self.0.ended.fetch_add(1, Relaxed);
    }

    pub(super) fn waited(&self) {
        self.0.waited.fetch_add(1, Relaxed);
    }

    pub(super) fn unacknowledged(&self) {
        self.0.unacknowledged.fetch_add(1, Relaxed);
    }

    /// What they are at.
    pub fn now(&self) -> CountsNow {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        CountsNow {
            messages: read(&self.0.messages),
            bytes: read(&self.0.bytes),
            batches: read(&self.0.batches),
            doubles: read(&self.0.doubles),
            ended: read(&self.0.ended),
            waited: read(&self.0.waited),
            unacknowledged: read(&self.0.unacknowledged),
        }
    }
}
