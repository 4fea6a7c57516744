//! An isolation forest: how unlike the hosts of the site's own normal traffic a host is (Liu, Ting & Zhou, "Isolation
//! Forest", ICDM 2008).
//!
//! Each tree cuts a small sample of the training rows at random, one feature and one value at a time, until rows are
//! alone. What is unlike the rest is alone after few cuts. The score is 2^(-E[h] / c(n)), E[h] the mean number of cuts
//! over the trees and c(n) that of an unsuccessful search in a binary tree of n rows: 0.5 for the ordinary, towards 1
//! for the isolated.
//!
//! Rows are `f64`; like scikit-learn, the forest sees them as `f32`. Infinite and larger values count as the largest
//! `f32`; what is no number is refused.

#[cfg(test)]
mod compare;
mod file;
#[cfg(test)]
mod tests;
mod tree;

use rand::SeedableRng as _;
use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::index;

pub use file::{MAX_FILE_BYTES, Manifest, Refusal, Schema};
use tree::{Tree, expected_cuts};

use crate::features::{FEATURES, FeatureVector, SCHEMA_VERSION};
use crate::window::{HostStats, Span};

/// Most features of a row.
pub const MAX_FEATURES: usize = 1024;
/// Most trees of a forest.
pub const MAX_TREES: u32 = 10_000;
/// Most rows that a tree is grown from.
pub const MAX_SAMPLES: u32 = 65_536;

/// The windows that forests of hosts are trained on, and judge.
pub const SPAN: Span = Span::Medium;

/// What the rows of hosts mean; `base_s` is the length of the base window in seconds.
pub fn schema(base_s: u64) -> Schema {
    Schema {
        version: SCHEMA_VERSION,
        features: FEATURES.iter().map(|feature| feature.name.to_owned()).collect(),
        window_s: base_s * SPAN.factor(),
    }
}

/// The row of a host: its features on a logarithmic scale. Rates and counts differ by powers of ten, and a cut between the
/// least and the greatest would leave all but a few rows on one side.
pub fn row(vector: &FeatureVector) -> FeatureVector {
    vector.map(|value| value.abs().ln_1p().copysign(value))
}

/// Whether a host did enough in a window to be judged, and to be learned from.
pub const fn is_judged(host: &HostStats, min_packets: u64) -> bool {
    host.packets() >= min_packets
}

/// How a forest is trained.
#[derive(Clone, Debug)]
pub struct Params {
    /// Trees: 100, where path lengths have long converged (section 4.2 of the paper).
    pub trees: u32,
    /// Rows that each tree is grown from, drawn without replacement: 256, enough in the paper's section 4.2.
    pub samples: u32,
    /// Seed of everything that is random: the same rows and seed give the same forest.
    pub seed: u64,
    /// Share of the training rows whose scores stay at or below the threshold, 0 to 1.
    pub quantile: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { trees: 100, samples: 256, seed: 1, quantile: 0.999 }
    }
}

/// Why rows, or one to be scored, cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// Too few to cut.
    #[error("{0} rows: at least 2 are needed")]
    TooFew(usize),
    /// A row of another width.
    #[error("a row of {found} values, expected {expected}")]
    Width {
        /// Its values.
        found: usize,
        /// Features of the forest.
        expected: usize,
    },
    /// A value that is no number.
    #[error("value {index} of a row is no number")]
    NotANumber {
        /// Place in the row, from 0.
        index: usize,
    },
    /// Parameters that no forest can have.
    #[error("{name} is {value}: expected {expected}")]
    Param {
        /// Which.
        name: &'static str,
        /// What it is.
        value: String,
        /// What it may be.
        expected: String,
    },
}

/// What makes a row lonely.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// 2^(-E[h] / c(n)), 0 to 1.
    pub score: f64,
    /// For each feature, by how many cuts it shortened the way to the row, mean over the trees; negative where it made
    /// it longer. Together they are c(n) - E[h], so that they explain the score without a remainder.
    pub contributions: Vec<f64>,
}

impl Verdict {
    /// The features that isolate the row, strongest first, at most so many: place and contribution.
    pub fn top(&self, most: usize) -> Vec<(usize, f64)> {
        let mut shares: Vec<(usize, f64)> =
            self.contributions.iter().copied().enumerate().filter(|(_, share)| *share > 0.0).collect();
        shares.sort_by(|a, b| b.1.total_cmp(&a.1));
        shares.truncate(most);
        shares
    }
}

/// A trained forest.
#[derive(Clone, Debug, PartialEq)]
pub struct IsolationForest {
    width: usize,
    /// Rows that each tree was grown from.
    samples: u32,
    trees: Vec<Tree>,
    rows: u64,
    params: Params,
    threshold: f64,
}

impl PartialEq for Params {
    fn eq(&self, other: &Self) -> bool {
        (self.trees, self.samples, self.seed) == (other.trees, other.samples, other.seed)
            && self.quantile.to_bits() == other.quantile.to_bits()
    }
}

