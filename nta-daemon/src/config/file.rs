//! A configuration file, read so that everything that is wrong in it is found at once: each entry is tried by itself, as if the
//! file had no other.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::Deserialize as _;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, Deserializer, Error};

use super::Config;
use super::problem::{ConfigError, MAX_SHOWN, Place, Problem, message};
use super::regular::read_text;

/// Where settings stand, by section and key.
pub type Places = BTreeMap<String, Place>;

type Key<'t> = Spanned<std::borrow::Cow<'t, str>>;

/// An entry with the keys that lead to it.
struct Entry<'t> {
    keys: Vec<Key<'t>>,
    value: Spanned<DeValue<'t>>,
}

/// Larger files are no configuration.
const MOST_BYTES: u64 = 1 << 20;

/// The text of a file: of a regular one, because others have no end or let the reader wait.
pub(super) fn text(path: &Path) -> io::Result<String> {
    read_text(path, MOST_BYTES).map_err(|error| match error.kind() {
        io::ErrorKind::FileTooLarge => io::Error::other("is larger than 1 MiB: no configuration"),
        _ => error,
    })
}

/// The configuration of a file's text, and where each of its settings stands.
///
/// # Errors
/// Everything that is wrong in it, in the order of its lines.
pub(super) fn read(path: &Path, text: &str) -> Result<(Config, Places), ConfigError> {
    let place = |byte| Place::of(path, text, byte);
    let (root, errors) = DeTable::parse_recoverable(text);
    let mut problems: Vec<Problem> = errors
        .iter()
        .map(|error| Problem {
            place: Some(place(error.span().map_or(0, |span| span.start))),
            message: error.message().trim().replace('\n', ", "),
        })
        .collect();
    let mut entries = Vec::new();
    if problems.is_empty() {
        list(root.get_ref(), &[], &mut entries);
    }
    for entry in &entries {
        if problems.len() > MAX_SHOWN {
            break;
        }
        problems.extend(entry.problems().into_iter().map(|(byte, message)| {
            let byte = byte.unwrap_or_else(|| entry.start());
            Problem { place: Some(place(byte)), message }
        }));
    }
    problems.sort_by_key(|problem| problem.place.as_ref().map(|place| place.line));
    problems.dedup();
    if !problems.is_empty() {
        return Err(ConfigError::Invalid(problems));
    }
    let whole = |error: Error| {
        let place = Some(place(error.span().map_or(0, |span| span.start)));
        ConfigError::Invalid(vec![Problem { place, message: message(&[], &error) }])
    };
    let config: Config = toml::from_str(text).map_err(whole)?;
    config.check()?;
    let places = entries.iter().map(|entry| (entry.names().join("."), place(entry.start()))).collect();
    Ok((config, places))
}

/// What can be used of a configuration in which something is wrong.
#[derive(Debug, Default)]
pub struct Usable {
    /// The rest as it is by default; not checked.
    pub config: Config,
    /// Where each of its settings stands.
    pub places: Places,
    /// The settings, by section and key, that cannot be used.
    pub refused: Vec<String>,
}

/// As [`read`], of what can be used.
pub(super) fn usable(path: &Path, text: &str) -> Option<Usable> {
    let root = DeTable::parse(text).ok()?;
    let mut entries = Vec::new();
    list(root.get_ref(), &[], &mut entries);
    entries.truncate(MAX_SHOWN.saturating_mul(10));
    let (entries, refused): (Vec<_>, Vec<_>) =
        entries.into_iter().partition(|entry| entry.attempt(entry.value.clone()).is_ok());
    let mut usable = DeTable::new();
    entries.iter().for_each(|entry| insert(&mut usable, &entry.keys, entry.value.clone()));
    let config = Config::deserialize(Deserializer::from(Spanned::new(0..text.len(), usable))).ok()?;
    let place = |entry: &Entry<'_>| (entry.names().join("."), Place::of(path, text, entry.start()));
    let refused = refused.iter().map(|entry| entry.names().join(".")).collect();
    Some(Usable { config, places: entries.iter().map(place).collect(), refused })
}

fn insert<'t>(table: &mut DeTable<'t>, keys: &[Key<'t>], value: Spanned<DeValue<'t>>) {
    match keys {
        [] => {}
        [key] => drop(table.insert(key.clone(), value)),
        [key, below @ ..] => {
            let new = || Spanned::new(key.span(), DeValue::Table(DeTable::new()));
            if let DeValue::Table(inner) = table.entry(key.clone()).or_insert_with(new).as_mut() {
                insert(inner, below, value);
            }
        }
    }
}

/// All entries, those of tables with their own.
fn list<'t>(table: &DeTable<'t>, above: &[Key<'t>], entries: &mut Vec<Entry<'t>>) {
    for (key, value) in table {
        let keys = [above, std::slice::from_ref(key)].concat();
        match value.get_ref() {
            DeValue::Table(inner) if !inner.is_empty() => list(inner, &keys, entries),
            _ => entries.push(Entry { keys, value: value.clone() }),
        }
    }
}

impl<'t> Entry<'t> {
    fn names(&self) -> Vec<String> {
        self.keys.iter().map(|key| key.get_ref().to_string()).collect()
    }

    /// Where it begins.
    fn start(&self) -> usize {
        self.keys.last().map_or(0, |key| key.span().start)
    }

    /// What is wrong with it, each with its place where that is known better than by the entry. Of a list, each element is
    /// tried by itself.
    fn problems(&self) -> Vec<(Option<usize>, String)> {
        let Err(found) = self.attempt(self.value.clone()) else { return Vec::new() };
        let DeValue::Array(elements) = self.value.get_ref() else { return found };
        let mut each = Vec::new();
        for element in elements {
            let mut alone = DeArray::new();
            alone.push(element.clone());
            let alone = Spanned::new(element.span(), DeValue::Array(alone));
            if let Err(found) = self.attempt(alone) {
                each.extend(found.into_iter().map(|(_, message)| (Some(element.span().start), message)));
            }
        }
        if each.is_empty() { found } else { each }
    }

    /// Reads a configuration of this one setting.
    fn attempt(&self, value: Spanned<DeValue<'t>>) -> Result<(), Vec<(Option<usize>, String)>> {
        let mut value = value;
        for key in self.keys.iter().rev() {
            let mut table = DeTable::new();
            let span = value.span();
            table.insert(key.clone(), value);
            value = Spanned::new(span, DeValue::Table(table));
        }
        let span = value.span();
        let DeValue::Table(root) = value.into_inner() else { return Ok(()) };
        let config = Config::deserialize(Deserializer::from(Spanned::new(span, root)));
        // An address is refused without being named; other texts may hold a password.
        let named = |said: String| match self.value.get_ref() {
            DeValue::String(text) if said.ends_with("[::1]:5000") => format!("{said}, not {text:?}"),
            _ => said,
        };
        let config =
            config.map_err(|error| vec![(error.span().map(|s| s.start), named(message(&self.names(), &error)))])?;
        match config.check() {
            Ok(()) => Ok(()),
            Err(ConfigError::Invalid(found)) => Err(found.into_iter().map(|found| (None, found.message)).collect()),
            Err(other) => Err(vec![(None, other.to_string())]),
        }
    }
}
