//! Captures that clients send: kept as files with names of ours, analysed while they arrive, and known by their SHA-256.
//!
//! ```text
//! body ─ unpacked, looked at, hashed ─ file ─ read while it grows ─ engine ─ pipeline ─ store
//!                                       └ at most 4 MiB ahead ┘               └ report
//! ```
//! Memory does not grow with a capture: its bytes go to the file, and whoever sends waits for the analysis.

mod analysis;
mod announced;
mod body;
mod content;
mod growing;
mod incoming;
mod job;
mod keep;
mod live;
mod packet_files;
mod packet_frames;
mod packet_logs;
mod recorded;
mod refusal;
mod unpack;

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

pub use incoming::{Incoming, Received};
pub use packet_frames::{PacketRecord, WrongRecord};
pub use packet_logs::{PacketBatch, PacketsRefused, PacketsTaken};
pub use refusal::Refusal;
pub use unpack::Encoding;

use crate::capture::clock;
use crate::config::{Config, UploadsConfig};
use crate::jobs::WeakJobs;
use crate::model_loader::ModelHandle;
use crate::private;
use crate::room::Room;
use crate::store::{Run, Store, Upload, UploadState, sensor_of_capture};
use growing::Growth;
use live::Live;
use nta_core::domain::Timestamp;
use packet_logs::Logs;

/// How long the end of the daemon waits for analyses to stop.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// How often what is too old is looked for.
const TIDY_EVERY: Duration = Duration::from_secs(60);

/// The captures that clients send; clones share them.
#[derive(Clone, Debug)]
pub struct Uploads(Arc<Inner>);

struct Inner {
    store: Store,
    config: UploadsConfig,
    settings: Config,
    folder: PathBuf,
    /// Where recordings are.
    recordings: PathBuf,
    /// One looks at a time which recordings are not among the captures.
    adopting: tokio::sync::Mutex<()>,
    /// When this process began to look after them.
    started: Timestamp,
    /// Whether the folder goes with the process.
    is_temporary: bool,
    room: Arc<Room>,
    /// Places of uploads that are received.
    arriving: Arc<Semaphore>,
    /// Places of analyses.
    working: Arc<Semaphore>,
    live: Mutex<HashMap<String, Arc<Live>>>,
    /// Logs of packets that come as records.
    logs: Logs,
    models: ModelHandle,
    /// What analyses are ordered from; absent where each has a thread of its own.
    jobs: OnceLock<WeakJobs>,
    /// Analyses that are not over.
    running: AtomicU64,
    ended: Notify,
    stop: CancellationToken,
    counts: Counts,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Uploads").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// What became of uploads since the start.
#[derive(Debug, Default)]
pub struct Counts {
    /// Received whole.
    pub received: AtomicU64,
    /// Of these, those that were there already.
    pub duplicates: AtomicU64,
    /// Refused or broken off.
    pub refused: AtomicU64,
    /// Analysed.
    pub analysed: AtomicU64,
    /// Deleted as they were too old.
    pub expired: AtomicU64,
}

/// How far an analysis is.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Whether all bytes have come.
    pub is_whole: bool,
    /// Whether its analysis has a place.
    pub is_begun: bool,
    /// The job that analyses it.
    pub job: Option<String>,
    /// Bytes that were read.
    pub read: u64,
    /// Bytes that there are, or that were announced.
    pub total: u64,
}

