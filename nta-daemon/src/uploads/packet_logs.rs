//! Packets that come as records: numbered messages of a client's log are written behind one another into a capture, which is analysed while
//! it grows as any other. A message is taken when the disk has it and the database its number; it is taken once.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Mutex as AsyncMutex;

use super::announced::upload;
use super::body::Body;
use super::growing::Growth;
use super::incoming::{Incoming, blocking};
use super::packet_files::{reopen, salt, server_of};
use super::packet_frames::{Frames, PacketRecord, WrongRecord};
use super::{Encoding, Inner, Live, Refusal, Uploads, new_id};
use crate::capture::clock;
use crate::store::{MOST_PACKET_LOGS, PacketLog, UploadState, sensor_of_capture};

/// Logs that come at a time; who begins another one is asked to come again.
const MOST_OPEN: usize = 64;

/// Bytes of a capture without packets.
const HEADER_BYTES: u64 = 24;

/// A message of a log.
#[derive(Clone, Debug)]
pub struct PacketBatch {
    /// Who counted the packets.
    pub sensor: String,
    /// Identity of the log, in which messages count from 1.
    pub epoch: String,
    /// Its number.
    pub number: u64,
    /// The packets.
    pub records: Vec<PacketRecord>,
    /// Whether its capture ends with it.
    pub is_last: bool,
}

/// What became of a message.
#[derive(Clone, Debug, Default)]
pub struct PacketsTaken {
    /// Whether it is taken now and was not before.
    pub is_stored: bool,
    /// Whether it was taken before.
    pub is_double: bool,
    /// All messages up to this number are taken.
    pub watermark: u64,
    /// First and last number of those that have to come before this one, which is not taken.
    pub missing: Option<[u64; 2]>,
    /// The capture that its packets are in.
    pub file_id: Option<String>,
}

/// Why a message is not taken.
#[derive(Debug, thiserror::Error)]
pub enum PacketsRefused {
    /// A record cannot be.
    #[error("packets[{}].{}: {}", .0.index, .0.field, .0.detail)]
    Record(WrongRecord),
    /// There are as many logs as may be.
    #[error(
        "{0} logs of packets are known, as many as are kept; those of which nothing comes for 30 days are forgotten"
    )]
    Logs(u64),
    /// As many logs come as may come at a time.
    #[error(
        "{MOST_OPEN} logs of packets come, as many as can be taken at a time: one ends with its message that says so (`last`), or \
         `uploads.packets_idle_s` after its newest one"
    )]
    Busy,
    /// Another server has the capture that the log goes on in.
    #[error("another server takes this log: send there, or begin another log (`epoch`)")]
    Elsewhere,
    /// Its capture cannot be written.
    #[error(transparent)]
    Upload(#[from] Refusal),
}

/// Logs that come, by sensor and epoch.
#[derive(Default)]
pub(super) struct Logs {
    open: Mutex<HashMap<(String, String), Log>>,
    /// Which server this is: of those that share a folder each has a file of its own there, which it holds locked, and finds again after
    /// a restart.
    server: tokio::sync::OnceCell<(String, File)>,
}

#[derive(Clone)]
pub(super) struct Log {
    open: Arc<AsyncMutex<Option<Open>>>,
    /// When something of it came last.
    touched: Instant,
}

/// A capture that a log goes on in.
struct Open {
    live: Arc<Live>,
    body: Body,
    frames: Frames,
    /// As it is in the database.
    noted: Option<PacketLog>,
}

