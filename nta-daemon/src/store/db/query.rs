//! A statement with its values, for either database: `$n` placeholders, four kinds of values.

use std::fmt::Display;

use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Postgres, Sqlite};

use super::{Conn, Dialect};

/// Statements with so few rows are worth keeping prepared, for each number of rows.
const FEW_ROWS: usize = 4;

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

/// The values of a column, row by row.
#[derive(Clone, Debug, PartialEq)]
enum Column {
    Int(Vec<Option<i64>>),
    Real(Vec<Option<f64>>),
    Text(Vec<Option<String>>),
    Blob(Vec<Option<Vec<u8>>>),
}

impl Column {
    /// An empty one for values such as this.
    const fn of(value: &Value) -> Self {
        match value {
            Value::Int(_) => Self::Int(Vec::new()),
            Value::Real(_) => Self::Real(Vec::new()),
            Value::Text(_) => Self::Text(Vec::new()),
            Value::Blob(_) => Self::Blob(Vec::new()),
        }
    }

    fn push(&mut self, value: Value) {
        match (self, value) {
            (Self::Int(column), Value::Int(value)) => column.push(value),
            (Self::Real(column), Value::Real(value)) => column.push(value),
            (Self::Text(column), Value::Text(value)) => column.push(value.map(without_nul)),
            (Self::Blob(column), Value::Blob(value)) => column.push(value),
            (column, value) => unreachable!("{value:?} in {column:?}: a column has one kind of values"),
        }
    }

    const fn array(&self) -> &'static str {
        match self {
            Self::Int(_) => "bigint[]",
            Self::Real(_) => "double precision[]",
            Self::Text(_) => "text[]",
            Self::Blob(_) => "bytea[]",
        }
    }
}

/// PostgreSQL's text holds no NUL.
pub(in crate::store) fn without_nul(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}

/// What stands behind a placeholder.
#[derive(Clone, Debug, PartialEq)]
enum Bound {
    One(Value),
    /// Of PostgreSQL only.
    Column(Column),
}

/// A statement that grows. All text comes from this module's callers, never from a client: what clients name is bound.
#[derive(Clone, Debug, Default)]
pub(in crate::store) struct Query {
    sql: String,
    values: Vec<Bound>,
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
        self.push_bound(Bound::One(value.into()))
    }

    fn push_bound(&mut self, bound: Bound) -> &mut Self {
        self.values.push(bound);
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

    /// Appends rows as a table whose columns are called `column1`, `column2` and so on: each value for SQLite, an array for each
    /// column for PostgreSQL, whose statement is the same for any number of rows. There must
    /// be a row, and no value before it.
    pub(in crate::store) fn push_table(&mut self, conn: &Conn, rows: impl Iterator<Item = Vec<Value>>) -> &mut Self {
        // Placeholders without numbers count from 1.
        assert!(self.values.is_empty(), "a value before the table: {}", self.sql);
        if conn.dialect() == Dialect::Sqlite {
            let mut count = 0;
            self.anonymous = true;
            self.push("VALUES ").push_rows(rows.inspect(|_| count += 1));
            self.persistent = count <= FEW_ROWS || count == conn.chunk_rows();
            return self;
        }
        let mut columns: Vec<Column> = Vec::new();
        for row in rows {
            for (index, value) in row.into_iter().enumerate() {
                if index == columns.len() {
                    columns.push(Column::of(&value));
                }
                columns[index].push(value);
            }
        }
        let names: Vec<String> = (1..=columns.len()).map(|number| format!("column{number}")).collect();
        for (index, column) in columns.into_iter().enumerate() {
            let array = column.array();
            self.push(if index == 0 { "SELECT * FROM unnest(" } else { ", " });
            self.push_bound(Bound::Column(column)).push("::").push(array);
        }
        self.push(format_args!(") AS rows ({})", names.join(", ")))
    }

    /// A plan that was made when a table was small may read all of it when it is large: PostgreSQL plans anew for the values of
    /// each time.
    pub(in crate::store) const fn plan_anew(&mut self, conn: &Conn) {
        if matches!(conn.dialect(), Dialect::Postgres) {
            self.persistent = false;
        }
    }

    /// The value of the next `$n` that the text names already.
    #[must_use]
    pub(in crate::store) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(Bound::One(value.into()));
        self
    }

    pub(in crate::store) fn sql(&self) -> &str {
        &self.sql
    }

    /// Another text for the same values.
    #[must_use]
    pub(in crate::store) fn with_sql(self, sql: String) -> Self {
        Self { sql, ..self }
    }

    /// The text, for a test that asks for its plan.
    #[cfg(test)]
    pub(in crate::store) fn explained(mut self, dialect: Dialect) -> Self {
        self.sql.insert_str(0, if dialect == Dialect::Sqlite { "EXPLAIN QUERY PLAN " } else { "EXPLAIN " });
        self.persistent = false;
        self
    }

    pub(in crate::store) fn sqlite(self) -> sqlx::query::Query<'static, Sqlite, SqliteArguments> {
        let mut query = sqlx::query::<Sqlite>(AssertSqlSafe(self.sql)).persistent(self.persistent);
        for value in self.values {
            query = match value {
                Bound::One(Value::Int(value)) => query.bind(value),
                Bound::One(Value::Real(value)) => query.bind(value),
                Bound::One(Value::Text(value)) => query.bind(value),
                Bound::One(Value::Blob(value)) => query.bind(value),
                Bound::Column(column) => unreachable!("SQLite has no arrays: {column:?}"),
            };
        }
        query
    }

    pub(in crate::store) fn postgres(self) -> sqlx::query::Query<'static, Postgres, PgArguments> {
        let mut query = sqlx::query::<Postgres>(AssertSqlSafe(self.sql)).persistent(self.persistent);
        for value in self.values {
            query = match value {
                Bound::One(Value::Int(value)) => query.bind(value),
                Bound::One(Value::Real(value)) => query.bind(value),
                Bound::One(Value::Text(value)) => query.bind(value.map(without_nul)),
                Bound::One(Value::Blob(value)) => query.bind(value),
                Bound::Column(Column::Int(column)) => query.bind(column),
                Bound::Column(Column::Real(column)) => query.bind(column),
                Bound::Column(Column::Text(column)) => query.bind(column),
                Bound::Column(Column::Blob(column)) => query.bind(column),
            };
        }
        query
    }
}
