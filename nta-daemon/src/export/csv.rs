//! CSV by RFC 4180: a line of names, then a line a row; what is not known is empty. pandas, R and DuckDB read it without options.

use std::io;

use serde_json::Value;

use super::column::Column;

/// A table that is being written.
#[derive(Debug)]
pub(super) struct Table {
    columns: Vec<Column>,
    has_header: bool,
}

impl Table {
    pub(super) const fn new(columns: Vec<Column>) -> Self {
        Self { columns, has_header: false }
    }

    /// The names stand in front of the first row, and in a table without rows too.
    fn header(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        if std::mem::replace(&mut self.has_header, true) {
            return Ok(());
        }
        record(out, self.columns.iter().map(|column| column.name.clone()))
    }

    pub(super) fn row(&mut self, item: &Value, out: &mut Vec<u8>) -> io::Result<()> {
        self.header(out)?;
        record(out, self.columns.iter().map(|column| column.value(item).map(cell).unwrap_or_default()))
    }

    pub(super) fn end(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        self.header(out)
    }
}

fn record(out: &mut Vec<u8>, cells: impl Iterator<Item = String>) -> io::Result<()> {
    let mut writer = ::csv::Writer::from_writer(out);
    writer.write_record(cells)?;
    writer.flush()
}

/// A value as a cell.
fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
