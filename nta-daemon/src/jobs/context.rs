//! What a job gets: its request, the tools, and the ways to say how far it is and to ask whether it goes on.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::{JobError, Tools};
use crate::api::ApiError;

/// Stands for a number that is not known.
const UNKNOWN: u64 = u64::MAX;

/// What a job works with.
#[derive(Debug)]
pub struct JobContext {
    /// Its identity.
    pub id: String,
    /// What was asked for.
    pub request: Value,
    /// What it may use.
    pub tools: Tools,
    /// Says how far it is.
    pub progress: Progress,
    pub(super) cancel: CancellationToken,
    pub(super) handle: Handle,
}

impl JobContext {
    /// The request as a type.
    ///
    /// # Errors
    /// When a version of before stored it in another shape.
    pub fn request<T: DeserializeOwned>(&self) -> Result<T, JobError> {
        serde_json::from_value(self.request.clone()).map_err(|error| {
            let detail = format!("the stored request is none of this version: {error}; order the job again");
            JobError::Failed(ApiError::Unprocessable { field: None, detail })
        })
    }

    /// Goes on, or ends here.
    ///
    /// # Errors
    /// [`JobError::Cancelled`].
    pub fn check(&self) -> Result<(), JobError> {
        if self.cancel.is_cancelled() { Err(JobError::Cancelled) } else { Ok(()) }
    }

    /// Cancelled with the job, for what waits by itself.
    pub const fn cancelled(&self) -> &CancellationToken {
        &self.cancel
    }

    /// The runtime.
    pub(crate) const fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Waits for a future, which is dropped when the job is cancelled.
    ///
    /// # Errors
    /// [`JobError::Cancelled`], or what the future answers.
    pub fn wait<T, E: Into<JobError>>(&self, future: impl Future<Output = Result<T, E>>) -> Result<T, JobError> {
        self.handle.block_on(async {
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => Err(JobError::Cancelled),
                answer = future => answer.map_err(Into::into),
            }
        })
    }

    /// Waits for a future that must not be left in the middle. A job that was cancelled before does not begin it.
    ///
    /// # Errors
    /// [`JobError::Cancelled`], or what the future answers.
    pub fn wait_to_the_end<T, E: Into<JobError>>(
        &self,
        future: impl Future<Output = Result<T, E>>,
    ) -> Result<T, JobError> {
        self.check()?;
        self.handle.block_on(future).map_err(Into::into)
    }
}

/// How far a job is; clones share it.
#[derive(Clone, Debug)]
pub struct Progress(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    done: AtomicU64,
    total: AtomicU64,
    packets: AtomicU64,
}

impl Default for Progress {
    fn default() -> Self {
        let [done, total, packets] = [0, UNKNOWN, UNKNOWN].map(AtomicU64::new);
        Self(Arc::new(Shared { done, total, packets }))
    }
}

impl Progress {
    /// So much of so much is done, in any unit.
    pub fn set(&self, done: u64, total: u64) {
        self.0.total.store(total, Relaxed);
        self.0.done.store(done, Relaxed);
    }

    /// So many packets were read.
    pub fn packets(&self, packets: u64) {
        self.0.packets.store(packets, Relaxed);
    }

    /// In percent, where the whole is known; and the packets, where there are any.
    pub fn now(&self) -> (Option<f64>, Option<u64>) {
        let total = Some(self.0.total.load(Relaxed)).filter(|total| *total != UNKNOWN);
        let percent = total.map(|total| match total {
            0 => 0.0,
            total => (self.0.done.load(Relaxed) as f64 / total as f64 * 100.0).min(100.0),
        });
        (percent, Some(self.0.packets.load(Relaxed)).filter(|packets| *packets != UNKNOWN))
    }
}