impl Uploads {
    /// Keeps captures where the configuration says. The folder is made when the first one comes.
    pub fn new(store: &Store, settings: &Config) -> Self {
        let config = settings.uploads.clone();
        let folder = config.folder(store.path(), store.is_memory());
        let is_temporary = folder.is_none();
        let folder = folder
            .unwrap_or_else(|| std::env::temp_dir().join(format!("nta-uploads-{}", hex(&rand::random::<[u8; 8]>()))));
        let room = Arc::new(Room::of(&folder, "uploads", config.quota_bytes, config.keep_free_bytes));
        let places = |most: u64| Arc::new(Semaphore::new(usize::try_from(most).unwrap_or(1)));
        Self(Arc::new(Inner {
            store: store.clone().without_spool(),
            arriving: places(config.at_once),
            working: places(config.analyses),
            config,
            settings: settings.clone(),
            folder,
            recordings: settings.recordings.folder(store.path()),
            adopting: tokio::sync::Mutex::new(()),
            started: clock::now(),
            is_temporary,
            room,
            live: Mutex::default(),
            logs: Logs::default(),
            models: ModelHandle::new(settings),
            jobs: OnceLock::new(),
            running: AtomicU64::new(0),
            ended: Notify::new(),
            stop: CancellationToken::new(),
            counts: Counts::default(),
        }))
    }

    /// What is allowed.
    pub fn config(&self) -> &UploadsConfig {
        &self.0.config
    }

    /// What became of uploads since the start.
    pub fn counts(&self) -> &Counts {
        &self.0.counts
    }

    /// The whole configuration.
    pub fn settings(&self) -> &Config {
        &self.0.settings
    }

    /// Where captures lie, each under its `file_id`.
    pub fn folder(&self) -> &Path {
        &self.0.folder
    }

    /// The models that judge captures.
    pub fn models(&self) -> &ModelHandle {
        &self.0.models
    }

    /// The file of a capture, and what its client called it.
    ///
    /// # Errors
    /// When there is none of that name, or not all of it has come.
    pub async fn open(&self, file_id: &str) -> Result<(File, String), Refusal> {
        let upload = self.known(file_id).await?;
        if upload.sha256.is_none() {
            return Err(Refusal::Coming(file_id.to_owned()));
        }
        Ok((File::open(self.0.path_of(&upload))?, upload.name))
    }

    /// Bytes of all captures that are kept.
    pub fn used_bytes(&self) -> u64 {
        self.0.room.used()
    }

    /// How far the analysis of a capture is; `None` where it is not coming and not being analysed.
    pub fn progress(&self, file_id: &str) -> Option<Progress> {
        let live = self.0.live().get(file_id).cloned()?;
        let (read, written) = live.growth.progress();
        Some(Progress {
            is_whole: live.identity.get().is_some(),
            is_begun: live.progress.get().is_some(),
            job: live.job.get().cloned(),
            read,
            total: live.length.unwrap_or(written).max(written),
        })
    }

    /// Bytes of a capture that are here.
    pub fn arrived(&self, upload: &Upload) -> u64 {
        if upload.state != UploadState::Receiving {
            return upload.bytes;
        }
        let live = self.0.live().get(&upload.file_id).map(|live| live.growth.progress().1);
        // What another daemon has left, or one that nobody sends to.
        let on_disk = || self.0.path(&upload.file_id).metadata().map_or(upload.bytes, |about| about.len());
        live.unwrap_or_else(on_disk)
    }

