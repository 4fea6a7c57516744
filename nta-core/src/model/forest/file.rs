//! A forest in a file: JSON, whose digest is checked before anything else in it is believed.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::tree::{Entry, Tree, TreeError};
use super::{IsolationForest, MAX_FEATURES, Params, RowError};

/// Largest file that is read; one of 100 trees has less than 1 MiB.
pub const MAX_FILE_BYTES: u64 = 32 << 20;
/// Version of the file's shape.
const FORMAT: u32 = 1;
/// What the file says that it is.
const ALGORITHM: &str = "isolation_forest";

/// What the values of a row mean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schema {
    /// Version of the feature schema.
    pub version: u32,
    /// Names of the features, in the order of a row.
    pub features: Vec<String>,
    /// Length of the windows that the rows describe, in seconds.
    pub window_s: u64,
}

/// What is known about a forest, stored with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// `isolation_forest`.
    pub algorithm: String,
    /// What its rows mean.
    pub schema: Schema,
    /// What it was trained from, in words.
    pub trained_from: String,
    /// Rows that it was trained from.
    pub rows: u64,
    /// Seed of the training.
    pub seed: u64,
    /// Trees.
    pub trees: u32,
    /// Rows that each tree was to be grown from.
    pub samples: u32,
    /// Share of the training rows at or below the threshold.
    pub quantile: f64,
    /// The score above which a row is unlike the training rows.
    pub threshold: f64,
}

/// Why the text of a file is no forest that can be used.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// No JSON, or of another shape.
    #[error("no isolation forest, or damaged: {0}")]
    Shape(#[source] serde_json::Error),
    /// Another version of the file's shape.
    #[error("version {0} of the file's format, this program reads {FORMAT}")]
    Format(u32),
    /// The content is not what was written.
    #[error("damaged: the content does not match its SHA-256")]
    Digest,
    /// Another kind of model.
    #[error("a model of kind {0:?}, not {ALGORITHM}")]
    Algorithm(String),
    /// Trained on other features.
    #[error("{0}; train it again")]
    Schema(String),
    /// Parameters that no forest can have.
    #[error(transparent)]
    Params(RowError),
    /// A number that contradicts the others.
    #[error("{0}")]
    Contradiction(String),
    /// A tree that is none.
    #[error("tree {number}: {reason}")]
    Tree {
        /// Which, from 0.
        number: usize,
        /// Why.
        reason: TreeError,
    },
}

/// The file: the forest's text, and what it was when written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File<'a> {
    format: u32,
    sha256: String,
    #[serde(borrow)]
    forest: &'a RawValue,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    manifest: Manifest,
    trees: Vec<Vec<EntryJson>>,
}

/// `[feature, value]` is a cut, `[rows]` a leaf.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum EntryJson {
    Cut(u16, f32),
    Leaf([u32; 1]),
}

impl IsolationForest {
    /// What is known about it.
    pub fn manifest(&self, schema: Schema, trained_from: &str) -> Manifest {
        Manifest {
            algorithm: ALGORITHM.to_owned(),
            schema,
            trained_from: trained_from.to_owned(),
            rows: self.rows,
            seed: self.params.seed,
            trees: self.params.trees,
            samples: self.params.samples,
            quantile: self.params.quantile,
            threshold: self.threshold,
        }
    }

    /// Its text, with what is known about it.
    ///
    /// # Errors
    /// None that was seen: only if it cannot be written as JSON.
    pub fn to_json(&self, manifest: Manifest) -> Result<String, serde_json::Error> {
        let entry = |entry| match entry {
            Entry::Cut(feature, value) => EntryJson::Cut(feature, value),
            Entry::Leaf(rows) => EntryJson::Leaf([rows]),
        };
        let trees = self.trees.iter().map(|tree| tree.entries().into_iter().map(entry).collect()).collect();
        sealed(serde_json::to_string(&Body { manifest, trees })?)
    }

