//! Work that goes on after its request was answered: learning, judging, analysing, training, exporting.
//!
//! One table (`store/jobs.rs`) and one bounded queue for all kinds. A kind is a file here and a line in [`KINDS`]; what it
//! needs of the daemon is in [`Tools`]. It runs on a thread of its own, blocks as it likes, and asks its [`JobContext`] between its
//! steps whether it was cancelled. Its error is a problem that the API could answer: nothing of the inside is in it.
//!
//! Jobs end with the process. At the next start those of a kind that resumes begin anew from their request; the others are said to be
//! lost.

mod analyse;
mod compute;
mod context;
mod detect;
mod ending;
mod files;
mod learn;
mod live;
mod order;
mod predict;
mod queue;
mod score;
mod scored;
mod thread;
mod tools;
mod train;
mod train_forest;
mod view;

use serde_json::Value;

use crate::api::ApiError;
use crate::store::StoreError;

pub(crate) use analyse::{ANALYSE, AnalyseRequest};
pub(crate) use compute::{ComputeRequest, Computed};
pub use context::{JobContext, Progress};
pub(crate) use detect::{DetectAnswer, DetectOrder, able, chosen};
pub(crate) use learn::{Generated, LearnRequest, MAX_WINDOWS};
pub use live::JobCounts;
pub use order::{Order, Ordered, Refused};
pub(crate) use predict::{PredictRequest, Predicted};
pub use queue::{Jobs, NotCancelled, WeakJobs};
pub(crate) use score::{ScoreRequest, Scored};
pub use tools::{AnalysisAccess, Tools};
pub(crate) use train::{TrainRequest, TrainedModel};
pub(crate) use view::as_asked;
pub use view::{JobFailure, JobView};

/// Every kind of job.
pub const KINDS: &[&dyn Kind] = &[
    &learn::Learn,
    &compute::Compute,
    &score::Score,
    &predict::Predict,
    &train::Train,
    &analyse::Analyse,
    &detect::Detect,
];

/// Jobs that run at a time, of all kinds but those that are fed.
pub(crate) const RUNNING: usize = 4;
/// Jobs that wait at most, of all kinds.
pub(crate) const WAITING: usize = 64;

/// A kind of job.
pub trait Kind: Send + Sync + std::fmt::Debug {
    /// Its name, a word in lower case.
    fn name(&self) -> &'static str;

    /// How many there may be of it.
    fn limits(&self) -> Limits {
        Limits::default()
    }

    /// Whether a job that the end of the daemon interrupted begins anew at the next start. It must do no harm when it is done twice.
    fn resumes(&self) -> bool;

    /// Does the work on a thread of its own: it may block and compute. `context` has the request, the tools, the progress, and says
    /// whether the job was cancelled.
    ///
    /// # Errors
    /// [`JobError::Cancelled`] when `context` says so; else why it cannot be done.
    fn run(&self, context: &JobContext) -> Result<Value, JobError>;
}

/// How many jobs there may be of a kind.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// At a time.
    pub running: usize,
    /// In the queue; more are refused.
    pub waiting: usize,
    /// Whether one takes minutes: such jobs leave one of the [`RUNNING`] places to the others.
    pub is_long: bool,
    /// Whether it waits for others most of its time, and has a bound of its own for when it does not: it takes none of the
    /// [`RUNNING`] places.
    pub is_fed: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { running: 1, waiting: 8, is_long: false, is_fed: false }
    }
}

/// Why a job has no result.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// It was cancelled, or the daemon ends.
    #[error("cancelled")]
    Cancelled,
    /// It cannot be done, or it failed.
    #[error(transparent)]
    Failed(#[from] ApiError),
}

impl From<StoreError> for JobError {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

#[cfg(test)]
mod tests;
