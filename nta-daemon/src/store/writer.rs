//! What the writer is given. Batches come through a queue that is bounded in number and bytes, so that a slow disk never
//! holds up the data path: what does not fit stays with the caller, who can add to it and try again.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::stats::Counters;
use super::task::Task;
use super::{Anomaly, FeatureRow, FlowGroup, Notice, RunKey, Store, StoreError};
use nta_core::baseline::Export;
use nta_core::domain::{Alert, FlowRecord, Mode, RawPacket, Readings};
use nta_core::window::Window;

/// Bytes of batches in the queue beyond which it counts as full; one batch always fits.
const MAX_QUEUE_BYTES: u64 = 256 << 20;
/// The same for who waits for room, as a capture can: it is read as fast as it is stored.
const MAX_WAITING_BYTES: u32 = 8 << 20;
/// So many more when its end is near.
const LAST_BYTES: usize = 24 << 20;

/// What a closed window adds to the store; committed as a whole.
#[derive(Clone, Debug, Default)]
pub struct WindowBatch {
    /// The window.
    pub window: Option<Window>,
    /// Flows that changed, cumulative.
    pub flows: Vec<FlowRecord>,
    /// Rows that stand for many flows, new ones and those that changed.
    pub groups: Vec<FlowGroup>,
    /// Heads of frames.
    pub raw_packets: Vec<RawPacket>,
    /// Longer windows that closed with it, each with how many base windows it has.
    pub longer: Vec<(u64, Window)>,
    /// Alerts that changed, each in its last state.
    pub alerts: Vec<Alert>,
    /// What was found.
    pub anomalies: Vec<Anomaly>,
    /// Feature vectors.
    pub features: Vec<FeatureRow>,
    /// What is usual, live or in a replay.
    pub baselines: Option<(Mode, Arc<Export>)>,
    /// What the next start goes on from, where the maps outlive the process.
    pub readings: Option<Readings>,
    /// What happened to the daemon itself.
    pub notices: Vec<Notice>,
    /// What is wrong as a live run begins, by what it is about: of all else that earlier runs had wrong the log says that it is over.
    pub standing: Option<Vec<String>>,
    /// The run ends with it, for this reason: `completed` or `stopped`.
    pub end: Option<&'static str>,
}

impl WindowBatch {
    /// About how many bytes it takes in memory.
    pub fn bytes(&self) -> u64 {
        let of = |rows: usize, bytes: usize| (rows * bytes) as u64;
        let heads: usize = self.raw_packets.iter().map(|packet| packet.head.len()).sum();
        let vectors: usize = self.features.iter().map(|row| row.vector.len() * size_of::<f64>()).sum();
        of(self.flows.len(), size_of::<FlowRecord>())
            + of(self.groups.len(), GROUP_BYTES)
            + of(self.raw_packets.len(), size_of::<RawPacket>())
            + of(self.alerts.len() + self.anomalies.len() + self.notices.len(), FOUND_BYTES)
            + of(self.features.len(), size_of::<FeatureRow>())
            + of(1 + self.longer.len(), WINDOW_BYTES)
            + (heads + vectors) as u64
    }
}

/// An alert or anomaly with its texts.
const FOUND_BYTES: usize = 2048;
/// A row of many flows with its examples.
const GROUP_BYTES: usize = 1024;
/// A window with its lists.
const WINDOW_BYTES: usize = 8192;

/// The sending side; cheap to clone. When the last one is dropped, the writer finishes what is queued and ends.
#[derive(Clone, Debug)]
pub struct StoreWriter {
    queue: mpsc::Sender<Message>,
    /// A permit for each byte that who waits may have in the queue.
    room: Arc<Semaphore>,
    counters: Arc<Counters>,
}

pub(super) enum Message {
    // Boxed to keep the queue's slots small. The room is given back when it is taken out.
    Write(Box<WindowBatch>, Option<OwnedSemaphorePermit>),
    Flush(oneshot::Sender<Result<(), StoreError>>),
    Stop,
}

