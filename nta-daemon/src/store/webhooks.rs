//! The tables `webhooks` and `dead_letters`: how far each webhook is, and the events that it did not take.

use super::db::{Query, Row};
use super::unreadable::Unreadable;
use super::write::{Event, log};
use super::{Notice, Store, StoreError, StoredEvent, from_sql, to_sql, troubles};
use nta_core::domain::{Severity, Timestamp};

/// Dead letters kept of a webhook; of more the oldest go.
const MAX_DEAD: i64 = 1000;

/// How far a webhook is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebhookRow {
    /// The log that the cursor is of.
    pub epoch: String,
    /// The last event that it took, or that was none for it.
    pub cursor: u64,
    /// Events that it took.
    pub delivered: u64,
    /// Events that were given up.
    pub dead: u64,
    /// Events that were deleted before it came to them.
    pub missed: u64,
    /// When it took one last.
    pub last_ok: Option<Timestamp>,
    /// When it failed last, and why.
    pub last_error: Option<(Timestamp, String)>,
}

/// An event that a webhook did not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its number.
    pub id: u64,
    /// The webhook.
    pub webhook: String,
    /// The event.
    pub event: StoredEvent,
    /// When it was tried last.
    pub failed: Timestamp,
    /// How often.
    pub attempts: u32,
    /// Why it was not taken.
    pub error: String,
}

const LETTER: &str =
    "SELECT id, webhook, sensor, seq, time_ns, kind, body, severity, failed_ns, attempts, error FROM dead_letters ";

fn time(ns: i64) -> Timestamp {
    Timestamp::from_nanos(from_sql(ns))
}

fn ns(time: Timestamp) -> i64 {
    to_sql(time.as_nanos())
}

impl Store {
    /// What is known of a webhook of a sensor.
    pub async fn webhook(&self, sensor: &str, name: &str) -> Result<Option<WebhookRow>, StoreError> {
        let query = Query::new(
            "SELECT epoch, cursor, delivered, dead, missed, last_ok_ns, last_error_ns, last_error FROM webhooks \
             WHERE sensor = $1 AND name = $2",
        );
        let read = |row: &Row| {
            let error = row.opt_text("last_error")?;
            Ok(WebhookRow {
                epoch: row.text("epoch")?,
                cursor: from_sql(row.natural("cursor")?),
                delivered: from_sql(row.natural("delivered")?),
                dead: from_sql(row.natural("dead")?),
                missed: from_sql(row.natural("missed")?),
                last_ok: row.opt_natural("last_ok_ns")?.map(time),
                last_error: row.opt_natural("last_error_ns")?.map(time).zip(error),
            })
        };
        Ok(self.read("webhooks", query.bind(sensor).bind(name), read).await?.pop())
    }

    /// Keeps how far a webhook is.
    pub async fn set_webhook(&self, sensor: &str, name: &str, row: &WebhookRow) -> Result<(), StoreError> {
        let upsert = Query::new(
            "INSERT INTO webhooks (sensor, name, epoch, cursor, delivered, dead, missed, last_ok_ns, last_error_ns, last_error) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (sensor, name) DO UPDATE SET \
             epoch = excluded.epoch, cursor = excluded.cursor, delivered = excluded.delivered, dead = excluded.dead, \
             missed = excluded.missed, last_ok_ns = excluded.last_ok_ns, last_error_ns = excluded.last_error_ns, \
             last_error = excluded.last_error",
        );
        let upsert = upsert.bind(sensor).bind(name).bind(row.epoch.as_str()).bind(to_sql(row.cursor));
        let upsert = upsert.bind(to_sql(row.delivered)).bind(to_sql(row.dead)).bind(to_sql(row.missed));
        let (at, error) = row.last_error.clone().unzip();
        self.change("webhooks", upsert.bind(row.last_ok.map(ns)).bind(at.map(ns)).bind(error)).await
    }

