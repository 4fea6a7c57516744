//! The parts of the table `windows` on PostgreSQL: by length, and within a length by time. Each is made a day before the first window comes that
//! goes into it, and goes as a whole when all of its windows are too old (`window_drop.rs`). Windows of any other time, of a capture or a wrong
//! clock, have their place in the part for the rest of their length, where retention deletes row by row.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use nta_core::domain::Timestamp;

use super::db::{Conn, Dialect, Query, Row};
use super::list::{Condition, when};
use super::resolution::Length;
use super::unreadable::{Unreadable, usable};
use super::{Key, Position, Retention, Store, StoreError, events, from_sql, to_sql};

pub(super) const DAY_NS: i64 = 86_400_000_000_000;
/// Parts are looked at so often, and after a failure.
const LOOK_NS: i64 = 3_600_000_000_000;
const AGAIN_NS: i64 = 60_000_000_000;
/// Of the days for which windows of a length are kept a part has so many at most: four to six are there at a time.
const PARTS_OF_AGE: u64 = 4;
/// Days of the longest part.
const MOST_DAYS: u64 = 91;
/// Parts of a length; beyond that windows go to the rest.
const MOST_PARTS: usize = 64;
/// Parts of a length that are made in one look.
const MOST_AT_ONCE: usize = 4;
/// Rows that a part takes along when it is made, or leaves behind when it goes: others wait meanwhile.
pub(super) const MOST_MOVED: i64 = 10_000;
/// A part is made or dropped when nobody uses what it changes, for which others wait so long at most, and for the change itself.
const WAIT: &str = "SET LOCAL lock_timeout = '1s'";
const CHANGE: &str = "SET LOCAL statement_timeout = '5s'";

/// When parts are made and dropped next, in nanoseconds.
#[derive(Debug, Default)]
pub(super) struct Due {
    make_ns: AtomicI64,
    drop_ns: AtomicI64,
}

impl Due {
    /// Whether it is time to make parts. A clock that was set back says nothing.
    fn is_to_make(&self, now_ns: i64) -> bool {
        let due_ns = self.make_ns.load(Relaxed);
        now_ns >= due_ns || now_ns < due_ns.saturating_sub(LOOK_NS)
    }

    pub(super) fn is_to_drop(&self, now_ns: i64) -> bool {
        let due_ns = self.drop_ns.load(Relaxed);
        now_ns >= due_ns || now_ns < due_ns.saturating_sub(AGAIN_NS)
    }

    /// Notes that a part is in use: who waits for it lets others wait.
    pub(super) fn drop_later(&self, now_ns: i64) {
        self.drop_ns.store(now_ns.saturating_add(AGAIN_NS), Relaxed);
    }
}

/// A table that holds windows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Its name as statements have it.
    pub(super) table: String,
    /// Of these lengths; `None` for all.
    length: Option<usize>,
    /// Its windows begin from then on, and before that; `None` where no others do.
    pub(super) times: Option<[i64; 2]>,
}

impl Part {
    fn read(row: &Row) -> Result<Self, Unreadable> {
        let (parent, times) = (row.text("parent")?, [row.opt_int("begin_ns")?, row.opt_int("end_ns")?]);
        let length = Length::ALL.iter().position(|(_, name)| parent == format!("windows_{name}"));
        let times = times[0].zip(times[1]).filter(|_| length.is_some()).map(|(begin, end)| [begin, end]);
        Ok(Self { table: row.text("name")?, length, times })
    }

    /// Whether it is one by time of this length, and all of its windows begin before a time.
    pub(super) fn ended(&self, length: usize, before_ns: i64) -> bool {
        self.is_of(length).is_some_and(|[_, end_ns]| end_ns <= before_ns)
    }

    /// From when to when its windows begin, where it has those of this length.
    fn is_of(&self, length: usize) -> Option<[i64; 2]> {
        self.times.filter(|_| self.length == Some(length))
    }
}

/// The parent of all parts of a length.
pub(super) fn parent(length: usize) -> String {
    format!("windows_{}", Length::ALL[length].1)
}

