//! A row of either database.

use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Error, Row as _};

/// A row; columns are read by name.
pub(in crate::store) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

macro_rules! getter {
    ($name:ident, $type:ty) => {
        pub(in crate::store) fn $name(&self, column: &str) -> Result<$type, Error> {
            match self {
                Self::Sqlite(row) => row.try_get(column),
                Self::Postgres(row) => row.try_get(column),
            }
        }
    };
}

impl Row {
    getter!(int, i64);
    getter!(opt_int, Option<i64>);
    getter!(opt_real, Option<f64>);
    getter!(text, String);
    getter!(opt_text, Option<String>);
    getter!(blob, Vec<u8>);
    getter!(opt_blob, Option<Vec<u8>>);

    /// A number that is not negative: a time, a count.
    pub(in crate::store) fn natural(&self, column: &str) -> Result<i64, Error> {
        self.int(column).and_then(|value| natural(column, value))
    }

    /// The same where there may be none.
    pub(in crate::store) fn opt_natural(&self, column: &str) -> Result<Option<i64>, Error> {
        self.opt_int(column)?.map(|value| natural(column, value)).transpose()
    }

    /// A small unsigned number.
    pub(in crate::store) fn small<T: TryFrom<i64>>(&self, column: &str) -> Result<T, Error> {
        let value = self.int(column)?;
        T::try_from(value).map_err(|_too_large| out_of_range(column, value))
    }

    /// The first column, which is a number.
    pub(in crate::store) fn first(&self) -> Result<i64, Error> {
        match self {
            Self::Sqlite(row) => row.try_get(0),
            Self::Postgres(row) => row.try_get(0),
        }
    }
}

fn natural(column: &str, value: i64) -> Result<i64, Error> {
    if value < 0 { Err(out_of_range(column, value)) } else { Ok(value) }
}

fn out_of_range(column: &str, value: i64) -> Error {
    Error::ColumnDecode { index: column.to_owned(), source: format!("{value} is out of range").into() }
}
