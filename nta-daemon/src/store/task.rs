//! The one task that writes. What the database does not take waits, in order: on disk where there is a spool, else in memory.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tracing::{error, warn};

use super::db::Query;
use super::lease::Lock;
use super::rows::{BatchRows, RunRow};
use super::spool::Spool;
use super::waiting::{Cut, Waiting};
use super::write::Trouble;
use super::writer::{Message, WindowBatch};
use super::{RunKey, Store, StoreError, events, size, write};
use nta_core::domain::Timestamp;

/// Wait after the first failed attempt; doubles with each.
const FIRST_WAIT: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 100 });
/// Longest wait between attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// How long a flush goes on trying.
const FLUSH_WAIT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 6 });
/// Bytes of batches kept in memory while neither the database nor the spool takes any.
const MAX_MEMORY_BYTES: u64 = 256 << 20;
/// Every so many batches another connection looks whether they are there.
const VERIFY_EVERY: i64 = 16;
/// Retention runs after this many batches …
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
    memory: Waiting,
    wait: Duration,
    next_attempt: Instant,
    /// Batches given up since the last flush.
    lost: u64,
    /// Since when the database takes nothing, and the first error.
    trouble: Option<(Timestamp, String)>,
    /// The batch that was not written, as far as one knows.
    failed: Option<Attempt>,
    /// Batches and rows since retention ran.
    batches: u32,
    rows: usize,
    measured: Option<Instant>,
}

/// An attempt to write a batch that answered with an error. It may be in the database all the same.
struct Attempt {
    run: Vec<u8>,
    number: i64,
    /// Whether the trouble before it was logged with it.
    with_trouble: bool,
}

impl Task {
    pub(super) fn new(store: Store, RunKey { row, lock }: RunKey) -> Self {
        let spool = store.spool.as_ref().and_then(|(folder, most)| {
            Spool::open(folder, *most)
                .inspect_err(|error| warn!(folder = %folder.display(), %error, "store: there is no spool"))
                .ok()
        });
        Self {
            store,
            run: row,
            _lock: lock,
            number: 0,
            spool,
            memory: Waiting::new(MAX_MEMORY_BYTES),
            wait: FIRST_WAIT,
            next_attempt: Instant::now(),
            lost: 0,
            trouble: None,
            failed: None,
            batches: 0,
            rows: 0,
            measured: None,
        }
    }

