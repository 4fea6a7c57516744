//! `limit`, `cursor` and `sort` of every list, the time range `from` to `to`, and the list itself.

use serde::Serialize;
use utoipa::openapi::Schema;
use utoipa::openapi::path::Parameter as Described;

use super::extract::{Pairs, Parameter, Parameters, number, text};
use super::openapi::{query, query_with};
use super::whose::Scope;
use super::{ApiError, ApiState};
use crate::json::words::words_schema;
use crate::store::{Key, Position, Range};
use nta_core::domain::Timestamp;

/// Items of a page unless `limit` says otherwise.
const DEFAULT_LIMIT: u32 = 100;
/// Items of a page at most.
const MAX_LIMIT: u32 = 1000;
/// Digits of a cursor: one byte for the order, then eight each for the sort value, the id, and both ends of the time range.
const CURSOR_DIGITS: usize = 66;
/// Stands in a cursor for an end of the time range that is open.
const OPEN: u64 = u64::MAX;
/// In the cursor's first byte: largest first.
const DESCENDING: u8 = 0x80;

/// What a list can be sorted by.
pub(super) trait SortField: Copy + 'static {
    /// Each field with its name. The first, largest first, is the default.
    const ALL: &'static [(&'static str, Self)];
}

/// What page of a list is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageQuery<S> {
    /// Sort field.
    pub(super) sort: S,
    /// Order, cursor and limit.
    pub(super) position: Position,
    /// Whether a limit, and whether an order is given.
    pub(super) has_limit: bool,
    pub(super) has_order: bool,
    order: u8,
    /// The time range of the page before.
    range: Option<Range>,
}

impl<S: SortField> Parameters for PageQuery<S> {
    fn names() -> Vec<&'static str> {
        vec!["limit", "cursor", "sort"]
    }

    /// A cursor brings its own order.
    fn read(pairs: &Pairs) -> Result<Self, ApiError> {
        let given = pairs.get::<Limit>("limit")?;
        let limit = given.as_ref().map_or(DEFAULT_LIMIT, |limit| limit.0);
        let named = pairs.get::<Order<S>>("sort")?.map(|order| order.0);
        let cursor = pairs.get::<Cursor>("cursor")?;
        let order = match (named, cursor) {
            (Some(named), Some(Cursor { order, .. })) if named != order => {
                return Err(ApiError::invalid("cursor", "comes from a list with another sort"));
            }
            (named, cursor) => named.or(cursor.map(|cursor| cursor.order)).unwrap_or(DESCENDING),
        };
        let Some(&(_, sort)) = S::ALL.get(usize::from(order & !DESCENDING)) else {
            return Err(ApiError::invalid("cursor", "comes from another list"));
        };
        let after = cursor.map(|cursor| cursor.after);
        let range = cursor.map(|cursor| cursor.range);
        let (has_limit, has_order) = (given.is_some(), named.is_some() || cursor.is_some());
        let position = Position { descending: order & DESCENDING != 0, after, limit };
        Ok(Self { sort, position, has_limit, has_order, order, range })
    }

    fn described() -> Vec<Described> {
        let first = S::ALL.first().map_or("", |(name, _)| name);
        let about = format!("Order of the list; with `-` the largest first. `-{first}` unless given.");
        vec![
            query::<Limit>("limit", "Items of a page; 100 unless given."),
            query::<Cursor>("cursor", "`next_cursor` of the page before."),
            query_with("sort", &about, Order::<S>::schema()),
        ]
    }
}

impl<S> PageQuery<S> {
    /// The time range of the page: that of the page before, or the one that is asked for, filled up with the default.
    pub(super) async fn range(&self, period: Period, scope: &Scope, state: &ApiState) -> Result<Range, ApiError> {
        match self.range {
            Some(_) => self.range_as_asked(period),
            None => state.range_of(period, scope).await,
        }
    }

    /// The same of a list that takes no time unless one is asked for.
    pub(super) fn range_as_asked(&self, period: Period) -> Result<Range, ApiError> {
        let Some(range) = self.range else { return Ok(Range { from: period.from, to: period.to }) };
        for (given, applied) in [(period.from, range.from), (period.to, range.to)] {
            if given.is_some_and(|given| micros(Some(given)) != micros(applied)) {
                return Err(ApiError::invalid("cursor", "comes from a list of another time range"));
            }
        }
        Ok(range)
    }

    /// The same of a list that has all of the time unless one is asked for.
    pub(super) async fn range_or_all(
        &self,
        period: Period,
        scope: &Scope,
        state: &ApiState,
    ) -> Result<Range, ApiError> {
        if self.range.is_none() && period.from.is_none() && period.to.is_none() {
            return Ok(Range::default());
        }
        self.range(period, scope, state).await
    }

