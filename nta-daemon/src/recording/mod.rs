//! Recording: packets of an interface into pcap files, by request; one recording at a time.
//!
//! A packet socket with the request's filter is read by a thread of its own. It ends by request, when its time is over, or when the
//! interface or the disk fails, and says which; what the kernel dropped is counted.

mod error;
mod files;
mod ring;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use self::files::Files;
use crate::private;
use crate::source::kernel::device::Device;
use crate::source::kernel::packet_socket::{PacketSocket, link_type};
use crate::source::replay::for_kernel;
use nta_core::domain::Timestamp;

pub use error::RecordError;
pub use files::RecordedFile;
pub use ring::{Ring, RingCounts, folder as ring_folder};

/// The longest frame that is recorded.
pub const MAX_SNAP_LENGTH: u32 = 262_144;
/// Least bytes of a recording: of each of its files one long frame.
pub const LEAST_BYTES: u64 = 1 << 20;
/// How long a stop waits at most before it is seen.
const PATIENCE: Duration = Duration::from_millis(200);
/// How long is read on at the end: twice as long as the kernel keeps a block that is not full.
const DRAIN: Duration = Duration::from_millis(200);

/// What is to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Interface.
    pub interface: String,
    /// Filter in the language of tcpdump; empty for everything.
    pub filter: String,
    /// Bytes of each packet.
    pub snap_length: u32,
    /// Most bytes of all files; the oldest goes when they would take more. What the configuration allows unless given.
    pub max_bytes: Option<u64>,
    /// Ends by itself after that time.
    pub duration: Option<Duration>,
}

/// A recording, running or over.
#[derive(Clone, Debug)]
pub struct Recording {
    /// What was asked for.
    pub request: Request,
    /// Most bytes of all files.
    pub max_bytes: u64,
    /// When it began.
    pub started: Timestamp,
    /// When it ended, and why; `None` while it runs.
    pub ended: Option<(Timestamp, End)>,
    /// Packets recorded.
    pub packets: u64,
    /// Packets that the kernel had no room for.
    pub drops: u64,
    /// Files and packets that had to go since the recording would have taken more than it may.
    pub deleted: [u64; 2],
    /// The files that are there.
    pub files: Vec<RecordedFile>,
}

impl Recording {
    /// One that begins.
    const fn new(request: Request, max_bytes: u64, started: Timestamp) -> Self {
        Self { request, max_bytes, started, ended: None, packets: 0, drops: 0, deleted: [0; 2], files: Vec::new() }
    }
}

/// Why a recording ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It was asked to.
    Stopped,
    /// Its time was over.
    Duration,
    /// It could not go on.
    Failed(String),
}

impl End {
    /// Its word.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Duration => "duration",
            Self::Failed(_) => "failed",
        }
    }
}

/// Records one interface at a time; shared by all requests.
#[derive(Debug)]
pub struct Recorder {
    folder: PathBuf,
    max_bytes: u64,
    quota_bytes: u64,
    state: Mutex<State>,
    on_end: OnEnd,
    /// Opens packet sockets, where this process has not the right.
    loader: Option<PathBuf>,
}

/// Is called with a recording that has ended.
type Ended = dyn Fn(&Recording) + Send + Sync;

/// What is done with a recording that has ended.
#[derive(Clone, Default)]
struct OnEnd(Option<Arc<Ended>>);

impl fmt::Debug for OnEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OnEnd").field(&self.0.is_some()).finish()
    }
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Idle,
    Running(Running),
    /// Over, and nobody has asked for it yet.
    Ended(Recording),
}

#[derive(Debug)]
struct Running {
    begun: Recording,
    shared: Arc<Shared>,
    thread: JoinHandle<Recording>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    packets: AtomicU64,
    drops: AtomicU64,
}

impl Recorder {
    /// Records into a folder, which is made with the first recording: `max_bytes` at most each, all of them `quota_bytes`.
    pub const fn new(folder: PathBuf, max_bytes: u64, quota_bytes: u64) -> Self {
        Self { folder, max_bytes, quota_bytes, state: Mutex::new(State::Idle), on_end: OnEnd(None), loader: None }
    }