impl Store {
    /// Starts the writer of a run, behind a queue of `capacity` batches. Needs a tokio runtime.
    pub fn writer(&self, run: RunKey, capacity: usize) -> (StoreWriter, JoinHandle<()>) {
        let (queue, messages) = mpsc::channel(capacity.max(1));
        // Of several writers the one with the longest queue is shown: the pipeline's own.
        self.counters.queue_capacity.fetch_max(queue.max_capacity() as u64, Relaxed);
        let task = Task::new(self.clone(), run);
        let room = Arc::new(Semaphore::new(MAX_WAITING_BYTES as usize));
        let writer = StoreWriter { queue, room, counters: Arc::clone(&self.counters) };
        (writer, tokio::spawn(task.run(messages)))
    }
}

impl StoreWriter {
    /// Queues a batch without waiting; gives it back when the queue is full or the writer has ended.
    #[expect(clippy::result_large_err, reason = "the batch itself goes back, to be merged or tried again")]
    pub fn try_send(&self, batch: WindowBatch) -> Result<(), WindowBatch> {
        let bytes = batch.bytes();
        let queued = self.counters.queue_bytes.fetch_add(bytes, Relaxed);
        if queued > 0 && queued.saturating_add(bytes) > MAX_QUEUE_BYTES {
            self.counters.queue_bytes.fetch_sub(bytes, Relaxed);
            self.counters.queue_full.fetch_add(1, Relaxed);
            return Err(batch);
        }
        self.counters.queue_length.fetch_add(1, Relaxed);
        self.queue.try_send(Message::Write(Box::new(batch), None)).map_err(|refused| {
            self.counters.queue_bytes.fetch_sub(bytes, Relaxed);
            self.counters.queue_length.fetch_sub(1, Relaxed);
            self.counters.queue_full.fetch_add(1, Relaxed);
            match refused.into_inner() {
                Message::Write(batch, _) => *batch,
                Message::Flush(_) | Message::Stop => WindowBatch::default(),
            }
        })
    }

    /// Queues a batch, waiting for room: one that is larger than all of it waits for an empty queue.
    pub async fn send(&self, batch: WindowBatch) -> Result<(), StoreError> {
        let bytes = batch.bytes();
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX).min(MAX_WAITING_BYTES);
        let room = Arc::clone(&self.room).acquire_many_owned(permits).await.ok();
        let Ok(permit) = self.queue.reserve().await else { return Err(StoreError::Closed) };
        self.counters.queue_length.fetch_add(1, Relaxed);
        self.counters.queue_bytes.fetch_add(bytes, Relaxed);
        permit.send(Message::Write(Box::new(batch), room));
        Ok(())
    }

    /// Makes room, once, for what is left: little, so that whoever waits for the end of the analysis does not wait for the database.
    pub fn make_room_for_the_last(&self) {
        self.room.add_permits(LAST_BYTES);
    }

    /// Counts the head of a frame for which the caller had no room.
    pub fn note_raw_packet_dropped(&self) {
        self.counters.raw_packets_dropped.fetch_add(1, Relaxed);
    }

    /// Counts flows that went into rows of many, and flows that got their own after all.
    pub fn note_grouped(&self, grouped: u64, ungrouped: u64) {
        self.counters.flows_grouped.fetch_add(grouped, Relaxed);
        self.counters.flows_ungrouped.fetch_add(ungrouped, Relaxed);
    }

    /// Counts a batch that the caller had to give up, apart from its alerts.
    pub fn note_given_up(&self, batch: &WindowBatch) {
        let windows = u64::from(batch.window.is_some()) + batch.longer.len() as u64;
        self.counters.cut_windows.fetch_add(windows, Relaxed);
        self.counters.cut_flows.fetch_add(batch.flows.len() as u64, Relaxed);
        self.counters.batches_lost.fetch_add(1, Relaxed);
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
