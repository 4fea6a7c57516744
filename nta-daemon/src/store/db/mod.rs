//! Two databases behind one interface: a connection, statements and rows that do not say which it is.

mod conn;
mod damage;
#[cfg(test)]
pub(super) mod fault;
pub(super) mod migrations;
mod open;
mod query;
mod row;
mod turn;

pub(super) use conn::{Conn, Dialect};
pub(super) use open::Database;
pub(super) use query::{Query, Value, without_nul};
pub(super) use row::Row;
