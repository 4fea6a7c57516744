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

    /// Runs a statement; how many rows it changed.
    pub(in crate::store) async fn execute(&mut self, query: Query) -> Result<u64, Error> {
        Ok(match self {
            Self::Sqlite(conn) => query.sqlite().execute(conn).await?.rows_affected(),
            Self::Postgres(conn) => query.postgres().execute(conn).await?.rows_affected(),
        })
    }

    pub(in crate::store) async fn fetch_all(&mut self, query: Query) -> Result<Vec<Row>, Error> {
        Ok(match self {
            Self::Sqlite(conn) => query.sqlite().fetch_all(conn).await?.into_iter().map(Row::Sqlite).collect(),
            Self::Postgres(conn) => query.postgres().fetch_all(conn).await?.into_iter().map(Row::Postgres).collect(),
        })
    }

    pub(in crate::store) async fn fetch_optional(&mut self, query: Query) -> Result<Option<Row>, Error> {
        Ok(match self {
            Self::Sqlite(conn) => query.sqlite().fetch_optional(conn).await?.map(Row::Sqlite),
            Self::Postgres(conn) => query.postgres().fetch_optional(conn).await?.map(Row::Postgres),
        })
    }

    /// The first column of the first row, which must be there.
    pub(in crate::store) async fn number(&mut self, query: Query) -> Result<i64, Error> {
        self.fetch_optional(query).await?.ok_or(Error::RowNotFound)?.first()
    }

    /// Runs a statement without values.
    pub(in crate::store) async fn run(&mut self, sql: &'static str) -> Result<(), Error> {
        match self {
            Self::Sqlite(conn) => sqlx::raw_sql(sql).execute(conn).await.map(drop),
            Self::Postgres(conn) => sqlx::raw_sql(sql).execute(conn).await.map(drop),
        }
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
}