/// Trains a forest from rows of one width, and sets its threshold by their own scores.
pub fn train<R: AsRef<[f64]>>(rows: &[R], params: &Params) -> Result<IsolationForest, RowError> {
    params.check()?;
    let width = rows.first().map_or(0, |row| row.as_ref().len());
    if rows.len() < 2 {
        return Err(RowError::TooFew(rows.len()));
    }
    if width == 0 || width > MAX_FEATURES {
        let expected = format!("1 to {MAX_FEATURES}");
        return Err(RowError::Param { name: "features", value: width.to_string(), expected });
    }
    let rows: Vec<Vec<f32>> = rows.iter().map(|row| narrow(row.as_ref(), width)).collect::<Result<_, _>>()?;
    let samples = rows.len().min(params.samples as usize);
    let mut random = Xoshiro256PlusPlus::seed_from_u64(params.seed);
    let trees = (0..params.trees).map(|_| {
        let mut sample: Vec<&[f32]> =
            index::sample(&mut random, rows.len(), samples).into_iter().map(|at| rows[at].as_slice()).collect();
        Tree::grow(&mut sample, &mut random)
    });
    let mut forest = IsolationForest {
        width,
        samples: samples as u32,
        trees: trees.collect(),
        rows: rows.len() as u64,
        params: params.clone(),
        threshold: 1.0,
    };
    let mut scores: Vec<f64> = rows.iter().map(|row| forest.score_of(row)).collect();
    scores.sort_unstable_by(f64::total_cmp);
    let at = ((scores.len() - 1) as f64 * params.quantile).ceil() as usize;
    forest.threshold = scores[at.min(scores.len() - 1)];
    Ok(forest)
}

impl Params {
    fn check(&self) -> Result<(), RowError> {
        let wrong = |name, value: String, expected: String| Err(RowError::Param { name, value, expected });
        if !(1..=MAX_TREES).contains(&self.trees) {
            return wrong("trees", self.trees.to_string(), format!("1 to {MAX_TREES}"));
        }
        if !(2..=MAX_SAMPLES).contains(&self.samples) {
            return wrong("samples", self.samples.to_string(), format!("2 to {MAX_SAMPLES}"));
        }
        if !(0.0..=1.0).contains(&self.quantile) {
            return wrong("quantile", self.quantile.to_string(), "0 to 1".to_owned());
        }
        Ok(())
    }
}

impl IsolationForest {
    /// Features of a row.
    pub const fn width(&self) -> usize {
        self.width
    }

    /// Rows that it was trained from.
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// A number that tells it from other forests: scores are compared with those of the same one alone.
    pub fn fingerprint(&self) -> u64 {
        let parts = [self.rows, self.params.seed, self.threshold.to_bits(), u64::from(self.samples), self.width as u64];
        // FNV-1a.
        let bytes = parts.iter().flat_map(|part| part.to_le_bytes());
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }

    /// How often each feature is cut, as shares of all cuts, the most frequent first. Cuts are drawn at random among the features that
    /// differ: one that never did is never cut.
    pub fn importance(&self) -> Vec<(&'static str, f64)> {
        let mut cuts = vec![0; self.width];
        self.trees.iter().for_each(|tree| tree.count_cuts(&mut cuts));
        let all = cuts.iter().sum::<u64>().max(1) as f64;
        let names = FEATURES.iter().map(|feature| feature.name);
        super::by_weight(names.zip(cuts.into_iter().map(|cuts| cuts as f64 / all)))
    }

    /// The score that all but the strangest of the training rows stay at or below.
    pub const fn threshold(&self) -> f64 {
        self.threshold
    }

    /// The score of a row, 0 to 1.
    pub fn score(&self, row: &[f64]) -> Result<f64, RowError> {
        Ok(self.score_of(&narrow(row, self.width)?))
    }

    /// The scores of many rows, in their order.
    pub fn scores<R: AsRef<[f64]>>(&self, rows: &[R]) -> Result<Vec<f64>, RowError> {
        rows.iter().map(|row| self.score(row.as_ref())).collect()
    }

    /// The score of a row, and which features isolate it. A cut that leaves m of n rows saves c(n) - (1 + c(m)) of the
    /// cuts that were expected; the feature that was cut is credited with them.
    pub fn explain(&self, row: &[f64]) -> Result<Verdict, RowError> {
        let row = narrow(row, self.width)?;
        let mut contributions = vec![0.0; self.width];
        let cuts: f64 = self.trees.iter().map(|tree| tree.credit(&row, &mut contributions)).sum();
        let trees = self.trees.len() as f64;
        contributions.iter_mut().for_each(|share| *share /= trees);
        Ok(Verdict { score: self.score_from(cuts / trees), contributions })
    }

    fn score_of(&self, row: &[f32]) -> f64 {
        let cuts: f64 = self.trees.iter().map(|tree| tree.cuts(row)).sum();
        self.score_from(cuts / self.trees.len() as f64)
    }

    fn score_from(&self, cuts: f64) -> f64 {
        (-cuts / expected_cuts(self.samples)).exp2()
    }
}

/// A row as the forest sees it.
fn narrow(row: &[f64], width: usize) -> Result<Vec<f32>, RowError> {
    if row.len() != width {
        return Err(RowError::Width { found: row.len(), expected: width });
    }
    let narrow = |(index, value): (usize, &f64)| {
        if value.is_nan() {
            return Err(RowError::NotANumber { index });
        }
        Ok((*value as f32).clamp(f32::MIN, f32::MAX))
    };
    row.iter().enumerate().map(narrow).collect()
}
