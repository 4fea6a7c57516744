//! Learned judges of hosts: trained elsewhere, read from files, asked by detectors.

pub mod forest;

use std::sync::Arc;

use forest::IsolationForest;

/// Models that judge beside the rules.
#[derive(Clone, Debug, Default)]
pub struct Models {
    /// How unlike the site's own normal traffic a host is.
    pub forest: Option<Arc<IsolationForest>>,
}
