//! The one task that writes. Batches come through a bounded queue, so that a slow disk never holds up the data path:
//! what does not fit stays with the caller, who can add to it and try again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tracing::{error, warn};

use super::db::Query;
use super::rows::{BatchRows, RunRow};
use super::spool::Spool;
use super::stats::Counters;
use super::{Anomaly, FeatureRow, RunKey, Store, StoreError, write};
use nta_core::baseline::Export;
use nta_core::domain::{Alert, FlowRecord, RawPacket};
use nta_core::window::{Span, Window};

/// Wait after the first failed attempt; doubles with each.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// Longest wait between attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// How long a flush goes on trying.
const FLUSH_WAIT: Duration = Duration::from_secs(6);
/// Batches kept in memory while neither the database nor the spool takes any; of more the oldest ones are lost.
const MAX_IN_MEMORY: usize = 1024;
/// Every so many batches another connection looks whether they are there.
const VERIFY_EVERY: i64 = 16;
/// Retention runs after this many batches …
const RETAIN_BATCHES: u32 = 16;
/// … or this many rows.
const RETAIN_ROWS: usize = 100_000;

/// What a closed window adds to the store; committed as a whole.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The window.
    pub window: Option<Window>,
    /// Flows that changed, cumulative.
    pub flows: Vec<FlowRecord>,
    /// Heads of frames.
    pub raw_packets: Vec<RawPacket>,
    /// Longer windows that closed with it.
    pub longer: Vec<(Span, Window)>,
    /// Alerts that changed, each in its last state.
    pub alerts: Vec<Alert>,
    /// What was found.
    pub anomalies: Vec<Anomaly>,
    /// Feature vectors.
    pub features: Vec<FeatureRow>,
    /// What is usual, under its name.
    pub baselines: Option<(&'static str, Arc<Export>)>,
    /// The run ends with it, for this reason: `completed` or `stopped`.
    pub end: Option<&'static str>,
}

/// The sending side; cheap to clone. When the last one is dropped, the writer finishes what is queued and ends.
#[derive(Clone, Debug)]
pub struct StoreWriter {
    queue: mpsc::Sender<Message>,
    counters: Arc<Counters>,
}

enum Message {
    // Boxed to keep the queue's slots small.
    Write(Box<Batch>),
    Flush(oneshot::Sender<Result<(), StoreError>>),
    Stop,
}

impl Store {
    /// Starts the writer of a run, behind a queue of `capacity` batches. Needs a tokio runtime.
    pub fn writer(&self, run: RunKey, capacity: usize) -> (StoreWriter, JoinHandle<()>) {
        let (queue, messages) = mpsc::channel(capacity.max(1));
        self.counters.queue_capacity.store(queue.max_capacity() as u64, Relaxed);
        let spool = self.spool.as_ref().and_then(|(folder, most)| {
            Spool::open(folder, *most)
                .inspect_err(|error| warn!(folder = %folder.display(), %error, "store: there is no spool"))
                .ok()
        });
        let task = Task {
            store: self.clone(),
            run: run.0,
            number: 0,
            spool,
            memory: VecDeque::new(),
            wait: FIRST_WAIT,
            next_attempt: Instant::now(),
            lost: 0,
            batches: 0,
            rows: 0,
        };
        let writer = StoreWriter { queue, counters: Arc::clone(&self.counters) };
        (writer, tokio::spawn(task.run(messages)))
    }
}

impl StoreWriter {
    /// Queues a batch without waiting; gives it back when the queue is full or the writer has ended.
    #[expect(clippy::result_large_err, reason = "the batch itself goes back, to be merged or tried again")]
    pub fn try_send(&self, batch: Batch) -> Result<(), Batch> {
        self.counters.queue_length.fetch_add(1, Relaxed);
        self.queue.try_send(Message::Write(Box::new(batch))).map_err(|refused| {
            self.counters.queue_length.fetch_sub(1, Relaxed);
            self.counters.queue_full.fetch_add(1, Relaxed);
            match refused.into_inner() {
                Message::Write(batch) => *batch,
                Message::Flush(_) | Message::Stop => Batch::default(),
            }
        })
    }

    /// Queues a batch, waiting for room.
    pub async fn send(&self, batch: Batch) -> Result<(), StoreError> {
        let Ok(permit) = self.queue.reserve().await else { return Err(StoreError::Closed) };
        self.counters.queue_length.fetch_add(1, Relaxed);
        permit.send(Message::Write(Box::new(batch)));
        Ok(())
    }

