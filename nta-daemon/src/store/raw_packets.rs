//! Heads of frames: one packet of many, as it was.

use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::{RunId, Store, StoreError, from_sql, to_sql};
use nta_core::domain::{RawPacket, Timestamp};

/// Rows in one statement.
const CHUNK_ROWS: usize = 500;

pub(super) async fn insert(
    connection: &mut SqliteConnection,
    run: RunId,
    packets: &[RawPacket],
) -> Result<(), StoreError> {
    for chunk in packets.chunks(CHUNK_ROWS) {
        let mut query = QueryBuilder::<Sqlite>::new("INSERT INTO raw_packets (run_id, time_ns, wire_len, head) ");
        query.push_values(chunk, |mut row, packet| {
            row.push_bind(run.0)
                .push_bind(to_sql(packet.time.as_nanos()))
                .push_bind(packet.wire_len)
                .push_bind(packet.head.as_slice());
        });
        query.build().execute(&mut *connection).await.map_err(StoreError::query("raw_packets"))?;
    }
    Ok(())
}

impl Store {
    /// The newest heads of frames, newest first, at most `limit`.
    pub async fn raw_packets(&self, limit: u32) -> Result<Vec<RawPacket>, StoreError> {
        let sql = "SELECT time_ns, wire_len, head FROM raw_packets ORDER BY time_ns DESC, id DESC LIMIT $1";
        let rows = sqlx::query_as::<_, (i64, u32, Vec<u8>)>(sql).bind(limit).fetch_all(&self.read);
        let rows = rows.await.map_err(StoreError::query("raw_packets"))?;
        let packet =
            |(time_ns, wire_len, head)| RawPacket { time: Timestamp::from_nanos(from_sql(time_ns)), wire_len, head };
        Ok(rows.into_iter().map(packet).collect())
    }
}
