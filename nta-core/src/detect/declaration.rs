//! What a detector states about itself. Every field is mandatory: a detector that leaves one out does not compile.

pub use crate::domain::Basis;
use crate::window::{Snapshot, Span};

/// What a detector is, and what it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Declaration {
    /// Its name, as in the configuration and in docs/DETECTORS.md.
    pub name: &'static str,
    /// Lengths of the windows that it judges.
    pub spans: &'static [Span],
    /// Whether a rule decides, or a model that learned.
    pub basis: Basis,
    /// What it looks at in a window.
    pub scope: Scope,
    /// Whether it takes the flows of base windows.
    pub flows: FlowUse,
    /// When its turn comes.
    pub cost: Cost,
    /// What the length of a window means for it.
    pub rates: Rates,
}

impl Declaration {
    /// Whether a window of this length concerns it at all.
    pub fn judges(&self, span: Span) -> bool {
        self.spans.contains(&span)
    }

    /// Whether this window is one that it judges.
    pub fn accepts(&self, snapshot: &Snapshot) -> bool {
        self.judges(snapshot.span) && (self.rates != Rates::Compared || snapshot.window.is_comparable())
    }
}

/// What a detector looks at in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The sums over the network, which a stored window still holds: it can be judged again later.
    Network,
    /// Hosts, flows or events, which are there only while the window closes.
    Hosts,
}

/// Whether a detector takes the flows of base windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowUse {
    /// It takes none.
    Unused,
    /// It takes them beside other detectors.
    Shared,
    /// It takes them, and needs as long as all others together where there are many: a second thread shows them to it.
    Apart,
}

/// When a detector's turn comes where two threads judge a large window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cost {
    /// Whenever a thread has time.
    Short,
    /// Before the short ones, the largest number first: no thread shall wait for it at the end.
    Long(u8),
}

/// What the length of a window means for a detector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rates {
    /// Nothing: it judges shares, times and things that it counts once, over a time that does not depend on windows.
    Unused,
    /// It judges counts over a time. It takes the measured length of each window into account, so that a window that was
    /// closed late, or cut short, makes no rate.
    Measured,
    /// It holds a window against others of its kind, or against what a model learned from such. It is not shown windows that are
    /// much shorter or longer than their kind ([`Window::is_comparable`](crate::window::Window::is_comparable)).
    Compared,
}
