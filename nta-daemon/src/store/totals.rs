//! The table `totals`: counts that are kept as rows come and go, and the number of the newest event. All of them can be made of
//! the tables again, which is done where one is missing or cannot be right.

use super::db::{Conn, Query};
use super::{Store, StoreError, from_sql};

/// The number of the newest event.
pub(super) const EVENTS: &str = "events";
/// The number of the newest batch that was put into the outbox.
pub(super) const OUTBOX: &str = "outbox";
/// The number up to which the server has all of it.
pub(super) const ACKED: &str = "outbox_acked";
/// What hosts came near to, in the documents of windows.
pub(super) const NEAR: &str = "near_measures";

/// Each with what it is made of, and the most that it can be: as rows are numbered without gaps but at the old end, no row needs
/// to be counted for that; two numbers that something else made may be too far apart for a BIGINT. Of SQLite's values a number equals itself as a number. The last number of all leads nowhere.
const TOTALS: [(&str, &str, &str); 7] = [
    (
        "windows",
        "SELECT count(*) FROM windows WHERE factor = 1",
        "SELECT coalesce(CAST(max(id) AS NUMERIC) - min(id) + 1, 0) FROM windows",
    ),
    (
        "flows",
        "SELECT count(*) FROM flows",
        "SELECT coalesce(CAST(max(number) AS NUMERIC) - min(number) + 1, 0) FROM flows",
    ),
    (
        "alerts",
        "SELECT count(*) FROM detected_alerts",
        "SELECT coalesce(CAST(max(number) AS NUMERIC) - min(number) + 1, 0) FROM detected_alerts",
    ),
    (
        NEAR,
        "SELECT CAST(coalesce(sum(near), 0) AS BIGINT) FROM windows WHERE near > 0",
        "SELECT 64 * coalesce(CAST(max(id) AS NUMERIC) - min(id) + 1, 0) FROM windows",
    ),
    (EVENTS, "SELECT coalesce(max(seq), 0) FROM events WHERE seq < 4611686018427387904", "SELECT 4611686018427387904"),
    (
        OUTBOX,
        "SELECT coalesce(max(seq), 0) FROM (SELECT max(seq) AS seq FROM outbox UNION ALL SELECT value FROM totals \
         WHERE name = 'outbox_acked' AND CAST(value AS BIGINT) = value AND value >= 0 AND value < 4611686018427387904) AS given",
        "SELECT 4611686018427387904",
    ),
    (ACKED, "SELECT coalesce(min(seq) - 1, 0) FROM outbox WHERE seq > 0", "SELECT 4611686018427387904"),
];
/// What a value must be, so that it can be added to.
const IS_USABLE: &str = "CAST(value AS BIGINT) = value AND value >= 0 AND value < 4611686018427387904";

/// Sets right what is missing or cannot be right.
pub(super) async fn check(conn: &mut Conn) -> Result<(), StoreError> {
    let error = StoreError::query("totals");
    for (name, made_of, most) in TOTALS {
        let least = if [EVENTS, OUTBOX].contains(&name) { made_of } else { "SELECT 0" };
        let right = format!(
            "SELECT 1 FROM totals WHERE name = $1 AND {IS_USABLE} AND value >= ({least}) AND value <= ({most})"
        );
        if conn.fetch_optional(Query::new(right).bind(name)).await.map_err(&error)?.is_none() {
            mend(conn, name).await?;
        }
    }
    Ok(())
}

/// Adds to a count that is kept, after its rows have changed.
pub(super) async fn add(conn: &mut Conn, name: &str, rows: i64) -> Result<(), StoreError> {
    if rows == 0 {
        return Ok(());
    }
    let update = format!("UPDATE totals SET value = value + $1 WHERE name = $2 AND {IS_USABLE} AND value + $1 >= 0");
    let update = Query::new(update).bind(rows).bind(name);
    if conn.execute(update).await.map_err(StoreError::query("totals"))? == 0 {
        mend(conn, name).await?;
    }
    Ok(())
}

/// The number of the last of so many further rows of `events` or `outbox`. It comes from a row that all writers change, so that readers
/// never see a larger one before a smaller. One that is of no use, or behind numbers that are taken, is set right first.
pub(super) async fn next(conn: &mut Conn, table: &'static str, count: i64) -> Result<i64, StoreError> {
    let error = StoreError::query("totals");
    let next = format!(
        "UPDATE totals SET value = value + $1 WHERE name = '{table}' AND {IS_USABLE} \
         AND NOT EXISTS (SELECT 1 FROM {table} WHERE seq > value AND seq < 4611686018427387904) RETURNING value"
    );
    let next = || Query::new(next.as_str()).bind(count);
    if let Some(row) = conn.fetch_optional(next()).await.map_err(&error)? {
        return row.first().map_err(error);
    }
    mend(conn, table).await?;
    conn.number(next()).await.map_err(error)
}

/// Sets a number that is kept.
pub(super) async fn set(conn: &mut Conn, name: &str, value: i64) -> Result<(), StoreError> {
    let set =
        "INSERT INTO totals (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    conn.execute(Query::new(set).bind(name).bind(value)).await.map(drop).map_err(StoreError::query("totals"))
}

/// Makes one of the tables again.
pub(super) async fn mend(conn: &mut Conn, name: &str) -> Result<(), StoreError> {
    let error = StoreError::query("totals");
    let Some((name, made_of, _)) = TOTALS.iter().find(|(known, ..)| *known == name) else { return Ok(()) };
    let value = conn.number(Query::new(*made_of)).await.map_err(&error)?;
    set(conn, name, value).await?;
    tracing::warn!(total = name, value, "store: a total was missing or could not be right; it was counted again");
    Ok(())
}

impl Store {
    /// A count that is kept as rows come and go; counted where what is kept is of no use.
    pub(super) async fn total(&self, name: &'static str) -> Result<u64, StoreError> {
        let kept = Query::new(format!("SELECT value FROM totals WHERE name = $1 AND {IS_USABLE}")).bind(name);
        if let Some(value) = self.read("totals", kept, |row| Ok(row.first()?)).await?.first() {
            return Ok(from_sql(*value));
        }
        let Some((_, made_of, _)) = TOTALS.iter().find(|(known, ..)| *known == name) else { return Ok(0) };
        let counted = self.read("totals", Query::new(*made_of), |row| Ok(row.first()?)).await?;
        Ok(counted.first().copied().map_or(0, from_sql))
    }

    /// Sets the totals right before retention goes by them.
    pub(super) async fn check_totals(&self) -> Result<(), StoreError> {
        let error = StoreError::query("totals");
        let mut transaction = self.database.begin().await?;
        check(transaction.conn().map_err(&error)?).await?;
        transaction.commit().await.map_err(error)
    }
}