    /// A forest of whatever schema, to be shown and not to be asked.
    ///
    /// # Errors
    /// If anything in it is not as it was written.
    pub fn known(bytes: &[u8]) -> Result<(Self, Manifest), Refusal> {
        let File { forest, .. } = serde_json::from_slice(bytes).map_err(Refusal::Shape)?;
        let Body { manifest, .. } = serde_json::from_str(forest.get()).map_err(Refusal::Shape)?;
        Self::from_json(bytes, &manifest.schema)
    }

    /// A forest that was trained on rows of this schema, from its text.
    ///
    /// # Errors
    /// If anything in it is not as it was written, or it was trained for other rows.
    pub fn from_json(bytes: &[u8], schema: &Schema) -> Result<(Self, Manifest), Refusal> {
        let File { format, sha256, forest } = serde_json::from_slice(bytes).map_err(Refusal::Shape)?;
        if format != FORMAT {
            return Err(Refusal::Format(format));
        }
        if sha256 != digest(forest.get()) {
            return Err(Refusal::Digest);
        }
        let Body { manifest, trees } = serde_json::from_str(forest.get()).map_err(Refusal::Shape)?;
        manifest.check(schema)?;
        if trees.len() != manifest.trees as usize {
            let text = format!("{} trees, the manifest says {}", trees.len(), manifest.trees);
            return Err(Refusal::Contradiction(text));
        }
        let samples = manifest.samples.min(u32::try_from(manifest.rows).unwrap_or(u32::MAX));
        let entry = |entry| match entry {
            EntryJson::Cut(feature, value) => Entry::Cut(feature, value),
            EntryJson::Leaf([rows]) => Entry::Leaf(rows),
        };
        let width = manifest.schema.features.len();
        let tree = |(number, entries): (usize, Vec<EntryJson>)| {
            let entries: Vec<Entry> = entries.into_iter().map(entry).collect();
            Tree::from_entries(&entries, width, samples).map_err(|reason| Refusal::Tree { number, reason })
        };
        let trees = trees.into_iter().enumerate().map(tree).collect::<Result<_, _>>()?;
        let (rows, threshold, params) = (manifest.rows, manifest.threshold, manifest.params());
        Ok((Self { width, samples, trees, rows, params, threshold }, manifest))
    }
}

impl Manifest {
    fn params(&self) -> Params {
        Params { trees: self.trees, samples: self.samples, seed: self.seed, quantile: self.quantile }
    }

    fn check(&self, expected: &Schema) -> Result<(), Refusal> {
        if self.algorithm != ALGORITHM {
            return Err(Refusal::Algorithm(self.algorithm.clone()));
        }
        self.schema.check(expected).map_err(Refusal::Schema)?;
        self.params().check().map_err(Refusal::Params)?;
        if self.rows < 2 {
            return Err(Refusal::Params(RowError::TooFew(self.rows as usize)));
        }
        if !(0.0..=1.0).contains(&self.threshold) {
            return Err(Refusal::Contradiction(format!("threshold {}: scores are from 0 to 1", self.threshold)));
        }
        Ok(())
    }
}

impl Schema {
    fn check(&self, expected: &Self) -> Result<(), String> {
        if self.version != expected.version {
            let (own, other) = (self.version, expected.version);
            return Err(format!("trained on version {own} of the feature schema, this program has {other}"));
        }
        let (own, other) = (&self.features, &expected.features);
        if own.len() != other.len() || own.len() > MAX_FEATURES {
            return Err(format!("trained on {} features, this program has {}", own.len(), other.len()));
        }
        if let Some((own, other)) = own.iter().zip(other).find(|(own, other)| own != other) {
            return Err(format!("trained on feature {own:?} where this program has {other:?}"));
        }
        if self.window_s != expected.window_s {
            let (own, other) = (self.window_s, expected.window_s);
            return Err(format!("trained on windows of {own} s, this program judges windows of {other} s"));
        }
        Ok(())
    }
}

/// A body as a file that says what it was.
pub(super) fn sealed(body: String) -> Result<String, serde_json::Error> {
    let sha256 = digest(&body);
    let forest = RawValue::from_string(body)?;
    Ok(serde_json::to_string(&File { format: FORMAT, sha256, forest: &forest })? + "\n")
}

fn digest(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}
