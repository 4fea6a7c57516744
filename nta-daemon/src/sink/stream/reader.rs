//! One reader of the stream: its cursor, and what comes next.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;

use super::ring::LogEvent;
use super::{Cursor, EventStream, Filter, Head, PAGE};
use crate::store::{Announced, LogState, StoredEvent};

/// Events taken from the ring at once.
const AT_ONCE: usize = 64;
/// A reader that got nothing for so long gets a heartbeat.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Wait before the store is asked again that did not answer.
const RETRY: Duration = Duration::from_secs(1);

/// Why what follows does not go on from the cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resync {
    /// Events behind it are deleted.
    TooOld,
    /// The log is not that far: it is another one, or an older copy.
    Ahead,
    /// It is of another log.
    OtherLog,
}

impl Resync {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::TooOld => "too_old",
            Self::Ahead => "ahead",
            Self::OtherLog => "other_log",
        }
    }
}

/// What a reader gets.
#[derive(Clone, Debug)]
pub enum Message {
    /// First of all: which log this is, and behind which event the reader begins.
    Hello(LogState, u64),
    /// What follows does not go on from the reader's cursor, but from this one.
    Resync(Resync, u64),
    /// An event.
    Event(Arc<LogEvent>),
    /// So many events up to this one were deleted before the reader came to them.
    Missed(u64, u64),
    /// What happens to the daemon itself while the database takes nothing, behind this event: it has no number yet, and comes with the
    /// log as soon as there is one again.
    Notice(Arc<StoredEvent>, u64),
    /// Nothing came for some time; all up to this event was looked at.
    Heartbeat(u64),
}

/// A reader; its place is free again when it is dropped.
#[derive(Debug)]
pub struct Reader {
    stream: EventStream,
    _place: OwnedSemaphorePermit,
    news: watch::Receiver<Head>,
    log: u64,
    cursor: u64,
    filter: Filter,
    /// What is to be said before anything else.
    first: Vec<Message>,
    /// Events that are read and not yet handed out.
    read: VecDeque<Arc<LogEvent>>,
    beat: Instant,
    /// What is told before it is logged; of which trouble the reader knows, and how much of it.
    announced: watch::Receiver<Announced>,
    told: (u64, usize),
}

impl Reader {
    pub(super) fn new(
        stream: EventStream,
        place: OwnedSemaphorePermit,
        news: watch::Receiver<Head>,
        state: &LogState,
        cursor: Cursor,
        filter: Filter,
    ) -> Self {
        let is_other = cursor.epoch.is_some_and(|epoch| epoch != state.epoch);
        let (resync, begin) = match cursor.after {
            None => (None, state.newest),
            Some(_) if is_other => (Some(Resync::OtherLog), state.newest),
            Some(after) if after > state.newest => (Some(Resync::Ahead), state.newest),
            // What is left of it comes.
            Some(after) if after.saturating_add(1) < state.oldest => (Some(Resync::TooOld), state.oldest - 1),
            Some(after) => (None, after),
        };
        let mut first = Vec::new();
        if let Some(resync) = resync {
            stream.resynced();
            first.push(Message::Resync(resync, begin));
        }
        first.push(Message::Hello(state.clone(), begin));
        let log = news.borrow().log;
        let (read, beat) = (VecDeque::new(), Instant::now() + HEARTBEAT);
        let (announced, told) = (stream.0.store.announced(), (0, 0));
        Self { stream, _place: place, news, log, cursor: begin, filter, first, read, beat, announced, told }
    }

    /// What comes next; `None` when the server ends. Nothing is lost when it is not waited for.
    pub async fn next(&mut self) -> Option<Message> {
        let message = self.find().await?;
        self.beat = Instant::now() + HEARTBEAT;
        Some(message)
    }

    async fn find(&mut self) -> Option<Message> {
        loop {
            if self.stream.0.ends.is_cancelled() {
                return None;
            }
            if let Some(message) = self.first.pop() {
                return Some(message);
            }
            if let Some(event) = self.notice() {
                return Some(Message::Notice(event, self.cursor));
            }
            let head = *self.news.borrow_and_update();
            if head.log != self.log {
                self.stream.resynced();
                (self.log, self.cursor) = (head.log, head.newest);
                self.read = VecDeque::new();
                return Some(Message::Resync(Resync::OtherLog, self.cursor));
            }
            if let Some(message) = self.of_what_is_read() {
                return Some(message);
            }
            if self.cursor < head.newest {
                Box::pin(self.read_on(head)).await;
                continue;
            }
            tokio::select! {
                () = self.stream.0.ends.cancelled() => return None,
                changed = self.news.changed() => changed.ok()?,
                changed = self.announced.changed() => changed.ok()?,
                () = tokio::time::sleep_until(self.beat) => return Some(Message::Heartbeat(self.cursor)),
            }
        }
    }

    /// The next that the reader wants of what is told before it is logged.
    fn notice(&mut self) -> Option<Arc<StoredEvent>> {
        let Announced { trouble, events } = &*self.announced.borrow_and_update();
        let (of, told) = &mut self.told;
        if trouble != of {
            (*of, *told) = (*trouble, 0);
        }
        while let Some(event) = events.get(*told) {
            *told += 1;
            if self.filter.takes(&event.kind, event.severity, event.sensor.as_deref()) {
                return Some(Arc::clone(event));
            }
        }
        None
    }

    /// The next that the reader wants of what is read; numbers that are not there were missed.
    fn of_what_is_read(&mut self) -> Option<Message> {
        while let Some(event) = self.read.front() {
            let missed = event.seq.saturating_sub(self.cursor.saturating_add(1));
            if missed > 0 {
                self.cursor = event.seq - 1;
                self.stream.missed(missed);
                return Some(Message::Missed(missed, self.cursor));
            }
            let event = self.read.pop_front()?;
            self.cursor = event.seq;
            if self.filter.matches(&event) {
                return Some(Message::Event(event));
            }
        }
        // Most readers wait most of the time.
        self.read = VecDeque::new();
        None
    }

    /// Reads what is behind the cursor, from the ring or the store.
    async fn read_on(&mut self, head: Head) {
        let shared = &self.stream.0;
        let found = shared.lock().after(self.cursor, AT_ONCE);
        if let Some(found) = found.filter(|found| !found.is_empty()) {
            self.read = found.into();
            return;
        }
        // It is never closed.
        let _turn = shared.reading.acquire().await;
        match shared.store.events_after(self.cursor, PAGE).await {
            Ok(events) if events.is_empty() => {
                // All of them are gone: the newest is kept, so that this is another log, or a damaged one.
                let missed = head.newest.saturating_sub(self.cursor);
                self.cursor = head.newest;
                self.stream.missed(missed);
                self.first.push(Message::Missed(missed, self.cursor));
            }
            Ok(events) => self.read = events.into_iter().map(|event| Arc::new(event.into())).collect(),
            // The log says it, once for all readers.
            Err(_unreadable) => tokio::time::sleep(RETRY).await,
        }
    }
}
