//! How windows go: those of a part that is too old with their part, others row by row from the table that holds them. What is kept of them,
//! totals and sums of hours, is the same either way.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use super::db::{Conn, Dialect, Query, Row};
use super::retention::aged;
use super::totals::{NEAR, add};
use super::unreadable::{Unreadable, usable};
use super::window_parts::{DAY_NS, MOST_MOVED, Part, execute, once, parent, table_of, wait_briefly};
use super::window_write::recount_hour;
use super::{Length, Store, StoreError, events, from_sql, to_sql};

/// What became of the parts of a length.
#[derive(Debug, Default)]
pub(super) struct Gone {
    /// Windows that went.
    pub(super) rows: u64,
    /// Parts that stay for what they hold, of captures for one: the other rows go one by one.
    pub(super) mixed: Vec<String>,
}

/// Sums of hours that are made again while others wait, where a part does not hold all windows of an hour.
const MOST_HOURS: usize = 500;

/// What a statement that deletes windows by their numbers begins and ends with.
const BEGIN: &str = "DELETE FROM windows WHERE id IN (SELECT id FROM ";
const END: char = ')';
const RETURNING: &str = " RETURNING factor, run_id, start_ns, near";

/// Runs a statement that deletes windows; what they had. On PostgreSQL the rows are found first, and deleted from the table that holds them:
/// a statement over all parts is planned for each of them, and may read one as a whole.
pub(super) async fn delete(conn: &mut Conn, mut query: Query) -> Result<Vec<Row>, StoreError> {
    let error = StoreError::query("windows");
    let which = query.sql().strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END));
    let Some(which) = which.filter(|_| conn.dialect() == Dialect::Postgres) else {
        query.push(RETURNING);
        return conn.fetch_all(query).await.map_err(error);
    };
    let which = format!("SELECT id, {} AS part FROM {which}", table_of(conn.dialect()));
    let found = conn.fetch_all(query.with_sql(which)).await.map_err(&error)?;
    let mut ids: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for row in &found {
        ids.entry(row.text("part").map_err(&error)?).or_default().push(row.int("id").map_err(&error)?);
    }
    let mut gone = Vec::with_capacity(found.len());
    for (table, ids) in ids {
        for some in ids.chunks(conn.chunk_rows()) {
            let mut query = Query::new(format!("DELETE FROM {table} WHERE id IN ("));
            query.push_table(conn, some.iter().map(|id| vec![(*id).into()])).push(")").push(RETURNING);
            query.plan_anew(conn);
            gone.extend(conn.fetch_all(query).await.map_err(&error)?);
        }
    }
    Ok(gone)
}

impl Store {
    /// Deletes windows of every length that began before a time.
    pub(super) async fn delete_old_windows(&self, before_ns: i64, whose: &[Option<String>]) -> Result<(), StoreError> {
        let parts = self.window_parts().await?;
        self.delete_old_rows(loose(&parts), before_ns, whose).await?;
        for length in 0..Length::ALL.len() {
            let gone = self.drop_parts(&parts, (length, before_ns), whose).await?;
            self.delete_old_rows(gone.mixed, before_ns, whose).await?;
        }
        Ok(())
    }

    /// The same row by row, of tables that hold windows.
    async fn delete_old_rows(
        &self,
        tables: Vec<String>,
        before_ns: i64,
        whose: &[Option<String>],
    ) -> Result<(), StoreError> {
        for table in tables {
            let sql = format!(
                "DELETE FROM windows WHERE id IN (SELECT id FROM {table} WHERE start_ns < $1 ORDER BY start_ns LIMIT $2)"
            );
            for whose in whose {
                self.delete("windows", &aged("windows", &sql, whose.as_deref()), before_ns).await?;
            }
        }
        Ok(())
    }

    /// Drops the parts of a length of which all windows began before a time. Those of other sensors than these stay, in the part for the rest.
    /// A part that is in use stays for now.
    pub(super) async fn drop_parts(
        &self,
        parts: &[Part],
        (length, before_ns): (usize, i64),
        whose: &[Option<String>],
    ) -> Result<Gone, StoreError> {
        let mut gone = Gone::default();
        let now_ns = to_sql(events::now().as_nanos());
        if self.database.dialect() == Dialect::Sqlite || !self.parts.is_to_drop(now_ns) {
            return Ok(gone);
        }
        for part in parts.iter().filter(|part| part.ended(length, before_ns)) {
            match self.drop_part(length, part, whose).await {
                Ok(Some(rows)) => gone.rows += rows,
                Ok(None) => gone.mixed.push(part.table.clone()),
                Err(error) => {
                    self.parts.drop_later(now_ns);
                    let (table, error) = (&part.table, error.chain());
                    tracing::info!(table, error, "store: a part of the windows cannot be dropped now");
                    break;
                }
            }
        }
        self.counters.windows_deleted.fetch_add(gone.rows, Relaxed);
        Ok(gone)
    }

