//! An alert: what findings about one thing have become.

use std::fmt;

use super::{AlertKind, Basis, Finding, Measure, Party, Timestamp};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Low,
    /// Worth looking at.
    Medium,
    /// Look now.
    High,
    /// Act now.
    Critical,
}

impl Severity {
    /// All of them, mildest first.
    pub const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Critical];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// The severity that this word names.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.word() == word)
    }

    /// So many steps worse, at most critical.
    #[must_use]
    pub fn raised(self, steps: usize) -> Self {
        Self::ALL[(self as usize + steps).min(Self::ALL.len() - 1)]
    }
}

/// Identity of an alert, see [`IdentityScope::alert_id`](super::IdentityScope::alert_id). Shown as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AlertId(pub u64);

impl fmt::Display for AlertId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What makes two findings be about the same thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AlertKey {
    /// Kind.
    pub kind: AlertKind,
    /// Who does it.
    pub source: Party,
    /// Who suffers it.
    pub destination: Party,
}

impl AlertKey {
    /// What a finding is about.
    pub const fn of(finding: &Finding) -> Self {
        Self { kind: finding.kind, source: finding.source, destination: finding.destination }
    }
}

/// What became of an alert by itself; what people do about it is kept in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertState {
    /// It goes on.
    Raised,
    /// It has stopped.
    Cleared,
}

/// Why an alert does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClearReason {
    /// Nothing was found for long enough.
    Quiet,
    /// The run ended while it went on.
    RunEnded,
    /// The run was killed while it went on: the next start says so.
    Interrupted,
    /// A model's alone, about one host of many that a rule found later: it is part of that alert.
    Folded,
}

impl ClearReason {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Quiet, Self::RunEnded, Self::Interrupted, Self::Folded];

    /// The word for it, as in the API.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::RunEnded => "run_ended",
            Self::Interrupted => "interrupted",
            Self::Folded => "folded",
        }
    }

    /// The reason that this word names.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.word() == word)
    }
}

/// An alert.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// Identity.
    pub id: AlertId,
    /// What it is about.
    pub key: AlertKey,
    /// Whether it goes on.
    pub state: AlertState,
    /// How bad it is: from kind, magnitude and repetition.
    pub severity: Severity,
    /// Start of the first window with a finding.
    pub first: Timestamp,
    /// End of the last window with a finding.
    pub last: Timestamp,
    /// When the first and the last packet of what was found came; `None` where that is not known.
    pub seen: Option<[Timestamp; 2]>,
    /// End of the window in which it was raised: when an operator could first know.
    pub raised: Timestamp,
    /// When it was cleared.
    pub cleared: Option<Timestamp>,
    /// Why it was cleared; `None` while it goes on.
    pub clear_reason: Option<ClearReason>,
    /// Windows with a finding.
    pub windows: u32,
    /// Findings that were merged into it after the first.
    pub merged: u32,
    /// Detectors that found it, in the order in which they did.
    pub detectors: Vec<&'static str>,
    /// What each of them says, in the same order: its strongest finding.
    pub opinions: Vec<Opinion>,
    /// The strongest finding so far, of a rule if one found it: its numbers are the alert's.
    pub finding: Finding,
    /// The finding that was reported last.
    pub latest: Finding,
}

impl Alert {
    /// From when to when what was found went on: by its packets, or by the windows where these are not known.
    pub fn went_on(&self) -> [Timestamp; 2] {
        self.seen.unwrap_or([self.first, self.last])
    }
}

/// What one detector says about an alert.
#[derive(Clone, Debug, PartialEq)]
pub struct Opinion {
    /// Its name.
    pub detector: &'static str,
    /// What its judgement rests on.
    pub basis: Basis,
    /// How sure it is, 0 to 1.
    pub score: f64,
    /// The number that decided.
    pub measure: Measure,
    /// What happened, one sentence with the numbers.
    pub summary: String,
}

impl Opinion {
    /// That of a finding.
    pub fn of(finding: &Finding) -> Self {
        let Finding { detector, basis, score, measure, .. } = *finding;
        Self { detector, basis, score, measure, summary: finding.summary.clone() }
    }
}

/// A change that is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertChange {
    /// It is new, or has come back.
    Raised,
    /// It goes on, or is worse.
    Updated,
    /// It has stopped.
    Cleared,
}
