//! A model that was found fit, and its answers.

use super::{Booster, Class, INPUTS, Input, Library, Manifest, ModelError, Refusal, check, input_names, sha256};

/// A model that distinguishes classes of hosts.
#[derive(Debug)]
pub struct Classifier {
    name: String,
    manifest: Manifest,
    booster: Box<dyn Booster>,
}

/// What a model says of one host.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Classification {
    /// The likeliest class, by its place in the manifest.
    pub class: usize,
    /// How likely, 0 to 1.
    pub probability: f64,
    /// Whether that is likely enough to be reported by itself; if not, the answer is "unknown".
    pub is_sure: bool,
    /// Whether it is likely enough to support another judge who says the same.
    pub supports: bool,
}

impl Classifier {
    /// From the bytes of its manifest and of the model; `name` is the file's in errors.
    ///
    /// # Errors
    /// If anything about it is not as it must be.
    pub fn load(library: &dyn Library, name: &str, manifest: &[u8], model: &[u8]) -> Result<Self, ModelError> {
        let load = || {
            let manifest = Manifest::parse(manifest)?;
            let found = sha256(model);
            if found != manifest.sha256 {
                return Err(Refusal::Hash { found, expected: manifest.sha256 });
            }
            check::structure(model, INPUTS, manifest.classes.len()).map_err(Refusal::Structure)?;
            let booster = library.load(model, manifest.classes.len())?;
            Ok(Self { name: name.to_owned(), manifest, booster })
        };
        load().map_err(|refusal: Refusal| refusal.of(name))
    }

    /// The file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first digits of the file's SHA-256.
    pub fn id(&self) -> &str {
        self.manifest.sha256.get(..12).unwrap_or_default()
    }

    /// What it is.
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// A class by its place.
    pub fn class(&self, class: usize) -> &Class {
        &self.manifest.classes[class]
    }

    /// The margin of each class for each row, one row after the other: what probabilities are made of.
    ///
    /// # Errors
    /// If the library fails.
    pub fn margins(&self, rows: &[Input]) -> Result<Vec<f32>, ModelError> {
        self.booster.margins(rows).map_err(|refusal| refusal.of(&self.name))
    }

    /// The probability of each class for each row, one row after the other.
    ///
    /// # Errors
    /// If the library fails.
    pub fn probabilities(&self, rows: &[Input]) -> Result<Vec<f64>, ModelError> {
        let margins = self.margins(rows)?;
        let rows = margins.chunks(self.manifest.classes.len());
        Ok(rows.flat_map(|row| softmax(row, self.manifest.temperature)).collect())
    }

    /// What it says of each row.
    ///
    /// # Errors
    /// If the library fails.
    pub fn judge(&self, rows: &[Input]) -> Result<Vec<Classification>, ModelError> {
        let probabilities = self.probabilities(rows)?;
        Ok(probabilities.chunks(self.manifest.classes.len()).map(|row| self.opinion(row)).collect())
    }

    fn opinion(&self, row: &[f64]) -> Classification {
        let best = row.iter().copied().enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
        let (class, probability) = best.unwrap_or_default();
        let Class { threshold, support, .. } = *self.class(class);
        Classification { class, probability, is_sure: probability >= threshold, supports: probability >= support }
    }

    /// For each row the inputs that spoke most for its class.
    ///
    /// # Errors
    /// If the library fails.
    pub fn reasons(&self, rows: &[Input], classes: &[usize], most: usize) -> Result<Vec<Vec<Reason>>, ModelError> {
        let contributions = self.booster.contributions(rows, classes).map_err(|refusal| refusal.of(&self.name))?;
        let largest = |(row, contributions): (&Input, Vec<f32>)| {
            let inputs = input_names().zip(row).zip(contributions);
            let mut all: Vec<_> = inputs.map(|((name, value), share)| (name, *value, share)).collect();
            all.retain(|(_, _, share)| *share > 0.0);
            all.sort_by(|a, b| b.2.total_cmp(&a.2));
            all.truncate(most);
            all
        };
        Ok(rows.iter().zip(contributions).map(largest).collect())
    }
}

/// An input, its value, and how far it moved the answer (SHAP, in units of the margin).
pub type Reason = (&'static str, f32, f32);

/// Probabilities out of margins.
pub fn softmax(margins: &[f32], temperature: f64) -> impl Iterator<Item = f64> {
    let largest = margins.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exp = move |margin: &f32| (f64::from(margin - largest) / temperature).exp();
    let sum: f64 = margins.iter().map(exp).sum();
    margins.iter().map(move |margin| exp(margin) / sum)
}
