//! An upload that is being received.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;
use tokio::task::spawn_blocking;

use super::announced::upload;
use super::body::Body;
use super::growing::Growth;
use super::{Encoding, Inner, Live, Refusal, Uploads, new_id};
use crate::capture::clock;
use crate::store::UploadState;

/// Bytes that are written at a time.
const PIECE: usize = 256 << 10;
/// So many bytes a second an upload has on the average, once [`SLOW_AFTER`] has passed …
const LEAST_RATE: u64 = 1024;
/// … and so many where all places are taken: others wait for them.
const LEAST_RATE_OF_ALL: u64 = 16 << 10;
const SLOW_AFTER: Duration = Duration::from_secs(60);
/// How long a new upload waits for a place.
const PATIENCE: Duration = Duration::from_secs(5);

/// An upload that is whole.
#[derive(Clone, Debug)]
pub struct Received {
    /// The capture, or the one that has the same bytes already.
    pub file_id: String,
    /// SHA-256 of its bytes.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
    /// Whether it is a new one.
    pub is_new: bool,
    /// The job that analyses it.
    pub job: Option<String>,
}

/// An upload that is being received. One that is dropped before it was finished is broken off: what can go on waits, everything
/// else goes.
pub struct Incoming {
    inner: Arc<Inner>,
    live: Arc<Live>,
    /// Absent while it is being written.
    body: Option<Body>,
    piece: Vec<u8>,
    /// Whether another request may go on with it.
    is_resumable: bool,
    /// Whether the database knows it.
    is_noted: bool,
    is_over: bool,
    began: Instant,
    /// Time for which it waited for the analysis.
    waited: Duration,
    before: u64,
    _place: OwnedSemaphorePermit,
}

impl Uploads {
    /// Begins to receive a capture in one piece; `length` is its size where that is known.
    ///
    /// # Errors
    /// When there is no place or no room for it.
    pub async fn begin(&self, name: &str, encoding: Encoding, length: Option<u64>) -> Result<Incoming, Refusal> {
        let place = self.place().await?;
        let inner = Arc::clone(&self.0);
        let most = inner.config.max_bytes;
        if encoding == Encoding::Identity && length.is_some_and(|length| length > most) {
            return Err(Refusal::TooLarge { most, announced: length });
        }
        inner.make_folder()?;
        inner.room.expect(length.unwrap_or_default())?;
        let live = Live::new(&new_id(), name, Arc::new(Growth::with(0, false)), length);
        let body = Body::create(&inner.path(&live.file_id), encoding, inner.config.max_bytes, &inner.room)?;
        let live = inner.add(live);
        Ok(Incoming::new(inner, live, body, place, false))
    }

    /// Goes on with a capture that comes in parts, from this byte on.
    ///
    /// # Errors
    /// When there is none, another byte is due, or another request sends.
    pub async fn go_on(&self, file_id: &str, offset: u64) -> Result<Incoming, Refusal> {
        let upload = self.known(file_id).await?;
        let (UploadState::Receiving, Some(length)) = (upload.state, upload.length) else {
            return Err(if upload.state == UploadState::Receiving { Refusal::Taken } else { Refusal::Whole });
        };
        let place = self.place().await?;
        let inner = Arc::clone(&self.0);
        let known = inner.live().get(file_id).cloned();
        let live = known.unwrap_or_else(|| {
            inner.add(Live::new(file_id, &upload.name, Arc::new(Growth::with(0, false)), Some(length)))
        });
        if live.is_taken.swap(true, Relaxed) {
            return Err(Refusal::Taken);
        }
        // From here on a drop gives it back.
        let parked = live.parked().take().map(|(body, _)| body);
        let (path, most, room) = (inner.path(file_id), length, Arc::clone(&inner.room));
        let body = match parked {
            Some(body) => Ok(body),
            None => blocking(move || Body::reopen(&path, most, &room)).await,
        };
        let body = match body {
            Ok(body) => body,
            Err(error) => {
                live.is_taken.store(false, Relaxed);
                return Err(error);
            }
        };
        let expected = body.written();
        live.growth.grew_to(expected);
        let mut incoming = Incoming::new(inner, live, body, place, true);
        if offset != expected {
            incoming.park();
            return Err(Refusal::Offset { expected });
        }
        incoming.note().await?;
        Ok(incoming)
    }

    pub(super) async fn place(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        if self.0.stop.is_cancelled() {
            return Err(Refusal::Stopping);
        }
        let place = tokio::time::timeout(PATIENCE, Arc::clone(&self.0.arriving).acquire_owned()).await;
        place.ok().and_then(Result::ok).ok_or(Refusal::Busy)
    }
}

