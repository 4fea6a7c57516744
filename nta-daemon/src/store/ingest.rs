//! The table `shipped`: what a server has of each sensor's numbered batches.
//!
//! A batch is stored once, and its number is noted by the same transaction. The watermark is the number up to which nothing is missing:
//! what the sensor keeps until the watermark has passed it is never lost, whatever lies between them loses.

use std::collections::{BTreeMap, BTreeSet};

use super::db::{Conn, Dialect, Query};
use super::rows::BatchRows;
use super::shipment::Shipment;
use super::shipped::{SELECT, row, runs_of_others};
use super::together::Together;
use super::{NumberRange, Said, Shipped, Store, StoreError, from_sql, inside, joint_write, runs, to_sql, write};
use nta_core::domain::{Mode, Timestamp};

const TABLE: &str = "shipped";
/// Logs that are known, those of sensors that got a new database among them.
const MOST_LOGS: u64 = 20_000;

/// What became of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ingested {
    /// Batches that are stored now and were not before.
    pub stored: u64,
    /// Batches that were there already.
    pub doubles: u64,
    /// All up to this number is stored.
    pub watermark: u64,
    /// Numbers behind it that are missing although later ones are there.
    pub missing: Vec<NumberRange>,
    /// Batches that can never be stored, and why.
    pub refused: Vec<(u64, String)>,
}

/// A message, or a part of it, that is stored at once.
#[derive(Clone, Copy)]
struct Part<'a> {
    shipment: &'a Shipment,
    batches: &'a [(u64, BatchRows)],
    /// Batches of the message that can never be stored, and why.
    refused: &'a [(u64, String)],
}

impl<'a> Part<'a> {
    fn whole(shipment: &'a Shipment, refused: &'a [(u64, String)]) -> Self {
        Self { shipment, batches: &shipment.batches, refused }
    }

    fn key(&self) -> LogKey<'a> {
        (&self.shipment.sensor, &self.shipment.epoch)
    }
}

/// Sensor and epoch.
type LogKey<'a> = (&'a str, &'a str);

impl Store {
    /// Stores what a sensor sent, and answers how far it is. What is there already adds nothing.
    ///
    /// # Errors
    /// When the database does not take it: then none of it is stored, and it is to be sent again.
    pub async fn ingest(&self, shipment: &Shipment, received: Timestamp) -> Result<Ingested, StoreError> {
        let mut refused = refused(shipment);
        let stored = self.ingest_at_once(&[Part::whole(shipment, &refused)], received).await;
        match stored {
            Err(error) if error.is_permanent() && !shipment.batches.is_empty() => {}
            ingested => {
                let mut ingested = ingested?.pop().unwrap_or_default();
                ingested.refused.extend(refused);
                return Ok(ingested);
            }
        }
        // One of them can never be stored: it is found by storing each alone.
        let mut sum = Ingested::default();
        for batch in shipment.batches.chunks(1) {
            let one = Part { batches: batch, ..Part::whole(shipment, &refused) };
            let stored = self.ingest_at_once(&[one], received).await;
            match stored {
                Ok(ones) => {
                    for one in ones {
                        (sum.stored, sum.doubles) = (sum.stored + one.stored, sum.doubles + one.doubles);
                        refused.extend(one.refused);
                    }
                }
                Err(error) if error.is_permanent() => {
                    refused.extend(batch.iter().map(|(number, _)| (*number, error.chain())));
                }
                Err(error) => return Err(error),
            }
        }
        let none = Part { batches: &[], ..Part::whole(shipment, &refused) };
        let last = self.ingest_at_once(&[none], received).await?.pop().unwrap_or_default();
        Ok(Ingested { stored: sum.stored, doubles: sum.doubles, refused, ..last })
    }

    /// The same for several messages, in one transaction where all of them can be stored; a message that cannot takes no other along.
    ///
    /// # Errors
    /// When the database takes nothing: some of them may be stored, which adds nothing when they come again.
    pub async fn ingest_all(
        &self,
        shipments: &[Shipment],
        received: Timestamp,
    ) -> Result<Vec<Result<Ingested, StoreError>>, StoreError> {
        let refused: Vec<_> = shipments.iter().map(refused).collect();
        let parts: Vec<_> = shipments.iter().zip(&refused).map(|(one, refused)| Part::whole(one, refused)).collect();
        match self.ingest_at_once(&parts, received).await {
            Err(error) if !error.is_for_good() => return Err(error),
            // Which of them it is shows when each is stored alone.
            Err(_one_is_refused) => {}
            Ok(mut ingested) => {
                for (ingested, refused) in ingested.iter_mut().zip(refused) {
                    ingested.refused.extend(refused);
                }
                return Ok(ingested.into_iter().map(Ok).collect());
            }
        }
        let mut all = Vec::with_capacity(shipments.len());
        for shipment in shipments {
            match self.ingest(shipment, received).await {
                Err(error) if !error.is_for_good() => return Err(error),
                one => all.push(one),
            }
        }
        Ok(all)
    }