    /// The report of a capture as JSON, as soon as there is one.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn report(&self, file_id: &str) -> Result<Option<String>, Refusal> {
        let ready = self.0.live().get(file_id).and_then(|live| live.report.get().cloned());
        match ready {
            Some(report) => Ok(Some(report.to_string())),
            None => Ok(self.0.store.report(file_id).await?),
        }
    }

    /// Analyses a capture that is whole and has no report, unless that goes on already; `who` asks for it.
    ///
    /// # Errors
    /// When there is no such capture.
    pub async fn analyse(&self, file_id: &str, who: &str) -> Result<(), Refusal> {
        let upload = self.known(file_id).await?;
        let is_due = matches!(upload.state, UploadState::Received | UploadState::Recorded | UploadState::Failed);
        if is_due && !self.0.live().contains_key(file_id) && !self.0.has_job(file_id) {
            self.0.analyse_again(&upload, Some(who)).await?;
        }
        Ok(())
    }

    /// A capture.
    ///
    /// # Errors
    /// When there is none of that name.
    pub async fn known(&self, file_id: &str) -> Result<Upload, Refusal> {
        self.0.store.upload(file_id).await?.ok_or_else(|| Refusal::NotFound(file_id.to_owned()))
    }

    /// Deletes a capture, its report and what was found in it. What was found goes a while later: it may be much.
    ///
    /// # Errors
    /// When there is none of that name, or a request sends to it.
    pub async fn delete(&self, file_id: &str) -> Result<(), Refusal> {
        let upload = self.known(file_id).await?;
        if self.0.live().get(file_id).is_some_and(|live| live.is_taken.load(Relaxed)) {
            return Err(Refusal::Taken);
        }
        self.0.remove(&upload).await
    }

    /// Goes on with what an earlier run left, then looks for what is too old, until [`Uploads::stop`].
    pub async fn keep(self) {
        let inner = Arc::clone(&self.0);
        drop(self);
        if let Err(error) = inner.recover().await {
            tracing::warn!(%error, "uploads of before are not gone on with");
        }
        loop {
            tokio::select! {
                () = inner.stop.cancelled() => return,
                () = tokio::time::sleep(TIDY_EVERY) => inner.tidy().await,
            }
        }
    }

    /// Stops all analyses, and waits for their ends; the next start makes them anew.
    pub async fn stop(&self) {
        self.0.stop.cancel();
        self.0.live().values().for_each(|live| live.growth.stop());
        let all = async {
            loop {
                let ended = self.0.ended.notified();
                if self.0.running.load(Relaxed) == 0 {
                    return;
                }
                ended.await;
            }
        };
        if tokio::time::timeout(STOP_WITHIN, all).await.is_err() {
            tracing::warn!("analyses of uploads did not end in time; the next start makes them anew");
        }
    }
}

impl Inner {
    fn live(&self) -> MutexGuard<'_, HashMap<String, Arc<Live>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, file_id: &str) -> PathBuf {
        self.folder.join(file_id)
    }

    /// Makes the folder, for this user alone.
    fn make_folder(&self) -> Result<(), Refusal> {
        Ok(private::make_folder(&self.folder)?)
    }

    fn add(&self, live: Live) -> Arc<Live> {
        let live = Arc::new(live);
        self.live().insert(live.file_id.clone(), Arc::clone(&live));
        live
    }

    /// The file of a capture that is coming or being analysed.
    fn file_of_live(&self, live: &Live) -> PathBuf {
        live.recorded.clone().unwrap_or_else(|| self.path(&live.file_id))
    }

    async fn analyse_again(self: &Arc<Self>, upload: &Upload, who: Option<&str>) -> Result<(), Refusal> {
        let Some(live) = self.live_again(upload).await? else { return Ok(()) };
        live.who.get_or_init(|| who.unwrap_or(job::NOBODY).to_owned());
        self.begin_analysis(&live).await.inspect_err(|_| drop(self.live().remove(&upload.file_id)))
    }

    /// A capture that is whole, to be analysed from its file, without what an earlier analysis has stored; `None` where it is not whole.
    async fn live_again(self: &Arc<Self>, upload: &Upload) -> Result<Option<Arc<Live>>, Refusal> {
        if let Some(run) = upload.run {
            self.store.delete_rows_of_run(&run, &sensor_of_capture(&upload.file_id)).await?;
        }
        let Some(sha256) = upload.sha256.clone() else { return Ok(None) };
        let identity = OnceLock::from((sha256, upload.bytes));
        let growth = Arc::new(Growth::with(upload.bytes, true));
        let recorded = upload.recorded.is_some().then(|| self.path_of(upload));
        let live = Live { identity, recorded, ..Live::new(&upload.file_id, &upload.name, growth, Some(upload.bytes)) };
        Ok(Some(self.add(live)))
    }
}

/// An analysis that is over when this is dropped.
struct Over(Arc<Inner>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Relaxed);
        self.0.ended.notify_waiters();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.is_temporary {
            let _gone = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// A new name for a capture.
fn new_id() -> String {
    hex(&Run::new_uuid(clock::now()))
}

/// Whether this is a name of ours.
fn is_id(name: &Path) -> bool {
    name.to_str()
        .is_some_and(|name| name.len() == 32 && name.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
