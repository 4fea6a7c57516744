//! Opening a database: connection options, the folder, the migrations.

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::{Retention, Store, StoreError};

/// Connections that read at the same time; more requests wait for one of them.
const READERS: u32 = 4;
/// How long a statement waits for another process that holds the database.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request waits for a free connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// Page cache of each connection in KiB (SQLite counts KiB as a negative number).
const CACHE_KIB: &str = "-8192";
/// The write-ahead log is cut back to this many bytes once it was copied into the database.
const WAL_BYTES: &str = "67108864";

impl Store {
    /// Opens (and creates, and migrates) the database at `url`: `sqlite:PATH` or `sqlite::memory:`.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Err(StoreError::NotYet { url: without_password(url) });
        }
        if !url.starts_with("sqlite:") {
            return Err(StoreError::Url { url: without_password(url) });
        }
        let open_error = |source| StoreError::Open { url: url.to_owned(), source };
        let options = SqliteConnectOptions::from_str(url)
            .map_err(open_error)?
            .create_if_missing(true)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .pragma("cache_size", CACHE_KIB);
        let in_memory = url.contains(":memory:") || url.contains("mode=memory");
        let (write, read) = if in_memory {
            // One connection for all: it is the database, and it must never be closed for being idle.
            let pool = pool(1).min_connections(1).connect_with(options).await.map_err(open_error)?;
            (pool.clone(), pool)
        } else {
            create_folder(&options)?;
            let options = options
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Normal)
                .pragma("journal_size_limit", WAL_BYTES);
            let write = pool(1).connect_with(options.clone()).await.map_err(open_error)?;
            (write, pool(READERS).connect_lazy_with(options))
        };
        let migrated = sqlx::migrate!("migrations/sqlite").run(&write).await;
        migrated.map_err(|source| StoreError::Migrate { url: url.to_owned(), source })?;
        Ok(Self { read, write, retention: Retention::default(), counters: Arc::default() })
    }

    /// Closes all connections, which also folds the write-ahead log back into the database.
    pub async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
    }
}

fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(None)
        .max_lifetime(None)
}

fn create_folder(options: &SqliteConnectOptions) -> Result<(), StoreError> {
    match options.get_filename().parent() {
        Some(path) if !path.as_os_str().is_empty() => {
            std::fs::create_dir_all(path).map_err(|source| StoreError::Folder { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// `scheme://user:password@host` with the password (and all else before the `@`) left out.
fn without_password(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://…@{host}"),
        _ => url.to_owned(),
    }
}
