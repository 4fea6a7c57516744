//! What a server has of a sensor's log: which numbers, and what the sensor said last.

use serde::{Deserialize, Serialize};

use super::from_sql;
use super::shipment::{About, MOST_NUMBER, Shipment};
use super::unreadable::Unreadable;
use nta_core::domain::Timestamp;

/// Ranges of numbers that are kept of a log. A batch that would make more is not taken, and comes again in its turn.
const MOST_RANGES: usize = 512;

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
    pub(super) fn of(Shipment { newest, sent_ns, about, .. }: &Shipment) -> Self {
        Self { newest: *newest, sent_ns: *sent_ns, about: about.clone() }
    }
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