impl Incoming {
    pub(super) fn new(
        inner: Arc<Inner>,
        live: Arc<Live>,
        body: Body,
        place: OwnedSemaphorePermit,
        is_resumable: bool,
    ) -> Self {
        live.is_taken.store(true, Relaxed);
        Self {
            inner,
            live,
            before: body.packed(),
            body: Some(body),
            piece: Vec::new(),
            is_resumable,
            is_noted: is_resumable,
            is_over: false,
            began: Instant::now(),
            waited: Duration::ZERO,
            _place: place,
        }
    }

    /// Says who sends it.
    #[must_use]
    pub fn by(self, who: &str) -> Self {
        self.live.who.get_or_init(|| who.to_owned());
        self
    }

    /// The job that analyses what has come so far.
    pub fn job(&self) -> Option<String> {
        self.live.job.get().cloned()
    }

    /// Takes bytes.
    ///
    /// # Errors
    /// What they are if they are none of a capture; when there is no room for them.
    pub async fn take(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let mut rest = bytes;
        loop {
            let (now, later) = rest.split_at(rest.len().min(PIECE - self.piece.len()));
            self.piece.extend_from_slice(now);
            rest = later;
            // The first bytes are looked at as they come.
            if self.piece.len() == PIECE || !self.is_known() && !self.piece.is_empty() {
                self.write().await?;
            }
            if rest.is_empty() {
                return self.check_rate();
            }
        }
    }

    /// Everything has come: gives the capture its identity.
    ///
    /// # Errors
    /// What it is if it is no capture; when the database cannot be written.
    pub async fn finish(mut self) -> Result<Received, Refusal> {
        self.write().await?;
        let mut body = self.body.take().ok_or(Refusal::Broken)?;
        let (body, sha256) = blocking(move || {
            let sha256 = body.finish()?;
            Ok((body, sha256))
        })
        .await
        .map_err(|refusal| self.give_up(refusal))?;
        let bytes = body.written();
        // What unpacking held back is in the file now.
        self.live.growth.grew_to(bytes);
        self.live.growth.has_last();
        let head = body.head();
        self.body = Some(body);
        self.note().await?;
        self.note_head(head).await?;
        let file_id = self.live.file_id.clone();
        let same = self.inner.store.identify_upload(&file_id, (&sha256, bytes), clock::now()).await?;
        self.inner.counts.received.fetch_add(1, Relaxed);
        if let Some(first) = same {
            self.inner.counts.duplicates.fetch_add(1, Relaxed);
            // Nothing stays of it.
            self.is_over = true;
            self.discard();
            self.inner.store.delete_upload(&file_id).await?;
            return Ok(Received { file_id: first, sha256, bytes, is_new: false, job: None });
        }
        self.is_over = true;
        let _first = self.live.identity.set((sha256.clone(), bytes));
        self.live.growth.end();
        self.live.is_taken.store(false, Relaxed);
        let received =
            serde_json::json!({ "file_id": file_id, "name": self.live.name, "bytes": bytes, "sha256": sha256 });
        if let Err(error) = self.inner.store.log_event(clock::now(), "upload_received", &received).await {
            tracing::warn!(error = error.chain(), file_id, "the event of an upload is not logged");
        }
        self.inner.begin_analysis(&self.live).await?;
        // Somebody has cancelled the analysis while the capture came.
        if self.live.growth.is_stopped() && !self.inner.stop.is_cancelled() {
            self.inner.live().remove(&file_id);
            self.inner.note_cancelled(&file_id).await;
        }
        Ok(Received { file_id, sha256, bytes, is_new: true, job: self.live.job.get().cloned() })
    }

