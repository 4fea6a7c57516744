//! Opening a database: options, the folder, the migrations, the readers' pool.

use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Error, PgPool, SqlitePool};
use tokio::sync::{Mutex, MutexGuard};

use super::damage::Watch;
use super::{Conn, Dialect, Query, Row};
use crate::config::{DatabaseUrl, regular_length};
use crate::store::{StoreError, size};

/// Connections that read at the same time; more requests wait for one of them.
const READERS: u32 = 4;
/// How long a statement waits for another process that holds the database.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request waits for a free connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a server may take to answer who connects.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });
/// What is said of one that does not.
const NO_ANSWER: &str =
    "the server accepts connections and does not answer within 10 s: is it stopped, or something else?";
/// Page cache of each connection in KiB (SQLite counts KiB as a negative number).
const CACHE_KIB: &str = "-8192";
/// The write-ahead log is cut back to this many bytes once it was copied into the database.
pub(super) const WAL_BYTES: u64 = 67_108_864;

/// Pages of the write-ahead log after which it is copied into the database, 32 MiB, for batch after batch changes the same pages of
/// indexes. At most a sixteenth of the disk, which the log would otherwise fill by itself.
const WAL_PAGES: u64 = 8192;
const PAGE_BYTES: u64 = 4096;
const WAL_SHARE: u64 = 16;

/// How to connect.
#[derive(Clone, Debug)]
pub(super) enum Target {
    Sqlite(Box<SqliteConnectOptions>),
    /// The one connection is the database.
    Memory(Box<SqliteConnectOptions>),
    Postgres(Box<PgConnectOptions>),
}

#[derive(Clone, Debug)]
enum Readers {
    Sqlite(SqlitePool),
    Postgres(PgPool),
    /// They share the writer's connection.
    Writer,
}

/// A database: one connection writes, a pool reads.
#[derive(Debug)]
pub(in crate::store) struct Database {
    pub(super) url: String,
    pub(super) target: Target,
    readers: RwLock<Readers>,
    /// Empty after an error; the next transaction opens a new one.
    pub(super) writer: Mutex<Option<Conn>>,
    pub(super) watch: Watch,
    /// Device and inode of the file that the connections have open.
    file: RwLock<Option<(u64, u64)>>,
    closed: AtomicBool,
    /// Attempts to open the file anew since it was deleted, replaced or set aside.
    replaced: AtomicU64,
    /// How often another file was opened in its place.
    renewals: AtomicU64,
    /// Every statement that read, for a test of their plans.
    #[cfg(test)]
    seen: std::sync::Mutex<Vec<Query>>,
}

/// A transaction. Dropped without a commit it is rolled back, for its connection is closed.
pub(in crate::store) struct Transaction<'a> {
    slot: MutexGuard<'a, Option<Conn>>,
    conn: Option<Conn>,
    keep: bool,
}

impl Transaction<'_> {
    /// The connection, which is there until the transaction ends.
    pub(in crate::store) fn conn(&mut self) -> Result<&mut Conn, Error> {
        self.conn.as_mut().ok_or(Error::PoolClosed)
    }

    pub(in crate::store) async fn commit(mut self) -> Result<(), Error> {
        self.conn()?.run("COMMIT").await?;
        *self.slot = self.conn.take();
        Ok(())
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.keep {
            // The next one rolls back what is left of this one.
            *self.slot = self.conn.take().or_else(|| self.slot.take());
        }
    }
}

impl Database {
    /// Opens, creates and migrates the database at `url`.
    pub(in crate::store) async fn open(url: &str) -> Result<Arc<Self>, StoreError> {
        let target = Target::parse(url)?;
        let database = Self {
            url: without_password(url),
            target,
            readers: RwLock::new(Readers::Writer),
            writer: Mutex::new(None),
            watch: Watch::default(),
            file: RwLock::new(None),
            closed: AtomicBool::new(false),
            replaced: AtomicU64::new(0),
            renewals: AtomicU64::new(0),
            #[cfg(test)]
            seen: std::sync::Mutex::default(),
        };
        let conn = database.prepare().await?;
        *database.writer.lock().await = Some(conn);
        Ok(Arc::new(database))
    }