/// The tables that hold windows, with their bounds.
pub(super) const LEAVES: &str = "SELECT CAST(t.relid AS TEXT) AS name, CAST(p.relname AS TEXT) AS parent, \
    CAST(substring(pg_get_expr(c.relpartbound, c.oid) FROM 'FROM \\(''(-?[0-9]+)''\\)') AS BIGINT) AS begin_ns, \
    CAST(substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \\(''(-?[0-9]+)''\\)') AS BIGINT) AS end_ns \
    FROM pg_partition_tree('windows') t JOIN pg_class c ON c.oid = t.relid JOIN pg_class p ON p.oid = t.parentrelid \
    WHERE t.isleaf ORDER BY begin_ns, name";

/// Which table a row of `windows` is in, as an expression.
pub(super) const fn table_of(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Sqlite => "'windows'",
        Dialect::Postgres => "CAST(CAST(tableoid AS regclass) AS TEXT)",
    }
}

/// The conditions by which PostgreSQL leaves parts out, beside those of an index.
pub(super) fn in_parts(dialect: Dialect, span_ns: i64, [low, end]: [Option<i64>; 2]) -> Vec<Condition> {
    if dialect == Dialect::Sqlite {
        return Vec::new();
    }
    let starts = [low.map(|low| when("start_ns >= ?", low)), end.map(|end| when("start_ns < ?", end))];
    starts.into_iter().flatten().chain([when("span_ns = ?", span_ns)]).collect()
}

/// The same of a list that is read in the order of time between keys, which have other columns beside the time.
pub(super) fn push_times(
    query: &mut Query,
    order: &str,
    (low, high): (Option<i64>, Option<i64>),
    (position, until): (Position, Option<Key>),
) {
    let [first, last] = [position.after, until].map(|key| key.map(|key| key.value));
    let [above, below] = if position.descending { [last, first] } else { [first, last] };
    for (by, bound) in [(">=", above.max(low)), ("<=", below), ("<", high)] {
        if let Some(bound) = bound {
            query.push(format_args!(" AND {order} {by} ")).push_bind(bound);
        }
    }
}

/// The days of a part of this length.
fn days(retention: &Retention, length: usize) -> i64 {
    let ages = [retention.max_window_age_ns[length], retention.max_age_ns];
    let age_ns = ages.into_iter().flatten().min().unwrap_or(u64::MAX);
    to_sql((age_ns / from_sql(DAY_NS) / PARTS_OF_AGE).clamp(1, MOST_DAYS))
}

/// The next time of yesterday, today and tomorrow that no part of this length has, as far as there is none.
fn missing(parts: &[Part], length: usize, now_ns: i64, days: i64) -> Option<[i64; 2]> {
    let of_length: Vec<[i64; 2]> = parts.iter().filter_map(|part| part.is_of(length)).collect();
    if of_length.len() >= MOST_PARTS {
        return None;
    }
    let mut begin_ns = (now_ns / DAY_NS - 1) * DAY_NS;
    while let Some([_, end_ns]) = of_length.iter().find(|[from, to]| (*from..*to).contains(&begin_ns)) {
        begin_ns = *end_ns;
    }
    let later = of_length.iter().map(|[from, _]| *from).filter(|from| *from > begin_ns).min();
    let end_ns = begin_ns.saturating_add(days * DAY_NS).min(later.unwrap_or(i64::MAX));
    (begin_ns <= now_ns.saturating_add(DAY_NS)).then_some([begin_ns, end_ns])
}

impl Store {
    /// The tables that hold windows, those of parts by time.
    pub(super) async fn window_parts(&self) -> Result<Vec<Part>, StoreError> {
        if self.database.dialect() == Dialect::Sqlite {
            return Ok(vec![Part { table: "windows".to_owned(), length: None, times: None }]);
        }
        self.read("windows", Query::new(LEAVES), Part::read).await
    }

