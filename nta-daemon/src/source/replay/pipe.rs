//! A pipe, read on a thread of its own: whoever takes its frames is never held up by one that says nothing, and has each
//! frame as soon as it came.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::ahead::{FrameBatch, Reading};
use nta_capture::Merged;

/// Frames of a pipe that wait to be taken; it is not read on while there are as many.
const MOST_WAITING: usize = 1024;

/// The taker's end. The thread behind it ends with the pipe, or with its next frame when nobody takes frames any more.
pub struct Pipe {
    shared: Arc<Shared>,
}

/// What came through the pipe.
pub enum Came {
    /// Frames.
    Frames,
    /// Nothing for as long as was waited.
    Nothing,
    /// Its end, after the last frames.
    End(Vec<Reading>),
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    has_frames: Condvar,
    has_room: Condvar,
}

#[derive(Default)]
struct State {
    batch: FrameBatch,
    /// What was read, once it is all.
    ended: Option<Vec<Reading>>,
    is_left: bool,
}

impl Shared {
    /// A panic of the other side leaves whole frames behind.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pipe {
    /// Begins to read.
    pub fn read(captures: Merged) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let reader = Reader(Arc::clone(&shared));
        thread::Builder::new().name("nta-pipe".to_owned()).spawn(move || reader.read(captures))?;
        Ok(Self { shared })
    }

    /// Takes the frames that came, in place of those in `batch`; waits for one so long.
    pub fn next(&self, batch: &mut FrameBatch, patience: Duration) -> Came {
        batch.clear();
        let state = self.shared.state();
        let is_silent = |state: &mut State| state.batch.is_empty() && state.ended.is_none();
        let waited = self.shared.has_frames.wait_timeout_while(state, patience, is_silent);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if !state.batch.is_empty() {
            std::mem::swap(batch, &mut state.batch);
            self.shared.has_room.notify_one();
            return Came::Frames;
        }
        state.ended.take().map_or(Came::Nothing, Came::End)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.shared.state().is_left = true;
        self.shared.has_room.notify_one();
    }
}

/// The reading thread's end.
struct Reader(Arc<Shared>);

impl Reader {
    fn read(self, mut captures: Merged) {
        while let Some(frame) = captures.next_frame() {
            let is_full = |state: &mut State| state.batch.len() >= MOST_WAITING && !state.is_left;
            let waited = self.0.has_room.wait_while(self.0.state(), is_full);
            let mut state = waited.unwrap_or_else(PoisonError::into_inner);
            if state.is_left {
                return;
            }
            state.batch.push(frame, None);
            state.batch.note(&mut captures);
            self.0.has_frames.notify_one();
        }
        self.0.state().ended = Some(Reading::of_all(&mut captures));
    }
}

impl Drop for Reader {
    /// The taker waits for no thread that is gone, whatever ended it.
    fn drop(&mut self) {
        self.0.state().ended.get_or_insert_default();
        self.0.has_frames.notify_one();
    }
}
