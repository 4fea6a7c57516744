//! The table `outbox`: what a sensor sends to a server. A batch is put into it by the transaction that commits the batch, so that what
//! is sent is what is stored, over every kill; it stays until the server says that it has it.
//!
//! Bounded in bytes. What the bound forces out is counted: of the oldest batches all but the alerts first, then these.

use serde::{Deserialize, Serialize};

use super::db::{Conn, Query};
use super::rows::BatchRows;
use super::shipment::{About, MOST_BATCH_BYTES, MOST_BATCHES, Shipment, from_plain, open, seal, to_plain};
use super::waiting::{Cut, thin};
use super::{Notice, Store, StoreError, from_sql, meta, to_sql, totals};
use nta_core::domain::{Mode, Timestamp};

const TABLE: &str = "outbox";
const MAGIC: &[u8; 8] = b"ntaoutb2";
/// Row of `meta`: what the bound forced out.
const GIVEN_UP: &str = "outbox_given_up";
/// The bytes that wait; what can be no batch's is left out, as it may be no number or too large for a sum.
const SUM: &str = "CAST(coalesce(sum(CASE WHEN bytes BETWEEN 0 AND 1099511627776 THEN bytes ELSE 0 END), 0) AS BIGINT)";
/// Batches that one commit forces out at most.
const MOST_FORCED: i64 = 64;
/// Bytes of a batch on disk, and over the wire. With [`MOST_BATCH_BYTES`] it says what a server takes that is configured as usual.
const MOST_PACKED_BYTES: u64 = 24 << 20;

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
    /// The oldest number that can be sent; one behind `newest` where none is.
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
        run: batch.run.clone(),
        number: batch.number,
        windows: batch.windows.clone(),
        flows: if outbox.flows { batch.flows.clone() } else { Vec::new() },
        raw_packets: if outbox.raw_packets { batch.raw_packets.clone() } else { Vec::new() },
        alerts: batch.alerts.clone(),
        anomalies: batch.anomalies.clone(),
        features: batch.features.clone(),
        baselines: None,
        readings: None,
        notices: notices.iter().chain(&batch.notices).cloned().collect(),
        standing: batch.standing.clone(),
        end: batch.end.clone(),
    };
    let (body, cut) = fitted(sent)?;
    if cut.batches > 0 {
        tracing::warn!(?cut, "ship: a batch is larger than a server takes; it goes without these");
        count(conn, &cut).await?;
    }
    make_room(conn, outbox.max_bytes, body.len() as u64).await?;
    let number = totals::next(conn, totals::OUTBOX, 1).await?;
    let made_ns = match batch.end_ns() {
        Some(end_ns) => end_ns,
        // The end of a run is as old as its last window.
        None => {
            let last = Query::new("SELECT coalesce(max(last_ns), $2) FROM runs WHERE uuid = $1");
            let last = last.bind(batch.run.uuid.clone()).bind(batch.run.started_ns);
            conn.number(last).await.map_err(StoreError::query("runs"))?.max(batch.run.started_ns)
        }
    };
    let insert = Query::new("INSERT INTO outbox (seq, made_ns, bytes, kept, body) VALUES ($1, $2, $3, 1, $4)");
    let insert = insert.bind(number).bind(made_ns).bind(to_sql(body.len() as u64)).bind(body);
    conn.execute(insert).await.map(drop).map_err(StoreError::query(TABLE))
}

/// A batch as it waits, and what it leaves behind where it is larger than a server takes: its flows, then all but its alerts, then
/// these.
fn fitted(mut sent: BatchRows) -> Result<(Vec<u8>, Cut), StoreError> {
    let mut cut = Cut::default();
    loop {
        if let Some(body) = packed(&sent)? {
            return Ok((body, cut));
        }
        cut.batches = 1;
        if !sent.flows.is_empty() || !sent.raw_packets.is_empty() {
            cut.flows = std::mem::take(&mut sent.flows).len() as u64;
            sent.raw_packets.clear();
        } else if !sent.windows.is_empty() {
            let left = thin(&mut sent);
            cut.count(&std::mem::replace(&mut sent, left));
        } else {
            cut.count(&sent);
            sent = BatchRows { run: sent.run, number: sent.number, end: sent.end, ..BatchRows::default() };
        }
    }
}

/// A batch as it waits; `None` where it is larger than a server takes.
fn packed(sent: &BatchRows) -> Result<Option<Vec<u8>>, StoreError> {
    let plain = to_plain(sent)?;
    if plain.len() as u64 > MOST_BATCH_BYTES {
        return Ok(None);
    }
    Ok(Some(seal(MAGIC, &plain)?).filter(|body| body.len() as u64 <= MOST_PACKED_BYTES))
}

