//! `[model]`: the learned model that judges beside the rules.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The learned model that judges beside the rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// Whether a model judges. Default: true.
    pub enabled: bool,
    /// File of the model, with its manifest (`x.manifest.json` for `x.json`) beside it. Default: empty, the one that the
    /// daemon brings along.
    pub path: PathBuf,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self { enabled: true, path: PathBuf::new() }
    }
}

impl ModelConfig {
    pub(super) fn to_toml(&self) -> String {
        let Self { enabled, path } = self;
        format!(
            "[model]\n# Whether a learned model judges beside the rules.\nenabled = {enabled}\n# File of the model, \
             with its manifest (x.manifest.json for x.json) beside it; empty for the one that the\n# daemon brings \
             along.\npath = {:?}\n",
            path.display().to_string()
        )
    }
}
