//! `[model]`: what was learned from traffic.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Learned judges.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// Whether a model learned from labelled traffic judges. Default: true.
    pub enabled: bool,
    /// File of that model, with its manifest (`x.manifest.json` for `x.json`) beside it. Default: empty, the one that the
    /// daemon brings along.
    pub path: PathBuf,
    /// File of the isolation forest, trained on the site's own normal traffic. Default: empty, none judges.
    pub forest: PathBuf,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self { enabled: true, path: PathBuf::new(), forest: PathBuf::new() }
    }
}

impl ModelConfig {
    pub(super) fn to_toml(&self) -> String {
        let Self { enabled, path, forest } = self;
        format!(
            "[model]\n# Whether a model learned from labelled traffic judges beside the rules.\nenabled = {enabled}\n\
             # File of that model, with its manifest (x.manifest.json for x.json) beside it; empty for the one that the\n\
             # daemon brings along.\npath = {:?}\n\
             # File of the isolation forest, trained on the site's own normal traffic; empty for none.\nforest = {:?}\n",
            path.display().to_string(),
            forest.display().to_string()
        )
    }
}
