//! What is needed of a library of gradient-boosted trees. The daemon has one, libxgboost, and tests may have another.

use std::fmt::Debug;

use super::{Input, Refusal, Settings};

/// A model in a library's memory.
pub trait Booster: Debug + Send + Sync {
    /// For each row a number a class, before they are made probabilities.
    ///
    /// # Errors
    /// If the library fails.
    fn margins(&self, rows: &[Input]) -> Result<Vec<f32>, Refusal>;

    /// For each row how much each input moved the margin of its class, and behind them the margin that all rows begin with.
    ///
    /// # Errors
    /// If the library fails.
    fn contributions(&self, rows: &[Input], classes: &[usize]) -> Result<Vec<Vec<f32>>, Refusal>;
}

/// Loads and trains boosters.
pub trait Library: Sync {
    /// Its version, as the manifest of a model that it trained says.
    fn version(&self) -> &'static str;

    /// A booster from bytes that were checked.
    ///
    /// # Errors
    /// If the library refuses them.
    fn load(&self, bytes: &[u8], classes: usize) -> Result<Box<dyn Booster>, Refusal>;

    /// Trains a booster; its JSON. `progress` gets the rounds done.
    ///
    /// # Errors
    /// If the library refuses the parameters or the rows.
    fn train(
        &self,
        rows: &[Input],
        labels: &[u16],
        weights: &[f32],
        settings: &Settings,
        progress: &mut dyn FnMut(u32),
    ) -> Result<Vec<u8>, Refusal>;
}
