//! Which settings a running daemon takes up from its configuration (SIGHUP, `POST /api/control/reload`), and which need a restart.
//! [`is_reloadable`] is the one place that says so: what is compared, taken and printed goes by it.

use std::sync::{Arc, PoisonError, RwLock};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot};

use super::{Config, ConfigError, InterfacePattern};

/// Settings, or sections of them, that are taken up without detaching.
const RELOADABLE: &[&str] = &[
    "log",
    "capture.interfaces",
    "detect",
    "store.keep_days",
    "store.keep_5s_days",
    "store.keep_30s_days",
    "store.keep_180s_days",
    "store.keep_1h_days",
    "store.max_windows",
    "store.max_flows",
    "store.max_features",
    "store.max_near_measures",
    "store.keep_near_days",
    "store.max_alerts",
    "store.max_events",
    "store.max_bytes",
    "webhooks",
];
/// And what of these sections is not: it is stored with windows and shipped, and one run has one of it.
const FIXED: &[&str] = &["detect.local_networks"];
/// Reloads that may wait; one is under way.
const WAITING: usize = 2;

/// Whether a reload takes a setting up, by section and key.
pub fn is_reloadable(key: &str) -> bool {
    let is_in = |part: &&str| key.strip_prefix(*part).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    RELOADABLE.iter().any(&is_in) && !FIXED.iter().any(is_in)
}

/// The settings in which two configurations differ, and how many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// That a reload takes up.
    pub reloadable: Vec<String>,
    /// That need a restart.
    pub fixed: Vec<String>,
    /// That are the same in both.
    pub same: usize,
}

impl Config {
    /// In what another configuration differs from this one.
    ///
    /// # Errors
    /// If one has a value that no file can hold.
    pub fn differences(&self, other: &Self) -> Result<Differences, ConfigError> {
        let [here, there] = [settings(self)?, settings(other)?];
        let mut found = Differences::default();
        for key in here.keys().chain(there.keys().filter(|key| !here.contains_key(*key))) {
            if here.get(key) == there.get(key) {
                found.same += 1;
            } else if is_reloadable(key) {
                found.reloadable.push(key.clone());
            } else {
                found.fixed.push(key.clone());
            }
        }
        // Their secrets do not write themselves.
        if self.webhooks == other.webhooks {
            found.same += 1;
        } else {
            found.reloadable.push("webhooks".to_owned());
        }
        Ok(found)
    }

    /// This one with the named settings of another.
    ///
    /// # Errors
    /// If one has a value that no file can hold.
    pub fn with_settings_of(&self, other: &Self, keys: &[String]) -> Result<Self, ConfigError> {
        let of = |section: &str| {
            let of_it = |key: &&String| key.split('.').next() == Some(section);
            keys.iter().filter(of_it).map(String::as_str).collect::<Vec<_>>()
        };
        Ok(Self {
            log: merged(&self.log, &other.log, &of("log"))?,
            capture: merged(&self.capture, &other.capture, &of("capture"))?,
            detect: merged(&self.detect, &other.detect, &of("detect"))?,
            store: merged(&self.store, &other.store, &of("store"))?,
            webhooks: if of("webhooks").is_empty() { self.webhooks.clone() } else { other.webhooks.clone() },
            ..self.clone()
        })
    }
}

/// A section with the values of another under these keys, which begin with the section's name.
fn merged<T: Serialize + DeserializeOwned + Clone>(section: &T, other: &T, keys: &[&str]) -> Result<T, ConfigError> {
    if keys.is_empty() {
        return Ok(section.clone());
    }
    let written = |section: &T| toml::Value::try_from(section).map_err(ConfigError::Unwritable);
    let (mut value, from) = (written(section)?, written(other)?);
    for key in keys {
        let path: Vec<&str> = key.split('.').skip(1).collect();
        let Some((last, above)) = path.split_last() else { continue };
        let found = above.iter().chain([last]).try_fold(&from, |table, name| table.get(name)).cloned();
        let table = above.iter().try_fold(&mut value, |table, name| table.get_mut(name));
        match (table.and_then(toml::Value::as_table_mut), found) {
            (Some(table), Some(found)) => drop(table.insert((*last).to_owned(), found)),
            (Some(table), None) => drop(table.remove(*last)),
            (None, _) => {}
        }
    }
    value.try_into().map_err(ConfigError::Unreadable)
}

/// Every setting but the webhooks, by section and key.
fn settings(config: &Config) -> Result<std::collections::BTreeMap<String, toml::Value>, ConfigError> {
    let value = toml::Value::try_from(Config { webhooks: Vec::new(), ..config.clone() });
    let mut found = std::collections::BTreeMap::new();
    flatten("", value.map_err(ConfigError::Unwritable)?, &mut found);
    Ok(found)
}

fn flatten(key: &str, value: toml::Value, found: &mut std::collections::BTreeMap<String, toml::Value>) {
    match value {
        toml::Value::Table(table) => {
            for (inner, value) in table {
                let key = if key.is_empty() { inner } else { format!("{key}.{inner}") };
                flatten(&key, value, found);
            }
        }
        value => drop(found.insert(key.to_owned(), value)),
    }
}

/// The settings in effect, shared by who changes them and who shows them; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Current(Arc<RwLock<Arc<Config>>>);

impl Current {
    /// Those of now.
    pub fn now(&self) -> Arc<Config> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// These are in effect from now on.
    pub fn set(&self, config: Config) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }
}

