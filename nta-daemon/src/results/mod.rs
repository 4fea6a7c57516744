//! Files that jobs make for download. Each is written beside its place and moved there when it is whole; then it is noted in the
//! database, and what is not noted there is not in the list. Names are ours, and a name that is asked for is looked up in the
//! list: nothing else in the folder, and nothing outside of it, can be named.

mod draft;

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, UNIX_EPOCH};

use tokio_util::sync::CancellationToken;

pub use draft::{Draft, Kept};

use crate::config::{Config, ResultsConfig};
use crate::private;
use crate::room::Room;
use crate::store::{Position, ResultFile, ResultFilter, Store, StoreError};
use nta_core::domain::Timestamp;

/// How often what is too old is looked for.
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// So many times of these until files of nobody are looked for.
const STRAYS_EVERY: u64 = 60;
/// A file that nobody has written to for so long, and that is in no list, is nobody's.
const STRAY_AFTER_NS: u64 = 24 * 3600 * 1_000_000_000;
const DAY_NS: u64 = 86_400 * 1_000_000_000;
const PAGE: u32 = 1000;
/// Longest name.
const MOST_NAME: usize = 100;

/// The files; clones share them.
#[derive(Clone, Debug)]
pub struct Results(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    config: ResultsConfig,
    folder: PathBuf,
    /// Whether the folder goes with the process.
    is_temporary: bool,
    room: Room,
    expired: AtomicU64,
}

impl Results {
    /// Keeps files where the configuration says. The folder is made when the first one is.
    pub fn new(store: &Store, settings: &Config) -> Self {
        let config = settings.results.clone();
        let folder = config.folder(store.path(), store.is_memory());
        let is_temporary = folder.is_none();
        let folder =
            folder.unwrap_or_else(|| std::env::temp_dir().join(format!("nta-results-{:016x}", rand::random::<u64>())));
        let room = Room::of(&folder, "results", config.quota_bytes, config.keep_free_bytes);
        let expired = AtomicU64::new(0);
        Self(Arc::new(Inner { store: store.clone(), config, folder, is_temporary, room, expired }))
    }

    /// What is allowed.
    pub fn config(&self) -> &ResultsConfig {
        &self.0.config
    }

    /// Bytes of all files, those that are being written among them.
    pub fn used_bytes(&self) -> u64 {
        self.0.room.used()
    }

    /// Files that were deleted as they were too old, since the start.
    pub fn expired(&self) -> u64 {
        self.0.expired.load(Relaxed)
    }

    /// Files that were given up for want of room, since the start.
    pub fn refused(&self) -> u64 {
        self.0.room.refused()
    }

    /// Begins a file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begin(&self, name: &str) -> std::io::Result<Draft> {
        if !is_name(name) {
            return Err(std::io::Error::other(format!("`{name}` is no name of a result")));
        }
        private::make_folder(&self.0.folder)?;
        Draft::begin(Arc::clone(&self.0), name)
    }

    /// Puts files that are whole into the list, all or none of them.
    ///
    /// # Errors
    /// When the database cannot be written; the files stay where they are, in no list, and go after a day.
    pub async fn note(&self, files: &[ResultFile]) -> Result<(), StoreError> {
        self.0.store.insert_results(files).await
    }

    /// A file of the list, and its bytes; `None` where there is none of that name, or its file is gone.
    ///
    /// # Errors
    /// When the database cannot be read, or the file cannot be opened.
    pub async fn open(&self, sensor: &str, name: &str) -> Result<Option<(ResultFile, File)>, ResultError> {
        if !is_name(name) {
            return Ok(None);
        }
        let Some(found) = self.0.store.result(sensor, name).await? else { return Ok(None) };
        // What is asked for was compared with the list; where that was changed by somebody else, a name is still no path.
        let path = self.0.folder.join(name);
        let open = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(&path);
        let file = match open {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Ok(file.metadata()?.is_file().then_some((found, file)))
    }

    /// Deletes what is too old and what is nobody's, until `stop`.
    pub async fn keep(self, sensor: String, stop: CancellationToken, now: impl Fn() -> Timestamp) {
        for round in 0.. {
            if let Err(error) = self.tidy(&sensor, now(), round % STRAYS_EVERY == 0).await {
                tracing::warn!(%error, "old results are not deleted");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(TIDY_EVERY) => {}
            }
        }
    }

    /// Deletes what is too old at this time; with `strays` also files that are in no list, and of the list what has no file.
    ///
    /// # Errors
    /// When the database cannot be used, or the folder cannot be read.
    pub async fn tidy(&self, sensor: &str, now: Timestamp, strays: bool) -> Result<(), ResultError> {
        let inner = &self.0;
        let keep_ns = inner.config.keep_days.saturating_mul(DAY_NS);
        let filter = ResultFilter { sensor: sensor.to_owned(), kind: None };
        let mut after = None;
        loop {
            let position = Position { descending: false, after, limit: PAGE };
            let (page, next) = inner.store.results(&filter, position).await?;
            for file in &page {
                let path = inner.folder.join(&file.name);
                let is_old = keep_ns > 0 && now.since(file.created) > keep_ns;
                if is_old && is_name(&file.name) {
                    inner.store.delete_result(sensor, &file.name).await?;
                    inner.remove(&path)?;
                    inner.expired.fetch_add(1, Relaxed);
                    tracing::info!(name = file.name, "an old result is deleted");
                } else if strays && !path.exists() {
                    tracing::warn!(name = file.name, "the file of a result is gone");
                    inner.store.delete_result(sensor, &file.name).await?;
                }
            }
            match next {
                Some(next) if strays || keep_ns > 0 => after = Some(next),
                _ => break,
            }
        }
        if strays { self.remove_strays(now).await } else { Ok(()) }
    }

    async fn remove_strays(&self, now: Timestamp) -> Result<(), ResultError> {
        if !self.0.folder.is_dir() {
            return Ok(());
        }
        for entry in std::fs::read_dir(&self.0.folder)?.flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            let is_ours = is_name(name.strip_prefix('.').and_then(|name| name.strip_suffix(PART)).unwrap_or(&name));
            let changed = entry.metadata().and_then(|metadata| metadata.modified()).ok();
            let changed = changed.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            let changed = changed.map_or(now, |since| Timestamp::from_nanos(since.as_nanos() as u64));
            if is_ours && now.since(changed) > STRAY_AFTER_NS && !self.0.store.has_result(&name).await? {
                tracing::info!(name, "a file that is in no list is deleted");
                self.0.remove(&entry.path())?;
            }
        }
        Ok(())
    }
}

/// What the name of a file ends with while it is written; it begins with a dot.
const PART: &str = ".part";

impl Inner {
    fn remove(&self, path: &Path) -> std::io::Result<()> {
        let bytes = path.symlink_metadata().map_or(0, |metadata| metadata.len());
        match std::fs::remove_file(path) {
            Ok(()) => {
                self.room.give_back(bytes);
                Ok(())
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.is_temporary {
            let _gone = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// Why a file cannot be read or deleted.
#[derive(Debug, thiserror::Error)]
pub enum ResultError {
    /// The folder, or a file.
    #[error("a file in the folder of results: {0}")]
    Io(#[from] std::io::Error),
    /// The database.
    #[error("{}", .0.chain())]
    Store(#[from] StoreError),
}

/// Whether this may be the name of a file: a word of ours, which no folder stands in.
pub fn is_name(name: &str) -> bool {
    let is_word = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    name.len() <= MOST_NAME && name.split('.').count() == 2 && name.split('.').all(is_word)
}

#[cfg(test)]
mod tests;