    /// A connection to a database that has all tables, and readers for it.
    pub(super) async fn prepare(&self) -> Result<Conn, StoreError> {
        let open_error = |source| StoreError::Open { url: self.url.clone(), source };
        let migrate_error = |source| StoreError::Migrate { url: self.url.clone(), source };
        if let Some(path) = self.path() {
            regular_length(path).map_err(|error| open_error(Error::Io(error)))?;
            create_folder(path)?;
        }
        // Held until the tables are as they must be; also the change to a write-ahead log is made by one at a time.
        let _turn = match self.path() {
            Some(path) => super::turn::at_file(path).await.map_err(|error| open_error(Error::Io(error)))?,
            None => None,
        };
        let mut conn = self.target.connect().await.map_err(open_error)?;
        if matches!(conn, Conn::Postgres(_)) {
            self.check_encoding(&mut conn).await?;
            super::turn::at_server(&mut conn).await.map_err(open_error)?;
            // A migration waits until the tables are free.
            conn.run("SET lock_timeout = 0").await.map_err(open_error)?;
        }
        match &mut conn {
            Conn::Sqlite(conn) => {
                super::migrations::sqlite().run_direct(None, conn, false).await.map_err(migrate_error)?;
            }
            Conn::Postgres(conn) => {
                super::migrations::postgres().run_direct(None, conn, false).await.map_err(migrate_error)?;
            }
        }
        crate::store::flow_write::carry_over(&mut conn).await?;
        crate::store::spans::make_missing(&mut conn).await?;
        crate::store::keys::check(&mut conn).await?;
        crate::store::totals::check(&mut conn).await?;
        if matches!(conn, Conn::Postgres(_)) {
            super::turn::leave(&mut conn).await.map_err(open_error)?;
            conn.run("RESET lock_timeout").await.map_err(open_error)?;
        }
        conn.will_write().await.map_err(open_error)?;
        let readers = match &self.target {
            Target::Sqlite(options) => Readers::Sqlite(
                SqlitePoolOptions::new()
                    .max_connections(READERS)
                    .acquire_timeout(ACQUIRE_TIMEOUT)
                    .connect_lazy_with(options.as_ref().clone()),
            ),
            Target::Postgres(options) => Readers::Postgres(
                PgPoolOptions::new()
                    .max_connections(READERS)
                    .acquire_timeout(ACQUIRE_TIMEOUT)
                    .connect_lazy_with(options.as_ref().clone()),
            ),
            Target::Memory(_) => Readers::Writer,
        };
        *self.readers.write().unwrap_or_else(PoisonError::into_inner) = readers;
        *self.file.write().unwrap_or_else(PoisonError::into_inner) = self.path().and_then(identity);
        self.path().into_iter().for_each(|path| self.watch.reset(path));
        Ok(conn)
    }

    pub(in crate::store) const fn dialect(&self) -> Dialect {
        match self.target {
            Target::Postgres(_) => Dialect::Postgres,
            Target::Sqlite(_) | Target::Memory(_) => Dialect::Sqlite,
        }
    }

    /// The database file; `None` for PostgreSQL and in memory.
    pub(in crate::store) fn path(&self) -> Option<&Path> {
        match &self.target {
            Target::Sqlite(options) => Some(options.get_filename()),
            Target::Memory(_) | Target::Postgres(_) => None,
        }
    }

    pub(in crate::store) const fn is_memory(&self) -> bool {
        matches!(self.target, Target::Memory(_))
    }

