//! The database's URL: which database, and where.

use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;

/// A database, by its URL. Its text is printed without the password; [`as_str`](Self::as_str) has it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DatabaseUrl {
    text: String,
    kind: DatabaseKind,
}

/// The databases that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseKind {
    /// A file, or memory.
    Sqlite,
    /// A server.
    Postgres,
}

/// Options of a server's URL that hold no secret, as they are written without escapes.
const SHOWN_OPTIONS: [&str; 16] = [
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "application_name",
    "statement-cache-capacity",
];

/// The others that there are.
const HIDDEN_OPTIONS: [&str; 2] = ["password", "options"];
/// Whom the client connects as where nothing names a user: it does not ask the system.
const FALLBACK_USERS: [&str; 2] = ["anonymous", "unknown"];
/// Characters of an unknown option that are shown.
const MAX_NAME: usize = 32;

/// A text that is no URL of a database.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseUrlError {
    /// Another database, or no URL.
    #[error("`{0}` is no database that can be used: sqlite:FILE, postgres://… or postgresql://…")]
    Scheme(String),
    /// Nothing behind the scheme.
    #[error("{0} names no {1}")]
    Incomplete(&'static str, &'static str),
    /// What a client of PostgreSQL refuses.
    #[error(
        "the postgres:// URL cannot be used: {reason}; expected postgres://USER@HOST/NAME, or postgres:///NAME?host=FOLDER&user=USER for a socket"
    )]
    Postgres {
        /// Why not.
        reason: String,
    },
    /// What SQLite's own options refuse.
    #[error("{url}: {reason}")]
    Sqlite {
        /// The URL.
        url: String,
        /// Why not.
        reason: String,
    },
}

impl DatabaseUrl {
    /// A database in memory, shared by the connections of one pool.
    pub fn memory() -> Self {
        Self { text: "sqlite::memory:".to_owned(), kind: DatabaseKind::Sqlite }
    }

    /// The URL as it was given, with its password.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The URL without its password, which still connects where the environment has it (`PGPASSWORD`, `PGPASSFILE`).
    #[must_use]
    pub fn without_password(&self) -> Self {
        let text = match (self.kind, self.text.split_once("://")) {
            (DatabaseKind::Postgres, Some((scheme, rest))) => {
                let (server, options) = rest.split_once('?').map_or((rest, ""), |(server, options)| (server, options));
                let server = match server.rsplit_once('@') {
                    Some((user, server)) => format!("{}@{server}", user.split(':').next().unwrap_or_default()),
                    None => server.to_owned(),
                };
                let is_shown =
                    |option: &&str| option.split_once('=').is_some_and(|(name, _)| SHOWN_OPTIONS.contains(&name));
                let options: Vec<&str> = options.split('&').filter(is_shown).collect();
                let options = if options.is_empty() { String::new() } else { format!("?{}", options.join("&")) };
                format!("{scheme}://{server}{options}")
            }
            _ => self.text.clone(),
        };
        Self { text, kind: self.kind }
    }

    /// The password in it, as it is written there.
    pub fn password(&self) -> Option<String> {
        let (_, rest) = self.text.split_once("://").filter(|_| self.kind == DatabaseKind::Postgres)?;
        let (server, options) = rest.split_once('?').unwrap_or((rest, ""));
        let of_user = server.rsplit_once('@').and_then(|(user, _)| user.split_once(':')).map(|(_, password)| password);
        let option = || options.split('&').find_map(|option| option.strip_prefix("password="));
        of_user.or_else(option).map(str::to_owned)
    }

    /// As it is shown to people: without password, and of a file its path from the root.
    pub fn shown(&self) -> String {
        let file = self.text.strip_prefix("sqlite:").filter(|_| self.kind == DatabaseKind::Sqlite);
        let file = file.map(|rest| rest.trim_start_matches("//")).filter(|rest| !rest.contains(":memory:"));
        match file.and_then(|rest| std::path::absolute(rest.split('?').next().unwrap_or_default()).ok()) {
            Some(path) => format!("sqlite:{}", path.display()),
            None => self.to_string(),
        }
    }

