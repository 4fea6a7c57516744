//! The calls of libxgboost: the only file that knows the crate `xgb`. One thread, so that a prediction costs what it
//! costs and training gives the same bytes anywhere.

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
    classes: usize,
}

impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Booster").field("classes", &self.classes).finish_non_exhaustive()
    }
}

impl Loaded {
    fn new(bytes: &[u8], classes: usize) -> Result<Self, Refusal> {
        let inner = guarded(|| {
            let mut booster = xgb::Booster::load_buffer(bytes)?;
            booster.set_param("nthread", "1")?;
            Ok(booster)
        })?;
        let booster = Self { inner: Mutex::new(inner), classes };
        // What fails shows now and not in the first window.
        booster.margins(&[[0.0; INPUTS]])?;
        Ok(booster)
    }

    fn ask<T>(
        &self,
        rows: &[Input],
        question: impl FnOnce(&xgb::Booster, &DMatrix) -> Result<T, XGBError>,
    ) -> Result<T, Refusal> {
        let booster = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        // A row's width is its type's: the library takes a matrix of another width without a word.
        guarded(|| question(&booster, &DMatrix::from_dense(rows.as_flattened(), rows.len())?))
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
        let margins = self.ask(rows, |booster, matrix| booster.predict_margin(matrix))?;
        self.of_length(margins, rows.len() * self.classes)
    }

    /// A call walks every tree once before it looks at a row.
    fn contributions(&self, rows: &[Input], classes: &[usize]) -> Result<Vec<Vec<f32>>, Refusal> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let (all, _shape) = self.ask(rows, |booster, matrix| booster.predict_contributions(matrix))?;
        let all = self.of_length(all, rows.len() * self.classes * (INPUTS + 1))?;
        let of_rows = all.chunks(self.classes * (INPUTS + 1)).zip(classes);
        Ok(of_rows.map(|(row, class)| row.chunks(INPUTS + 1).nth(*class).unwrap_or_default().to_vec()).collect())
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

/// The library's errors, and the binding's panics, as ours.
fn guarded<T>(call: impl FnOnce() -> Result<T, XGBError>) -> Result<T, Refusal> {
    let one_line = |text: &str| text.lines().next().unwrap_or_default().trim().to_owned();
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Refusal::Library(one_line(&error.to_string()))),
        Err(_panic) => Err(Refusal::Library("a call of the library panicked".to_owned())),
    }
}
