//! The analysis of a capture as a job: ordered when its first bytes have come, and done by the queue's thread. Without a queue of jobs it
//! has a thread of its own.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::analysis::{self, Ended};
use super::{Inner, Live, Over, Refusal, Uploads};
use crate::api::ApiError;
use crate::capture::clock;
use crate::jobs::{ANALYSE, AnalyseRequest, JobContext, JobError, Jobs, Order, Progress, Refused, WeakJobs};
use crate::store::{Upload, UploadState};

/// Who orders an analysis that nobody asks for.
pub(super) const NOBODY: &str = "nta";
/// A job that the end of the daemon has stopped waits so long until the queue says so.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

impl Uploads {
    /// Has captures analysed by these jobs.
    pub fn analyse_by(&self, jobs: &Jobs) {
        let _first = self.0.jobs.set(jobs.downgrade());
    }

    /// Does the work of a job: analyses the capture to its end, or until the job is cancelled.
    pub(crate) fn analyse_in(&self, context: &JobContext, file_id: &str) -> Result<Upload, JobError> {
        let inner = &self.0;
        let known = inner.live().get(file_id).cloned();
        let live = match known {
            Some(live) => live,
            // A daemon before has ordered it.
            None => match left(context, inner, file_id)? {
                Left::Analysed(upload) => return Ok(*upload),
                Left::Whole(live) => live,
            },
        };
        if live.is_claimed.swap(true, Relaxed) {
            return Err(conflict("another job analyses this capture"));
        }
        live.is_begun.store(true, Relaxed);
        let _first = live.job.set(context.id.clone());
        inner.running.fetch_add(1, Relaxed);
        let over = Over(Arc::clone(inner));
        let ended = work(context, inner, &live);
        drop(over);
        match ended {
            Ended::Done => {
                let upload = context.handle().block_on(inner.store.upload(file_id))?;
                upload.ok_or_else(|| conflict("the capture was deleted while it was analysed"))
            }
            Ended::Failed(error) => Err(error),
            Ended::Stopped if inner.stop.is_cancelled() => {
                // The queue is told next: then the job is one that the next start resumes.
                context.handle().block_on(async {
                    let _late = tokio::time::timeout(ENDS_WITHIN, context.cancelled().cancelled()).await;
                });
                Err(JobError::Cancelled)
            }
            Ended::Stopped if context.check().is_err() => {
                // Of what still comes, whoever receives it says so at its end.
                if live.identity.get().is_some() {
                    context.handle().block_on(inner.note_cancelled(file_id));
                }
                Err(JobError::Cancelled)
            }
            Ended::Stopped => Err(conflict("the capture was deleted, or did not come to its end")),
        }
    }
}

fn refused(refusal: Refusal) -> JobError {
    if let Refusal::Store(error) = refusal {
        return error.into();
    }
    tracing::error!(error = %refusal, "a capture cannot be analysed again");
    ApiError::Internal.into()
}

fn conflict(detail: &str) -> JobError {
    ApiError::Conflict { detail: detail.to_owned() }.into()
}

/// What a daemon before has left of a capture.
enum Left {
    Analysed(Box<Upload>),
    Whole(Arc<Live>),
}

fn left(context: &JobContext, inner: &Arc<Inner>, file_id: &str) -> Result<Left, JobError> {
    let upload = context.wait(async { Ok::<_, JobError>(inner.store.upload(file_id).await?) })?;
    let upload = upload.ok_or_else(|| conflict("the capture was deleted before it was analysed"))?;
    match upload.state {
        UploadState::Analysed => Ok(Left::Analysed(Box::new(upload))),
        UploadState::Receiving => {
            Err(conflict("the daemon ended before all of the capture had come; another job begins with the rest of it"))
        }
        UploadState::Received | UploadState::Recorded | UploadState::Failed => {
            let live = context.wait(async { inner.live_again(&upload).await.map_err(refused) })?;
            live.map(Left::Whole).ok_or_else(|| conflict("the capture has not come to its end"))
        }
    }
}

/// Waits for a place, and analyses.
fn work(context: &JobContext, inner: &Arc<Inner>, live: &Arc<Live>) -> Ended {
    let file = match File::open(inner.file_of_live(live)) {
        Ok(file) => file,
        Err(error) => {
            tracing::error!(%error, file_id = live.file_id, "the file of an upload cannot be opened");
            return Ended::Failed(ApiError::Internal.into());
        }
    };
    let (growth, cancelled) = (Arc::clone(&live.growth), context.cancelled().clone());
    let stopper = context.handle().spawn(async move {
        cancelled.cancelled().await;
        growth.stop();
    });
    let place = context.handle().block_on(async {
        tokio::select! {
            place = Arc::clone(&inner.working).acquire_owned() => place.ok(),
            () = inner.stop.cancelled() => None,
            () = context.cancelled().cancelled() => None,
        }
    });
    let _first = live.progress.set(context.progress.clone());
    let ended = match place {
        Some(place) => analysis::run(inner, live, file, place, context.handle()),
        None => Ended::Stopped,
    };
    stopper.abort();
    inner.leave(live);
    ended
}

