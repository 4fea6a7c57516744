//! A job that waits or is under way, and the counts of those that were.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Kind, Progress};
use crate::store::JobState;

/// A job that waits or is under way.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) id: String,
    pub(super) kind: &'static dyn Kind,
    pub(super) request: Value,
    pub(super) cancel: CancellationToken,
    /// Whether it is the daemon that ends, and not the job alone.
    pub(super) is_stopped: AtomicBool,
    pub(super) progress: Progress,
    pub(super) over: watch::Sender<bool>,
}

/// What happened to jobs since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobCounts {
    /// That wait.
    pub waiting: u64,
    /// That are under way.
    pub running: u64,
    /// That ended, by kind and how.
    pub ended: BTreeMap<(&'static str, &'static str), u64>,
    /// Orders that were refused because too many wait.
    pub refused: u64,
    /// That were deleted from the table because there are too many or they are too old.
    pub deleted: u64,
    /// Ends that the store did not take, and that were given up.
    pub unsaved_lost: u64,
}

impl Live {
    pub(super) fn new(id: String, kind: &'static dyn Kind, request: Value) -> Arc<Self> {
        Arc::new(Self {
            id,
            kind,
            request,
            cancel: CancellationToken::new(),
            is_stopped: AtomicBool::new(false),
            progress: Progress::default(),
            over: watch::Sender::new(false),
        })
    }
}

impl JobCounts {
    pub(super) fn add(&mut self, kind: &str, state: JobState, kinds: &[&'static dyn Kind]) {
        let kind = kinds.iter().map(|known| known.name()).find(|known| *known == kind).unwrap_or("unknown");
        *self.ended.entry((kind, state.word())).or_default() += 1;
    }
}

/// A UUID as text.
pub(super) fn hyphenated(uuid: [u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in uuid.into_iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text += &format!("{byte:02x}");
    }
    text
}
