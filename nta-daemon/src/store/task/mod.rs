//! The one task that writes. What the database does not take waits, in order: on disk where there is a spool, else in memory.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tracing::{error, info, warn};

use super::announced::Announcer;
use super::lease::Lock;
use super::opening::Opening;
use super::rows::{BatchRows, RunRow};
use super::spool::Spool;
use super::waiting::{Cut, Waiting};
use super::writer::{Message, WindowBatch};
use super::{RunKey, Store, StoreError, size};
use attempt::Attempt;
use nta_core::domain::Mode;

mod attempt;

/// Wait after the first failed attempt; doubles with each.
const FIRST_WAIT: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 100 });
/// Longest wait between attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// How long a flush goes on trying.
const FLUSH_WAIT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 6 });
/// Bytes of batches kept in memory while neither the database nor the spool takes any.
const MAX_MEMORY_BYTES: u64 = 256 << 20;
/// Batches of a replay in one transaction, and bytes of them beyond which no other joins.
const GROUP_BATCHES: usize = 64;
const GROUP_BYTES: u64 = 8 << 20;
/// Retention runs at the end of a run, with which its flows are over, after this many batches of a live run, and a replay's group at most
/// before it: by so much there may be more rows than are kept …
const RETAIN_BATCHES: u32 = 16;
/// … or this many rows.
const RETAIN_ROWS: usize = 100_000;

/// What writes the batches of a run.
pub(super) struct Task {
    store: Store,
    run: RunRow,
    /// That the run goes on.
    _lock: Lock,
    /// Number of the newest batch.
    number: i64,
    /// Batches that wait, the oldest on disk; those in memory are newer.
    spool: Option<Spool>,
    opening: Opening,
    memory: Waiting,
    wait: Duration,
    next_attempt: Instant,
    /// How long an attempt may take.
    patience: Duration,
    /// Batches given up since the last flush.
    lost: u64,
    /// Since when the database takes nothing, and what is told of it.
    trouble: Announcer,
    wrote_own: bool, // whether a batch of this run was written
    /// Whether the spool took nothing the last time; it is logged once.
    spool_refuses: bool,
    /// The batches that were not written, as far as one knows.
    failed: Option<Attempt>,
    /// Batches to be written one by one: one of them is refused for good.
    alone: usize,
    /// Batches and rows since retention ran.
    batches: u32,
    rows: usize,
    measured: Option<Instant>,
}

impl Task {
    pub(super) fn new(store: Store, RunKey { row, lock }: RunKey) -> Self {
        let now = Instant::now();
        let (mut spool, mut opening) = (None, Opening::new(now));
        opening.open(&store, &mut spool, now);
        Self {
            trouble: Announcer::new(&store, &row),
            store,
            run: row,
            _lock: lock,
            number: 0,
            spool,
            opening,
            memory: Waiting::new(MAX_MEMORY_BYTES),
            wait: FIRST_WAIT,
            next_attempt: now,
            patience: attempt::PATIENCE,
            lost: 0,
            wrote_own: false,
            spool_refuses: false,
            failed: None,
            alone: 0,
            batches: 0,
            rows: 0,
            measured: None,
        }
    }