impl Uploads {
    /// Takes a message of a log; `who` sends it.
    ///
    /// # Errors
    /// Why not: then nothing of it is counted.
    pub async fn take_packets(&self, batch: &PacketBatch, who: &str) -> Result<PacketsTaken, PacketsRefused> {
        let inner = &self.0;
        if inner.stop.is_cancelled() {
            return Err(Refusal::Stopping.into());
        }
        let key = (batch.sensor.clone(), batch.epoch.clone());
        let log = inner.log(&key)?;
        let mut open = log.open.lock().await;
        let known = inner.store.packet_log(&batch.sensor, &batch.epoch).await.map_err(Refusal::from)?;
        let server = inner.server().await?;
        if known.as_ref().is_some_and(|log| log.file_id.is_some() && log.holder != server) {
            return Err(PacketsRefused::Elsewhere);
        }
        inner.look_at(&mut open, known.as_ref()).await?;
        let watermark = known.as_ref().map_or(0, |log| log.last);
        let mut taken = PacketsTaken { watermark, ..PacketsTaken::default() };
        if batch.number > watermark + 1 {
            taken.missing = Some([watermark + 1, batch.number - 1]);
            return Ok(taken);
        }
        if batch.number <= watermark {
            taken.is_double = true;
        } else {
            inner.append(&mut open, batch, known, who).await?;
            taken.is_stored = true;
            taken.watermark = batch.number;
        }
        taken.file_id = open.as_ref().map(|open| open.live.file_id.clone());
        if batch.is_last && batch.number == taken.watermark {
            let ended = inner.end_log((&batch.sensor, &batch.epoch), &mut open).await?;
            taken.file_id = ended.or(taken.file_id);
        }
        Ok(taken)
    }
}

impl Inner {
    fn logs(&self) -> MutexGuard<'_, HashMap<(String, String), Log>> {
        self.logs.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name of this server.
    async fn server(&self) -> Result<String, Refusal> {
        let folder = self.folder.clone();
        let named = self.logs.server.get_or_try_init(|| blocking(move || server_of(&folder))).await?;
        Ok(named.0.clone())
    }

    /// A log, and that something of it comes now.
    fn log(&self, key: &(String, String)) -> Result<Log, PacketsRefused> {
        let mut logs = self.logs();
        if !logs.contains_key(key) && logs.len() >= MOST_OPEN {
            return Err(PacketsRefused::Busy);
        }
        let log = logs.entry(key.clone());
        let log = log.or_insert_with(|| Log { open: Arc::default(), touched: Instant::now() });
        log.touched = Instant::now();
        Ok(log.clone())
    }

    /// Leaves a capture that was deleted, or that is not the log's newest.
    async fn look_at(self: &Arc<Self>, open: &mut Option<Open>, known: Option<&PacketLog>) -> Result<(), Refusal> {
        let Some(is_open) = open.as_ref() else { return Ok(()) };
        let is_there = self.live().get(&is_open.live.file_id).is_some_and(|live| Arc::ptr_eq(live, &is_open.live));
        if !is_there {
            *open = None;
        } else if is_open.noted.as_ref() != known
            && let Some(left) = open.take()
        {
            self.finish_log(left).await?;
        }
        Ok(())
    }

    /// Writes the packets of a message behind those of the ones before.
    async fn append(
        self: &Arc<Self>,
        at: &mut Option<Open>,
        batch: &PacketBatch,
        known: Option<PacketLog>,
        who: &str,
    ) -> Result<(), PacketsRefused> {
        // What cannot be is found before anything changes.
        let bytes = Frames::default().encode(0, &batch.records, false).map_err(PacketsRefused::Record)?.len() as u64;
        let most = self.config.max_bytes.min(self.config.quota_bytes);
        if bytes + HEADER_BYTES > most {
            return Err(Refusal::TooLarge { most, announced: Some(bytes + HEADER_BYTES) }.into());
        }
        if known.is_none() {
            let logs = self.store.packet_log_count().await.map_err(Refusal::from)?;
            if logs >= u64::from(MOST_PACKET_LOGS) {
                return Err(PacketsRefused::Logs(logs));
            }
        }
        self.room.expect(bytes).map_err(Refusal::from)?;
        let _place = self.place_for_log().await?;
        let mut open = match at.take() {
            Some(open) => Some(open),
            None => self.reopen_log(known.as_ref()).await?,
        };
        if let Some(full) = open.take_if(|open| open.body.written() + bytes > self.config.max_bytes) {
            self.finish_log(full).await?;
        }
        let is_new = open.is_none();
        let open = match open {
            Some(open) => open,
            None => self.begin_log(batch, known.clone()).await?,
        };
        let _first = open.live.who.get_or_init(|| who.to_owned());
        let live = Arc::clone(&open.live);
        match self.write_log(open, batch, known, is_new).await {
            Ok(open) => *at = Some(open),
            Err(refusal) => {
                // What of it is in the file is cut off when the log goes on, and what was counted of it goes.
                self.live().remove(&live.file_id);
                live.growth.stop();
                if is_new {
                    self.remove_file(&live.file_id);
                    let _left = self.store.delete_upload(&live.file_id).await;
                }
                return Err(refusal);
            }
        }
        Ok(())
    }

