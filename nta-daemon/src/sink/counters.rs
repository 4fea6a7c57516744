//! What became of what a sink sends to others, for who looks after the daemon.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// A sink by its name in the configuration, and what it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Its section.
    pub name: &'static str,
    /// What is counted, in the plural.
    pub unit: &'static str,
    /// What these are, as a sentence begins.
    pub about: &'static str,
}

/// What became of what a sink sends.
#[derive(Debug)]
pub struct Counters {
    kind: Kind,
    to: String,
    sent: AtomicU64,
    dropped: AtomicU64,
    failing: AtomicBool,
    last_error: Mutex<Option<String>>,
}

impl Counters {
    /// Of a sink that sends there.
    pub(crate) fn new(kind: Kind, to: impl Display) -> Self {
        let [sent, dropped] = Default::default();
        Self { kind, to: to.to_string(), sent, dropped, failing: AtomicBool::new(false), last_error: Mutex::default() }
    }

    /// The sink.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Where it sends to.
    pub fn to(&self) -> &str {
        &self.to
    }

    /// What was taken, and what was dropped.
    pub fn counts(&self) -> [u64; 2] {
        [&self.sent, &self.dropped].map(|count| count.load(Ordering::Relaxed))
    }

    /// Whether what was sent last was not taken.
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// Why something was not taken the last time.
    pub fn last_error(&self) -> Option<String> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// So many were taken.
    pub(crate) fn sent(&self, count: u64) {
        self.sent.fetch_add(count, Ordering::Relaxed);
        if self.failing.swap(false, Ordering::Relaxed) {
            let [_, dropped] = self.counts();
            let Kind { name, unit, .. } = self.kind;
            tracing::info!(to = self.to, dropped, "{name}: {unit} are taken again");
        }
    }

    /// So many are lost.
    pub(crate) fn dropped(&self, count: u64) {
        self.dropped.fetch_add(count, Ordering::Relaxed);
    }

    /// Something was not taken; the log says so when that begins.
    pub(crate) fn failed(&self, error: &impl Display) {
        let error = error.to_string();
        if !self.failing.swap(true, Ordering::Relaxed) {
            let Kind { name, unit, .. } = self.kind;
            tracing::warn!(to = self.to, error, "{name}: {unit} are not taken");
        }
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}