fn unpacked(body: &[u8]) -> Result<BatchRows, String> {
    from_plain(&open(MAGIC, body)?)
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
        let oldest = Query::new(format!("SELECT seq, bytes, kept, body FROM outbox {which} ORDER BY seq LIMIT $1"));
        let rows = conn.fetch_all(oldest.bind(MOST_FORCED)).await.map_err(&error)?;
        for row in rows {
            if over == 0 {
                break;
            }
            let (number, bytes) = (row.int("seq").map_err(&error)?, from_sql(row.int("bytes").unwrap_or_default()));
            let read = row.blob("body").ok().and_then(|body| unpacked(&body).ok());
            let left = read.map(|mut rows| (thin(&mut rows), rows));
            // One that is thin already was counted when it became so.
            cut.batches += u64::from(row.int("kept").is_ok_and(|kept| kept == 1));
            over = over.saturating_sub(bytes);
            match left {
                Some((left, gone)) if whole && !left.alerts.is_empty() => {
                    cut.count(&gone);
                    let body = seal(MAGIC, &to_plain(&left)?)?;
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
    count(conn, &cut).await
}

/// Counts what is not sent, or not whole.
async fn count(conn: &mut Conn, cut: &Cut) -> Result<(), StoreError> {
    let value = meta::get(conn, GIVEN_UP).await?;
    let mut given_up: GivenUp = value.and_then(|value| serde_json::from_str(&value).ok()).unwrap_or_default();
    given_up.batches += cut.batches;
    given_up.windows += cut.windows;
    given_up.flows += cut.flows;
    given_up.alerts += cut.alerts;
    meta::set(conn, GIVEN_UP, &serde_json::json!(given_up).to_string()).await
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
        // What is kept aside does not wait; of the room it has its part.
        let of = format!(
            "SELECT count(*) AS batches, {SUM} AS bytes, min(CASE WHEN refused IS NULL THEN made_ns END) AS since, \
             min(CASE WHEN refused IS NULL THEN seq END) AS oldest FROM outbox"
        );
        let all = self.database.fetch_all(Query::new(of)).await.map_err(&error)?;
        let failed = Query::new("SELECT count(*) AS batches FROM outbox WHERE refused IS NOT NULL");
        let failed =
            self.read(TABLE, failed, |row| Ok(row.int("batches")?)).await?.first().copied().map_or(0, from_sql);
        let given_up = self.meta(GIVEN_UP).await?;
        let number = |column| all.first().and_then(|row| row.opt_int(column).ok().flatten()).map(from_sql);
        Ok(OutboxState {
            pending: number("batches").unwrap_or_default().saturating_sub(failed),
            bytes: number("bytes").unwrap_or_default(),
            since: number("since").map(Timestamp::from_nanos),
            failed,
            oldest: number("oldest").unwrap_or(newest + 1),
            newest,
            acked: self.total(totals::ACKED).await?,
            given_up: given_up.and_then(|value| serde_json::from_str(&value).ok()).unwrap_or_default(),
        })
    }

    /// The next message: batches from number `from` on, as many as fit into `most` bytes before they are compressed, and one if none
    /// does. One without any says only how the sensor is.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn shipment(
        &self,
        from: u64,
        most: u64,
        head: Head,
        state: &OutboxState,
    ) -> Result<Shipment, StoreError> {
        let mut batches = Vec::new();
        let (mut next, mut bytes) = (from, 0);
        'full: while batches.len() < MOST_BATCHES {
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
                let plain = open(MAGIC, &body);
                bytes += plain.as_ref().map_or(0, Vec::len) as u64;
                if batches.len() >= MOST_BATCHES || (bytes > most && !batches.is_empty()) {
                    break 'full;
                }
                match plain.and_then(|plain| from_plain(&plain)) {
                    Ok(rows) => batches.push((number, rows)),
                    Err(reason) => self.refuse_batch(number, &format!("it cannot be read back: {reason}")).await?,
                }
            }
        }
        let Head { sensor, epoch, sent, about } = head;
        let (oldest, newest) = (state.oldest, state.newest);
        let networks = self.local_networks();
        Ok(Shipment { sensor, epoch, sent_ns: sent.as_nanos(), oldest, newest, about, batches, networks })
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
        meta::set(conn, "log_epoch", &epoch).await?;
        totals::set(conn, totals::ACKED, 0).await?;
        transaction.commit().await.map_err(error)?;
        Ok(epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::rows;
    use super::*;

    #[test]
    fn a_batch_that_is_larger_than_a_server_takes_goes_without_what_makes_it_so() {
        let whole = |batch: BatchRows| fitted(batch).expect("fitted");
        let (body, cut) = whole(rows(1, 100));
        assert_eq!((unpacked(&body), cut), (Ok(rows(1, 100)), Cut::default()));
        // Zeros are small over the wire and large once they are there.
        let (body, cut) = whole(rows(1, 64 << 20));
        assert_eq!(unpacked(&body), Ok(BatchRows { raw_packets: Vec::new(), ..rows(1, 0) }));
        assert_eq!((cut.batches, cut.alerts), (1, 0), "its alerts are in it");
        let mut alerts = rows(1, 0);
        alerts.alerts[0].body = "a".repeat(64 << 20);
        let (body, cut) = whole(alerts);
        assert_eq!(unpacked(&body).map(|left| (left.number, left.alerts.len())), Ok((1, 0)));
        assert_eq!((cut.batches, cut.alerts), (1, 1));
    }
}
