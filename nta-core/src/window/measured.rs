//! How long a window really was, and what about it is not as it should be.

/// Why a window is not whole, mildest first: of several reasons the last one counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NotWhole {
    /// It was closed late and holds what came until then: whoever counts was held up.
    Late,
    /// The run began within it.
    RunBegan,
    /// The run ended within it.
    RunEnded,
    /// Nobody counted for a part of it: a restart cut it.
    Interrupted,
    /// A part of it was counted and is not in the database, or no longer.
    NotStored,
}

impl NotWhole {
    /// All reasons, mildest first.
    pub const ALL: [Self; 5] = [Self::Late, Self::RunBegan, Self::RunEnded, Self::Interrupted, Self::NotStored];

    /// The word for it, as in the API.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::RunBegan => "run_began",
            Self::RunEnded => "run_ended",
            Self::Interrupted => "interrupted",
            Self::NotStored => "not_stored",
        }
    }

    /// The reason that this word names.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.word() == word)
    }
}

/// What whoever closes a window knows about its time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// How long windows of its kind are, in nanoseconds; 0 where that is not known.
    pub span_ns: u64,
    /// How long packets were counted for it, in nanoseconds; live by the monotonic clock. 0 stands for the time from its
    /// start to its end.
    pub length_ns: u64,
    /// Of a capture, what the window lacks of its usual length before the first frame and behind the last one, in nanoseconds: to
    /// whatever judges it that is silence.
    pub outside_ns: u64,
    /// Why it is not whole; `None` if it is.
    pub not_whole: Option<NotWhole>,
    /// Time before it, in nanoseconds, in which packets were counted and none came: no window covers it.
    pub silence_ns: u64,
    /// Time before or within it, in nanoseconds, in which nobody counted.
    pub gap_ns: u64,
    /// Time of it, in nanoseconds, whose base windows are not in the database, or no longer: only of a window that is made of
    /// stored ones when it is asked for.
    pub not_stored_ns: u64,
    /// How far the wall clock was set within it, in nanoseconds; negative is back.
    pub clock_step_ns: i64,
    /// How far the wall clock was ahead of the run's own time when it began, in nanoseconds: a live run's time never jumps.
    pub wall_ahead_ns: i64,
    /// Further windows of its length that it stands for: an input with many almost empty windows has them folded into fewer.
    pub folded: u64,
}

impl Measured {
    /// Adds what is known of a part of a longer window, apart from lengths and silence.
    pub(super) fn merge(&mut self, part: &Self) {
        self.not_whole = self.not_whole.max(part.not_whole);
        self.gap_ns = self.gap_ns.saturating_add(part.gap_ns);
        self.clock_step_ns = self.clock_step_ns.saturating_add(part.clock_step_ns);
        self.folded = self.folded.saturating_add(part.folded);
    }
}