    pub(super) async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        // What an earlier run left in the spool.
        self.drain().await;
        loop {
            let message = if self.waiting() == 0 {
                messages.recv().await
            } else {
                tokio::select! {
                    message = messages.recv() => message,
                    () = tokio::time::sleep_until(self.next_attempt.into()) => {
                        self.drain().await;
                        continue;
                    }
                }
            };
            match message {
                Some(Message::Write(batch)) => {
                    self.store.counters.queue_length.fetch_sub(1, Relaxed);
                    self.store.counters.queue_bytes.fetch_sub(batch.bytes(), Relaxed);
                    self.write(*batch).await;
                    self.retain().await;
                }
                // Nobody may be waiting any more.
                Some(Message::Flush(done)) => drop(done.send(self.flush().await)),
                Some(Message::Stop) => messages.close(),
                None => break,
            }
        }
        if self.waiting() > 0 {
            let _ = self.flush().await.inspect_err(|error| error!(error = error.chain(), "store: not all is written"));
        }
    }

    fn waiting(&self) -> usize {
        self.spool.as_ref().map_or(0, Spool::len) + self.memory.len()
    }

    async fn write(&mut self, batch: WindowBatch) {
        self.number += 1;
        let rows = match BatchRows::new(&self.run, self.number, batch) {
            Ok(rows) => rows,
            Err(failure) => return self.give_up(&failure),
        };
        self.memory.push(rows);
        if self.waiting() == 1 || Instant::now() >= self.next_attempt {
            self.drain().await;
        } else {
            self.spill();
        }
    }

    /// Writes what waits, the oldest first, until the database refuses; then the rest goes to the spool.
    async fn drain(&mut self) {
        loop {
            let spooled = match self.spool.as_mut().map(Spool::front) {
                Some(Ok(rows)) => rows,
                Some(Err(error)) => {
                    self.failed(format!("spool: {error}"));
                    break;
                }
                None => None,
            };
            let is_spooled = spooled.is_some();
            let Some(rows) = spooled.or_else(|| self.memory.pop()) else {
                break;
            };
            let committed = self.commit(&rows).await;
            let is_over = match &committed {
                Ok(()) => {
                    self.store.counters.failing.store(false, Relaxed);
                    self.wait = FIRST_WAIT;
                    true
                }
                Err(failure) if failure.is_permanent() => {
                    self.give_up(failure);
                    true
                }
                Err(failure) => {
                    self.failed(failure.chain());
                    false
                }
            };
            if is_spooled && is_over {
                let forgotten = self
                    .spool
                    .as_mut()
                    .map(|spool| if committed.is_ok() { spool.pop_front() } else { spool.set_aside() });
                if let Some(Err(error)) = forgotten {
                    // The next attempt finds the batch in the database already.
                    self.failed(format!("spool: {error}"));
                    break;
                }
            }
            if !is_over {
                if !is_spooled {
                    self.memory.put_back(rows);
                }
                break;
            }
        }
        self.spill();
        self.measure().await;
    }

    /// Moves what waits in memory to the disk, as far as it takes it.
    fn spill(&mut self) {
        let mut cut = Cut::default();
        if let Some(spool) = &mut self.spool {
            while let Some(rows) = self.memory.front() {
                if let Err(error) = spool.push(rows) {
                    warn!(%error, "store: the spool takes no batch, it stays in memory");
                    break;
                }
                self.memory.pop();
            }
            cut.add(std::mem::take(&mut spool.cut));
            self.store.counters.spool_corrupt.store(spool.corrupt, Relaxed);
            self.store.counters.spool_bytes.store(spool.bytes(), Relaxed);
        }
        cut.add(self.memory.cut());
        let counters = &self.store.counters;
        counters.cut_windows.fetch_add(cut.windows, Relaxed);
        counters.cut_flows.fetch_add(cut.flows, Relaxed);
        counters.cut_alerts.fetch_add(cut.alerts, Relaxed);
        counters.batches_lost.fetch_add(cut.batches, Relaxed);
        self.lost += cut.batches;
        counters.batches_waiting.store(self.waiting() as u64, Relaxed);
        counters.batches_in_memory.store(self.memory.len() as u64, Relaxed);
    }

    fn failed(&mut self, reason: String) {
        if !self.store.counters.failing.load(Relaxed) {
            error!(reason, "store: the database takes no batch; they wait");
        }
        self.trouble.get_or_insert_with(|| (events::now(), reason.clone()));
        self.store.counters.failed(reason);
        self.next_attempt = Instant::now() + self.wait;
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
    }

    fn give_up(&mut self, failure: &StoreError) {
        self.lost += 1;
        self.store.counters.failed(failure.chain());
        self.store.counters.batches_lost.fetch_add(1, Relaxed);
        error!(error = failure.chain(), "store: batch given up, the database refused its values");
    }

    /// Commits a batch, and looks at times, and after every error, whether another connection finds it.
    async fn commit(&mut self, rows: &BatchRows) -> Result<(), StoreError> {
        let trouble = self.trouble.as_ref().map(|(from, error)| Trouble::new(*from, events::now(), error));
        let known = self.failed.take().filter(|last| last.run == rows.run.uuid && last.number == rows.number);
        let begin = Instant::now();
        let result = self.commit_and_verify(rows, trouble.as_ref()).await;
        let Ok(is_new) = result else {
            let with_trouble = trouble.is_some() || known.is_some_and(|last| last.with_trouble);
            self.failed = Some(Attempt { run: rows.run.uuid.clone(), number: rows.number, with_trouble });
            return result.map(drop);
        };
        if is_new || known.as_ref().is_some_and(|last| last.with_trouble) {
            self.trouble = None;
        }
        // One that is there already although an attempt failed was written by that attempt.
        let is_ours = is_new || known.is_some();
        let counters = Arc::clone(&self.store.counters);
        if is_ours {
            counters.batches.fetch_add(1, Relaxed);
            counters.windows.fetch_add(rows.windows.iter().filter(|w| w.factor == 1).count() as u64, Relaxed);
            counters.flow_rows.fetch_add(rows.flows.len() as u64, Relaxed);
            counters.raw_packets.fetch_add(rows.raw_packets.len() as u64, Relaxed);
            counters.alert_rows.fetch_add(rows.alerts.len() as u64, Relaxed);
            counters.anomaly_rows.fetch_add(rows.anomalies.len() as u64, Relaxed);
            counters.feature_rows.fetch_add(rows.features.len() as u64, Relaxed);
        }
        counters.last_commit_us.store(u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX), Relaxed);
        self.batches += 1;
        self.rows += rows.flows.len() + rows.features.len() + rows.anomalies.len() + rows.raw_packets.len();
        Ok(())
    }

    async fn commit_and_verify(&self, rows: &BatchRows, trouble: Option<&Trouble>) -> Result<bool, StoreError> {
        let is_new = write::commit(&self.store.database, rows, trouble).await?;
        if self.store.database.was_replaced() {
            return Err(StoreError::Replaced);
        }
        if self.store.counters.failing.load(Relaxed) || rows.number % VERIFY_EVERY == 0 {
            let seen = Query::new("SELECT last_batch FROM runs WHERE uuid = $1").bind(rows.run.uuid.clone());
            let seen = self.store.read("runs", seen, super::Row::first).await?;
            if seen.first().is_none_or(|last| *last < rows.number) {
                return Err(StoreError::Unseen { number: rows.number });
            }
        }
        Ok(is_new)
    }

    /// Notes how large the database is and how much room there is, at times.
    async fn measure(&mut self) {
        let pause = size::pause(&self.store);
        if self.measured.is_none_or(|last| last.elapsed() >= pause) {
            self.measured = Some(Instant::now());
            size::measure(&self.store).await;
        }
    }

    async fn retain(&mut self) {
        if self.batches < RETAIN_BATCHES && self.rows < RETAIN_ROWS || self.waiting() > 0 {
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
        while self.waiting() > 0 {
            self.drain().await;
            if self.waiting() == 0 || Instant::now() >= deadline {
                break;
            }
            tokio::time::sleep(self.wait.min(LONGEST_WAIT)).await;
        }
        let last = self.store.counters.last_error().map(|(_, error)| error).unwrap_or_default();
        match (std::mem::take(&mut self.lost), self.waiting()) {
            (0, 0) => Ok(()),
            (0, waiting) => Err(StoreError::Waiting { batches: waiting as u64, last }),
            (batches, _) => Err(StoreError::Lost { batches, last }),
        }
    }
}
