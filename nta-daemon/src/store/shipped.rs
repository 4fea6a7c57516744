//! What a server has of a sensor's log: which numbers, and what the sensor said last.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::audit::{Audit, record};
use super::db::{Conn, Query};
use super::shipment::{About, MOST_NUMBER, Shipment};
use super::unreadable::Unreadable;
use super::{Store, StoreError, from_sql, joint_write, runs, to_sql};
use nta_core::domain::Timestamp;

/// Ranges of numbers that are kept of a log. A batch that would make more is not taken, and comes again in its turn.
const MOST_RANGES: usize = 512;
/// A sensor says something every ten seconds; after so long it is silent.
pub const SILENT_AFTER: Duration = Duration::from_secs(60);
/// Other logs of a sensor that are looked at when a run of it begins.
const MOST_OTHERS: i64 = 16;

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
    /// When this log was heard of first, by the server's clock, in nanoseconds since the Unix epoch.
    #[serde(default)]
    pub since_ns: u64,
    /// Identity of the run that its newest batch is of; empty before the first.
    #[serde(default)]
    pub run: Vec<u8>,
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

    /// Batches of which something is lost for good. What is missing here is what the sensor gave up or set aside, and what was
    /// refused here it sets aside; what it gave up but for the alerts is here.
    pub fn gone(&self) -> u64 {
        let About { given_up, failed, .. } = &self.said.about;
        self.lost.saturating_add(self.refused).max(given_up.saturating_add(*failed))
    }

    /// Whether everything is there that the sensor ever numbered.
    pub fn is_complete(&self) -> bool {
        self.gone() == 0 && self.watermark() >= self.said.newest
    }

    /// Whether the sensor has said nothing for a while.
    pub fn is_silent(&self, now: Timestamp) -> bool {
        u128::from(now.since(self.received)) > SILENT_AFTER.as_nanos()
    }

    /// Whether both were heard of after the other had begun: who got a new database never goes on with the one before.
    pub fn is_beside(&self, other: &Self) -> bool {
        let [one, two] = [self, other].map(|log| (log.said.since_ns, log.received.as_nanos()));
        self.sensor == other.sensor && self.epoch != other.epoch && one.1 > two.0 && two.1 > one.0
    }

    /// Takes up what the sensor says of itself.
    pub(super) fn hear(&mut self, shipment: &Shipment, received: Timestamp) {
        self.received = received;
        if shipment.newest < self.said.newest {
            // It was overtaken, and says what was.
            return;
        }
        let since_ns = if self.said.since_ns == 0 { received.as_nanos() } else { self.said.since_ns };
        let before = std::mem::take(&mut self.said.run);
        let run = shipment.batches.last().map_or(before, |(_, batch)| batch.run.uuid.clone());
        let Shipment { newest, sent_ns, about, .. } = shipment;
        // What this message brings does not wait there any more.
        let mut about = about.clone();
        about.pending_batches = about.pending_batches.saturating_sub(shipment.batches.len() as u64);
        if about.pending_batches == 0 {
            (about.pending_bytes, about.pending_since_ns) = (0, None);
        }
        self.said = Said { newest: *newest, sent_ns: *sent_ns, about, since_ns, run };
    }

    pub(super) fn has(&self, number: u64) -> bool {
        self.stored.iter().any(|range| (range.first..=range.last).contains(&number))
    }

    /// Whether there is room for a number.
    pub(super) fn takes(&self, number: u64) -> bool {
        let touches = |range: &NumberRange| range.first <= number + 1 && number <= range.last + 1;
        self.stored.len() < MOST_RANGES || self.stored.iter().any(touches)
    }

    pub(super) fn add(&mut self, range: NumberRange) {
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
    pub(super) fn give_up_before(&mut self, oldest: u64) {
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
    /// What this server has of every sensor's log, the one heard of last first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn shipped(&self, sensor: Option<&str>, limit: u32) -> Result<Vec<Shipped>, StoreError> {
        let query = Query::new(format!(
            "{SELECT} WHERE ($1 = '' OR sensor = $1) ORDER BY received_ns DESC, sensor, epoch LIMIT $2"
        ));
        self.read("shipped", query.bind(sensor.unwrap_or_default()).bind(i64::from(limit)), row).await
    }
}

