//! What the flows of a window tried, and whether it had answered before: judged once, for all detectors that ask.

use super::attempt::{self, Attempt};
use super::known::Known;
use crate::window::Run;

/// What a flow tried; see [`attempt::judge`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Try {
    /// It is no attempt, or says nothing.
    Nothing,
    /// It was answered.
    Answered,
    /// It came to nothing.
    Futile,
    /// Nobody answered at a service that had answered its source before, in this window or in one of hours ago.
    FutileAtKnown,
}

/// The tries of a window, and who answered whom in the hours before.
#[derive(Debug, Default)]
pub struct Tries {
    known: Known,
    of_window: Vec<Try>,
}

impl Tries {
    /// A window comes next.
    pub fn begin(&mut self) {
        self.of_window.clear();
    }

    /// Judges the flows of the window's next run, one after the other: what answers first is known to those behind it.
    pub fn take(&mut self, run: &Run<'_>) -> &[Try] {
        let Self { known, of_window } = self;
        let first = of_window.len();
        of_window.extend(run.flows.iter().map(|seen| {
            let Some((attempt, source, target)) = attempt::judge(seen) else { return Try::Nothing };
            let pair = (source.address, target.address, seen.flow.proto, target.port);
            match attempt {
                Attempt::Answered => {
                    known.add(run, pair);
                    Try::Answered
                }
                // A service that takes part in a handshake is there, though its client goes no further, as health checks do.
                Attempt::Futile if seen.flow.responder.tcp.syn_ack > 0 => {
                    known.add(run, pair);
                    Try::Futile
                }
                Attempt::Futile if known.has(run, pair) => Try::FutileAtKnown,
                Attempt::Futile => Try::Futile,
            }
        }));
        &of_window[first..]
    }

    /// Those of the window, by the numbers of its flows.
    pub fn of_window(&self) -> &[Try] {
        &self.of_window
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{flow, full};
    use super::*;
    use crate::domain::{FlowObservation, History, Timestamp};

    #[test]
    fn what_fails_where_somebody_answered_before_is_told_apart() {
        // In order by target and port, and by time.
        let tried = |port, history: &str, time_s| {
            let mut seen: FlowObservation = flow("10.0.0.1", "192.0.2.1", port, time_s, [1, 1]);
            (seen.flow.originator.tcp.syn, seen.flow.history) = (1, History::parse(history));
            seen
        };
        let window = |flows| full(Timestamp::from_nanos(1_000_000_000_000_000), &[], flows);
        let mut tries = Tries::default();
        let mut judge = |snapshot: crate::window::Snapshot| {
            tries.begin();
            let told: Vec<Try> = snapshot.runs().flat_map(|run| tries.take(&run).to_vec()).collect();
            assert_eq!(told, tries.of_window());
            told
        };
        let first =
            window(vec![tried(80, "S", 0.0), tried(80, "ShADad", 1.0), tried(80, "S", 2.0), tried(81, "S", 0.0)]);
        assert_eq!(judge(first), [Try::Futile, Try::Answered, Try::FutileAtKnown, Try::Futile]);
        let mut known_before = tried(80, "S", 0.0);
        known_before.is_new = false;
        let second = window(vec![known_before, tried(80, "S", 1.0), tried(82, "S", 0.0)]);
        assert_eq!(judge(second), [Try::Nothing, Try::FutileAtKnown, Try::Futile]);
        let mut check = tried(83, "ShR", 0.0);
        check.flow.responder.tcp.syn_ack = 1;
        let third = window(vec![check, tried(83, "S", 1.0), tried(83, "Sr", 2.0)]);
        assert_eq!(judge(third), [Try::Futile, Try::FutileAtKnown, Try::FutileAtKnown], "health checks");
    }
}
