//! A silence in a capture: its windows are closed one by one as the clock closes them live, up to a bound, and flows end.

use super::fold::Silent;
use super::{EXPIRE_EVERY_NS, Pipeline};
use crate::pipeline::{Fanout, PipelineEvent};
use crate::source::{FlowSource, SourceError};
use nta_core::domain::Timestamp;

/// Windows without packets that are closed one by one: a minute of the default length, after which alerts clear. The next
/// window says how long the silence went on (`silence_s`): its length is the word of a time stamp.
const MOST_WINDOWS: u64 = 12;
/// A packet that comes through a pipe is so late at most; else the clock was set back.
const MOST_LATE_NS: u64 = 60_000_000_000;

impl Pipeline {
    /// Closes the windows between the last one and the one of `time`, in which no packet came.
    pub(super) fn pass_silence<S: FlowSource + ?Sized>(
        &mut self,
        time: Timestamp,
        source: &mut S,
        output: &mut Fanout<'_>,
    ) -> Result<(), SourceError> {
        let span_ns = self.status.window_ns;
        let until = time.floor(span_ns);
        for closed in 0..MOST_WINDOWS {
            let Some(start) = self.status.last_window_end.filter(|start| *start < until) else { break };
            let silent = self.allowance.silent_window();
            if silent == Silent::Skipped {
                self.status.windows_left_out += (until.since(start) / span_ns).clamp(1, MOST_WINDOWS - closed);
                break;
            }
            self.status.windows_left_out += u64::from(silent == Silent::Judged);
            self.open_at(start);
            // Nothing was counted since the window before it closed.
            self.close_drained(source, output, Some(silent))?;
        }
        self.expire_after_silence(time, source, output)
    }

    /// The packet at hand is older than the open window, which counts it all the same.
    pub(super) fn note_late(&mut self) {
        self.windows.note_late();
        self.status.late_packets += 1;
    }

    /// Has the open window go on until after `time`: it stands for the windows that it takes the time of, as the capture has
    /// more of them than packets allow.
    pub(super) fn go_on<S: FlowSource + ?Sized>(
        &mut self,
        time: Timestamp,
        source: &mut S,
        output: &mut Fanout<'_>,
    ) -> Result<(), SourceError> {
        let span_ns = self.status.window_ns;
        self.windows.end_at(time.floor(span_ns).plus(span_ns));
        self.drain(source, output)
    }

    /// A pipe whose packets follow the clock has said everything up to `time`: closes the windows that have ended by then.
    /// After a time in which nobody could look, the next window says how long that was.
    pub fn go_on_until<S: FlowSource + ?Sized>(
        &mut self,
        time: Timestamp,
        source: &mut S,
        output: &mut Fanout<'_>,
    ) -> Result<(), SourceError> {
        let span_ns = self.status.window_ns;
        for _ in 0..=MOST_WINDOWS {
            if self.windows.end().is_none() {
                let next = self.status.last_window_end.map(|last| last.max(self.went_on));
                let Some(start) = next.filter(|start| start.plus(span_ns) <= time) else { return Ok(()) };
                self.open_at(start);
            }
            let Some(end) = self.windows.end().filter(|end| *end <= time) else { return Ok(()) };
            self.close(source, output)?;
            self.went_on = end;
        }
        self.went_on = time.floor(span_ns);
        Ok(())
    }

    /// Opens the window of a packet behind which none is open: not one that the clock has closed already.
    pub(super) fn open_for(&mut self, time: Timestamp) {
        if self.went_on.since(time) > MOST_LATE_NS {
            self.went_on = Timestamp::default();
        }
        if self.status.windows_closed == 0 {
            self.counted_since = time;
        }
        self.open_at(time.max(self.went_on));
        if time < self.went_on {
            self.note_late();
        }
    }

    /// End of the last window that the clock closed.
    pub const fn went_on_until(&self) -> Timestamp {
        self.went_on
    }

    /// Ends the flows that a silence in a capture ended, before this packet could be counted into one of them; live, the
    /// wall clock goes on and [`Pipeline::close`] ends them.
    pub(super) fn expire_after_silence<S: FlowSource + ?Sized>(
        &mut self,
        time: Timestamp,
        source: &mut S,
        output: &mut Fanout<'_>,
    ) -> Result<(), SourceError> {
        if time.since(self.last_expiry) < EXPIRE_EVERY_NS {
            return Ok(());
        }
        self.last_expiry = time;
        source.expire(time, &mut |update| output.emit(PipelineEvent::FlowEnded(&update)))
    }
}