    /// Makes the parts for today and tomorrow where they are missing. Where one cannot be made, its windows go to the rest: nothing waits for it.
    pub(super) async fn make_parts(&self) {
        let now_ns = to_sql(events::now().as_nanos());
        if self.database.dialect() == Dialect::Sqlite || !self.parts.is_to_make(now_ns) {
            return;
        }
        let again_ns = match self.make_missing_parts(now_ns).await {
            Ok(()) => LOOK_NS,
            Err(error) => {
                tracing::warn!(error = error.chain(), "store: a part of the windows cannot be made now");
                AGAIN_NS
            }
        };
        self.parts.make_ns.store(now_ns.saturating_add(again_ns), Relaxed);
    }

    pub(super) async fn make_missing_parts(&self, now_ns: i64) -> Result<(), StoreError> {
        for length in 0..Length::ALL.len() {
            for _ in 0..MOST_AT_ONCE {
                let days = days(&self.retention(), length);
                if missing(&self.window_parts().await?, length, now_ns, days).is_none() {
                    break;
                }
                self.make_part(length, now_ns, days).await?;
            }
        }
        Ok(())
    }

    async fn make_part(&self, length: usize, now_ns: i64, days: i64) -> Result<(), StoreError> {
        let error = StoreError::query("windows");
        let parent = parent(length);
        let rest = format!("{parent}_rest");
        let mut transaction = self.database.begin().await?;
        let conn = transaction.conn().map_err(&error)?;
        conn.run(WAIT).await.map_err(&error)?;
        conn.run(CHANGE).await.map_err(&error)?;
        // One process at a time; readers and writers go on.
        execute(conn, format!("LOCK TABLE {parent} IN SHARE UPDATE EXCLUSIVE MODE")).await?;
        let leaves = conn.fetch_all(Query::new(LEAVES)).await.map_err(&error)?;
        let Some([begin_ns, end_ns]) = missing(&usable("windows", leaves.iter().map(Part::read)), length, now_ns, days)
        else {
            return transaction.commit().await.map_err(error);
        };
        let of_it = format!("start_ns >= {begin_ns} AND start_ns < {end_ns}");
        let begin = Timestamp::from_nanos(from_sql(begin_ns)).to_string();
        let table = format!("{parent}_{}", begin.get(..10).unwrap_or_default().replace('-', "_"));
        // Who reads the rest is waited for, so that nobody writes into it what belongs here.
        execute(conn, format!("LOCK TABLE {rest} IN ACCESS EXCLUSIVE MODE")).await?;
        let most =
            format!("SELECT count(*) FROM (SELECT 1 FROM {rest} WHERE {of_it} LIMIT {}) AS found", MOST_MOVED + 1);
        let moved = conn.number(Query::new(most)).await.map_err(&error)?;
        if moved > MOST_MOVED {
            tracing::warn!(table, "store: too many windows of its time are in the rest for this part to be made");
            return transaction.commit().await.map_err(error);
        }
        execute(
            conn,
            format!(
                "CREATE TABLE {table} (LIKE {parent} INCLUDING DEFAULTS INCLUDING STORAGE, PRIMARY KEY (id), \
                 UNIQUE (run_id, factor, number, start_ns))"
            ),
        )
        .await?;
        if moved > 0 {
            let to_it = format!(
                "WITH moved AS (DELETE FROM {rest} WHERE {of_it} RETURNING *) INSERT INTO {table} SELECT * FROM moved"
            );
            execute(conn, to_it).await?;
        }
        let attach =
            format!("ALTER TABLE {parent} ATTACH PARTITION {table} FOR VALUES FROM ({begin_ns}) TO ({end_ns})");
        execute(conn, attach).await?;
        transaction.commit().await.map_err(error)?;
        tracing::debug!(table, days, moved, "store: a part of the windows was made");
        Ok(())
    }
}

/// A statement without values, which is not worth keeping.
pub(super) fn once(sql: String) -> Query {
    let mut query = Query::new(sql);
    query.persistent = false;
    query
}

/// Runs one.
pub(super) async fn execute(conn: &mut Conn, sql: String) -> Result<u64, StoreError> {
    conn.execute(once(sql)).await.map_err(StoreError::query("windows"))
}

/// The same before a transaction that changes which parts there are.
pub(super) async fn wait_briefly(conn: &mut Conn) -> Result<(), StoreError> {
    conn.run(WAIT).await.map_err(StoreError::query("windows"))
}
