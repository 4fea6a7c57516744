//! Faults that a test injects into the statements of its thread: the n-th statement from now on fails, before the database
//! sees it or after it has run.

use std::borrow::Cow;
use std::cell::Cell;
use std::error::Error as StdError;
use std::fmt;

use sqlx::Error;
use sqlx::error::{DatabaseError, ErrorKind};

use super::Dialect;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Fault {
    /// `SQLITE_FULL`, `disk_full`.
    Full,
    /// `SQLITE_IOERR`, `io_error`.
    Io,
    /// `SQLITE_BUSY`, `lock_not_available`.
    Busy,
    /// The connection breaks.
    Lost,
}

impl Fault {
    pub(in crate::store) const ALL: [Self; 4] = [Self::Full, Self::Io, Self::Busy, Self::Lost];

    fn error(self, dialect: Dialect) -> Error {
        let code = match (self, dialect) {
            (Self::Full, Dialect::Sqlite) => "13",
            (Self::Io, Dialect::Sqlite) => "10",
            (Self::Busy, Dialect::Sqlite) => "5",
            (Self::Full, Dialect::Postgres) => "53100",
            (Self::Io, Dialect::Postgres) => "58030",
            (Self::Busy, Dialect::Postgres) => "55P03",
            (Self::Lost, _) => return Error::Io(std::io::ErrorKind::ConnectionReset.into()),
        };
        Error::Database(Box::new(Coded(code)))
    }
}

#[derive(Clone, Copy, Debug)]
struct Next {
    /// Statements that pass before it.
    passes: u32,
    fault: Fault,
    /// Whether the database has run the statement that is said to have failed.
    is_late: bool,
}

thread_local! {
    static NEXT: Cell<Option<Next>> = const { Cell::new(None) };
}

/// After `passes` statements of this thread the next one fails, once.
pub(in crate::store) fn arm(passes: u32, fault: Fault, is_late: bool) {
    NEXT.set(Some(Next { passes, fault, is_late }));
}

/// Takes the fault back; `false` when it has happened.
pub(in crate::store) fn disarm() -> bool {
    NEXT.take().is_some()
}

/// How many statements are to pass yet before the fault; `None` when it has happened. Takes it back.
pub(in crate::store) fn passes_left() -> Option<u32> {
    NEXT.take().map(|next| next.passes)
}

/// Called as a statement begins; what it answers is the error of a fault before the statement, or after it.
pub(super) fn next(dialect: Dialect) -> [Option<Error>; 2] {
    let Some(next) = NEXT.get() else { return [None, None] };
    if let Some(passes) = next.passes.checked_sub(1) {
        NEXT.set(Some(Next { passes, ..next }));
        return [None, None];
    }
    NEXT.set(None);
    let error = Some(next.fault.error(dialect));
    if next.is_late { [None, error] } else { [error, None] }
}

/// An error with a database's code.
#[derive(Debug)]
pub(in crate::store) struct Coded(pub(in crate::store) &'static str);

impl fmt::Display for Coded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "injected, code {}", self.0)
    }
}

impl StdError for Coded {}

impl DatabaseError for Coded {
    fn message(&self) -> &str {
        "injected"
    }

    fn code(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(self.0))
    }

    fn as_error(&self) -> &(dyn StdError + Send + Sync + 'static) {
        self
    }

    fn as_error_mut(&mut self) -> &mut (dyn StdError + Send + Sync + 'static) {
        self
    }

    fn into_error(self: Box<Self>) -> Box<dyn StdError + Send + Sync + 'static> {
        self
    }

    fn kind(&self) -> ErrorKind {
        ErrorKind::Other
    }
}
