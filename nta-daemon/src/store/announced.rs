//! What happens to the daemon itself while the database takes nothing: told at once, before it is in the event log.

use std::sync::Arc;

use tokio::sync::watch;

use super::events::now;
use super::marker::Marker;
use super::rows::RunRow;
use super::write::Trouble;
use super::{Notice, Store, StoredEvent, capture_of_sensor};
use nta_core::domain::{Mode, Timestamp};

/// Events that are told before they are logged; more of them come with the log alone.
const MOST: usize = 256;
/// Failures in a row after which it is told: a connection that broke is none.
const TOLD_AFTER: u32 = 2;

/// What is told before it is logged; nothing while the database takes batches.
#[derive(Clone, Debug, Default)]
pub struct Announced {
    /// Which trouble it is of: each has another number.
    pub trouble: u64,
    /// What happened, in its order. Their numbers are 0: they get one with the log.
    pub events: Vec<Arc<StoredEvent>>,
}

impl Store {
    /// What is told before it is logged.
    pub fn announced(&self) -> watch::Receiver<Announced> {
        self.announced.subscribe()
    }
}

/// The trouble of one writer: since when there is one, and what is told of it.
#[derive(Debug)]
pub(super) struct Announcer {
    announced: Arc<watch::Sender<Announced>>,
    sensor: String,
    is_live: bool,
    /// Since when the database takes nothing, and the first error; until that is logged.
    since: Option<(Timestamp, String)>,
    /// Failures in a row.
    failures: u32,
    is_told: bool,
    /// What came with batches that are not in the database, and is not told.
    waiting: Vec<Notice>,
    /// That it is told, for the next start: whoever heard of it hears of its end, though the daemon be killed.
    marker: Option<Marker>,
}

impl Announcer {
    pub(super) fn new(store: &Store, run: &RunRow) -> Self {
        let marker = store.spool_folder().map(Marker::of);
        Self {
            announced: Arc::clone(&store.announced),
            sensor: run.sensor.clone(),
            is_live: run.mode == Mode::Live.word(),
            since: marker.as_ref().and_then(Marker::read),
            marker,
            failures: 0,
            is_told: false,
            waiting: Vec::new(),
        }
    }

    /// A batch came with these.
    pub(super) fn came(&mut self, notices: &[Notice]) {
        let room = MOST.saturating_sub(self.waiting.len());
        self.waiting.extend(notices.iter().take(room).cloned());
        if self.is_told {
            self.tell();
        }
    }

    /// The database did not take a batch.
    pub(super) fn failed(&mut self, error: &str) {
        let (from, error) = self.since.get_or_insert_with(|| (now(), error.to_owned()));
        self.failures = self.failures.saturating_add(1);
        if self.failures < TOLD_AFTER || self.is_told || capture_of_sensor(&self.sensor).is_some() {
            return;
        }
        if let Some(marker) = &self.marker {
            marker.set(*from, error);
        }
        let begun = Trouble::notice(*from, error);
        self.waiting.insert(0, begun);
        self.is_told = true;
        self.announced.send_if_modified(|announced| {
            // Another writer may be in trouble as well: its readers have what is told already.
            announced.trouble += u64::from(announced.events.is_empty());
            false
        });
        self.tell();
    }

    fn tell(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        if waiting.is_empty() {
            return;
        }
        self.announced.send_modify(|announced| {
            let room = MOST.saturating_sub(announced.events.len());
            let events = waiting.into_iter().take(room).map(|notice| StoredEvent {
                seq: 0,
                time: Timestamp::from_nanos(notice.time_ns),
                kind: notice.kind,
                run: 0,
                sensor: Some(self.sensor.clone()),
                is_live: self.is_live,
                severity: super::events::severity(&notice.body),
                body: notice.body,
            });
            announced.events.extend(events.map(Arc::new));
        });
    }

    /// The trouble that is not logged yet.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.since.as_ref().map(|(from, error)| Trouble::new(*from, now(), error))
    }

    /// The database took a batch, and with it the trouble or not.
    pub(super) fn took(&mut self, is_logged: bool) {
        self.failures = 0;
        if is_logged
            && self.since.take().is_some()
            && let Some(marker) = &self.marker
        {
            marker.remove();
        }
        if std::mem::take(&mut self.is_told) {
            self.announced.send_modify(|announced| announced.events.clear());
        }
    }

    /// Nothing waits any more.
    pub(super) fn all_stored(&mut self) {
        self.waiting.clear();
    }
}
