//! `limit`, `cursor` and `sort` of every list, the time range `from` to `to`, and the list itself.

use serde::Serialize;
use utoipa::openapi::Schema;
use utoipa::openapi::path::Parameter as Described;

use super::ApiError;
use super::extract::{Pairs, Parameter, Parameters, number, text};
use super::openapi::{query, query_with};
use crate::json::words::words_schema;
use crate::store::{Key, Position};
use nta_core::domain::Timestamp;

/// Items of a page unless `limit` says otherwise.
const DEFAULT_LIMIT: u32 = 100;
/// Items of a page at most.
const MAX_LIMIT: u32 = 1000;
/// Digits of a cursor: one byte for the order, eight for the sort value, eight for the id.
const CURSOR_DIGITS: usize = 34;
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
    order: u8,
}

impl<S: SortField> Parameters for PageQuery<S> {
    fn names() -> Vec<&'static str> {
        vec!["limit", "cursor", "sort"]
    }

    /// A cursor brings its own order.
    fn read(pairs: &Pairs) -> Result<Self, ApiError> {
        let limit = pairs.get::<Limit>("limit")?.map_or(DEFAULT_LIMIT, |limit| limit.0);
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
        Ok(Self { sort, position: Position { descending: order & DESCENDING != 0, after, limit }, order })
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
    /// The answer to the request.
    pub(super) fn list<T>(&self, items: Vec<T>, next: Option<Key>) -> List<T> {
        let next_cursor = next
            .map(|key| format!("{:02x}{:016x}{:016x}", self.order, key.value.cast_unsigned(), key.id.cast_unsigned()));
        List { items, next_cursor, limit: self.position.limit }
    }
}

/// A page of a list.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub(super) struct List<T> {
    /// The items.
    #[schema(max_items = 1000)]
    items: Vec<T>,
    /// Goes into `cursor` for the next page; null on the last.
    #[schema(required, pattern = "^[0-9a-f]{34}$")]
    next_cursor: Option<String>,
    /// The limit that was applied.
    #[schema(minimum = 1, maximum = 1000)]
    limit: u32,
}

impl<T> List<T> {
    /// A list that has only one page.
    pub(super) const fn whole(items: Vec<T>, limit: u32) -> Self {
        Self { items, next_cursor: None, limit }
    }
}

/// A time range, either end of which may be open.
#[derive(Clone, Copy, Debug)]
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
            query::<Timestamp>("from", "What goes on at this time or later; RFC 3339 or Unix seconds."),
            query::<Timestamp>("to", "What went on before this time; RFC 3339 or Unix seconds."),
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
    let number = |digits: &str| u64::from_str_radix(digits, 16).ok();
    let after = Key { value: number(&text[2..18])?.cast_signed(), id: number(&text[18..])?.cast_signed() };
    Some(Cursor { order: u8::try_from(number(&text[..2])?).ok()?, after })
}
