//! The table `packet_logs`: how far the records of packets are that clients send, and in which capture they are.

use super::db::{Query, Row};
use super::unreadable::Unreadable;
use super::{Store, StoreError, from_sql, to_sql};
use nta_core::domain::Timestamp;

const TABLE: &str = "packet_logs";
/// Logs that are remembered.
pub const MOST_PACKET_LOGS: u32 = 10_000;
/// A log of which nothing came for so long is forgotten.
const FORGOTTEN_AFTER_NS: u64 = 30 * 86_400 * 1_000_000_000;

/// How far a client's log of packets is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PacketLog {
    /// Number of the newest message; all before it are taken.
    pub last: u64,
    /// The capture that the next one goes into, where it is not whole.
    pub file_id: Option<String>,
    /// The server that has it.
    pub holder: String,
    /// Bytes of its file up to the end of the newest message.
    pub bytes: u64,
    /// Records of all messages.
    pub records: u64,
}

fn log(row: &Row) -> Result<PacketLog, Unreadable> {
    let number = |column: &str| Ok::<_, Unreadable>(from_sql(row.natural(column)?));
    Ok(PacketLog {
        last: number("last_seq")?,
        file_id: row.opt_text("file_id")?,
        holder: row.text("holder")?,
        bytes: number("bytes")?,
        records: number("records")?,
    })
}

impl Store {
    /// How far a log is; `None` where nothing of it was taken.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn packet_log(&self, sensor: &str, epoch: &str) -> Result<Option<PacketLog>, StoreError> {
        let query = Query::new(
            "SELECT last_seq, file_id, holder, bytes, records FROM packet_logs WHERE sensor = $1 AND epoch = $2",
        );
        Ok(self.read(TABLE, query.bind(sensor).bind(epoch), log).await?.pop())
    }

    /// Logs of this server whose captures are not whole: sensor, epoch and capture.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn open_packet_logs(&self, holder: &str) -> Result<Vec<(String, String, String)>, StoreError> {
        let query = Query::new(
            "SELECT sensor, epoch, file_id FROM packet_logs WHERE file_id IS NOT NULL AND holder = $2 LIMIT $1",
        );
        let read = |row: &Row| Ok((row.text("sensor")?, row.text("epoch")?, row.text("file_id")?));
        self.read(TABLE, query.bind(i64::from(MOST_PACKET_LOGS)).bind(holder), read).await
    }

    /// Notes that a log is `now` where it was `before`; `false` where somebody else has noted another, or has its capture. Logs of which nothing came for long
    /// are forgotten.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn note_packet_log(
        &self,
        (sensor, epoch): (&str, &str),
        before: Option<&PacketLog>,
        now: &PacketLog,
        received: Timestamp,
    ) -> Result<bool, StoreError> {
        let error = StoreError::query(TABLE);
        let mut transaction = self.database.begin().await?;
        let conn = transaction.conn().map_err(&error)?;
        let query = match before {
            Some(_) => Query::new(
                "UPDATE packet_logs SET last_seq = $3, file_id = $4, bytes = $5, records = $6, received_ns = $7, holder = $8 \
                 WHERE sensor = $1 AND epoch = $2 AND last_seq = $9 AND (file_id IS NULL OR holder = $8)",
            ),
            None => {
                let old = to_sql(received.as_nanos().saturating_sub(FORGOTTEN_AFTER_NS));
                let forget = Query::new("DELETE FROM packet_logs WHERE received_ns < $1 AND file_id IS NULL").bind(old);
                conn.execute(forget).await.map_err(&error)?;
                Query::new(
                    "INSERT INTO packet_logs (sensor, epoch, last_seq, file_id, bytes, records, received_ns, holder) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
                )
            }
        };
        let query = query.bind(sensor).bind(epoch).bind(to_sql(now.last)).bind(now.file_id.clone());
        let query = query.bind(to_sql(now.bytes)).bind(to_sql(now.records)).bind(to_sql(received.as_nanos()));
        let query = query.bind(now.holder.as_str());
        let query = match before {
            Some(before) => query.bind(to_sql(before.last)),
            None => query,
        };
        let changed = conn.execute(query).await.map_err(&error)?;
        transaction.commit().await.map_err(error)?;
        Ok(changed > 0)
    }

    /// How many logs are remembered.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn packet_log_count(&self) -> Result<u64, StoreError> {
        let counts = self.read(TABLE, Query::new("SELECT count(*) FROM packet_logs"), |row| Ok(row.first()?)).await?;
        Ok(counts.first().copied().map_or(0, from_sql))
    }
}
