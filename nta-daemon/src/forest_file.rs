//! The isolation forest that the configuration names, as it is found when the daemon starts.

use std::sync::Arc;

use crate::config::Config;
use crate::model::forest::{self, IsolationForest};

/// Reads the forest, if one is named; without it the others judge alone, and the log says so.
pub fn load(config: &Config) -> Option<Arc<IsolationForest>> {
    let path = &config.model.forest;
    if path.as_os_str().is_empty() {
        return None;
    }
    match IsolationForest::load(path, &forest::schema(config.windows.seconds)) {
        Ok((forest, manifest)) => {
            let (rows, threshold) = (manifest.rows, manifest.threshold);
            tracing::info!(path = %path.display(), rows, threshold, "isolation forest judges beside the rules");
            Some(Arc::new(forest))
        }
        Err(error) => {
            tracing::error!(%error, "isolation forest refused, judging without it");
            None
        }
    }
}
