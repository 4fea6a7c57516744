//! The tables `shipped` and `sensor_settings`: what a server has of each sensor's numbered batches, and what sensors are to do.
//!
//! A batch is stored once, and its number is noted by the same transaction. The watermark is the number up to which nothing is missing:
//! what the sensor keeps until the watermark has passed it is never lost, whatever lies between them loses.

use serde::{Deserialize, Serialize};

use super::db::{Conn, Query};
use super::rows::BatchRows;
use super::shipment::{About, Shipment};
use super::unreadable::Unreadable;
use super::{Store, StoreError, from_sql, runs, to_sql, write};
use nta_core::domain::{Mode, Timestamp};

const TABLE: &str = "shipped";
/// Ranges of numbers that are kept of a log. A batch that would make more is not taken, and comes again in its turn.
const MOST_RANGES: usize = 512;
/// Logs that are known, those of sensors that got a new database among them.
const MOST_LOGS: u64 = 20_000;

/// Numbers from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NumberRange {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
}

/// What a server has of a sensor's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shipped {
    /// Whose log it is.
    pub sensor: String,
    /// Its identity.
    pub epoch: String,
    /// The first number that this server was told of: what came before it is not missed.
    pub first: u64,
    /// The numbers that are stored, or that nobody has any more.
    pub stored: Vec<NumberRange>,
    /// Batches that the sensor does not have any more and that were never stored.
    pub lost: u64,
    /// Batches that could not be stored for good.
    pub refused: u64,
    /// Batches that came again and added nothing.
    pub doubles: u64,
    /// Packets of the windows stored.
    pub packets: u64,
    /// End of the newest window.
    pub last: Option<Timestamp>,
    /// When it was heard of last, by the server's clock.
    pub received: Timestamp,
    /// What it said of itself.
    pub said: Said,
}

/// What a sensor said last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// The newest number that it gave.
    pub newest: u64,
    /// When it sent it, by its own clock, in nanoseconds since the Unix epoch.
    pub sent_ns: u64,
    /// What it says of itself.
    pub about: About,
}

impl Said {
    fn of(Shipment { newest, sent_ns, about, .. }: &Shipment) -> Self {
        Self { newest: *newest, sent_ns: *sent_ns, about: about.clone() }
    }
}

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

/// What a sensor is to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Their number, which rises; 0 while there are none.
    pub version: u64,
    /// JSON.
    pub text: String,
}

impl Shipped {
    /// All from the first number that this server was told of up to this one is stored.
    pub fn watermark(&self) -> u64 {
        self.stored.first().filter(|range| range.first <= self.first).map_or(self.first - 1, |range| range.last)
    }

    /// Numbers behind the watermark that are missing although later ones are there.
    pub fn missing(&self) -> Vec<NumberRange> {
        let mut next = self.first;
        let mut missing = Vec::new();
        for range in &self.stored {
            if range.first > next {
                missing.push(NumberRange { first: next, last: range.first - 1 });
            }
            next = next.max(range.last + 1);
        }
        missing
    }

    /// Whether everything is there that the sensor ever numbered.
    pub fn is_complete(&self) -> bool {
        let lost = self.lost + self.refused + self.said.about.given_up + self.said.about.failed;
        lost == 0 && self.watermark() >= self.said.newest
    }

    fn has(&self, number: u64) -> bool {
        self.stored.iter().any(|range| (range.first..=range.last).contains(&number))
    }

    /// Whether there is room for a number.
    fn takes(&self, number: u64) -> bool {
        let touches = |range: &NumberRange| range.first <= number + 1 && number <= range.last + 1;
        self.stored.len() < MOST_RANGES || self.stored.iter().any(touches)
    }

    fn add(&mut self, range: NumberRange) {
        self.stored.push(range);
        self.stored.sort_unstable_by_key(|range| range.first);
        let mut joined: Vec<NumberRange> = Vec::with_capacity(self.stored.len());
        for range in self.stored.drain(..) {
            match joined.last_mut().filter(|before| range.first <= before.last + 1) {
                Some(before) => before.last = before.last.max(range.last),
                None => joined.push(range),
            }
        }
        self.stored = joined;
    }

    /// What the sensor does not have any more can never come.
    fn give_up_before(&mut self, oldest: u64) {
        let last = self.stored.last().map_or(self.first, |range| range.last + 1);
        let mut gone = self.missing();
        gone.push(NumberRange { first: last, last: u64::MAX });
        for gap in gone.into_iter().filter(|gap| gap.first < oldest) {
            let gap = NumberRange { last: gap.last.min(oldest - 1), ..gap };
            self.lost += gap.last - gap.first + 1;
            self.add(gap);
        }
    }
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
        let mut shipped = known(conn, shipment).await?;
        let mut ingested = Ingested::default();
        shipped.give_up_before(shipment.oldest);
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
            end_runs_before(conn, batch).await?;
            if write::write(conn, batch, None, None).await? {
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
        shipped.said = Said::of(shipment);
        shipped.received = received;
        keep(conn, &shipped).await?;
        transaction.commit().await.map_err(error)?;
        if ingested.stored > 0 {
            self.commits.send_modify(|commits| *commits += 1);
        }
        (ingested.watermark, ingested.missing) = (shipped.watermark(), shipped.missing());
        Ok(ingested)
    }