    /// Has the loader at this path open packet sockets, if there is one.
    #[must_use]
    pub fn by(mut self, loader: Option<PathBuf>) -> Self {
        self.loader = loader;
        self
    }

    /// Calls this with each recording that has ended, however it did, on the thread that recorded.
    #[must_use]
    pub fn with_end(mut self, on_end: impl Fn(&Recording) + Send + Sync + 'static) -> Self {
        self.on_end = OnEnd(Some(Arc::new(on_end)));
        self
    }

    /// Where the files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Most bytes of a recording.
    pub const fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Begins a recording.
    ///
    /// # Errors
    /// When one runs, or this one cannot be.
    pub fn start(&self, request: Request) -> Result<Recording, RecordError> {
        let mut state = self.state();
        if let State::Running(running) = &*state {
            let (interface, since) = (running.begun.request.interface.clone(), running.begun.started);
            return Err(RecordError::Running { interface, since });
        }
        let device = Device::find(&request.interface).map_err(|_unknown| RecordError::Interface {
            name: request.interface.chars().take(MAX_SHOWN).collect(),
            there_are: Device::there_are(),
        })?;
        let link = link_type(&device)?;
        let program = for_kernel(&request.filter, link, request.snap_length).map_err(|reason| {
            let filter = request.filter.chars().take(MAX_SHOWN).collect();
            RecordError::Filter { filter, reason }
        })?;
        let max_bytes = request.max_bytes.unwrap_or(self.max_bytes).min(self.max_bytes);
        self.make_room(max_bytes)?;
        let socket = PacketSocket::open(&device, &program, self.loader.as_deref())?;
        let started = now();
        let name = format!("{}-{}", stamp(started), file_name(&device.name));
        let files = Files::new((self.folder.clone(), name), (link, request.snap_length), max_bytes);
        let begun = Recording::new(request, max_bytes, started);
        let shared = Arc::<Shared>::default();
        let (recording, seen) = (begun.clone(), Arc::clone(&shared));
        let thread = thread::Builder::new().name("recording".to_owned());
        let on_end = self.on_end.clone();
        let thread = thread.spawn(move || {
            let ended = record(recording, socket, files, &seen);
            if let OnEnd(Some(on_end)) = on_end {
                on_end(&ended);
            }
            ended
        });
        let thread = thread.map_err(|source| RecordError::Folder { path: self.folder.clone(), source })?;
        tracing::info!(interface = begun.request.interface, filter = begun.request.filter, "recording");
        *state = State::Running(Running { begun: begun.clone(), shared, thread });
        Ok(begun)
    }

    /// Ends the recording that runs, or answers how the last one ended by itself, once.
    ///
    /// # Errors
    /// [`RecordError::Idle`] when there is none.
    pub fn stop(&self) -> Result<Recording, RecordError> {
        let mut state = self.state();
        match std::mem::take(&mut *state) {
            State::Idle => Err(RecordError::Idle),
            State::Ended(recording) => Ok(recording),
            State::Running(running) => {
                running.shared.stop.store(true, Ordering::Relaxed);
                Ok(running.end())
            }
        }
    }

    /// The recording that runs, as far as it is, or the last one that ended by itself.
    pub fn now(&self) -> Option<Recording> {
        match &*self.state() {
            State::Idle => None,
            State::Ended(recording) => Some(recording.clone()),
            State::Running(running) => {
                let [packets, drops] =
                    [&running.shared.packets, &running.shared.drops].map(|count| count.load(Ordering::Relaxed));
                Some(Recording { packets, drops, ..running.begun.clone() })
            }
        }
    }

