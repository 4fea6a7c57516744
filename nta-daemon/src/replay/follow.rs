//! A pipe is followed like a live source: its frames count as they come, and while it is silent the clock closes windows,
//! where the time stamps follow the clock (`tcpdump -w -`). A recording that somebody sends through a pipe waits for its own
//! next frame, however long that takes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::{Feed, Replay, ReplayError};
use crate::capture::clock;
use crate::source::replay::{Came, FrameBatch, Pipe};
use nta_capture::{CaptureError, FrameFilter, Merged};
use nta_core::domain::Timestamp;

/// How often it is looked whether a window has ended.
const TICK: Duration = Duration::from_millis(200);
/// So long at most a pipe is read on that nobody wants more of.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// The newest frame of a stream that follows the clock is so old at most when it comes.
const MOST_BEHIND_NS: u64 = 10_000_000_000;
/// Frames that come in blocks are up to so old: `tcpdump` without `-U` writes when 4 KiB are full. Where they are older, the
/// clock closes no window.
const MOST_HELD_NS: u64 = 60_000_000_000;
/// How old frames were is remembered for this long at least, and at most twice as long: one hold-up does not last.
const REMEMBERED_NS: u64 = 300_000_000_000;
/// From this on the log says that frames come in blocks.
const BLOCKS_NS: u64 = 5_000_000_000;
/// Clocks of one machine that are read one after the other, and what a packet takes through the pipe.
const MARGIN_NS: u64 = 500_000_000;

/// Whether these captures are one pipe.
pub(super) fn is_pipe(paths: &[PathBuf]) -> bool {
    let [path] = paths else { return false };
    let path = if path.as_os_str() == "-" { Path::new("/dev/stdin") } else { path };
    path.metadata().is_ok_and(|metadata| !metadata.is_file())
}

/// What time it is, for the reader of captures.
pub(super) fn wall_ns() -> u64 {
    clock::now().as_nanos()
}

/// How far the time stamps are behind the clock.
#[derive(Debug, Default)]
struct Behind {
    /// Whether they follow it: the newest one is near.
    follows: bool,
    /// How old frames were when they came, at most: since `since`, and in the time before that.
    held_ns: [u64; 2],
    since: Timestamp,
    is_said: bool,
}

impl Behind {
    /// A frame of this time came now.
    fn came(&mut self, time: Timestamp, now: Timestamp) {
        if now.since(self.since) > REMEMBERED_NS {
            self.held_ns = [0, self.held_ns[0]];
            self.since = now;
        }
        self.held_ns[0] = self.held_ns[0].max(now.since(time));
        self.follows = now.as_nanos().abs_diff(time.as_nanos()) <= MOST_BEHIND_NS;
    }

    /// Up to when everything has come that will; `None` where the time stamps do not say.
    fn until(&self, now: Timestamp) -> Option<Timestamp> {
        let held_ns = self.held_ns[0].max(self.held_ns[1]);
        let is_known = self.follows && held_ns <= MOST_HELD_NS;
        is_known.then(|| Timestamp::from_nanos(now.as_nanos().saturating_sub(held_ns + MARGIN_NS)))
    }

    /// Says once that what comes has been held back.
    fn say(&mut self) {
        let held_ns = self.held_ns[0];
        if self.follows && held_ns >= BLOCKS_NS && !self.is_said {
            self.is_said = true;
            tracing::warn!(
                held_s = held_ns / 1_000_000_000,
                "the pipe's packets come in blocks, the first of them this late, and so do alerts: `tcpdump -U -w -` writes \
                 each at once"
            );
        }
    }
}

/// Opens a pipe and waits for its first frame, on a thread of its own: one that says nothing holds nobody up. `None` when
/// `goes_on` said no before there was one.
pub(super) fn open(
    path: &Path,
    filter: Option<Arc<dyn FrameFilter>>,
    goes_on: &mut dyn FnMut() -> bool,
) -> Result<Option<Merged>, ReplayError> {
    let (path, (opened, to_follow)) = (path.to_owned(), sync_channel(1));
    let open = move || -> Result<Merged, CaptureError> {
        let capture = nta_capture::open(&path)?.with_filter(filter);
        capture.check_filter()?;
        let mut captures = Merged::of_live(capture, wall_ns);
        captures.first_frames(&mut |_| {});
        Ok(captures)
    };
    let open = move || drop(opened.send(open())); // nobody takes it who has gone
    thread::Builder::new().name("nta-open".to_owned()).spawn(open).map_err(ReplayError::Thread)?;
    loop {
        let wants_more = goes_on();
        match to_follow.recv_timeout(TICK) {
            Ok(captures) => return Ok(Some(captures?)),
            Err(RecvTimeoutError::Timeout) if wants_more => {}
            Err(_) => return Ok(None),
        }
    }
}

