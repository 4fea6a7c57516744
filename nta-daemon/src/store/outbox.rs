//! The table `outbox`: what a sensor sends to a server. A batch is put into it by the transaction that commits the batch, so that what
//! is sent is what is stored, over every kill; it stays until the server says that it has it.
//!
//! Bounded in bytes. What the bound forces out is counted: of the oldest batches all but the alerts first, then these.

use serde::{Deserialize, Serialize};

use super::db::{Conn, Query};
use super::rows::BatchRows;
use super::shipment::{About, MOST_BATCHES, Shipment, pack, unpack};
use super::waiting::{Cut, thin};
use super::{Notice, Store, StoreError, from_sql, to_sql, totals};
use nta_core::domain::{Mode, Timestamp};

const TABLE: &str = "outbox";
const MAGIC: &[u8; 8] = b"ntaoutb1";
/// Row of `meta`: what the bound forced out.
const GIVEN_UP: &str = "outbox_given_up";
/// The bytes that wait; what can be no batch's is left out, as it may be no number or too large for a sum.
const SUM: &str = "CAST(coalesce(sum(CASE WHEN bytes BETWEEN 0 AND 1099511627776 THEN bytes ELSE 0 END), 0) AS BIGINT)";
/// Batches that one commit forces out at most.
const MOST_FORCED: i64 = 64;
/// Bytes on disk of what one message is made of.
const MESSAGE_BYTES: u64 = 1 << 20;

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outbox {
    /// Whether flows are.
    pub flows: bool,
    /// Whether heads of frames are.
    pub raw_packets: bool,
    /// Bytes on disk that may wait.
    pub max_bytes: u64,
}

/// What waits for the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutboxState {
    /// Batches that the server has not confirmed.
    pub pending: u64,
    /// Their bytes on disk.
    pub bytes: u64,
    /// When the oldest of them was made.
    pub since: Option<Timestamp>,
    /// Batches that the server refused for good.
    pub failed: u64,
    /// The oldest number that is there; one behind `newest` where none is.
    pub oldest: u64,
    /// The newest number that was given.
    pub newest: u64,
    /// Up to this number the server has all.
    pub acked: u64,
    /// What the bound forced out.
    pub given_up: GivenUp,
}

/// What the bound forced out, wholly or but for the alerts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenUp {
    /// Batches of which something is missing.
    pub batches: u64,
    /// Windows in them.
    pub windows: u64,
    /// Flows in them.
    pub flows: u64,
    /// Alerts in them.
    pub alerts: u64,
}

/// What a message is made of.
#[derive(Clone, Debug)]
pub struct Head {
    /// Whose batches they are.
    pub sensor: String,
    /// Identity of the log.
    pub epoch: String,
    /// When it is sent.
    pub sent: Timestamp,
    /// What the sensor says of itself.
    pub about: About,
}

/// Puts a batch of a live run into the outbox, within the transaction that stores it.
pub(super) async fn add(
    conn: &mut Conn,
    outbox: &Outbox,
    batch: &BatchRows,
    notices: &[Notice],
) -> Result<(), StoreError> {
    if batch.run.mode != Mode::Live.word() {
        return Ok(());
    }
    let sent = BatchRows {
        flows: if outbox.flows { batch.flows.clone() } else { Vec::new() },
        raw_packets: if outbox.raw_packets { batch.raw_packets.clone() } else { Vec::new() },
        baselines: None,
        readings: None,
        notices: notices.iter().chain(&batch.notices).cloned().collect(),
        ..batch.clone()
    };
    let body = pack(MAGIC, &sent)?;
    make_room(conn, outbox.max_bytes, body.len() as u64).await?;
    let number = totals::next(conn, totals::OUTBOX, 1).await?;
    let made_ns = batch.end_ns().unwrap_or(batch.run.started_ns);
    let insert = Query::new("INSERT INTO outbox (seq, made_ns, bytes, kept, body) VALUES ($1, $2, $3, 1, $4)");
    let insert = insert.bind(number).bind(made_ns).bind(to_sql(body.len() as u64)).bind(body);
    conn.execute(insert).await.map(drop).map_err(StoreError::query(TABLE))
}