    /// Keeps an event that a webhook did not take; of too many of it the oldest go.
    pub async fn add_dead_letter(&self, sensor: &str, letter: &DeadLetter) -> Result<(), StoreError> {
        let error = StoreError::query("dead_letters");
        let event = &letter.event;
        let mut transaction = self.database.begin().await?;
        let conn = transaction.conn().map_err(&error)?;
        let insert = Query::new(
            "INSERT INTO dead_letters (sensor, webhook, seq, time_ns, kind, body, severity, failed_ns, attempts, error) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        );
        let insert = insert.bind(sensor).bind(letter.webhook.as_str()).bind(to_sql(event.seq)).bind(ns(event.time));
        let insert = insert.bind(event.kind.as_str()).bind(event.body.as_str());
        let severity = event.severity.map(|severity| severity.word().to_owned());
        let insert = insert.bind(severity).bind(ns(letter.failed)).bind(i64::from(letter.attempts));
        conn.execute(insert.bind(letter.error.as_str())).await.map_err(&error)?;
        let old = Query::new(
            "DELETE FROM dead_letters WHERE id IN (SELECT id FROM dead_letters WHERE sensor = $1 AND webhook = $2 \
             ORDER BY id DESC LIMIT 1000 OFFSET $3)",
        );
        conn.execute(old.bind(sensor).bind(letter.webhook.as_str()).bind(MAX_DEAD)).await.map_err(&error)?;
        transaction.commit().await.map_err(error)
    }

    /// The dead letters of a sensor's webhooks, or of one of them, the newest first.
    pub async fn dead_letters(
        &self,
        sensor: &str,
        webhook: Option<&str>,
        limit: u32,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let mut query = Query::new(LETTER.to_owned() + "WHERE sensor = ");
        query.push_bind(sensor);
        if let Some(webhook) = webhook {
            query.push(" AND webhook = ").push_bind(webhook);
        }
        query.push(" ORDER BY id DESC LIMIT ").push_bind(i64::from(limit));
        self.read("dead_letters", query, letter).await
    }

    /// How many dead letters a webhook has.
    pub async fn count_dead_letters(&self, sensor: &str, webhook: &str) -> Result<u64, StoreError> {
        let count = Query::new("SELECT count(*) FROM dead_letters WHERE sensor = $1 AND webhook = $2");
        let count = self.read("dead_letters", count.bind(sensor).bind(webhook), |row| Ok(row.first()?)).await?;
        Ok(count.first().copied().map_or(0, from_sql))
    }

    /// The dead letter of this number.
    pub async fn dead_letter(&self, sensor: &str, id: u64) -> Result<Option<DeadLetter>, StoreError> {
        let query = Query::new(LETTER.to_owned() + "WHERE sensor = $1 AND id = $2").bind(sensor).bind(to_sql(id));
        Ok(self.read("dead_letters", query, letter).await?.pop())
    }

    /// Forgets a dead letter: its event was taken.
    pub async fn delete_dead_letter(&self, id: u64) -> Result<(), StoreError> {
        self.change("dead_letters", Query::new("DELETE FROM dead_letters WHERE id = $1").bind(to_sql(id))).await
    }

    /// Notes that a dead letter was not taken again.
    pub async fn failed_again(&self, id: u64, error: &str, at: Timestamp) -> Result<(), StoreError> {
        let update = "UPDATE dead_letters SET attempts = attempts + 1, error = $1, failed_ns = $2 WHERE id = $3";
        self.change("dead_letters", Query::new(update).bind(error).bind(ns(at)).bind(to_sql(id))).await
    }

    /// Appends to the event log what happened to the daemon beside its windows.
    pub async fn note(&self, run: &[u8; 16], notice: &Notice) -> Result<(), StoreError> {
        let error = StoreError::query("runs");
        let mut transaction = self.database.begin().await?;
        let conn = transaction.conn().map_err(&error)?;
        let known = Query::new("SELECT id, sensor FROM runs WHERE uuid = $1").bind(run.to_vec());
        let row = conn.fetch_optional(known).await.map_err(&error)?;
        let run = row.as_ref().and_then(|row| row.int("id").ok()).unwrap_or_default();
        log(conn, run, &[Event::from(notice)]).await?;
        if let Some(sensor) = row.as_ref().and_then(super::sensor::sensor) {
            troubles::note(conn, &sensor, std::slice::from_ref(notice)).await?;
        }
        transaction.commit().await.map_err(error)?;
        self.commits.send_modify(|commits| *commits += 1);
        Ok(())
    }

    async fn change(&self, table: &'static str, query: Query) -> Result<(), StoreError> {
        let error = StoreError::query(table);
        let mut transaction = self.database.begin().await?;
        transaction.conn().map_err(&error)?.execute(query).await.map_err(&error)?;
        transaction.commit().await.map_err(error)
    }
}

fn letter(row: &Row) -> Result<DeadLetter, Unreadable> {
    Ok(DeadLetter {
        id: from_sql(row.int("id")?),
        webhook: row.text("webhook")?,
        event: StoredEvent {
            seq: from_sql(row.natural("seq")?),
            time: time(row.natural("time_ns")?),
            kind: row.text("kind")?,
            run: 0,
            sensor: super::sensor::sensor(row),
            is_live: true,
            severity: row.opt_text("severity")?.and_then(|word| Severity::named(&word)),
            body: row.text("body")?,
        },
        failed: time(row.natural("failed_ns")?),
        attempts: u32::try_from(row.natural("attempts")?).unwrap_or(u32::MAX),
        error: row.text("error")?,
    })
}
