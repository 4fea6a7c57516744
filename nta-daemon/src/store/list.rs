//! How a list is read without going through a table: in the order of an index, between two keys; or all rows of a short part
//! of an index, sorted. What would read more is refused.

use std::borrow::Cow;

use super::db::{Dialect, Query, Row, Value};
use super::unreadable::Unreadable;
use super::window_parts::push_times;
use super::{Key, Position, Store, StoreError};

/// Rows that a list reads at most beside those that it answers.
pub(super) const MOST_READ: u64 = 20_000;
/// The same where it is only tried whether the rows of a page come soon.
pub(super) const SOON: u64 = 1000;
/// The same where an index holds all that is sorted by, so that no row is read for it.
pub(super) const MOST_KEYS: u64 = 1_000_000;

/// The table of a list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listed {
    pub(super) table: &'static str,
    /// What is selected.
    pub(super) columns: &'static str,
    /// The column that the list is sorted by.
    pub(super) order: &'static str,
    /// What decides between equal values.
    pub(super) id: &'static str,
}

/// A row of a list: its place, and what it holds; `None` where that cannot be read.
#[derive(Clone, Debug)]
pub(super) struct Placed<T> {
    pub(super) key: Key,
    pub(super) item: Option<T>,
}

/// A condition; each `?` stands for a value.
#[derive(Clone, Debug)]
pub(super) struct Condition(Cow<'static, str>, Vec<Value>);

/// A condition with one value.
pub(super) fn when(sql: &'static str, value: impl Into<Value>) -> Condition {
    Condition(Cow::Borrowed(sql), vec![value.into()])
}

impl Condition {
    pub(super) fn new(sql: impl Into<Cow<'static, str>>, values: Vec<Value>) -> Self {
        Self(sql.into(), values)
    }

    /// That one of some conditions holds.
    pub(super) fn any(conditions: impl Iterator<Item = Self>) -> Self {
        let (texts, values): (Vec<_>, Vec<_>) = conditions.map(|Self(sql, values)| (sql, values)).unzip();
        Self(Cow::Owned(format!("({})", texts.join(" OR "))), values.concat())
    }

    /// That it does not hold.
    pub(super) fn not(self) -> Self {
        Self(Cow::Owned(format!("NOT {}", self.0)), self.1)
    }

    /// That an expression has one of some values, of which there must be one.
    pub(super) fn one_of(expression: &str, values: Vec<Value>) -> Self {
        let places = vec!["?"; values.len()].join(", ");
        Self(Cow::Owned(format!("{expression} IN ({places})")), values)
    }

    /// The same behind this text, and with one bracket more at its end.
    pub(super) fn within(self, before: &str) -> Self {
        Self(Cow::Owned(format!("{before}{})", self.0)), self.1)
    }

    /// The same with one bracket more at its end.
    pub(super) fn closed(self) -> Self {
        Self(Cow::Owned(format!("{})", self.0)), self.1)
    }

    pub(super) fn push(&self, query: &mut Query) {
        self.push_value(query.push(" AND "));
    }

    fn push_value(&self, query: &mut Query) {
        let mut values = self.1.iter();
        for (index, part) in self.0.split('?').enumerate() {
            if index > 0
                && let Some(value) = values.next()
            {
                query.push_bind(value.clone());
            }
            query.push(part);
        }
    }
}

/// A column that an index begins with, and the one value of it that is asked for.
#[derive(Clone, Debug)]
pub(super) struct Lead {
    column: &'static str,
    value: Condition,
}

impl Lead {
    /// `sql` is an expression with one `?`, which stands for the value.
    pub(super) fn new(column: &'static str, sql: &'static str, value: impl Into<Value>) -> Self {
        Self { column, value: when(sql, value) }
    }
}

/// Rows that one index holds together.
#[derive(Clone, Debug, Default)]
pub(super) struct Branch {
    /// Columns before the sort column in the index by which the branch is read in order. They are a part of the order, so that
    /// no other index gives it: one of the sort column alone may lead through all rows of other values.
    pub(super) lead: Vec<Lead>,
    /// By these the index finds them.
    pub(super) index: Vec<Condition>,
    /// These reject no more than a few rows at the edge.
    pub(super) edge: Vec<Condition>,
}

/// How a list can be read.
#[derive(Clone, Debug)]
pub(super) struct Way {
    /// The parts of the list.
    pub(super) branches: Vec<Branch>,
    /// What every row is held against that is read.
    pub(super) rest: Vec<Condition>,
    /// From this value of the sort column on, where the branches are read in its order.
    pub(super) low: Option<i64>,
    /// Before this one.
    pub(super) high: Option<i64>,
    /// Whether the branches are read in the order of the list; else all of their rows are read and sorted.
    pub(super) in_order: bool,
    /// Rows that are read at most.
    pub(super) most: u64,
}

impl Way {
    /// In the order of the sort column's index.
    pub(super) fn in_order(branch: Branch, rest: Vec<Condition>, most: u64) -> Self {
        Self { branches: vec![branch], rest, low: None, high: None, in_order: true, most }
    }

    /// Where there are such sensors, the branch of each by the columns that its rows begin with in the index.
    pub(super) fn led_by(mut self, sensors: &[String], lead: impl Fn(&str) -> Vec<Lead>) -> Self {
        if let Some(branch) = self.branches.first().filter(|_| !sensors.is_empty()) {
            self.branches = sensors.iter().map(|sensor| Branch { lead: lead(sensor), ..branch.clone() }).collect();
        }
        self
    }

    /// The same by the conditions by which the index finds them.
    pub(super) fn found_by<I: Into<Vec<Condition>>>(
        mut self,
        sensors: &[String],
        index: impl Fn(&String) -> I,
    ) -> Self {
        if let Some(branch) = self.branches.first().filter(|_| !sensors.is_empty()) {
            let of = |sensor| Branch { index: index(sensor).into(), ..branch.clone() };
            self.branches = sensors.iter().map(of).collect();
        }
        self
    }

    /// All rows of a branch, sorted.
    pub(super) fn sorted(branch: Branch, rest: Vec<Condition>) -> Self {
        Self { branches: vec![branch], rest, low: None, high: None, in_order: false, most: MOST_READ }
    }

    /// The same where the index that finds them holds what they are sorted by and what they are held against.
    pub(super) fn sorted_keys(branch: Branch, rest: Vec<Condition>) -> Self {
        Self { most: MOST_KEYS, ..Self::sorted(branch, rest) }
    }
}

impl Store {
    /// The rows of a page, by the first of some ways that does not read too much.
    pub(super) async fn list<T>(
        &self,
        listed: &Listed,
        ways: &[Way],
        position: Position,
        read: impl Fn(&Row) -> Result<T, Unreadable>,
    ) -> Result<Vec<Placed<T>>, StoreError> {
        #[cfg(test)]
        self.note_ways(listed, ways, position);
        for way in ways {
            if let Some(rows) = self.list_by(listed, way, position, &read).await? {
                return Ok(rows);
            }
        }
        let most = ways.iter().map(|way| way.most).max().unwrap_or(MOST_READ);
        Err(StoreError::TooMuch { table: listed.table, most })
    }

    /// The same by one way; `None` where it would read too much.
    pub(super) async fn list_by<T>(
        &self,
        listed: &Listed,
        way: &Way,
        position: Position,
        read: impl Fn(&Row) -> Result<T, Unreadable>,
    ) -> Result<Option<Vec<Placed<T>>>, StoreError> {
        let mut until = None;
        // In order and without further conditions no more is read than answered.
        if !way.in_order || !way.rest.is_empty() {
            for branch in &way.branches {
                let far = listed.far((way, branch, self.database.dialect()), position);
                let key = |row: &Row| Ok(Key { value: row.int("value")?, id: row.int("id")? });
                let Some(far) = self.read(listed.table, far, key).await?.into_iter().next() else { continue };
                if !way.in_order {
                    return Ok(None);
                }
                until = Some(until.map_or(far, |until| if position.is_behind(far, until) { until } else { far }));
            }
        }
        let page = listed.page(way, position, until, self.database.dialect());
        let placed = |row: &Row| {
            let key = Key { value: row.int(listed.order)?, id: row.int(listed.id)? };
            Ok(Placed { key, item: self.usable(listed.table, read(row)) })
        };
        let rows = self.read(listed.table, page, placed).await?;
        let is_cut = until.is_some() && rows.len() < position.limit as usize;
        Ok(Some(rows).filter(|_| !is_cut))
    }
}

#[cfg(test)]
impl Store {
    /// Notes the statements of ways that are not needed where a table is empty.
    pub(super) fn note_ways(&self, listed: &Listed, ways: &[Way], position: Position) {
        for way in ways {
            let far = if position.descending { 1 } else { i64::MAX / 2 };
            let until = (way.in_order && !way.rest.is_empty()).then_some(Key { value: far, id: 1 });
            let dialect = self.database.dialect();
            self.database.note(listed.page(way, position, until, dialect));
            way.branches.iter().for_each(|of| self.database.note(listed.far((way, of, dialect), position)));
        }
    }
}

impl Listed {
    /// The key of the first row that is too many, if there are so many.
    fn far(&self, (way, branch, dialect): (&Way, &Branch, Dialect), position: Position) -> Query {
        let Self { table, order, id, .. } = self;
        let mut query = Query::new(format!("SELECT {order} AS value, {id} AS id FROM {table} WHERE 1 = 1"));
        branch.index.iter().for_each(|condition| condition.push(&mut query));
        if way.in_order {
            way.push_range(&mut query, (self, branch), position, None);
            if self.has_parts(dialect) {
                push_times(&mut query, order, way.times(branch), (position, None));
            }
            position.push_order(&mut query, &branch.led(order), id);
        }
        query.push(" LIMIT 1 OFFSET ").push_bind(i64::try_from(way.most).unwrap_or(i64::MAX));
        query
    }

    /// The rows of a page up to a key.
    fn page(&self, way: &Way, position: Position, until: Option<Key>, dialect: Dialect) -> Query {
        let Self { table, columns, order, id } = self;
        let mut query = Query::default();
        query.persistent = true;
        match way.branches.as_slice() {
            [branch] if way.in_order => self.push_branch(&mut query, columns, (way, branch, dialect), position, until),
            [branch] => {
                // Sorted are keys, not whole rows.
                let [begin, end] = if self.has_parts(dialect) { [" = ANY (ARRAY(", "))"] } else { [" IN (", ")"] };
                query.push(format_args!("SELECT {columns} FROM {table} WHERE {id}{begin}"));
                self.push_branch(&mut query, id, (way, branch, dialect), position, until);
                query.push(end);
                // The rows are where their keys are; joined with them, a part may be read as a whole.
                let same = branch.index.iter().filter(|_| self.has_parts(dialect));
                same.for_each(|condition| condition.push(&mut query));
                position.push_order(&mut query, &[&unindexed(order)], id);
            }
            branches => {
                for (index, branch) in branches.iter().enumerate() {
                    query.push(if index == 0 { "SELECT * FROM (" } else { " UNION ALL SELECT * FROM (" });
                    self.push_branch(&mut query, columns, (way, branch, dialect), position, until);
                    query.push(format_args!(") AS branch{index}"));
                }
                position.push_order(&mut query, &[order], id);
                query.push(" LIMIT ").push_bind(i64::from(position.limit));
            }
        }
        query
    }

    /// Whether the table has parts by time.
    fn has_parts(&self, dialect: Dialect) -> bool {
        dialect == Dialect::Postgres && self.table == "windows"
    }

    fn push_branch(
        &self,
        query: &mut Query,
        columns: &str,
        (way, branch, dialect): (&Way, &Branch, Dialect),
        position: Position,
        until: Option<Key>,
    ) {
        let Self { table, order, id, .. } = self;
        query.push(format_args!("SELECT {columns} FROM {table} WHERE 1 = 1"));
        if dialect == Dialect::Sqlite {
            // Its columns hold anything. What is no number has no place in the order.
            query.push(format_args!(" AND typeof({order}) = 'integer'"));
        }
        let order = if way.in_order { (*order).to_owned() } else { unindexed(order) };
        let conditions = branch.index.iter().chain(&branch.edge).chain(&way.rest);
        conditions.for_each(|condition| condition.push(query));
        if way.in_order {
            way.push_range(query, (self, branch), position, until);
            if self.has_parts(dialect) {
                push_times(query, &order, way.times(branch), (position, until));
            }
        } else if let Some(key) = position.after {
            push_key(query, &[], (&order, id), if position.descending { "<" } else { ">" }, key);
        }
        let order = if way.in_order { branch.led(&order) } else { vec![&*order] };
        position.push_order(query, &order, id);
        query.push(" LIMIT ").push_bind(i64::from(position.limit));
    }
}

impl Branch {
    /// The columns by which it is read in order, but for the last one, which decides between equal values.
    fn led<'a>(&self, order: &'a str) -> Vec<&'a str> {
        self.lead.iter().map(|lead| lead.column).chain([order]).collect()
    }
}

