//! An order for a job, and what becomes of it.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::store::StoreError;

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Order {
    /// Name of the kind.
    pub kind: &'static str,
    /// What is asked for: a JSON object.
    pub request: Value,
    /// Who asks.
    pub who: String,
    /// The client's key: the same key with the same request means the same job.
    pub key: Option<String>,
}

impl Order {
    /// SHA-256 of what is asked for. The order of its fields and the blanks between them make no difference.
    pub(super) fn sha256(&self) -> Vec<u8> {
        Sha256::digest(format!("{}\n{}", self.kind, self.request)).to_vec()
    }
}

/// An order that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ordered {
    /// Identity of the job.
    pub id: String,
    /// Whether the job is new; else its key was known.
    pub is_new: bool,
}

/// Why an order is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// There is no such kind.
    #[error("there is no kind of job `{0}`")]
    Unknown(String),
    /// As many wait as may.
    #[error("as many jobs wait as may: {waiting} of {most}{}", kind.map(|kind| format!(" of the kind `{kind}`")).unwrap_or_default())]
    Full {
        /// The kind that has too many; `None` for all together.
        kind: Option<&'static str>,
        /// So many wait.
        waiting: usize,
        /// So many may.
        most: usize,
    },
    /// The key stands for another request.
    #[error("this key was used for another request (job {id}); a new request needs a new one")]
    Key {
        /// The job that it stands for.
        id: String,
    },
    /// The daemon ends.
    #[error("the daemon is stopping and takes no jobs")]
    Stopping,
    /// The store did not take it.
    #[error("the job cannot be stored")]
    Store(#[from] StoreError),
}
