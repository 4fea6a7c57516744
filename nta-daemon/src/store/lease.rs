//! Locks that end with their holder, so that no clock is asked: the lease, by which one daemon captures for a sensor and a
//! database; the same for an analysis, so that of several processes one stores it; and a lock for each run, by which a start
//! distinguishes runs that were killed from those that go on.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::db::{Conn, Query};
use super::{Store, StoreError};

/// Between two looks whether the lease is still held.
const CHECK_EVERY: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });
/// A server that does not answer for so long has lost the session.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Between two looks whether an analysis is free.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// After so many looks the log says what is waited for.
const SAY_AFTER: u32 = 5;
/// After so many looks the wait is given up: a day.
const LOOKS: u32 = 864_000;
/// Connections that may break off during one wait.
const MOST_BROKEN: u32 = 10;
/// Lock files of killed processes that are removed at once.
const MOST_LEFT: usize = 1000;
/// How often a lock file may vanish between the opening and the lock.
const MOST_VANISHED: u32 = 100;
/// What the locks of analyses are called.
const ANALYSIS: &str = "analysis-";

/// The lease of a sensor, or of an analysis; held until it is dropped.
#[derive(Debug)]
pub struct Lease {
    lock: Lock,
    of: Of,
}

/// What a lease is for.
#[derive(Clone, Debug)]
enum Of {
    /// A sensor, by name: its daemons go on for long and its lock file stays.
    Sensor(String),
    /// An analysis, by its key: its lock file goes with the holder.
    Analysis(String),
}

impl Of {
    fn lock_name(&self) -> String {
        match self {
            Self::Sensor(name) => name.clone(),
            // Half of the hash distinguishes as well and leaves room for the database's name.
            Self::Analysis(key) => format!("{ANALYSIS}{}", key.get(..32).unwrap_or(key)),
        }
    }

    const fn is_temporary(&self) -> bool {
        matches!(self, Self::Analysis(_))
    }
}

/// A lock, held until it is dropped.
#[derive(Debug)]
pub(super) enum Lock {
    /// A lock on the file; it may be one of those that are removed after use.
    File { file: File, path: PathBuf, is_temporary: bool },
    /// An advisory lock of this connection's session.
    Session(Box<Conn>),
    /// A database in memory has no other user.
    Memory,
}

