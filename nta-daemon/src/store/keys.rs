//! SQLite's numbers of rows: behind the largest one that there can be it takes no other row.

use super::StoreError;
use super::db::{Conn, Dialect, Query};

/// Tables whose rows are numbered as they come.
const NUMBERED: [(&str, &str); 11] = [
    ("runs", "id"),
    ("windows", "id"),
    ("flows", "number"),
    ("hosts", "number"),
    ("services", "id"),
    ("detected_alerts", "number"),
    ("alert_notes", "id"),
    ("anomalies", "id"),
    ("aggregated_features", "id"),
    ("raw_packets", "id"),
    ("jobs", "number"),
];
/// Numbers from here on were never given.
const END: i64 = 1 << 62;
/// Rows of a table that are numbered anew at most.
const MOST: usize = 1000;

/// Numbers rows anew that something else has moved to the end of all numbers: nothing could be written behind them.
pub(super) async fn check(conn: &mut Conn) -> Result<(), StoreError> {
    if conn.dialect() == Dialect::Postgres {
        return Ok(());
    }
    for (table, id) in NUMBERED {
        let mut moved = 0;
        while moved < MOST {
            let next = format!(
                "UPDATE {table} SET {id} = (SELECT coalesce(max({id}), 0) + 1 FROM {table} WHERE {id} < $1) \
                 WHERE {id} = (SELECT max({id}) FROM {table}) AND {id} >= $1"
            );
            match conn.execute(Query::new(next).bind(END)).await {
                Ok(0) => break,
                Ok(_) => moved += 1,
                Err(error) => {
                    tracing::warn!(table, %error, "store: a row at the end of all numbers cannot be numbered anew");
                    break;
                }
            }
        }
        if moved > 0 {
            tracing::warn!(table, rows = moved, "store: rows at the end of all numbers were numbered anew");
        }
    }
    // What a table's next number is kept in, where that is larger than any row's.
    let reset =
        Query::new("UPDATE sqlite_sequence SET seq = 0 WHERE NOT coalesce(CAST(seq AS BIGINT) = seq AND seq < $1, 0)");
    let reset = conn.execute(reset.bind(END)).await.map_err(StoreError::query("sqlite_sequence"))?;
    if reset > 0 {
        tracing::warn!(tables = reset, "store: the next numbers of tables were of no use and are made of their rows");
    }
    Ok(())
}
