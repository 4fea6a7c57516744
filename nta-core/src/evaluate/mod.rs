//! How good detection is: alerts of captures held against labels. Per attack recall, precision and time to detect; over
//! benign captures false alarms an hour.

mod labels;
mod score;

pub(crate) use labels::kind_of;
pub use labels::{Label, LabelError, LabelledSide, parse, unknown_word};
pub use score::{AttackScore, BenignScore, Judges, Outcome, Rate, Report, score};