    /// What this server has of every sensor's log, the one heard of last first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn shipped(&self, sensor: Option<&str>, limit: u32) -> Result<Vec<Shipped>, StoreError> {
        let query = Query::new(format!(
            "{SELECT} WHERE ($1 = '' OR sensor = $1) ORDER BY received_ns DESC, sensor, epoch LIMIT $2"
        ));
        self.read(TABLE, query.bind(sensor.unwrap_or_default()).bind(i64::from(limit)), row).await
    }

    /// What a sensor is to do.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn sensor_settings(&self, sensor: &str) -> Result<Settings, StoreError> {
        let query = Query::new("SELECT version, settings FROM sensor_settings WHERE sensor = $1").bind(sensor);
        let read =
            |row: &super::Row| Ok(Settings { version: from_sql(row.natural("version")?), text: row.text("settings")? });
        Ok(self.read("sensor_settings", query, read).await?.pop().unwrap_or_default())
    }

    /// Keeps what a sensor is to do from now on, under a new number.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn set_sensor_settings(&self, sensor: &str, text: &str) -> Result<u64, StoreError> {
        let error = StoreError::query("sensor_settings");
        let mut transaction = self.database.begin().await?;
        let upsert = Query::new(
            "INSERT INTO sensor_settings (sensor, version, settings) VALUES ($1, 1, $2) \
             ON CONFLICT (sensor) DO UPDATE SET version = sensor_settings.version + 1, settings = excluded.settings RETURNING version",
        );
        let version =
            transaction.conn().map_err(&error)?.number(upsert.bind(sensor).bind(text)).await.map_err(&error)?;
        transaction.commit().await.map_err(error)?;
        Ok(from_sql(version))
    }
}

const SELECT: &str =
    "SELECT sensor, epoch, first_seq, stored, lost, refused, doubles, packets, last_ns, received_ns, said FROM shipped";

fn row(row: &super::Row) -> Result<Shipped, Unreadable> {
    let json = |column: &'static str| move |error: serde_json::Error| Unreadable::new(format!("{column}: {error}"));
    let (stored, said) = (row.text("stored")?, row.text("said")?);
    let last = from_sql(row.natural("last_ns")?);
    Ok(Shipped {
        sensor: row.text("sensor")?,
        epoch: row.text("epoch")?,
        first: from_sql(row.natural("first_seq")?).max(1),
        stored: serde_json::from_str(&stored).map_err(json("stored"))?,
        lost: from_sql(row.natural("lost")?),
        refused: from_sql(row.natural("refused")?),
        doubles: from_sql(row.natural("doubles")?),
        packets: from_sql(row.natural("packets")?),
        last: (last > 0).then(|| Timestamp::from_nanos(last)),
        received: Timestamp::from_nanos(from_sql(row.natural("received_ns")?)),
        said: serde_json::from_str(&said).map_err(json("said"))?,
    })
}

/// What is there of the log of a message; locked, where others could write it at the same time.
async fn known(conn: &mut Conn, shipment: &Shipment) -> Result<Shipped, StoreError> {
    let error = StoreError::query(TABLE);
    let touch = Query::new("UPDATE shipped SET received_ns = received_ns WHERE sensor = $1 AND epoch = $2");
    conn.execute(touch.bind(shipment.sensor.as_str()).bind(shipment.epoch.as_str())).await.map_err(&error)?;
    let query = Query::new(format!("{SELECT} WHERE sensor = $1 AND epoch = $2"));
    let query = query.bind(shipment.sensor.as_str()).bind(shipment.epoch.as_str());
    if let Some(found) = conn.fetch_optional(query).await.map_err(&error)? {
        return row(&found).map_err(|unreadable| unreadable.of(TABLE, 0));
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

/// A sensor that begins a run has ended those before, with or without a word.
async fn end_runs_before(conn: &mut Conn, batch: &BatchRows) -> Result<(), StoreError> {
    let error = StoreError::query("runs");
    let open = Query::new(
        "SELECT id FROM runs WHERE sensor = $1 AND mode = 'live' AND ended_ns IS NULL AND started_ns < $2 AND uuid <> $3",
    );
    let open = open.bind(batch.run.sensor.as_str()).bind(batch.run.started_ns).bind(batch.run.uuid.clone());
    for row in conn.fetch_all(open).await.map_err(&error)? {
        runs::close(conn, row.int("id").map_err(&error)?, "interrupted", "interrupted").await?;
    }
    Ok(())
}
