//! Keyset paging: a page begins behind the last row of the one before, so that rows that arrive in between neither
//! shift nor repeat anything.

use super::db::Query;
use super::list::Placed;
use nta_core::domain::Timestamp;

/// Where a row stands in a sorted list: its sort value, then its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Value of the sort column.
    pub value: i64,
    /// The row's id, which decides between equal values.
    pub id: i64,
}

/// The time range of a list: what goes on at `from` or later and began before `to`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// From this time on; `None` for all that is stored.
    pub from: Option<Timestamp>,
    /// Before this time.
    pub to: Option<Timestamp>,
}

/// Which page of a sorted list.
#[derive(Clone, Copy, Debug)]
pub struct Position {
    /// Largest first.
    pub descending: bool,
    /// Behind this row; `None` for the first page.
    pub after: Option<Key>,
    /// At most this many rows.
    pub limit: u32,
}

impl Position {
    /// Appends `AND …` for the cursor, then the order and the limit. `column` comes from an enum, never from a client.
    pub(super) fn push(&self, query: &mut Query, column: &'static str) {
        self.push_by(query, column, "id");
    }

    /// The same where another column decides between equal values.
    pub(super) fn push_by(&self, query: &mut Query, column: &'static str, id: &'static str) {
        let (compare, order) = if self.descending { ("<", "DESC") } else { (">", "ASC") };
        if let Some(key) = self.after {
            query.push(format_args!(" AND ({column}, {id}) {compare} ("));
            query.push_bind(key.value).push(", ").push_bind(key.id).push(")");
        }
        query.push(format_args!(" ORDER BY {column} {order}, {id} {order} LIMIT "));
        query.push_bind(i64::from(self.limit));
    }

    /// Appends the order alone.
    pub(super) fn push_order(&self, query: &mut Query, columns: &[&str], id: &str) {
        let order = if self.descending { "DESC" } else { "ASC" };
        query.push(" ORDER BY ");
        for column in columns {
            query.push(format_args!("{column} {order}, "));
        }
        query.push(format_args!("{id} {order}"));
    }

    /// Whether one row comes behind another in this order.
    pub(super) fn is_behind(&self, row: Key, other: Key) -> bool {
        let (row, other) = ((row.value, row.id), (other.value, other.id));
        if self.descending { row < other } else { row > other }
    }

    /// One more row than asked for, which shows whether there is a next page.
    pub(super) const fn and_one(self) -> Self {
        Self { limit: self.limit.saturating_add(1), ..self }
    }

    /// Cuts the row that only showed that there is a next page; returns the others, and the key of the last one if there is
    /// such a page. Rows that cannot be read have their places: a page of nothing else has a next one too.
    pub(super) fn cut<T>(&self, mut rows: Vec<Placed<T>>) -> (Vec<T>, Option<Key>) {
        let more = rows.len() > self.limit as usize;
        rows.truncate(self.limit as usize);
        let next = rows.last().filter(|_| more).map(|row| row.key);
        (rows.into_iter().filter_map(|row| row.item).collect(), next)
    }
}
