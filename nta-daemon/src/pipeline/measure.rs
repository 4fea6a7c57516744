//! How long the open window is, and what about its time is not as it should be.

use std::time::{Duration, Instant};

use nta_core::domain::{Mode, Timestamp};
use nta_core::window::{Measured, NotWhole};

use super::Pipeline;

/// A live window whose length is off by more than this part of what it should be was not closed in time.
const LATE_SHARE: u64 = 5;

impl Pipeline {
    /// What is known of the time of the open window, which ends at `end`. Live its length is measured; of a capture, what
    /// comes before its first frame and after its last one is silence.
    pub(super) fn measure(&self, end: Timestamp) -> Measured {
        let start = self.windows.start().unwrap_or(end);
        let span_ns = self.status.window_ns;
        let silence_ns = self.status.last_window_end.map_or(0, |last| start.since(last));
        let how = if self.is_resumed { NotWhole::Interrupted } else { NotWhole::RunBegan };
        let began = (self.status.windows_closed == 0).then_some(how);
        let folded = (end.since(start) / span_ns).saturating_sub(1);
        if self.status.mode == Mode::Replay {
            let length_ns = span_ns.max(end.since(start));
            return Measured { length_ns, not_whole: began, silence_ns, folded, ..Measured::default() };
        }
        let length_ns = self.opened.elapsed().as_nanos() as u64;
        let is_late = length_ns.abs_diff(span_ns) > span_ns / LATE_SHARE;
        let not_whole = began.or(is_late.then_some(NotWhole::Late));
        Measured {
            length_ns,
            not_whole,
            silence_ns,
            clock_step_ns: self.clock_step_ns,
            wall_ahead_ns: self.timeline.ahead_ns(start),
            folded,
            ..Measured::default()
        }
    }

    /// The first window begins where a run before ended, as it holds what was counted since.
    pub fn resume(&mut self, since: Timestamp, now: Timestamp) {
        let span_ns = self.status.window_ns;
        let Some(opened) = Instant::now().checked_sub(Duration::from_nanos(now.since(since))) else { return };
        self.windows.open(since, now.floor(span_ns).plus(span_ns));
        self.opened = opened;
        self.is_resumed = true;
        self.status.window_open_since = Some(since);
    }

    /// The open window is closed at `now`: when that is whole windows late, it stands for those as well, because what was
    /// counted in them cannot be separated any more.
    pub fn late(&mut self, now: Timestamp) {
        let span_ns = self.status.window_ns;
        if self.windows.end().is_some_and(|end| now.since(end) >= span_ns) {
            self.windows.end_at(now.floor(span_ns));
        }
    }
}
