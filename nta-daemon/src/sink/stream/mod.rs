//! The stream: readers follow the event log as it grows, each from its own cursor.
//!
//! What a reader gets is committed: it comes from the store, by way of a ring that all readers share, so that nothing that was
//! sent is lost by a kill. No queue is kept for a reader. It asks for what is behind its cursor: of the ring while it keeps up, of the store where it
//! does not, two pages at a time for all readers. Only what retention has deleted meanwhile is missed, and counted.

mod filter;
mod reader;
mod ring;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

pub use filter::Filter;
pub use reader::{Message, Reader, Resync};
pub use ring::LogEvent;

use crate::store::{Store, StoreError};
use ring::Ring;

/// Readers at a time unless the configuration says otherwise.
const MAX_READERS: usize = 256;
/// Pages that are read from the store at a time for readers that are behind.
const READING: usize = 2;
/// Events read from the store at once.
const PAGE: u32 = 200;
/// How often the log is looked at without being told of a commit: other processes write into it too.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Where a reader begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Behind this event; `None` behind the newest.
    pub after: Option<u64>,
    /// The log that it is a number of; `None` takes it for one of this.
    pub epoch: Option<String>,
}

/// Why there is no reader.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// As many as are allowed read already.
    #[error("as many readers as this server allows, {most}, follow the events; try again later")]
    Full {
        /// How many.
        most: usize,
    },
    /// The server is about to end.
    #[error("the server is ending")]
    Ending,
    /// The log cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How far the log is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Head {
    /// Number of the newest event that is in the ring.
    newest: u64,
    /// How often the log turned out to be another one.
    log: u64,
}

/// What was sent, and what was not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamStats {
    /// Readers at the moment.
    pub readers: u64,
    /// Readers for whom there was no room.
    pub refused: u64,
    /// Cursors that could not be gone on from.
    pub resyncs: u64,
    /// Events that were deleted before a reader came to them.
    pub missed: u64,
}

/// The stream; clones share it.
#[derive(Clone, Debug)]
pub struct EventStream(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    store: Store,
    most: usize,
    places: Arc<Semaphore>,
    reading: Semaphore,
    ring: Mutex<Ring>,
    head: watch::Sender<Head>,
    /// Whether somebody keeps the ring up.
    is_followed: Mutex<bool>,
    ends: CancellationToken,
    refused: AtomicU64,
    resyncs: AtomicU64,
    missed: AtomicU64,
}

impl EventStream {
    /// Of the log in this store, for the default number of readers.
    pub fn new(store: Store) -> Self {
        Self::for_readers(store, MAX_READERS)
    }

    /// For at most so many readers at a time.
    pub fn for_readers(store: Store, most: usize) -> Self {
        Self(Arc::new(Shared {
            store,
            most,
            places: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))),
            reading: Semaphore::new(READING),
            ring: Mutex::default(),
            head: watch::Sender::default(),
            is_followed: Mutex::new(false),
            ends: CancellationToken::new(),
            refused: AtomicU64::new(0),
            resyncs: AtomicU64::new(0),
            missed: AtomicU64::new(0),
        }))
    }

    /// Ends all readers.
    pub fn end(&self) {
        self.0.ends.cancel();
    }

    /// What was sent, and what was not.
    pub fn stats(&self) -> StreamStats {
        let Shared { most, places, refused, resyncs, missed, .. } = &*self.0;
        StreamStats {
            readers: most.saturating_sub(places.available_permits()) as u64,
            refused: refused.load(Relaxed),
            resyncs: resyncs.load(Relaxed),
            missed: missed.load(Relaxed),
        }
    }

    /// A reader from `cursor` on. Needs a tokio runtime.
    ///
    /// # Errors
    /// When there is no room for one more, or the log cannot be read.
    pub async fn subscribe(&self, cursor: Cursor, filter: Filter) -> Result<Reader, Refused> {
        let shared = &self.0;
        if shared.ends.is_cancelled() {
            return Err(Refused::Ending);
        }
        let Ok(place) = Arc::clone(&shared.places).try_acquire_owned() else {
            shared.refused.fetch_add(1, Relaxed);
            return Err(Refused::Full { most: shared.most });
        };
        // Before the log is looked at: what is committed from here on is told.
        let news = shared.head.subscribe();
        self.follow();
        let state = shared.store.log_state().await?;
        Ok(Reader::new(self.clone(), place, news, &state, cursor, filter))
    }

    /// Has the ring kept up, as long as there are readers.
    fn follow(&self) {
        let mut is_followed = self.0.is_followed.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut *is_followed, true) {
            let shared = Arc::clone(&self.0);
            tokio::spawn(async move { shared.keep_up().await });
        }
    }

    fn missed(&self, events: u64) {
        self.0.missed.fetch_add(events, Relaxed);
    }

    fn resynced(&self) {
        self.0.resyncs.fetch_add(1, Relaxed);
    }
}

impl Shared {
    /// Reads what was committed into the ring, and says so, until nobody reads.
    async fn keep_up(&self) {
        let mut commits = self.store.commits();
        let (mut epoch, mut is_failing) = (None, false);
        loop {
            match self.take(&mut epoch).await {
                Ok(()) => is_failing = false,
                Err(error) if !is_failing => {
                    is_failing = true;
                    tracing::warn!(error = error.chain(), "stream: the event log cannot be read; readers wait");
                }
                Err(_still) => {}
            }
            tokio::select! {
                () = self.ends.cancelled() => break,
                // The store's own writer has committed something, or somebody else may have.
                changed = commits.changed() => if changed.is_err() { break },
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let mut is_followed = self.is_followed.lock().unwrap_or_else(PoisonError::into_inner);
            if self.places.available_permits() >= self.most {
                *is_followed = false;
                self.lock().clear();
                return;
            }
        }
    }

    /// Takes what is new; of much only the newest, as the rest is in the store.
    async fn take(&self, epoch: &mut Option<String>) -> Result<(), StoreError> {
        let state = self.store.log_state().await?;
        let mut head = *self.head.borrow();
        let is_other = epoch.as_ref().is_some_and(|known| *known != state.epoch) || state.newest < head.newest;
        *epoch = Some(state.epoch);
        if is_other {
            self.lock().clear();
            head = Head { newest: state.newest, log: head.log + 1 };
        } else if state.newest > head.newest {
            let mut from = head.newest.max(state.newest.saturating_sub(u64::from(PAGE)));
            if from > head.newest {
                self.lock().clear();
            }
            while from < state.newest {
                let events = self.store.events_after(from, PAGE).await?;
                let Some(last) = events.last().map(|event| event.seq) else { break };
                let mut ring = self.lock();
                events.into_iter().for_each(|event| ring.push(Arc::new(event.into())));
                from = last;
            }
            head.newest = from.max(state.newest);
        } else {
            return Ok(());
        }
        self.head.send_replace(head);
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
