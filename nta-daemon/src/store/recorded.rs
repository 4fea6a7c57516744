//! Recordings in the table `uploads`, and which captures may have packets of a time.

use super::db::Query;
use super::uploads::{COLUMNS, TABLE, Upload, upload};
use super::{Store, StoreError, to_sql};
use nta_core::domain::Timestamp;

impl Store {
    /// Notes a recording, which is whole. Answers the name of the capture that has these bytes already, if there is one; nothing is
    /// noted then.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn insert_recorded(&self, upload: &Upload) -> Result<Option<String>, StoreError> {
        let error = StoreError::query(TABLE);
        let mut transaction = self.database.begin().await?;
        let conn = transaction.conn().map_err(&error)?;
        let same = Query::new("SELECT file_id FROM uploads WHERE sha256 = $1 OR recorded = $2 ORDER BY number LIMIT 1");
        let same = same.bind(upload.sha256.clone()).bind(upload.recorded.clone());
        if let Some(row) = conn.fetch_optional(same).await.map_err(&error)? {
            return row.text("file_id").map(Some).map_err(error);
        }
        let time = |at: usize| upload.span.map(|span| to_sql(span[at].as_nanos()));
        let insert = Query::new(
            "INSERT INTO uploads (file_id, name, state, bytes, sha256, added_ns, changed_ns, packets, recorded, first_ns, last_ns) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        )
        .bind(upload.file_id.as_str())
        .bind(upload.name.as_str())
        .bind(upload.state.word())
        .bind(to_sql(upload.bytes))
        .bind(upload.sha256.clone())
        .bind(to_sql(upload.added.as_nanos()))
        .bind(to_sql(upload.changed.as_nanos()))
        .bind(to_sql(upload.totals.packets))
        .bind(upload.recorded.clone())
        .bind(time(0))
        .bind(time(1));
        conn.execute(insert).await.map_err(&error)?;
        transaction.commit().await.map_err(error)?;
        Ok(None)
    }

    /// The recording whose file has this name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn recorded(&self, name: &str) -> Result<Option<Upload>, StoreError> {
        let query = Query::new(format!("SELECT {COLUMNS} FROM uploads WHERE recorded = $1")).bind(name);
        Ok(self.read(TABLE, query, |row| Ok(upload(row)?.1)).await?.pop())
    }

    /// Captures that may have packets of a time, the newest first; a thousand at most.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn uploads_of(&self, [from, to]: [Timestamp; 2]) -> Result<Vec<Upload>, StoreError> {
        let query = Query::new(format!(
            "SELECT {COLUMNS} FROM uploads WHERE state <> 'receiving' AND coalesce(last_ns, $1) >= $1 \
             AND coalesce(first_ns, $2) <= $2 ORDER BY added_ns DESC, number DESC LIMIT 1000"
        ));
        let query = query.bind(to_sql(from.as_nanos())).bind(to_sql(to.as_nanos()));
        self.read(TABLE, query, |row| Ok(upload(row)?.1)).await
    }
}
