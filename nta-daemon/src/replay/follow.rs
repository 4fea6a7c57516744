//! A pipe is followed like a live source: its frames count as they come, and while it is silent the clock closes windows,
//! where the time stamps follow the clock (`tcpdump -w -`). A recording that somebody sends through a pipe waits for its own
//! next frame, however long that takes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Feed, Replay, ReplayError};
use crate::capture::clock;
use crate::source::replay::{Came, FrameBatch, Pipe};
use nta_capture::Merged;
use nta_core::domain::Timestamp;

/// How often it is looked whether a window has ended.
const TICK: Duration = Duration::from_millis(200);
/// A frame that follows the clock is so old at most when it comes: `tcpdump` without `-U` writes when 4 KiB are full.
const MOST_BEHIND_NS: u64 = 10_000_000_000;
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

/// How far the time stamps are behind the clock; `None` where they do not follow it.
#[derive(Debug, Default)]
struct Behind(Option<u64>);

impl Behind {
    /// A frame of this time came now.
    fn came(&mut self, time: Timestamp, now: Timestamp) {
        let is_near = now.as_nanos().abs_diff(time.as_nanos()) <= MOST_BEHIND_NS;
        self.0 = is_near.then(|| self.0.unwrap_or_default().max(now.since(time)));
    }

    /// Up to when everything has come that will.
    fn until(&self, now: Timestamp) -> Option<Timestamp> {
        let behind = self.0?.saturating_add(MARGIN_NS);
        Some(Timestamp::from_nanos(now.as_nanos().saturating_sub(behind)))
    }
}

impl Replay<'_> {
    /// Takes the frames of a pipe until its end, or until nobody wants more.
    pub(super) fn follow(&mut self, captures: Merged, feed: &mut Feed<'_, '_>) -> Result<(), ReplayError> {
        let pipe = Pipe::read(captures).map_err(ReplayError::Thread)?;
        let (mut batch, mut behind) = (FrameBatch::default(), Behind::default());
        loop {
            match pipe.next(&mut batch, TICK) {
                Came::Frames => {
                    for frame in batch.frames() {
                        let read = feed.summary.bytes;
                        feed.frame(frame, &mut || (self.progress)(read, None))?;
                        behind.came(Timestamp::from_nanos(frame.time_ns), clock::now());
                    }
                }
                Came::Nothing => {}
                Came::End(readings) => {
                    readings.into_iter().for_each(|reading| feed.files.note(reading));
                    return Ok(());
                }
            }
            if let Some(until) = behind.until(clock::now()) {
                feed.pipeline.go_on_until(until, feed.engine, feed.output)?;
            }
            if !(self.progress)(feed.summary.bytes, None) {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_close_by_the_clock_only_where_the_stamps_follow_it() {
        let at = |ms: u64| Timestamp::from_nanos(ms * 1_000_000);
        let mut behind = Behind::default();
        assert_eq!(behind.until(at(100_000)), None, "nothing came yet");
        behind.came(at(98_000), at(100_000));
        assert_eq!(behind.until(at(110_000)), Some(at(107_500)));
        behind.came(at(100_900), at(101_000));
        assert_eq!(behind.until(at(110_000)), Some(at(107_500)), "the next ones may be as late");
        behind.came(at(50_000), at(101_000));
        assert_eq!(behind.until(at(110_000)), None, "a recording");
    }
}
