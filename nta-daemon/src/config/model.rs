//! `[model]`: what was learned from traffic.

use std::path::PathBuf;

use super::section::section;

section! {
    /// Learned judges.
    ModelConfig in "model" {
        /// Whether a model learned from labelled traffic judges beside the rules.
        enabled: bool = true,
        /// File of that model, with its manifest (x.manifest.json for x.json) beside it; empty for the one that the
        /// daemon brings along.
        path: PathBuf = PathBuf::new(),
        /// File of the isolation forest, trained on the site's own normal traffic; empty for none.
        forest: PathBuf = PathBuf::new(),
    }
}
