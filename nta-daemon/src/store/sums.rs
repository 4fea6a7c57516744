//! Sums over rows of which some may hold what nobody wrote: those that cannot be summed up are left out, and no sum overflows.

use super::db::Dialect;

/// The sum of a column as a number of 64 bits, 0 without rows. SQLite refuses a sum of integers that overflows: its sum of
/// floating point is exact up to 2^53. PostgreSQL sums up in as many digits as it takes.
pub(super) fn sum(dialect: Dialect, of: &str) -> String {
    match dialect {
        Dialect::Sqlite => format!("CAST(total({of}) AS BIGINT)"),
        Dialect::Postgres => format!("CAST(least(coalesce(sum({of}), 0), 9223372036854775807) AS BIGINT)"),
    }
}

/// The condition that columns hold whole numbers from 0 on. SQLite's may hold anything.
pub(super) fn are_natural(dialect: Dialect, columns: &[&str]) -> String {
    let is = |column: &&str| match dialect {
        Dialect::Sqlite => format!("typeof({column}) = 'integer' AND {column} + 0 >= 0"),
        Dialect::Postgres => format!("{column} + 0 >= 0"),
    };
    columns.iter().map(is).collect::<Vec<_>>().join(" AND ")
}

/// The further condition that columns hold numbers or nothing.
pub(super) fn are_real(dialect: Dialect, columns: &[&str]) -> String {
    match dialect {
        Dialect::Sqlite => {
            columns.iter().map(|of| format!(" AND typeof({of}) IN ('real', 'integer', 'null')")).collect()
        }
        Dialect::Postgres => String::new(),
    }
}