    async fn write_log(
        self: &Arc<Self>,
        open: Open,
        batch: &PacketBatch,
        known: Option<PacketLog>,
        is_new: bool,
    ) -> Result<Open, PacketsRefused> {
        let Open { live, mut body, mut frames, .. } = open;
        let bytes = frames.encode(salt(&live.file_id), &batch.records, is_new).map_err(PacketsRefused::Record)?;
        let body = blocking(move || {
            body.write(&bytes)?;
            body.sync()?;
            Ok(body)
        });
        let body = body.await?;
        let records = known.as_ref().map_or(0, |log| log.records) + batch.records.len() as u64;
        let file_id = Some(live.file_id.clone());
        let holder = self.server().await?;
        let noted = PacketLog { last: batch.number, file_id, holder, bytes: body.written(), records };
        let now = clock::now();
        let name = (batch.sensor.as_str(), batch.epoch.as_str());
        if !self.store.note_packet_log(name, known.as_ref(), &noted, now).await.map_err(Refusal::from)? {
            return Err(Refusal::Taken.into());
        }
        // Noted it is: whatever does not work from here on does not make it come again.
        live.growth.grew_to(body.written());
        if let Err(error) = self.note_log(&live, &body).await {
            tracing::warn!(%error, file_id = live.file_id, "a log of packets is taken, and its analysis begins later");
        }
        live.growth.room().await;
        Ok(Open { live, body, frames, noted: Some(noted) })
    }

    /// Notes how much there is, and begins the analysis once that can be told from the first bytes.
    async fn note_log(self: &Arc<Self>, live: &Arc<Live>, body: &Body) -> Result<(), Refusal> {
        self.store.note_upload_bytes(&live.file_id, body.written(), clock::now()).await?;
        let Some(head) = body.head().filter(|_| !live.is_begun.load(Relaxed)) else { return Ok(()) };
        self.store.note_upload_head(&live.file_id, &head).await?;
        self.begin_analysis(live).await
    }

    async fn place_for_log(self: &Arc<Self>) -> Result<tokio::sync::OwnedSemaphorePermit, PacketsRefused> {
        Uploads(Arc::clone(self)).place().await.map_err(|refusal| match refusal {
            Refusal::Busy => PacketsRefused::Busy,
            other => other.into(),
        })
    }

    /// Begins a capture.
    async fn begin_log(&self, batch: &PacketBatch, noted: Option<PacketLog>) -> Result<Open, Refusal> {
        self.make_folder()?;
        let name = format!("packets of {}, log {}, from message {}", batch.sensor, batch.epoch, batch.number);
        let file_id = new_id();
        self.store.insert_upload(&upload(&file_id, &name, None)).await?;
        let (path, most, room) = (self.path(&file_id), self.config.max_bytes, Arc::clone(&self.room));
        let body = blocking(move || Body::create(&path, Encoding::Identity, most, &room)).await?;
        let live = Live { is_log: true, ..Live::new(&file_id, &name, Arc::new(Growth::with(0, false)), None) };
        Ok(Open { live: self.add(live), body, frames: Frames::default(), noted })
    }

