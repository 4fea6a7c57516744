//! PostgreSQL's binary COPY: rows as bytes, into a table or into the staging table beside it.

use sqlx::Error;

use super::db::{Conn, Dialect, Query, Value, without_nul};

/// Begin of the stream: signature, no flags, no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// End of the stream, in place of a row's number of fields.
const TRAILER: [u8; 2] = (-1_i16).to_be_bytes();

/// Whether so many rows go by COPY. For few it costs more than it saves.
pub(super) const fn is_copied(conn: &Conn, rows: usize) -> bool {
    matches!(conn.dialect(), Dialect::Postgres) && rows > conn.chunk_rows()
}

/// Copies rows into the staging table of `table`, which is empty before: a temporary one with these columns, for a connection.
pub(super) async fn stage(
    conn: &mut Conn,
    table: &str,
    columns: &str,
    rows: impl Iterator<Item = Vec<Value>>,
) -> Result<(), Error> {
    let staging = format!(
        "CREATE TEMPORARY TABLE IF NOT EXISTS {table}_staging ON COMMIT DELETE ROWS AS SELECT {columns} FROM {table} WITH NO DATA"
    );
    conn.execute(Query::new(staging)).await?;
    // Of another batch in the same transaction.
    conn.execute(Query::new(format!("TRUNCATE {table}_staging"))).await?;
    let mut copy = Copy::default();
    rows.for_each(|row| copy.row(row));
    copy.send(conn, &format!("{table}_staging"), columns).await
}

/// Rows on their way into a table.
#[derive(Debug)]
pub(super) struct Copy {
    bytes: Vec<u8>,
}

impl Default for Copy {
    fn default() -> Self {
        Self { bytes: HEADER.to_vec() }
    }
}

impl Copy {
    pub(super) fn row(&mut self, values: Vec<Value>) {
        let fields = i16::try_from(values.len()).unwrap_or(i16::MAX);
        self.bytes.extend_from_slice(&fields.to_be_bytes());
        for value in values {
            match value {
                Value::Int(value) => self.field(value.map(i64::to_be_bytes).as_ref().map(|b| b.as_slice())),
                Value::Real(value) => self.field(value.map(f64::to_be_bytes).as_ref().map(|b| b.as_slice())),
                Value::Text(value) => self.field(value.map(without_nul).as_ref().map(String::as_bytes)),
                Value::Blob(value) => self.field(value.as_deref()),
            }
        }
    }

    fn field(&mut self, bytes: Option<&[u8]>) {
        let length = bytes.map_or(-1, |bytes| i32::try_from(bytes.len()).unwrap_or(i32::MAX));
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(bytes.unwrap_or_default());
    }

    pub(super) async fn send(mut self, conn: &mut Conn, table: &str, columns: &str) -> Result<(), Error> {
        self.bytes.extend_from_slice(&TRAILER);
        conn.copy(&format!("COPY {table} ({columns}) FROM STDIN (FORMAT binary)"), self.bytes).await
    }
}
