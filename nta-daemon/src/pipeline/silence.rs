//! A silence in a capture: its windows are closed one by one as the clock closes them live, up to a bound, and flows end.

use super::{EXPIRE_EVERY_NS, Pipeline};
use crate::pipeline::{Fanout, PipelineEvent};
use crate::source::{FlowSource, SourceError};
use nta_core::domain::Timestamp;

/// Windows without packets that are closed one by one: a minute of the default length, after which alerts clear. The next
/// window says how long the silence went on (`silence_s`): its length is the word of a time stamp.
const MOST_WINDOWS: u64 = 12;

impl Pipeline {
    /// Closes the windows between the last one and the one of `time`, in which no packet came.
    pub(super) fn pass_silence<S: FlowSource + ?Sized>(
        &mut self,
        time: Timestamp,
        source: &mut S,
        output: &mut Fanout<'_>,
    ) -> Result<(), SourceError> {
        let until = time.floor(self.status.window_ns);
        for _ in 0..MOST_WINDOWS {
            let Some(start) = self.status.last_window_end.filter(|start| *start < until) else { break };
            if !self.allowance.silent_window() {
                break;
            }
            self.open_at(start);
            self.close(source, output)?;
        }
        self.expire_after_silence(time, source, output)
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
