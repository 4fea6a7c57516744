//! In place of the library in a build without XGBoost: it refuses everything.

use nta_core::model::{Booster, Input, Library, Refusal, Settings};

/// Whether models can be used.
pub const BUILT_IN: bool = false;

/// No library.
pub struct Xgboost;

impl Library for Xgboost {
    fn version(&self) -> &'static str {
        "none"
    }

    fn load(&self, _bytes: &[u8], _classes: usize) -> Result<Box<dyn Booster>, Refusal> {
        Err(Refusal::NotBuiltIn)
    }

    fn train(
        &self,
        _rows: &[Input],
        _labels: &[u16],
        _weights: &[f32],
        _settings: &Settings,
        _progress: &mut dyn FnMut(u32),
    ) -> Result<Vec<u8>, Refusal> {
        Err(Refusal::NotBuiltIn)
    }
}
