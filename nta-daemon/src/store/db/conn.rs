//! One connection. The writer's transactions begin and end by plain statements, so that nothing but the database knows
//! whether one is open; a connection that failed is closed, which rolls it back, and never used again.

use sqlx::{Connection as _, Error, PgConnection, SqliteConnection};

use super::{Query, Row};

/// Which database it is, for the few statements that differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Dialect {
    Sqlite,
    Postgres,
}

/// For who writes: a page cache for what a large batch of flows changes in the indexes, and memory rather than a file for what
/// statements keep of the state before them. With these and a longer write-ahead log the system has a third of the work.
const WRITER: &str = "PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY";

/// A connection to either database.
#[derive(Debug)]
pub(in crate::store) enum Conn {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Conn {
    pub(in crate::store) const fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Rows that one statement inserts. SQLite binds each value of each row, PostgreSQL an array for each column.
    pub(in crate::store) const fn chunk_rows(&self) -> usize {
        match self {
            Self::Sqlite(_) => 100,
            Self::Postgres(_) => 1000,
        }
    }

    /// Runs a statement; how many rows it changed.
    pub(in crate::store) async fn execute(&mut self, query: Query) -> Result<u64, Error> {
        let may_fail = self.statement()?;
        may_fail.after(match self {
            Self::Sqlite(conn) => query.sqlite().execute(conn).await?.rows_affected(),
            Self::Postgres(conn) => query.postgres().execute(conn).await?.rows_affected(),
        })
    }

    pub(in crate::store) async fn fetch_all(&mut self, query: Query) -> Result<Vec<Row>, Error> {
        let may_fail = self.statement()?;
        may_fail.after(match self {
            Self::Sqlite(conn) => query.sqlite().fetch_all(conn).await?.into_iter().map(Row::Sqlite).collect(),
            Self::Postgres(conn) => query.postgres().fetch_all(conn).await?.into_iter().map(Row::Postgres).collect(),
        })
    }

    pub(in crate::store) async fn fetch_optional(&mut self, query: Query) -> Result<Option<Row>, Error> {
        let may_fail = self.statement()?;
        may_fail.after(match self {
            Self::Sqlite(conn) => query.sqlite().fetch_optional(conn).await?.map(Row::Sqlite),
            Self::Postgres(conn) => query.postgres().fetch_optional(conn).await?.map(Row::Postgres),
        })
    }

    /// Copies rows in PostgreSQL's binary form into a table.
    pub(in crate::store) async fn copy(&mut self, statement: &str, rows: Vec<u8>) -> Result<(), Error> {
        let may_fail = self.statement()?;
        if let Self::Postgres(conn) = self {
            let mut stream = conn.copy_in_raw(statement).await?;
            stream.send(rows).await?;
            stream.finish().await?;
        }
        may_fail.after(())
    }

    /// The first column of the first row, which must be there.
    pub(in crate::store) async fn number(&mut self, query: Query) -> Result<i64, Error> {
        self.fetch_optional(query).await?.ok_or(Error::RowNotFound)?.first()
    }

    /// Runs a statement without values.
    pub(in crate::store) async fn run(&mut self, sql: &'static str) -> Result<(), Error> {
        let may_fail = self.statement()?;
        match self {
            Self::Sqlite(conn) => sqlx::raw_sql(sql).execute(conn).await.map(drop)?,
            Self::Postgres(conn) => sqlx::raw_sql(sql).execute(conn).await.map(drop)?,
        }
        may_fail.after(())
    }

    /// To be called when the tables are as they must be: an index that is made in memory takes as much as it has.
    pub(super) async fn will_write(&mut self) -> Result<(), Error> {
        if self.dialect() == Dialect::Sqlite { self.run(WRITER).await } else { Ok(()) }
    }

    pub(in crate::store) async fn begin(&mut self) -> Result<(), Error> {
        match self {
            Self::Sqlite(_) => self.run("BEGIN IMMEDIATE").await,
            Self::Postgres(_) => self.run("BEGIN").await,
        }
    }

    pub(in crate::store) async fn close(self) -> Result<(), Error> {
        match self {
            Self::Sqlite(conn) => conn.close().await,
            Self::Postgres(conn) => conn.close().await,
        }
    }

    /// Every statement begins here, where a test lets one fail.
    #[cfg(test)]
    fn statement(&self) -> Result<MayFail, Error> {
        let [before, after] = super::fault::next(self.dialect());
        before.map_or(Ok(MayFail(after)), Err)
    }

    #[cfg(not(test))]
    const fn statement(&self) -> Result<MayFail, Error> {
        Ok(MayFail)
    }
}

/// Whether a statement that has run is said to have failed.
#[cfg(test)]
struct MayFail(Option<Error>);

#[cfg(not(test))]
struct MayFail;

impl MayFail {
    #[cfg(test)]
    fn after<T>(self, answer: T) -> Result<T, Error> {
        self.0.map_or(Ok(answer), Err)
    }

    #[cfg(not(test))]
    fn after<T>(self, answer: T) -> Result<T, Error> {
        Ok(answer)
    }
}
