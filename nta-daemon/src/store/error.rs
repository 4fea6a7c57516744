//! What can go wrong in the store.

use std::path::PathBuf;

/// An error of the store; names the object, keeps the cause.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The URL is of no known kind.
    #[error("database `{url}`: expected sqlite:PATH, sqlite::memory: or postgres://USER:PASSWORD@HOST/NAME")]
    Url {
        /// The URL.
        url: String,
    },
    /// The folder of the database file cannot be made.
    #[error("folder `{}` of the database cannot be created", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The database cannot be opened.
    #[error("database `{url}` cannot be opened")]
    Open {
        /// The URL.
        url: String,
        /// Why.
        source: sqlx::Error,
    },
    /// The database cannot hold every text.
    #[error(
        "database `{url}` has the encoding {encoding}, which does not hold every text: make one by \
         `CREATE DATABASE nta ENCODING 'UTF8' TEMPLATE template0`"
    )]
    Encoding {
        /// The URL.
        url: String,
        /// Its encoding.
        encoding: String,
    },
    /// The tables cannot be brought to this version.
    #[error("database `{url}` cannot be migrated")]
    Migrate {
        /// The URL.
        url: String,
        /// Why.
        source: sqlx::migrate::MigrateError,
    },
    /// A statement failed.
    #[error("table `{table}`: the database refused a statement")]
    Query {
        /// The table.
        table: &'static str,
        /// Why.
        source: sqlx::Error,
    },
    /// A stored document or value cannot be read back.
    #[error("table `{table}`, row {id}: {reason}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The row.
        id: i64,
        /// What is wrong with it.
        reason: String,
    },
    /// A list would read more rows than it may.
    #[error("table `{table}`: more than {most} rows would be read")]
    TooMuch {
        /// The table.
        table: &'static str,
        /// How many may be read.
        most: u64,
    },
    /// A row cannot be written as JSON.
    #[error("table `{table}`, number {number}: cannot be encoded")]
    Encode {
        /// The table.
        table: &'static str,
        /// The row's number in the run.
        number: u64,
        /// Why.
        source: serde_json::Error,
    },
    /// The store was closed, or its writer has ended.
    #[error("the store is closed")]
    Closed,
    /// The database file was deleted or replaced while it was open.
    #[error("the database file was deleted or replaced")]
    Replaced,
    /// The database file was damaged while it was open.
    #[error("the database file `{}` is damaged: {found}; it is set aside as `{}`", path.display(), aside.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        found: String,
        /// Where it is now.
        aside: PathBuf,
    },
    /// A damaged database file cannot be set aside.
    #[error("the damaged database file `{}` cannot be set aside", path.display())]
    SetAside {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Another connection does not find a batch that was committed.
    #[error("batch {number} was committed, but another connection does not find it")]
    Unseen {
        /// The batch.
        number: i64,
    },
    /// The database has not answered.
    #[error("the database has not taken a batch within {seconds} s")]
    NoAnswer {
        /// How long was waited.
        seconds: u64,
    },
    /// The process ends before the database has taken a batch.
    #[error("the database takes longer than there is time before the end")]
    OutOfTime,
    /// Another daemon holds the lease.
    #[error(
        "{holder}: another daemon captures for the sensor `{sensor}` with this database; stop it, or give this one \
        another `[sensor] name`"
    )]
    Leased {
        /// What holds it.
        holder: String,
        /// The sensor.
        sensor: String,
    },
    /// Another process analyses the same captures.
    #[error("{holder}: another process analyses the same captures with these settings into this database")]
    Analysed {
        /// What holds it.
        holder: String,
    },
    /// Another process began the same analysis after this one had lost its lease.
    #[error("this run has lost its lease, and another process has begun the same analysis: that one's is the result")]
    Overtaken,
    /// The lease cannot be taken.
    #[error("the lease `{what}` cannot be taken: {source}")]
    Lease {
        /// What is locked.
        what: String,
        /// Why not.
        source: std::io::Error,
    },
    /// Batches wait for the database.
    #[error("{batches} batches wait for the database: {last}")]
    Waiting {
        /// How many.
        batches: u64,
        /// The last error.
        last: String,
    },
    /// Batches could not be written, although tried again and again.
    #[error("{batches} batches could not be written: {last}")]
    Lost {
        /// How many since the last flush.
        batches: u64,
        /// The last error.
        last: String,
    },
}

impl StoreError {
    /// Names the table that a database error came from.
    pub(super) fn query(table: &'static str) -> impl Fn(sqlx::Error) -> Self {
        move |source| Self::Query { table, source }
    }

    /// Whether trying again is of no use: the database refused the very values, or was closed.
    pub(crate) fn is_permanent(&self) -> bool {
        match self {
            Self::Query { source: sqlx::Error::Database(error), .. } => {
                let code = error.code().unwrap_or_default();
                // SQLite's TOOBIG and MISMATCH; PostgreSQL's data exceptions and exceeded limits.
                let is_value = ["18", "20"].contains(&&*code) || code.len() == 5 && matches!(&code[..2], "22" | "54");
                is_value || error.kind() != sqlx::error::ErrorKind::Other
            }
            Self::Query { source: sqlx::Error::Encode(_), .. }
            | Self::Encode { .. }
            | Self::Closed
            | Self::Overtaken => true,
            _ => false,
        }
    }

    /// Whether the store will never take what it refuses so.
    pub(crate) fn is_for_good(&self) -> bool {
        matches!(self, Self::TooMuch { .. }) || self.is_permanent() && !matches!(self, Self::Closed)
    }

    /// The message with all causes, for a log line or the status. Some errors name their cause themselves; it is named once.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let said = said(error);
            if !text.ends_with(&said) {
                text.push_str(": ");
                text.push_str(&said);
            }
            // What the database said is said.
            cause = error.source().filter(|_| !matches!(error.downcast_ref(), Some(sqlx::Error::Database(_))));
        }
        text
    }
}

/// What an error says. PostgreSQL's names a line of the server's own source, which tells nobody anything.
fn said(error: &(dyn std::error::Error + 'static)) -> String {
    let refused = match error.downcast_ref::<sqlx::Error>() {
        Some(sqlx::Error::Database(refused)) => refused.as_ref(),
        _ => return error.to_string(),
    };
    let whole = refused.to_string();
    let line = |refused: &sqlx::postgres::PgDatabaseError| Some(format!(" at line {}", refused.line()?));
    let line = refused.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().and_then(line);
    match line.and_then(|line| whole.strip_suffix(&line)) {
        Some(message) => error.to_string().replacen(&whole, message, 1),
        None => error.to_string(),
    }
}
