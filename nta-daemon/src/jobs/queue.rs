//! The queue of jobs, and their threads.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::live::{JobCounts, Live, hyphenated};
use super::view::{JobFailure, JobView, as_asked};
use super::{JobContext, JobError, Kind, Order, Ordered, RUNNING, Refused, Tools, WAITING, thread};
use crate::capture::clock;
use crate::store::{JobEnd, JobFilter, JobOwner, JobState, Key, NewJob, Position, Run, StoreError, StoredJob};
use nta_core::domain::Mode;

/// Starts of the daemon that a job may take part in: one that ends the daemon each time is given up.
const MOST_ATTEMPTS: u64 = 3;

/// All jobs; clones share them.
#[derive(Clone, Debug)]
pub struct Jobs(Arc<Shared>);

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) tools: Tools,
    pub(super) owner: JobOwner,
    pub(super) kinds: &'static [&'static dyn Kind],
    queue: Mutex<Queue>,
    handle: OnceLock<Handle>,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<Arc<Live>>,
    pub(super) running: Vec<Arc<Live>>,
    /// What the store did not take yet.
    pub(super) unsaved: VecDeque<(String, JobEnd)>,
    is_closed: bool,
    pub(super) counts: JobCounts,
}

/// All jobs, for what jobs themselves work with: as long as somebody else has them.
#[derive(Clone, Debug)]
pub struct WeakJobs(Weak<Shared>);

impl WeakJobs {
    /// The jobs, while there are any.
    pub fn upgrade(&self) -> Option<Jobs> {
        self.0.upgrade().map(Jobs)
    }
}

/// Why a job is not cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotCancelled {
    /// It is over.
    Over(JobState),
    /// Another process does it.
    Elsewhere,
}

