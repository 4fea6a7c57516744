//! What the next start goes on from when this one is killed, see [`Readings`]: committed with each window.

use serde::{Deserialize, Serialize};

use super::db::{Conn, Query};
use super::spool::Spool;
use super::{Store, StoreError};
use nta_common::{Counter, LedgerSlot};
use nta_core::domain::{Readings, Resume};

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
        let upsert = Query::new(
            "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        );
        let upsert = upsert.bind(name(sensor)).bind(text);
        conn.execute(upsert).await.map(drop).map_err(StoreError::query("meta"))
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

    /// The flows that went on when run `from` was killed go on in the run of this identity.
    pub async fn take_over_flows(&self, from: i64, uuid: &[u8; 16]) -> Result<(), StoreError> {
        let error = StoreError::query("flows");
        let mut transaction = self.database.begin().await?;
        let flows = Query::new(
            "UPDATE flows SET run_id = (SELECT id FROM runs WHERE uuid = $1), state = 0 WHERE run_id = $2 AND state = 3",
        );
        let conn = transaction.conn().map_err(&error)?;
        conn.execute(flows.bind(uuid.to_vec()).bind(from)).await.map_err(&error)?;
        transaction.commit().await.map_err(error)
    }

    async fn read_resume(&self, sensor: &str) -> Result<Option<Resume>, StoreError> {
        let query = Query::new("SELECT value FROM meta WHERE name = $1").bind(name(sensor));
        let rows = self.read("meta", query, |row| row.text("value")).await?;
        let Some(text) = rows.first() else { return Ok(None) };
        let Stored { run, readings } = serde_json::from_str(text).map_err(|error| corrupt(&error))?;
        let slot = |row: &Vec<u64>| {
            let (bytes, packets) = row.split_at_checked(2)?;
            let packets: [u64; Counter::COUNT] = packets.try_into().ok()?;
            Some(LedgerSlot { overflow_bytes: bytes[0], seen_bytes: bytes[1], packets })
        };
        // Another version's counters mean something else.
        let Some(ledger) = readings.ledger.iter().map(slot).collect() else { return Ok(None) };
        let ReadingsRow { maps, time_ns, clock_offset_ns, .. } = readings;
        let readings = Readings { maps, time_ns, clock_offset_ns, ledger };
        Ok(Some(Resume { run, readings, flows: self.active_flows(run).await? }))
    }
}

fn name(sensor: &str) -> String {
    format!("readings:{sensor}")
}

fn corrupt(error: &serde_json::Error) -> StoreError {
    StoreError::Corrupt { table: "meta", id: 0, reason: format!("readings: {error}") }
}
