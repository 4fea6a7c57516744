//! The one task that writes. Batches come through a bounded queue, so that a slow disk never holds up the data path:
//! what does not fit stays with the caller, who can add to it and try again.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tracing::{error, warn};

use super::stats::Counters;
use super::{Anomaly, FeatureRow, RunId, Store, StoreError, write};
use nta_core::baseline::Export;
use nta_core::domain::{Alert, FlowRecord, RawPacket};
use nta_core::window::{Span, Window};

/// Attempts for one batch before it is given up. With the waits between them, and the busy time-out in each, the
/// database may be away for some seconds.
const ATTEMPTS: u32 = 6;
/// Wait after the first failed attempt; doubles with each.
const FIRST_WAIT: Duration = Duration::from_millis(100);
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
    pub fn writer(&self, run: RunId, capacity: usize) -> (StoreWriter, JoinHandle<()>) {
        let (queue, messages) = mpsc::channel(capacity.max(1));
        self.counters.queue_capacity.store(queue.max_capacity() as u64, Relaxed);
        let task = Task { store: self.clone(), run, lost: 0, batches: 0, rows: 0 };
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

    /// Returns when everything sent so far is committed, or tells what had to be given up since the last flush.
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
    run: RunId,
    /// Batches given up since the last flush.
    lost: u64,
    /// Batches and rows since retention ran.
    batches: u32,
    rows: usize,
}

impl Task {
    async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        while let Some(message) = messages.recv().await {
            match message {
                Message::Write(batch) => {
                    self.store.counters.queue_length.fetch_sub(1, Relaxed);
                    self.write(*batch).await;
                    self.retain().await;
                }
                // Nobody may be waiting any more.
                Message::Flush(done) => drop(done.send(self.flushed())),
                Message::Stop => messages.close(),
            }
        }
    }

    async fn write(&mut self, mut batch: Batch) {
        let counters = Arc::clone(&self.store.counters);
        let mut wait = FIRST_WAIT;
        for attempt in 1..=ATTEMPTS {
            let begin = Instant::now();
            match write::commit(&self.store.write, self.run, &mut batch).await {
                Ok(()) => {
                    counters.failing.store(false, Relaxed);
                    counters.batches.fetch_add(1, Relaxed);
                    counters.windows.fetch_add(u64::from(batch.window.is_some()), Relaxed);
                    counters.flow_rows.fetch_add(batch.flows.len() as u64, Relaxed);
                    counters.raw_packets.fetch_add(batch.raw_packets.len() as u64, Relaxed);
                    counters.alert_rows.fetch_add(batch.alerts.len() as u64, Relaxed);
                    counters.anomaly_rows.fetch_add(batch.anomalies.len() as u64, Relaxed);
                    counters.feature_rows.fetch_add(batch.features.len() as u64, Relaxed);
                    let took_us = u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX);
                    counters.last_commit_us.store(took_us, Relaxed);
                    self.batches += 1;
                    self.rows +=
                        batch.flows.len() + batch.features.len() + batch.anomalies.len() + batch.raw_packets.len();
                    return;
                }
                Err(failure) => {
                    counters.failed(failure.chain());
                    if attempt == ATTEMPTS || failure.is_permanent() {
                        self.lost += 1;
                        counters.batches_lost.fetch_add(1, Relaxed);
                        error!(attempt, flows = batch.flows.len(), error = failure.chain(), "store: batch given up");
                        return;
                    }
                }
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
    }

    async fn retain(&mut self) {
        if self.batches < RETAIN_BATCHES && self.rows < RETAIN_ROWS {
            return;
        }
        (self.batches, self.rows) = (0, 0);
        if let Err(failure) = self.store.retain().await {
            self.store.counters.failed(failure.chain());
            warn!(error = failure.chain(), "store: old rows not deleted, will be tried again");
        }
    }

    fn flushed(&mut self) -> Result<(), StoreError> {
        match std::mem::take(&mut self.lost) {
            0 => Ok(()),
            batches => Err(StoreError::Lost { batches, last: self.store.counters.last_error().unwrap_or_default() }),
        }
    }
}
