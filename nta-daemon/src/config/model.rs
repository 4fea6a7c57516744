//! `[model]`: what was learned from traffic.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Learned judges.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// File of the isolation forest, trained on the site's own normal traffic. Default: empty, none judges.
    pub forest: PathBuf,
}

impl ModelConfig {
    pub(super) fn to_toml(&self) -> String {
        format!(
            "[model]\n# File of the isolation forest, trained on the site's own normal traffic; empty for none.\n\
             forest = {:?}\n",
            self.forest.display().to_string()
        )
    }
}