    /// The file of a database that is one.
    pub fn file(&self) -> Option<PathBuf> {
        if self.kind != DatabaseKind::Sqlite || self.text.contains(":memory:") || self.text.contains("mode=memory") {
            return None;
        }
        let options = SqliteConnectOptions::from_str(&self.text).ok()?;
        Some(options.get_filename().to_owned())
    }

    /// Which database.
    pub const fn kind(&self) -> DatabaseKind {
        self.kind
    }
}

impl Default for DatabaseUrl {
    /// A file in the working directory.
    fn default() -> Self {
        Self { text: "sqlite:nta.db".to_owned(), kind: DatabaseKind::Sqlite }
    }
}

impl FromStr for DatabaseUrl {
    type Err = DatabaseUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let kind = if let Some(file) = text.strip_prefix("sqlite:") {
            if file.is_empty() || file == "//" {
                return Err(DatabaseUrlError::Incomplete("sqlite:", "file"));
            }
            let wrong = |reason: String| DatabaseUrlError::Sqlite { url: text.escape_debug().to_string(), reason };
            let options = SqliteConnectOptions::from_str(text).map_err(|error| wrong(error.to_string()))?;
            if options.get_filename().as_os_str().as_bytes().contains(&0) {
                return Err(wrong("no file's name has a NUL".to_owned()));
            }
            DatabaseKind::Sqlite
        } else if let Some(rest) = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://")) {
            if rest.is_empty() {
                return Err(DatabaseUrlError::Incomplete("postgres://", "server"));
            }
            // The URL itself may hold a password.
            let reason = match PgConnectOptions::from_str(text) {
                Ok(options) => unusable(rest, &options),
                Err(sqlx::Error::Configuration(reason)) => Some(reason.to_string()),
                Err(other) => Some(other.to_string()),
            };
            if let Some(reason) = reason {
                return Err(DatabaseUrlError::Postgres { reason });
            }
            DatabaseKind::Postgres
        } else {
            // Only the scheme: the rest may hold a password.
            let scheme = text.split_once(':').map_or(text, |(scheme, _)| scheme);
            return Err(DatabaseUrlError::Scheme(scheme.chars().take(32).collect()));
        };
        Ok(Self { text: text.to_owned(), kind })
    }
}

/// What the client of PostgreSQL takes and makes nothing of: an option that it does not know, and nobody to connect as.
fn unusable(rest: &str, options: &PgConnectOptions) -> Option<String> {
    let (server, given) = rest.split_once('?').unwrap_or((rest, ""));
    let names: Vec<String> =
        given.split('&').map(|option| name_of(option.split('=').next().unwrap_or_default())).collect();
    let is_known = |name: &str| {
        SHOWN_OPTIONS.contains(&name)
            || HIDDEN_OPTIONS.contains(&name)
            || name.starts_with("options[")
            || name.is_empty()
    };
    if let Some(name) = names.iter().find(|name| !is_known(name)) {
        let name: String = name.escape_debug().take(MAX_NAME).collect();
        let known = [&SHOWN_OPTIONS[..], &HIDDEN_OPTIONS].concat().join(", ");
        return Some(format!("there is no option `{name}`; there are {known}"));
    }
    let is_named = server.contains('@') || names.iter().any(|name| name == "user");
    let is_unknown = !is_named && FALLBACK_USERS.contains(&options.get_username());
    is_unknown.then(|| "it names no user, and the variable PGUSER does not either".to_owned())
}

