//! How a job ends: what became of it is stored, whoever waits learns it, and the oldest go.

use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Value, json};

use super::JobError;
use super::live::Live;
use super::queue::Shared;
use super::view::{JobFailure, StoredProgress, as_asked};
use crate::capture::clock;
use crate::store::{JobEnd, JobState, JobsKept};
use nta_core::domain::Timestamp;

/// Jobs that are over and stay in the table, and for how long.
const MOST_KEPT: u64 = 1_000;
const KEPT_NS: u64 = 30 * 86_400_000_000_000;
/// Largest result of a job in bytes; what is larger belongs into a file.
pub(super) const MOST_RESULT: usize = 1 << 20;
/// Ends that wait for a store that does not take them.
const MOST_UNSAVED: usize = 64;
impl Shared {
    /// Notes what became of a job, and says so to whoever waits for it.
    pub(super) async fn end(&self, job: &Live, ended: Result<Value, JobError>) {
        let (kind, id) = (job.kind.name(), job.id.as_str());
        let (state, result, failure) = match ended {
            Ok(value) => match value.to_string() {
                text if text.len() <= MOST_RESULT => (JobState::Done, Some(text), None),
                text => {
                    tracing::error!(kind, id, bytes = text.len(), most = MOST_RESULT, "job: the result is too large");
                    (JobState::Failed, None, Some(JobFailure::internal()))
                }
            },
            Err(JobError::Cancelled) if job.is_stopped.load(Relaxed) && self.may_resume(job.kind) => {
                (JobState::Queued, None, None)
            }
            Err(JobError::Cancelled) if job.is_stopped.load(Relaxed) => {
                let why = "the daemon was stopped before the job was done, and a job of this kind cannot be resumed";
                (JobState::Lost, None, Some(JobFailure::lost(why)))
            }
            Err(JobError::Cancelled) => (JobState::Cancelled, None, None),
            Err(error) => (JobState::Failed, None, Some(JobFailure::of(error, kind, id))),
        };
        let progress = StoredProgress::text(state, job.progress.now());
        let error = failure.and_then(|failure| serde_json::to_string(&failure).ok());
        let end = JobEnd { state, progress, result, error, at: clock::now() };
        self.save(id, end).await;
        if state.is_over() {
            let ended =
                json!({ "id": id, "kind": kind, "state": state.word(), "request": as_asked(job.request.clone()) });
            self.log("job_ended", &ended).await;
        }
        {
            let mut queue = self.lock();
            queue.running.retain(|running| running.id != job.id);
            if state.is_over() {
                queue.counts.add(kind, state, self.kinds);
            }
        }
        job.over.send_replace(true);
        self.forget_old().await;
    }

    /// Stores an end, or keeps it until the store takes it.
    async fn save(&self, id: &str, end: JobEnd) {
        self.save_late_ends().await;
        let Err(error) = self.tools.store.end_job(id, &end).await else { return };
        tracing::error!(error = error.chain(), id, "jobs: the end of a job is not stored yet");
        let mut queue = self.lock();
        if queue.unsaved.len() >= MOST_UNSAVED {
            queue.unsaved.pop_front();
            queue.counts.unsaved_lost += 1;
        }
        queue.unsaved.push_back((id.to_owned(), end));
    }

    pub(super) async fn save_late_ends(&self) {
        for _ in 0..MOST_UNSAVED {
            let Some((id, end)) = self.lock().unsaved.front().cloned() else { return };
            if self.tools.store.end_job(&id, &end).await.is_err() {
                return;
            }
            self.lock().unsaved.retain(|(unsaved, _)| *unsaved != id);
        }
    }

    /// Puts into the event log what became of a job. There are no more of these events than jobs, which are bounded.
    pub(super) async fn log(&self, kind: &'static str, body: &Value) {
        if let Err(error) = self.tools.store.log_event(clock::now(), kind, body).await {
            tracing::warn!(error = error.chain(), kind, "jobs: an event is not logged");
        }
    }

    async fn forget_old(&self) {
        let since = Timestamp::from_nanos(clock::now().as_nanos().saturating_sub(KEPT_NS));
        match self.tools.store.delete_jobs(JobsKept { most: MOST_KEPT, since }).await {
            Ok(deleted) => self.lock().counts.deleted += deleted,
            Err(error) => tracing::warn!(error = error.chain(), "jobs: those of before are not deleted"),
        }
    }
}