    async fn ingest_at_once(&self, parts: &[Part<'_>], received: Timestamp) -> Result<Vec<Ingested>, StoreError> {
        let error = StoreError::query(TABLE);
        self.make_parts().await;
        let mut transaction = self.database.begin().await?;
        let conn = transaction.conn().map_err(&error)?;
        let mut batches = parts.iter().flat_map(|part| part.batches);
        if batches.any(|(_, batch)| batch.number == 1 || write::may_join(batch)) {
            joint_write::lock(conn).await?;
        }
        let mut logs = known(conn, parts).await?;
        let mut together = Together::new(None, Some(&self.correlation));
        let mut all = Vec::with_capacity(parts.len());
        let mut networks = BTreeMap::new();
        for part in parts {
            let shipment = part.shipment;
            let shipped = logs.entry(part.key()).or_insert_with(|| unknown(shipment));
            let mut ingested = Ingested::default();
            shipped.give_up_before(shipment.oldest);
            for (number, _) in part.refused {
                if !shipped.has(*number) {
                    shipped.refused += 1;
                    shipped.add(NumberRange { first: *number, last: *number });
                }
            }
            // Of the run of the batch before.
            let mut of: Option<(&[u8], bool)> = None;
            for (number, batch) in part.batches {
                if part.refused.iter().any(|(wrong, _)| wrong == number) {
                    continue;
                }
                if shipped.has(*number) {
                    ingested.doubles += 1;
                    continue;
                }
                if !shipped.takes(*number) {
                    continue;
                }
                let is_own = match of {
                    Some((run, is_own)) if run == batch.run.uuid => is_own,
                    _ => is_own_run(conn, batch).await?,
                };
                if !is_own {
                    of = Some((&batch.run.uuid, false));
                    shipped.refused += 1;
                    shipped.add(NumberRange { first: *number, last: *number });
                    ingested.refused.push((*number, "its run is another sensor's".to_owned()));
                    continue;
                }
                if of.is_none_or(|(run, _)| run != batch.run.uuid) {
                    of = Some((&batch.run.uuid, true));
                    end_runs_before(conn, &mut together, batch, shipment, received).await?;
                }
                if together.write(conn, batch, None).await? {
                    ingested.stored += 1;
                    let packets = batch.windows.iter().filter(|window| window.factor == 1).map(|window| window.packets);
                    shipped.packets = shipped.packets.saturating_add(packets.map(from_sql).sum());
                } else {
                    ingested.doubles += 1;
                }
                shipped.last = shipped.last.max(batch.end_ns().map(|end| Timestamp::from_nanos(from_sql(end))));
                shipped.add(NumberRange { first: *number, last: *number });
            }
            shipped.doubles += ingested.doubles;
            shipped.hear(shipment, received);
            // One that was overtaken says what was.
            if let Some(said) = shipment.networks.as_deref().filter(|_| shipment.newest >= shipped.said.newest) {
                networks.insert(shipment.sensor.as_str(), said);
            }
            (ingested.watermark, ingested.missing) = (shipped.watermark(), shipped.missing());
            all.push(ingested);
        }
        together.flush(conn).await?;
        for shipped in logs.values() {
            keep(conn, shipped).await?;
        }
        networks.retain(|sensor, networks| !self.inside.has(sensor, networks));
        for (sensor, networks) in &networks {
            inside::keep(conn, sensor, networks).await?;
        }
        transaction.commit().await.map_err(error)?;
        networks.iter().for_each(|(sensor, networks)| self.inside.note(sensor, networks));
        self.counters.raised_elsewhere.add(together.raised());
        if all.iter().any(|ingested| ingested.stored > 0) {
            self.commits.send_modify(|commits| *commits += 1);
        }
        Ok(all)
    }
}

/// Batches of a message that hold what no window can have.
fn refused(shipment: &Shipment) -> Vec<(u64, String)> {
    let wrong = |(number, batch): &(u64, BatchRows)| Some((*number, shipment.check_batch(batch).err()?));
    shipment.batches.iter().filter_map(wrong).collect()
}

/// What is there of the logs of messages; locked, where others could write them at the same time, in one order for all.
async fn known<'a>(conn: &mut Conn, parts: &[Part<'a>]) -> Result<BTreeMap<LogKey<'a>, Shipped>, StoreError> {
    let error = StoreError::query(TABLE);
    let keys: BTreeSet<LogKey<'a>> = parts.iter().map(Part::key).collect();
    let mut logs = BTreeMap::new();
    let lock = if conn.dialect() == Dialect::Postgres { " FOR UPDATE" } else { "" };
    for key in &keys {
        let query = format!("{SELECT} WHERE sensor = $1 AND epoch = $2{lock}");
        let found = conn.fetch_optional(Query::new(query).bind(key.0).bind(key.1)).await.map_err(&error)?;
        match found.as_ref().map(row) {
            Some(Ok(known)) => drop(logs.insert(*key, known)),
            // What it stored is known by the runs: it comes as doubles.
            Some(Err(unreadable)) => tracing::warn!(
                sensor = key.0,
                error = unreadable.of(TABLE, 0).chain(),
                "ingest: what is known of a sensor's log cannot be read, it is learned anew"
            ),
            None => {}
        }
    }
    let new = (keys.len() - logs.len()) as u64;
    if new > 0
        && from_sql(conn.number(Query::new("SELECT count(*) FROM shipped")).await.map_err(&error)?) + new > MOST_LOGS
    {
        return Err(StoreError::TooMuch { table: TABLE, most: MOST_LOGS });
    }
    Ok(logs)
}

