//! Which networks are inside, sensor by sensor: a gateway ships what its configuration says and its machine knows, and rows of it are shown by that.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::db::{Conn, Query};
use super::{Store, StoreError, meta};
use nta_core::detect::Networks;

/// Networks of a sensor.
pub(super) const MOST_NETWORKS: usize = 1024;
/// How the names of their values begin, and what comes behind all such names.
const NAMES: [&str; 2] = ["inside:", "inside;"];
/// Sensors whose networks are read.
const MOST_SENSORS: i64 = 20_000;

/// What this process stored last, by sensor.
#[derive(Debug, Default)]
pub(super) struct Stored(Mutex<BTreeMap<String, Vec<String>>>);

impl Stored {
    pub(super) fn has(&self, sensor: &str, networks: &[String]) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(sensor).is_some_and(|known| known == networks)
    }

    pub(super) fn note(&self, sensor: &str, networks: &[String]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(sensor.to_owned(), networks.to_vec());
    }
}

/// Keeps the networks of a sensor in place of those before.
pub(super) async fn keep(conn: &mut Conn, sensor: &str, networks: &[String]) -> Result<(), StoreError> {
    meta::set(conn, &format!("{}{sensor}", NAMES[0]), &serde_json::json!(networks).to_string()).await
}

impl Store {
    /// Ships these as the networks that are inside, as they are then.
    #[must_use]
    pub fn with_local_networks(self, networks: Networks) -> Self {
        Self { local: Some(networks), ..self }
    }

    /// What it ships as the networks that are inside.
    pub(super) fn local_networks(&self) -> Option<Vec<String>> {
        let local = self.local.as_ref()?;
        let learned = local.learned();
        let all = local.configured().iter().chain(&learned);
        Some(all.take(MOST_NETWORKS).map(ToString::to_string).collect())
    }

    /// Which networks are inside for each sensor that ships here and says it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn networks_of_sensors(&self) -> Result<BTreeMap<String, Networks>, StoreError> {
        let query = Query::new("SELECT name, value FROM meta WHERE name >= $1 AND name < $2 ORDER BY name LIMIT $3");
        let query = query.bind(NAMES[0]).bind(NAMES[1]).bind(MOST_SENSORS);
        let rows = self.read("meta", query, |row| Ok((row.text("name")?, row.text("value")?))).await?;
        let networks = |(name, value): (String, String)| {
            let networks: Vec<String> = serde_json::from_str(&value).ok()?;
            Some((name.strip_prefix(NAMES[0])?.to_owned(), Networks::try_from(networks).ok()?))
        };
        Ok(rows.into_iter().filter_map(networks).collect())
    }
}