impl Jobs {
    /// Jobs of these kinds, done with these tools, for this run.
    pub fn new(tools: Tools, run: [u8; 16], kinds: &'static [&'static dyn Kind]) -> Self {
        let mode = tools.status.borrow().mode;
        let owner = JobOwner { sensor: tools.sensor.clone().unwrap_or_default(), mode, run };
        Self(Arc::new(Shared { tools, owner, kinds, queue: Mutex::default(), handle: OnceLock::new() }))
    }

    /// Names of all kinds.
    pub fn kinds(&self) -> impl Iterator<Item = &'static str> {
        self.0.kinds.iter().map(|kind| kind.name())
    }

    /// The jobs as long as somebody else has them.
    pub fn downgrade(&self) -> WeakJobs {
        WeakJobs(Arc::downgrade(&self.0))
    }

    /// Whether a job with this request waits or is under way in this process.
    pub fn is_under_way(&self, kind: &str, request: &Value) -> bool {
        let queue = self.0.lock();
        let mut live = queue.waiting.iter().chain(&queue.running);
        live.any(|live| live.kind.name() == kind && live.request == *request)
    }

    /// Takes over what processes that ended have left: resumes it, or says that it is lost. Answers how many of each.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn take_over(&self) -> Result<(usize, usize), StoreError> {
        let shared = &self.0;
        let (mut resumed, mut lost) = (0, 0);
        for job in shared.tools.store.jobs_left(&shared.owner).await? {
            let kind = shared.kind(&job.kind).filter(|kind| shared.may_resume(*kind));
            let is_ours = job.mode == Mode::Live.word();
            let request = serde_json::from_str(&job.request).ok();
            let why = match (kind, request) {
                _ if job.attempts >= MOST_ATTEMPTS => format!("the daemon ended {} times while it ran", job.attempts),
                (Some(kind), Some(request)) if is_ours => {
                    shared.tools.store.adopt_job(&job.id, &shared.owner.run).await?;
                    shared.lock().waiting.push_back(Live::new(job.id, kind, request));
                    resumed += 1;
                    continue;
                }
                _ => "the daemon ended before the job did, and a job of this kind cannot be resumed".to_owned(),
            };
            let error = serde_json::to_string(&JobFailure::lost(&why)).ok();
            let end = JobEnd { state: JobState::Lost, progress: job.progress, result: None, error, at: clock::now() };
            shared.tools.store.end_job(&job.id, &end).await?;
            shared.lock().counts.add(&job.kind, JobState::Lost, shared.kinds);
            lost += 1;
        }
        if resumed + lost > 0 {
            tracing::info!(resumed, lost, "jobs of a daemon that ended");
        }
        shared.begin_next();
        Ok((resumed, lost))
    }

    /// Takes an order. A key that is known answers its job.
    ///
    /// # Errors
    /// What [`Refused`] says.
    pub async fn order(&self, order: Order) -> Result<Ordered, Refused> {
        let shared = &self.0;
        let kind = shared.kind(order.kind).ok_or_else(|| Refused::Unknown(order.kind.to_owned()))?;
        let id = hyphenated(Run::new_uuid(clock::now()));
        let live = Live::new(id.clone(), kind, order.request.clone());
        let sha256 = order.sha256();
        // Of one client: what another calls the same is another request.
        let key = order.key.map(|key| format!("{}/{key}", order.who));
        let row = NewJob {
            id: id.clone(),
            kind: order.kind.to_owned(),
            who: order.who,
            request: order.request.to_string(),
            key: key.map(|key| (key, sha256.clone())),
            created: clock::now(),
        };
        drop(shared.look_for_room(kind)?);
        if let Some(known) = shared.tools.store.insert_job(&shared.owner, &row).await? {
            let is_same = known.key_sha256.as_deref() == Some(&sha256);
            return if is_same {
                Ok(Ordered { id: known.id, is_new: false })
            } else {
                Err(Refused::Key { id: known.id })
            };
        }
        let full = shared.enter(&live).err();
        if let Some(refused) = full {
            // Others were quicker: nothing is left of the order.
            shared.tools.store.forget_job(&id).await?;
            return Err(refused);
        }
        shared.begin_next();
        Ok(Ordered { id, is_new: true })
    }

    /// Waits until a job is over, but not longer than this.
    pub async fn wait(&self, id: &str, at_most: Duration) {
        let Some(mut over) = self.0.live(id).map(|live| live.over.subscribe()) else { return };
        // Whether it came so far is seen in its row.
        let _late = tokio::time::timeout(at_most, over.wait_for(|over| *over)).await;
    }

    /// A job.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn get(&self, id: &str) -> Result<Option<JobView>, StoreError> {
        self.0.save_late_ends().await;
        Ok(self.0.tools.store.job(id).await?.map(|job| self.0.view(job)))
    }

    /// A page of jobs, those of other processes with the same database among them.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn list(
        &self,
        filter: &JobFilter,
        position: Position,
    ) -> Result<(Vec<JobView>, Option<Key>), StoreError> {
        self.0.save_late_ends().await;
        let page = self.0.tools.store.jobs(filter, position).await?;
        Ok((page.items.into_iter().map(|job| self.0.view(job)).collect(), page.next))
    }

    /// Cancels a job: one that waits at once, one that is under way at its next step. `None` where there is none.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn cancel(&self, id: &str) -> Result<Option<Result<(), NotCancelled>>, StoreError> {
        let shared = &self.0;
        if let Some(live) = shared.live(id) {
            live.cancel.cancel();
            let waited = {
                let mut queue = shared.lock();
                let place = queue.waiting.iter().position(|waiting| waiting.id == id);
                place.and_then(|place| queue.waiting.remove(place))
            };
            if let Some(waited) = waited {
                shared.end(&waited, Err(JobError::Cancelled)).await;
            }
            return Ok(Some(Ok(())));
        }
        Ok(shared.tools.store.job(id).await?.map(|job| match job.state {
            state if state.is_over() => Err(NotCancelled::Over(state)),
            _ => Err(NotCancelled::Elsewhere),
        }))
    }

    /// Ends all jobs: takes no more, cancels what is under way and waits for it within the deadline. What can be resumed goes back into
    /// the queue for the next start. Answers how many did not end in time; the next start finds them.
    pub async fn shutdown(&self, deadline: Duration) -> usize {
        let shared = &self.0;
        let (waiting, running) = {
            let mut queue = shared.lock();
            queue.is_closed = true;
            (std::mem::take(&mut queue.waiting), queue.running.clone())
        };
        for job in waiting.iter().chain(&running) {
            job.is_stopped.store(true, Relaxed);
            job.cancel.cancel();
        }
        let all_over = async {
            for job in waiting {
                shared.end(&job, Err(JobError::Cancelled)).await;
            }
            for job in &running {
                // A job cannot be dropped before it has said so.
                let mut over = job.over.subscribe();
                let _over = over.wait_for(|over| *over).await;
            }
        };
        let _late = tokio::time::timeout(deadline, all_over).await;
        running.iter().filter(|job| !*job.over.borrow()).count()
    }

    /// What happened so far.
    pub fn counts(&self) -> JobCounts {
        let queue = self.0.lock();
        let [waiting, running] = [queue.waiting.len(), queue.running.len()].map(|count| count as u64);
        JobCounts { waiting, running, ..queue.counts.clone() }
    }
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kind(&self, name: &str) -> Option<&'static dyn Kind> {
        self.kinds.iter().copied().find(|kind| kind.name() == name)
    }

    /// Whether a job goes on at the next start. A replay that is served once more is another one.
    pub(super) fn may_resume(&self, kind: &'static dyn Kind) -> bool {
        self.owner.mode == Mode::Live && kind.resumes()
    }

    fn live(&self, id: &str) -> Option<Arc<Live>> {
        let queue = self.lock();
        queue.waiting.iter().chain(&queue.running).find(|live| live.id == id).cloned()
    }

    /// A job with what is known here of how far it is.
    fn view(&self, job: StoredJob) -> JobView {
        // One that is over may still be on its way out of the queue.
        let live = self.live(&job.id).filter(|_| !job.state.is_over());
        let Some(live) = live else { return JobView::stored(job) };
        let (percent, packets) = live.progress.now();
        JobView { percent, packets, is_cancelling: live.cancel.is_cancelled(), job }
    }

    /// Whether a job of this kind may wait.
    fn look_for_room(&self, kind: &'static dyn Kind) -> Result<MutexGuard<'_, Queue>, Refused> {
        let mut queue = self.lock();
        if queue.is_closed {
            return Err(Refused::Stopping);
        }
        let (waiting, most) = (queue.waiting.len(), kind.limits().waiting);
        let alike = queue.waiting.iter().filter(|live| live.kind.name() == kind.name()).count();
        let refused = if waiting >= WAITING {
            Refused::Full { kind: None, waiting, most: WAITING }
        } else if alike >= most {
            Refused::Full { kind: Some(kind.name()), waiting: alike, most }
        } else {
            return Ok(queue);
        };
        queue.counts.refused += 1;
        Err(refused)
    }

    fn enter(&self, live: &Arc<Live>) -> Result<(), Refused> {
        self.look_for_room(live.kind)?.waiting.push_back(Arc::clone(live));
        Ok(())
    }

    /// Begins what may run, the first that came first.
    fn begin_next(self: &Arc<Self>) {
        let Some(handle) = self.handle.get().cloned().or_else(|| Handle::try_current().ok()) else { return };
        let _set = self.handle.set(handle.clone()); // or it was set before
        while let Some(job) = self.next() {
            let (shared, begun, handle) = (Arc::clone(self), Arc::clone(&job), handle.clone());
            let thread = std::thread::Builder::new().name(format!("job-{}", job.kind.name()));
            if let Err(error) = thread.spawn({
                let handle = handle.clone();
                move || shared.work(&begun, &handle)
            }) {
                tracing::error!(%error, "jobs: no thread can be started");
                let shared = Arc::clone(self);
                handle.spawn(
                    async move { shared.end(&job, Err(JobError::Failed(crate::api::ApiError::Internal))).await },
                );
            }
        }
    }

    fn next(&self) -> Option<Arc<Live>> {
        let mut queue = self.lock();
        if queue.is_closed {
            return None;
        }
        let fed_apart = queue.running.iter().map(|live| live.kind.limits()).filter(|limits| !limits.is_fed);
        let (busy, long) =
            fed_apart.fold((0, 0), |(busy, long), limits| (busy + 1, long + usize::from(limits.is_long)));
        let may_run = |live: &Arc<Live>| {
            let limits = live.kind.limits();
            let alike = queue.running.iter().filter(|running| running.kind.name() == live.kind.name()).count();
            let has_place = limits.is_fed || busy < RUNNING && (!limits.is_long || long + 1 < RUNNING);
            alike < limits.running && has_place
        };
        let place = queue.waiting.iter().position(may_run)?;
        let job = queue.waiting.remove(place)?;
        queue.running.push(Arc::clone(&job));
        Some(job)
    }

    /// The thread of a job.
    fn work(self: Arc<Self>, job: &Arc<Live>, handle: &Handle) {
        thread::prepare(self.owner.mode == Mode::Live);
        if let Err(error) = handle.block_on(self.tools.store.begin_job(&job.id, clock::now())) {
            tracing::warn!(error = error.chain(), id = job.id, "jobs: the begin of a job is not stored");
        }
        let begun = json!({ "id": job.id, "kind": job.kind.name(), "request": as_asked(job.request.clone()) });
        handle.block_on(self.log("job_begun", &begun));
        let context = JobContext {
            id: job.id.clone(),
            request: job.request.clone(),
            tools: self.tools.clone(),
            progress: job.progress.clone(),
            cancel: job.cancel.clone(),
            handle: handle.clone(),
        };
        let ended = catch_unwind(AssertUnwindSafe(|| job.kind.run(&context)));
        let ended = ended.unwrap_or_else(|_panicked| {
            // The hook has logged it.
            Err(JobError::Failed(crate::api::ApiError::Internal))
        });
        handle.block_on(self.end(job, ended));
        self.begin_next();
    }
}
