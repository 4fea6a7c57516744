//! The table `meta`: single values under their names.

use super::db::{Conn, Query};
use super::unreadable::usable;
use super::{Store, StoreError};

const TABLE: &str = "meta";
const SELECT: &str = "SELECT value FROM meta WHERE name = $1";

/// The value of a name; none where there is none, or none that can be read.
pub(super) async fn get(conn: &mut Conn, name: &str) -> Result<Option<String>, StoreError> {
    let row = conn.fetch_optional(Query::new(SELECT).bind(name)).await.map_err(StoreError::query(TABLE))?;
    Ok(usable(TABLE, row.iter().map(|row| Ok(row.text("value")?))).pop())
}

/// Keeps a value in place of the one before.
pub(super) async fn set(conn: &mut Conn, name: &str, value: &str) -> Result<(), StoreError> {
    let upsert =
        "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    conn.execute(Query::new(upsert).bind(name).bind(value)).await.map(drop).map_err(StoreError::query(TABLE))
}

impl Store {
    /// The value of a name.
    pub(super) async fn meta(&self, name: &str) -> Result<Option<String>, StoreError> {
        Ok(self.read(TABLE, Query::new(SELECT).bind(name), |row| Ok(row.text("value")?)).await?.pop())
    }
}