impl Lock {
    /// Whether it is still held: a session may break off, a file may be removed and made again.
    async fn is_held(&mut self) -> bool {
        match self {
            Self::File { file, path, .. } => is_at(file, path),
            Self::Memory => true,
            Self::Session(conn) => {
                let answer = conn.number(Query::new("SELECT CAST(1 AS BIGINT)"));
                tokio::time::timeout(ANSWER_WITHIN, answer).await.is_ok_and(|answer| answer.is_ok())
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // What lies there now may be another's.
        if let Self::File { file, path, is_temporary: true } = self
            && is_at(file, path)
        {
            // Still locked: who waits sees that the file is gone, and makes another. Without it the next start finds a file
            // that nobody holds.
            let _ = fs::remove_file(path);
        }
    }
}

impl Lease {
    /// Looks after the lease: one that is lost is taken again. Returns when another process has it.
    pub async fn keep(mut self, store: Store) -> StoreError {
        let name = self.of.lock_name();
        loop {
            tokio::time::sleep(CHECK_EVERY).await;
            if self.lock.is_held().await {
                continue;
            }
            match store.lock(&name, self.of.is_temporary()).await {
                Ok(Some(lock)) => {
                    tracing::warn!(lease = name, "the lease was lost and is taken again");
                    self.lock = lock;
                }
                Ok(None) => return store.taken(&self.of),
                Err(error) => tracing::error!(error = error.chain(), "the lease is lost, it is tried again"),
            }
        }
    }
}

impl Store {
    /// Takes the lease of a sensor, or says who has it.
    pub async fn lease(&self, sensor: &str) -> Result<Lease, StoreError> {
        let of = Of::Sensor(sensor.to_owned());
        match self.lock(&of.lock_name(), of.is_temporary()).await? {
            Some(lock) => Ok(Lease { lock, of }),
            None => Err(self.taken(&of)),
        }
    }

    /// Takes the lease of an analysis, once no other process has it. Who has waited looks again what is stored.
    pub async fn analysis_lease(&self, key: &str) -> Result<Lease, StoreError> {
        let of = Of::Analysis(key.to_owned());
        let name = of.lock_name();
        self.remove_left_behind();
        let (mut session, mut broken) = (None, 0);
        for look in 0..LOOKS {
            match self.try_lock(&name, of.is_temporary(), &mut session).await {
                Ok(Some(lock)) => return Ok(Lease { lock, of }),
                Ok(None) => {}
                // The next look asks by a new connection.
                Err(error @ StoreError::Query { .. }) if broken < MOST_BROKEN => {
                    tracing::warn!(error = error.chain(), "the connection that waits for another process broke off");
                    broken += 1;
                }
                Err(error) => return Err(error),
            }
            if look == SAY_AFTER {
                tracing::info!(
                    "another process analyses the same captures with these settings into this database; waiting for its end"
                );
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Err(self.taken(&of))
    }

    fn taken(&self, of: &Of) -> StoreError {
        let file = self.lock_file(&of.lock_name()).map(|path| path.display().to_string());
        let holder = file.unwrap_or_else(|| "PostgreSQL".to_owned());
        match of {
            Of::Sensor(sensor) => StoreError::Leased { holder, sensor: sensor.clone() },
            Of::Analysis(_) => StoreError::Analysed { holder },
        }
    }

    /// Removes the lock files of analyses whose processes were killed.
    fn remove_left_behind(&self) {
        let Some(prefix) = self.lock_file(ANALYSIS).map(|path| path.with_extension("")) else { return };
        let (Some(folder), Some(prefix)) = (prefix.parent(), prefix.file_name().and_then(|name| name.to_str())) else {
            return;
        };
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let Ok(entries) = fs::read_dir(folder) else { return };
        let is_lock = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.starts_with(prefix) && name.ends_with(".lock")
        };
        for path in entries.flatten().map(|entry| entry.path()).filter(is_lock).take(MOST_LEFT) {
            if let Ok(file) = OpenOptions::new().write(true).open(&path)
                && file.try_lock().is_ok()
            {
                drop(Lock::File { file, path, is_temporary: true });
            }
        }
    }

    /// Takes a lock beside the database; `None` while somebody has it.
    pub(super) async fn lock(&self, name: &str, is_temporary: bool) -> Result<Option<Lock>, StoreError> {
        self.try_lock(name, is_temporary, &mut None).await
    }

    /// The same; the connection that asked in vain is left for the next time.
    async fn try_lock(
        &self,
        name: &str,
        is_temporary: bool,
        session: &mut Option<Conn>,
    ) -> Result<Option<Lock>, StoreError> {
        let Some(path) = self.lock_file(name) else {
            return if self.database.is_memory() { Ok(Some(Lock::Memory)) } else { self.session(name, session).await };
        };
        let failed = |source| StoreError::Lease { what: path.display().to_string(), source };
        for _ in 0..MOST_VANISHED {
            let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
            match file.try_lock() {
                Ok(()) if is_at(&file, &path) => return Ok(Some(Lock::File { file, path, is_temporary })),
                // The holder of before has removed the file between our opening and our lock.
                Ok(()) => {}
                Err(fs::TryLockError::WouldBlock) => return Ok(None),
                Err(fs::TryLockError::Error(source)) => return Err(failed(source)),
            }
        }
        Ok(None)
    }

    fn lock_file(&self, name: &str) -> Option<PathBuf> {
        let mut path = self.database.path()?.as_os_str().to_owned();
        path.push(format!(".{name}.lock"));
        Some(PathBuf::from(path))
    }

    async fn session(&self, name: &str, session: &mut Option<Conn>) -> Result<Option<Lock>, StoreError> {
        let mut conn = match session.take() {
            Some(conn) => conn,
            None => self.database.connect().await?,
        };
        let lock = Query::new(
            "SELECT CASE WHEN pg_try_advisory_lock(hashtextextended('nta ' || $1, 0)) THEN CAST(1 AS BIGINT) \
             ELSE CAST(0 AS BIGINT) END",
        );
        if conn.number(lock.bind(name)).await.map_err(StoreError::query("runs"))? == 1 {
            return Ok(Some(Lock::Session(Box::new(conn))));
        }
        *session = Some(conn);
        Ok(None)
    }
}

/// Whether this file is the one at the path.
fn is_at(file: &File, path: &Path) -> bool {
    let identity = |file: fs::Metadata| (file.dev(), file.ino());
    file.metadata().map(identity).ok() == fs::metadata(path).map(identity).ok()
}