    /// Begins a transaction; waits for the one under way.
    pub(in crate::store) async fn begin(&self) -> Result<Transaction<'_>, StoreError> {
        let mut slot = self.writer.lock().await;
        if self.closed.load(Relaxed) {
            return Err(StoreError::Closed);
        }
        if self.was_replaced() {
            // The connections have a file open that nobody finds any more.
            drop(slot.take());
            let attempt = self.replaced.fetch_add(1, Relaxed) + 1;
            // Every attempt would say it; the first does, then the second, the fourth, the eighth.
            if attempt.is_power_of_two() {
                tracing::error!(
                    database = self.url,
                    attempt,
                    "the database file was deleted or replaced, or set aside; opening it anew"
                );
            }
        } else {
            self.check_files_of(&mut slot).await?;
        }
        let mut conn = match slot.take() {
            Some(conn) => conn,
            None if self.was_replaced() => {
                let conn = self.prepare().await?;
                self.renewals.fetch_add(1, Relaxed);
                if self.replaced.swap(0, Relaxed) > 0 {
                    tracing::info!(database = self.url, "the database file was opened anew");
                }
                conn
            }
            None => {
                let mut conn = self.target.connect().await.map_err(StoreError::query("runs"))?;
                conn.will_write().await.map_err(StoreError::query("runs"))?;
                conn
            }
        };
        if self.is_memory() {
            // What an abandoned transaction left; an error says that there is none.
            let _ = conn.run("ROLLBACK").await;
        }
        let mut transaction = Transaction { slot, conn: Some(conn), keep: self.is_memory() };
        transaction.conn().map_err(StoreError::query("runs"))?.begin().await.map_err(StoreError::query("runs"))?;
        Ok(transaction)
    }

    /// Names of files and notes come in any writing: a database that cannot hold some would refuse them one day.
    async fn check_encoding(&self, conn: &mut Conn) -> Result<(), StoreError> {
        let query = Query::new("SELECT current_setting('server_encoding') AS encoding");
        let row =
            conn.fetch_optional(query).await.map_err(|source| StoreError::Open { url: self.url.clone(), source })?;
        let encoding = row.and_then(|row| row.text("encoding").ok()).unwrap_or_default();
        // SQL_ASCII keeps whatever bytes it gets.
        if ["UTF8", "SQL_ASCII"].contains(&encoding.as_str()) {
            return Ok(());
        }
        Err(StoreError::Encoding { url: self.url.clone(), encoding })
    }

    /// A connection of its own, beside the writer's.
    pub(in crate::store) async fn connect(&self) -> Result<Conn, StoreError> {
        self.target.connect().await.map_err(|source| StoreError::Open { url: self.url.clone(), source })
    }

    /// Whether the file is another one than the one that was opened.
    pub(in crate::store) fn was_replaced(&self) -> bool {
        let opened = *self.file.read().unwrap_or_else(PoisonError::into_inner);
        self.path().is_some_and(|path| identity(path) != opened)
    }

    /// How often the file was deleted, replaced or set aside, and another opened in its place.
    pub(in crate::store) fn renewals(&self) -> u64 {
        self.renewals.load(Relaxed)
    }

    pub(in crate::store) async fn fetch_all(&self, query: Query) -> Result<Vec<Row>, Error> {
        #[cfg(test)]
        self.note(query.clone());
        match self.readers() {
            Readers::Sqlite(pool) => {
                query.sqlite().fetch_all(&pool).await.map(|rows| rows.into_iter().map(Row::Sqlite).collect())
            }
            Readers::Postgres(pool) => {
                query.postgres().fetch_all(&pool).await.map(|rows| rows.into_iter().map(Row::Postgres).collect())
            }
            Readers::Writer => self.writer.lock().await.as_mut().ok_or(Error::PoolClosed)?.fetch_all(query).await,
        }
        .inspect_err(|error| self.watch.note(error))
    }

    pub(in crate::store) async fn fetch_optional(&self, query: Query) -> Result<Option<Row>, Error> {
        #[cfg(test)]
        self.note(query.clone());
        match self.readers() {
            Readers::Sqlite(pool) => query.sqlite().fetch_optional(&pool).await.map(|row| row.map(Row::Sqlite)),
            Readers::Postgres(pool) => query.postgres().fetch_optional(&pool).await.map(|row| row.map(Row::Postgres)),
            Readers::Writer => self.writer.lock().await.as_mut().ok_or(Error::PoolClosed)?.fetch_optional(query).await,
        }
        .inspect_err(|error| self.watch.note(error))
    }

    #[cfg(test)]
    pub(in crate::store) fn note(&self, query: Query) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(query);
    }

    #[cfg(test)]
    pub(in crate::store) fn seen(&self) -> Vec<Query> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn readers(&self) -> Readers {
        self.readers.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Closes all connections, which also folds the write-ahead log back into the database.
    pub(in crate::store) async fn close(&self) {
        self.closed.store(true, Relaxed);
        match self.readers() {
            Readers::Sqlite(pool) => pool.close().await,
            Readers::Postgres(pool) => pool.close().await,
            Readers::Writer => {}
        }
        let conn = self.writer.lock().await.take();
        if let Some(conn) = conn
            && let Err(error) = conn.close().await
        {
            tracing::warn!(%error, "store: the connection was not closed properly");
        }
    }
}

