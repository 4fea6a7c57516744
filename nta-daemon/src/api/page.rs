//! `limit`, `cursor` and `sort` of every list, and the list itself.

use serde::Serialize;

use super::ApiError;
use super::params::Params;
use crate::store::{Key, Position};

/// Items of a page unless `limit` says otherwise.
const DEFAULT_LIMIT: u32 = 100;
/// Items of a page at most.
const MAX_LIMIT: u32 = 1000;
/// Digits of a cursor: one byte for the order, eight for the sort value, eight for the id.
const CURSOR_DIGITS: usize = 34;
/// In the cursor's first byte: largest first.
const DESCENDING: u8 = 0x80;

/// A sort field that clients may name. A leading `-` turns the order around.
pub(super) type Sorts<S> = &'static [(&'static str, S)];

/// What page of a list is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageRequest<S> {
    /// Sort field.
    pub(super) sort: S,
    /// Order, cursor and limit.
    pub(super) position: Position,
    order: u8,
}

impl<S: Copy> PageRequest<S> {
    /// Reads the three parameters. The first of `sorts`, descending, is the default; a cursor brings its own order.
    pub(super) fn read(params: &Params, sorts: Sorts<S>) -> Result<Self, ApiError> {
        let limit = params.get("limit").map_or(Ok(DEFAULT_LIMIT), limit)?;
        let named = params.get("sort").map(|text| order(text, sorts)).transpose()?;
        let cursor = params.get("cursor").map(cursor).transpose()?;
        let order = match (named, cursor) {
            (Some(named), Some((order, _))) if named != order => {
                return Err(ApiError::invalid("cursor", "comes from a list with another sort"));
            }
            (named, cursor) => named.or(cursor.map(|(order, _)| order)).unwrap_or(DESCENDING),
        };
        let Some(&(_, sort)) = sorts.get(usize::from(order & !DESCENDING)) else {
            return Err(ApiError::invalid("cursor", "comes from another list"));
        };
        let after = cursor.map(|(_, key)| key);
        Ok(Self { sort, position: Position { descending: order & DESCENDING != 0, after, limit }, order })
    }

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
    items: Vec<T>,
    /// Goes into `cursor` for the next page; null on the last.
    next_cursor: Option<String>,
    /// The limit that was applied.
    limit: u32,
}

impl<T> List<T> {
    /// A list that has only one page.
    pub(super) const fn whole(items: Vec<T>, limit: u32) -> Self {
        Self { items, next_cursor: None, limit }
    }
}

fn limit(text: &str) -> Result<u32, ApiError> {
    text.parse()
        .ok()
        .filter(|limit| (1..=MAX_LIMIT).contains(limit))
        .ok_or_else(|| ApiError::invalid("limit", format!("`{text}`: expected a number from 1 to {MAX_LIMIT}")))
}

fn order<S>(text: &str, sorts: Sorts<S>) -> Result<u8, ApiError> {
    let (name, direction) = text.strip_prefix('-').map_or((text, 0), |name| (name, DESCENDING));
    let place = sorts.iter().position(|(known, _)| *known == name).and_then(|place| u8::try_from(place).ok());
    place.map(|place| place | direction).ok_or_else(|| {
        let names: Vec<_> = sorts.iter().map(|(name, _)| format!("{name}, -{name}")).collect();
        ApiError::invalid("sort", format!("`{text}`: expected one of {}", names.join(", ")))
    })
}

fn cursor(text: &str) -> Result<(u8, Key), ApiError> {
    parse_cursor(text).ok_or_else(|| ApiError::invalid("cursor", "not a `next_cursor` of this list"))
}

fn parse_cursor(text: &str) -> Option<(u8, Key)> {
    if text.len() != CURSOR_DIGITS || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let number = |digits: &str| u64::from_str_radix(digits, 16).ok();
    let key = Key { value: number(&text[2..18])?.cast_signed(), id: number(&text[18..])?.cast_signed() };
    Some((u8::try_from(number(&text[..2])?).ok()?, key))
}
