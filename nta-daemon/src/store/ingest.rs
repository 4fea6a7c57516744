//! The table `shipped`: what a server has of each sensor's numbered batches.
//!
//! A batch is stored once, and its number is noted by the same transaction. The watermark is the number up to which nothing is missing:
//! what the sensor keeps until the watermark has passed it is never lost, whatever lies between them loses.

use super::db::{Conn, Query};
use super::rows::BatchRows;
use super::shipment::Shipment;
use super::shipped::{SELECT, row, runs_of_others};
use super::{NumberRange, Said, Shipped, Store, StoreError, from_sql, joint_write, runs, to_sql, write};
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

impl Store {
    /// Stores what a sensor sent, and answers how far it is. What is there already adds nothing.
    ///
    /// # Errors
    /// When the database does not take it: then none of it is stored, and it is to be sent again.
    pub async fn ingest(&self, shipment: &Shipment, received: Timestamp) -> Result<Ingested, StoreError> {
        let wrong = |(number, batch): &(u64, BatchRows)| Some((*number, shipment.check_batch(batch).err()?));
        let mut refused: Vec<(u64, String)> = shipment.batches.iter().filter_map(wrong).collect();
        let mut sound = shipment.clone();
        sound.batches.retain(|(number, _)| !refused.iter().any(|(wrong, _)| wrong == number));
        match self.ingest_at_once(&sound, &refused, received).await {
            Err(error) if error.is_permanent() && !sound.batches.is_empty() => {}
            ingested => {
                return ingested.map(|mut ingested| {
                    ingested.refused.extend(refused);
                    ingested
                });
            }
        }
        // One of them can never be stored: it is found by storing each alone.
        let mut sum = Ingested::default();
        for batch in &sound.batches {
            let one = Shipment { batches: vec![batch.clone()], ..sound.clone() };
            match self.ingest_at_once(&one, &refused, received).await {
                Ok(one) => {
                    (sum.stored, sum.doubles) = (sum.stored + one.stored, sum.doubles + one.doubles);
                    refused.extend(one.refused);
                }
                Err(error) if error.is_permanent() => refused.push((batch.0, error.chain())),
                Err(error) => return Err(error),
            }
        }
        let none = Shipment { batches: Vec::new(), ..sound };
        let last = self.ingest_at_once(&none, &refused, received).await?;
        Ok(Ingested { stored: sum.stored, doubles: sum.doubles, refused, ..last })
    }

    async fn ingest_at_once(
        &self,
        shipment: &Shipment,
        refused: &[(u64, String)],
        received: Timestamp,
    ) -> Result<Ingested, StoreError> {
        let error = StoreError::query(TABLE);
        let mut transaction = self.database.begin().await?;
        let conn = transaction.conn().map_err(&error)?;
        if shipment.batches.iter().any(|(_, batch)| batch.number == 1 || write::may_join(batch)) {
            joint_write::lock(conn).await?;
        }
        let mut shipped = known(conn, shipment).await?;
        let mut ingested = Ingested::default();
        shipped.give_up_before(shipment.oldest);
        let spared = runs_of_others(conn, shipment, received).await?;
        for (number, _) in refused {
            if !shipped.has(*number) {
                shipped.refused += 1;
                shipped.add(NumberRange { first: *number, last: *number });
            }
        }
        for (number, batch) in &shipment.batches {
            if shipped.has(*number) {
                ingested.doubles += 1;
                continue;
            }
            if !shipped.takes(*number) {
                continue;
            }
            if !is_own_run(conn, batch).await? {
                shipped.refused += 1;
                shipped.add(NumberRange { first: *number, last: *number });
                ingested.refused.push((*number, "its run is another sensor's".to_owned()));
                continue;
            }
            end_runs_before(conn, batch, &spared).await?;
            if write::write(conn, batch, None, None, Some(&self.correlation)).await? {
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
        keep(conn, &shipped).await?;
        transaction.commit().await.map_err(error)?;
        if ingested.stored > 0 {
            self.commits.send_modify(|commits| *commits += 1);
        }
        (ingested.watermark, ingested.missing) = (shipped.watermark(), shipped.missing());
        Ok(ingested)
    }
}

/// What is there of the log of a message; locked, where others could write it at the same time.
async fn known(conn: &mut Conn, shipment: &Shipment) -> Result<Shipped, StoreError> {
    let error = StoreError::query(TABLE);
    let touch = Query::new("UPDATE shipped SET received_ns = received_ns WHERE sensor = $1 AND epoch = $2");
    conn.execute(touch.bind(shipment.sensor.as_str()).bind(shipment.epoch.as_str())).await.map_err(&error)?;
    let query = Query::new(format!("{SELECT} WHERE sensor = $1 AND epoch = $2"));
    let query = query.bind(shipment.sensor.as_str()).bind(shipment.epoch.as_str());
    if let Some(found) = conn.fetch_optional(query).await.map_err(&error)? {
        match row(&found) {
            Ok(known) => return Ok(known),
            // What it stored is known by the runs: it comes as doubles.
            Err(unreadable) => tracing::warn!(
                sensor = shipment.sensor,
                error = unreadable.of(TABLE, 0).chain(),
                "ingest: what is known of a sensor's log cannot be read, it is learned anew"
            ),
        }
    }
    if from_sql(conn.number(Query::new("SELECT count(*) FROM shipped")).await.map_err(&error)?) >= MOST_LOGS {
        return Err(StoreError::TooMuch { table: TABLE, most: MOST_LOGS });
    }
    Ok(Shipped {
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
    })
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
async fn end_runs_before(conn: &mut Conn, batch: &BatchRows, spared: &[Vec<u8>]) -> Result<(), StoreError> {
    let error = StoreError::query("runs");
    let open = Query::new(
        "SELECT id, uuid FROM runs WHERE sensor = $1 AND mode = 'live' AND ended_ns IS NULL AND started_ns < $2 AND uuid <> $3",
    );
    let open = open.bind(batch.run.sensor.as_str()).bind(batch.run.started_ns).bind(batch.run.uuid.clone());
    for row in conn.fetch_all(open).await.map_err(&error)? {
        if spared.contains(&row.blob("uuid").map_err(&error)?) {
            continue;
        }
        runs::close(conn, row.int("id").map_err(&error)?, "interrupted", "interrupted").await?;
    }
    Ok(())
}