impl Target {
    fn parse(url: &str) -> Result<Self, StoreError> {
        let open_error = |source| StoreError::Open { url: without_password(url), source };
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let options = PgConnectOptions::from_str(url).map_err(open_error)?;
            // Notices, such as of a table that is there already, are no news for the log.
            let options = options.application_name("nta").options([("client_min_messages", "warning")]);
            // As SQLite's: who waits for a lock for longer is told so, and the batch waits elsewhere.
            let options = options.options([("lock_timeout", BUSY_TIMEOUT.as_millis().to_string())]);
            return Ok(Self::Postgres(Box::new(options)));
        }
        if !url.starts_with("sqlite:") {
            return Err(StoreError::Url { url: without_password(url) });
        }
        let options = SqliteConnectOptions::from_str(url)
            .map_err(open_error)?
            .create_if_missing(true)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .auto_vacuum(SqliteAutoVacuum::Incremental)
            .pragma("cache_size", CACHE_KIB);
        if url.contains(":memory:") || url.contains("mode=memory") {
            return Ok(Self::Memory(Box::new(options)));
        }
        let options = options
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .pragma("journal_size_limit", WAL_BYTES.to_string());
        Ok(Self::Sqlite(Box::new(options)))
    }

    pub(super) async fn connect(&self) -> Result<Conn, Error> {
        Ok(match self {
            Self::Sqlite(options) => {
                let disk = size::of_disk(options.get_filename()).unwrap_or(u64::MAX);
                let pages = (disk / WAL_SHARE / PAGE_BYTES).clamp(1, WAL_PAGES).to_string();
                Conn::Sqlite(options.clone().pragma("wal_autocheckpoint", pages).connect().await?)
            }
            Self::Memory(options) => Conn::Sqlite(options.connect().await?),
            Self::Postgres(options) => {
                let said = || Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, NO_ANSWER));
                let connected = tokio::time::timeout(CONNECT_TIMEOUT, options.connect()).await;
                Conn::Postgres(connected.map_err(|_late| said())??)
            }
        })
    }
}

pub(super) fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

fn create_folder(path: &Path) -> Result<(), StoreError> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.exists() => {
            let failed = |source| StoreError::Folder { path: PathBuf::from(folder), source };
            std::fs::create_dir_all(folder).map_err(failed)?;
            tracing::warn!(folder = %folder.display(), "the folder of the database was not there and was made");
            Ok(())
        }
        _ => Ok(()),
    }
}

/// A database as it may be shown: without password. Of what is no database's URL only the scheme is.
pub(in crate::store) fn without_password(url: &str) -> String {
    let scheme = || url.split_once(':').map_or("…", |(scheme, _)| scheme).chars().take(32).collect();
    url.parse::<DatabaseUrl>().map_or_else(|_| scheme(), |url| url.shown())
}