/// The column as an expression, which keeps its index out where rows are sorted.
fn unindexed(column: &str) -> String {
    format!("{column} + 0")
}

impl Way {
    /// The bounds of the sort column that [`push_range`](Self::push_range) has in keys alone, where they are no others'.
    fn times(&self, branch: &Branch) -> (Option<i64>, Option<i64>) {
        if branch.lead.is_empty() { (None, None) } else { (self.low, self.high) }
    }

    /// Bounds of the sort column. A page begins at the cursor, and ends at the key of the last row that may be read; else
    /// where the range does.
    fn push_range(
        &self,
        query: &mut Query,
        (listed, branch): (&Listed, &Branch),
        position: Position,
        until: Option<Key>,
    ) {
        let Listed { order, id, .. } = listed;
        let ends = if position.descending { self.low } else { self.high };
        // A walk that nothing else ends goes to the last key that there can be.
        let last = if position.descending { i64::MIN } else { i64::MAX };
        let until = until.or((ends.is_none() && !self.rest.is_empty()).then_some(Key { value: last, id: last }));
        // The page before may have ended beside the range.
        let after = position.after.filter(|after| match (position.descending, self.low, self.high) {
            (true, _, Some(high)) => after.value < high,
            (false, Some(low), _) => after.value >= low,
            _ => true,
        });
        let [above, below] =
            if position.descending { [(until, ">="), (after, "<")] } else { [(after, ">"), (until, "<=")] };
        for ((key, compare), bound, by) in [(above, self.low, ">="), (below, self.high, "<")] {
            match (key, bound) {
                (Some(key), _) => push_key(query, &branch.lead, (order, id), compare, key),
                (None, bound) if !branch.lead.is_empty() => {
                    let (value, last) = if by == "<" { (i64::MAX, i64::MAX) } else { (i64::MIN, i64::MIN) };
                    let key = bound.map_or(Key { value, id: last }, |value| Key { value, id: i64::MIN });
                    let by = if bound.is_none() && by == "<" { "<=" } else { by };
                    push_key(query, &branch.lead, (order, id), by, key);
                }
                (None, Some(bound)) => {
                    query.push(format_args!(" AND {order} {by} ")).push_bind(bound);
                }
                // Of SQLite's values only numbers are between these; the walk does not go through the others.
                (None, None) => {
                    let last = if by == "<" { i64::MAX } else { i64::MIN };
                    query.push(format_args!(" AND {order} {}= ", &by[..1])).push_bind(last);
                }
            }
        }
    }
}

fn push_key(query: &mut Query, lead: &[Lead], (order, id): (&str, &str), compare: &str, key: Key) {
    query.push(" AND (");
    lead.iter().for_each(|Lead { column, .. }| {
        query.push(format_args!("{column}, "));
    });
    query.push(format_args!("{order}, {id}) {compare} ("));
    for Lead { value, .. } in lead {
        value.push_value(query);
        query.push(", ");
    }
    query.push_bind(key.value).push(", ").push_bind(key.id).push(")");
}
