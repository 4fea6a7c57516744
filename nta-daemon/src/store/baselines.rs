//! The table `baselines`: what is usual, kept over restarts.

use sqlx::SqliteConnection;

use super::{Store, StoreError, to_sql};
use nta_core::baseline::Export;

const TABLE: &str = "baselines";

pub(super) async fn write(connection: &mut SqliteConnection, name: &str, export: &Export) -> Result<(), StoreError> {
    let encode = |source| StoreError::Encode { table: TABLE, number: export.updated_ns, source };
    let body = serde_json::to_string(export).map_err(encode)?;
    sqlx::query(
        "INSERT INTO baselines (name, updated_ns, body) VALUES ($1, $2, $3) \
         ON CONFLICT (name) DO UPDATE SET updated_ns = excluded.updated_ns, body = excluded.body",
    )
    .bind(name)
    .bind(to_sql(export.updated_ns))
    .bind(body)
    .execute(connection)
    .await
    .map_err(StoreError::query(TABLE))?;
    Ok(())
}

impl Store {
    /// The baselines of this name.
    pub async fn baselines(&self, name: &str) -> Result<Option<Export>, StoreError> {
        let body: Option<String> = sqlx::query_scalar("SELECT body FROM baselines WHERE name = $1")
            .bind(name)
            .fetch_optional(&self.read)
            .await
            .map_err(StoreError::query(TABLE))?;
        let read = |body: String| {
            serde_json::from_str(&body).map_err(|error| StoreError::Corrupt {
                table: TABLE,
                id: 0,
                reason: format!("`{name}` is no export of baselines: {error}"),
            })
        };
        body.map(read).transpose()
    }

    /// Keeps baselines under this name.
    pub async fn save_baselines(&self, name: &str, export: &Export) -> Result<(), StoreError> {
        let mut connection = self.write.acquire().await.map_err(StoreError::query(TABLE))?;
        write(&mut connection, name, export).await
    }
}
