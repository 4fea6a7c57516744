//! What requests ask for, off the executor: a bounded number at a time, on threads of their own, and ended when nobody waits
//! for the answer any more. One pool makes the answers, rows read and JSON written; in another the long computations wait
//! for each other, so that they leave the first one room.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::ApiError;
use super::extract::whole;

/// Computations at a time.
const RUNNING: usize = 2;
/// Requests that may wait for one of them to end.
const WAITING: usize = 4;
/// Answers that are made at a time: more than there can be computations, running and waiting.
const ANSWERS: usize = 16;
/// Requests that may wait for one of them to be made.
const ANSWERS_WAITING: usize = 64;
/// Large bodies that are read at a time: 64 MiB of imports.
const LARGE_BODIES: usize = 8;
/// How long a request waits at most.
const PATIENCE: Duration = Duration::from_secs(5);

/// The pool; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Workers {
    running: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
}

/// A place in a pool, and the leave to wait for it.
type Place = (OwnedSemaphorePermit, OwnedSemaphorePermit);

/// Whether anybody still waits for the answer. A computation asks this between its steps.
#[derive(Clone, Debug)]
pub(super) struct Cancel(Arc<AtomicBool>);

/// Nobody waits any more.
#[derive(Debug)]
pub(super) struct Cancelled;

impl Cancel {
    /// Goes on, or ends here.
    pub(super) fn check(&self) -> Result<(), Cancelled> {
        if self.0.load(Ordering::Relaxed) { Err(Cancelled) } else { Ok(()) }
    }
}

/// Dropped with the request: when it was answered, its client went away or its time was up.
struct OnDrop(Cancel);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

impl Workers {
    fn new(running: usize, waiting: usize) -> Self {
        let [running, admitted] = [running, running + waiting].map(|places| Arc::new(Semaphore::new(places)));
        Self { running, admitted }
    }

    /// For computations.
    pub(super) fn computing() -> Self {
        Self::new(RUNNING, WAITING)
    }

    /// For answers.
    pub(super) fn answering() -> Self {
        Self::new(ANSWERS, ANSWERS_WAITING)
    }

    async fn place(&self) -> Result<Place, ApiError> {
        let admitted = Arc::clone(&self.admitted).try_acquire_owned().map_err(|_full| ApiError::Busy)?;
        let running = tokio::time::timeout(PATIENCE, Arc::clone(&self.running).acquire_owned()).await;
        let running = running.map_err(|_late| ApiError::Busy)?.map_err(|_closed| ApiError::Internal)?;
        Ok((admitted, running))
    }

    /// Goes on with a future on a thread of the pool, until it is done or nobody waits for it any more.
    ///
    /// # Errors
    /// [`ApiError::Busy`] when there is no place; [`ApiError::Internal`] when it panics.
    async fn go_on<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Result<T, ApiError> {
        let place = self.place().await?;
        let (runtime, cancel) = (Handle::current(), CancellationToken::new());
        let until_cancelled = cancel.clone().run_until_cancelled_owned(work);
        let _on_drop = cancel.drop_guard();
        let task = tokio::task::spawn_blocking(move || {
            let _place = place;
            runtime.block_on(until_cancelled)
        });
        // Nobody sees that it was cancelled.
        task.await.map_err(|_panicked| ApiError::Internal)?.ok_or(ApiError::Busy)
    }

    /// Computes off the executor. A place stays taken until the computation has really ended.
    ///
    /// # Errors
    /// [`ApiError::Busy`] when there is no place; what the computation refuses; [`ApiError::Internal`] when it panics.
    pub(super) async fn run<T, F>(&self, compute: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnOnce(&Cancel) -> Result<T, ApiError> + Send + 'static,
    {
        let place = self.place().await?;
        let cancel = Cancel(Arc::default());
        let _on_drop = OnDrop(cancel.clone());
        let task = tokio::task::spawn_blocking(move || {
            let _place = place;
            compute(&cancel)
        });
        task.await.map_err(|_panicked| ApiError::Internal)?
    }
}

/// The layer around routes whose answers cost something: they are made and written on the pool. A request takes a place there once it
/// has come whole: whoever sends slowly waits alone.
pub(super) async fn off_the_executor(State(workers): State<Workers>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let body = match whole(Request::from_parts(parts.clone(), body), &()).await {
        Ok(body) => body,
        Err(cut) => return cut.into_response(),
    };
    match workers.go_on(next.run(Request::from_parts(parts, Body::from(body)))).await {
        Ok(response) => response,
        Err(refused) => refused.into_response(),
    }
}

/// The layer around routes with large bodies: so many are read at a time, as they are kept in memory meanwhile.
pub(super) async fn few_at_a_time(State(bodies): State<LargeBodies>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(PATIENCE, bodies.0.acquire_owned()).await {
        Ok(Ok(_reads)) => next.run(request).await,
        _ => ApiError::Busy.into_response(),
    }
}

/// Leave to read a large body; clones share it.
#[derive(Clone, Debug)]
pub(super) struct LargeBodies(Arc<Semaphore>);

impl LargeBodies {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(LARGE_BODIES)))
    }
}

impl From<Cancelled> for ApiError {
    /// Nobody sees it.
    fn from(_: Cancelled) -> Self {
        Self::Busy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_pool_refuses_and_a_client_that_goes_away_ends_its_computation() {
        let workers = Workers::computing();
        let (ended, mut is_ended) = tokio::sync::mpsc::channel(RUNNING + WAITING);
        let wait = |workers: Workers| {
            let ended = ended.clone();
            tokio::spawn(async move {
                workers
                    .run(move |cancel| {
                        while cancel.check().is_ok() {
                            std::thread::sleep(Duration::from_millis(1));
                        }
                        ended.blocking_send(()).expect("the test waits");
                        Ok(())
                    })
                    .await
            })
        };
        let requests: Vec<_> = (0..RUNNING + WAITING).map(|_| wait(workers.clone())).collect();
        while workers.admitted.available_permits() > 0 || workers.running.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(matches!(workers.run(|_| Ok(())).await, Err(ApiError::Busy)));
        for request in &requests {
            request.abort();
        }
        for _ in 0..RUNNING {
            tokio::time::timeout(Duration::from_secs(30), is_ended.recv()).await.expect("it ends").expect("ended");
        }
        while workers.admitted.available_permits() < RUNNING + WAITING {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(workers.run(|_| Ok(7)).await.is_ok_and(|answer| answer == 7));
        assert!(matches!(workers.run::<(), _>(|_| panic!("inside")).await, Err(ApiError::Internal)));
    }
}