impl From<Config> for Current {
    fn from(config: Config) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(config))))
    }
}

/// A configuration that was read again.
#[derive(Clone, Debug)]
pub struct Reread {
    /// What file, variables and flags say now.
    pub config: Config,
    /// The interfaces that it selects: without any, that of the default route.
    pub patterns: Vec<InterfacePattern>,
}

/// What a reload did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Settings that hold from now on.
    pub taken: Vec<String>,
    /// Settings that hold from the next start on.
    pub restart: Vec<String>,
    /// Settings that could not be taken up, each with the reason: they are as before.
    pub failed: Vec<(String, String)>,
    /// How many settings are as they were.
    pub unchanged: usize,
    /// Whether the certificate was read anew, of a daemon that serves by TLS.
    pub certificate: Option<Result<(), String>>,
}

impl Reloaded {
    /// A line for the log.
    pub fn said(&self) -> String {
        let mut parts = Vec::new();
        let mut list = |what: &str, keys: &[String]| {
            if !keys.is_empty() {
                parts.push(format!("{what}: {}", keys.join(", ")));
            }
        };
        list("taken up", &self.taken);
        list("needs a restart", &self.restart);
        let failed: Vec<String> = self.failed.iter().map(|(key, reason)| format!("{key} ({reason})")).collect();
        list("not taken up", &failed);
        if parts.is_empty() { "the configuration is as before".to_owned() } else { parts.join("; ") }
    }
}

/// Why nothing was reloaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReloadError {
    /// The configuration cannot be used: everything that is wrong in it.
    #[error("the configuration is not taken: {0}")]
    Invalid(String),
    /// This daemon reads it once.
    #[error("{0}")]
    Once(&'static str),
    /// Others wait, or it is ending.
    #[error("another reload is under way, or the daemon is ending")]
    Busy,
}

/// An answer to who asked for a reload.
pub type ReloadAnswer = Result<Reloaded, ReloadError>;

/// By which a reload is asked for; cheap to clone.
#[derive(Clone, Debug)]
pub struct ReloadHandle(mpsc::Sender<oneshot::Sender<ReloadAnswer>>);

/// Where it is asked for.
pub type Reloads = mpsc::Receiver<oneshot::Sender<ReloadAnswer>>;

impl ReloadHandle {
    /// Both ends.
    pub fn new() -> (Self, Reloads) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), receiver)
    }

    /// Asks for it, and waits for what it did.
    ///
    /// # Errors
    /// When nothing was reloaded.
    pub async fn reload(&self) -> ReloadAnswer {
        let (answer, answered) = oneshot::channel();
        self.0.try_send(answer).map_err(|_full_or_closed| ReloadError::Busy)?;
        answered.await.unwrap_or(Err(ReloadError::Busy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Config {
        toml::from_str(text).expect("a configuration")
    }

    #[test]
    fn every_setting_is_taken_up_or_named_and_nothing_else_changes() {
        let mut known = settings(&Config::default()).expect("settings");
        known.insert("webhooks".to_owned(), toml::Value::Array(Vec::new()));
        for part in RELOADABLE.iter().chain(FIXED) {
            let is_in = |key: &&String| key.as_str() == *part || key.starts_with(&format!("{part}."));
            assert!(known.keys().any(|key| is_in(&key)), "there is no setting `{part}`");
        }
        let before = Config::default();
        let after = parsed(
            "[sensor]\nname = \"a\"\n[capture]\ninterfaces = [\"eth0\"]\nmap_memory_mib = 64\n\
             [log]\nfilter = \"debug\"\n[[webhooks]]\nname = \"ops\"\nkind = \"slack\"\nurl = \"https://a.example/\"\n\
             [detect]\nlocal_networks = [\"192.0.2.0/24\"]\n[detect.syn_flood]\nenabled = false\n\
             [store]\ndatabase = \"sqlite:/b.db\"\nmax_flows = 9\n",
        );
        let found = before.differences(&after).expect("differences");
        assert_eq!(
            found.reloadable,
            ["capture.interfaces", "detect.syn_flood.enabled", "log.filter", "store.max_flows", "webhooks"]
        );
        assert!(found.fixed.contains(&"store.database".to_owned()), "{found:?}");
        assert!(found.fixed.iter().any(|key| key.starts_with("detect.local_networks")), "{found:?}");
        let taken = before.with_settings_of(&after, &found.reloadable).expect("merged");
        let left = taken.differences(&after).expect("differences");
        assert_eq!((left.reloadable, left.fixed), (vec![], found.fixed.clone()), "what is left needs a restart");
        let changed = before.differences(&taken).expect("differences");
        assert_eq!((changed.reloadable, changed.fixed), (found.reloadable, vec![]));
    }

    #[test]
    fn what_is_printed_marks_what_a_reload_takes_up() {
        let printed = Config::default().to_toml().expect("printed");
        let marked: Vec<&str> =
            printed.split("# A reload takes it up.\n").skip(1).filter_map(|rest| rest.lines().next()).collect();
        assert!(marked.contains(&"max_flows = 1000000"), "{marked:?}");
        assert!(marked.iter().all(|line| !line.starts_with("database")), "{marked:?}");
        let of = |key: &str| settings(&Config::default()).is_ok_and(|all| all.contains_key(key));
        assert!(of("detect.syn_flood.enabled") && is_reloadable("detect.syn_flood.enabled"));
    }
}
