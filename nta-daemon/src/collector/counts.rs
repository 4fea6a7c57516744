//! What a collector did since its start, and whether it can read.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use async_nats::Client;
use async_nats::connection::State;

use crate::capture::clock;
use nta_core::domain::Timestamp;

/// It has failed for a while after so many attempts.
const SOME_FAILURES: u32 = 3;

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
    /// Where it reads.
    from: String,
    client: OnceLock<Client>,
    reading: Mutex<Reading>,
}

/// How reading goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The servers that it reads from.
    pub from: String,
    /// Whether there is a connection to one of them.
    pub connected: bool,
    /// When it was last known that messages can be read, whether or not there were any.
    pub last_ok: Option<Timestamp>,
    /// When and why they could not last.
    pub last_error: Option<(Timestamp, String)>,
    /// Failures since they could.
    pub failures: u32,
    /// Failures since the start.
    pub all_failures: u64,
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
    /// Of a collector that reads from there.
    pub fn of(from: &impl ToString) -> Self {
        Self(Arc::new(Counters { from: from.to_string(), ..Counters::default() }))
    }

    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.0.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It reads by this connection.
    pub(super) fn reads_by(&self, client: Client) {
        let _is_known = self.0.client.set(client);
    }

    /// Messages can be read.
    pub(super) fn can_read(&self) {
        let mut reading = self.reading();
        if reading.failures > 0 {
            tracing::info!(failures = reading.failures, "collect: messages can be read again");
        }
        (reading.failures, reading.last_ok) = (0, Some(clock::now()));
    }

    /// They cannot.
    pub(super) fn cannot_read(&self, reason: &str) {
        let mut reading = self.reading();
        reading.failures = reading.failures.saturating_add(1);
        reading.all_failures += 1;
        reading.last_error = Some((clock::now(), reason.to_owned()));
    }

    /// How reading goes; asks nobody.
    pub fn how_it_reads(&self) -> Reading {
        let connected = self.0.client.get().is_some_and(|client| client.connection_state() == State::Connected);
        Reading { from: self.0.from.clone(), connected, ..self.reading().clone() }
    }

    /// Why nothing can be read, once it has not been for a while.
    pub fn trouble(&self) -> Option<String> {
        let reading = self.reading();
        let (at, reason) = reading.last_error.as_ref().filter(|_| reading.failures >= SOME_FAILURES)?;
        Some(format!("nothing can be read from {} (last tried at {at}): {reason}", self.0.from))
    }

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
