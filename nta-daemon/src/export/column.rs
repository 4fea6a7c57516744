//! Columns of tables: a name, a type, and where in an item's JSON the value stands.

use serde_json::Value;

/// A column of a table.
#[derive(Clone, Debug)]
pub(super) struct Column {
    /// The path with `_` between its names.
    pub(super) name: String,
    path: Vec<String>,
    pub(super) kind: Kind,
}

/// What a column holds. Each may be empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// UTF-8.
    Text,
    /// Whole numbers.
    Whole,
    /// Floating-point numbers.
    Real,
    /// `true` or `false`.
    Truth,
    /// RFC 3339 in UTC.
    Time,
    /// A list or an object, as JSON.
    Json,
}

impl Column {
    pub(super) fn new(path: &str, kind: Kind) -> Self {
        Self { name: path.replace('.', "_"), path: path.split('.').map(str::to_owned).collect(), kind }
    }

    /// A member of an object whose columns go by their own names.
    pub(super) fn member(of: &str, name: &str, kind: Kind) -> Self {
        Self { name: name.to_owned(), path: vec![of.to_owned(), name.to_owned()], kind }
    }

    /// The value in an item; `None` where it is null or left out.
    pub(super) fn value<'v>(&self, item: &'v Value) -> Option<&'v Value> {
        let found = self.path.iter().try_fold(item, |value, name| value.get(name))?;
        (!found.is_null()).then_some(found)
    }

    fn stands_at(&self, path: &str) -> bool {
        self.path.join(".") == path
    }
}

/// The paths below a value for which there is no column.
pub(super) fn leaves(path: &str, value: &Value, columns: &[Column], left: &mut Vec<String>) {
    if columns.iter().any(|column| column.stands_at(path)) {
        return;
    }
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                leaves(&path, value, columns, left);
            }
        }
        // What is not there may be an object: its columns lie below.
        Value::Null if columns.iter().any(|column| column.path.join(".").starts_with(&format!("{path}."))) => {}
        _ => left.push(path.to_owned()),
    }
}
