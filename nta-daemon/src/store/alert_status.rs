//! What people do about alerts: a status, a verdict, notes, and the history of both.

use std::collections::BTreeMap;

use super::alert_filter::AlertFilter;
use super::alerts::AlertSort;
use super::db::{Conn, Query, Row};
use super::event_body::{self, Handled};
use super::list::Listed;
use super::unreadable::{Unreadable, usable};
use super::write::{self, Event};
use super::{Position, Store, StoreError, from_sql, to_sql};
use nta_core::domain::Timestamp;

/// Notes that an alert may have.
const MAX_NOTES: i64 = 200;
/// Changes of an alert that are kept, the newest ones.
const MAX_CHANGES: i64 = 200;
/// Alerts that one request changes at most.
pub const MOST_AT_ONCE: usize = 10_000;
/// Alerts that are read at a time for it.
const CHUNK: u32 = 1000;
/// Alerts that a statement changes.
const STATEMENT: usize = 500;

/// A change to an alert.
#[derive(Clone, Debug)]
pub struct AlertPatch {
    /// The new status: open, acknowledged, resolved.
    pub status: Option<&'static str>,
    /// The new verdict: `true_positive`, benign, `false_positive`; `Some(None)` takes it back.
    pub verdict: Option<Option<&'static str>>,
    /// A note to add.
    pub note: Option<String>,
    /// A note to take back, by its number.
    pub withdraw: Option<i64>,
    /// Who; `anonymous` where nobody is named. A status that stays as it is stays theirs who gave it.
    pub by: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// Who it was when nobody is named: the word of the audit log for who acts without a token.
const NOBODY: &str = "anonymous";

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patched {
    /// It is stored.
    Done,
    /// There is no such alert.
    Unknown,
    /// It has as many notes as it may have; nothing was changed.
    Full,
    /// It has no such note to take back; nothing was changed.
    NoNote,
}

/// A note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Its number.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// What.
    pub note: String,
}

/// A change of status or verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertChanged {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// The status before it, and behind it.
    pub status: [String; 2],
    /// The verdict before it, and behind it.
    pub verdict: [Option<String>; 2],
}

/// What became of a change to many alerts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchedAll {
    /// So many are changed.
    Done(u64),
    /// So many would be, which is not what was expected; none is.
    Other(u64),
}

/// Alerts that a filter finds and a status changes, by number.
#[derive(Clone, Debug, Default)]
pub struct AlertsToChange(Vec<i64>);

impl AlertsToChange {
    /// How many.
    pub const fn count(&self) -> u64 {
        self.0.len() as u64
    }
}

