//! Heads of frames: one packet of many, as it was.

use super::db::Query;
use super::{Store, StoreError, from_sql};
use nta_core::domain::{RawPacket, Timestamp};

impl Store {
    /// The newest heads of frames, newest first, at most `limit`.
    pub async fn raw_packets(&self, limit: u32) -> Result<Vec<RawPacket>, StoreError> {
        let sql = "SELECT time_ns, wire_len, head FROM raw_packets ORDER BY time_ns DESC, id DESC LIMIT $1";
        let query = Query::new(sql).bind(i64::from(limit));
        self.read("raw_packets", query, |row| {
            let time = Timestamp::from_nanos(from_sql(row.natural("time_ns")?));
            Ok(RawPacket { time, wire_len: row.small("wire_len")?, head: row.blob("head")? })
        })
        .await
    }
}
