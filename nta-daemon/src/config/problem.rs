//! What is wrong with a configuration: all of it, each with its place, the value, and what is allowed.

use std::fmt::{self, Display};
use std::path::{Path, PathBuf};

use super::nearest::nearest;

/// Problems that are shown; a file that is something else altogether has one in each line.
pub(super) const MAX_SHOWN: usize = 50;
/// Sections that earlier versions knew under another name, and what they are called now.
const RENAMED: [(&str, &str); 1] = [("hygiene", "detect.alerting")];
/// Settings that earlier versions had, and why there are none now.
const GONE: [(&str, &str); 1] = [("model_windows", "one window is enough for a model that is sure")];

/// Why a configuration cannot be used. Its text has a line for each problem.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Something in it is wrong.
    #[error("{}", lines(.0))]
    Invalid(Vec<Problem>),
    /// A value that no file can hold, such as a path that is not UTF-8.
    #[error("a value cannot be written down: {0}")]
    Unwritable(toml::ser::Error),
    /// What was put together of two.
    #[error("a value cannot be read back: {0}")]
    Unreadable(toml::de::Error),
}

impl ConfigError {
    /// This and the other, each problem once.
    #[must_use]
    pub fn and(self, other: Option<Self>) -> Self {
        match (self, other) {
            (Self::Invalid(mut problems), Some(Self::Invalid(more))) => {
                let new = more.into_iter().filter(|problem| !problems.contains(problem));
                problems.extend(new.collect::<Vec<_>>());
                Self::Invalid(problems)
            }
            (first, _) => first,
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where the value stands: a file's line, or a flag.
    pub place: Option<Place>,
    /// What is wrong, in one line.
    pub message: String,
}

/// A line of a file, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// The line.
    pub line: usize,
}

/// A value that a setting may not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// Section and key.
    key: String,
    value: String,
    expected: String,
}

impl Refused {
    pub(super) fn new(key: impl Into<String>, value: impl Display, expected: impl Display) -> Self {
        Self { key: key.into(), value: value.to_string(), expected: expected.to_string() }
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    pub(super) fn is_of(&self, key: &str) -> bool {
        self.key == key
    }
}

impl Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}: expected {}", self.key, self.value, self.expected)
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        Self { place: None, message: refused.to_string() }
    }
}

impl Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.path.display(), self.line)
    }
}

impl Place {
    /// The line that a byte of a text stands in.
    pub(super) fn of(path: &Path, text: &str, byte: usize) -> Self {
        let before = text.get(..byte).unwrap_or(text);
        Self { path: path.to_owned(), line: before.matches('\n').count() + 1 }
    }
}

fn lines(problems: &[Problem]) -> String {
    let mut lines: Vec<String> = problems.iter().take(MAX_SHOWN).map(ToString::to_string).collect();
    if problems.len() > MAX_SHOWN {
        lines.push("and more".to_owned());
    }
    lines.join("\n")
}

/// What the parser expects by the names of Rust's types, in those of a file.
const EXPECTED: [(&str, &str); 10] = [
    ("invalid socket address syntax", "expected ADDRESS:PORT, such as 127.0.0.1:5000 or [::1]:5000"),
    ("expected u8", "expected a whole number from 0 to 255"),
    ("expected u16", "expected a whole number from 0 to 65535"),
    ("expected u32", "expected a whole number from 0 on"),
    ("expected u64", "expected a whole number from 0 on"),
    ("expected usize", "expected a whole number from 0 on"),
    ("expected i64", "expected a whole number"),
    ("expected f64", "expected a number"),
    ("expected a boolean", "expected true or false"),
    ("expected a sequence", "expected a list"),
];

fn in_words(said: &str) -> String {
    let known = EXPECTED.iter().find(|(theirs, _)| said.ends_with(theirs));
    known.map_or_else(|| said.to_owned(), |(theirs, ours)| said.replace(theirs, ours))
}

/// What the parser says about a key, in one line. The parser's own rendering draws the place in several lines; a log and a
/// terminal's last line want one.
pub(super) fn message(key: &[String], error: &toml::de::Error) -> String {
    let said = error.message().trim().replace('\n', ", ");
    let Some((name, known)) = unknown(&said, "unknown field `") else {
        let known = unknown(&said, "unknown variant `");
        let hint = known.and_then(|(name, known)| nearest(&name, known.iter().map(String::as_str)).map(str::to_owned));
        let hint = hint.map(|known| format!("; did you mean `{known}`?")).unwrap_or_default();
        return format!("{}: {}{hint}", key.join("."), in_words(&said));
    };
    if let Some((old, new)) = RENAMED.iter().find(|(old, _)| *old == name) {
        return format!("`{old}` is called `{new}` now");
    }
    if let Some((old, why)) = GONE.iter().find(|(old, _)| *old == name) {
        return format!("`{old}` is gone: {why}");
    }
    let section = key.split(|part| *part == name).next().unwrap_or_default().join(".");
    let section = if section.is_empty() { String::new() } else { format!(" in [{section}]") };
    match nearest(&name, known.iter().map(String::as_str)) {
        Some(known) => format!("there is no `{name}`{section}; did you mean `{known}`?"),
        None => format!("there is no `{name}`{section}; there are {}", known.join(", ")),
    }
}

/// The name that is not known, and those that are, of a message such as "unknown field `a`, expected one of `b`, `c`".
fn unknown(said: &str, beginning: &str) -> Option<(String, Vec<String>)> {
    let (name, rest) = said.strip_prefix(beginning)?.split_once('`')?;
    let known = rest.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    Some((name.to_owned(), known))
}
