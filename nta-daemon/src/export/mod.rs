//! Windows, flows, alerts and features as files that other programs read: JSON, JSON lines, CSV, Parquet and Suricata's EVE
//! JSON, a file a format. Whoever has the items, the API or `replay`, hands one after the other to an [`Encoder`], which keeps
//! no more of them than its format needs.

mod column;
mod columns;
mod conn_log;
mod csv;
pub mod eve;
pub mod ipfix;
mod parquet;

use std::io;

pub use conn_log::ConnLog;

use serde::Serialize;

use crate::anonymize::Anonymizer;
use serde_json::Value;

/// What is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Windows.
    Windows,
    /// Flows.
    Flows,
    /// Alerts.
    Alerts,
    /// Feature vectors of hosts.
    Features,
}

impl What {
    /// Each with its word.
    pub const ALL: [(&'static str, Self); 4] =
        [("windows", Self::Windows), ("flows", Self::Flows), ("alerts", Self::Alerts), ("features", Self::Features)];

    /// Its word.
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, what)| *what == self).map_or("", |(word, _)| word)
    }
}

/// How it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON array of the API's objects.
    Json,
    /// The API's objects, one a line.
    Ndjson,
    /// Comma-separated values with a line of names.
    Csv,
    /// Apache Parquet.
    Parquet,
    /// Suricata's EVE JSON, an event a line.
    Eve,
}

impl Format {
    /// Each with its word.
    pub const ALL: [(&'static str, Self); 5] = [
        ("json", Self::Json),
        ("ndjson", Self::Ndjson),
        ("csv", Self::Csv),
        ("parquet", Self::Parquet),
        ("eve", Self::Eve),
    ];

    /// Its word.
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, format)| *format == self).map_or("", |(word, _)| word)
    }

    /// The media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson | Self::Eve => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }

    /// How file names end.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
            Self::Parquet => "parquet",
            Self::Eve => "eve.json",
        }
    }
}

/// Writes items in a format, in the order in which they come.
#[derive(Debug)]
pub struct Encoder {
    what: What,
    out: Vec<u8>,
    writer: Writer,
    items: u64,
    anonymizer: Option<Anonymizer>,
}

#[derive(Debug)]
enum Writer {
    Json,
    Ndjson,
    Csv(csv::Table),
    Parquet(Box<parquet::Table>),
    Eve(eve::Writer),
}

impl Encoder {
    /// For items of this kind.
    ///
    /// # Errors
    /// [`ExportError::NoEvent`] where the format has no place for them.
    pub fn new(what: What, format: Format) -> Result<Self, ExportError> {
        let writer = match format {
            Format::Json => Writer::Json,
            Format::Ndjson => Writer::Ndjson,
            Format::Csv => Writer::Csv(csv::Table::new(columns::of(what))),
            Format::Parquet => Writer::Parquet(Box::new(parquet::Table::new(columns::of(what))?)),
            Format::Eve if what == What::Features => return Err(ExportError::NoEvent),
            Format::Eve => Writer::Eve(eve::Writer::default()),
        };
        Ok(Self { what, out: Vec::new(), writer, items: 0, anonymizer: None })
    }

    /// Replaces addresses, and what would lead back to them.
    #[must_use]
    pub fn anonymized(self, anonymizer: Option<Anonymizer>) -> Self {
        Self { anonymizer, ..self }
    }

    /// Writes an item of the API's shape.
    ///
    /// # Errors
    /// Of the writer of the format.
    pub fn item(&mut self, item: &impl Serialize) -> Result<(), ExportError> {
        let Some(anonymizer) = &mut self.anonymizer else { return self.write(item) };
        let mut item = serde_json::to_value(item)?;
        anonymizer.item(&mut item);
        self.write(&item)
    }

    fn write(&mut self, item: &impl Serialize) -> Result<(), ExportError> {
        self.items += 1;
        match &mut self.writer {
            Writer::Json => {
                self.out.extend_from_slice(if self.items == 1 { b"[\n" } else { b",\n" });
                serde_json::to_writer(&mut self.out, item)?;
            }
            Writer::Ndjson => line(&mut self.out, item)?,
            Writer::Csv(table) => table.row(&serde_json::to_value(item)?, &mut self.out)?,
            Writer::Parquet(table) => table.row(&serde_json::to_value(item)?, &mut self.out)?,
            Writer::Eve(writer) => {
                let item = serde_json::to_value(item)?;
                let event = match self.what {
                    What::Windows => writer.stats(&item),
                    What::Flows => Some(eve::flow(&item)),
                    What::Alerts => Some(eve::alert(&item)),
                    What::Features => None,
                };
                event.map_or(Ok(()), |event| line(&mut self.out, &event))?;
            }
        }
        Ok(())
    }

    /// What of the file is ready; it is handed out once.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// The rest of the file, behind the last item.
    ///
    /// # Errors
    /// Of the writer of the format.
    pub fn end(mut self) -> Result<Vec<u8>, ExportError> {
        match self.writer {
            Writer::Json => self.out.extend_from_slice(if self.items == 0 { b"[]\n" } else { b"\n]\n" }),
            Writer::Ndjson | Writer::Eve(_) => {}
            Writer::Csv(mut table) => table.end(&mut self.out)?,
            Writer::Parquet(table) => table.end(&mut self.out)?,
        }
        Ok(self.out)
    }
}

fn line(out: &mut Vec<u8>, value: &impl Serialize) -> serde_json::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.push(b'\n');
    Ok(())
}

/// Why an export cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// EVE JSON has no event for it.
    #[error(
        "Suricata's EVE JSON has no event for feature vectors; it takes windows (`stats`), flows (`flow`) and alerts (`alert`)"
    )]
    NoEvent,
    /// An item has no JSON.
    #[error("an item cannot be written as JSON")]
    Json(#[from] serde_json::Error),
    /// The writer of CSV failed.
    #[error("an item cannot be written as CSV")]
    Csv(#[from] io::Error),
    /// The writer of Parquet failed.
    #[error("items cannot be written as Parquet")]
    Parquet(#[from] ::parquet::errors::ParquetError),
}

/// What of an item a table has no column for, by its path. For tests: whoever adds a field finds it here.
#[doc(hidden)]
pub fn without_column(what: What, item: &Value) -> Vec<String> {
    let columns = columns::of(what);
    let mut left = Vec::new();
    column::leaves("", item, &columns, &mut left);
    left
}

#[cfg(test)]
#[path = "export_tests.rs"]
mod tests;
