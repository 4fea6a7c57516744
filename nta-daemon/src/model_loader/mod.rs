//! Models in files: a faulty one is reported, and the others judge without it.

mod classifier;
mod forest;
mod handle;
mod registry;
mod words;

pub use classifier::{manifest_path, read};
pub use forest::{ForestError, read as read_forest, save as save_forest};

pub use handle::ModelHandle;
pub use registry::{Entry, NotActivated, Registry, Report, id_of};
pub use words::{Algorithm, Origin};

use crate::config::Config;
use nta_core::model::Models;

/// What is wrong with the models that the configuration names, by section and key. Nothing where models are switched off.
pub fn check(config: &Config) -> Vec<(&'static str, String)> {
    let class = classifier::check(&config.model).map(|message| ("model.path", message));
    let forest = forest::check(config).map(|message| ("model.forest", message));
    class.into_iter().chain(forest).collect()
}

/// The models that the configuration asks for, as far as they can be used.
pub fn load(config: &Config) -> Models {
    let (xgboost, state) = classifier::load(&config.model);
    let (forest, forest_id) = forest::load(config).unzip();
    Models { xgboost, forest, forest_id, state }
}