    /// What has come so far stays, for the next request; answers how much that is, and whether it is all that was announced.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn pause(mut self) -> Result<Result<Received, u64>, Refusal> {
        self.write().await?;
        let written = self.body.as_ref().map_or(0, Body::written);
        if self.live.length == Some(written) {
            return self.finish().await.map(Ok);
        }
        Ok(Err(written))
    }

    fn is_known(&self) -> bool {
        self.body.as_ref().is_some_and(|body| body.head().is_some())
    }

    /// Writes what was gathered, and waits for the analysis where it is far behind.
    async fn write(&mut self) -> Result<(), Refusal> {
        if self.inner.stop.is_cancelled() {
            return Err(Refusal::Stopping);
        }
        let piece = std::mem::take(&mut self.piece);
        if piece.is_empty() {
            return Ok(());
        }
        let mut body = self.body.take().ok_or(Refusal::Broken)?;
        let (body, mut piece) = blocking(move || {
            body.write(&piece)?;
            Ok((body, piece))
        })
        .await
        .map_err(|refusal| self.give_up(refusal))?;
        piece.clear();
        self.piece = piece;
        let (written, head) = (body.written(), body.head());
        self.body = Some(body);
        if head.is_some() {
            self.note().await?;
            self.note_head(head).await?;
        }
        self.live.growth.grew_to(written);
        let began = Instant::now();
        self.live.growth.room().await;
        self.waited += began.elapsed();
        Ok(())
    }

    /// Whoever sends next to nothing leaves its place to others.
    fn check_rate(&self) -> Result<(), Refusal> {
        let packed = self.body.as_ref().map_or(0, Body::packed) + self.piece.len() as u64;
        let taken = self.began.elapsed().saturating_sub(self.waited);
        let least = least_rate(taken, self.inner.arriving.available_permits() == 0);
        if packed.saturating_sub(self.before) / taken.as_secs().max(1) < least {
            return Err(Refusal::Slow { least });
        }
        Ok(())
    }

    /// What is no capture, or cannot be written, nobody goes on with.
    fn give_up(&mut self, refusal: Refusal) -> Refusal {
        let is_final = matches!(
            refusal,
            Refusal::Content(_) | Refusal::TooLarge { .. } | Refusal::Bomb { .. } | Refusal::Packed(_)
        );
        // More than was announced of a capture in parts.
        if self.is_resumable && matches!(refusal, Refusal::TooLarge { .. }) {
            return Refusal::Longer { length: self.live.length.unwrap_or_default() };
        }
        self.is_resumable &= !is_final;
        refusal
    }

    /// Notes it in the database, once it is known to be a capture.
    async fn note(&mut self) -> Result<(), Refusal> {
        if !self.is_noted {
            let (file_id, name) = (&self.live.file_id, &self.live.name);
            self.inner.store.insert_upload(&upload(file_id, name, None)).await?;
            self.is_noted = true;
        }
        Ok(())
    }

    /// Begins the analysis, unless the capture seems to be there already: then it is looked at when it is whole.
    async fn note_head(&mut self, head: Option<String>) -> Result<(), Refusal> {
        let Some(head) = head.filter(|_| !self.live.is_begun.load(Relaxed)) else { return Ok(()) };
        let is_there = self.inner.store.has_upload_like(&head, self.live.length).await?;
        self.inner.store.note_upload_head(&self.live.file_id, &head).await?;
        if !is_there { self.inner.begin_analysis(&self.live).await } else { Ok(()) }
    }

    /// Deletes the file. Whoever analyses it deletes what it has stored.
    fn discard(&mut self) {
        self.inner.live().remove(&self.live.file_id);
        self.live.growth.stop();
        drop(self.body.take());
        self.inner.remove_file(&self.live.file_id);
    }

    /// Leaves it to the next request.
    fn park(&mut self) {
        self.is_over = true;
        if let Some(body) = self.body.take() {
            *self.live.parked() = Some((body, Instant::now()));
        }
        self.live.is_taken.store(false, Relaxed);
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        if self.is_resumable {
            return self.park();
        }
        self.inner.counts.refused.fetch_add(1, Relaxed);
        let (file_id, name) = (self.live.file_id.as_str(), self.live.name.as_str());
        let bytes = self.live.growth.progress().1;
        // What is no capture is refused without a trace beside its answer.
        if self.is_noted {
            tracing::warn!(file_id, name, bytes, "an upload in one piece broke off; what had come of it is deleted");
        } else {
            tracing::debug!(file_id, name, "an upload is refused");
        }
        let (inner, live, is_noted) = (Arc::clone(&self.inner), Arc::clone(&self.live), self.is_noted);
        self.discard();
        if let (true, Ok(runtime)) = (is_noted, tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move {
                if let Err(error) = inner.store.delete_upload(&live.file_id).await {
                    tracing::warn!(error = error.chain(), "an upload that was broken off stays in the list");
                }
            });
        }
    }
}

/// Bytes a second that are due of an upload that took so long.
fn least_rate(taken: Duration, all_are_taken: bool) -> u64 {
    if taken <= SLOW_AFTER {
        0
    } else if all_are_taken {
        LEAST_RATE_OF_ALL
    } else {
        LEAST_RATE
    }
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    spawn_blocking(work).await.map_err(|_panicked| Refusal::Broken)?
}
