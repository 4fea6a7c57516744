//! The calls of libxgboost: the only file that knows the crate `xgb`. One thread, so that a prediction costs what it
//! costs and training gives the same bytes anywhere.

mod by_class;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use nta_core::model::{Booster, INPUTS, Input, Library, Refusal, Settings};
use xgb::parameters::BoosterParameters;
use xgb::{DMatrix, XGBError};

/// Whether models can be used.
pub const BUILT_IN: bool = true;
const VERSION: &str = "3.4.1";

/// A model in the library's memory. A booster changes while it predicts, hence the lock.
struct Loaded {
    inner: Mutex<xgb::Booster>,
    json: Vec<u8>,
    /// The trees of each class by themselves; none until somebody asks for reasons.
    by_class: Mutex<Vec<OfClass>>,
    classes: usize,
}

/// The trees of a class: as text until somebody asks for its reasons.
enum OfClass {
    Text(String),
    Loaded(xgb::Booster),
}

impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Booster").field("classes", &self.classes).finish_non_exhaustive()
    }
}

impl Loaded {
    fn new(bytes: &[u8], classes: usize) -> Result<Self, Refusal> {
        let inner = Mutex::new(read(bytes)?);
        let booster = Self { inner, json: bytes.to_vec(), by_class: Mutex::default(), classes };
        // What fails shows now and not in the first window.
        booster.margins(&[[0.0; INPUTS]])?;
        Ok(booster)
    }

    /// Contributions to the margin of one class, row by row.
    fn contributions_to(&self, class: usize, rows: &[Input]) -> Result<Vec<f32>, Refusal> {
        let mut by_class = self.by_class.lock().unwrap_or_else(PoisonError::into_inner);
        if by_class.is_empty() {
            let texts =
                by_class::models(&self.json, self.classes).map_err(|error| Refusal::Structure(error.to_string()))?;
            *by_class = texts.into_iter().map(OfClass::Text).collect();
        }
        let of_class = by_class.get_mut(class).ok_or_else(|| Refusal::Library(format!("no class {class}")))?;
        if let OfClass::Text(json) = of_class {
            *of_class = OfClass::Loaded(read(json.as_bytes())?);
        }
        let OfClass::Loaded(booster) = of_class else { return Err(Refusal::Library(format!("class {class} unread"))) };
        let (all, _shape) = ask(booster, rows, |booster, matrix| booster.predict_contributions(matrix))?;
        self.of_length(all, rows.len() * (INPUTS + 1))
    }

    fn of_length(&self, values: Vec<f32>, expected: usize) -> Result<Vec<f32>, Refusal> {
        if values.len() == expected {
            return Ok(values);
        }
        Err(Refusal::Library(format!("{} values for {} classes, not {expected}", values.len(), self.classes)))
    }
}

impl Booster for Loaded {
    fn margins(&self, rows: &[Input]) -> Result<Vec<f32>, Refusal> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let booster = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let margins = ask(&booster, rows, |booster, matrix| booster.predict_margin(matrix))?;
        self.of_length(margins, rows.len() * self.classes)
    }

    /// A call walks every tree once before it looks at a row: one call for all rows of a class.
    fn contributions(&self, rows: &[Input], classes: &[usize]) -> Result<Vec<Vec<f32>>, Refusal> {
        let mut all = vec![Vec::new(); rows.len()];
        for class in 0..self.classes {
            let places: Vec<usize> =
                classes.iter().enumerate().filter(|(_, of)| **of == class).map(|(at, _)| at).collect();
            let of_class: Vec<Input> = places.iter().filter_map(|at| rows.get(*at)).copied().collect();
            if of_class.is_empty() {
                continue;
            }
            let found = self.contributions_to(class, &of_class)?;
            for (place, row) in places.into_iter().zip(found.chunks(INPUTS + 1)) {
                all[place] = row.to_vec();
            }
        }
        Ok(all)
    }
}

/// libxgboost.
pub struct Xgboost;