    /// Counts the head of a frame for which the caller had no room.
    pub fn note_raw_packet_dropped(&self) {
        self.counters.raw_packets_dropped.fetch_add(1, Relaxed);
    }

    /// Returns when everything sent so far is committed, or reports what still waits or was lost since the last flush.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let (done, wait) = oneshot::channel();
        let sent = self.queue.send(Message::Flush(done)).await;
        sent.map_err(|_closed| StoreError::Closed)?;
        wait.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Commits everything sent so far and ends the writer.
    pub async fn shutdown(self) -> Result<(), StoreError> {
        let flushed = self.flush().await;
        // A writer that has ended already is what is wanted.
        let _ended = self.queue.send(Message::Stop).await;
        flushed
    }
}

struct Task {
    store: Store,
    run: RunRow,
    /// Number of the newest batch.
    number: i64,
    /// Batches that wait, the oldest on disk; those in memory are newer.
    spool: Option<Spool>,
    memory: VecDeque<BatchRows>,
    wait: Duration,
    next_attempt: Instant,
    /// Batches given up since the last flush.
    lost: u64,
    /// Batches and rows since retention ran.
    batches: u32,
    rows: usize,
}

impl Task {
    async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
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

    async fn write(&mut self, batch: Batch) {
        self.number += 1;
        let rows = match BatchRows::new(&self.run, self.number, batch) {
            Ok(rows) => rows,
            Err(failure) => return self.give_up(&failure),
        };
        self.memory.push_back(rows);
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
            let Some(rows) = spooled.or_else(|| self.memory.pop_front()) else {
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
                    self.memory.push_front(rows);
                }
                break;
            }
        }
        self.spill();
    }

    /// Moves what waits in memory to the disk, as far as it takes it.
    fn spill(&mut self) {
        if let Some(spool) = &mut self.spool {
            while let Some(rows) = self.memory.front() {
                if let Err(error) = spool.push(rows) {
                    warn!(%error, "store: the spool takes no batch, it stays in memory");
                    break;
                }
                self.memory.pop_front();
            }
            let counters = &self.store.counters;
            counters.spool_cut_windows.store(spool.cut.windows, Relaxed);
            counters.spool_cut_flows.store(spool.cut.flows, Relaxed);
            counters.spool_cut_alerts.store(spool.cut.alerts, Relaxed);
            counters.spool_corrupt.store(spool.corrupt, Relaxed);
        }
        while self.memory.len() > MAX_IN_MEMORY {
            // Alerts are few, and what an operator needs most.
            let oldest = self.memory.pop_front();
            if let (Some(oldest), Some(next)) = (oldest, self.memory.front_mut()) {
                let known = |id: &str| next.alerts.iter().any(|alert| alert.id == id);
                let kept: Vec<_> = oldest.alerts.into_iter().filter(|alert| !known(&alert.id)).collect();
                next.alerts.splice(0..0, kept);
            }
            self.lost += 1;
            self.store.counters.batches_lost.fetch_add(1, Relaxed);
        }
        self.store.counters.batches_waiting.store(self.waiting() as u64, Relaxed);
    }

    fn failed(&mut self, reason: String) {
        if !self.store.counters.failing.load(Relaxed) {
            error!(reason, "store: the database takes no batch; they wait");
        }
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
        let counters = Arc::clone(&self.store.counters);
        let begin = Instant::now();
        let is_new = write::commit(&self.store.database, rows).await?;
        if self.store.database.was_replaced() {
            return Err(StoreError::Replaced);
        }
        if counters.failing.load(Relaxed) || rows.number % VERIFY_EVERY == 0 {
            let seen = Query::new("SELECT last_batch FROM runs WHERE uuid = $1").bind(rows.run.uuid.clone());
            let seen = self.store.read("runs", seen, super::Row::first).await?;
            if seen.first().is_none_or(|last| *last < rows.number) {
                return Err(StoreError::Unseen { number: rows.number });
            }
        }
        if is_new {
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
        let last = self.store.counters.last_error().unwrap_or_default();
        match (std::mem::take(&mut self.lost), self.waiting()) {
            (0, 0) => Ok(()),
            (0, waiting) => Err(StoreError::Waiting { batches: waiting as u64, last }),
            (batches, _) => Err(StoreError::Lost { batches, last }),
        }
    }
}