impl Store {
    /// Changes status, verdict and notes of an alert, all or none: an error says that nothing is changed.
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
        if let Some(note) = patch.withdraw {
            let gone = Query::new("DELETE FROM alert_notes WHERE id = $1 AND alert = $2").bind(note).bind(number);
            if conn.execute(gone).await.map_err(StoreError::query("alert_notes"))? == 0 {
                return Ok(Patched::NoNote);
            }
        }
        let events = handled(conn, &[number], patch).await?;
        change(conn, &[number], patch).await?;
        change_parts(conn, &[number], patch).await?;
        log_all(conn, events).await?;
        if let Some(note) = &patch.note {
            let insert = "INSERT INTO alert_notes (alert, raised_ns, at_ns, author, note) VALUES ($1, $2, $3, $4, $5)";
            let insert = Query::new(insert).bind(number).bind(raised_ns).bind(to_sql(patch.at.as_nanos()));
            let insert = insert.bind(patch.by.as_deref().unwrap_or(NOBODY)).bind(note.as_str());
            conn.execute(insert).await.map_err(StoreError::query("alert_notes"))?;
        }
        transaction.commit().await.map_err(error)?;
        self.commits.send_modify(|commits| *commits += 1);
        Ok(Patched::Done)
    }

    /// The alerts that a filter finds and that a patch would change; `None` when they are more than [`MOST_AT_ONCE`].
    ///
    /// # Errors
    /// As of a list: also when more would be read than may be.
    pub async fn alerts_to_change(
        &self,
        filter: &AlertFilter,
        patch: &AlertPatch,
    ) -> Result<Option<AlertsToChange>, StoreError> {
        let listed = Listed {
            table: "detected_alerts",
            columns: "number, raised_ns, status, verdict",
            order: "raised_ns",
            id: "number",
        };
        let filter = self.named_parties(filter).await?;
        let ways = filter.ways(AlertSort::Time);
        let mut position = Position { descending: true, after: None, limit: CHUNK };
        let mut numbers = Vec::new();
        loop {
            let rows = self
                .list(&listed, &ways, position.and_one(), |row| {
                    let is_so = patch.status.is_none_or(|status| row.text("status").is_ok_and(|now| now == status))
                        && match patch.verdict {
                            Some(verdict) => row.opt_text("verdict")?.as_deref() == verdict,
                            None => true,
                        };
                    Ok((!is_so).then_some(row.int("number")?))
                })
                .await?;
            let (found, next) = position.cut(rows);
            numbers.extend(found.into_iter().flatten());
            if numbers.len() > MOST_AT_ONCE {
                return Ok(None);
            }
            match next {
                Some(next) => position.after = Some(next),
                None => return Ok(Some(AlertsToChange(numbers))),
            }
        }
    }

    /// Changes status and verdict of these alerts if as many of them as are expected still are as they were; all or none.
    ///
    /// # Errors
    /// When the store does not answer; nothing is changed then.
    pub async fn patch_alerts(
        &self,
        alerts: &AlertsToChange,
        patch: &AlertPatch,
        expected: u64,
    ) -> Result<PatchedAll, StoreError> {
        if alerts.count() != expected {
            return Ok(PatchedAll::Other(alerts.count()));
        }
        let error = StoreError::query("detected_alerts");
        let mut transaction = self.database.begin().await?;
        let conn = transaction.conn().map_err(&error)?;
        let mut changed = 0;
        for chunk in alerts.0.chunks(STATEMENT) {
            let events = handled(conn, chunk, patch).await?;
            changed += change(conn, chunk, patch).await?;
            change_parts(conn, chunk, patch).await?;
            log_all(conn, events).await?;
        }
        // Without a commit it is as it was.
        if changed != expected {
            return Ok(PatchedAll::Other(changed));
        }
        transaction.commit().await.map_err(error)?;
        self.commits.send_modify(|commits| *commits += 1);
        Ok(PatchedAll::Done(changed))
    }

    /// The notes of an alert, oldest first.
    pub async fn alert_notes(&self, id: &str) -> Result<Vec<Note>, StoreError> {
        let query = Query::new(
            "SELECT id, at_ns, author, note FROM alert_notes WHERE alert = \
             (SELECT number FROM detected_alerts WHERE id = $1 ORDER BY run_id DESC LIMIT 1) ORDER BY id",
        );
        self.read("alert_notes", query.bind(id), |row| {
            let at = Timestamp::from_nanos(from_sql(row.natural("at_ns")?));
            Ok(Note { id: row.int("id")?, at, by: row.text("author")?, note: row.text("note")? })
        })
        .await
    }

    /// The changes of an alert's status and verdict, oldest first.
    pub async fn alert_changes(&self, id: &str) -> Result<Vec<AlertChanged>, StoreError> {
        let query = Query::new(
            "SELECT at_ns, author, status_before, status, verdict_before, verdict FROM alert_changes WHERE alert = \
             (SELECT number FROM detected_alerts WHERE id = $1 ORDER BY run_id DESC LIMIT 1) ORDER BY id",
        );
        self.read("alert_changes", query.bind(id), |row| {
            Ok(AlertChanged {
                at: Timestamp::from_nanos(from_sql(row.natural("at_ns")?)),
                by: row.text("author")?,
                status: [row.text("status_before")?, row.text("status")?],
                verdict: [row.opt_text("verdict_before")?, row.opt_text("verdict")?],
            })
        })
        .await
    }
}

/// What is done about an alert of several gateways is done about its parts. The log says it once.
async fn change_parts(conn: &mut Conn, numbers: &[i64], patch: &AlertPatch) -> Result<(), StoreError> {
    let mut query =
        Query::new("SELECT number FROM detected_alerts WHERE joint IN (SELECT id FROM detected_alerts WHERE ");
    push_numbers(&mut query, "number", numbers);
    query.push(")");
    let rows = conn.fetch_all(query).await.map_err(StoreError::query("detected_alerts"))?;
    let parts = usable("detected_alerts", rows.iter().map(|row| Ok(row.int("number")?)));
    for chunk in parts.chunks(STATEMENT) {
        change(conn, chunk, patch).await?;
    }
    Ok(())
}