impl Library for Xgboost {
    fn version(&self) -> &'static str {
        VERSION
    }

    fn load(&self, bytes: &[u8], classes: usize) -> Result<Box<dyn Booster>, Refusal> {
        Ok(Box::new(Loaded::new(bytes, classes)?))
    }

    fn train(
        &self,
        rows: &[Input],
        labels: &[u16],
        weights: &[f32],
        settings: &Settings,
        progress: &mut dyn FnMut(u32),
    ) -> Result<Vec<u8>, Refusal> {
        let labels: Vec<f32> = labels.iter().map(|label| f32::from(*label)).collect();
        guarded(|| {
            let mut matrix = DMatrix::from_dense(rows.as_flattened(), rows.len())?;
            matrix.set_labels(&labels)?;
            matrix.set_weights(weights)?;
            let mut booster = xgb::Booster::new_with_cached_dmats(&BoosterParameters::default(), &[&matrix])?;
            for (name, value) in &settings.parameters {
                booster.set_param(name, value)?;
            }
            for round in 0..settings.rounds {
                booster.update(&matrix, round as i32)?;
                progress(round + 1);
            }
            booster.save_buffer(false)
        })
    }
}

/// A booster that works on one thread.
fn read(json: &[u8]) -> Result<xgb::Booster, Refusal> {
    guarded(|| {
        let mut booster = xgb::Booster::load_buffer(json)?;
        booster.set_param("nthread", "1")?;
        Ok(booster)
    })
}

fn ask<T>(
    booster: &xgb::Booster,
    rows: &[Input],
    question: impl FnOnce(&xgb::Booster, &DMatrix) -> Result<T, XGBError>,
) -> Result<T, Refusal> {
    // A row's width is its type's: the library takes a matrix of another width without a word.
    guarded(|| question(booster, &DMatrix::from_dense(rows.as_flattened(), rows.len())?))
}

/// The library's errors, and the binding's panics, as ours.
fn guarded<T>(call: impl FnOnce() -> Result<T, XGBError>) -> Result<T, Refusal> {
    let one_line = |text: &str| text.lines().next().unwrap_or_default().trim().to_owned();
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Refusal::Library(one_line(&error.to_string()))),
        Err(_panic) => Err(Refusal::Library("a call of the library panicked".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &[u8] = include_bytes!("../../models/xgboost.json");

    #[test]
    fn the_trees_of_a_class_say_what_the_whole_model_says_of_it() {
        let manifest: serde_json::Value =
            serde_json::from_slice(include_bytes!("../../models/xgboost.manifest.json")).expect("the shipped manifest");
        let classes = manifest["classes"].as_array().expect("its classes").len();
        let model = Loaded::new(SHIPPED, classes).expect("the shipped model");
        // Rows that differ in all inputs, over their whole ranges.
        let row = |n: usize| -> Input {
            std::array::from_fn(|at| ((n * 31 + at * 17) % 23) as f32 * [0.05, 0.5, 7.0][(n + at) % 3])
        };
        let asked: Vec<(Input, usize)> = (0..4 * classes).map(|n| (row(n), n % classes)).collect();
        let (rows, of): (Vec<Input>, Vec<usize>) = asked.into_iter().unzip();
        let whole = ask(&model.inner.lock().expect("nobody else"), &rows, |booster, matrix| {
            booster.predict_contributions(matrix)
        });
        let (whole, _shape) = whole.expect("the library answers");
        let found = model.contributions(&rows, &of).expect("the library answers");
        let mut moved = 0;
        for ((n, class), found) in of.iter().enumerate().zip(&found) {
            let start = (n * classes + class) * (INPUTS + 1);
            assert_eq!(found.len(), INPUTS + 1);
            for (own, of_whole) in found.iter().zip(&whole[start..start + INPUTS]) {
                assert!((own - of_whole).abs() < 1e-4, "row {n}, class {class}: {own} and {of_whole}");
                moved += usize::from(own.abs() > 0.01);
            }
        }
        assert!(moved > 10 * classes, "rows that say nothing: {moved}");
        assert!(model.contributions(&[], &[]).expect("nothing is asked").is_empty());
    }
}