/// Forces out what is too much for a batch of so many bytes.
async fn make_room(conn: &mut Conn, most: u64, further: u64) -> Result<(), StoreError> {
    let error = StoreError::query(TABLE);
    let sum = Query::new(format!("SELECT {SUM} FROM outbox"));
    let mut over = (from_sql(conn.number(sum).await.map_err(&error)?) + further).saturating_sub(most);
    if over == 0 {
        return Ok(());
    }
    let mut cut = Cut::default();
    for whole in [true, false] {
        // Those that are thin already, or that say nothing of it, go as they are.
        let which = if whole { "WHERE kept = 1" } else { "" };
        let oldest = Query::new(format!("SELECT seq, bytes, body FROM outbox {which} ORDER BY seq LIMIT $1"));
        let rows = conn.fetch_all(oldest.bind(MOST_FORCED)).await.map_err(&error)?;
        for row in rows {
            if over == 0 {
                break;
            }
            let (number, bytes) = (row.int("seq").map_err(&error)?, from_sql(row.int("bytes").unwrap_or_default()));
            let read = row.blob("body").ok().and_then(|body| unpack::<BatchRows>(MAGIC, &body).ok());
            let left = read.map(|mut rows| (thin(&mut rows), rows));
            cut.batches += 1;
            over = over.saturating_sub(bytes);
            match left {
                Some((left, gone)) if whole && !left.alerts.is_empty() => {
                    cut.count(&gone);
                    let body = pack(MAGIC, &left)?;
                    over += body.len() as u64;
                    let update = Query::new("UPDATE outbox SET kept = 0, bytes = $1, body = $2 WHERE seq = $3");
                    let update = update.bind(to_sql(body.len() as u64)).bind(body).bind(number);
                    conn.execute(update).await.map_err(&error)?;
                }
                left => {
                    left.iter().for_each(|(left, gone)| [left, gone].into_iter().for_each(|rows| cut.count(rows)));
                    let delete = Query::new("DELETE FROM outbox WHERE seq = $1").bind(number);
                    conn.execute(delete).await.map_err(&error)?;
                }
            }
        }
    }
    let mut given_up = given_up(conn).await?;
    given_up.batches += cut.batches;
    given_up.windows += cut.windows;
    given_up.flows += cut.flows;
    given_up.alerts += cut.alerts;
    set(conn, GIVEN_UP, &serde_json::json!(given_up).to_string()).await
}

async fn given_up(conn: &mut Conn) -> Result<GivenUp, StoreError> {
    let value = meta(conn, GIVEN_UP).await?;
    Ok(value.and_then(|value| serde_json::from_str(&value).ok()).unwrap_or_default())
}

async fn meta(conn: &mut Conn, name: &str) -> Result<Option<String>, StoreError> {
    let error = StoreError::query("meta");
    let row =
        conn.fetch_optional(Query::new("SELECT value FROM meta WHERE name = $1").bind(name)).await.map_err(&error)?;
    row.map(|row| row.text("value").map_err(error)).transpose()
}

async fn set(conn: &mut Conn, name: &str, value: &str) -> Result<(), StoreError> {
    let upsert =
        "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    conn.execute(Query::new(upsert).bind(name).bind(value)).await.map(drop).map_err(StoreError::query("meta"))
}

impl Store {
    /// Puts what is committed of live runs into the outbox as well.
    #[must_use]
    pub fn with_outbox(self, outbox: Outbox) -> Self {
        Self { outbox: Some(std::sync::Arc::new(std::sync::Mutex::new(outbox))), ..self }
    }

