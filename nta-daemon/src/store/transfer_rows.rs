//! Rows on their way from SQLite to PostgreSQL: what a table's columns hold, a row's values, and a sum over rows by which both sides are compared.

use sha2::{Digest as _, Sha256};
use sqlx::{Row as _, TypeInfo as _, ValueRef as _};

use super::db::{Value, without_nul};

/// Rows of a table, whatever their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) rows: u64,
    hashes: u128,
}

impl Sum {
    pub(super) fn add(&mut self, row: &[Value]) {
        let mut hash = Sha256::new();
        for value in row {
            let (kind, bytes) = match value {
                Value::Int(value) => (1_u8, value.map(|value| value.to_be_bytes().to_vec())),
                Value::Real(value) => (2, value.map(|value| value.to_bits().to_be_bytes().to_vec())),
                Value::Text(value) => (3, value.clone().map(|text| without_nul(text).into_bytes())),
                Value::Blob(value) => (4, value.clone()),
            };
            hash.update([kind, u8::from(bytes.is_some())]);
            let bytes = bytes.unwrap_or_default();
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(&bytes);
        }
        let mut half = [0; 16];
        half.copy_from_slice(&hash.finalize()[..16]);
        self.hashes = self.hashes.wrapping_add(u128::from_be_bytes(half));
        self.rows += 1;
    }
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Int,
    Real,
    Text,
    Blob,
}

/// A table of the target, its columns in their order.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) columns: Vec<(String, Kind)>,
}

impl Table {
    pub(super) fn list(&self) -> String {
        self.columns.iter().map(|(name, _)| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
    }

    pub(super) fn select(&self) -> String {
        format!("SELECT {} FROM \"{}\"", self.list(), self.name)
    }
}

/// About how many bytes it takes.
pub(super) const fn length(value: &Value) -> usize {
    match value {
        Value::Text(Some(text)) => text.len(),
        Value::Blob(Some(bytes)) => bytes.len(),
        _ => 8,
    }
}

/// A value as the target's column holds it.
pub(super) fn value(row: &sqlx::sqlite::SqliteRow, at: usize, name: &str, kind: Kind) -> Result<Value, String> {
    let raw = row.try_get_raw(at).map_err(|error| error.to_string())?;
    let found = raw.type_info().name().to_owned();
    let is = |wanted: &[&str]| {
        if raw.is_null() || wanted.contains(&found.as_str()) { Ok(()) } else { Err(format!("{name} is {found}")) }
    };
    let failed = |error: sqlx::Error| format!("{name}: {error}");
    match kind {
        Kind::Int => is(&["INTEGER"]).and_then(|()| row.try_get(at).map(Value::Int).map_err(failed)),
        Kind::Real => is(&["REAL"]).and_then(|()| row.try_get(at).map(Value::Real).map_err(failed)),
        Kind::Text => is(&["TEXT"]).and_then(|()| row.try_get(at).map(Value::Text).map_err(failed)),
        Kind::Blob => is(&["BLOB"]).and_then(|()| row.try_get(at).map(Value::Blob).map_err(failed)),
    }
}

/// The first column, for a person.
pub(super) fn shown(row: &sqlx::sqlite::SqliteRow) -> String {
    let number = row.try_get::<i64, _>(0).map(|number| number.to_string());
    number.or_else(|_| row.try_get::<String, _>(0)).unwrap_or_else(|_| "no number or text".to_owned())
}
