//! Everything of a SQLite database into an empty PostgreSQL, in one transaction: all of it or nothing. Rows go one after another, so
//! that memory is bounded, and are read back before the commit: of each table a sum over the hashes of its rows, taken on both sides,
//! must be the same. What numbers rows goes on behind the last number that was ever given.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, Column as _, PgConnection, Row as _, SqliteConnection};
use tokio_util::sync::CancellationToken;

use super::copy::Copy;
use super::db::{Conn, Dialect, Query, Value};
use super::transfer_rows::{Kind, Sum, Table, length, shown, value};
use super::{Lease, Store, StoreError};

/// Rows that go in one message, and about the bytes.
const ROWS_AT_ONCE: usize = 1_000;
const BYTES_AT_ONCE: usize = 4 << 20;
/// What a new database has rows in; those of the source take their place.
const SEEDED: &[&str] = &["meta", "sensors", "totals"];
/// What each database keeps about itself.
const OWN: &[&str] = &["_sqlx_migrations"];

/// Why nothing was transferred.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// A database failed.
    #[error("{}", .0.chain())]
    Store(#[from] StoreError),
    /// A statement failed.
    #[error("{what}: {source}")]
    Sql {
        /// What was done.
        what: String,
        /// Why not.
        source: sqlx::Error,
    },
    /// These two are not what is transferred between.
    #[error("rows go from a SQLite file to PostgreSQL")]
    Kinds,
    /// The target has rows.
    #[error("the target has rows in {0}: it must be empty")]
    NotEmpty(String),
    /// The databases have other tables or columns.
    #[error("table {table} is another one on both sides: {what}")]
    Tables {
        /// Which.
        table: String,
        /// Which columns.
        what: String,
    },
    /// A row that PostgreSQL cannot hold.
    #[error("table {table}: {row}: {what}; --leave-damaged leaves such rows out")]
    Damaged {
        /// Which table.
        table: String,
        /// Its first column.
        row: String,
        /// What is wrong.
        what: String,
    },
    /// What was written is not what was read.
    #[error("table {table}: {there} rows were read and {here} came back, or not the same ones")]
    Differs {
        /// Which table.
        table: String,
        /// Rows of the source.
        there: u64,
        /// Rows of the target.
        here: u64,
    },
    /// It was asked to stop.
    #[error("stopped: the target is empty as before")]
    Stopped,
}

/// What was transferred.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transferred {
    /// Rows of each table.
    pub rows: BTreeMap<String, u64>,
    /// Rows that were left out as they are damaged, of tables that have some.
    pub left_out: BTreeMap<String, u64>,
}

fn sql(what: impl Into<String>) -> impl FnOnce(sqlx::Error) -> TransferError {
    let what = what.into();
    move |source| TransferError::Sql { what, source }
}

/// Transfers all rows of `from` to `to`, for which no daemon may capture. `progress` hears of the table, and of its rows so far.
///
/// # Errors
/// Says why the target is as it was.
pub async fn transfer(
    from: &Store,
    to: &Store,
    leaves_damaged: bool,
    stop: &CancellationToken,
    mut progress: impl FnMut(&str, u64),
) -> Result<Transferred, TransferError> {
    if [from.database.dialect(), to.database.dialect()] != [Dialect::Sqlite, Dialect::Postgres] {
        return Err(TransferError::Kinds);
    }
    let _leases = leases_of_all(from).await?;
    let (Conn::Sqlite(mut source), mut target) = (from.database.connect().await?, to.database.connect().await?) else {
        return Err(TransferError::Kinds);
    };
    sqlx::raw_sql("BEGIN").execute(&mut source).await.map_err(sql("the source"))?;
    target.begin().await.map_err(sql("the target"))?;
    let tables = tables(&mut target).await?;
    check_columns(&mut source, &tables).await?;
    check_empty(&mut target, &tables).await?;
    let kept = target_only(&mut target, &mut source).await?;
    for name in SEEDED {
        target.execute(Query::new(format!("DELETE FROM \"{name}\""))).await.map_err(sql(*name))?;
    }
    let mut done = Transferred::default();
    for table in &tables {
        let (there, left_out) =
            send(&mut source, &mut target, table, leaves_damaged, stop, &mut |rows| progress(&table.name, rows))
                .await?;
        let here = read_back(&mut target, table, stop).await?;
        if here != there {
            return Err(TransferError::Differs { table: table.name.clone(), there: there.rows, here: here.rows });
        }
        done.rows.insert(table.name.clone(), there.rows);
        if left_out > 0 {
            done.left_out.insert(table.name.clone(), left_out);
        }
    }
    for (name, value) in kept {
        let insert = Query::new("INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING");
        target.execute(insert.bind(name).bind(value)).await.map_err(sql("meta"))?;
    }
    go_on_numbering(&mut source, &mut target, &tables).await?;
    if stop.is_cancelled() {
        return Err(TransferError::Stopped);
    }
    target.run("COMMIT").await.map_err(sql("the target"))?;
    // Plans of before are those of empty tables.
    target.run("ANALYZE").await.map_err(sql("ANALYZE"))?;
    Ok(done)
}