    /// Goes on with the capture in which a log is; `None` where it is whole, or gone, or another server's.
    async fn reopen_log(&self, known: Option<&PacketLog>) -> Result<Option<Open>, Refusal> {
        let Some((log, file_id)) = known.and_then(|log| Some((log, log.file_id.as_deref()?))) else { return Ok(None) };
        let Some(upload) = self.store.upload(file_id).await?.filter(|upload| upload.state == UploadState::Receiving)
        else {
            return Ok(None);
        };
        let (path, most, room, bytes) = (self.path(file_id), self.config.max_bytes, Arc::clone(&self.room), log.bytes);
        let Some((body, frames)) = blocking(move || reopen(&path, most, &room, bytes)).await? else {
            tracing::warn!(file_id, "the capture of a log of packets is not here, or shorter than it was");
            return Ok(None);
        };
        // It is analysed from its begin.
        if let Some(run) = upload.run {
            self.store.delete_rows_of_run(&run, &sensor_of_capture(file_id)).await?;
        }
        let growth = Arc::new(Growth::with(bytes, false));
        let live = self.add(Live { is_log: true, ..Live::new(file_id, &upload.name, growth, None) });
        Ok(Some(Open { live, body, frames, noted: known.cloned() }))
    }

    /// The capture of a log is whole: analysed to its end, and the next message begins another one. Answers its name.
    async fn end_log(
        self: &Arc<Self>,
        (sensor, epoch): (&str, &str),
        open: &mut Option<Open>,
    ) -> Result<Option<String>, Refusal> {
        let known = self.store.packet_log(sensor, epoch).await?;
        let left = match open.take() {
            Some(open) => Some(open),
            None => self.reopen_log(known.as_ref()).await?,
        };
        let ended = match left {
            Some(left) => Some(self.finish_log(left).await?),
            None => None,
        };
        let Some((before, file_id)) = known.and_then(|log| Some((log.clone(), log.file_id?))) else { return Ok(ended) };
        let is_coming = self.store.upload(&file_id).await?.is_some_and(|upload| upload.state == UploadState::Receiving);
        if !is_coming {
            let whole = PacketLog { file_id: None, bytes: 0, ..before.clone() };
            self.store.note_packet_log((sensor, epoch), Some(&before), &whole, clock::now()).await?;
        }
        Ok(ended)
    }

    async fn finish_log(self: &Arc<Self>, open: Open) -> Result<String, Refusal> {
        let Open { live, body, .. } = open;
        let place = Uploads(Arc::clone(self)).place().await?;
        let incoming = Incoming::new(Arc::clone(self), live, body, place, true);
        incoming.finish().await.map(|received| received.file_id)
    }

    /// Ends the captures of logs of which nothing came for a while.
    pub(super) async fn end_idle_logs(self: &Arc<Self>) {
        let patience = Duration::from_secs(self.config.packets_idle_s);
        let idle = |log: &Log| log.touched.elapsed() >= patience;
        let due: Vec<_> =
            self.logs().iter().filter(|(_, log)| idle(log)).map(|(key, log)| (key.clone(), log.clone())).collect();
        for (key, log) in due {
            let mut open = log.open.lock().await;
            // Who waits for it now has touched it before.
            if !self.logs().get(&key).is_some_and(idle) {
                continue;
            }
            if let Err(error) = self.end_log((&key.0, &key.1), &mut open).await {
                tracing::warn!(%error, sensor = key.0, epoch = key.1, "the capture of a log of packets does not end yet");
                continue;
            }
            let mut logs = self.logs();
            if logs.get(&key).is_some_and(idle) {
                logs.remove(&key);
            }
        }
    }

    /// What an earlier process left of logs: they go on, or end when nothing comes. Answers the names of their captures.
    pub(super) async fn logs_left(&self) -> Result<HashSet<String>, Refusal> {
        let left = self.store.open_packet_logs(&self.server().await?).await?;
        let mut logs = self.logs();
        Ok(left
            .into_iter()
            .map(|(sensor, epoch, file_id)| {
                logs.entry((sensor, epoch)).or_insert_with(|| Log { open: Arc::default(), touched: Instant::now() });
                file_id
            })
            .collect())
    }
}

#[cfg(test)]
#[path = "packet_logs_tests.rs"]
mod tests;
