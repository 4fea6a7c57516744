//! What people do about alerts: a status, and notes.

use sqlx::Row as _;

use super::{Store, StoreError, from_sql, to_sql};
use nta_core::domain::Timestamp;

/// Notes that an alert may have.
const MAX_NOTES: i64 = 200;

/// A change to an alert.
#[derive(Clone, Debug)]
pub struct AlertPatch {
    /// The new status: open, acknowledged, resolved.
    pub status: Option<&'static str>,
    /// A note to add.
    pub note: Option<String>,
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patched {
    /// It is stored.
    Done,
    /// There is no such alert.
    Unknown,
    /// It has as many notes as it may have; nothing was changed.
    Full,
}

/// A note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// What.
    pub note: String,
}

impl Store {
    /// Changes status and notes of an alert, both or neither.
    pub async fn patch_alert(&self, id: &str, patch: &AlertPatch) -> Result<Patched, StoreError> {
        let error = || StoreError::query("detected_alerts");
        let mut transaction = self.write.begin().await.map_err(error())?;
        let notes = sqlx::query(
            "SELECT (SELECT count(*) FROM alert_notes WHERE alert_id = $1) AS notes FROM detected_alerts WHERE id = $1",
        )
        .bind(id)
        .fetch_optional(&mut *transaction)
        .await
        .map_err(error())?;
        let Some(notes) = notes else { return Ok(Patched::Unknown) };
        if patch.note.is_some() && notes.get::<i64, _>("notes") >= MAX_NOTES {
            return Ok(Patched::Full);
        }
        if let Some(status) = patch.status {
            let update = "UPDATE detected_alerts SET status = $1, status_by = $2, status_at_ns = $3 WHERE id = $4";
            let update = sqlx::query(update).bind(status).bind(&patch.by).bind(to_sql(patch.at.as_nanos())).bind(id);
            update.execute(&mut *transaction).await.map_err(error())?;
        }
        if let Some(note) = &patch.note {
            let insert = "INSERT INTO alert_notes (alert_id, at_ns, author, note) VALUES ($1, $2, $3, $4)";
            let insert = sqlx::query(insert).bind(id).bind(to_sql(patch.at.as_nanos())).bind(&patch.by).bind(note);
            insert.execute(&mut *transaction).await.map_err(StoreError::query("alert_notes"))?;
        }
        transaction.commit().await.map_err(error())?;
        Ok(Patched::Done)
    }

    /// The notes of an alert, oldest first.
    pub async fn alert_notes(&self, id: &str) -> Result<Vec<Note>, StoreError> {
        let rows: Vec<(i64, String, String)> =
            sqlx::query_as("SELECT at_ns, author, note FROM alert_notes WHERE alert_id = $1 ORDER BY id")
                .bind(id)
                .fetch_all(&self.read)
                .await
                .map_err(StoreError::query("alert_notes"))?;
        let note = |(at, by, note)| Note { at: Timestamp::from_nanos(from_sql(at)), by, note };
        Ok(rows.into_iter().map(note).collect())
    }
}
