//! A file that is still being written, read from its begin: the reader waits for bytes that have not come, and the writer for a
//! reader that is far behind.

use std::fs::File;
use std::io::{self, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// So far the writer may be ahead of its reader: what is read is in the memory of the system's cache, and when the last byte comes
/// little is left to be done.
const MOST_AHEAD: u64 = 4 << 20;
/// After so many bytes a reader gives its place to whoever waits for one. Packed they may become a thousand times as many.
const TURN_BYTES: u64 = 128 << 10;

/// How far a file was written and read; shared by both ends.
#[derive(Debug, Default)]
pub(super) struct Growth {
    state: Mutex<State>,
    has_grown: Condvar,
    was_read: Notify,
}

#[derive(Debug, Default)]
struct State {
    written: u64,
    read: u64,
    /// Whether somebody reads.
    is_read: bool,
    /// Whether the last byte has come, which is known before all is noted that makes it whole.
    has_last: bool,
    is_whole: bool,
    is_stopped: bool,
    /// What is done when no more than [`MOST_AHEAD`] is left to be read.
    near_end: Option<NearEnd>,
}

struct NearEnd(Box<dyn FnOnce() + Send>);

impl std::fmt::Debug for NearEnd {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("NearEnd")
    }
}

impl State {
    fn look_for_end(&mut self) {
        if (self.has_last || self.is_whole)
            && self.written.saturating_sub(self.read) <= MOST_AHEAD
            && let Some(NearEnd(then)) = self.near_end.take()
        {
            then();
        }
    }
}