impl Replay<'_> {
    /// Takes the frames of a pipe until its end, or until nobody wants more. What whoever writes it says last, as it was ended by the
    /// same signal, is taken too.
    pub(super) fn follow(&mut self, captures: Merged, feed: &mut Feed<'_, '_, '_>) -> Result<(), ReplayError> {
        let pipe = Pipe::read(captures).map_err(ReplayError::Thread)?;
        let (mut batch, mut behind) = (FrameBatch::default(), Behind::default());
        let mut last_words: Option<Instant> = None;
        let mut latest = Timestamp::default();
        loop {
            let mut is_silent = false;
            match pipe.next(&mut batch, TICK) {
                Came::Frames => {
                    let mut left = batch.len() as u64;
                    let mut goes_on = true;
                    for frame in batch.frames() {
                        let read = feed.summary.bytes;
                        goes_on = feed.frame(frame, &mut || (self.progress)(read, None))?;
                        let time = Timestamp::from_nanos(frame.time_ns);
                        feed.summary.out_of_order += u64::from(time < latest);
                        latest = latest.max(time);
                        behind.came(time, clock::now());
                        left -= 1;
                        if !goes_on {
                            break;
                        }
                    }
                    note(&batch, left, feed);
                    // The others are not due yet.
                    if !goes_on {
                        feed.summary.stopped = true;
                        return Ok(());
                    }
                }
                Came::Nothing => {
                    is_silent = true;
                    behind.say();
                }
                Came::End(readings) => {
                    readings.into_iter().for_each(|reading| feed.files.note(reading));
                    return Ok(());
                }
            }
            if let Some(until) = behind.until(clock::now()) {
                feed.pipeline.go_on_until(until, feed.engine, feed.output)?;
            }
            if !(self.progress)(feed.summary.bytes, None) {
                if last_words.is_some_and(|until| is_silent || Instant::now() >= until) {
                    feed.summary.stopped = true;
                    return Ok(());
                }
                last_words.get_or_insert_with(|| Instant::now() + LAST_WORDS);
            }
        }
    }
}

/// What was read with this batch, but for the frames that are `left` of it.
fn note(batch: &FrameBatch, left: u64, feed: &mut Feed<'_, '_, '_>) {
    let mut readings = batch.readings().to_vec();
    if let Some(last) = readings.last_mut() {
        last.frames = last.frames.saturating_sub(left);
    }
    readings.into_iter().for_each(|reading| feed.files.note(reading));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn windows_close_by_the_clock_only_where_the_stamps_follow_it() {
        let mut behind = Behind::default();
        assert_eq!(behind.until(at(100_000)), None, "nothing came yet");
        behind.came(at(98_000), at(100_000));
        assert_eq!(behind.until(at(110_000)), Some(at(107_500)));
        behind.came(at(100_900), at(101_000));
        assert_eq!(behind.until(at(110_000)), Some(at(107_500)), "the next ones may be as late");
        behind.came(at(50_000), at(101_000));
        assert_eq!(behind.until(at(110_000)), None, "a recording");
    }

    #[test]
    fn a_block_that_was_held_back_says_how_late_the_next_one_may_be() {
        let mut behind = Behind::default();
        for time_ms in (70_000..=100_000).step_by(1000) {
            behind.came(at(time_ms), at(100_000));
        }
        assert_eq!(behind.until(at(110_000)), Some(at(79_500)));
        // Longer than windows wait: only packets close them.
        behind.came(at(110_000), at(180_000));
        behind.came(at(180_000), at(180_000));
        assert_eq!(behind.until(at(181_000)), None);
        // Once it is long ago, it is forgotten.
        for time_ms in [500_000, 900_000] {
            behind.came(at(time_ms), at(time_ms));
        }
        assert_eq!(behind.until(at(901_000)), Some(at(900_500)));
    }
}