/// That of every sensor that ever captured for the source.
async fn leases_of_all(from: &Store) -> Result<Vec<Lease>, TransferError> {
    let rows = from.database.fetch_all(Query::new("SELECT DISTINCT sensor FROM runs")).await.map_err(sql("runs"))?;
    let mut leases = Vec::new();
    for row in rows {
        leases.push(from.lease(&row.text("sensor").map_err(sql("runs"))?).await?);
    }
    Ok(leases)
}

/// Tables of the target, those that others refer to before these.
async fn tables(target: &mut Conn) -> Result<Vec<Table>, TransferError> {
    let columns = Query::new(
        "SELECT CAST(c.relname AS TEXT) AS name, CAST(a.attname AS TEXT) AS part, CAST(format_type(a.atttypid, NULL) AS TEXT) AS kind \
         FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
         WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition \
         ORDER BY c.relname, a.attnum",
    );
    let mut left: BTreeMap<String, Vec<(String, Kind)>> = BTreeMap::new();
    for row in target.fetch_all(columns).await.map_err(sql("the tables"))? {
        let of = |column: &str| row.text(column).map_err(sql("the tables"));
        let (table, part, kind) = (of("name")?, of("part")?, of("kind")?);
        if OWN.contains(&table.as_str()) {
            continue;
        }
        let kind = match kind.as_str() {
            "bigint" => Kind::Int,
            "double precision" => Kind::Real,
            "text" => Kind::Text,
            "bytea" => Kind::Blob,
            _ => return Err(TransferError::Tables { table, what: format!("{part} is {kind}") }),
        };
        left.entry(table).or_default().push((part, kind));
    }
    let refer = Query::new(
        "SELECT DISTINCT CAST(c.relname AS TEXT) AS name, CAST(o.relname AS TEXT) AS other FROM pg_constraint k \
         JOIN pg_class c ON c.oid = k.conrelid JOIN pg_class o ON o.oid = k.confrelid WHERE k.contype = 'f' AND c.oid <> o.oid",
    );
    let mut behind: BTreeSet<(String, String)> = BTreeSet::new();
    for row in target.fetch_all(refer).await.map_err(sql("the tables"))? {
        let of = |column: &str| row.text(column).map_err(sql("the tables"));
        behind.insert((of("name")?, of("other")?));
    }
    let mut sorted = Vec::new();
    while let Some(next) = left
        .keys()
        .find(|name| !behind.iter().any(|(of, other)| of == *name && left.contains_key(other)))
        .or_else(|| left.keys().next())
        .cloned()
    {
        let columns = left.remove(&next).unwrap_or_default();
        sorted.push(Table { name: next, columns });
    }
    Ok(sorted)
}

/// Each table has the same columns on both sides, and none is on one alone.
async fn check_columns(source: &mut SqliteConnection, tables: &[Table]) -> Result<(), TransferError> {
    let list = "SELECT m.name AS name, p.name AS part FROM sqlite_schema m JOIN pragma_table_info(m.name) p \
                WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
    let mut there: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in sqlx::query(list).fetch_all(source).await.map_err(sql("the tables"))? {
        let of = |column: &str| row.try_get::<String, _>(column).map_err(sql("the tables"));
        there.entry(of("name")?).or_default().insert(of("part")?);
    }
    for table in tables {
        let here: BTreeSet<String> = table.columns.iter().map(|(name, _)| name.clone()).collect();
        let known = there.remove(&table.name).unwrap_or_default();
        let only: Vec<&str> = here.symmetric_difference(&known).map(String::as_str).collect();
        if !only.is_empty() {
            return Err(TransferError::Tables { table: table.name.clone(), what: only.join(", ") });
        }
    }
    match there.into_keys().find(|name| !OWN.contains(&name.as_str())) {
        Some(table) => Err(TransferError::Tables { table, what: "the target has none".to_owned() }),
        None => Ok(()),
    }
}

async fn check_empty(target: &mut Conn, tables: &[Table]) -> Result<(), TransferError> {
    let mut full = Vec::new();
    for table in tables.iter().filter(|table| !SEEDED.contains(&table.name.as_str())) {
        let one = Query::new(format!("SELECT CAST(1 AS BIGINT) FROM \"{}\" LIMIT 1", table.name));
        if target.fetch_optional(one).await.map_err(sql(&table.name))?.is_some() {
            full.push(table.name.as_str());
        }
    }
    if full.is_empty() { Ok(()) } else { Err(TransferError::NotEmpty(full.join(", "))) }
}