impl Inner {
    /// Analyses what is in a capture's file as soon as there is a place. Where too many jobs wait, it is tried again later.
    pub(super) async fn begin_analysis(self: &Arc<Self>, live: &Arc<Live>) -> Result<(), Refusal> {
        if self.stop.is_cancelled() || live.is_begun.swap(true, Relaxed) {
            return Ok(());
        }
        // A log that has no end would keep a job that has one from its thread.
        let jobs = self.jobs.get().filter(|_| !live.is_log).and_then(WeakJobs::upgrade);
        let Some(jobs) = jobs else { return self.begin_alone(live) };
        let request = AnalyseRequest { file_id: live.file_id.clone() };
        let request = serde_json::to_value(request).map_err(std::io::Error::other)?;
        let who = live.who.get().cloned().unwrap_or_else(|| NOBODY.to_owned());
        match jobs.order(Order { kind: ANALYSE, request, who, key: None }).await {
            Ok(ordered) => {
                let _first = live.job.set(ordered.id);
                Ok(())
            }
            Err(refused) => {
                live.is_begun.store(false, Relaxed);
                if let Refused::Store(error) = refused {
                    return Err(error.into());
                }
                tracing::warn!(file_id = live.file_id, %refused, "the analysis of a capture begins later");
                Ok(())
            }
        }
    }

    /// On a thread of its own.
    fn begin_alone(self: &Arc<Self>, live: &Arc<Live>) -> Result<(), Refusal> {
        let file = File::open(self.file_of_live(live))?;
        live.is_claimed.store(true, Relaxed);
        let (inner, live) = (Arc::clone(self), Arc::clone(live));
        self.running.fetch_add(1, Relaxed);
        tokio::spawn(async move {
            let place = tokio::select! {
                place = Arc::clone(&inner.working).acquire_owned() => place.ok(),
                () = inner.stop.cancelled() => None,
            };
            let over = Over(Arc::clone(&inner));
            let Some(place) = place else { return };
            let runtime = tokio::runtime::Handle::current();
            let _first = live.progress.set(Progress::default());
            let work = move || {
                let _over = over;
                let _ended = analysis::run(&inner, &live, file, place, &runtime);
                inner.leave(&live);
            };
            if let Err(error) = std::thread::Builder::new().name("nta-upload".to_owned()).spawn(work) {
                tracing::error!(%error, "no thread for the analysis of an upload: the next start makes it");
            }
        });
        Ok(())
    }

    /// Begins what found no place among the jobs.
    pub(super) async fn begin_late(self: &Arc<Self>) {
        let is_due = |live: &&Arc<Live>| live.identity.get().is_some() && !live.is_begun.load(Relaxed);
        let due: Vec<Arc<Live>> = self.live().values().filter(is_due).cloned().collect();
        for live in due {
            if let Err(error) = self.begin_analysis(&live).await {
                tracing::warn!(%error, file_id = live.file_id, "the analysis of a capture does not begin");
            }
        }
    }

    /// Whether a job is to analyse this capture.
    pub(super) fn has_job(&self, file_id: &str) -> bool {
        let jobs = self.jobs.get().and_then(WeakJobs::upgrade);
        let request = serde_json::to_value(AnalyseRequest { file_id: file_id.to_owned() });
        jobs.zip(request.ok()).is_some_and(|(jobs, request)| jobs.is_under_way(ANALYSE, &request))
    }

    /// A capture whose analysis is over, and that is whole, is one like all others.
    fn leave(&self, live: &Arc<Live>) {
        let mut all = self.live();
        if all.get(&live.file_id).is_some_and(|known| Arc::ptr_eq(known, live)) && live.identity.get().is_some() {
            all.remove(&live.file_id);
        }
    }

    /// Notes that somebody has cancelled the analysis.
    pub(super) async fn note_cancelled(&self, file_id: &str) {
        let problem = format!("its analysis was cancelled; GET /analysis/{file_id} begins it anew");
        if let Err(error) = self.store.fail_upload(file_id, &problem, clock::now()).await {
            tracing::error!(file_id, error = error.chain(), "that an analysis was cancelled is not noted");
        }
    }
}