    /// Drops the oldest part of each length whose windows went row by row. What came into it meanwhile moves to the rest.
    pub(super) async fn drop_empty_parts(&self) -> Result<(), StoreError> {
        if self.database.dialect() == Dialect::Sqlite {
            return Ok(());
        }
        let ended_ns = to_sql(events::now().as_nanos()).saturating_sub(DAY_NS);
        let parts = self.window_parts().await?;
        for length in 0..Length::ALL.len() {
            let Some(part) = parts.iter().find(|part| part.ended(length, i64::MAX)) else { continue };
            let Some([_, end_ns]) = part.times.filter(|[_, end_ns]| *end_ns <= ended_ns) else { continue };
            let some = Query::new(format!("SELECT id FROM {} LIMIT 1", part.table));
            if self.read("windows", some, |row| Ok(row.int("id")?)).await?.is_empty() {
                self.drop_parts(&parts, (length, end_ns), &[]).await?;
            }
        }
        Ok(())
    }

    /// Drops a part, with what is kept of its windows; how many went. `None` where too many are to stay for them to be moved,
    /// or too many sums of hours would have to be made again.
    async fn drop_part(&self, length: usize, part: &Part, whose: &[Option<String>]) -> Result<Option<u64>, StoreError> {
        let error = StoreError::query("windows");
        let (table, parent, stays) = (&part.table, parent(length), stays(whose));
        // Not the writer's connection: to count a large part takes a while. Dropped without a commit it takes all of this back.
        let mut own = self.database.connect().await?;
        let conn = &mut own;
        conn.begin().await.map_err(&error)?;
        wait_briefly(conn).await?;
        // Nothing comes into it any more, and nobody else drops it; readers go on.
        execute(conn, format!("LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")).await?;
        let counts = once(format!(
            "SELECT count(*) FILTER (WHERE {stays}) AS staying, count(*) FILTER (WHERE NOT {stays}) AS gone, \
             count(*) FILTER (WHERE factor = 1 AND NOT {stays}) AS base, \
             CAST(least(coalesce(sum(near) FILTER (WHERE near > 0 AND NOT {stays}), 0), 9223372036854775807) AS BIGINT) AS near \
             FROM {table}"
        ));
        let counts =
            conn.fetch_optional(counts).await.map_err(&error)?.ok_or_else(|| error(sqlx::Error::RowNotFound))?;
        let count = |name| counts.int(name).map_err(&error);
        let (staying, gone, base, near) = (count("staying")?, count("gone")?, count("base")?, count("near")?);
        if staying > MOST_MOVED {
            return Ok(None);
        }
        let hours = delete_hours(conn, table, &stays).await?;
        if hours.len() > MOST_HOURS {
            return Ok(None);
        }
        // From here on who uses windows of this length waits, for no longer than it takes to drop some.
        execute(conn, format!("LOCK TABLE {parent} IN ACCESS EXCLUSIVE MODE")).await?;
        execute(conn, format!("ALTER TABLE {parent} DETACH PARTITION {table}")).await?;
        if staying > 0 {
            execute(conn, format!("INSERT INTO windows SELECT * FROM {table} WHERE {stays}")).await?;
        }
        execute(conn, format!("DROP TABLE {table}")).await?;
        for (run, factor, hour_ns) in hours {
            recount_hour(conn, run, factor, hour_ns).await?;
        }
        add(conn, "windows", -base).await?;
        add(conn, NEAR, -near).await?;
        conn.run("COMMIT").await.map_err(&error)?;
        own.close().await.map_err(&error)?;
        tracing::info!(table, windows = gone, "store: a part of the windows was dropped, all of it was too old");
        Ok(Some(from_sql(gone)))
    }
}

/// The tables whose windows go row by row when they are too old: all that are no parts by time.
pub(super) fn loose(parts: &[Part]) -> Vec<String> {
    parts.iter().filter(|part| part.times.is_none()).map(|part| part.table.clone()).collect()
}

/// Which rows of a part are of none of these sensors, as an expression.
fn stays(whose: &[Option<String>]) -> String {
    if whose.is_empty() {
        return "TRUE".to_owned();
    }
    let names: Vec<String> = whose.iter().flatten().map(|name| format!("'{}'", name.replace('\'', "''"))).collect();
    if names.len() < whose.len() {
        return "FALSE".to_owned();
    }
    // Once for all rows.
    format!("(sensor_id <> ALL (ARRAY(SELECT id FROM sensors WHERE name IN ({}))))", names.join(", "))
}

/// Deletes the sums of hours all of whose windows go with a part; the others, which are to be made again, as run, factor and hour.
async fn delete_hours(conn: &mut Conn, table: &str, stays: &str) -> Result<Vec<(i64, i64, i64)>, StoreError> {
    const HOUR_NS: i64 = 3_600_000_000_000;
    let error = StoreError::query("window_hours");
    let hours = once(format!(
        "WITH going AS (SELECT run_id, factor, start_ns / {HOUR_NS} * {HOUR_NS} AS hour_ns, count(*) AS windows FROM {table} \
         WHERE factor > 0 AND NOT {stays} GROUP BY 1, 2, 3), \
         gone AS (DELETE FROM window_hours AS h USING going AS g WHERE h.factor = g.factor AND h.hour_ns = g.hour_ns \
         AND h.run_id = g.run_id AND h.windows = g.windows RETURNING h.run_id, h.factor, h.hour_ns) \
         SELECT run_id, factor, hour_ns FROM going EXCEPT SELECT run_id, factor, hour_ns FROM gone"
    ));
    let rows = conn.fetch_all(hours).await.map_err(&error)?;
    let hour = |row: &Row| Ok::<_, Unreadable>((row.int("run_id")?, row.int("factor")?, row.natural("hour_ns")?));
    Ok(usable("window_hours", rows.iter().map(hour)))
}