    /// What is put into the outbox; `None` where nothing is sent.
    pub(super) fn outbox(&self) -> Option<Outbox> {
        self.outbox.as_ref().map(|outbox| *outbox.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Has something else be sent from the next batch on.
    pub fn change_outbox(&self, change: impl FnOnce(&mut Outbox)) {
        if let Some(outbox) = &self.outbox {
            change(&mut outbox.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        }
    }

    /// What waits for the server.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn outbox_state(&self) -> Result<OutboxState, StoreError> {
        let error = StoreError::query(TABLE);
        // First: a batch that is committed meanwhile is then behind it, and never taken for one that is gone.
        let newest = self.total(totals::OUTBOX).await?;
        let of = format!(
            "SELECT count(*) AS batches, {SUM} AS bytes, min(made_ns) AS since, min(seq) AS oldest FROM outbox"
        );
        let all = self.database.fetch_all(Query::new(of)).await.map_err(&error)?;
        let failed = Query::new("SELECT count(*) AS batches FROM outbox WHERE refused IS NOT NULL");
        let failed =
            self.read(TABLE, failed, |row| Ok(row.int("batches")?)).await?.first().copied().map_or(0, from_sql);
        let kept = Query::new("SELECT value FROM meta WHERE name = $1").bind(GIVEN_UP);
        let kept = self.read("meta", kept, |row| Ok(row.text("value")?)).await?;
        let number = |column| all.first().and_then(|row| row.opt_int(column).ok().flatten()).map(from_sql);
        Ok(OutboxState {
            pending: number("batches").unwrap_or_default().saturating_sub(failed),
            bytes: number("bytes").unwrap_or_default(),
            since: number("since").map(Timestamp::from_nanos),
            failed,
            oldest: number("oldest").unwrap_or(newest + 1),
            newest,
            acked: self.total(totals::ACKED).await?,
            given_up: kept.first().and_then(|value| serde_json::from_str(value).ok()).unwrap_or_default(),
        })
    }

    /// The next message: batches from number `from` on, as many as fit. One without any says only how the sensor is.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn shipment(&self, from: u64, head: Head, state: &OutboxState) -> Result<Shipment, StoreError> {
        let mut batches = Vec::new();
        let (mut next, mut bytes) = (from, 0);
        while bytes < MESSAGE_BYTES && batches.len() < MOST_BATCHES {
            let query = Query::new(
                "SELECT seq, body FROM outbox WHERE seq >= $1 AND seq <= $2 AND refused IS NULL ORDER BY seq LIMIT 32",
            );
            let rows = self.read(TABLE, query.bind(to_sql(next)).bind(to_sql(state.newest)), |row| {
                Ok((from_sql(row.int("seq")?), row.blob("body")?))
            });
            let rows = rows.await?;
            let Some((last, _)) = rows.last() else { break };
            next = last + 1;
            for (number, body) in rows {
                if bytes >= MESSAGE_BYTES || batches.len() >= MOST_BATCHES {
                    break;
                }
                bytes += body.len() as u64;
                match unpack::<BatchRows>(MAGIC, &body) {
                    Ok(rows) => batches.push((number, rows)),
                    Err(reason) => self.refuse_batch(number, &format!("it cannot be read back: {reason}")).await?,
                }
            }
        }
        let Head { sensor, epoch, sent, about } = head;
        let (oldest, newest) = (state.oldest, state.newest);
        Ok(Shipment { sensor, epoch, sent_ns: sent.as_nanos(), oldest, newest, about, batches })
    }

    /// The server has all up to this number, and never needs it again.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn acknowledge_outbox(&self, watermark: u64) -> Result<(), StoreError> {
        let error = StoreError::query(TABLE);
        let mut transaction = self.database.begin().await?;
        let conn = transaction.conn().map_err(&error)?;
        totals::set(conn, totals::ACKED, to_sql(watermark)).await?;
        let delete = Query::new("DELETE FROM outbox WHERE seq <= $1 AND refused IS NULL").bind(to_sql(watermark));
        conn.execute(delete).await.map_err(&error)?;
        transaction.commit().await.map_err(error)
    }

    /// Keeps a batch aside that the server will never take.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn refuse_batch(&self, number: u64, reason: &str) -> Result<(), StoreError> {
        let error = StoreError::query(TABLE);
        let mut transaction = self.database.begin().await?;
        let update = Query::new("UPDATE outbox SET refused = $1 WHERE seq = $2").bind(reason).bind(to_sql(number));
        transaction.conn().map_err(&error)?.execute(update).await.map_err(&error)?;
        transaction.commit().await.map_err(error)?;
        tracing::error!(number, reason, "ship: a batch is set aside, it is never sent");
        Ok(())
    }

    /// Gives the log another identity: the server knows numbers of the one before that this database never gave.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn begin_epoch(&self) -> Result<String, StoreError> {
        let error = StoreError::query("meta");
        let epoch = rand::random::<[u8; 16]>().iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
        let mut transaction = self.database.begin().await?;
        let conn = transaction.conn().map_err(&error)?;
        set(conn, "log_epoch", &epoch).await?;
        totals::set(conn, totals::ACKED, 0).await?;
        transaction.commit().await.map_err(error)?;
        Ok(epoch)
    }
}
