//! The table `baselines`: what is usual, kept over restarts.

use super::db::{Query, Row};
use super::rows::encode;
use super::unreadable::Unreadable;
use super::write::upsert_baselines;
use super::{Store, StoreError, to_sql};
use nta_core::baseline::Export;
use nta_core::domain::Mode;

const TABLE: &str = "baselines";

/// The name under which baselines are kept: those of each sensor that captures live, and those of the last replay.
pub fn baselines_name(mode: Mode, sensor: &str) -> String {
    match mode {
        Mode::Live => format!("{}/{sensor}", mode.word()),
        Mode::Replay => mode.word().to_owned(),
    }
}

impl Store {
    /// The baselines of this name; none where what is stored cannot be read.
    pub async fn baselines(&self, name: &str) -> Result<Option<Export>, StoreError> {
        let query = Query::new("SELECT body FROM baselines WHERE name = $1").bind(name);
        let read = |row: &Row| {
            serde_json::from_str(&row.text("body")?)
                .map_err(|error| Unreadable::new(format!("`{name}` is no export of baselines: {error}")))
        };
        Ok(self.read(TABLE, query, read).await?.pop())
    }

    /// Keeps baselines under this name.
    pub async fn save_baselines(&self, name: &str, export: &Export) -> Result<(), StoreError> {
        let error = StoreError::query(TABLE);
        let body = encode(TABLE, export.updated_ns, export)?;
        let mut transaction = self.database.begin().await?;
        let conn = transaction.conn().map_err(&error)?;
        upsert_baselines(conn, name, to_sql(export.updated_ns), &body).await?;
        transaction.commit().await.map_err(error)
    }
}
