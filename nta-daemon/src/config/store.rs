//! `[store]`: where windows and flows are kept.

use super::DatabaseUrl;
use super::section::section;

section! {
    /// Where windows and flows are kept.
    StoreConfig in "store" {
        /// Database URL: sqlite:FILE, such as sqlite:/var/lib/nta/nta.db, or postgres://USER@HOST/NAME.
        database: DatabaseUrl = DatabaseUrl::default(),
        /// Hosts of each window whose features are stored, the most active ones; those that alerts name come on top.
        feature_hosts: usize = 50,
    }
}
