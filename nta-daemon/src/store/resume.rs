//! What the next start goes on from when this one is killed, see [`Readings`]: committed with each window.

use serde::{Deserialize, Serialize};

use super::db::{Conn, Query};
use super::flows::{FLOWS, flow};
use super::spool::Spool;
use super::unreadable::usable;
use super::{Store, StoreError, meta};
use nta_common::{Counter, LedgerSlot};
use nta_core::domain::{FlowRecord, Readings, Resume};

/// Of run `$1`: what no end was seen of. A start that was killed early may have ended the run, and its flows with it.
const WENT_ON: &str = "run_id = $1 AND grouped IS NULL AND (state = 0 OR (state IN (3, 4) AND EXISTS (SELECT 1 FROM runs r WHERE r.id = $1 \
                       AND r.end_reason = 'interrupted')))";

/// The row of a sensor in `meta`.
#[derive(Serialize, Deserialize)]
struct Stored {
    run: i64,
    readings: ReadingsRow,
}

/// What a batch carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ReadingsRow {
    maps: String,
    time_ns: u64,
    clock_offset_ns: u64,
    /// Of each slot: bytes of overflows, bytes, packets by counter.
    ledger: Vec<Vec<u64>>,
}

impl From<&Readings> for ReadingsRow {
    fn from(readings: &Readings) -> Self {
        let Readings { maps, time_ns, clock_offset_ns, ledger } = readings;
        let row = |slot: &LedgerSlot| [&[slot.overflow_bytes, slot.seen_bytes], &slot.packets[..]].concat();
        Self {
            maps: maps.clone(),
            time_ns: *time_ns,
            clock_offset_ns: *clock_offset_ns,
            ledger: ledger.iter().map(row).collect(),
        }
    }
}

impl ReadingsRow {
    /// Puts it in place of the sensor's last one.
    pub(super) async fn write(&self, conn: &mut Conn, sensor: &str, run: i64) -> Result<(), StoreError> {
        let text = serde_json::to_string(&Stored { run, readings: self.clone() }).map_err(|error| corrupt(&error))?;
        meta::set(conn, &name(sensor), &text).await
    }
}

impl Store {
    /// What a start of this sensor goes on from. Nothing without an earlier run; nor while batches of it wait in the spool, as
    /// what it reported is not known before they are written; nor where it cannot be read, which is said.
    pub async fn resume(&self, sensor: &str) -> Option<Resume> {
        if self.waits_in_spool() {
            tracing::warn!("the run before left batches that are not in the database yet: pinned maps begin anew");
            return None;
        }
        self.read_resume(sensor).await.unwrap_or_else(|error| {
            tracing::warn!(error = error.chain(), "what the run before stored cannot be gone on from");
            None
        })
    }

    /// Whether batches of a run before are not in the database yet.
    pub(super) fn waits_in_spool(&self) -> bool {
        let spool = self.spool.as_ref().and_then(|(folder, most)| Spool::open(folder, *most).ok());
        spool.is_some_and(|spool| spool.len() > 0)
    }

    /// What run `from` left when it was killed goes on in the run of this identity: its flows, and its readings, as this one may
    /// be killed as well before it has any of its own.
    pub async fn take_over_flows(&self, from: i64, uuid: &[u8; 16]) -> Result<(), StoreError> {
        let error = StoreError::query("flows");
        let mut transaction = self.database.begin().await?;
        let conn = transaction.conn().map_err(&error)?;
        let to = Query::new("SELECT id, sensor FROM runs WHERE uuid = $1").bind(uuid.to_vec());
        let to = conn.fetch_optional(to).await.map_err(StoreError::query("runs"))?;
        let to = usable("runs", to.iter().map(|to| Ok((to.int("id")?, to.text("sensor")?)))).pop();
        let Some((run, sensor)) = to else { return Ok(()) };
        let flows = Query::new(format!("UPDATE flows SET run_id = $2, state = 0 WHERE {WENT_ON}"));
        conn.execute(flows.bind(from).bind(run)).await.map_err(&error)?;
        let stored = meta::get(conn, &name(&sensor)).await?;
        let read = |stored: &String| Ok(serde_json::from_str(stored).map_err(|error| corrupt(&error))?);
        let stored: Vec<Stored> = usable("meta", stored.iter().map(read));
        if let Some(stored) = stored.first().filter(|stored| stored.run == from) {
            stored.readings.write(conn, &sensor, run).await?;
        }
        transaction.commit().await.map_err(error)
    }

    /// The run of this identity reads its maps from here on, and has reported nothing of them yet.
    pub async fn begin_readings(&self, uuid: &[u8; 16], readings: &Readings) -> Result<(), StoreError> {
        let error = StoreError::query("runs");
        let mut transaction = self.database.begin().await?;
        let conn = transaction.conn().map_err(&error)?;
        let run = Query::new("SELECT id, sensor FROM runs WHERE uuid = $1").bind(uuid.to_vec());
        let Some(run) = conn.fetch_optional(run).await.map_err(&error)? else { return Ok(()) };
        let (run, sensor) = (run.int("id").map_err(&error)?, run.text("sensor").map_err(&error)?);
        ReadingsRow::from(readings).write(conn, &sensor, run).await?;
        transaction.commit().await.map_err(error)
    }

    /// The flows of a run that go on, or did when it was killed.
    async fn flows_that_went_on(&self, run: i64) -> Result<Vec<FlowRecord>, StoreError> {
        let query = Query::new(format!("SELECT {FLOWS} FROM flows WHERE {WENT_ON}")).bind(run);
        self.read("flows", query, |row| Ok(FlowRecord { ended: None, ..flow(row)?.item })).await
    }

    async fn read_resume(&self, sensor: &str) -> Result<Option<Resume>, StoreError> {
        let Some(text) = self.meta(&name(sensor)).await? else { return Ok(None) };
        let Stored { run, readings } = serde_json::from_str(&text).map_err(|error| corrupt(&error))?;
        let slot = |row: &Vec<u64>| {
            let (bytes, packets) = row.split_at_checked(2)?;
            let packets: [u64; Counter::COUNT] = packets.try_into().ok()?;
            Some(LedgerSlot { overflow_bytes: bytes[0], seen_bytes: bytes[1], packets })
        };
        // Another version's counters mean something else.
        let Some(ledger) = readings.ledger.iter().map(slot).collect() else { return Ok(None) };
        let ReadingsRow { maps, time_ns, clock_offset_ns, .. } = readings;
        let readings = Readings { maps, time_ns, clock_offset_ns, ledger };
        Ok(Some(Resume { run, readings, flows: self.flows_that_went_on(run).await? }))
    }
}

fn name(sensor: &str) -> String {
    format!("readings:{sensor}")
}

fn corrupt(error: &serde_json::Error) -> StoreError {
    StoreError::Corrupt { table: "meta", id: 0, reason: format!("readings: {error}") }
}
