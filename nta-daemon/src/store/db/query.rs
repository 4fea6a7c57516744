//! A statement with its values, for either database: `$n` placeholders, four kinds of values.

use std::fmt::Display;

use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Postgres, Sqlite};

/// A value as both databases know it; `None` is NULL.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::store) enum Value {
    /// BIGINT.
    Int(Option<i64>),
    /// DOUBLE PRECISION.
    Real(Option<f64>),
    /// TEXT.
    Text(Option<String>),
    /// BLOB or BYTEA.
    Blob(Option<Vec<u8>>),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<Option<i64>> for Value {
    fn from(value: Option<i64>) -> Self {
        Self::Int(value)
    }
}

impl From<Option<f64>> for Value {
    fn from(value: Option<f64>) -> Self {
        Self::Real(value)
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(Some(value))
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(Some(value.to_owned()))
    }
}

impl From<Option<String>> for Value {
    fn from(value: Option<String>) -> Self {
        Self::Text(value)
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Self {
        Self::Blob(Some(value))
    }
}

impl From<Option<Vec<u8>>> for Value {
    fn from(value: Option<Vec<u8>>) -> Self {
        Self::Blob(value)
    }
}

/// A statement that grows. All text comes from this module's callers, never from a client: what clients name is bound.
#[derive(Clone, Debug, Default)]
pub(in crate::store) struct Query {
    sql: String,
    values: Vec<Value>,
    /// Whether the statement is worth keeping prepared.
    pub(in crate::store) persistent: bool,
    /// Placeholders without numbers: SQLite looks up a numbered one in a list that grows with them.
    pub(in crate::store) anonymous: bool,
}

impl Query {
    pub(in crate::store) fn new(sql: impl Into<String>) -> Self {
        Self { sql: sql.into(), values: Vec::new(), persistent: true, anonymous: false }
    }

    /// Appends text.
    pub(in crate::store) fn push(&mut self, sql: impl Display) -> &mut Self {
        use std::fmt::Write as _;
        // Writing to a string cannot fail.
        let _ = write!(self.sql, "{sql}");
        self
    }

    /// Appends a placeholder and its value.
    pub(in crate::store) fn push_bind(&mut self, value: impl Into<Value>) -> &mut Self {
        self.values.push(value.into());
        if self.anonymous {
            return self.push("?");
        }
        let number = self.values.len();
        self.push(format_args!("${number}"))
    }

    /// Appends `(…), (…)` with a placeholder for each value of each row.
    pub(in crate::store) fn push_rows(&mut self, rows: impl Iterator<Item = Vec<Value>>) -> &mut Self {
        for (index, row) in rows.enumerate() {
            self.push(if index == 0 { "(" } else { ", (" });
            for (column, value) in row.into_iter().enumerate() {
                if column > 0 {
                    self.push(", ");
                }
                self.push_bind(value);
            }
            self.push(")");
        }
        self
    }

    /// The value of the next `$n` that the text names already.
    #[must_use]
    pub(in crate::store) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    #[cfg(test)]
    pub(in crate::store) fn sql(&self) -> &str {
        &self.sql
    }

    /// The text, for a test that asks for its plan.
    #[cfg(test)]
    pub(in crate::store) fn explained(mut self, dialect: super::Dialect) -> Self {
        self.sql.insert_str(0, if dialect == super::Dialect::Sqlite { "EXPLAIN QUERY PLAN " } else { "EXPLAIN " });
        self.persistent = false;
        self
    }

    pub(in crate::store) fn sqlite(self) -> sqlx::query::Query<'static, Sqlite, SqliteArguments> {
        let mut query = sqlx::query::<Sqlite>(AssertSqlSafe(self.sql)).persistent(self.persistent);
        for value in self.values {
            query = match value {
                Value::Int(value) => query.bind(value),
                Value::Real(value) => query.bind(value),
                Value::Text(value) => query.bind(value),
                Value::Blob(value) => query.bind(value),
            };
        }
        query
    }

    pub(in crate::store) fn postgres(self) -> sqlx::query::Query<'static, Postgres, PgArguments> {
        let mut query = sqlx::query::<Postgres>(AssertSqlSafe(self.sql)).persistent(self.persistent);
        for value in self.values {
            query = match value {
                Value::Int(value) => query.bind(value),
                Value::Real(value) => query.bind(value),
                // PostgreSQL's text holds no NUL.
                Value::Text(value) => query.bind(value.map(|text| text.replace('\0', "\u{fffd}"))),
                Value::Blob(value) => query.bind(value),
            };
        }
        query
    }
}