    /// The answer to the request.
    pub(super) fn list<T>(&self, items: Vec<T>, next: Option<Key>, range: Range) -> List<T> {
        let ends = [range.from, range.to].map(|end| end.map_or(OPEN, Timestamp::as_nanos));
        let next_cursor = next.map(|key| {
            let [value, id] = [key.value, key.id].map(i64::cast_unsigned);
            format!("{:02x}{value:016x}{id:016x}{:016x}{:016x}", self.order, ends[0], ends[1])
        });
        let [from, to] = [range.from, range.to].map(|time| time.map(|time| time.to_string()));
        List { items, next_cursor, limit: self.position.limit, from, to }
    }
}

/// As answers write times.
fn micros(time: Option<Timestamp>) -> Option<u64> {
    time.map(|time| time.as_nanos() / 1000)
}

/// A page of a list.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub(super) struct List<T> {
    /// The items.
    #[schema(max_items = 1000)]
    items: Vec<T>,
    /// Goes into `cursor` for the next page; null on the last.
    #[schema(required, pattern = "^[0-9a-f]{66}$")]
    next_cursor: Option<String>,
    /// The limit that was applied.
    #[schema(minimum = 1, maximum = 1000)]
    limit: u32,
    /// The begin of the time range that was applied; null where the list has none.
    #[schema(required, format = DateTime)]
    from: Option<String>,
    /// The end of the time range that was applied; null where it is open.
    #[schema(required, format = DateTime)]
    to: Option<String>,
}

impl<T> List<T> {
    /// A list that has only one page.
    pub(super) const fn whole(items: Vec<T>, limit: u32) -> Self {
        Self { items, next_cursor: None, limit, from: None, to: None }
    }
}

/// The time range that is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Period {
    /// From this time on.
    pub(super) from: Option<Timestamp>,
    /// Before this time.
    pub(super) to: Option<Timestamp>,
}

impl Parameters for Period {
    fn names() -> Vec<&'static str> {
        vec!["from", "to"]
    }

    fn read(pairs: &Pairs) -> Result<Self, ApiError> {
        let (from, to) = (pairs.get("from")?, pairs.get("to")?);
        match (from, to) {
            (Some(from), Some(to)) if from > to => {
                Err(ApiError::invalid("from", format!("`{from}`: expected a time before `to` ({to})")))
            }
            _ => Ok(Self { from, to }),
        }
    }

    fn described() -> Vec<Described> {
        vec![
            query::<Timestamp>(
                "from",
                "What goes on at this time or later; RFC 3339 or Unix seconds. A list takes a day unless given: the last one, \
                 or the one before `to`; of a replay the begin of its capture. The answer says what was applied.",
            ),
            query::<Timestamp>(
                "to",
                "What went on before this time; RFC 3339 or Unix seconds. Open unless given; of a replay the end of its \
                 capture.",
            ),
        ]
    }
}

struct Limit(u32);

impl Parameter for Limit {
    fn parse(text: &str) -> Result<Self, String> {
        let limit = text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
        limit.map(Self).ok_or_else(|| format!("a number from 1 to {MAX_LIMIT}"))
    }

    fn schema() -> Schema {
        number(1, MAX_LIMIT.into()).default(Some(DEFAULT_LIMIT.into())).into()
    }
}

/// The place of a sort field, and [`DESCENDING`].
struct Order<S>(u8, std::marker::PhantomData<S>);

impl<S: SortField> Order<S> {
    fn words() -> Vec<String> {
        S::ALL.iter().flat_map(|(name, _)| [(*name).to_owned(), format!("-{name}")]).collect()
    }
}

impl<S: SortField> Parameter for Order<S> {
    fn parse(text: &str) -> Result<Self, String> {
        let (name, direction) = text.strip_prefix('-').map_or((text, 0), |name| (name, DESCENDING));
        let place = S::ALL.iter().position(|(known, _)| *known == name).and_then(|place| u8::try_from(place).ok());
        let order = place.map(|place| Self(place | direction, std::marker::PhantomData));
        order.ok_or_else(|| format!("one of {}", Self::words().join(", ")))
    }

    fn schema() -> Schema {
        words_schema(Self::words())
    }
}

#[derive(Clone, Copy)]
struct Cursor {
    order: u8,
    after: Key,
    range: Range,
}

impl Parameter for Cursor {
    fn parse(text: &str) -> Result<Self, String> {
        parse_cursor(text).ok_or_else(|| "a `next_cursor` of this list".to_owned())
    }

    fn schema() -> Schema {
        let pattern = format!("^[0-9a-f]{{{CURSOR_DIGITS}}}$");
        text().pattern(Some(pattern)).into()
    }
}

fn parse_cursor(text: &str) -> Option<Cursor> {
    if text.len() != CURSOR_DIGITS || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let number = |from: usize, to: usize| u64::from_str_radix(&text[from..to], 16).ok();
    let after = Key { value: number(2, 18)?.cast_signed(), id: number(18, 34)?.cast_signed() };
    let [from, to] = [number(34, 50)?, number(50, 66)?];
    let [from, to] = [from, to].map(|ns| (ns != OPEN).then_some(Timestamp::from_nanos(ns)));
    let range = Range { from, to };
    Some(Cursor { order: u8::try_from(number(0, 2)?).ok()?, after, range })
}
