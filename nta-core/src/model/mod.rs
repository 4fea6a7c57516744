//! Learned models: what a file has to be to be used as one, and what it says of hosts' feature vectors. Bytes come as
//! arguments, and so does the library that evaluates trees ([`Library`]).
//!
//! libxgboost ends the process or hangs on many files that are not what it expects. So a model is used only if its
//! manifest fits this build, its SHA-256 is the manifest's, and its structure was walked through ([`check`]).

mod booster;
mod check;
mod classifier;
pub mod forest;
mod inputs;
mod manifest;

use std::sync::Arc;

pub use booster::{Booster, Library};
pub use classifier::{Classification, Classifier, Reason, softmax};
use forest::IsolationForest;
pub use inputs::{INPUT_FIELDS, INPUTS, Input, InputField, derive};
pub use manifest::{AttackRole, Class, ClassScore, Manifest, Recipe, sha256};

use crate::domain::ModelState;
use crate::features::{self, Extent};
use crate::window::HostStats;

/// Largest model file in bytes; the shipped one has to be below 2 MB.
pub const MAX_BYTES: u64 = 16 << 20;
/// A host with fewer packets in a window, and fewer than [`MIN_FLOWS`] flows, says too little about itself.
pub const MIN_PACKETS: u64 = 10;
/// See [`MIN_PACKETS`].
pub const MIN_FLOWS: u64 = 5;

/// The names of a model's inputs.
pub fn input_names() -> impl Iterator<Item = &'static str> {
    INPUT_FIELDS.iter().map(|field| field.name)
}

/// What each input weighs in a model's file, the weightiest first: its share of what all cuts gained in training.
///
/// # Errors
/// When the file is none that was checked.
pub fn importance(model: &[u8]) -> Result<Vec<(&'static str, f64)>, String> {
    let shares = check::importance(model, INPUTS)?;
    Ok(by_weight(input_names().zip(shares)))
}

/// The weightiest first; those without weight are left out.
fn by_weight(shares: impl Iterator<Item = (&'static str, f64)>) -> Vec<(&'static str, f64)> {
    let mut shares: Vec<_> = shares.filter(|(_, share)| *share > 0.0).collect();
    shares.sort_by(|a, b| b.1.total_cmp(&a.1));
    shares
}

/// What a model is asked about a host in a window.
pub fn input(host: &HostStats, extent: Extent) -> Input {
    derive(features::extract(host, extent).into(), extent.seconds)
}

/// Whether a host did enough in a window to be judged by it, and to be learned from.
pub fn is_active(host: &HostStats, min_packets: u64) -> bool {
    host.packets() >= min_packets || u64::from(host.flows()) >= MIN_FLOWS
}

/// How a booster is trained.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The library's parameters.
    pub parameters: Vec<(&'static str, String)>,
    /// Rounds; each adds a tree a class.
    pub rounds: u32,
}

/// Models that judge, and what is known about them.
#[derive(Clone, Debug, Default)]
pub struct Models {
    /// Classes of attacks, learned from labelled traffic.
    pub xgboost: Option<Arc<Classifier>>,
    /// How unlike the site's own normal traffic a host is.
    pub forest: Option<Arc<IsolationForest>>,
    /// The first digits of the SHA-256 of its file.
    pub forest_id: Option<String>,
    /// What the status says of the classes' model.
    pub state: ModelState,
}

/// Why a model cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("model {name}: {reason}")]
pub struct ModelError {
    /// The file.
    pub name: String,
    /// What is wrong.
    pub reason: Refusal,
}

/// What is wrong with a model.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// This build has no library to ask it with.
    #[error("support for models is not built in (`cargo xtask build` builds it in)")]
    NotBuiltIn,
    /// A file cannot be read.
    #[error("{file} cannot be read: {source}")]
    Read {
        /// Which.
        file: String,
        /// Why not.
        source: std::io::Error,
    },
    /// A file is no model of any sensible size.
    #[error("it has {0} bytes, more than {MAX_BYTES}")]
    Size(u64),
    /// The manifest is none.
    #[error("its manifest cannot be used: {0}")]
    Manifest(String),
    /// It was trained with other features.
    #[error("it was trained for feature schema {found}, this is {expected}")]
    Schema {
        /// Its schema.
        found: String,
        /// This build's.
        expected: String,
    },
    /// The file is not the one that the manifest is about.
    #[error("its SHA-256 is {found}, its manifest says {expected}: the file is damaged or another one")]
    Hash {
        /// The file's.
        found: String,
        /// The manifest's.
        expected: String,
    },
    /// The file is not what XGBoost writes.
    #[error("its structure is wrong: {0}")]
    Structure(String),
    /// The library refused it.
    #[error("XGBoost says: {0}")]
    Library(String),
    /// What a process of its own said when it tried it.
    #[error("{0}")]
    Given(String),
    /// Trying it in a process of its own failed.
    #[error("loading it in a process of its own failed: {0}")]
    Trial(String),
}

impl Refusal {
    /// With the name of the file.
    pub fn of(self, name: &str) -> ModelError {
        ModelError { name: name.to_owned(), reason: self }
    }
}
