//! Parquet: a column of a table each, times as `TIMESTAMP(MICROS, UTC)`, compressed with Snappy. Rows are kept until a row group is
//! full; behind it nothing of it stays but its place in the file.

use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::Result;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::Type;
use serde_json::Value;

use super::column::{Column, Kind};

/// Rows of a group: of the widest table about 20 MiB while it is filled.
const GROUP_ROWS: usize = 16_384;

/// A table that is being written.
pub(super) struct Table {
    columns: Vec<Filled>,
    rows: usize,
    writer: SerializedFileWriter<Vec<u8>>,
}

/// A column, and its values in the row group that is being filled.
#[derive(Debug)]
struct Filled {
    column: Column,
    /// For each row whether there is a value.
    defined: Vec<i16>,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Bytes(Vec<ByteArray>),
    Whole(Vec<i64>),
    Real(Vec<f64>),
    Truth(Vec<bool>),
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl Table {
    pub(super) fn new(columns: Vec<Column>) -> Result<Self> {
        let fields = columns.iter().map(field).collect::<Result<Vec<_>>>()?;
        let schema = Arc::new(Type::group_type_builder("nta").with_fields(fields).build()?);
        let created_by = format!("nta-daemon version {}", env!("CARGO_PKG_VERSION"));
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).set_created_by(created_by);
        let writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties.build()))?;
        Ok(Self { columns: columns.into_iter().map(Filled::new).collect(), rows: 0, writer })
    }

    pub(super) fn row(&mut self, item: &Value, out: &mut Vec<u8>) -> Result<()> {
        for column in &mut self.columns {
            column.push(item);
        }
        self.rows += 1;
        if self.rows >= GROUP_ROWS {
            self.group()?;
            self.writer.flush()?;
            out.append(self.writer.inner_mut());
        }
        Ok(())
    }

    /// Writes the rows that are kept as a group of their own.
    fn group(&mut self) -> Result<()> {
        if std::mem::take(&mut self.rows) == 0 {
            return Ok(());
        }
        let mut group = self.writer.next_row_group()?;
        for column in &mut self.columns {
            if let Some(mut writer) = group.next_column()? {
                column.write(&mut writer)?;
                writer.close()?;
            }
        }
        group.close()?;
        Ok(())
    }

    pub(super) fn end(mut self, out: &mut Vec<u8>) -> Result<()> {
        self.group()?;
        out.append(&mut self.writer.into_inner()?);
        Ok(())
    }
}

/// A column in the schema; each may be null.
fn field(column: &Column) -> Result<Arc<Type>> {
    let (physical, logical) = match column.kind {
        Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        // Not every reader of Parquet knows the logical type JSON, and all know text.
        Kind::Json => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Kind::Whole => (Physical::INT64, None),
        Kind::Time => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::MICROS))),
        Kind::Real => (Physical::DOUBLE, None),
        Kind::Truth => (Physical::BOOLEAN, None),
    };
    let field = Type::primitive_type_builder(&column.name, physical).with_repetition(Repetition::OPTIONAL);
    Ok(Arc::new(field.with_logical_type(logical).build()?))
}

impl Filled {
    const fn new(column: Column) -> Self {
        let values = match column.kind {
            Kind::Text | Kind::Json => Values::Bytes(Vec::new()),
            Kind::Whole | Kind::Time => Values::Whole(Vec::new()),
            Kind::Real => Values::Real(Vec::new()),
            Kind::Truth => Values::Truth(Vec::new()),
        };
        Self { column, defined: Vec::new(), values }
    }

    fn push(&mut self, item: &Value) {
        let found = self.column.value(item);
        let is_pushed = found.is_some_and(|value| match &mut self.values {
            Values::Bytes(values) => {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                values.push(ByteArray::from(text.into_bytes()));
                true
            }
            Values::Whole(values) => {
                push(values, if self.column.kind == Kind::Time { micros(value) } else { whole(value) })
            }
            Values::Real(values) => push(values, value.as_f64()),
            Values::Truth(values) => push(values, value.as_bool()),
        });
        self.defined.push(i16::from(is_pushed));
    }

    /// Writes the values, and forgets them.
    fn write(&mut self, writer: &mut SerializedColumnWriter<'_>) -> Result<()> {
        let defined = std::mem::take(&mut self.defined);
        let levels = Some(defined.as_slice());
        match &mut self.values {
            Values::Bytes(values) => {
                writer.typed::<ByteArrayType>().write_batch(&std::mem::take(values), levels, None)?;
            }
            Values::Whole(values) => {
                writer.typed::<Int64Type>().write_batch(&std::mem::take(values), levels, None)?;
            }
            Values::Real(values) => {
                writer.typed::<DoubleType>().write_batch(&std::mem::take(values), levels, None)?;
            }
            Values::Truth(values) => {
                writer.typed::<BoolType>().write_batch(&std::mem::take(values), levels, None)?;
            }
        }
        Ok(())
    }
}

fn push<T>(values: &mut Vec<T>, value: Option<T>) -> bool {
    let is_there = value.is_some();
    values.extend(value);
    is_there
}

/// A whole number; what is larger than a column holds is the largest that it does.
fn whole(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_u64().map(|_large| i64::MAX))
}

/// A time in microseconds since 1970.
fn micros(value: &Value) -> Option<i64> {
    Some(value.as_str()?.parse::<jiff::Timestamp>().ok()?.as_microsecond())
}
