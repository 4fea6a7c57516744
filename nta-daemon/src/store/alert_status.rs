//! What people do about alerts: a status, and notes.

use super::db::Query;
use super::unreadable::Unreadable;
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
    /// Who; the API where nobody is named. A status that stays as it is stays theirs who gave it.
    pub by: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// Who it was when nobody is named.
const NOBODY: &str = "api";

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
    /// Changes status and notes of an alert, both or neither: an error says that nothing is changed.
    pub async fn patch_alert(&self, id: &str, patch: &AlertPatch) -> Result<Patched, StoreError> {
        let error = StoreError::query("detected_alerts");
        let mut transaction = self.database.begin().await?;
        let conn = transaction.conn().map_err(&error)?;
        let known =
            Query::new("SELECT number, raised_ns FROM detected_alerts WHERE id = $1 ORDER BY run_id DESC LIMIT 1")
                .bind(id);
        let Some(row) = conn.fetch_optional(known).await.map_err(&error)? else { return Ok(Patched::Unknown) };
        let number = row.first().map_err(&error)?;
        // What cannot be read is not changed either.
        let raised_ns =
            row.natural("raised_ns").map_err(|error| Unreadable::from(error).of("detected_alerts", number))?;
        let notes = Query::new("SELECT count(*) FROM alert_notes WHERE alert = $1").bind(number);
        if patch.note.is_some() && conn.number(notes).await.map_err(&error)? >= MAX_NOTES {
            return Ok(Patched::Full);
        }
        let at_ns = to_sql(patch.at.as_nanos());
        let by = patch.by.as_deref().unwrap_or(NOBODY);
        if let Some(status) = patch.status {
            let update = "UPDATE detected_alerts SET status = $1, status_by = $2, status_at_ns = $3 WHERE number = $4";
            let mut update = Query::new(update).bind(status).bind(by).bind(at_ns).bind(number);
            if patch.by.is_none() {
                update.push(" AND status <> ").push_bind(status);
            }
            conn.execute(update).await.map_err(&error)?;
        }
        if let Some(note) = &patch.note {
            let insert = "INSERT INTO alert_notes (alert, raised_ns, at_ns, author, note) VALUES ($1, $2, $3, $4, $5)";
            let insert = Query::new(insert).bind(number).bind(raised_ns).bind(at_ns);
            let insert = insert.bind(by).bind(note.as_str());
            conn.execute(insert).await.map_err(StoreError::query("alert_notes"))?;
        }
        transaction.commit().await.map_err(error)?;
        Ok(Patched::Done)
    }

    /// The notes of an alert, oldest first.
    pub async fn alert_notes(&self, id: &str) -> Result<Vec<Note>, StoreError> {
        let query = Query::new(
            "SELECT at_ns, author, note FROM alert_notes WHERE alert = \
             (SELECT number FROM detected_alerts WHERE id = $1 ORDER BY run_id DESC LIMIT 1) ORDER BY id",
        );
        self.read("alert_notes", query.bind(id), |row| {
            let at = Timestamp::from_nanos(from_sql(row.natural("at_ns")?));
            Ok(Note { at, by: row.text("author")?, note: row.text("note")? })
        })
        .await
    }
}
