//! In place of `booster.rs` in a build without XGBoost: there is never a booster.

use super::{Input, Refusal, Settings};

/// Whether models can be used.
pub const BUILT_IN: bool = false;
/// Version of the library.
pub const LIBRARY: &str = "none";

/// None can be made.
#[derive(Debug)]
pub(super) enum Booster {}

/// In place of training.
///
/// # Errors
/// Always.
pub fn train(
    _rows: &[Input],
    _labels: &[u16],
    _weights: &[f32],
    _settings: &Settings,
    _progress: &mut dyn FnMut(u32),
) -> Result<Vec<u8>, Refusal> {
    Err(Refusal::NotBuiltIn)
}

impl Booster {
    pub(super) fn load(_bytes: &[u8], _classes: usize) -> Result<Self, Refusal> {
        Err(Refusal::NotBuiltIn)
    }

    pub(super) fn margins(&self, _rows: &[Input]) -> Result<Vec<f32>, Refusal> {
        match *self {}
    }

    pub(super) fn contributions(&self, _rows: &[Input], _classes: &[usize]) -> Result<Vec<Vec<f32>>, Refusal> {
        match *self {}
    }
}