/// Changes status and verdict of alerts by number, and notes it in their history. What is so already is not changed, unless
/// somebody signs for it. Answers how many were.
async fn change(conn: &mut Conn, numbers: &[i64], patch: &AlertPatch) -> Result<u64, StoreError> {
    if patch.status.is_none() && patch.verdict.is_none() {
        return Ok(0);
    }
    let by = patch.by.as_deref().unwrap_or(NOBODY);
    let at_ns = to_sql(patch.at.as_nanos());
    let error = StoreError::query("alert_changes");
    let mut history = Query::new(
        "INSERT INTO alert_changes (alert, raised_ns, at_ns, author, status_before, status, verdict_before, verdict) \
         SELECT number, raised_ns, ",
    );
    history.push_bind(at_ns).push(", ").push_bind(by).push(", status, ");
    push_status(&mut history, patch);
    history.push(", verdict, ");
    push_verdict(&mut history, patch);
    history.push(" FROM detected_alerts WHERE ");
    push_which(&mut history, numbers, patch);
    conn.execute(history).await.map_err(&error)?;
    let mut update = Query::new("UPDATE detected_alerts SET status = ");
    push_status(&mut update, patch);
    update.push(", verdict = ");
    push_verdict(&mut update, patch);
    if patch.status.is_some() {
        update.push(", status_by = ").push_bind(by).push(", status_at_ns = ").push_bind(at_ns);
    }
    update.push(" WHERE ");
    push_which(&mut update, numbers, patch);
    let changed = conn.execute(update).await.map_err(StoreError::query("detected_alerts"))?;
    let mut oldest = Query::new("DELETE FROM alert_changes WHERE ");
    push_numbers(&mut oldest, "alert", numbers);
    oldest.push(
        " AND id <= (SELECT c.id FROM alert_changes c WHERE c.alert = alert_changes.alert ORDER BY c.alert DESC, c.id DESC \
         LIMIT 1 OFFSET ",
    );
    oldest.push_bind(MAX_CHANGES).push(")");
    conn.execute(oldest).await.map_err(&error)?;
    Ok(changed)
}

/// What the log says of a patch, run by run: an event for each alert that it changes, with who and what was before.
async fn handled(
    conn: &mut Conn,
    numbers: &[i64],
    patch: &AlertPatch,
) -> Result<BTreeMap<i64, Vec<Event>>, StoreError> {
    let error = StoreError::query("detected_alerts");
    let mut query = Query::new(
        "SELECT number, run_id, id, kind, severity, state, source, destination, raised_ns, body, status, verdict \
         FROM detected_alerts WHERE ",
    );
    if patch.note.is_some() {
        push_numbers(&mut query, "number", numbers);
    } else {
        push_which(&mut query, numbers, patch);
    }
    query.push(" ORDER BY number");
    let mut events: BTreeMap<i64, Vec<Event>> = BTreeMap::new();
    for row in conn.fetch_all(query).await.map_err(&error)? {
        // A row of which not even that can be read is changed, but nothing is said of it.
        let Ok((run, said)) = said(&row, patch) else { continue };
        events.entry(run).or_default().push(event_body::handled(to_sql(patch.at.as_nanos()), &said));
    }
    Ok(events)
}

fn said<'a>(row: &Row, patch: &'a AlertPatch) -> Result<(i64, Handled<'a>), Unreadable> {
    let (status, verdict) = (row.text("status")?, row.opt_text("verdict")?);
    let said = Handled {
        id: row.text("id")?,
        r#type: row.text("kind")?,
        severity: row.int("severity")?,
        state: row.text("state")?,
        source: row.opt_text("source")?,
        destination: row.opt_text("destination")?,
        summary: event_body::summary(&row.text("body")?),
        raised_at: event_body::written(row.natural("raised_ns")?),
        by: patch.by.as_deref().unwrap_or(NOBODY),
        status: patch.status.map_or_else(|| status.clone(), str::to_owned),
        status_before: status,
        verdict: patch.verdict.map_or_else(|| verdict.clone(), |verdict| verdict.map(str::to_owned)),
        verdict_before: verdict,
        note: patch.note.as_deref(),
    };
    Ok((row.int("run_id")?, said))
}

async fn log_all(conn: &mut Conn, events: BTreeMap<i64, Vec<Event>>) -> Result<(), StoreError> {
    for (run, events) in events {
        write::log(conn, run, &events).await?;
    }
    Ok(())
}

fn push_status(query: &mut Query, patch: &AlertPatch) {
    match patch.status {
        Some(status) => query.push_bind(status),
        None => query.push("status"),
    };
}

fn push_verdict(query: &mut Query, patch: &AlertPatch) {
    match patch.verdict {
        Some(Some(verdict)) => query.push_bind(verdict),
        Some(None) => query.push("NULL"),
        None => query.push("verdict"),
    };
}

fn push_which(query: &mut Query, numbers: &[i64], patch: &AlertPatch) {
    push_numbers(query, "number", numbers);
    if patch.by.is_some() && numbers.len() == 1 {
        return;
    }
    query.push(" AND (status <> ");
    push_status(query, patch);
    query.push(" OR coalesce(verdict, '') <> coalesce(");
    push_verdict(query, patch);
    query.push(", ''))");
}

fn push_numbers(query: &mut Query, column: &str, numbers: &[i64]) {
    query.push(column).push(" IN (");
    for (place, number) in numbers.iter().enumerate() {
        query.push(if place == 0 { "" } else { ", " }).push_bind(*number);
    }
    query.push(")");
}