impl Store {
    /// Forgets a sensor that ships no more: its logs, and what it was to do. Its runs that have no end have one, and with them its alerts that
    /// go on. What it has shipped stays for as long as it is kept. Noted in the audit log in the same transaction.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn forget_sensor(&self, sensor: &str, by: &Audit) -> Result<(), StoreError> {
        let error = StoreError::query("shipped");
        let mut transaction = self.database.begin().await?;
        let conn = transaction.conn().map_err(&error)?;
        let of_sensor = |sql: &str| Query::new(sql).bind(sensor);
        joint_write::lock(conn).await?;
        let open = of_sensor("SELECT id FROM runs WHERE sensor = $1 AND mode = 'live' AND ended_ns IS NULL");
        for run in conn.fetch_all(open).await.map_err(StoreError::query("runs"))? {
            runs::close(conn, run.first().map_err(&error)?, "interrupted", "interrupted").await?;
        }
        conn.execute(of_sensor("DELETE FROM shipped WHERE sensor = $1")).await.map_err(&error)?;
        conn.execute(of_sensor("DELETE FROM sensor_settings WHERE sensor = $1")).await.map_err(&error)?;
        record(conn, by).await?;
        transaction.commit().await.map_err(error)
    }
}

/// The runs that other gateways of this name are in: those whose log was heard of just now.
pub(super) async fn runs_of_others(
    conn: &mut Conn,
    shipment: &Shipment,
    now: Timestamp,
) -> Result<Vec<Vec<u8>>, StoreError> {
    let error = StoreError::query("shipped");
    let query = Query::new(format!(
        "{SELECT} WHERE sensor = $1 AND epoch <> $2 AND received_ns >= $3 ORDER BY received_ns DESC LIMIT $4"
    ));
    let lately = now.as_nanos().saturating_sub(SILENT_AFTER.as_nanos() as u64);
    let query = query.bind(shipment.sensor.as_str()).bind(shipment.epoch.as_str()).bind(to_sql(lately));
    let rows = conn.fetch_all(query.bind(MOST_OTHERS)).await.map_err(error)?;
    // What cannot be read is counted where it is listed.
    Ok(rows.iter().filter_map(|found| row(found).ok()).map(|other| other.said.run).collect())
}

pub(super) const SELECT: &str =
    "SELECT sensor, epoch, first_seq, stored, lost, refused, doubles, packets, last_ns, received_ns, said FROM shipped";

pub(super) fn row(row: &super::Row) -> Result<Shipped, Unreadable> {
    let json = |error: serde_json::Error| Unreadable::new(format!("said: {error}"));
    let (stored, said) = (row.text("stored")?, row.text("said")?);
    let last = from_sql(row.natural("last_ns")?);
    Ok(Shipped {
        sensor: row.text("sensor")?,
        epoch: row.text("epoch")?,
        first: from_sql(row.natural("first_seq")?).clamp(1, MOST_NUMBER),
        stored: ranges(&stored)?,
        lost: from_sql(row.natural("lost")?),
        refused: from_sql(row.natural("refused")?),
        doubles: from_sql(row.natural("doubles")?),
        packets: from_sql(row.natural("packets")?),
        last: (last > 0).then(|| Timestamp::from_nanos(last)),
        received: Timestamp::from_nanos(from_sql(row.natural("received_ns")?)),
        said: serde_json::from_str(&said).map_err(json)?,
    })
}

/// Ranges that rise and do not touch.
fn ranges(text: &str) -> Result<Vec<NumberRange>, Unreadable> {
    let wrong = |reason: &str| Unreadable::new(format!("stored: {reason}"));
    let ranges: Vec<NumberRange> = serde_json::from_str(text).map_err(|error| wrong(&error.to_string()))?;
    let mut least = 1;
    for range in &ranges {
        if range.first < least || range.last < range.first || range.last > MOST_NUMBER {
            return Err(wrong("these are no ranges that rise"));
        }
        least = range.last + 2;
    }
    Ok(ranges)
}
