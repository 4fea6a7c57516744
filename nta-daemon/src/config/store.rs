//! `[store]`: where windows and flows are kept.

use serde::{Deserialize, Serialize};

/// Where windows and flows are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    /// Database URL. Default: `sqlite:nta.db`, a file in the working directory.
    pub database: String,
    /// Hosts of each window whose features are stored, the most active ones; those that alerts name come on top.
    /// Default: 50.
    pub feature_hosts: usize,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { database: "sqlite:nta.db".to_owned(), feature_hosts: 50 }
    }
}

impl StoreConfig {
    pub(super) fn to_toml(&self) -> String {
        format!(
            "[store]\n\
             # Database URL, such as sqlite:/var/lib/nta/nta.db.\n\
             database = {:?}\n\
             # Hosts of each window whose features are stored, the most active ones; those that alerts name come on top.\n\
             feature_hosts = {}\n",
            self.database, self.feature_hosts
        )
    }
}