impl Growth {
    /// Of a file that has so many bytes.
    pub(super) fn with(written: u64, is_whole: bool) -> Self {
        Self { state: Mutex::new(State { written, is_whole, ..State::default() }), ..Self::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many bytes are in the file now.
    pub(super) fn grew_to(&self, written: u64) {
        self.state().written = written;
        self.has_grown.notify_all();
    }

    /// The last byte has come.
    pub(super) fn has_last(&self) {
        let mut state = self.state();
        state.has_last = true;
        state.look_for_end();
    }

    /// Nothing more comes.
    pub(super) fn end(&self) {
        let mut state = self.state();
        state.is_whole = true;
        state.look_for_end();
        drop(state);
        self.has_grown.notify_all();
    }

    /// Whoever reads ends here.
    pub(super) fn stop(&self) {
        self.state().is_stopped = true;
        self.has_grown.notify_all();
        self.was_read.notify_waiters();
    }

    /// Has this done once, when nothing more comes and little is left to be read.
    pub(super) fn near_end(&self, then: impl FnOnce() + Send + 'static) {
        let mut state = self.state();
        state.near_end = Some(NearEnd(Box::new(then)));
        state.look_for_end();
    }

    /// Waits until all is there; `false` when it was stopped before.
    pub(super) fn wait_until_whole(&self) -> bool {
        let still_comes = |state: &mut State| !state.is_whole && !state.is_stopped;
        let waited = self.has_grown.wait_while(self.state(), still_comes);
        !waited.unwrap_or_else(PoisonError::into_inner).is_stopped
    }

    /// Whether it was stopped.
    pub(super) fn is_stopped(&self) -> bool {
        self.state().is_stopped
    }

    /// Bytes read, and bytes there are so far.
    pub(super) fn progress(&self) -> (u64, u64) {
        let state = self.state();
        (state.read, state.written)
    }

    /// Returns when whoever reads is near enough.
    pub(super) async fn room(&self) {
        loop {
            let read = self.was_read.notified();
            {
                let state = self.state();
                if !state.is_read || state.is_stopped || state.written.saturating_sub(state.read) <= MOST_AHEAD {
                    return;
                }
            }
            read.await;
        }
    }
}

/// The reading end.
pub(super) struct Growing {
    file: File,
    growth: Arc<Growth>,
    at: u64,
    places: Arc<Semaphore>,
    /// A place among those that work; given back while there is nothing to read, and after its turn.
    place: Option<OwnedSemaphorePermit>,
    /// Bytes that were read in its turn.
    turn: u64,
    runtime: tokio::runtime::Handle,
}

impl Growing {
    /// Reads from the begin of the file, in a place of `places`.
    pub(super) fn new(
        file: File,
        growth: &Arc<Growth>,
        (places, place): (Arc<Semaphore>, OwnedSemaphorePermit),
        runtime: tokio::runtime::Handle,
    ) -> Self {
        growth.state().is_read = true;
        Self { file, growth: Arc::clone(growth), at: 0, places, place: Some(place), turn: 0, runtime }
    }

    /// Waits for bytes; how many there are, 0 at the end.
    fn available(&mut self) -> io::Result<u64> {
        let growth = Arc::clone(&self.growth);
        let mut state = growth.state();
        loop {
            if state.is_stopped {
                return Err(io::Error::other("the analysis was stopped"));
            }
            let available = state.written.saturating_sub(self.at);
            if available > 0 || state.is_whole {
                return Ok(available);
            }
            // Who waits for its sender keeps nobody else from a place.
            self.place = None;
            state = growth.has_grown.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Read for Growing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.available()?;
        if self.turn >= TURN_BYTES {
            self.place = None;
        }
        if self.place.is_none() {
            // The places go round in the order in which they are waited for.
            let place = self.runtime.block_on(Arc::clone(&self.places).acquire_owned());
            self.place = Some(place.map_err(|_closed| io::Error::other("the analysis was stopped"))?);
            self.turn = 0;
        }
        let most = usize::try_from(available).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read(&mut buffer[..most])?;
        self.at += read as u64;
        self.turn += read as u64;
        {
            let mut state = self.growth.state();
            state.read = self.at;
            state.look_for_end();
        }
        self.growth.was_read.notify_waiters();
        Ok(read)
    }
}

impl Drop for Growing {
    /// Nobody waits for a reader that is gone.
    fn drop(&mut self) {
        self.growth.state().is_read = false;
        self.growth.was_read.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    #[tokio::test]
    async fn the_end_is_near_once_when_all_is_there_and_little_is_left() {
        let growth = Arc::new(Growth::with(0, false));
        let times = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&times);
        growth.near_end(move || {
            counted.fetch_add(1, Relaxed);
        });
        let bytes = MOST_AHEAD + 2000;
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(&vec![7; bytes as usize]).expect("written");
        io::Seek::rewind(&mut file).expect("its begin");
        let places = Arc::new(Semaphore::new(1));
        let place = Arc::clone(&places).acquire_owned().await.expect("a place");
        let mut reader = Growing::new(file, &growth, (places, place), tokio::runtime::Handle::current());
        growth.grew_to(1000);
        reader.read_exact(&mut [0; 900]).expect("read");
        assert_eq!(times.load(Relaxed), 0, "more may come");
        growth.grew_to(bytes);
        growth.has_last();
        assert_eq!(times.load(Relaxed), 0, "much is left");
        reader.read_exact(&mut [0; 1100]).expect("read");
        assert_eq!(times.load(Relaxed), 1);
        growth.end();
        reader.read_exact(&mut [0; 1000]).expect("read");
        assert_eq!(times.load(Relaxed), 1);
        // Of a file that is whole already as well.
        let counted = Arc::clone(&times);
        let whole = Growth::with(1000, true);
        whole.near_end(move || {
            counted.fetch_add(1, Relaxed);
        });
        assert_eq!(times.load(Relaxed), 2);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_place_is_given_back_after_a_turn_and_while_nothing_comes() {
        let bytes = TURN_BYTES + 1000;
        let growth = Arc::new(Growth::with(bytes, false));
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(&vec![7; bytes as usize + 1]).expect("written");
        io::Seek::rewind(&mut file).expect("its begin");
        let places = Arc::new(Semaphore::new(1));
        let place = Arc::clone(&places).acquire_owned().await.expect("a place");
        let mut reader = Growing::new(file, &growth, (Arc::clone(&places), place), tokio::runtime::Handle::current());
        let other = tokio::spawn(Arc::clone(&places).acquire_owned());
        let reads = std::thread::spawn(move || io::copy(&mut reader, &mut io::sink()));
        let other = other.await.expect("it waits").expect("a place after a turn");
        let (read, _) = growth.progress();
        assert!((TURN_BYTES..bytes).contains(&read), "{read}");
        drop(other);
        // It has read all there is, and waits for more: without a place.
        while growth.progress().0 < bytes {
            tokio::task::yield_now().await;
        }
        drop(Arc::clone(&places).acquire_owned().await.expect("a place"));
        growth.grew_to(bytes + 1);
        growth.end();
        assert_eq!(reads.join().expect("no panic").expect("read"), bytes + 1);
    }
}