/// A log that is heard of for the first time.
fn unknown(shipment: &Shipment) -> Shipped {
    Shipped {
        sensor: shipment.sensor.clone(),
        epoch: shipment.epoch.clone(),
        // What the sensor had before it knew of this server is not missed.
        first: shipment.oldest,
        stored: Vec::new(),
        lost: 0,
        refused: 0,
        doubles: 0,
        packets: 0,
        last: None,
        received: Timestamp::default(),
        said: Said::default(),
    }
}

async fn keep(conn: &mut Conn, shipped: &Shipped) -> Result<(), StoreError> {
    let upsert = Query::new(
        "INSERT INTO shipped (sensor, epoch, first_seq, stored, lost, refused, doubles, packets, last_ns, received_ns, said) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (sensor, epoch) DO UPDATE SET \
         stored = excluded.stored, lost = excluded.lost, refused = excluded.refused, doubles = excluded.doubles, \
         packets = excluded.packets, last_ns = excluded.last_ns, received_ns = excluded.received_ns, said = excluded.said",
    );
    let number = |value: u64| to_sql(value);
    let upsert = upsert
        .bind(shipped.sensor.as_str())
        .bind(shipped.epoch.as_str())
        .bind(number(shipped.first))
        .bind(serde_json::json!(shipped.stored).to_string())
        .bind(number(shipped.lost))
        .bind(number(shipped.refused))
        .bind(number(shipped.doubles))
        .bind(number(shipped.packets))
        .bind(number(shipped.last.map_or(0, Timestamp::as_nanos)))
        .bind(number(shipped.received.as_nanos()))
        .bind(serde_json::json!(shipped.said).to_string());
    conn.execute(upsert).await.map(drop).map_err(StoreError::query(TABLE))
}

/// Whether the run of a batch is its sensor's: an identity is never taken over.
async fn is_own_run(conn: &mut Conn, batch: &BatchRows) -> Result<bool, StoreError> {
    let error = StoreError::query("runs");
    let query = Query::new("SELECT sensor, mode FROM runs WHERE uuid = $1").bind(batch.run.uuid.clone());
    let Some(row) = conn.fetch_optional(query).await.map_err(&error)? else { return Ok(true) };
    Ok(row.text("sensor").map_err(&error)? == batch.run.sensor && row.text("mode").map_err(error)? == Mode::Live.word())
}

/// A sensor that begins a run has ended those before, with or without a word; not those that another gateway of its name is in.
async fn end_runs_before<'a>(
    conn: &mut Conn,
    together: &mut Together<'a>,
    batch: &'a BatchRows,
    shipment: &Shipment,
    received: Timestamp,
) -> Result<(), StoreError> {
    let error = StoreError::query("runs");
    let open = Query::new(
        "SELECT id, uuid FROM runs WHERE sensor = $1 AND mode = 'live' AND ended_ns IS NULL AND started_ns < $2 AND uuid <> $3",
    );
    let open = open.bind(batch.run.sensor.as_str()).bind(batch.run.started_ns).bind(batch.run.uuid.clone());
    let open = conn.fetch_all(open).await.map_err(&error)?;
    if open.is_empty() {
        return Ok(());
    }
    // They end where what came of them ends.
    together.flush(conn).await?;
    let spared = runs_of_others(conn, shipment, received).await?;
    for row in open {
        if spared.contains(&row.blob("uuid").map_err(&error)?) {
            continue;
        }
        runs::close(conn, row.int("id").map_err(&error)?, "interrupted", "interrupted").await?;
    }
    Ok(())
}