    /// The state; a recording that ended by itself is over.
    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Running(running) = &*state
            && running.thread.is_finished()
            && let State::Running(running) = std::mem::take(&mut *state)
        {
            *state = State::Ended(running.end());
        }
        state
    }

    /// Makes the folder, and looks whether so many bytes more may be in it.
    fn make_room(&self, more: u64) -> Result<(), RecordError> {
        let path = || self.folder.clone();
        let used = (|| {
            private::make_folder(&self.folder)?;
            if private::is_open(&self.folder) {
                let folder = self.folder.display();
                tracing::warn!(%folder, "recordings: others may look into this folder, which was there before; close it by chmod 700");
            }
            let mut used = 0;
            for file in fs::read_dir(&self.folder)? {
                let about = file?.metadata()?;
                used += if about.is_file() { about.len() } else { 0 };
            }
            Ok(used)
        })();
        let used: u64 = used.map_err(|source| RecordError::Folder { path: path(), source })?;
        if used.saturating_add(more) > self.quota_bytes {
            return Err(RecordError::Quota { used, more, quota: self.quota_bytes, folder: path() });
        }
        Ok(())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ended = self.stop();
    }
}

impl Running {
    fn end(self) -> Recording {
        let Self { begun, thread, .. } = self;
        thread.join().unwrap_or_else(|_panic| {
            let why = End::Failed("the recording stopped unexpectedly; the log says more".to_owned());
            Recording { ended: Some((now(), why)), ..begun }
        })
    }
}

/// Reads the socket until it is asked to end, or cannot go on.
fn record(mut recording: Recording, mut socket: PacketSocket, mut files: Files, shared: &Shared) -> Recording {
    let until = recording.request.duration.and_then(|duration| Instant::now().checked_add(duration));
    let mut failed = None;
    // Why it is to end, and when: what came before is in the ring still, in a block that was not handed out yet.
    let mut ending: Option<(End, Instant)> = None;
    let end = loop {
        let now = Instant::now();
        if ending.is_none() {
            let is_over = until.is_some_and(|until| now >= until);
            let why =
                if shared.stop.load(Ordering::Relaxed) { Some(End::Stopped) } else { is_over.then_some(End::Duration) };
            ending = why.map(|why| (why, now + DRAIN));
        }
        let patience = ending.as_ref().map_or(PATIENCE, |(_, at)| at.saturating_duration_since(now));
        let read = socket.read(patience, |frame| {
            if failed.is_some() {
                return;
            }
            match files.write(&frame) {
                Ok(()) => recording.packets += 1,
                Err(error) => failed = Some(error),
            }
        });
        let frames = match read {
            Ok(frames) => frames,
            Err(error) => break End::Failed(format!("{}: {error}", recording.request.interface)),
        };
        recording.drops = socket.drops().unwrap_or(recording.drops);
        shared.packets.store(recording.packets, Ordering::Relaxed);
        shared.drops.store(recording.drops, Ordering::Relaxed);
        if frames == 0
            && failed.is_none()
            && let Err(error) = files.flush()
        {
            failed = Some(error);
        }
        if let Some(error) = failed.take() {
            break End::Failed(format!("{}: {error}", files.folder.display()));
        }
        if ending.as_ref().is_some_and(|(_, at)| Instant::now() >= *at)
            && let Some((why, _)) = ending.take()
        {
            break why;
        }
    };
    let closed = if files.is_empty() { files.begin_empty() } else { Ok(()) };
    let end = match closed.and_then(|()| files.finish()) {
        Err(error) if !matches!(end, End::Failed(_)) => End::Failed(format!("{}: {error}", files.folder.display())),
        _ => end,
    };
    let Recording { packets, drops, .. } = recording;
    match &end {
        End::Failed(reason) => tracing::error!(packets, drops, reason, "recording ended"),
        end => tracing::info!(packets, drops, reason = end.word(), "recording ended"),
    }
    Recording { ended: Some((now(), end)), deleted: files.deleted, files: files.list(), ..recording }
}

fn now() -> Timestamp {
    Timestamp::from_nanos(u64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or_default())
}

/// A time as the names of files have it.
fn stamp(time: Timestamp) -> String {
    time.to_string().replace(':', "-")
}

/// What of an interface's name may stand in a file's: the kernel allows almost anything.
fn file_name(interface: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    interface.chars().map(allowed).collect()
}

/// Characters of a request that an error repeats.
const MAX_SHOWN: usize = 200;

#[cfg(test)]
#[path = "recording_tests.rs"]
mod tests;