    pub(super) async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        // What an earlier run left in the spool.
        self.drain().await;
        let mut next = None;
        loop {
            let message = if next.is_some() {
                next.take()
            } else if let Some(at) = self.next_attempt() {
                tokio::select! {
                    message = messages.recv() => message,
                    () = tokio::time::sleep_until(at.into()) => {
                        self.drain().await;
                        continue;
                    }
                }
            } else {
                messages.recv().await
            };
            match message {
                Some(Message::Write(batch, _room)) => {
                    let is_first = self.ready() == 0;
                    self.take(*batch);
                    // Behind what waits already they go to the disk at once, however long the next attempt takes.
                    while (!is_first || self.takes_more()) && next.is_none() {
                        match messages.try_recv() {
                            Ok(Message::Write(batch, _room)) => self.take(*batch),
                            Ok(other) => next = Some(other),
                            Err(_none) => break,
                        }
                    }
                    if !is_first {
                        self.spill();
                    }
                    if is_first || Instant::now() >= self.next_attempt {
                        self.drain().await;
                    }
                }
                Some(Message::Flush(done)) => drop(done.send(self.flush().await)), // nobody may be waiting any more
                Some(Message::Stop) => messages.close(),
                None => break,
            }
        }
        if self.ready() > 0 {
            let _ = self.flush().await.inspect_err(|error| error!(error = error.chain(), "store: not all is written"));
        }
        self.spool.iter().for_each(Spool::say_what_is_left);
    }

    /// Batches that are not in the database.
    fn waiting(&self) -> usize {
        self.spool.as_ref().map_or(0, Spool::len) + self.memory.len()
    }

    /// Of these, batches that can be written as soon as the database takes them.
    fn ready(&self) -> usize {
        self.spool.as_ref().map_or(0, Spool::ready) + self.memory.len()
    }

    /// When there is something to try again.
    fn next_attempt(&self) -> Option<Instant> {
        let spool = self.spool.as_ref();
        let later = || spool.map_or_else(|| self.opening.due(&self.store, None), Spool::retry_at);
        if self.ready() > 0 { Some(self.next_attempt) } else { later() }
    }

    /// Takes a batch out of the queue.
    fn take(&mut self, batch: WindowBatch) {
        self.store.counters.queue_length.fetch_sub(1, Relaxed);
        self.store.counters.queue_bytes.fetch_sub(batch.bytes(), Relaxed);
        self.number += 1;
        let rows = BatchRows::new(&self.run, self.number, batch);
        match rows.inspect(|rows| self.trouble.came(&rows.notices)) {
            Ok(rows) => self.memory.push(rows),
            Err(failure) => self.give_up(&failure),
        }
    }

    /// Whether what is in the queue already may be written with what waits: a replay makes windows by the thousand.
    fn takes_more(&self) -> bool {
        self.run.mode != Mode::Live.word() && self.memory.len() < GROUP_BATCHES && self.memory.bytes() < GROUP_BYTES
    }

    /// The oldest batches in memory that are written together.
    fn group(&mut self) -> Vec<BatchRows> {
        let most = if self.alone > 0 || self.run.mode == Mode::Live.word() { 1 } else { GROUP_BATCHES };
        self.alone = self.alone.saturating_sub(1);
        let (mut group, before) = (Vec::new(), self.memory.bytes());
        while group.len() < most && before - self.memory.bytes() < GROUP_BYTES {
            let Some(rows) = self.memory.pop() else { break };
            group.push(rows);
        }
        group
    }

    /// Writes what waits, the oldest first, until the database refuses; then the rest goes to the spool.
    async fn drain(&mut self) {
        self.opening.open(&self.store, &mut self.spool, Instant::now());
        self.spool.iter_mut().for_each(|spool| spool.retry(Instant::now()));
        if self.store.counters.stopping.load(Relaxed) {
            self.spill(); // first: the database may take longer than there is time
        }
        if self.is_out_of_time() {
            return;
        }
        loop {
            let spooled = self.spool.as_mut().and_then(Spool::front).map(|rows| self.late_or_not(rows));
            let is_spooled = spooled.is_some();
            let group = spooled.map_or_else(|| self.group(), |rows| vec![rows]);
            if group.is_empty() {
                self.trouble.all_stored();
                break;
            }
            let committed = self.commit(&group).await;
            let is_over = match &committed {
                Ok(()) => {
                    if self.store.counters.failing.swap(false, Relaxed) {
                        info!("store: the database takes batches again");
                    }
                    self.wait = FIRST_WAIT;
                    self.retain().await;
                    true
                }
                Err(failure) if failure.is_permanent() && group.len() > 1 => {
                    self.alone = group.len();
                    self.put_back(group);
                    continue;
                }
                Err(failure) if failure.is_permanent() => {
                    self.give_up(failure);
                    true
                }
                Err(StoreError::OutOfTime) => false,
                Err(failure) => {
                    self.failed(failure.chain());
                    false
                }
            };
            if is_spooled
                && is_over
                && let Some(spool) = &mut self.spool
            {
                if committed.is_ok() { spool.pop_front() } else { spool.set_aside() }
            }
            self.wrote_own |= is_over && !is_spooled;
            if !is_over {
                if !is_spooled {
                    self.put_back(group);
                }
                break;
            }
        }
        self.spill();
        size::measure_at_times(&self.store, &mut self.measured, Instant::now()).await;
    }

    /// Whether the process ends and waits for the database no longer.
    fn is_out_of_time(&self) -> bool {
        self.has_spool() && self.store.out_of_time.is_cancelled()
    }

    /// Whether the disk takes what the database does not.
    const fn has_spool(&self) -> bool {
        self.spool.is_some() && !self.spool_refuses
    }

    /// A batch of an earlier run that could not be read before one of this run was written leaves alone what is kept once for a
    /// sensor: that is newer by now.
    fn late_or_not(&self, rows: BatchRows) -> BatchRows {
        let is_late = self.wrote_own && rows.run.uuid != self.run.uuid;
        if is_late { BatchRows { baselines: None, readings: None, ..rows } } else { rows }
    }

    fn put_back(&mut self, group: Vec<BatchRows>) {
        group.into_iter().rev().for_each(|rows| self.memory.put_back(rows));
    }

    /// Moves what waits in memory to the disk, as far as it takes it.
    fn spill(&mut self) {
        let (mut cut, mut refused) = (Cut::default(), None);
        if let Some(spool) = &mut self.spool {
            while let Some(rows) = self.memory.front() {
                if let Err(error) = spool.push(rows) {
                    refused = Some(error.to_string());
                    if !std::mem::replace(&mut self.spool_refuses, true) {
                        warn!(%error, "store: the spool takes no batch; they stay in memory");
                    }
                    break;
                }
                if std::mem::take(&mut self.spool_refuses) {
                    info!("store: the spool takes batches again");
                }
                self.memory.pop();
            }
            cut.add(std::mem::take(&mut spool.cut));
            spool.note_end_of_trouble();
            self.store.counters.note_spool(spool, refused.as_deref());
        }
        cut.add(self.memory.cut());
        let counters = &self.store.counters;
        counters.add_cut(&cut);
        self.lost += cut.batches;
        counters.batches_waiting.store(self.waiting() as u64, Relaxed);
        counters.batches_in_memory.store(self.memory.len() as u64, Relaxed);
    }

    fn failed(&mut self, reason: String) {
        if !self.store.counters.failing.load(Relaxed) {
            error!(reason, "store: the database takes no batch; they wait");
        }
        self.trouble.failed(&reason);
        self.store.counters.failed(reason);
        self.next_attempt = Instant::now() + self.wait;
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
    }

    fn give_up(&mut self, failure: &StoreError) {
        self.lost += 1;
        self.store.counters.failed(failure.chain());
        self.store.counters.batches_lost.fetch_add(1, Relaxed);
        error!(error = failure.chain(), "store: batch given up, it is refused for good");
    }

    async fn retain(&mut self) {
        if self.batches < RETAIN_BATCHES && self.rows < RETAIN_ROWS {
            return;
        }
        (self.batches, self.rows) = (0, 0);
        if let Err(failure) = self.store.retain().await {
            warn!(error = failure.chain(), "store: old rows not deleted, will be tried again");
        }
    }

    /// Goes on trying for some time; what still waits then is on disk where there is a spool.
    async fn flush(&mut self) -> Result<(), StoreError> {
        let deadline = Instant::now() + FLUSH_WAIT;
        while self.ready() > 0 {
            self.drain().await;
            if self.ready() == 0 || Instant::now() >= deadline || self.is_out_of_time() {
                break;
            }
            tokio::select! {
                () = tokio::time::sleep(self.wait.min(LONGEST_WAIT)) => {}
                () = self.store.out_of_time.cancelled(), if self.has_spool() => {}
            }
        }
        let last = self.store.counters.last_error().map(|(_, error)| error).unwrap_or_default();
        match (std::mem::take(&mut self.lost), self.ready()) {
            (0, 0) => Ok(()),
            (0, waiting) => Err(StoreError::Waiting { batches: waiting as u64, last }),
            (batches, _) => Err(StoreError::Lost { batches, last }),
        }
    }
}