/// What the target has noted about itself and the source has not.
async fn target_only(target: &mut Conn, source: &mut SqliteConnection) -> Result<Vec<(String, String)>, TransferError> {
    let rows = sqlx::query("SELECT name FROM meta").fetch_all(source).await.map_err(sql("meta"))?;
    let known: BTreeSet<String> = rows.iter().filter_map(|row| row.try_get("name").ok()).collect();
    let mut kept = Vec::new();
    for row in target.fetch_all(Query::new("SELECT name, value FROM meta")).await.map_err(sql("meta"))? {
        let (name, value) = (row.text("name").map_err(sql("meta"))?, row.text("value").map_err(sql("meta"))?);
        if !known.contains(&name) {
            kept.push((name, value));
        }
    }
    Ok(kept)
}

/// Sends a table's rows; what they are, and how many were left out.
async fn send(
    source: &mut SqliteConnection,
    target: &mut Conn,
    table: &Table,
    leaves_damaged: bool,
    stop: &CancellationToken,
    progress: &mut impl FnMut(u64),
) -> Result<(Sum, u64), TransferError> {
    let (mut sum, mut left_out) = (Sum::default(), 0);
    let (mut copy, mut rows, mut bytes) = (Copy::default(), 0, 0);
    let mut read = sqlx::query(AssertSqlSafe(table.select())).fetch(source);
    while let Some(row) = read.try_next().await.map_err(sql(&table.name))? {
        let values: Result<Vec<Value>, String> =
            table.columns.iter().enumerate().map(|(at, (name, kind))| value(&row, at, name, *kind)).collect();
        let values = match values {
            Ok(values) => values,
            Err(_) if leaves_damaged => {
                left_out += 1;
                continue;
            }
            Err(what) => {
                let row = format!("the row whose {} is {}", row.column(0).name(), shown(&row));
                return Err(TransferError::Damaged { table: table.name.clone(), row, what });
            }
        };
        sum.add(&values);
        bytes += values.iter().map(length).sum::<usize>();
        copy.row(values);
        rows += 1;
        if rows == ROWS_AT_ONCE || bytes >= BYTES_AT_ONCE {
            std::mem::take(&mut copy).send(target, &table.name, &table.list()).await.map_err(sql(&table.name))?;
            (rows, bytes) = (0, 0);
            progress(sum.rows);
            if stop.is_cancelled() {
                return Err(TransferError::Stopped);
            }
        }
    }
    copy.send(target, &table.name, &table.list()).await.map_err(sql(&table.name))?;
    progress(sum.rows);
    Ok((sum, left_out))
}

/// What the target has of a table, before the commit.
async fn read_back(target: &mut Conn, table: &Table, stop: &CancellationToken) -> Result<Sum, TransferError> {
    let Conn::Postgres(target) = target else { return Err(TransferError::Kinds) };
    read_rows(target, table, stop).await.map_err(sql(&table.name))?.ok_or(TransferError::Stopped)
}

async fn read_rows(
    target: &mut PgConnection,
    table: &Table,
    stop: &CancellationToken,
) -> Result<Option<Sum>, sqlx::Error> {
    let mut sum = Sum::default();
    let mut read = sqlx::query(AssertSqlSafe(table.select())).fetch(target);
    while let Some(row) = read.try_next().await? {
        let value = |(at, (_, kind)): (usize, &(String, Kind))| match kind {
            Kind::Int => row.try_get(at).map(Value::Int),
            Kind::Real => row.try_get(at).map(Value::Real),
            Kind::Text => row.try_get(at).map(Value::Text),
            Kind::Blob => row.try_get(at).map(Value::Blob),
        };
        let values: Vec<Value> = table.columns.iter().enumerate().map(value).collect::<Result<_, _>>()?;
        sum.add(&values);
        if stop.is_cancelled() {
            return Ok(None);
        }
    }
    Ok(Some(sum))
}

/// The next row of each table gets the number behind the last one that was ever given.
async fn go_on_numbering(
    source: &mut SqliteConnection,
    target: &mut Conn,
    tables: &[Table],
) -> Result<(), TransferError> {
    let given = sqlx::query("SELECT name, seq FROM sqlite_sequence").fetch_all(source).await.unwrap_or_default();
    let given: BTreeMap<String, i64> =
        given.iter().filter_map(|row| Some((row.try_get("name").ok()?, row.try_get("seq").ok()?))).collect();
    let columns = Query::new(
        "SELECT CAST(c.relname AS TEXT) AS name, CAST(a.attname AS TEXT) AS part FROM pg_class c \
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attidentity <> '' \
         WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition",
    );
    for row in target.fetch_all(columns).await.map_err(sql("the numbers"))? {
        let of = |column: &str| row.text(column).map_err(sql("the numbers"));
        let (table, part) = (of("name")?, of("part")?);
        if !tables.iter().any(|known| known.name == table) {
            continue;
        }
        let last = given.get(&table).copied().unwrap_or_default();
        let set = Query::new(format!(
            "SELECT setval(pg_get_serial_sequence('\"{table}\"', '{part}'), greatest(coalesce(max(\"{part}\"), 0), $1, 0) + 1, false) \
             FROM \"{table}\""
        ));
        target.number(set.bind(last)).await.map_err(sql(&table))?;
    }
    Ok(())
}
