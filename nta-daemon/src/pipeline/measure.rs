//! The time of live windows: where each begins and ends, how long it is, and what about it is not as it should be. Live windows
//! tile the time of their run: each begins where the one before ended, however long reading and judging took.

use nta_core::domain::{Mode, Timestamp};
use nta_core::window::{Measured, NotWhole};

use super::{Fanout, Pipeline};
use crate::source::{FlowSource, SourceError};

/// A live window whose length is off by more than this part of what it should be was not closed in time.
const LATE_SHARE: u64 = 5;
/// A live window that is closed within this part of its length behind its end keeps that end.
const PUNCTUAL_SHARE: u64 = 50;

impl Pipeline {
    /// What is known of the time of the open window, which ends at `end`. A capture is as live from its first frame to its last one;
    /// to whatever judges its windows, what lies before and behind is silence.
    pub(super) fn measure(&self, end: Timestamp) -> Measured {
        let start = self.windows.start().unwrap_or(end);
        let span_ns = self.status.window_ns;
        let how = if self.is_resumed { NotWhole::Interrupted } else { NotWhole::RunBegan };
        let began = (self.status.windows_closed == 0).then_some(how);
        let ended = self.is_ending.then_some(NotWhole::RunEnded);
        let folded = (end.since(start) / span_ns).saturating_sub(1);
        if self.status.mode == Mode::Replay {
            let silence_ns = self.status.last_window_end.map_or(0, |last| start.since(last));
            let gap_ns = if began.is_some() { self.counted_since.since(start).min(end.since(start)) } else { 0 };
            let length_ns = end.since(start).saturating_sub(gap_ns).max(1);
            let outside_ns = span_ns.max(end.since(start)).saturating_sub(length_ns);
            let not_whole = began.max(ended);
            return Measured { length_ns, outside_ns, not_whole, silence_ns, gap_ns, folded, ..Measured::default() };
        }
        let goes_on_ns = self.uncounted_since.map_or(0, |since| end.since(since.max(start)));
        let uncounted_ns = self.uncounted_ns.saturating_add(goes_on_ns);
        let gap_ns = self.counted_since.since(start).saturating_add(uncounted_ns).min(end.since(start));
        // 0 stands for a length that nobody measured.
        let length_ns = end.since(start).saturating_sub(gap_ns).max(1);
        let late = (length_ns.abs_diff(span_ns) > span_ns / LATE_SHARE).then_some(NotWhole::Late);
        let interrupted = (uncounted_ns > 0).then_some(NotWhole::Interrupted);
        let ahead_ns = self.timeline.ahead_ns(start);
        Measured {
            length_ns,
            not_whole: late.max(began).max(ended).max(interrupted),
            gap_ns,
            clock_step_ns: self.wall_ahead_ns.saturating_sub(ahead_ns),
            wall_ahead_ns: ahead_ns,
            folded,
            ..Measured::default()
        }
    }

    /// Live, packets are counted from `since` on: the first window begins with the interval that this lies in.
    pub fn begin(&mut self, since: Timestamp) {
        self.counted_since = since;
        self.open_at(since);
    }

    /// The first window begins where a run before ended, as it holds what was counted since.
    pub fn resume(&mut self, since: Timestamp, now: Timestamp) {
        let span_ns = self.status.window_ns;
        self.counted_since = since;
        self.windows.open(since, now.floor(span_ns).plus(span_ns));
        self.is_resumed = true;
        self.status.window_open_since = Some(since);
    }

    /// Live, opens the next window where the last one ended; it ends at a multiple of its length, and has half of that at least.
    pub fn open_next(&mut self) {
        let Some(start) = self.status.last_window_end.filter(|_| self.windows.end().is_none()) else { return };
        let span_ns = self.status.window_ns;
        let first = start.floor(span_ns).plus(span_ns);
        let end = if first.since(start) < span_ns / 2 { first.plus(span_ns) } else { first };
        self.windows.open(start, end);
        self.status.window_open_since = Some(start);
    }

    /// Live, nothing is counted from now on: the windows say so.
    pub fn stop_counting(&mut self, now: Timestamp) {
        self.uncounted_since.get_or_insert(now);
    }

    /// Live, packets are counted again since `time`.
    pub fn go_on_counting(&mut self, time: Timestamp) {
        let Some(since) = self.uncounted_since.take() else { return };
        let start = self.windows.start().unwrap_or(time);
        self.uncounted_ns = self.uncounted_ns.saturating_add(time.since(since.max(start)));
    }

    /// Live, closes the open window at `now`, which is its end or later. When it is much later, the window ends now: what was
    /// counted behind its end cannot be separated any more.
    pub fn close_at<S: FlowSource + ?Sized>(
        &mut self,
        now: Timestamp,
        source: &mut S,
        output: &mut Fanout<'_>,
    ) -> Result<(), SourceError> {
        if self.windows.end().is_some_and(|end| now.since(end) > self.status.window_ns / PUNCTUAL_SHARE) {
            self.windows.end_at(now);
        }
        self.close(source, output)
    }
}

#[cfg(test)]
#[path = "measure_tests.rs"]
mod tests;
