//! Training: labelled captures become a table of rows, rows a model, and its answers on captures that it has not seen
//! become its thresholds and figures. The same captures, labels and seed give the same bytes.

mod calibrate;
mod copies;
mod fit;
mod folds;
mod one_feature;
mod rows;
mod split;
mod unseen;
mod weights;

pub use fit::{Progress, Trained, fit};
pub use folds::FoldModel;
pub use rows::{Collector, Source, Table, TrainingRow};
pub use split::{Part, Split, split};
pub use unseen::{KindFound, Unseen};
