//! The lease: one capturing daemon for a sensor and a database. It ends with its holder, no clock is asked.

use std::fs::{File, OpenOptions};
use std::path::PathBuf;

use super::db::{Conn, Query};
use super::{Store, StoreError};

/// The lease of a sensor, held until it is dropped.
#[derive(Debug)]
pub struct Lease(Held);

#[derive(Debug)]
enum Held {
    /// A lock on the file.
    File(#[expect(dead_code, reason = "held for its lock, which ends with it")] File),
    /// An advisory lock of this connection's session.
    Session(Box<Conn>),
    /// A database in memory has no other user.
    Memory,
}

impl Lease {
    /// Whether it is still held: a session may break off.
    pub async fn is_held(&mut self) -> bool {
        match &mut self.0 {
            Held::File(_) | Held::Memory => true,
            Held::Session(conn) => conn.number(Query::new("SELECT CAST(1 AS BIGINT)")).await.is_ok(),
        }
    }
}

impl Store {
    /// Takes the lease of a sensor, or says who has it.
    pub async fn lease(&self, sensor: &str) -> Result<Lease, StoreError> {
        let Some(path) = self.database.path() else {
            return if self.database.is_memory() { Ok(Lease(Held::Memory)) } else { self.session(sensor).await };
        };
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{sensor}.lock"));
        let path = PathBuf::from(name);
        let failed = |source| StoreError::Lease { what: path.display().to_string(), source };
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Lease(Held::File(file))),
            Err(std::fs::TryLockError::WouldBlock) => {
                Err(StoreError::Leased { holder: path.display().to_string(), sensor: sensor.to_owned() })
            }
            Err(std::fs::TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    async fn session(&self, sensor: &str) -> Result<Lease, StoreError> {
        let mut conn = self.database.connect().await?;
        let lock = Query::new(
            "SELECT CASE WHEN pg_try_advisory_lock(hashtextextended('nta ' || $1, 0)) THEN CAST(1 AS BIGINT) \
             ELSE CAST(0 AS BIGINT) END",
        );
        match conn.number(lock.bind(sensor)).await.map_err(StoreError::query("runs"))? {
            1 => Ok(Lease(Held::Session(Box::new(conn)))),
            _ => Err(StoreError::Leased { holder: "PostgreSQL".to_owned(), sensor: sensor.to_owned() }),
        }
    }
}