/// An option's name without escapes.
fn name_of(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut name, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(byte) = bytes.get(at) {
        let code = bytes.get(at + 1..at + 3).and_then(|code| u8::from_str_radix(str::from_utf8(code).ok()?, 16).ok());
        match (byte, code) {
            (b'%', Some(code)) => {
                name.push(code);
                at += 3;
            }
            (byte, _) => {
                name.push(if *byte == b'+' { b' ' } else { *byte });
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&name).into_owned()
}

impl TryFrom<String> for DatabaseUrl {
    type Error = DatabaseUrlError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<DatabaseUrl> for String {
    fn from(url: DatabaseUrl) -> Self {
        url.text
    }
}

impl fmt::Display for DatabaseUrl {
    /// Without what stands before the server's name, and without parameters: both may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, self.text.split_once("://")) {
            (DatabaseKind::Postgres, Some((scheme, rest))) => {
                let rest = rest.split('?').next().unwrap_or_default();
                match rest.rsplit_once('@') {
                    Some((_, server)) => write!(f, "{scheme}://…@{server}"),
                    None => write!(f, "{scheme}://{rest}"),
                }
            }
            _ => f.write_str(&self.text),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_of_a_database_that_there_is() {
        for (url, kind) in [
            ("sqlite:nta.db", DatabaseKind::Sqlite),
            ("sqlite::memory:", DatabaseKind::Sqlite),
            ("sqlite:///var/lib/nta/nta.db?mode=rwc", DatabaseKind::Sqlite),
            ("postgres://nta@localhost/nta", DatabaseKind::Postgres),
            ("postgresql:///nta?host=/run/postgresql&user=nta", DatabaseKind::Postgres),
        ] {
            assert_eq!(url.parse::<DatabaseUrl>().map(|url| url.kind()), Ok(kind), "{url}");
        }
        for (url, said) in [
            ("mysql://root:secret@db/nta", "`mysql` is no database"),
            ("nta.db", "`nta.db` is no database"),
            ("", "sqlite:FILE, postgres://"),
            ("sqlite:", "names no file"),
            ("sqlite:nta.db?speed=1", "speed"),
            ("sqlite:nta\0.db", "NUL"),
            ("sqlite:nta%00.db", "NUL"),
            ("postgres://", "names no server"),
            ("postgres://nta:secret@/nta?host=/run/postgresql", "empty host"),
            ("postgres://nta:secret@db:port/nta", "port"),
            ("postgres://nta:secret@db/nta?foo=secret", "no option `foo`"),
            ("postgres://nta:secret@db/nta?sslmode=require&passfile=secret", "no option `passfile`"),
        ] {
            let error = url.parse::<DatabaseUrl>().expect_err(url).to_string();
            assert!(error.contains(said) && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_file_is_shown_with_its_path_from_the_root() {
        let here = std::env::current_dir().expect("a folder");
        let shown = |url: &str| url.parse::<DatabaseUrl>().expect("a URL").shown();
        assert_eq!(DatabaseUrl::default().shown(), format!("sqlite:{}", here.join("nta.db").display()));
        assert_eq!(shown("sqlite:///var/lib/nta.db?mode=rwc"), "sqlite:/var/lib/nta.db");
        assert_eq!(shown("sqlite::memory:"), "sqlite::memory:");
        assert_eq!(shown("postgres://nta:secret@db/nta"), "postgres://…@db/nta");
    }

    #[test]
    fn a_password_is_not_printed() {
        let url: DatabaseUrl = "postgres://nta:p@ss@db.example/nta?password=secret".parse().expect("a URL");
        assert_eq!(url.to_string(), "postgres://…@db.example/nta");
        assert_eq!(format!("{url:?}"), url.to_string());
        assert!(url.as_str().contains("secret"));
        for (url, shown) in [
            ("postgres://nta:p@ss@db.example/nta?password=secret", "postgres://nta@db.example/nta"),
            (
                "postgres://nta:secret@db/nta?host=/run/pg&p%61ssword=x&sslmode=require",
                "postgres://nta@db/nta?host=/run/pg&sslmode=require",
            ),
            ("postgres://db.example/nta?user=a&options=-c%20x%3Dy&password", "postgres://db.example/nta?user=a"),
            ("postgresql://nta@db.example:5433/nta", "postgresql://nta@db.example:5433/nta"),
            ("sqlite:/var/lib/nta/nta.db?mode=rw", "sqlite:/var/lib/nta/nta.db?mode=rw"),
        ] {
            let url: DatabaseUrl = url.parse().expect("a URL");
            assert_eq!(url.without_password().as_str(), shown);
            assert_eq!(url.without_password().without_password(), url.without_password());
        }
    }
}
